"""Strangers' text in Markdown, as GitHub and GitLab render it: shown, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tflbuild.verdict import printable

# Words, numbers and marks that mean nothing to Markdown, nor to what the sites make of text
# afterwards: no mentions, references, addresses, short codes of emoji.
_PLAIN = re.compile(r"(?:[A-Za-z0-9 .,;()'\"=+/°→≥≤±−×–…-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9])|:(?= )|%(?=[ ),;.]|$))*")  # fmt: skip  # noqa: E501
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
    """A sentence as it is where it is harmless, with what stands in backticks as code; else all of
    it in a code span."""
    text = printable(text).strip()
    if not cell and text[:1] in tuple("-+=0123456789"):  # at the beginning of a line, a list
        return code(text)
    parts = re.split("`([^`]+)`", text)  # every other one stood in backticks
    if all(_PLAIN.fullmatch(part) and not _LINKS.search(part) for part in parts[::2]):
        spans = [code(part, cell) if index % 2 else part for index, part in enumerate(parts)]
        if all(spans[1::2]):
            return "".join(spans)
    return code(text, cell)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table of cells that are Markdown already."""
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
