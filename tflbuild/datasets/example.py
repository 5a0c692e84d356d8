"""`tf.train.Example` from its bytes, without TensorFlow.

    message Example   { Features features = 1; }
    message Features  { map<string, Feature> feature = 1; }
    message Feature   { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2;
                                     Int64List int64_list = 3; } }

each list `repeated value = 1`, numbers packed or not. Repeated parts merge as the protocol buffer
specification says: lists go on, the last kind and the last entry of a map count.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_PIECE = 1 << 16  # bytes of packed integers at once
KINDS = {1: "bytes", 2: "float", 3: "int64"}


class WrongExample(Exception):
    """The bytes are no Example; the text says why."""


@dataclass
class Feature:
    """One feature: `kind` is bytes, float, int64, or "" for one without a value."""

    kind: str = ""
    values: list[bytes] = field(default_factory=list)  # of bytes
    numbers: bytearray = field(default_factory=bytearray)  # of float and int64, little-endian

    def array(self) -> Numbers:
        """All numbers, flat: float32 or int64."""
        import numpy as np

        return np.frombuffer(bytes(self.numbers), "<f4" if self.kind == "float" else "<i8")


def parse_example(data: bytes, wanted: Collection[str]) -> dict[str, Feature]:
    """The features by name, those not wanted without their values. Raises WrongExample."""
    features: dict[str, Feature] = {}
    for number, wire, value in _fields(memoryview(data)):
        if number != 1 or wire != _LENGTH:
            continue
        for inner, inner_wire, entry in _fields(value):
            if inner == 1 and inner_wire == _LENGTH:
                name, feature = _entry(entry, wanted)
                features[name] = feature
    return features


def _entry(view: memoryview, wanted: Collection[str]) -> tuple[str, Feature]:
    name, values = "", []
    for number, wire, value in _fields(view):
        if number == 1 and wire == _LENGTH:
            try:
                name = str(value, "utf-8")
            except UnicodeDecodeError:
                raise WrongExample("the name of a feature is not UTF-8") from None
        elif number == 2 and wire == _LENGTH:
            values.append(value)
    feature = Feature()
    for value in values if name in wanted else ():
        _feature(value, feature)
    return name, feature


def _feature(view: memoryview, feature: Feature) -> None:
    for number, wire, value in _fields(view):
        if number not in KINDS or wire != _LENGTH:
            continue
        if feature.kind != KINDS[number]:
            feature.kind, feature.values, feature.numbers = KINDS[number], [], bytearray()
        for inner, kind, item in _fields(value):
            if inner == 1:
                _value(feature, kind, item)


def _value(feature: Feature, wire: int, item: Any) -> None:
    """One `value` of a list: one, or numbers in a pack. Of another wire type: unknown, skipped."""
    if feature.kind == "bytes" and wire == _LENGTH:
        feature.values.append(bytes(item))
    elif feature.kind == "float" and wire in (_LENGTH, _FIXED32):
        if len(item) % 4:
            raise WrongExample("a list of floats ends within one")
        feature.numbers += item
    elif feature.kind == "int64" and wire == _LENGTH:
        feature.numbers += _varints(item)
    elif feature.kind == "int64" and wire == _VARINT:
        feature.numbers += struct.pack("<Q", item)


def _varints(view: memoryview) -> bytearray:
    """Packed varints (groups of 7 bits, the lowest first, the last one without its top bit) as
    little-endian int64, by the piece, since a byte becomes eight and many more on the way."""
    import numpy as np

    result = bytearray()
    data = np.frombuffer(view, np.uint8)
    while data.size:
        piece = data[:_PIECE]
        ends = np.flatnonzero(piece < 0x80)
        if not ends.size:
            raise WrongExample("a list of integers ends within one, or holds one of over 64 bits")
        starts = np.concatenate([[0], ends[:-1] + 1])
        lengths = ends - starts + 1
        if lengths.max() > 10:
            raise WrongExample("an integer of more than 64 bits")
        size = int(ends[-1]) + 1
        place = np.arange(size) - np.repeat(starts, lengths)
        bits = (piece[:size] & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
        result += np.bitwise_or.reduceat(bits, starts).astype("<u8").tobytes()
        data = data[size:]
    return result


def _fields(view: memoryview) -> Iterator[tuple[int, int, Any]]:
    """The fields of a message: number, wire type, and an int or the bytes."""
    at, end = 0, len(view)
    while at < end:
        tag, at = _varint(view, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise WrongExample("a field without a number")
        if wire == _VARINT:
            value, at = _varint(view, at)
            yield number, wire, value
            continue
        if wire == _LENGTH:
            size, at = _varint(view, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise WrongExample(f"a field of an unknown kind ({wire})")
        if size > end - at:
            raise WrongExample("a field is cut short")
        yield number, wire, view[at : at + size]
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for count in range(10):
        if at + count >= len(view):
            break
        byte = view[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + count + 1
    raise WrongExample("a number is cut short, or longer than 64 bits")
