"""A build against the last release: `tflbuild.lock` is judged by, and no reason to run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_workspace import MANIFEST, Fake

from tflbuild import cli
from tflbuild.api import BuildResult
from tflbuild.engine.events import Event, TaskDone
from tflbuild.errors import UsageError
from tflbuild.lockfile import LOCK, Locked, read, text
from tflbuild.reporting.terminal import Terminal


@pytest.fixture
def locked(fake: Fake) -> Fake:
    """Built and locked, and then built again, so that the record knows the lock."""
    assert fake.build().ok
    assert cli.run(["-C", str(fake.root), "lock", "--update", "-q"]) == 0
    assert fake.build().ok
    return fake


def edit(fake: Fake, artifact: str, output: str) -> None:
    """Say that the last release of an artifact had an output of another name."""
    found = read(fake.root)
    old = found[artifact]
    (signature,) = old.interface["signatures"]
    outputs = [{**signature["outputs"][0], "name": output}]
    changed = {"signatures": [{**signature, "outputs": outputs}]}
    found[artifact] = Locked(**{**vars(old), "interface": changed})
    (fake.root / LOCK).write_text(text(found))


def messages(result: BuildResult, level: str) -> list[str]:
    return [
        f"{task}: {finding.message}"
        for task, verdict in sorted(result.gates.items())
        for finding in verdict.findings
        if finding.check == "interface" and finding.level == level
    ]


def test_a_changed_line_is_judged_and_nothing_runs(locked: Fake) -> None:
    assert locked.build().done.reached_graph == 0
    edit(locked, "a:int8@litert", "old")
    result = locked.build(keep_going=True)
    assert result.exit_code == 1
    assert result.ran() == []
    assert result.done.reached_graph == 12  # those of model a
    assert messages(result, "fail") == [
        "validate:a:int8: output 'old' is now called 'y': an application that binds by name no"
        " longer finds it; by position nothing changes; undo it, or write"
        " `allow_interface_change: [names]` in model 'a' to release it"
    ]
    assert locked.summary()["a:int8@litert"]["status"] == "stale"
    again = locked.build(keep_going=True)  # and it says so again
    assert again.exit_code == 1
    assert messages(again, "fail") == messages(result, "fail")


def test_a_lock_that_is_set_right_is_judged_again(locked: Fake) -> None:
    sound = (locked.root / LOCK).read_bytes()
    edit(locked, "a:int8@litert", "old")
    assert not locked.build().ok
    (locked.root / LOCK).write_bytes(sound)
    result = locked.build()
    assert result.ok
    assert result.ran() == []
    assert locked.build().done.reached_graph == 0


def test_a_new_and_a_removed_lock(fake: Fake) -> None:
    assert fake.build().ok
    assert fake.build().done.reached_graph == 0
    assert cli.run(["-C", str(fake.root), "lock", "--update", "-q"]) == 0
    new = fake.build()
    assert new.ok
    assert new.ran() == []
    assert new.done.reached_graph == 24
    edit(fake, "b:int8@litert", "old")
    assert not fake.build().ok
    (fake.root / LOCK).unlink()
    gone = fake.build()
    assert gone.ok
    assert gone.ran() == []
    assert fake.build().done.reached_graph == 0


def test_lines_of_others_and_their_order_judge_nothing_again(locked: Fake) -> None:
    found = read(locked.root)
    found["gone:int8@litert"] = Locked(
        **{**vars(found["a:int8@litert"]), "artifact": "gone:int8@litert"}
    )
    (locked.root / LOCK).write_text(text(found))
    result = locked.build()
    assert result.ok
    assert result.done.reached_graph == 0
    assert locked.build().done.reached_graph == 0


def test_a_lock_that_changes_while_a_build_runs_is_judged_by_the_next(locked: Fake) -> None:
    locked.model("a", 5)

    def meanwhile(event: Event) -> None:
        if isinstance(event, TaskDone) and event.task == "convert:a:int8":
            edit(locked, "a:int8@litert", "old")

    assert locked.build(listen=meanwhile).ok
    assert not locked.build().ok


def test_a_lock_that_comes_while_a_build_runs_is_judged_by_the_next(fake: Fake) -> None:
    assert fake.build().ok
    assert cli.run(["-C", str(fake.root), "lock", "--update", "-q"]) == 0
    data = text(read(fake.root))
    (fake.root / LOCK).unlink()
    fake.model("a", 5)

    def meanwhile(event: Event) -> None:
        if isinstance(event, TaskDone) and event.task == "convert:a:int8":
            (fake.root / LOCK).write_text(data)
            edit(fake, "a:int8@litert", "old")

    assert fake.build(listen=meanwhile).ok
    assert not fake.build().ok


def test_a_renamed_output_of_the_source_is_stopped(locked: Fake) -> None:
    before = locked.dist()
    locked.model("a", 1, do={"names": ["z"]})
    result = locked.build(keep_going=True)
    assert result.exit_code == 1
    assert [line.partition(": ")[0] for line in messages(result, "fail")] == [
        "validate:a:float32", "validate:a:int8",
    ]  # fmt: skip
    assert locked.dist() == before
    assert locked.build(keep_going=True).ran() == []


@pytest.mark.parametrize("allowed", ["true", "[names]", "[shapes, names]"])
def test_what_the_manifest_allows_warns_and_is_released(locked: Fake, allowed: str) -> None:
    locked.model("a", 1, do={"names": ["z"]})
    assert not locked.build(keep_going=True).ok
    manifest = MANIFEST.replace("defaults:", f"defaults:\n  allow_interface_change: {allowed}")
    locked.write(manifest)
    result = locked.build()
    assert result.ok
    assert not [task for task in result.ran() if not task.startswith("release:")]
    (warned, _) = messages(result, "warn")
    assert warned.endswith("by position nothing changes (allowed by `allow_interface_change`)")


def test_another_kind_is_not_allowed(locked: Fake) -> None:
    locked.model("a", 1, do={"names": ["z"]})
    locked.write(MANIFEST.replace("defaults:", "defaults:\n  allow_interface_change: [dtypes]"))
    assert not locked.build().ok


def test_no_line_of_an_artifact_no_contract(locked: Fake) -> None:
    found = read(locked.root)
    (locked.root / LOCK).write_text(text({n: v for n, v in found.items() if v.model == "b"}))
    locked.model("a", 1, do={"names": ["z"]})
    assert locked.build().ok


def test_a_damaged_lock_stops_before_any_work(locked: Fake) -> None:
    locked.model("a", 7)
    data = (locked.root / LOCK).read_text()
    (locked.root / LOCK).write_text("<<<<<<< HEAD\n" + data)
    with pytest.raises(UsageError, match=r"^tflbuild.lock:1: a conflict of a merge"):
        locked.build()
    assert cli.run(["-C", str(locked.root), "plan"]) == 2
    assert cli.run(["-C", str(locked.root), "lock", "--update"]) == 2
    (locked.root / LOCK).write_text(data)
    assert locked.build().ok


def test_a_plan_says_what_the_gate_says(locked: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    edit(locked, "a:int8@litert", "old")
    assert cli.run(["-C", str(locked.root), "plan", "a:int8"]) == 0
    assert "output 'old' is now called 'y'" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 200])
def test_the_terminal_shows_them_side_by_side(
    locked: Fake,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    edit(locked, "a:int8@litert", "old")
    heard: list[Event] = []
    locked.build(listen=heard.append)
    capsys.readouterr()
    with Terminal() as terminal:
        for event in heard:
            terminal(event)
    lines = capsys.readouterr().err.splitlines()
    title = lines.index("  interface of the last release (tflbuild.lock) and of this file:")
    assert [line.split() for line in lines[title + 1 : title + 3]] == [
        ["last", "release", "this", "file", "change"],
        ["output", "0", "old", "float32[1,2]", "0", "y", "float32[1,2]", "names"],
    ]
    assert all(len(line) <= columns for line in lines[title:])


def test_targets_with_other_last_releases_are_told_apart(fake: Fake) -> None:
    fake.write(
        MANIFEST.replace("defaults:", "targets: {phone: {runtime: litert}}\ndefaults:").replace(
            "optimizations: {float32: {}",
            "targets: [litert, phone]\n  optimizations: {float32: {}",
        )
    )
    assert fake.build().ok
    assert cli.run(["-C", str(fake.root), "lock", "--update", "-q"]) == 0
    edit(fake, "a:int8@phone", "old")
    (line,) = messages(fake.build(), "fail")
    assert line.startswith("validate:a:int8: target phone: output 'old' is now called 'y'")


def test_nothing_is_left_behind(locked: Fake) -> None:
    assert [Path(path).name for path in locked.leftovers()] == []
    assert sorted(read(locked.root)) == [
        "a:float32@litert", "a:int8@litert", "b:float32@litert", "b:int8@litert",
    ]  # fmt: skip
