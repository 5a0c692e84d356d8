"""Flatbuffer tables whose every read is bounds-checked and paid for.

The generated schema classes trust the file: a negative offset reads from the wrong end, a cut
string is silently short, and a vector of offsets that all point to one table is an amplifier.
Here each read checks its bounds, and each structure visited is charged to a budget proportional
to the file and capped, so that a hostile file costs seconds and some hundred MB at the worst.

Rules: https://flatbuffers.dev/internals (little-endian; a table starts with the signed distance
to its vtable; a vtable is its size, the table's size, then a 16-bit offset for each field).
"""

from __future__ import annotations

import struct
from typing import Any

from tflbuild.errors import TflbuildError, one_line

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_SCALARS = {code: struct.Struct(f"<{code}") for code in "?bBhHiIqQfd"}


class InvalidModel(TflbuildError):
    """A `.tflite` file that is malformed, truncated or inconsistent: one clear line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))  # it may quote the file


class Flat:
    """The bytes of one flatbuffer and what may still be spent on reading them."""

    __slots__ = ("_bytes", "_objects", "data", "size")

    def __init__(self, data: bytes | bytearray | memoryview, identifier: bytes) -> None:
        self.data = memoryview(data).cast("B")
        self.size = len(self.data)
        # Writers may share strings and vectors, so that an honest file can cost more than its
        # size, never four times. The largest models have some 100,000 tables; a million tables
        # take 10 s, and the same number of vector elements weighs a sixteenth of that.
        self._bytes = 4 * self.size + 65_536
        self._objects = 1_000_000.0
        if self.size < 8:
            raise InvalidModel(f"not a TensorFlow Lite file: {self.size} bytes")
        if bytes(self.data[4:8]) != identifier:
            raise InvalidModel(
                f"not a TensorFlow Lite file: identifier {bytes(self.data[4:8])!r}, "
                f"expected {identifier!r}"
            )

    def root(self) -> Table:
        """The root table."""
        return Table(self, self.follow(0))

    def charge(self, size: int, objects: float) -> None:
        """Pay for visiting `size` bytes that become so many Python objects."""
        self._bytes -= size
        self._objects -= objects
        if self._bytes < 0 or self._objects < 0:
            raise InvalidModel("malformed: its structure claims far more than the file can hold")

    def scalar(self, form: struct.Struct, at: int) -> Any:
        """The value at byte `at`."""
        if not 0 <= at <= self.size - form.size:
            raise InvalidModel(f"truncated or malformed: byte {at} of {self.size} is needed")
        return form.unpack_from(self.data, at)[0]

    def follow(self, at: int) -> int:
        """Where the unsigned offset stored at byte `at` leads."""
        return at + int(self.scalar(_U32, at))

    def span(self, at: int, width: int) -> tuple[int, int]:
        """(first byte, number of elements) of the vector at byte `at`, checked to be inside."""
        count = int(self.scalar(_U32, at))
        if count * width > self.size - at - 4:
            raise InvalidModel(
                f"truncated or malformed: {count} elements of {width} bytes at byte {at}, "
                f"the file has {self.size} bytes"
            )
        self.charge(4 + count * width, 0)
        return at + 4, count


class Table:
    """One table. Fields are addressed by slot: their position in the schema, from 0."""

    __slots__ = ("_fields", "_flat", "_size", "pos")

    def __init__(self, flat: Flat, pos: int) -> None:
        vtable = pos - int(flat.scalar(_I32, pos))
        length = int(flat.scalar(_U16, vtable))
        self._size = int(flat.scalar(_U16, vtable + 2)) if length >= 4 else 0
        if length < 4 or length % 2 or vtable + length > flat.size:
            raise InvalidModel(f"malformed: bad vtable at byte {vtable}")
        if self._size < 4 or pos + self._size > flat.size:
            raise InvalidModel(f"malformed: bad table at byte {pos}")
        flat.charge(4 + self._size, 1)
        self._flat, self.pos = flat, pos
        self._fields = struct.unpack_from(f"<{length // 2 - 2}H", flat.data, vtable + 4)

    def _at(self, slot: int, width: int) -> int:
        """The byte at which field `slot` lies, 0 when it is absent."""
        offset: int = self._fields[slot] if slot < len(self._fields) else 0
        if offset and not 4 <= offset <= self._size - width:
            raise InvalidModel(f"malformed: field {slot} lies outside its table at {self.pos}")
        return self.pos + offset if offset else 0

    def number(self, slot: int, code: str, default: int = 0) -> int:
        """An integer or boolean; `code` is its `struct` letter."""
        form = _SCALARS[code]
        at = self._at(slot, form.size)
        return int(self._flat.scalar(form, at)) if at else default

    def span(self, slot: int, width: int) -> tuple[int, int] | None:
        """(first byte, number of elements) of a vector, None when it is absent."""
        at = self._at(slot, 4)
        return self._flat.span(self._flat.follow(at), width) if at else None

    def numbers(self, slot: int, code: str) -> tuple[Any, ...] | None:
        """A vector of numbers, None when it is absent."""
        form = _SCALARS[code]
        span = self.span(slot, form.size)
        if span is None:
            return None
        self._flat.charge(0, span[1] / 16)
        return struct.unpack_from(f"<{span[1]}{code}", self._flat.data, span[0])

    def string(self, slot: int) -> str | None:
        """A string, None when it is absent. Bytes that are not UTF-8 are shown escaped."""
        span = self.span(slot, 1)
        if span is None:
            return None
        return str(self._flat.data[span[0] : span[0] + span[1]], "utf-8", "backslashreplace")

    def table(self, slot: int) -> Table | None:
        """A table, None when it is absent."""
        at = self._at(slot, 4)
        return Table(self._flat, self._flat.follow(at)) if at else None

    def tables(self, slot: int) -> list[Table]:
        """A vector of tables, empty when it is absent."""
        start, count = self.span(slot, 4) or (0, 0)
        return [
            Table(self._flat, self._flat.follow(at)) for at in range(start, start + 4 * count, 4)
        ]
