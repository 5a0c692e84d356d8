"""Rounds: each file once in each, and each as often first as any other."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflbuild.benchmarking.measuring import split
from tflbuild.benchmarking.rounds import measure, schedule

NAMES = st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=6, unique=True)


@given(NAMES, st.integers(1, 40), st.integers(0, 5))
def test_every_round_has_every_file_once(names: list[str], rounds: int, seed: int) -> None:
    plan = schedule(names, rounds, seed)
    assert len(plan) == rounds
    assert all(sorted(order) == sorted(names) for order in plan)
    assert plan == schedule(names, rounds, seed)


@given(NAMES, st.integers(1, 8), st.integers(0, 5))
def test_every_place_is_had_as_often(names: list[str], blocks: int, seed: int) -> None:
    plan = schedule(names, blocks * len(names), seed)
    for place in range(len(names)):
        assert Counter(order[place] for order in plan) == dict.fromkeys(names, blocks)


def test_no_files_no_rounds() -> None:
    assert schedule([], 10, 0) == []


@given(st.integers(1, 60), st.integers(1, 7))
def test_processes_share_the_rounds_evenly(rounds: int, parts: int) -> None:
    plan = schedule(["a", "b"], rounds, 0)
    pieces = split(plan, parts)
    assert [order for piece in pieces for order in piece] == plan
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


class Clock:
    """A clock that only the things that are measured move on."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Thing:
    """Takes `cost` to run, more with each round that came before (the machine drifts), and ten
    times that to prepare, which nobody may count."""

    def __init__(self, name: str, cost: int, clock: Clock, log: list[str]) -> None:
        self.name, self.cost, self.clock, self.log = name, cost, clock, log
        self.turn = 0

    def prepare(self, turn: int) -> None:
        self.turn = turn
        self.log.append(f"prepare {self.name} {turn}")
        self.clock.now += 10 * self.cost

    def invoke(self) -> None:
        assert not gc.isenabled()
        self.log.append(f"invoke {self.name} {self.turn}")
        self.clock.now += self.cost * (1 + self.turn)


def test_files_take_turns() -> None:
    clock, log = Clock(), list[str]()
    things = {name: Thing(name, cost, clock, log) for name, cost in (("a", 3), ("b", 6))}
    plan = schedule(["a", "b"], 4, 0)

    times = measure(things, plan, clock)

    expected = [
        f"{what} {name} {turn}"
        for turn, order in enumerate(plan)
        for name in order
        for what in ("prepare", "invoke")
    ]
    assert log == expected
    assert times == {"a": [3, 6, 9, 12], "b": [6, 12, 18, 24]}
    # The machine became four times slower meanwhile, and in no round the ratio changed.
    assert {b / a for a, b in zip(times["a"], times["b"], strict=True)} == {2.0}
    assert gc.isenabled()


def test_the_collector_comes_back_after_a_failure() -> None:
    class Broken(Thing):
        def invoke(self) -> None:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        measure({"a": Broken("a", 1, Clock(), [])}, [("a",)], Clock())
    assert gc.isenabled()
