"""The records of TFRecord files, without TensorFlow.

A record is: its length (uint64), the masked CRC-32C of those 8 bytes, the data, the masked CRC-32C
of the data; all little-endian. A file may be compressed as a whole, by gzip or zlib.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from tflbuild.datasets.crc32c import masked
from tflbuild.errors import TaskError

LONGEST = 1 << 28  # bytes of a record
CHUNK = 1 << 20
_HEAD = 12
_WBITS_BOTH = 47  # zlib tells gzip from zlib by itself
WBITS = {"gzip": 31, "zlib": 15}


class Record(NamedTuple):
    number: int  # in its file, from 0
    data: bytes  # empty where it was skipped


def read_records(
    path: Path, shown: str, compression: str | None, wanted: frozenset[int] | None = None
) -> Iterator[Record]:
    """All records; the data of those not `wanted` (by number; None: all) is skipped unchecked.

    `compression`: none, gzip, zlib or None to look. Raises TaskError for a file that is damaged,
    cut short, or none of these; memory stays below a record and a chunk.
    """
    try:
        with path.open("rb") as raw:
            found = _compression(raw)
            if compression is None:
                compression = found
            elif found is not None and found != compression:
                raise TaskError(
                    f"{shown} is {_SPOKEN[found]}, not {_SPOKEN[compression]}: correct or remove"
                    " compression:",
                    key="tfrecord.compression",
                )
            if compression is None:
                raise TaskError(
                    f"{shown} is no TFRecord file: its first record has no valid length (neither"
                    " as it is nor compressed by gzip or zlib)"
                )
            stream = _Plain(raw) if compression == "none" else _Inflated(raw, WBITS[compression])
            yield from _records(stream, shown, wanted)
    except OSError as error:
        raise TaskError(f"{shown} cannot be read: {error.strerror or error}") from error
    except zlib.error as error:
        raise TaskError(f"{shown} is damaged: {compression} data that does not unpack") from error


_SPOKEN = {"none": "not compressed", "gzip": "compressed by gzip", "zlib": "compressed by zlib"}


def _compression(raw: IO[bytes]) -> str | None:
    """What a file begins with: a record's length with its CRC, or a compressed one."""
    start = raw.read(CHUNK)
    raw.seek(0)
    if not start or _is_head(start[:_HEAD]):
        return "none"
    try:
        unpacker = zlib.decompressobj(_WBITS_BOTH)
        inside = unpacker.decompress(start, _HEAD)
    except zlib.error:
        return None
    if not _is_head(inside) and not (unpacker.eof and not inside):  # packed, and of no record
        return None
    return "gzip" if start.startswith(b"\x1f\x8b") else "zlib"


def _is_head(head: bytes) -> bool:
    return len(head) == _HEAD and masked(head[:8]) == int.from_bytes(head[8:], "little")


def _records(
    stream: _Plain | _Inflated, shown: str, wanted: frozenset[int] | None
) -> Iterator[Record]:
    number = 0
    while head := stream.read(_HEAD):
        place = f"record {number} of {shown}"
        if len(head) < _HEAD:
            raise TaskError(f"{place} is cut short: the file ends in its length")
        if not _is_head(head):
            raise TaskError(f"{place} is damaged: the checksum of its length does not agree")
        (length,) = struct.unpack("<Q", head[:8])
        if length > stream.limit():
            raise TaskError(
                f"{place} is cut short: it should hold {length} bytes, more than the file has left"
            )
        if length > LONGEST:
            raise TaskError(f"{place} holds {length} bytes; up to {LONGEST} can be read")
        if wanted is not None and number not in wanted:
            if stream.skip(length + 4) < length + 4:
                raise TaskError(f"{place} is cut short: it should hold {length} bytes")
            yield Record(number, b"")
        else:
            data, tail = stream.read(length), stream.read(4)
            if len(data) < length or len(tail) < 4:
                raise TaskError(f"{place} is cut short: it should hold {length} bytes")
            if masked(data) != int.from_bytes(tail, "little"):
                raise TaskError(f"{place} is damaged: the checksum of its data does not agree")
            yield Record(number, data)
        number += 1


class _Plain:
    """A file as it is."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._size = os.fstat(raw.fileno()).st_size

    def limit(self) -> int:
        """Bytes that may follow, at most."""
        return self._size - self._raw.tell()

    def read(self, size: int) -> bytes:
        return self._raw.read(size)

    def skip(self, size: int) -> int:
        here = self._raw.tell()
        there = min(self._size, here + size)
        self._raw.seek(there)
        return there - here


class _Inflated:
    """A compressed file, unpacked by the piece: what it would become never decides the memory."""

    def __init__(self, raw: IO[bytes], wbits: int) -> None:
        self._raw = raw
        self._wbits = wbits
        self._unpacker = zlib.decompressobj(wbits)
        self._packed = b""

    def limit(self) -> int:
        return 1 << 64  # nobody knows

    def read(self, size: int) -> bytes:
        pieces, missing = [], size
        while missing and (piece := self._piece(min(missing, CHUNK))):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def skip(self, size: int) -> int:
        missing = size
        while missing and (piece := self._piece(min(missing, CHUNK))):
            missing -= len(piece)
        return size - missing

    def _piece(self, size: int) -> bytes:
        """Up to `size` (above 0) bytes; none at the end of the file. Raises zlib.error."""
        while True:
            if self._unpacker.eof:  # gzip files may follow one another
                rest = self._unpacker.unused_data or self._raw.read(CHUNK)
                if not rest:
                    return b""
                self._unpacker, self._packed = zlib.decompressobj(self._wbits), rest
            ended = False
            if not self._packed:
                self._packed = self._raw.read(CHUNK)
                ended = not self._packed
            piece = self._unpacker.decompress(self._packed, size)
            self._packed = self._unpacker.unconsumed_tail
            if piece:
                return piece
            if ended and not self._unpacker.eof:
                raise zlib.error("cut short")
