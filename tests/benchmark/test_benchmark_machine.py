"""The machine as the kernel describes it, and processes of their own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tflbuild.benchmarking import machine, memory
from tflbuild.benchmarking.apart import Failed, apart

ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD   EPYC 9J14\nmodel name\t: other\n", "AMD EPYC 9J14"),
        (ARM, "implementer 0x41 part 0xd0c variant 0x3"),
        (ARM + "Hardware\t: BCM2835\n", "BCM2835"),
    ],
)
def test_the_name_of_a_processor(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert machine.cpu_name(path) == name


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    assert machine.cpu_name(tmp_path / "missing")
    assert machine.busy_ns(tmp_path / "missing") is None
    assert machine.machine()["cores"] == len(os.sched_getaffinity(0))


def test_time_of_all_processors(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    path.write_text("cpu  100 0 50 1000 10 0 0 40 0 0\ncpu0 1 2 3\n")
    assert machine.busy_ns(path) == 190 * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    path.write_text("nonsense\n")
    assert machine.busy_ns(path) is None


def test_who_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    now, own = [0], [0]
    monkeypatch.setattr(machine.time, "perf_counter_ns", lambda: now[0])
    monkeypatch.setattr(machine, "_own_ns", lambda: own[0])
    busy = iter([5_000_000_000, 6_500_000_000])
    watch = machine.Watch(lambda: next(busy))
    now[0], own[0] = 1_000_000_000, 1_000_000_000
    assert watch.others() == 0.5

    nobody = machine.Watch(lambda: None)
    assert nobody.others() is None
    short = machine.Watch(lambda: 0)
    now[0] += machine.SHORTEST - 1
    assert short.others() is None


def test_work_apart() -> None:
    mine = os.getpid()
    assert apart(lambda: [os.getpid() != mine, "é" * 100_000]) == [True, "é" * 100_000]


def test_why_work_apart_came_to_nothing() -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    for work, reason in (
        (die, r"^the process died \(signal 9, SIGKILL\)$"),
        (lambda: os._exit(3), r"^the process ended with status 3$"),
        (lambda: 1 / 0, r"^division by zero$"),
        (lambda: object(), r"not JSON serializable"),
    ):
        with pytest.raises(Failed, match=reason):
            apart(work)


def test_memory_that_is_taken_is_counted() -> None:
    def grown() -> list[int | None]:
        assert memory.forget_peak()
        before = memory.heap_bytes(), memory.peak_bytes()
        kept = bytearray(b"\1") * 64_000_000  # each page is touched
        after = memory.heap_bytes(), memory.peak_bytes()
        assert len(kept) == 64_000_000
        return [None if a is None or b is None else b - a
                for a, b in zip(before, after, strict=True)]  # fmt: skip

    heap, peak = apart(grown)
    assert heap is None or heap >= 64_000_000
    assert peak >= 56_000_000
