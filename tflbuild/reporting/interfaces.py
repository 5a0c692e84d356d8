"""Two interfaces side by side, as wide as the terminal is."""

from __future__ import annotations

from collections.abc import Sequence

from tflbuild.interface import Row
from tflbuild.interface_gate import shown
from tflbuild.reporting.layout import Column, Grid, clean
from tflbuild.verdict import Table

WORD = 18  # letters: names up to this length stay whole where a column folds
LONG = 400  # letters of a cell


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """What belongs together in one row; the first and the last column do not fold."""
    made = Grid(
        Column(columns[0]),
        *(Column(title, folds=WORD) for title in columns[1:-1]),
        Column(columns[-1], folds=12),
    )
    for row in rows:
        made.add(*(clean(cell, LONG) for cell in row))
    return made


def of_table(table: Table, width: int) -> list[str]:
    """The lines of a table that a gate shows, each a little to the right."""
    return [f"  {line}" for line in grid(table.columns, table.rows).lines(width - 2)]


def of_rows(rows: Sequence[Row], old: str, new: str) -> Grid:
    """`interface.side_by_side` as `tflbuild diff` shows it."""
    return grid(("", old, new, "change"), shown(rows))
