"""The record: what a build with nothing to do compares."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tflbuild.engine import files, record
from tflbuild.engine.files import FileDigests, Stat
from tflbuild.engine.record import ModelRecord, Record, entry, hashed_entry, unchanged
from tflbuild.engine.state import State
from tflbuild.store.digest import file_digest


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is not young any more: time has passed."""
    path = tmp_path / "file"
    path.write_text("one")
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr(record.time, "time_ns", lambda: later)
    return path


def test_an_old_entry_is_not_hashed_again(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = entry(str(old.parent), "file")
    assert made[5] is None
    monkeypatch.setattr(record, "content_digest", lambda path: pytest.fail("hashed"))
    assert unchanged(str(old.parent), [made])


def test_a_young_entry_is_hashed_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    made = entry(str(tmp_path), "file")
    assert made[5] == file_digest(path)
    assert unchanged(str(tmp_path), [made])
    made[5] = "of another content, within one tick of the clock"
    assert not unchanged(str(tmp_path), [made])


@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_size_mtime_ctime_inode(old: Path, index: int) -> None:
    made = entry(str(old.parent), "file")
    made[index] += 1
    assert not unchanged(str(old.parent), [made])


def test_a_touch_that_restores_the_mtime(old: Path) -> None:
    made = entry(str(old.parent), "file")
    old.write_text("two")
    os.utime(old, ns=(made[2], made[2]))
    assert old.stat().st_mtime_ns == made[2]
    assert not unchanged(str(old.parent), [made])


def test_an_absent_path_appears(tmp_path: Path) -> None:
    made = entry(str(tmp_path), "absent")
    assert made == ["absent"]
    assert unchanged(str(tmp_path), [made])
    (tmp_path / "absent").touch()
    assert not unchanged(str(tmp_path), [made])


def test_a_path_goes(old: Path) -> None:
    made = entry(str(old.parent), "file")
    old.unlink()
    assert not unchanged(str(old.parent), [made])


def test_a_folder_is_its_listing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    made = entry(str(tmp_path), "folder")
    assert unchanged(str(tmp_path), [made])
    (tmp_path / "folder/new").touch()
    assert not unchanged(str(tmp_path), [made])
    # The same stat data within one tick: the listing tells.
    now = entry(str(tmp_path), "folder")
    assert not unchanged(str(tmp_path), [[*now[:5], made[5]]])


@pytest.mark.parametrize(
    "entries", [None, 3, [3], [None], [[]], [["file", 1]], [[1, 2, 3, 4, 5, 6]], [["\0"]]]
)
def test_entries_of_another_shape_are_never_unchanged(tmp_path: Path, entries: Any) -> None:
    (tmp_path / "file").touch()
    assert not unchanged(str(tmp_path), entries)


def test_clean_models(old: Path) -> None:
    good = entry(str(old.parent), "file")
    bad = [*good[:1], good[1] + 1, *good[2:]]
    made = Record(models={
        "one": ModelRecord("s", 3, [good]),
        "two": ModelRecord("s", 3, [good, bad]),
        "none": ModelRecord("s", 3, []),
    })  # fmt: skip
    assert made.clean_models(str(old.parent)) == {"one", "none"}


def test_round_trip(tmp_path: Path) -> None:
    made = Record(
        token="t", manifest="m", place={"python": "3"}, manifests=[["x"]], names=["a"],
        models={"a": ModelRecord("s", 2, [["f", 1, 2, 3, 4, None]])},
    )  # fmt: skip
    path = tmp_path / "record.json"
    path.write_bytes(made.dump())
    assert Record.load(path) == made
    assert Record.load(tmp_path / "none") == Record()


def test_a_record_is_of_one_manifest(old: Path) -> None:
    made = Record(manifest="tflbuild.yaml", manifests=[entry(str(old.parent), "file")])
    assert made.same_manifests(str(old.parent), "tflbuild.yaml")
    assert not made.same_manifests(str(old.parent), "other.yaml")
    assert not Record().same_manifests(str(old.parent), "")


# digests of files


@pytest.fixture
def digests(tmp_path: Path) -> FileDigests:
    return FileDigests(tmp_path, State.open(tmp_path / "state.sqlite"))


def test_young_files_are_hashed_again(
    digests: FileDigests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    hashed: list[str] = []
    real = FileDigests._hash
    monkeypatch.setattr(
        FileDigests, "_hash", lambda self, path: hashed.append(path) or real(self, path)
    )
    for _ in range(2):
        assert digests.digest("file") == file_digest(path)
    assert len(hashed) == 2
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr(files.time, "time_ns", lambda: later)
    for _ in range(3):
        digests.digest("file")
    assert len(hashed) == 3
    digests.save()
    again = FileDigests(tmp_path, digests.state)
    again.digest("file")
    assert len(hashed) == 3


def test_unchanged_since(digests: FileDigests, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    digests.digest("file")
    seen = digests.seen("file")
    assert digests.unchanged("file", seen)
    path.write_text("two")
    digests.digest("file")  # by another task, meanwhile
    assert not digests.unchanged("file", seen)
    assert digests.unchanged("file", digests.seen("file"))
    assert not digests.unchanged("file", None)
    # Written within the same tick of the clock, with the same size: the content tells.
    now = Stat.of(path)
    assert now is not None
    assert seen is not None
    assert not digests.unchanged("file", (now, time.time_ns(), seen[2]))


def test_an_entry_of_what_was_hashed(tmp_path: Path) -> None:
    stat = Stat(1, 2_000, 3_000, 4)
    assert hashed_entry("f", (stat, 10**12, "digest")) == ["f", 1, 2_000, 3_000, 4, None]
    assert hashed_entry("f", (stat, 4_000, "digest")) == ["f", 1, 2_000, 3_000, 4, "digest"]
