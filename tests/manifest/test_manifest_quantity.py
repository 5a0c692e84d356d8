"""Sizes, counts and durations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflbuild.manifest.quantity import parse_count, parse_duration, parse_size

BYTES = {"KB": 1000, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
COUNTS = {"K": 1000, "M": 10**6, "G": 10**9}


def test_as_people_write_them() -> None:
    assert parse_size("8MB") == 8_000_000
    assert parse_size("256KiB") == 262_144
    assert parse_size("1.5 KiB") == 1536
    assert parse_count("1.5G") == 1_500_000_000
    assert parse_duration("90s") == parse_duration("1.5m") == parse_duration(90) == 90.0
    assert parse_duration("2h") == 7200.0


@given(st.integers(1, 10**15))
def test_whole_numbers_mean_themselves(number: int) -> None:
    assert parse_size(number) == parse_count(number) == number
    assert parse_duration(number) == parse_duration(str(number)) == number


@given(st.integers(1, 10**9), st.sampled_from(sorted(BYTES)))
def test_sizes_scale_exactly(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * BYTES[unit]


@given(st.integers(1, 10**9), st.sampled_from(sorted(COUNTS)))
def test_counts_scale_exactly(thousandths: int, unit: str) -> None:
    text = f"{thousandths // 1000}.{thousandths % 1000:03}{unit}"
    assert parse_count(text) == thousandths * COUNTS[unit] // 1000


@given(st.text() | st.booleans() | st.floats())
def test_anything_else_is_a_value_error_of_one_line(value: str | float) -> None:
    for parse in (parse_size, parse_count, parse_duration):
        try:
            assert parse(value) > 0  # type: ignore[operator]
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("text", ["8Mb", "8", "MB", "-1MB", "1e3KB", "0MB", "0.0001KB", "٣MB", ""])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(text)


def test_a_unit_in_the_wrong_case_names_the_right_one() -> None:
    with pytest.raises(ValueError, match="write 8MB"):
        parse_size("8mb")
