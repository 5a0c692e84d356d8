"""The wire format of protocol buffers, as the parent reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflbuild.errors import UsageError
from tflbuild.sources import onnx
from tflbuild.sources.protobuf_wire import messages, strings


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    """A field with a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(index: int, value: int) -> bytes:
    return varint(index << 3) + varint(value)


def test_the_fields_on_a_path(tmp_path: Path) -> None:
    inner = number(4, 300) + field(2, b"two") + varint(6 << 3 | 5) + b"abcd" + field(2, b"again")
    path = tmp_path / "m"
    path.write_bytes(number(1, 8) + field(7, field(5, inner)) + field(8, b"x") + field(7, b""))
    assert list(messages(path, (7, 5))) == [inner]
    assert list(messages(path, (7, 5, 2))) == [b"two", b"again"]
    assert list(messages(path, (9,))) == []
    assert strings(inner) == {2: "again"}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_left(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    for entry in messages(path, (7, 5, 13)):
        assert entry in data
    onnx.external_data(path)


@pytest.mark.parametrize("place", ["/etc/passwd", "../other/w.bin", "a/../../w.bin"])
def test_weights_outside_of_the_folder_are_refused(place: str, tmp_path: Path) -> None:
    entry = field(1, b"location") + field(2, place.encode())
    path = tmp_path / "m.onnx"
    path.write_bytes(field(7, field(5, field(13, entry))))
    with pytest.raises(UsageError, match="lie outside of its folder"):
        onnx.files(path)
