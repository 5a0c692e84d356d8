"""Whatever happens to `.tflbuild/`: never a wrong file, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_workspace import Fake

from tflbuild.engine.state import State


@pytest.fixture
def built(fake: Fake) -> Fake:
    assert fake.build().ok
    return fake


def blob(fake: Fake, task: str, output: str) -> Path:
    state = State.read_only(fake.root / ".tflbuild/state.sqlite")
    digest = state.tasks()[task].outputs[output][0]
    state.close()
    return fake.root / ".tflbuild/store/blobs" / digest[:2] / digest


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


HARMS = pytest.mark.parametrize("harm", [delete, truncate, flip])
BLOBS = [
    ("lower:a", "lowered.pb"), ("lower:a", "interface.json"), ("lower:a", "lower.json"),
    ("reference:a", "reference.json"), ("reference:a", "output.0.npy"),
    ("evaluate:a", "evaluate.json"), ("evaluate:a", "float.tflite"),
    ("convert:a:int8", "model.tflite"), ("convert:a:int8", "convert.json"),
    ("validate:a:int8", "validate.json"), ("compat:a:int8@litert", "compat.json"),
]  # fmt: skip


@pytest.mark.parametrize("harm", [delete, flip])
@pytest.mark.parametrize(("task", "output"), BLOBS)
def test_a_damaged_blob(built: Fake, task: str, output: str, harm: Callable[[Path], None]) -> None:
    before = built.dist()
    harm(blob(built, task, output))
    # The files in dist are whole: nothing needs the blob.
    assert built.build().done.counts.ran == 0
    # Everything that may need it is asked for.
    shutil.rmtree(built.root / "dist")
    shutil.rmtree(built.root / "build")
    result = built.build(keep_going=True)
    assert result.ok, [(t.task, t.reason) for t in result.tasks]
    assert built.dist() == before
    assert built.leftovers() == []
    # And a model that changes, too.
    if blob(built, task, output).exists():  # nobody may have needed it
        harm(blob(built, task, output))
    built.write(built_manifest(built).replace("{quantize: int8}", "{quantize: int8, io: int8}"))
    result = built.build(keep_going=True)
    assert result.ok, [(t.task, t.reason) for t in result.tasks]
    assert built.dist()["litert/a-int8.tflite"].startswith(b"1 int8 int8\n")


def built_manifest(fake: Fake) -> str:
    return (fake.root / "tflbuild.yaml").read_text()


@HARMS
def test_every_blob_is_damaged(built: Fake, harm: Callable[[Path], None]) -> None:
    before = built.dist()
    for path in (built.root / ".tflbuild/store/blobs").glob("*/*"):
        harm(path)
    shutil.rmtree(built.root / "dist")
    shutil.rmtree(built.root / "build")
    result = built.build()
    assert result.ok, [(t.task, t.reason) for t in result.tasks]
    assert built.dist() == before
    assert built.build().done.reached_graph == 0


def test_the_store_is_deleted(built: Fake) -> None:
    before = built.dist()
    shutil.rmtree(built.root / ".tflbuild/store")
    (built.root / "dist/litert/a-int8.tflite").unlink()
    result = built.build()
    assert result.ok, [(t.task, t.reason) for t in result.tasks]
    assert built.dist() == before
    assert not any(name.split(":")[1] == "b" for name in result.ran())


def test_a_blob_of_another_content_is_restored_from_nothing(built: Fake) -> None:
    """An action that is known, whose blob was edited: not restored from it."""
    before = built.dist()
    built.model("a", 5)
    built.build()
    for path in (built.root / ".tflbuild/store/blobs").glob("*/*"):
        if path.read_bytes().startswith(b"1 int8"):
            flip(path)
    built.model("a", 1)
    assert built.build().ok
    assert built.dist() == before


# the state


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def first_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4096])


def holes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for start in range(4096, len(content), 8192):
        content[start : start + 3000] = b"\xff" * 3000
    path.write_bytes(content)


def other_database(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE tasks (name TEXT, something INTEGER)")
    connection.commit()
    connection.close()


def other_schema(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    connection.commit()
    connection.close()


def odd_rows(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE tasks SET outputs = '[1, 2'")
    connection.commit()
    connection.close()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", ["nothing", "a model", "dist"])
@pytest.mark.parametrize(
    "harm",
    [delete, garbage, empty, half, first_page, holes, other_database, other_schema, odd_rows],
)
def test_a_damaged_state(built: Fake, harm: Callable[[Path], None], change: str) -> None:
    before = built.dist()
    for suffix in ("-wal", "-shm"):
        (built.root / f".tflbuild/state.sqlite{suffix}").unlink(missing_ok=True)
    harm(built.root / ".tflbuild/state.sqlite")
    if change == "a model":
        built.model("a", 3)
    elif change == "dist":
        (built.root / "dist/litert/a-int8.tflite").write_text("edited")
    result = built.build()
    assert result.ok, [(t.task, t.reason) for t in result.tasks]
    assert len(built.index()) == 4  # also of the models that nothing was done for
    if change == "a model":
        assert built.dist()["litert/a-int8.tflite"].startswith(b"3 int8")
        before["litert/a-int8.tflite"] = built.dist()["litert/a-int8.tflite"]
        before["litert/a-float32.tflite"] = built.dist()["litert/a-float32.tflite"]
    for name, content in before.items():
        if name.endswith(".tflite"):
            assert built.dist()[name] == content
    again = built.build()
    assert again.done.reached_graph == 0
    assert built.leftovers() == []


def test_an_older_state_is_put_back(built: Fake, tmp_path: Path) -> None:
    """The record does not speak of it."""
    old = tmp_path / "old.sqlite"
    shutil.copy(built.root / ".tflbuild/state.sqlite", old)
    built.model("a", 3)
    built.build()
    before = built.dist()
    for suffix in ("-wal", "-shm"):
        (built.root / f".tflbuild/state.sqlite{suffix}").unlink(missing_ok=True)
    shutil.copy(old, built.root / ".tflbuild/state.sqlite")
    built.model("b", 4)
    assert built.build().ok
    assert len(built.index()) == 4
    assert built.dist()["litert/a-int8.tflite"] == before["litert/a-int8.tflite"]


# the record


def record(fake: Fake) -> Any:
    return json.loads((fake.root / ".tflbuild/record.json").read_text())


def wrong_records() -> Iterator[tuple[str, Callable[[Any], Any]]]:
    for key in ("place", "common", "manifests", "outputs", "names", "models", "format", "token",
                "manifest"):  # fmt: skip
        for value in (None, 3, "text", [], {}, [[]], [1], [["x", 1]], {"a": 1}, {"a": [1, 2, 3]},
                      {"a": ["", "x", []]}, [["\0"]]):  # fmt: skip
            yield f"{key} {value!r}", lambda r, k=key, v=value: {**r, k: v}
    yield "a list", lambda r: [r]
    yield "a key too many", lambda r: {**r, "more": 1}
    yield "entries of numbers", lambda r: {**r, "common": [[1] * 6]}


def test_records_of_wrong_types(built: Fake) -> None:
    path = built.root / ".tflbuild/record.json"
    assert built.build().done.reached_graph == 0
    good = record(built)
    built.model("a", 3)
    for name, change in wrong_records():
        path.write_text(json.dumps(change(good)))
        result = built.build()
        assert result.ok, name
        assert result.done.counts.up_to_date + result.done.counts.ran >= 24, name


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"null", b"[" * 200_000, b'{"format": 1}', b" " * 5_000_000,
     b'{"format": 1, "models": ' + b'{"a":' * 50_000],
)  # fmt: skip
def test_a_garbage_record(built: Fake, content: bytes) -> None:
    path = built.root / ".tflbuild/record.json"
    path.write_bytes(content)
    result = built.build()
    assert result.ok
    assert result.ran() == []
    assert built.build().done.reached_graph == 0


def test_a_truncated_record(built: Fake) -> None:
    path = built.root / ".tflbuild/record.json"
    good = path.read_bytes()
    for length in range(0, len(good), max(1, len(good) // 10)):
        path.write_bytes(good[:length])
        assert built.build().ran() == []


# a place that cannot be written


# Root writes everywhere, unless it gives that up.
HUMBLE = ["setpriv", "--bounding-set", "-dac_override"] if os.getuid() == 0 else []


@pytest.mark.skipif(bool(HUMBLE) and not shutil.which("setpriv"), reason="root without setpriv")
@pytest.mark.parametrize("change", [False, True])
@pytest.mark.parametrize("lock", [False, True])
def test_a_read_only_folder(built: Fake, change: bool, lock: bool) -> None:
    if change:
        built.model("a", 3)
    folders = [p for p in (built.root / ".tflbuild").rglob("*") if p.is_dir()]
    files = [p for p in (built.root / ".tflbuild").rglob("*") if p.is_file()]
    for path in [*files, *folders, built.root / ".tflbuild"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if lock:  # only the lock file may be written
        (built.root / ".tflbuild/lock").chmod(0o666)
    run = built.run(before=HUMBLE)
    for path in [built.root / ".tflbuild", *folders]:
        path.chmod(0o755)
    assert run.code == 2, (run.out, run.err)
    assert "cannot be written" in run.err
    assert len(run.err.splitlines()) == 1


def test_a_file_where_a_folder_should_be(fake: Fake) -> None:
    (fake.root / "dist").mkdir()
    (fake.root / "dist/litert").write_text("in the way")
    result = fake.build(keep_going=True)
    assert result.exit_code == 1
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    assert "dist/litert/a-int8.tflite cannot be written" in reasons["release:a:int8@litert"]
    (fake.root / "dist/litert").unlink()
    (fake.root / "dist/litert/a-int8.tflite").mkdir(parents=True)
    result = fake.build(keep_going=True)
    assert [t.task for t in result.tasks if t.outcome == "failed"] == ["release:a:int8@litert"]
    assert len(fake.index()) == 3


@pytest.mark.parametrize("harm", [garbage, empty, half, holes, other_database])
def test_looking_at_a_damaged_state(built: Fake, harm: Callable[[Path], None]) -> None:
    harm(built.root / ".tflbuild/state.sqlite")
    for suffix in ("-wal", "-shm"):
        (built.root / f".tflbuild/state.sqlite{suffix}").unlink(missing_ok=True)
    with closing(State.read_only(built.root / ".tflbuild/state.sqlite")) as state:
        assert state.tasks() == {}
        assert state.released() == {}
        assert state.parts("lower:a") is None
