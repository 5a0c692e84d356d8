"""The parity numbers against an independent formula, and what must never look like agreement."""

from __future__ import annotations

import json
import math
from decimal import Decimal, getcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflbuild.validation.file import dequantize, quantize
from tflbuild.validation.parity import parity_numbers

getcontext().prec = 60
values = st.floats(-(2.0**100), 2.0**100, width=32)
pairs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(values, min_size=n, max_size=n), st.lists(values, min_size=n, max_size=n)
    )
)


@given(pairs)
@settings(deadline=None)
def test_numbers_agree_with_exact_arithmetic(pair: tuple[list[float], list[float]]) -> None:
    s, o = ([Decimal(v) for v in side] for side in pair)
    noise = sum((a - b) ** 2 for a, b in zip(s, o, strict=True))
    signal, power = sum(a * a for a in s), sum(b * b for b in o)
    worst = max(abs(a - b) for a, b in zip(s, o, strict=True))
    spread = max(s) - min(s)
    arrays = [np.array(side, np.float32).reshape(-1, 1) for side in pair]
    numbers = parity_numbers(arrays[0], arrays[1])
    assert numbers["equal"] == (noise == 0)
    assert numbers["max_abs_error"] == pytest.approx(float(worst), rel=1e-9)
    if noise and signal and signal / noise > Decimal("1e-60"):
        expected = 10 * float((signal / noise).log10())
        assert numbers["sqnr"] == pytest.approx(expected, abs=1e-6)
    if not noise:
        assert numbers["sqnr"] is None
        assert numbers["cosine"] in (1.0, pytest.approx(1.0))
    if signal > Decimal("1e-60") and power / signal > Decimal("1e-60") and power < signal:
        dot = sum(a * b for a, b in zip(s, o, strict=True))
        expected = float(dot / (signal.sqrt() * power.sqrt()))
        assert numbers["cosine"] == pytest.approx(expected, abs=1e-6)
    if spread > worst / Decimal("1e12"):
        assert numbers["max_range_error"] == pytest.approx(float(worst / spread), rel=1e-4)
    json.dumps(numbers, allow_nan=False)


def test_by_hand() -> None:
    source = np.array([[0.0, 3.0], [4.0, 0.0]], np.float32)
    numbers = parity_numbers(source, source + np.float32([[0, 0], [0, 0.5]]))
    assert numbers["sqnr"] == pytest.approx(10 * math.log10(25 / 0.25))
    assert numbers["cosine"] == pytest.approx(25 / (5 * math.sqrt(25.25)))
    assert numbers["max_abs_error"] == 0.5
    assert numbers["max_range_error"] == 0.125
    assert numbers["worst_sample"] == 1
    assert numbers["kind"] == "float"


def test_pooling_is_over_all_samples() -> None:
    """A large error in a small sample must not be averaged per sample."""
    source = np.array([[100.0], [0.1]])
    numbers = parity_numbers(source, np.array([[100.0], [0.2]]))
    assert numbers["sqnr"] == pytest.approx(10 * math.log10(10000.01 / 0.01))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_a_number(bad: float) -> None:
    good, wrong = np.array([[1.0], [2.0]]), np.array([[1.0], [bad]])
    file, source = parity_numbers(good, wrong), parity_numbers(wrong, good)
    assert (file["finite"], file["source_finite"]) == (False, True)
    assert (source["finite"], source["source_finite"]) == (True, False)
    assert not file["equal"]
    for numbers in (file, source, parity_numbers(wrong, wrong)):
        assert numbers["sqnr"] is None
        json.dumps(numbers, allow_nan=False)


def test_constant_outputs() -> None:
    varying, still = np.array([[1.0], [2.0]]), np.array([[1.5], [1.5]])
    assert parity_numbers(varying, still)["constant"]
    assert not parity_numbers(still, varying)["constant"]
    assert not parity_numbers(still, still)["constant"]
    assert parity_numbers(still, varying)["max_range_error"] is None
    zero = np.zeros((2, 1))
    numbers = parity_numbers(zero, varying)
    assert numbers["sqnr"] < -1e300
    assert numbers["cosine"] is None
    same = parity_numbers(zero, zero)
    assert (same["equal"], same["cosine"], same["sqnr"]) == (True, 1.0, None)


@pytest.mark.parametrize("scale", [1e-300, 1e-45, 1e45, 1e300])
def test_extreme_sizes_neither_vanish_nor_overflow(scale: float) -> None:
    source = np.array([[1.0], [-2.0]]) * scale
    numbers = parity_numbers(source, source * 1.01)
    assert numbers["sqnr"] == pytest.approx(40, abs=1e-6)
    json.dumps(numbers, allow_nan=False)
    opposite = parity_numbers(np.array([[1.7e308]]), np.array([[-1.7e308]]))
    json.dumps(opposite, allow_nan=False)


def test_integers_are_exact() -> None:
    big = np.array([2**53, 5], np.int64)
    assert parity_numbers(big, big)["equal"]
    other = parity_numbers(big, big + np.array([1, 0]))
    assert (other["kind"], other["equal"]) == ("integer", False)
    flags = np.array([[True], [False]])
    assert parity_numbers(flags, flags)["equal"]
    assert not parity_numbers(flags, ~flags)["equal"]
    assert parity_numbers(flags, ~flags)["max_abs_error"] == 1


def test_text_is_equal_or_not() -> None:
    words = np.array([b"yes", b"no"])
    assert parity_numbers(words, words.copy()) == {"kind": "exact", "equal": True, "finite": True}
    assert not parity_numbers(words, np.array([b"yes", b"now"]))["equal"]


def test_imaginary_parts_count() -> None:
    source = np.array([[1 + 1j], [2 - 1j]], np.complex64)
    numbers = parity_numbers(source, source.conj())
    assert not numbers["equal"]
    assert numbers["max_abs_error"] == 2
    assert numbers["sqnr"] == pytest.approx(10 * math.log10(7 / 8))


def test_an_empty_output_has_no_numbers() -> None:
    numbers = parity_numbers(np.zeros((3, 0), "f"), np.zeros((3, 0), "f"))
    assert numbers["equal"]
    assert numbers["max_abs_error"] is None


@given(
    st.floats(1e-6, 1e3),
    st.integers(-128, 127),
    st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20),
)
@settings(deadline=None)
def test_quantizing_and_back_is_at_most_half_a_step(
    scale: float, zero: int, numbers: list[float]
) -> None:
    details: dict[str, Any] = {"quantization": (scale, zero), "dtype": np.int8}
    array = np.array(numbers, np.float32)
    stored = quantize(array, details)
    assert stored.dtype == np.int8
    low, high = (-128 - zero) * scale, (127 - zero) * scale
    back = dequantize(stored, details)
    step = np.abs(back - np.clip(array, low, high))
    assert (step <= 0.5 * scale + 1e-4 * np.maximum(np.abs(array), abs(scale * 256))).all()


def test_what_is_not_quantized_stays() -> None:
    plain: dict[str, Any] = {"quantization": (0.0, 0), "dtype": np.float32}
    array = np.array([1.5], np.float32)
    assert quantize(array, plain) is array
    assert dequantize(array, plain).tolist() == [1.5]
    ids: dict[str, Any] = {"quantization": (0.5, 0), "dtype": np.int32}
    numbers = np.array([7], np.int32)
    assert quantize(numbers, ids).tolist() == [7]
