"""kill -9, ^C, SIGTERM and two builds at once: the next build ends as an undisturbed one does."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fake_workspace import Fake, Run, gone, wait_for

from tflbuild.engine.lock import workspace_lock

SLOW = {"lower": {"sleep": 0.05}, "convert": {"sleep": 0.05}, "validate": {"sleep": 0.02}}


@pytest.fixture
def slow(fake: Fake) -> Fake:
    """A second of work."""
    fake.model("a", 1, do=SLOW)
    fake.model("b", 2, do=SLOW)
    return fake


def digests(dist: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in dist.items()}


def lock_is_free(root: Path) -> bool:
    path = root / ".tflbuild/lock"
    if not path.exists():
        return True
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def undisturbed(fake: Fake, tmp_path: Path) -> dict[str, str]:
    import shutil

    other = Fake(tmp_path / "undisturbed", fake.pool)
    shutil.copytree(fake.root, other.root)
    assert other.build().ok
    return digests(other.dist())


def check_after(fake: Fake, killed: Run, want: dict[str, str]) -> Run:
    """What holds after a build was ended, and after the next one."""
    assert gone(fake.root) == []
    assert lock_is_free(fake.root)
    next_one = fake.run()
    assert next_one.code == 0, next_one.err
    assert digests(fake.dist()) == want
    assert set(killed.tasks("ran", "restored")) & set(next_one.tasks("ran", "restored")) == set()
    assert fake.leftovers() == []
    assert len(fake.index()) == 4
    assert fake.build().done.counts.ran == 0
    return next_one


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_at_random_moments(slow: Fake, tmp_path: Path, seed: int) -> None:
    want = undisturbed(slow, tmp_path)
    if seed % 2:  # something older lies there, and everything is new
        slow.model("a", 8)
        slow.model("b", 9)
        assert slow.build().ok
        old = digests(slow.dist())
        slow.model("a", 1, do=SLOW)
        slow.model("b", 2, do=SLOW)
    else:
        old = {}
    process = slow.start()
    time.sleep(random.Random(seed).uniform(0.1, 1.6))
    process.kill()
    killed = Run(process)
    for name, digest in digests(slow.dist()).items():
        if name.endswith(".tflite"):
            assert digest in (want[name], old.get(name)), f"{name} is a part"
    check_after(slow, killed, want)


@pytest.mark.parametrize(
    "at",
    [
        "convert:b:float32",
        "validate:a:int8",
        "release:a:float32@litert",
        "release:b:int8@litert",
    ],
)
def test_kill_9_right_after_an_event(slow: Fake, tmp_path: Path, at: str) -> None:
    want = undisturbed(slow, tmp_path)
    process = slow.start()
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if f'"{at}"' in line:
            process.kill()
            break
    killed = Run(process)
    import json

    killed.events = [json.loads(line) for line in lines]
    assert at in killed.tasks("ran")
    check_after(slow, killed, want)


def test_kill_9_of_a_forced_build(slow: Fake, tmp_path: Path) -> None:
    """The record still holds then: what lies about is cleared up all the same."""
    want = undisturbed(slow, tmp_path)
    assert slow.run().code == 0
    process = slow.start("-B")
    wait_for(lambda: list((slow.root / ".tflbuild/work").glob("[0-9]*")))
    process.kill()
    Run(process)
    assert gone(slow.root) == []
    assert slow.leftovers() != []
    assert slow.run().done["ran"] == 0
    assert slow.leftovers() == []
    assert digests(slow.dist()) == want


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(slow: Fake, tmp_path: Path, number: signal.Signals) -> None:
    want = undisturbed(slow, tmp_path)
    process = slow.start()
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if '"convert:' in line:
            process.send_signal(number)
            break
    run = Run(process)
    assert run.code == 130, run.err
    assert run.done["interrupted"] is True
    assert "Traceback" not in run.err
    import json

    run.events = [json.loads(line) for line in lines] + run.events
    if (slow.root / "dist/litert/index.json").exists():
        listed = slow.index()
        there = [n.split("/")[1] for n in slow.dist() if n.endswith(".tflite")]
        assert listed == sorted(there)
    assert slow.leftovers() == []
    check_after(slow, run, want)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_waiting_for_the_lock(fake: Fake, number: signal.Signals) -> None:
    (fake.root / ".tflbuild").mkdir()
    descriptor = os.open(fake.root / ".tflbuild/lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    process = fake.start()
    assert process.stdout is not None
    assert "waiting for the lock" in process.stdout.readline()
    process.send_signal(number)
    run = Run(process)
    os.close(descriptor)
    assert run.code == 130
    assert "interrupted" in run.err
    assert fake.run().code == 0


def test_interrupted_twice(slow: Fake, tmp_path: Path) -> None:
    want = undisturbed(slow, tmp_path)
    slow.model("a", 1, do={**SLOW, "validate": {"stubborn": 1, "sleep": 30}})
    process = slow.start()
    wait_for(lambda: list((slow.root / ".tflbuild/work").glob("[0-9]*")))
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    run = Run(process)
    assert run.code in (130, -signal.SIGINT)  # the last ^C may find Python on its way out
    slow.model("a", 1, do=SLOW)
    check_after(slow, run, want)


def test_who_holds_the_lock_is_waited_for(tmp_path: Path) -> None:
    """The name follows the lock by a system call; a second build may look in between."""
    path = tmp_path / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    def name_and_go() -> None:
        os.pwrite(descriptor, b'{"pid": 7, "command": "tflbuild", "since": 0}', 0)
        time.sleep(0.1)
        os.close(descriptor)

    told: list[str] = []
    timer = threading.Timer(0.1, name_and_go)
    timer.start()
    with workspace_lock(path, told.append):
        pass
    timer.join()
    assert [holder.split(" (")[0] for holder in told] == ["process 7"]


def test_two_builds_at_once(slow: Fake) -> None:
    one, two = slow.start(), slow.start()
    runs = sorted([Run(one), Run(two)], key=lambda run: run.done["ran"])
    pids = {one.pid, two.pid}
    assert [run.code for run in runs] == [0, 0]
    assert [run.done["ran"] for run in runs] == [0, 24]
    (note,) = [e["message"] for e in runs[0].events if e["event"] == "note"]
    assert "waiting for the lock of this workspace, held by process" in note
    assert any(f"process {pid} " in note for pid in pids)
    assert slow.leftovers() == []


def test_the_reader_of_the_output_goes_away(slow: Fake) -> None:
    process = slow.start()
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert process.returncode in (1, 141)
    assert "Traceback" not in (err or "")
    assert gone(slow.root) == []
    assert slow.run().code == 0


def test_descriptors_do_not_leak(fake: Fake) -> None:
    fake.build()
    before = sorted(os.listdir("/proc/self/fd"))
    for value in range(3, 6):
        fake.model("a", value)
        assert fake.build().ok
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_signal_handlers_are_given_back(fake: Fake) -> None:
    def handlers() -> list[Any]:
        return [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    before = handlers()
    fake.build()
    assert handlers() == before
    assert signal.set_wakeup_fd(-1) == -1
