"""Measuring speed: nothing else runs meanwhile, and what has to be fast enough waits for it."""

from __future__ import annotations

from typing import Any

import pytest
from fake_workspace import MANIFEST, Fake

from tflbuild.engine.events import Event, TaskDone, TaskStarted

MEASURED = MANIFEST.replace("defaults:\n", "defaults:\n  benchmark: {}\n")
LIMITED = MANIFEST.replace(
    "defaults:\n",
    "defaults:\n  benchmark: {max_ratio: {int8: {against: float32, time: 0.5}}}\n",
)


class Told:
    """What started and ended, in order, and what ran when something began."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.beside: dict[str, set[str]] = {}  # by task: all that ran at any time while it did
        self.order: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskStarted):
            self.order.append(event.task)
            for other in self.running:
                self.beside[other].add(event.task)
            self.beside[event.task] = set(self.running)
            self.running.add(event.task)
        elif isinstance(event, TaskDone):
            self.running.discard(event.task)


@pytest.mark.parametrize("jobs", [1, 3])
def test_nothing_else_runs_meanwhile(fake: Fake, jobs: int) -> None:
    fake.write(MEASURED)
    # While b is still converted, a is ready to be measured.
    fake.model("a", 1, do={"benchmark": {"sleep": 0.1}})
    fake.model("b", 2, do={"convert": {"sleep": 0.3}})
    told = Told()

    assert fake.build(listen=told, jobs=jobs).ok

    assert told.beside["benchmark:a"] == set()
    assert told.beside["benchmark:b"] == set()
    assert sorted(told.order[-2:]) == ["benchmark:a", "benchmark:b"]  # they delay nothing
    if jobs > 1:
        assert any(told.beside.values())


def test_it_runs_once(fake: Fake) -> None:
    fake.write(MEASURED)
    assert fake.build().ok
    told = Told()
    assert fake.build(listen=told).ok
    assert told.order == []


def gate(fake: Fake) -> Any:
    return fake.report("a/benchmark.json")["gate"]


def test_a_limit_that_is_missed(fake: Fake) -> None:
    fake.write(LIMITED)
    fake.model("a", 1, do={"ratio": [0.6, 0.7, 0.8]})
    result = fake.build(keep_going=True)
    assert not result.ok
    assert fake.index() == [
        "a-float32.tflite", "b-float32.tflite", "b-int8.tflite",
    ]  # fmt: skip
    (finding,) = gate(fake)["findings"]
    assert finding["check"] == "benchmark.int8.time"
    assert fake.summary()["a:int8@litert"]["status"] != "released"

    # A looser limit runs nothing, and lets it through.
    told = Told()
    fake.write(LIMITED.replace("time: 0.5", "time: 0.9"))
    assert fake.build(listen=told).ok
    assert told.order == []
    assert gate(fake)["passed"]
    assert "a-int8.tflite" in fake.index()

    # A stricter one does not take back what is released: it is stale.
    fake.write(LIMITED.replace("time: 0.5", "time: 0.3"))
    result = fake.build("a", keep_going=True, listen=told)
    assert told.order == []
    assert not result.ok
    assert fake.summary()["a:int8@litert"]["status"] == "stale"
    assert "a-int8.tflite" in fake.index()


def test_a_limit_within_the_interval_is_a_warning(fake: Fake) -> None:
    fake.write(LIMITED)
    fake.model("a", 1, do={"ratio": [0.4, 0.5, 0.6]})
    assert fake.build().ok
    assert [finding["level"] for finding in gate(fake)["findings"]] == ["warn"]


def test_a_measurement_that_dies(fake: Fake) -> None:
    fake.write(LIMITED)
    fake.model("a", 1, do={"benchmark": {"signal": 9}})
    assert not fake.build(keep_going=True).ok
    assert fake.index() == ["a-float32.tflite", "b-float32.tflite", "b-int8.tflite"]
