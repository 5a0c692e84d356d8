"""Strangers' text in Markdown, as GitHub and GitLab render it: shown, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tflbuild.verdict import printable

# Words, numbers and marks that mean nothing to Markdown, nor to what the sites make of text
# afterwards: no mentions, references, addresses, short codes of emoji.
_PLAIN = re.compile(r"(?:[A-Za-z0-9 .,;()'\"=+/°→≥≤±−…-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])|:(?= )|%(?=[ ),;.]|$))*")  # fmt: skip  # noqa: E501
_LINKS = re.compile(r"\bwww\.|\bGH-\d|\b(?=[0-9a-f]*[0-9])[0-9a-f]{7,64}\b", re.IGNORECASE)


def code(text: str, cell: bool = False) -> str:
    """A code span, in which neither site reads anything; "" of an empty text.

    Args:
        text: of anybody. Control characters and marks of direction are shown as one sign.
        cell: of a table, where a pipe must be escaped also here.
    """
    text = printable(text)
    if not text.strip():
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    if text[0] in "` " or text[-1] in "` ":
        text = f" {text} "
    if cell:  # readers do not agree on a backslash before an escaped pipe
        text = text.replace("\\|", "\\\u200b|").replace("|", "\\|")
    return f"{fence}{text}{fence}"


def prose(text: str, cell: bool = False) -> str:
    """A sentence as it is where it is harmless, else in a code span."""
    text = printable(text).strip()
    harmless = _PLAIN.fullmatch(text) and not _LINKS.search(text)
    return text if harmless else code(text, cell)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table of cells that are Markdown already."""
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
