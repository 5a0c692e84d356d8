"""Intervals: against their definitions, and against what repeated samples show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import drawn, evidence, measured

from tflbuild import metrics
from tflbuild.metrics import confidence
from tflbuild.metrics.confidence import Z, tango, wilson


@given(st.integers(1, 5000), st.data())
@settings(deadline=None)
def test_wilson_is_where_the_score_test_ends(counted: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, counted))
    low, high = wilson(hits, counted)
    assert 0 <= low <= hits / counted <= high <= 1
    for edge in (low, high):
        if 0 < edge < 1:
            score = abs(hits / counted - edge) / math.sqrt(edge * (1 - edge) / counted)
            assert score == pytest.approx(Z, rel=1e-6)


def test_wilson_of_known_cases() -> None:
    """R. Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def likelihood(lost: int, won: int, counted: int, drop: float, one: float) -> float:
    """Of a drop, where `one` is the probability of a win."""
    total = 0.0
    for number, chance in (
        (lost, one + drop),
        (won, one),
        (counted - lost - won, 1 - 2 * one - drop),
    ):
        if number and chance <= 0:
            return -math.inf
        total += number * math.log(chance) if number else 0.0
    return total


@given(st.integers(1, 300), st.data())
@settings(deadline=None, max_examples=60)
def test_tango_is_where_the_score_test_ends(counted: int, data: st.DataObject) -> None:
    """The likeliest chance of a win under a drop, found by search, gives the statistic."""
    lost = data.draw(st.integers(0, counted))
    won = data.draw(st.integers(0, counted - lost))
    low, high = tango(lost, won, counted)
    assert -1 <= low <= (lost - won) / counted <= high <= 1
    for edge, side in ((low, 1), (high, -1)):
        if not 1e-6 < abs(edge) < 1 - 1e-6:
            continue
        left, right = max(0.0, -edge), (1 - edge) / 2
        for _ in range(200):  # the likelihood has one top
            a, b = left + (right - left) / 3, right - (right - left) / 3
            if likelihood(lost, won, counted, edge, a) < likelihood(lost, won, counted, edge, b):
                left = a
            else:
                right = b
        spread = counted * (2 * left + edge - edge**2)
        score = (lost - won - counted * edge) / math.sqrt(spread)
        assert score == pytest.approx(side * Z, rel=1e-3)


def test_no_difference_is_not_certainty() -> None:
    low, high = tango(0, 0, 450)
    assert (low, high) == pytest.approx((-Z * Z / (450 + Z * Z), Z * Z / (450 + Z * Z)))
    assert tango(3, 1, 100)[0] == pytest.approx(-tango(1, 3, 100)[1])


@pytest.mark.parametrize(
    ("name", "more"),
    [("f1", {"average": "macro"}), ("auc", {}), ("precision", {"average": "weighted"}),
     ("auc", {"multi_class": "ovo"})],
)  # fmt: skip
def test_resamples_score_as_samples_do(name: str, more: dict[str, Any]) -> None:
    """A resample's score by counts is that of the samples written out."""
    labels, scores = drawn(1, 40, 3)
    own = {"name": name, "output": None, **more}
    whole = evidence(own, scores, labels)
    metric = metrics.METRICS[name]
    generator = np.random.default_rng(0)
    chosen = [generator.integers(0, 40, 40) for _ in range(5)]
    counts = np.stack([np.bincount(rows, minlength=40) for rows in chosen])
    found = metric.resampled(own, whole, counts)
    for index, rows in enumerate(chosen):
        wanted = metric.score(own, {key: array[rows] for key, array in whole.items()})
        assert found[index] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("name", ["f1", "auc", "mean_squared_error"])
def test_intervals_hold_what_they_say(name: str) -> None:
    """Of samples drawn again and again, 95 % of the intervals hold the true value, about."""
    more = {"average": "macro"} if name == "f1" else {}
    generator = np.random.default_rng(7)

    def sample(size: int) -> Any:
        labels = generator.integers(0, 3, size)
        scores = generator.normal(size=(size, 3))
        scores[np.arange(size), labels] += 1.0
        if name == "mean_squared_error":
            return scores[:, 0], scores[:, 1]
        return labels, scores

    def entry(size: int) -> Any:
        labels, scores = sample(size)
        return measured(name, labels, scores, **more)

    truth = entry(50_000)["file"]
    held = 0
    for _ in range(60):
        low, high = entry(100)["interval"]
        held += low <= truth <= high
    assert held >= 50


def test_a_drop_is_seen_by_pairs() -> None:
    """Some answers of 400 got worse, none better: that says more than two numbers side by side."""
    labels, scores = drawn(3, 400, 4)
    right = np.flatnonzero(scores.argmax(axis=1) == labels)[:6]
    worse = scores.copy()
    worse[right] = -worse[right]
    for name, more in (("accuracy", {}), ("f1", {"average": "macro"}), ("auc", {})):
        entry = measured(name, labels, worse, scores, **more)
        low, high = entry["drop_interval"]
        drop = entry["source"] - entry["file"]
        assert 0 < low < drop < high
        assert high - low < (entry["interval"][1] - entry["interval"][0]) / 2


def test_a_rise_of_an_error_is_a_drop() -> None:
    labels = np.linspace(0, 1, 50)
    entry = measured("mean_absolute_error", labels, labels + 0.3, labels + 0.1)
    assert not entry["higher_is_better"]
    assert entry["drop_interval"] == pytest.approx([0.2, 0.2])


def test_perfect_scores_are_as_sure_as_their_number() -> None:
    labels = np.arange(40) % 4
    entry = measured("f1", labels, np.eye(4)[labels], average="macro")
    assert entry["interval"] == pytest.approx([40 / (40 + Z * Z), 1])
    assert entry["drop_interval"] == pytest.approx([-Z * Z / (40 + Z * Z), Z * Z / (40 + Z * Z)])


@pytest.mark.parametrize("samples", [200, 2000])
def test_a_part_of_many_samples_says_the_same(samples: int, monkeypatch: Any) -> None:
    labels, scores = drawn(5, samples, 3)
    file = scores + np.random.default_rng(1).normal(0, 0.3, scores.shape)
    whole = measured("auc", labels, file, scores)
    again = measured("auc", labels, file, scores)
    assert whole == again
    monkeypatch.setattr(confidence, "MOST", samples // 4)
    part = measured("auc", labels, file, scores)
    assert part["file"] == whole["file"]
    for key in ("interval", "drop_interval"):
        wide, own = (entry[key][1] - entry[key][0] for entry in (part, whole))
        assert 0.5 < wide / own < 2


def test_many_samples_and_classes_stay_within_bounds() -> None:
    """What is resampled is bounded, whatever the test set."""
    labels, scores = drawn(2, 3000, 60)
    own = {"labelled": labels, "scores": scores}
    part, rounds = confidence._part(np.random.default_rng(0), 3000, [own, own])
    assert part is not None
    assert confidence.FEW_RESAMPLES <= rounds <= confidence.RESAMPLES
    assert len(part) * rounds * 122 <= confidence.WORK


def test_nothing_is_said_of_what_is_not_finite() -> None:
    scores = np.array([[0.1, 0.9], [np.nan, 0.2], [0.3, 0.4]])
    labels = np.array([1, 0, 1])
    entry = measured("auc", labels, scores[:, ::-1], scores)
    assert (entry["file"], entry["interval"]) == (None, None)
    big = np.array([[1e300], [1.0], [2.0]])
    assert measured("mean_squared_error", labels, big)["file"] is None
