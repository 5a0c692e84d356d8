"""Statistics, on numbers that are made up."""

from __future__ import annotations

import random
import statistics as plain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflbuild.benchmarking.statistics import block, extremes, ratio, summary

TIMES = st.floats(1e-3, 1e6)
ROUNDS = st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=20)
PROCESSES = st.lists(ROUNDS, min_size=1, max_size=5)


@given(st.lists(TIMES, min_size=1, max_size=50))
def test_a_summary_is_ordered_and_ignores_order(values: list[float]) -> None:
    found = summary(values)
    assert found["min"] <= found["q1"] <= found["median"] <= found["q3"] <= found["max"]
    assert found["median"] == pytest.approx(plain.median(values))
    assert found["mad"] >= 0
    assert found == summary(values[::-1])


def test_one_outlier_moves_neither_middle_nor_spread() -> None:
    quiet = summary([1.0] * 49 + [1.0])
    loud = summary([1.0] * 49 + [1000.0])
    assert {**loud, "max": 1.0} == quiet


@settings(deadline=None)
@given(PROCESSES)
def test_an_interval_holds_its_ratio_and_lies_between_the_rounds(
    pairs: list[list[tuple[float, float]]],
) -> None:
    values = [[a for a, _ in part] for part in pairs]
    against = [[b for _, b in part] for part in pairs]
    found = ratio(values, against, draws=100)
    each = [a / b for part in pairs for a, b in part]
    assert min(each) <= found["low"] <= found["ratio"] <= found["high"] <= max(each)
    assert found["ratio"] == pytest.approx(plain.median(each))
    assert found == ratio(values, against, draws=100)


@settings(deadline=None)
@given(PROCESSES, st.floats(0.01, 100))
def test_another_unit_of_time_changes_nothing(
    pairs: list[list[tuple[float, float]]], unit: float
) -> None:
    values = [[a for a, _ in part] for part in pairs]
    against = [[b for _, b in part] for part in pairs]
    scaled = ratio(
        [[a * unit for a in part] for part in values],
        [[b * unit for b in part] for part in against],
        draws=100,
    )
    assert scaled == pytest.approx(ratio(values, against, draws=100))


@settings(deadline=None)
@given(PROCESSES)
def test_a_file_against_itself_is_one(pairs: list[list[tuple[float, float]]]) -> None:
    values = [[a for a, _ in part] for part in pairs]
    assert ratio(values, values, draws=50) == {"ratio": 1.0, "low": 1.0, "high": 1.0}


def noisy(seed: int, between: float, within: float) -> tuple[list[list[float]], list[list[float]]]:
    """Five processes of ten rounds, whose true ratio is 0.5; the logarithm of each process and of
    each round has its own noise."""
    draw = random.Random(seed)
    top, bottom = [], []
    for _ in range(5):
        own = draw.gauss(0, between)
        bottom.append([1.0] * 10)
        top.append([0.5 * 2.718281828 ** (own + draw.gauss(0, within)) for _ in range(10)])
    return top, bottom


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    def held(between: float, within: float) -> float:
        found = [ratio(*noisy(seed, between, within), draws=300) for seed in range(200)]
        return plain.fmean(entry["low"] <= 0.5 <= entry["high"] for entry in found)

    assert held(0.0, 0.05) > 0.9
    # Five processes are few: such intervals are somewhat too narrow, as those of any bootstrap.
    assert held(0.05, 0.01) > 0.75


def test_noise_between_processes_widens_the_interval() -> None:
    def width(between: float) -> float:
        found = ratio(*noisy(1, between, 0.01))
        return found["high"] - found["low"]

    assert width(0.05) > 3 * width(0.0)


def test_drift_that_hits_both_is_no_difference() -> None:
    slower = [[1.0 + turn / 10 for turn in range(20)]]
    assert ratio([[t * 0.25 for t in slower[0]]], slower)["high"] == pytest.approx(0.25)


def test_what_cannot_be_compared() -> None:
    for values, against in (
        ([], []), ([[]], [[]]), ([[1.0]], [[1.0, 2.0]]), ([[1.0]], [[1.0], [1.0]]),
        ([[0.0]], [[1.0]]), ([[1.0]], [[-1.0]]), ([[float("nan")]], [[1.0]]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="a ratio needs"):
            ratio(values, against)


def test_blocks_grow_slowly() -> None:
    assert [block(n) for n in (1, 10, 50, 1000)] == [1, 2, 4, 10]


@given(st.lists(TIMES, min_size=1, max_size=9), st.lists(TIMES, min_size=1, max_size=9))
def test_extremes_hold_every_pair(values: list[float], against: list[float]) -> None:
    found = extremes(values, against)
    assert found["low"] <= found["ratio"] * (1 + 1e-12)
    assert found["ratio"] <= found["high"] * (1 + 1e-12)
    assert all(found["low"] <= a / b <= found["high"] for a in values for b in against)
