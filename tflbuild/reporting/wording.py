"""Long messages made short where a sentence can end, never within a number."""

from __future__ import annotations

import re

from tflbuild.errors import one_line

_CLAUSES = re.compile(r"; | \(")  # what comes before stands for itself
_PARTS = re.compile(r", |: ")


def beginning(text: str, limit: int) -> str:
    """One line of at most so many characters: the first clauses, else the first words."""
    text = one_line(text, len(text))
    if len(text) <= limit:
        return text
    head = text[: limit - 1]  # and a space, which a cut takes, for the sign
    for pattern in (_CLAUSES, _PARTS, re.compile(" ")):
        ends = [found.start() for found in pattern.finditer(head)]
        if ends and ends[-1] >= limit // 3:
            return f"{_closed(head[: ends[-1]], limit // 3).rstrip(',;:')} …"
    return f"{head}…"


def _closed(text: str, least: int) -> str:
    """Without what stands in parentheses that do not end any more."""
    opened = text.rfind(" (")
    return text[:opened] if opened >= least and ")" not in text[opened:] else text


def both_ends(text: str, limit: int) -> str:
    """One line: of an error the beginning and the end, where causes stand, by whole words."""
    text = one_line(text, len(text))
    if len(text) <= limit:
        return text
    first, last = limit // 3, limit - limit // 3 - 3
    head, tail = text[:first], text[-last:]
    space = head.rfind(" ")
    if space >= first // 2:
        head = head[:space]
    space = tail.find(" ")
    if 0 <= space <= last // 2:
        tail = tail[space + 1 :]
    return f"{head.rstrip(',;:')} … {tail}"
