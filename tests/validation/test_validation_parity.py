"""Parity in chunks: however the samples are cut, the numbers are those of the whole."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflbuild.validation.parity import WORST, merge, parity_numbers, partial

ROWS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        *(
            st.lists(
                st.lists(
                    st.one_of(
                        st.floats(allow_nan=False, allow_infinity=False),
                        st.sampled_from([0.0, 1.0, -1.0, 1e-310, 1.7e308, -1.7e308, 5e-324]),
                    ),
                    min_size=3,
                    max_size=3,
                ),
                min_size=n,
                max_size=n,
            )
            for _ in range(2)
        ),
        st.sets(st.integers(1, n)),
    )
)


def in_chunks(source: Any, other: Any, cuts: set[int], top_k: tuple[int, ...] = ()) -> Any:
    edges = [0, *sorted(cuts - {len(source)}), len(source)]
    parts = [
        partial(source[a:b], other[a:b], a, b - a, top_k) for a, b in itertools.pairwise(edges)
    ]
    return merge(json.loads(json.dumps(part, allow_nan=False)) for part in parts)


def same(one: Any, two: Any) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, float):
            # A cosine of what nearly cancels has an error of its terms' size, not of its own.
            room = 1e-12 if name == "cosine" else 1e-12 if name == "sqnr" else 0
            assert two[name] == pytest.approx(value, rel=1e-9, abs=room), name
        elif name == "worst_samples":
            assert [w["sample"] for w in two[name]] == [w["sample"] for w in value]
            for a, b in zip(value, two[name], strict=True):
                assert a["max_abs_error"] == pytest.approx(b["max_abs_error"], rel=1e-9)
                assert a["sqnr"] == pytest.approx(b["sqnr"], rel=1e-9, abs=1e-12)
        else:
            assert two[name] == value, name


@given(ROWS)
@settings(deadline=None, max_examples=300)
def test_any_cut_gives_the_numbers_of_the_whole(rows: Any) -> None:
    source, other = np.array(rows[0]), np.array(rows[1])
    whole = parity_numbers(source, other, (1, 2))
    cut = in_chunks(source, other, rows[2], (1, 2))
    same(whole, cut)
    json.dumps(whole, allow_nan=False)
    assert in_chunks(source, other, rows[2], (1, 2)) == cut
    assert in_chunks(source, source, rows[2], (1, 2, 3))["top_k"] == [
        {"k": k, "agreement": 1.0, "samples": len(source), "tied": 0} for k in (1, 2, 3)
    ]


def test_noise_among_small_values_does_not_vanish_beside_large_ones() -> None:
    source, other = np.array([[1e300], [1e-20]]), np.array([[1e300], [2e-20]])
    numbers = parity_numbers(source, other)
    assert numbers["sqnr"] == pytest.approx(6400, rel=1e-12)
    assert numbers["max_abs_error"] == 1e-20
    same(numbers, in_chunks(source, other, {1}))


@pytest.mark.parametrize(("large", "small"), [(1e235, 1e-88), (1.7e308, 5e-324)])
def test_a_sample_is_named_beside_one_that_is_off_by_far_more(large: float, small: float) -> None:
    source, other = np.array([[large], [0.0], [0.0]]), np.array([[-large], [small], [0.0]])
    numbers = parity_numbers(source, other)
    assert [w["sample"] for w in numbers["worst_samples"]] == [0, 1]
    assert numbers["worst_samples"][1]["max_abs_error"] == small
    same(numbers, in_chunks(source, other, {1, 2}))


def test_not_a_number_in_one_chunk_is_one_in_all() -> None:
    good = np.array([[1.0], [2.0], [3.0]])
    bad = np.array([[1.0], [2.0], [math.inf]])
    numbers = in_chunks(good, bad, {1, 2})
    assert (numbers["finite"], numbers["source_finite"], numbers["sqnr"]) == (False, True, None)
    assert not in_chunks(bad, good, {1})["source_finite"]


def test_a_file_that_ignores_its_input_is_told() -> None:
    draw = np.random.default_rng(0)
    source = np.array([100.0, 200.0]) + draw.normal(0, 1, (60, 2))
    still = np.tile([100.0, 200.0], (60, 1))
    for cut in (set[int](), {1}, {20, 40}):
        assert in_chunks(source, still, cut)["unmoved"]
        assert not in_chunks(source, source, cut)["unmoved"]
        assert not in_chunks(still, still, cut)["unmoved"]
        assert not in_chunks(still, source, cut)["unmoved"]
    steps = np.repeat([[1.0, 2.0], [1.5, 2.0]], 30, axis=0)  # each chunk alone stands still
    assert not in_chunks(source, steps, {30})["unmoved"]
    assert in_chunks(steps, still, {30})["unmoved"]
    assert not in_chunks(source[:1], still[:1], set())["unmoved"]


def test_constant_over_all_chunks_alone_is_constant() -> None:
    source = np.array([[1.0], [2.0], [3.0], [4.0]])
    assert in_chunks(source, np.ones((4, 1)), {2})["constant"]
    stairs = np.array([[1.0], [1.0], [5.0], [5.0]])
    assert not in_chunks(source, stairs, {2})["constant"]


def test_text_and_nothing() -> None:
    words = np.array([b"yes", b"no", b"no"])
    assert in_chunks(words, words, {1}) == {"kind": "exact", "equal": True, "finite": True}
    assert not in_chunks(words, np.array([b"yes", b"no", b"yes"]), {1})["equal"]
    empty = np.zeros((3, 0), "f")
    assert in_chunks(empty, empty, {1})["max_abs_error"] is None


def test_worst_samples_by_their_number_over_all() -> None:
    source = np.arange(40.0).reshape(20, 2)
    other = source.copy()
    for rank, sample in enumerate((17, 3, 11, 0, 8, 5)):
        other[sample, rank % 2] += 10 - rank
    numbers = in_chunks(source, other, {6, 12})
    assert [w["sample"] for w in numbers["worst_samples"]] == [17, 3, 11, 0, 8]
    assert len(numbers["worst_samples"]) == WORST
    assert numbers["worst_sample"] == 17
    first = numbers["worst_samples"][0]
    assert first["max_abs_error"] == 10
    assert first["sqnr"] == pytest.approx(10 * math.log10((34**2 + 35**2) / 100))
    assert in_chunks(source, source, {6})["worst_samples"] == []


def test_several_rows_of_one_sample() -> None:
    """An output without batch axis: 4 rows for each of 3 samples."""
    source = np.zeros((12, 2))
    other = source.copy()
    other[9] = 1
    assert merge([partial(source, other, 100, 3)])["worst_samples"][0]["sample"] == 102


def test_top_k_by_hand() -> None:
    source = np.array([[3.0, 2, 1, 0], [0, 1, 2, 3]])
    other = np.array([[3.0, 1, 2, 0], [0, 1, 2, 3]])
    numbers = parity_numbers(source, other, (1, 2, 3))
    assert numbers["top_k"] == [
        {"k": 1, "agreement": 1.0, "samples": 2, "tied": 0},
        {"k": 2, "agreement": 0.75, "samples": 2, "tied": 0},
        {"k": 3, "agreement": 1.0, "samples": 2, "tied": 0},
    ]


def top(source: list[float], other: list[float], k: int) -> tuple[float, int]:
    (found,) = parity_numbers(np.array([source]), np.array([other]), (k,))["top_k"]
    return found["agreement"], found["tied"]


def test_equal_values_of_the_file_count_for_the_source() -> None:
    """A good int8 softmax rounds all small probabilities to 0."""
    source, zeros = [0.001, 0.002, 0.96, 0.03, 0.004], [0.0, 0, 0.97, 0.03, 0]
    assert top(source, zeros, 1) == (1, 0)
    assert top(source, zeros, 2) == (1, 0)
    assert top(source, zeros, 3) == (1, 1)  # 0.004 is one of three zeros
    assert top(source, [0.0] * 5, 2) == (1, 1)
    # What decides nothing is no tie: the source's own values are equal there, or both are in.
    assert top(source[::-1], source[::-1], 3) == (1, 0)
    assert top([0.0, 0, 1, 0], [0.0, 0, 2, 0], 2) == (1, 0)
    assert top([3.0, 2, 1], [5.0, 5, 1], 2) == (1, 0)
    # One that is missed is missed beside ties, too.
    assert top([4.0, 3, 2, 1], [9.0, 0, 7, 7], 2) == (0.5, 0)
    # Of equal values of the source the first counts.
    assert top([1.0, 1, 0], [0.0, 1, 0], 1) == (0, 0)


def test_ties_over_chunks() -> None:
    rows = np.random.default_rng(0).random((60, 8))
    rounded = np.round(rows * 3)
    whole = parity_numbers(rows, rounded, (1, 3, 8))["top_k"]
    assert in_chunks(rows, rounded, {7, 20, 59}, (1, 3, 8))["top_k"] == whole
    assert 0 < whole[0]["tied"] < 60
    assert whole[2]["tied"] == 0
