"""The wire format of protocol buffers, as far as a parent needs it that imports none of them.

https://protobuf.dev/programming-guides/encoding/: a message is a row of (field, wire type) tags
and values; strings and messages are a length and that many bytes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

Span = tuple[int, int]  # begin and end
_FIXED = {1: 8, 5: 4}  # bytes of the wire types without a length


def messages(path: Path, fields: Sequence[int]) -> Iterator[bytes]:
    """Every message that a path of field numbers leads to from the file's root. Nothing where
    the file is none of protocol buffers; large fields that are not on the path are not read."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            for begin, end in _find(m, (0, len(m)), fields):
                yield m[begin:end]
    except (OSError, ValueError):  # empty, a folder, or no such message
        return


def strings(message: bytes) -> dict[int, str]:
    """The fields of a message that are text, by number. Raises ValueError."""
    return {
        field: message[begin:end].decode("utf-8", "replace")
        for field, (begin, end) in _fields(message, (0, len(message)))
    }


def _find(data: bytes | mmap.mmap, span: Span, fields: Sequence[int]) -> Iterator[Span]:
    if not fields:
        yield span
        return
    for field, inner in _fields(data, span):
        if field == fields[0]:
            yield from _find(data, inner, fields[1:])


def _fields(data: bytes | mmap.mmap, span: Span) -> Iterator[tuple[int, Span]]:
    """The fields with a length, as (number, span of their bytes)."""
    at, end = span
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(data, at, end)
        elif kind in _FIXED:
            at += _FIXED[kind]
        elif kind == 2:
            size, at = _varint(data, at, end)
            if size > end - at:
                raise ValueError("a field is longer than its message")
            yield tag >> 3, (at, at + size)
            at += size
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: bytes | mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number without an end")
