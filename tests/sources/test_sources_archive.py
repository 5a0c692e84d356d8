"""Archives: ours are the same bytes for the same content, and those of strangers are bounded."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tflbuild import archive
from tflbuild.errors import TaskError

NAMES = st.lists(st.sampled_from(["a", "b.keras", "ä", ".x"]), min_size=1, max_size=3).map("/".join)


def fill(folder: Path, files: dict[str, bytes]) -> list[str]:
    folder.mkdir()
    done: list[str] = []
    for name, content in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            done.append(name)
        except OSError:  # a/b when a is a file
            continue
    return done


@given(files=st.dictionaries(NAMES, st.binary(max_size=20), max_size=5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pack_and_unpack(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    at = tmp_path_factory.mktemp("pack")
    done = fill(at / "one", files)
    again = fill(at / "two", dict(reversed([(name, files[name]) for name in done])))
    assert sorted(done) == sorted(again)
    for path in (at / "two").rglob("*"):
        os.utime(path, (1, 1))
    archive.pack(at / "one", ["."], at / "1.tar")
    archive.pack(at / "two", ["."], at / "2.tar")
    assert (at / "1.tar").read_bytes() == (at / "2.tar").read_bytes()
    archive.unpack(at / "1.tar", at / "out")
    found = {p.relative_to(at / "out").as_posix(): p.read_bytes()
             for p in (at / "out").rglob("*") if p.is_file()}  # fmt: skip
    assert found == {name: files[name] for name in done}
    for name in done:
        archive.unpack(at / "1.tar", at / f"m{done.index(name)}", name)
        top = at / f"m{done.index(name)}"
        one = {p.relative_to(top).as_posix() for p in top.rglob("*") if p.is_file()}
        beside = name.rpartition("/")[0]
        assert (top / name).read_bytes() == files[name]
        assert one == {n for n in done if not beside or n.startswith(beside + "/")}


def test_unknown_member(tmp_path: Path) -> None:
    fill(tmp_path / "in", {"models/net.keras": b"", "x": b""})
    archive.pack(tmp_path / "in", ["."], tmp_path / "a.tar")
    with pytest.raises(TaskError, match=r"no 'models/nat\.keras' in it; did you mean 'models/net"):
        archive.unpack(tmp_path / "a.tar", tmp_path / "out", "models/nat.keras")
    with pytest.raises(TaskError, match="there is 'models', 'x'"):
        archive.unpack(tmp_path / "a.tar", tmp_path / "out2", "zzzzzzzzzzz")


def refused(path: Path, folder: Path) -> str:
    """What is said against an archive; nothing else may be raised."""
    try:
        archive.extract(path, folder, 1000)
    except archive.ArchiveError as error:
        return str(error)
    return ""


@given(data=st.binary(max_size=600))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    at = tmp_path_factory.mktemp("any")
    for head in (b"", b"PK\x03\x04", b"\x1f\x8b\x08\x00", b"BZh9", b"\xfd7zXZ\x00"):
        (at / "f").write_bytes(head + data)
        archive.is_archive(at / "f")
        out = at / f"out{len(head)}{head[:1].hex()}"
        assert "\n" not in refused(at / "f", out)


@given(name=st.text(max_size=20), linked=st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_leads_out(
    name: str, linked: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    at = tmp_path_factory.mktemp("names")
    info = tarfile.TarInfo(("../" if linked else "") + name)
    try:
        with tarfile.open(at / "a.tar", "w") as tar:
            tar.addfile(info)
    except ValueError:  # a surrogate, or NUL
        return
    before = {p for p in at.rglob("*") if not p.is_relative_to(at / "out")}
    assert "\n" not in refused(at / "a.tar", at / "out")
    assert {p for p in at.rglob("*") if not p.is_relative_to(at / "out")} == before


def test_giant_header_is_not_read_into_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 1 << 32
    with gzip.open(tmp_path / "a.tgz", "wb") as stream:
        stream.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(40):
            stream.write(b"\0" * (1 << 20))
    with pytest.raises(archive.ArchiveError, match="a record of"):
        archive.extract(tmp_path / "a.tgz", tmp_path / "out", 1 << 40)


def test_zip_of_very_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 10)
    for kind in ("zip", "tar"):
        path = tmp_path / kind
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as file:
                for n in range(11):
                    file.writestr(str(n), b"")
        else:
            with tarfile.open(path, "w") as tar:
                for n in range(11):
                    tar.addfile(tarfile.TarInfo(str(n)), io.BytesIO())
        with pytest.raises(archive.ArchiveError, match="more than 10 members"):
            archive.extract(path, tmp_path / f"out-{kind}", 1000)


def test_zip_with_a_long_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_RECORD", 70_000)
    with zipfile.ZipFile(tmp_path / "z", "w") as file:
        for n in range(2000):
            file.writestr(f"{n:0100}", b"")
    with pytest.raises(archive.ArchiveError, match="a record of"):
        archive.extract(tmp_path / "z", tmp_path / "out", 1000)


def test_twice_and_encrypted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a"), io.BytesIO())
    with pytest.raises(archive.ArchiveError, match="holds 'a' twice"):
        archive.extract(tmp_path / "t", tmp_path / "out", 1000)
    with zipfile.ZipFile(tmp_path / "z", "w") as file:
        file.writestr("a", b"x")
    data = bytearray((tmp_path / "z").read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "z").write_bytes(data)
    with pytest.raises(archive.ArchiveError, match="encrypted"):
        archive.extract(tmp_path / "z", tmp_path / "out2", 1000)
