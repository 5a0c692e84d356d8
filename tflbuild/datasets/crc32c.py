"""CRC-32C (Castagnoli), as TFRecord files hold it, without a library of its own.

A CRC is linear over GF(2): the bytes are cut into lanes of equal length, NumPy computes the CRC of
all lanes side by side, and pairs of lanes are put together by shifting the left one over the right.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Table = NDArray[Any]

POLYNOMIAL = 0x82F63B78  # reflected
LANE = 64  # bytes
SHORT = 2048  # bytes below which a plain loop is as fast


def masked(data: bytes) -> int:
    """The CRC of `data` as TFRecord masks it: rotated right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The CRC-32C of `data`."""
    if len(data) < SHORT:
        return _bytewise(0xFFFFFFFF, data) ^ 0xFFFFFFFF
    import numpy as np

    # To begin with 0xFFFFFFFF is to begin with 0 and to flip the first 32 bits; and zeros in front
    # of that change nothing.
    lanes = 1 << (-(-len(data) // LANE) - 1).bit_length()
    padded = np.zeros(lanes * LANE, np.uint8)
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)
    padded[start : start + 4] ^= 0xFF
    table = _byte_table()
    crcs = np.zeros(lanes, np.uint32)
    for column in np.ascontiguousarray(padded.reshape(lanes, LANE).T):
        crcs = table[(crcs ^ column) & 0xFF] ^ (crcs >> 8)
    level = 0
    while len(crcs) > 1:
        crcs = _shifted(crcs[0::2], level) ^ crcs[1::2]
        level += 1
    return int(crcs[0]) ^ 0xFFFFFFFF


def _bytewise(crc: int, data: bytes) -> int:
    table = _plain_table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


@lru_cache(maxsize=1)
def _plain_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table


@lru_cache(maxsize=1)
def _byte_table() -> Table:
    import numpy as np

    return np.array(_plain_table(), np.uint32)


def _shifted(crcs: Table, level: int) -> Table:
    """The CRCs after LANE * 2**level more bytes of zeros."""
    tables = _shift_tables(level)
    result: Table = (
        tables[0][crcs & 0xFF]
        ^ tables[1][(crcs >> 8) & 0xFF]
        ^ tables[2][(crcs >> 16) & 0xFF]
        ^ tables[3][crcs >> 24]
    )
    return result


@lru_cache(maxsize=64)
def _shift_tables(level: int) -> Table:
    """For each of the four bytes of a CRC, what its 256 values become."""
    import numpy as np

    values = np.arange(256, dtype=np.uint32)
    tables = np.stack([values << np.uint32(8 * place) for place in range(4)])
    if level:
        return _shifted(_shifted(tables.ravel(), level - 1), level - 1).reshape(4, 256)
    table = _byte_table()
    for _ in range(LANE):
        tables = table[tables & 0xFF] ^ (tables >> 8)
    return tables
