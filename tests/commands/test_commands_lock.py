"""`tflbuild lock`: what differs from the last release; `--update` makes it that."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_workspace import MANIFEST, Fake
from jsonschema import Draft202012Validator

from tflbuild import cli, schemas
from tflbuild.engine.lock import workspace_lock
from tflbuild.lockfile import LOCK, Locked, read, text

Say = Callable[..., tuple[int, list[str], list[str]]]

ALL = ["a:float32@litert", "a:int8@litert", "b:float32@litert", "b:int8@litert"]


@pytest.fixture
def lock(fake: Fake, capsys: pytest.CaptureFixture[str]) -> Say:
    """The command: exit code, lines of results, lines beside them."""

    def run(*arguments: str) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        code = cli.run(["-C", str(fake.root), "lock", *arguments])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run


@pytest.fixture
def locked(fake: Fake, lock: Say) -> Fake:
    assert fake.build().ok
    assert lock("--update")[0] == 0
    return fake


def test_the_first_lock(fake: Fake, lock: Say) -> None:
    assert fake.build().ok
    code, out, err = lock()
    assert (code, err) == (1, [])
    assert out[0] == "added     a:float32@litert: is not in the lock yet"
    assert out[-1] == "4 added; to make this the last release: tflbuild lock --update"
    assert not (fake.root / LOCK).exists()
    code, out, err = lock("--update")
    assert (code, err) == (0, [])
    assert out[0] == "added     a:float32@litert"
    assert out[-1] == "4 added; tflbuild.lock is written: commit it"
    found = read(fake.root)
    assert sorted(found) == ALL
    one = found["a:int8@litert"]
    file = (fake.root / "dist/litert/a-int8.tflite").read_bytes()
    assert one.size == len(file)
    assert one.parity == {"y": 120}
    assert one.interface["signatures"][0]["outputs"][0]["name"] == "y"
    assert one.toolchain["tensorflow"].startswith("2.")
    assert {"python", "machine"} < {*one.toolchain}
    assert all(" " not in version for version in one.toolchain.values())
    assert "cpu" not in one.toolchain
    assert lock() == (0, ["4 equal"], [])


def test_nothing_to_write_leaves_the_file_alone(locked: Fake, lock: Say) -> None:
    before = (locked.root / LOCK).stat()
    assert lock("--update") == (0, ["4 equal; tflbuild.lock is as it should be"], [])
    after = (locked.root / LOCK).stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_what_changed_is_told(locked: Fake, lock: Say) -> None:
    old = read(locked.root)["a:float32@litert"]
    locked.model("a", 2, do={"sqnr": 111.123})
    assert locked.build().ok
    code, out, _ = lock()
    assert code == 1
    assert [line.split()[:2] for line in out[:-1]] == [
        ["changed", "a:float32@litert:"], ["changed", "a:int8@litert:"],
    ]  # fmt: skip
    assert "SQNR of y 120 dB → 111.1 dB" in out[0]
    assert f"SHA-256 {old.sha256[:12]} → " in out[0]
    assert f"recipe {old.recipe[:12]} → " in out[0]
    assert out[-1].startswith("2 changed, 2 equal; ")
    assert lock("--update")[0] == 0
    assert read(locked.root)["a:float32@litert"].parity == {"y": 111.1}


def test_what_anybody_wrote_is_shown_and_no_more(locked: Fake, lock: Say) -> None:
    found = read(locked.root)
    old = found["a:int8@litert"]
    toolchain = {**old.toolchain, "python": "3\x1b[31m\ud800"}
    found["a:int8@litert"] = Locked(**{**vars(old), "toolchain": toolchain})
    (locked.root / LOCK).write_text(text(found))
    code, out, err = lock()
    assert (code, err) == (1, [])
    assert out[0].startswith("changed   a:int8@litert: by python 3\ufffd[31m\ufffd → 3.")


def test_the_recipe_is_of_sources_and_parameters_and_not_of_the_toolchain(
    locked: Fake, lock: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tflbuild.store.toolchain import Toolchain

    old = read(locked.root)
    real = Toolchain.of
    monkeypatch.setattr(
        Toolchain, "of", lambda self, *a, **k: {**real(self, *a, **k), "keras": "9.9.9 py3-none"}
    )
    assert locked.build().ok
    code, out, _ = lock()
    assert code == 1
    assert all(line.endswith(f"by keras {old[ALL[0]].toolchain['keras']} → 9.9.9")
               for line in out[:-1])  # fmt: skip
    assert not any("recipe" in line or "SHA-256" in line for line in out)
    assert lock("--update")[0] == 0
    new = read(locked.root)
    assert {n: v.recipe for n, v in new.items()} == {n: v.recipe for n, v in old.items()}
    assert len({v.recipe for v in new.values()}) == 4  # of other parameters or sources


def test_another_order_of_events_gives_the_same_file(locked: Fake, lock: Say) -> None:
    whole = (locked.root / LOCK).read_bytes()
    (locked.root / LOCK).unlink()
    for name in reversed(ALL):
        assert lock("--update", name)[0] == 0
    assert (locked.root / LOCK).read_bytes() == whole


def test_a_stale_artifact_is_refused(locked: Fake, lock: Say) -> None:
    before = (locked.root / LOCK).read_bytes()
    locked.model("a", 1, do={"sqnr": 1})
    assert not locked.build(keep_going=True).ok
    code, out, err = lock("--update")
    assert code == 1
    assert err == [
        "refused   a:float32@litert: stale: the gate of validate:a:float32 does not pass: sqnr of"
        " output 'y' is 1 dB, below the limit 80 dB, default for none"
    ]  # the int8 file warns only, on random data
    assert out[-1].endswith(
        "; tflbuild.lock is not written: build first, or name the artifacts to update"
    )
    assert (locked.root / LOCK).read_bytes() == before
    assert lock("--update", "a:int8")[0] == 0
    assert (locked.root / LOCK).read_bytes() != before


def test_sources_that_changed_since_are_refused(locked: Fake, lock: Say) -> None:
    locked.model("a", 5)
    code, _, err = lock("--update")
    assert code == 1
    assert err[0] == (
        "refused   a:float32@litert: stale: build first (lower:a would run (models/a.keras"
        " changed))"
    )
    assert lock("--update", "b")[0] == 0


def test_what_was_not_built_is_refused(fake: Fake, lock: Say) -> None:
    code, _, err = lock("--update")
    assert code == 1
    assert err[0] == "refused   a:float32@litert: not built: build first (lower:a would run)"
    assert not (fake.root / LOCK).exists()


def test_an_edited_file_in_dist_is_refused(locked: Fake, lock: Say) -> None:
    (locked.root / "dist/litert/a-int8.tflite").write_text("edited")
    code, _, err = lock("--update")
    assert code == 1
    (line,) = err
    assert line.startswith("refused   a:int8@litert: ")
    assert line.endswith(": build first")


def test_a_failed_interface_cannot_become_the_last_release(locked: Fake, lock: Say) -> None:
    locked.model("a", 1, do={"names": ["z"]})
    assert not locked.build(keep_going=True).ok
    code, _, err = lock("--update")
    assert code == 1
    assert "output 'y' is now called 'z'" in err[0]
    locked.write(MANIFEST.replace("defaults:", "defaults:\n  allow_interface_change: true"))
    assert locked.build().ok
    code, out, _ = lock("--update")
    assert code == 0
    assert "output 'y' is now called 'z'" in out[0]
    locked.write(MANIFEST)
    assert locked.build().ok


def test_lines_of_what_the_manifest_has_no_more(locked: Fake, lock: Say) -> None:
    locked.write(MANIFEST.partition("  b:")[0])
    assert locked.build().ok
    code, out, _ = lock()
    assert code == 1
    assert out[0] == "removed   b:float32@litert: the manifest has it no more"
    assert lock("a")[0] == 0  # b was not asked for
    assert lock("--update", "a")[0] == 0
    assert sorted(read(locked.root)) == ALL
    assert lock("--update")[0] == 0
    assert sorted(read(locked.root)) == ALL[:2]


def test_only_showing(locked: Fake, lock: Say) -> None:
    before = (locked.root / LOCK).read_bytes()
    locked.model("a", 2)
    assert locked.build().ok
    code, out, _ = lock("--update", "-n")
    assert code == 0
    assert out[-1] == "2 changed, 2 equal; nothing is written (-n)"
    assert (locked.root / LOCK).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-n",), "-n has no effect without --update"),
        (("nothing",), "nothing matches 'nothing'"),
        (("--update", "lower:a"), "'lower:a' is no artifact"),
    ],
)
def test_wrong_usage(locked: Fake, lock: Say, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = lock(*arguments)
    assert code == 2
    assert said in err[0]


def test_a_symbolic_link_is_left_alone(locked: Fake, lock: Say, tmp_path: Path) -> None:
    (locked.root / LOCK).rename(tmp_path / "elsewhere")
    (locked.root / LOCK).symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere").read_bytes()
    locked.model("a", 2)
    assert locked.build().ok
    code, _, err = lock("--update")
    assert code == 2
    assert "is a symbolic link" in err[0]
    assert (tmp_path / "elsewhere").read_bytes() == before


def test_waits_for_a_build(locked: Fake, lock: Say) -> None:
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with workspace_lock(locked.root / ".tflbuild/lock", lambda holder: None):
            held.set()
            let_go.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(60)
    threading.Timer(0.3, let_go.set).start()
    code, _, err = lock("--update")
    other.join()
    assert code == 0
    assert err[0].startswith("waiting for the lock of this workspace")


def test_a_killed_update_leaves_the_old_file(
    locked: Fake, lock: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (locked.root / LOCK).read_bytes()
    locked.model("a", 2)
    assert locked.build().ok

    def die(self: Path, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", die)
    code, _, err = lock("--update")
    assert code == 2
    assert err == ["tflbuild: tflbuild.lock cannot be written: No space left on device"]
    assert (locked.root / LOCK).read_bytes() == before
    assert not list(locked.root.glob(".tflbuild.lock*"))


def test_as_json(locked: Fake, lock: Say) -> None:
    found = read(locked.root)
    old = found["a:int8@litert"]
    found["a:int8@litert"] = Locked(**{**vars(old), "metrics": {"accuracy": 0.5}})
    found["c:int8@litert"] = Locked(**{**vars(old), "artifact": "c:int8@litert"})
    del found["b:int8@litert"]
    (locked.root / LOCK).write_text(text(found))
    locked.model("b", 9)
    code, out, err = lock("--format", "json")
    assert (code, err) == (1, [])
    value = json.loads("\n".join(out))
    validator = Draft202012Validator(json.loads(schemas.text("lock")))
    assert [e.message for e in validator.iter_errors(value)] == []
    assert {one["artifact"]: one["status"] for one in value["artifacts"]} == {
        "a:float32@litert": "equal", "a:int8@litert": "changed", "b:float32@litert": "refused",
        "b:int8@litert": "refused", "c:int8@litert": "removed",
    }  # fmt: skip
    assert value["artifacts"][1]["changes"] == [
        {"what": "metrics.accuracy", "said": "accuracy 0.5 → (none)"}
    ]
    assert value["written"] is False


def test_works_on_a_tree_that_cannot_be_written(locked: Fake, lock: Say) -> None:
    locked.root.chmod(0o555)
    try:
        assert lock()[0] == 0
    finally:
        locked.root.chmod(0o755)
