"""Sizes, counts and durations, as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")
_BYTES = {
    "KB": 1000, "MB": 1000**2, "GB": 1000**3,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3,
}  # fmt: skip
_COUNTS = {"K": 1000, "M": 1000**2, "G": 1000**3}
_SECONDS = {"s": 1, "m": 60, "h": 3600}

SIZE = "a size: a number of bytes, or a number with KB, MB, GB (1000) or KiB, MiB, GiB (1024)"
COUNT = "a count: a whole number, or a number with K, M or G, such as 1.5M"
DURATION = "a duration: a number of seconds, or a number with s, m or h, such as 10m"


def parse_size(value: int | str) -> int:
    """Bytes of `8MB`, `256KiB` or a whole number."""
    return _whole(value, _BYTES, SIZE)


def parse_count(value: int | str) -> int:
    """The number that `1M`, `1.5G` or a whole number means."""
    return _whole(value, _COUNTS, COUNT)


def parse_duration(value: float | str) -> float:
    """Seconds of `90s`, `10m`, `2h` or a number; always above zero."""
    if isinstance(value, str):
        seconds = float(_scaled(value, _SECONDS, DURATION, bare=True))
    elif isinstance(value, bool):
        raise ValueError(f"expected {DURATION}, got {str(value).lower()}")
    else:
        seconds = float(value) if abs(value) < 1e18 else float("inf")
    if not 0 < seconds < 1e18:  # also false for NaN
        raise ValueError(f"expected {DURATION}, above zero; got {value}")
    return seconds


def _whole(value: int | str, units: dict[str, int], expected: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"expected {expected}, got {str(value).lower()}")
    exact = _scaled(value, units, expected) if isinstance(value, str) else Fraction(value)
    if exact.denominator != 1:
        raise ValueError(f"expected {expected}; {value} is not a whole number")
    if exact < 1:
        raise ValueError(f"expected {expected}, above zero; got {value}")
    return int(exact)


def _scaled(text: str, units: dict[str, int], expected: str, bare: bool = False) -> Fraction:
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] in units or (bare and not match[2])):
        near = {u.lower(): u for u in units}.get(match[2].lower()) if match else None
        hint = f"; write {match[1]}{near}" if match and near else ""
        raise ValueError(f"expected {expected}, got {text[:40]!r}{hint}")
    return Fraction(match[1]) * units.get(match[2], 1)
