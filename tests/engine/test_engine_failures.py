"""Gates that do not pass, tasks that fail, workers that die: said clearly, and never recorded."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fake_build import FAKES, FakePool
from fake_workspace import MANIFEST, Fake, gone, wait_for, workers_of

from tflbuild.engine.events import TaskStarted
from tflbuild.engine.state import State
from tflbuild.engine.workers import Job, Workers
from tflbuild.store.digest import bytes_digest

LIMITED = MANIFEST.replace("  b: {", "  b: {validate: {parity: {sqnr: %s}}, ")


def failures(result: Any) -> dict[str, str]:
    return {t.task: t.reason for t in result.tasks if t.outcome == "failed"}


# gates


def test_a_gate_keeps_the_old_file(fake: Fake) -> None:
    fake.write(LIMITED % 100)
    assert fake.build().ok
    before = fake.dist()
    fake.model("b", 3, do={"sqnr": 60.5})
    result = fake.build(keep_going=True)
    assert result.exit_code == 1
    assert "validate:b:int8" in result.ran()  # measured: that is not judging
    assert result.done.stale == ("b:float32@litert", "b:int8@litert")
    assert fake.dist() == before
    message = result.gates["validate:b:int8"].failures[0].message
    assert message == "sqnr of output 'y' is 60.5 dB, below the limit 100 dB"
    entry = fake.summary()["b:int8@litert"]
    assert entry["status"] == "stale"
    assert entry["findings"] == [f"validate:b:int8: {message}"]
    assert fake.summary()["a:int8@litert"]["status"] == "released"
    # Nothing changed: nothing runs, and the same is said.
    for options in ({"keep_going": True}, {}):
        again = fake.build(**options)
        assert again.ran() == []
        assert again.exit_code == 1
        assert "validate:b:float32" in again.gates
        assert fake.dist() == before
        assert again.done.reached_graph == 12  # of the model that passed, nothing
    assert again.gates["validate:b:float32"] == result.gates["validate:b:float32"]
    # A looser limit runs nothing but the release.
    fake.write(LIMITED % 50)
    result = fake.build()
    assert result.ok
    assert result.ran() == ["release:b:float32@litert", "release:b:int8@litert"]
    assert fake.dist() != before
    assert len(fake.index()) == 4
    assert {entry["status"] for entry in fake.summary().values()} == {"released"}
    # A tighter one again: the file that lies there was right when it was released.
    before = fake.dist()
    fake.write(LIMITED % 61)
    result = fake.build()
    assert result.ran() == []
    assert result.exit_code == 1
    assert fake.dist() == before


def test_a_gate_before_the_first_release(fake: Fake) -> None:
    fake.write(LIMITED % 200)
    result = fake.build(keep_going=True)
    assert result.exit_code == 1
    assert result.done.stale == ()
    assert fake.index() == ["a-float32.tflite", "a-int8.tflite"]
    assert fake.summary()["b:int8@litert"]["status"] == "not released"
    assert result.outcome("release:b:int8@litert") == "skipped"


def test_evaluation_stops_a_model_before_conversion(fake: Fake) -> None:
    fake.write(MANIFEST.replace("  b: {", "  b: {evaluate: {max_params: 999}, "))
    result = fake.build(keep_going=True)
    assert result.exit_code == 1
    assert [name for name in result.ran() if ":b" in name] == [
        "evaluate:b", "lower:b", "reference:b",
    ]  # fmt: skip
    assert result.gates["evaluate:b"].failures[0].message == (
        "parameters: 1,000 of 999, 1 too many (max_params of evaluate)"
    )
    fake.write()
    result = fake.build(keep_going=True)
    assert result.ran() == []


def test_size_is_judged_against_the_target(fake: Fake) -> None:
    text = MANIFEST.replace(
        "defaults:\n", "targets: {t: {runtime: litert, max_size: 1KB}}\ndefaults:\n"
    )
    fake.write(text.replace("  b: {", "  b: {targets: [litert, t], "))
    result = fake.build(keep_going=True)
    assert result.exit_code == 1
    assert fake.index() == [
        "a-float32.tflite", "a-int8.tflite", "b-float32.tflite", "b-int8.tflite",
    ]  # fmt: skip
    assert not (fake.root / "dist/t").exists()
    message = result.gates["compat:b:int8@t"].failures[0].message
    assert message == (
        "the file: 300 KB of 1,000 B, 300 times it (max_size of target t); weights are 10 B of it"
    )


# failures of tasks


def test_a_failed_task(fake: Fake) -> None:
    fake.model("a", 1, do={"convert:int8": {"fail": "no such thing"}})
    result = fake.build(keep_going=True)
    assert result.exit_code == 1
    assert failures(result) == {"convert:a:int8": "no such thing"}
    failed = next(t for t in result.tasks if t.task == "convert:a:int8")
    assert failed.log == "build/logs/convert:a:int8.log"
    assert "convert says hello" in (fake.root / failed.log).read_text()
    assert result.outcome("validate:a:int8") == "skipped"
    assert fake.index() == ["a-float32.tflite", "b-float32.tflite", "b-int8.tflite"]
    assert fake.summary()["a:int8@litert"]["findings"] == ["convert:a:int8: no such thing"]
    again = fake.build(keep_going=True)
    assert failures(again) == {"convert:a:int8": "no such thing"}  # not recorded: it ran again
    assert again.ran() == []
    fake.model("a", 1)
    assert fake.build().ok


def test_a_failed_task_stops_the_build(fake: Fake) -> None:
    fake.model("a", 1, do={"lower": {"fail": "cannot load"}})
    result = fake.build(jobs=1)
    assert result.exit_code == 1
    assert failures(result) == {"lower:a": "cannot load"}
    assert {t.outcome for t in result.tasks if t.task.startswith("release")} == {"skipped"}


@pytest.mark.parametrize(
    ("suffering", "reason"),
    [
        ({"signal": signal.SIGSEGV}, "the worker crashed (SIGSEGV)"),
        ({"signal": signal.SIGABRT}, "the worker crashed (SIGABRT)"),
        ({"signal": signal.SIGKILL}, "the worker was killed (SIGKILL); out of memory?"),
        ({"exit": 3}, "the worker ended with status 3 and no result"),
        ({"bug": "oh no"}, "ZeroDivisionError: oh no"),
    ],
)
def test_a_dying_worker(fake: Fake, suffering: dict[str, Any], reason: str) -> None:
    fake.model("a", 1, do={"validate": suffering})
    result = fake.build(keep_going=True)
    assert result.exit_code == 1
    assert failures(result) == {"validate:a:float32": reason, "validate:a:int8": reason}
    assert fake.index() == ["b-float32.tflite", "b-int8.tflite"]
    assert "validate:a:int8" in failures(fake.build(keep_going=True))
    assert fake.leftovers() == []


def test_a_crashing_conversion_takes_the_other_route_once(fake: Fake) -> None:
    fake.model("a", 1, do={"convert:int8": {"refuse": "not this way"}})
    result = fake.build()
    assert result.ok
    fake.model(
        "b", 1, do={"convert:int8": {"signal": signal.SIGSEGV, "mark": str(fake.root / "m")}}
    )
    result = fake.build()
    (reason,) = failures(result).values()
    assert reason.startswith("the worker crashed (SIGSEGV): it is known for weights that are inf")
    assert "on the calibration data, loops and tables" in reason
    assert len((fake.root / "m").read_text().split()) == 2


@pytest.mark.parametrize("stubborn", [False, True])
def test_timeout(fake: Fake, stubborn: bool) -> None:
    fake.write(MANIFEST.replace("  b: {", "  b: {timeout: 0.5, "))
    suffering: dict[str, Any] = {"sleep": 60, **({"stubborn": 1} if stubborn else {})}
    fake.model("b", 2, do={"convert:int8": suffering})
    result = fake.build(keep_going=True)
    assert failures(result) == {"convert:b:int8": "exceeded its timeout of 0.5 s"}
    assert len(fake.index()) == 3
    assert workers_of(fake.root) == []


def hit(fake: Fake, task: str, do: Callable[[], None]) -> Callable[[Any], None]:
    """A listener that does something from beside while a task runs."""

    def listen(event: Any) -> None:
        if isinstance(event, TaskStarted) and event.task == task:
            threading.Thread(target=do).start()

    return listen


def test_a_child_is_killed(fake: Fake) -> None:
    mark = fake.root / "pid"
    fake.model("a", 1, do={"convert:int8": {"sleep": 60, "mark": str(mark)}})

    def kill() -> None:
        pid = wait_for(lambda: mark.is_file() and mark.read_text().strip())
        os.kill(int(pid), signal.SIGKILL)

    result = fake.build(keep_going=True, listen=hit(fake, "convert:a:int8", kill))
    assert failures(result) == {"convert:a:int8": "the worker was killed (SIGKILL); out of memory?"}
    assert len(fake.index()) == 3


def test_a_zygote_is_killed(fake: Fake) -> None:
    mark = fake.root / "pid"
    fake.model("a", 1, do={"convert:int8": {"sleep": 60, "mark": str(mark)}})

    def kill() -> None:
        wait_for(mark.is_file)
        os.kill(fake.pool.zygotes["tf"].process.pid, signal.SIGKILL)

    result = fake.build(jobs=1, keep_going=True, listen=hit(fake, "convert:a:int8", kill))
    assert result.exit_code == 1
    assert "the tf worker ended with status -9" in failures(result)["convert:a:int8"]
    assert fake.index() == ["a-float32.tflite", "b-float32.tflite", "b-int8.tflite"]
    assert gone(fake.root) == []
    fake.model("a", 1)
    assert fake.build().ok
    assert len(fake.index()) == 4


def test_a_zygote_dies_between_two_builds(fake: Fake) -> None:
    assert fake.build().ok
    for zygote in fake.pool.zygotes.values():
        os.kill(zygote.process.pid, signal.SIGKILL)
        zygote.process.wait()
    fake.model("a", 3)
    assert fake.build().ok


def test_a_zygote_that_is_not_safe_to_fork_any_more(fake: Fake, tmp_path: Path) -> None:
    pool = FakePool(tmp_path / "unsafe")
    pool.modules = ("fake_unsafe", *FAKES)
    fake.pool = pool
    first: list[int] = []

    def listen(event: Any) -> None:
        if isinstance(event, TaskStarted) and not first:
            first.append(pool.zygotes["tf"].process.pid)

    result = fake.build(listen=listen)
    assert result.ok, failures(result)
    assert pool.zygotes["tf"].process.pid != first[0]
    pool.close()
    assert len(fake.index()) == 4


def test_a_zygote_that_cannot_start(fake: Fake, tmp_path: Path) -> None:
    pool = FakePool(tmp_path / "none")
    pool.modules = ("no_such_module",)
    fake.pool = pool
    result = fake.build(keep_going=True)
    assert result.exit_code == 1
    reasons = set(failures(result).values())
    assert "the tf worker cannot start: ModuleNotFoundError: No module named 'no_such_module'" in (
        reasons
    )
    pool.close()


def test_a_missing_source_at_the_wrong_moment(fake: Fake) -> None:
    fake.model("b", 2, do={"lower": {"edit": [str(fake.root / "gone"), ""]}})
    path = fake.root / "models/a.keras"

    def remove(event: Any) -> None:
        if isinstance(event, TaskStarted) and event.task == "lower:a":
            path.unlink()

    result = fake.build(keep_going=True, jobs=1, listen=remove)
    assert "models/a.keras: the file is gone" in failures(result)["lower:a"]
    assert fake.index() == ["b-float32.tflite", "b-int8.tflite"]


# inputs that change while they are read


def test_an_input_edited_while_its_action_runs(fake: Fake) -> None:
    """lower reads one content, reference another: nothing of that mixture is released."""
    path = fake.root / "models/a.keras"
    new = '{"value": 77}'
    mark = str(fake.root / "mark")  # evaluate leaves it: lower is done then
    late = {"await": mark, "edit": [str(path), new]}
    fake.model("a", 1, do={"evaluate": {"mark": mark}, "reference": late})
    result = fake.build(keep_going=True)
    assert set(failures(result)) == {"release:a:float32@litert", "release:a:int8@litert"}
    reason = "models/a.keras changed during this build: build again"
    assert set(failures(result).values()) == {reason}
    assert fake.index() == ["b-float32.tflite", "b-int8.tflite"]
    with closing(State.read_only(fake.root / ".tflbuild/state.sqlite")) as state:
        parts = state.parts("reference:a")
    assert parts is not None
    assert parts["inputs"]["source/model.keras"] == bytes_digest(new.encode())
    assert fake.build().ok
    assert fake.dist()["litert/a-float32.tflite"].startswith(b"77 none")


def test_an_input_edited_while_all_read_it(fake: Fake) -> None:
    path = fake.root / "models/a.keras"
    new = '{"value": 77}'
    slow = {"sleep": 0.3, "edit": [str(path), new]}
    fake.model("a", 1, do={"reference": slow, "lower": slow})
    result = fake.build(keep_going=True)
    assert result.ok, failures(result)  # both saw it, and ran again
    assert fake.dist()["litert/a-float32.tflite"].startswith(b"77 none")


def test_data_edited_again_and_again(fake: Fake) -> None:
    data = fake.root / "data/c.npz"
    fake.write(MANIFEST.replace("{random: {samples: 4}}", "{npz: data/c.npz}"), {"data/c.npz": "x"})
    mark = {"convert:int8": {"mark": str(data)}}  # each run adds a line to its own calibration
    fake.model("a", 1, do=mark)
    result = fake.build(keep_going=True, jobs=1)
    assert failures(result)["convert:a:int8"] == (
        "its input files change while it runs, again and again"
    )
    assert len(data.read_text().splitlines()) == 3
    fake.model("a", 1)
    assert fake.build().ok


@contextmanager
def swapped_when_decided(task: str, swap: Callable[[], Any]) -> Iterator[None]:
    """Do something once between the decision for a task and its start."""
    real, todo = Workers.submit, [swap]

    def submit(self: Workers, name: str, *rest: Any) -> Job:
        if name == task and todo:
            todo.pop()()
        return real(self, name, *rest)

    with mock.patch.object(Workers, "submit", submit):
        yield


def test_content_that_goes_and_comes_back(fake: Fake) -> None:
    """The file is the same before and after, but not while it was read."""
    path = fake.root / "models/a.keras"
    mark = str(fake.root / "mark")
    good = path.read_text()
    bad = json.dumps({"value": "bad", "do": {"lower": {"mark": mark, "edit": [str(path), good]}}})
    # The digest is that of `good`; the first child finds `bad` and puts `good` back.
    with swapped_when_decided("lower:a", lambda: path.write_text(bad)):
        result = fake.build()
    assert Path(mark).is_file()
    assert result.ok, failures(result)
    assert fake.dist()["litert/a-float32.tflite"].startswith(b"1 none")


def test_a_file_comes_to_a_saved_model_while_it_is_lowered(empty: Fake) -> None:
    manifest = MANIFEST.replace("keras, path: models/a.keras", "saved_model, path: models/a")
    new = str(empty.root / "models/a/new.txt")
    text = json.dumps({"value": 1, "do": {"lower": {"edit": [new, "x"]}}})
    empty.write(manifest, {"models/a/saved_model.pb": text})
    empty.model("b", 2)
    result = empty.build(keep_going=True)
    assert "files came to or went from its source" in failures(result)["lower:a"]
    empty.write(files={"models/a/saved_model.pb": '{"value": 1}'})
    assert empty.build().ok
