"""Tables that lose nothing by being narrow, and strangers' text that is fit to be shown.

A name or a verdict is never cut: columns that matter less are left out as a whole, in a fixed
order, and sentences fold at spaces and after `/`. Where that does not do, lines are longer than
the terminal is wide, and it folds them itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

WIDE = 1_000_000  # columns of what is no terminal: a file is searched, not looked at
GAP = 2  # spaces between columns
NARROW = 20  # a column that folds is no narrower, unless its text is


@dataclass(frozen=True)
class Column:
    title: str
    right: bool = False
    leaves: int = 0  # 0: never; else the column with the lowest number is left out first
    beside: str = ""  # the title of a column without which it would say nothing
    folds: int = 0  # 0: never; else at spaces and after `/`, and words up to this length stay whole


class Grid:
    """Rows of text below titles, laid out when the width is known (`console.print(grid)`)."""

    def __init__(self, *columns: Column) -> None:
        self.columns = columns
        self.rows: list[tuple[str, ...]] = []

    def add(self, *cells: str) -> None:
        """Raises ValueError unless there is one cell for each column."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(cells)

    def lines(self, width: int) -> list[str]:
        """The titles, then each row in one line or more, without spaces at their ends."""
        widths = self._widths(width)
        result = []
        for row in [tuple(column.title for column in self.columns), *self.rows]:
            cells = [
                fold(row[i], n) if self.columns[i].folds else [row[i]] for i, n in widths.items()
            ]
            for index in range(max(map(len, cells))):
                parts = [
                    _padded(cell[index] if index < len(cell) else "", n, self.columns[i].right)
                    for cell, (i, n) in zip(cells, widths.items(), strict=True)
                ]
                result.append((" " * GAP).join(parts).rstrip())
        return result

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for index, line in enumerate(self.lines(options.max_width)):
            yield Text(line, style="" if index else "bold", no_wrap=True, overflow="ignore")

    def _widths(self, width: int) -> dict[int, int]:
        """The columns that are shown, by index, and the width of each."""
        natural, least = [], []
        for index, column in enumerate(self.columns):
            cells = [column.title, *(row[index] for row in self.rows)]
            natural.append(max(map(cell_len, cells)))
            words = max(cell_len(piece.rstrip()) for cell in cells for piece in _pieces(cell))
            fixed = max(NARROW, min(words, column.folds)) if column.folds else natural[-1]
            least.append(min(natural[-1], fixed))
        shown = list(range(len(self.columns)))
        leaving = sorted(
            (i for i in shown if self.columns[i].leaves), key=lambda i: self.columns[i].leaves
        )

        def left() -> int:
            return width - sum(least[i] for i in shown) - GAP * (len(shown) - 1)

        for index in leaving:
            if left() >= 0:
                break
            shown.remove(index)
        for index in reversed(leaving):  # where a wide one had to leave, narrow ones may stay
            titles = [self.columns[i].title for i in shown]
            beside = self.columns[index].beside
            if index not in shown and left() >= least[index] + GAP and beside in ("", *titles):
                shown = sorted([*shown, index])
        found = {i: least[i] for i in shown}
        spare = max(left(), 0)
        hungry = sorted(shown, key=lambda i: natural[i] - least[i])
        for position, index in enumerate(hungry):  # those that need little leave more to the others
            more = min(natural[index] - least[index], spare // (len(hungry) - position))
            found[index] += more
            spare -= more
        return found


def show(grid: Grid) -> None:
    """Print on standard output: as wide as the terminal is, or as is needed where there is none."""
    stdout().print(grid, crop=False)


def stdout(width: int = WIDE) -> Console:
    """Standard output, `width` columns wide where it is no terminal; text is shown as it is."""
    return Console(
        file=sys.stdout,
        width=None if sys.stdout.isatty() else width,
        highlight=False,
        markup=False,
        emoji=False,
    )


def clean(text: object, limit: int = 80) -> str:
    """Text of a file, fit for a terminal: nothing that moves its cursor, and not without end."""
    plain = "".join(c if c.isprintable() else "�" for c in str(text)[: limit + 1])
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def fold(text: str, width: int) -> list[str]:
    """Lines of at most `width`, broken at spaces and after `/`; inside a word only where it is
    longer than a line."""
    lines, line = [], ""
    for piece in _pieces(text):
        if line and cell_len((line + piece).rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += piece
        while len(line.rstrip()) > width:
            lines.append(line[:width])
            line = line[width:]
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def _pieces(text: str) -> Sequence[str]:
    return re.findall(r"[^ /]*[ /]|[^ /]+", text) or [""]


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def first_few(lines: Iterator[str], count: int) -> list[str]:
    """At most `count` lines, and then how many more there are."""
    every = list(lines)
    more = [f"and {len(every) - count} more"] if len(every) > count else []
    return every[:count] + more
