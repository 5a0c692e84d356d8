"""Messages between the parent and a zygote, however they are cut."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflbuild.engine.protocol import MAX_MESSAGE, Unpacker, pack

values = st.integers() | st.text(max_size=50) | st.none()
messages = st.lists(st.dictionaries(st.text(max_size=5), values, max_size=4), max_size=6)


@given(messages, st.lists(st.integers(1, 40), min_size=1))
def test_any_chunks(sent: list[dict[str, Any]], sizes: list[int]) -> None:
    data = b"".join(pack(message) for message in sent)
    unpacker, received, at, turn = Unpacker(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        received += list(unpacker.feed(data[at : at + size]))
        at, turn = at + size, turn + 1
    assert received == sent


@given(messages)
def test_all_at_once(sent: list[dict[str, Any]]) -> None:
    assert list(Unpacker().feed(b"".join(pack(message) for message in sent))) == sent


def test_an_absurd_length() -> None:
    with pytest.raises(ValueError, match="bytes"):
        list(Unpacker().feed(struct.pack("<I", MAX_MESSAGE + 1)))


def test_nothing_before_it_is_whole() -> None:
    unpacker, data = Unpacker(), pack({"a": 1})
    assert list(unpacker.feed(data[:-1])) == []
    assert list(unpacker.feed(b"")) == []
    assert list(unpacker.feed(data[-1:])) == [{"a": 1}]
