"""Tables in narrow and wide terminals."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from tflbuild.reporting.layout import Column, Grid, fold


def grid(*row: str) -> Grid:
    made = Grid(
        Column("name"),
        Column("time", right=True, leaves=1),
        Column("size", right=True, leaves=2),
        Column("why", folds=24),
    )
    made.add(*row)
    return made


def test_columns_leave_in_their_order() -> None:
    made = grid("n" * 20, "1.5 s", "14 KB", "because it is so")
    full = "n" * 20 + "  1.5 s  14 KB  because it is so"
    assert made.lines(len(full))[1] == full
    assert made.lines(len(full) - 1)[1] == "n" * 20 + "  14 KB  because it is so"
    assert made.lines(40)[1] == "n" * 20 + "  because it is so"


def test_a_narrow_column_stays_where_a_wide_one_must_leave() -> None:
    made = Grid(
        Column("name"), Column("±", leaves=1, beside="wide"), Column("time", leaves=2),
        Column("SQNR", leaves=3), Column("wide", leaves=4),
    )  # fmt: skip
    made.add("n" * 20, "0.1", "1.5 s", "44 dB", "w" * 40)
    assert made.lines(40)[1] == "n" * 20 + "  1.5 s  44 dB"  # ± would be of nothing
    assert made.lines(30)[1] == "n" * 20 + "  44 dB"
    assert made.lines(62)[1] == "n" * 20 + "  " + "w" * 40


def test_a_name_is_whole_even_where_it_does_not_fit() -> None:
    lines = grid("n" * 100, "1.5 s", "14 KB", "yes").lines(80)
    assert lines[1] == "n" * 100 + "  yes"


def test_a_sentence_folds_into_what_is_left() -> None:
    lines = grid("n" * 20, "1.5 s", "14 KB", "some words " * 20).lines(80)
    assert max(map(len, lines)) <= 80
    assert "".join(line[36:] for line in lines[1:]).count("words") == 20
    assert lines[0].startswith("name")


def test_two_that_fold_share_what_is_left() -> None:
    made = Grid(Column("a", folds=24), Column("b", folds=24))
    made.add("short", "long words " * 50)
    assert max(map(len, made.lines(80)[1:])) > 75
    made.add("other words " * 50, "")
    assert max(map(len, made.lines(80))) <= 80


def test_letters_of_two_columns() -> None:
    made = grid("花の検出器", "1.5 s", "14 KB", "yes")
    assert [cell_len(line[: line.index("1.5")]) for line in made.lines(80)[1:]] == [12]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two", ["one two"]),
        ("one two three", ["one two", "three"]),
        ("dist/phone/a", ["dist/", "phone/a"]),
        ("abcdefghijkl mn", ["abcdefgh", "ijkl mn"]),
        ("abcdefgh ", ["abcdefgh"]),
    ],
)
def test_folding(text: str, lines: list[str]) -> None:
    assert fold(text, 8) == lines


def test_as_many_cells_as_columns() -> None:
    with pytest.raises(ValueError, match="1 cells for 4 columns"):
        grid("n")
