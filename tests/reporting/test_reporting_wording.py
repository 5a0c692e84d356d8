"""Long messages end where a sentence may."""

from __future__ import annotations

import pytest

from tflbuild.reporting.wording import beginning, both_ends

SAID = "sqnr of 'y' is 4.72 dB, below 13 dB; likely cause: data (float 120 dB); worst: sample 1"


@pytest.mark.parametrize(
    ("limit", "shown"),
    [
        (len(SAID), SAID),
        (len(SAID) - 1, "sqnr of 'y' is 4.72 dB, below 13 dB; likely cause: data (float 120 dB) …"),
        (60, "sqnr of 'y' is 4.72 dB, below 13 dB; likely cause: data …"),
        (40, "sqnr of 'y' is 4.72 dB, below 13 dB …"),
        (30, "sqnr of 'y' is 4.72 dB …"),
        (20, "sqnr of 'y' is …"),
    ],
)
def test_a_clause_or_a_word_is_whole(limit: int, shown: str) -> None:
    assert beginning(SAID, limit) == shown
    assert len(shown) <= limit


def test_no_parenthesis_stays_open() -> None:
    said = "sqnr is 4 dB, below 13 dB (float 120 dB; quantization 4 dB; see which) and so on"
    assert beginning(said, 60) == "sqnr is 4 dB, below 13 dB …"
    assert beginning("(float 120 dB; quantization 4 dB; see", 30) == "(float 120 dB …"


def test_what_has_no_end_is_cut() -> None:
    assert beginning("x" * 50, 10) == "x" * 9 + "…"
    assert both_ends("x" * 50, 20) == "x" * 6 + " … " + "x" * 11
    assert beginning("a\nb", 10) == "a b"


def test_the_end_of_an_error_is_kept() -> None:
    shown = both_ends("cannot convert: " + "word 12.345 " * 50 + "caused by this", 90)
    assert shown.startswith("cannot convert: word 12.345 … ")
    assert shown.endswith(" 12.345 caused by this")
    assert len(shown) <= 90
