"""Parity: how far the outputs of a file are from those of its source.

A test set is measured in chunks: `partial` says of one chunk what `merge` needs to give the
numbers of all. Sums are kept as a fraction and a power of two, since the square of a float64 may be
outside float64, and each has its own power, so that how the samples are cut decides nothing that a
person could see (the last bits of a sum alone).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

WORST = 5  # samples that are named
_LARGEST = 1.7976931348623157e308  # of float64: what stands for more than that

Scaled = Sequence[float]  # (m, e): m * 2 ** e, where m is 0 or 0.5 <= |m| < 1 for a maximum


def parity_numbers(source: Array, other: Array, top_k: Sequence[int] = ()) -> dict[str, Any]:
    """Parity of one output, pooled over all samples and elements, in float64: see `merge`."""
    return merge([partial(source, other, top_k=top_k)])


def partial(
    source: Array,
    other: Array,
    first: int = 0,
    samples: int | None = None,
    top_k: Sequence[int] = (),
) -> dict[str, Any]:
    """What one chunk says, of plain numbers (JSON).

    `source` and `other`: the same shape, rows along the first axis; `first`: the number of the
    chunk's first sample; `samples`: how many samples it holds (None: a row each); `top_k`: which
    numbers of classes are compared, see `merge`.
    """
    import numpy as np

    if source.dtype.kind in "SUO" or other.dtype.kind in "SUO":
        return {"kind": "exact", "equal": bool((source == other).all()), "finite": True}
    s, o = _real(source), _real(other)
    result: dict[str, Any] = {
        "kind": "integer" if source.dtype.kind not in "fc" else "float",
        "equal": bool(np.array_equal(source, other)),
        "finite": bool(np.isfinite(o).all()),
        "source_finite": bool(np.isfinite(s).all()),
        "size": int(s.size),
        "worst": [],
        "top_k": [],
    }
    if not s.size or not result["finite"] or not result["source_finite"]:
        return result
    result["source"] = [float(s.min()), float(s.max())]
    result["file"] = [float(o.min()), float(o.max())]
    signal, power = _unit(s), _unit(o)
    error, shift = _error(s, o)
    noise = _unit(error)
    result["signal"] = [float(np.sum(signal[0] ** 2)), 2 * signal[1]]
    result["power"] = [float(np.sum(power[0] ** 2)), 2 * power[1]]
    result["noise"] = [float(np.sum(noise[0] ** 2)), 2 * (noise[1] + shift)]
    result["dot"] = [float(np.sum(signal[0] * power[0])), signal[1] + power[1]]
    result["error"] = [float(noise[0].max()), noise[1] + shift]
    count = samples or (len(source) if source.ndim else 1)
    rows = len(source) if source.ndim else 1
    groups = rows if rows % count else count
    result["worst"] = _worst(s.reshape(groups, -1), o.reshape(groups, -1), first, count)
    result["same"] = [_same(s.reshape(groups, -1)), _same(o.reshape(groups, -1))]
    if top_k:
        result["top_k"] = _top_k(s.reshape(groups, -1), o.reshape(groups, -1), top_k)
    return result


def merge(partials: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of all chunks together.

    `sqnr` 10 log10(sum s^2 / sum (s - o)^2) in dB (null: no error at all), `cosine` similarity,
    `max_abs_error` in output units, `max_range_error` that over the range of the source's output
    (null: the source is constant). `unmoved`: every sample gives the same output, where the
    source's varies with the sample. `finite` false or `constant` true are findings that always
    fail; the numbers are then null. `worst_samples`: those with the largest errors, the largest
    first, each with its own `max_abs_error` and `sqnr`; samples without any error are not named.
    `top_k`: for each k the share of the source's k largest elements of a sample that are among the
    file's k largest, averaged over samples. Of equal elements of the source the first ones count,
    as with arg max; in the file all do that are not below its k-th largest value, since a quantized
    file holds many equal ones. `tied`: in how many samples that counted for some of the source's,
    and would for others that the source has below its own.
    """
    parts = list(partials)
    kinds = {part["kind"] for part in parts}
    equal = all(part["equal"] for part in parts)
    if "exact" in kinds:
        return {"kind": "exact", "equal": equal, "finite": True}
    result: dict[str, Any] = {
        "kind": "float" if "float" in kinds else "integer",
        "finite": all(part["finite"] for part in parts),
        "source_finite": all(part["source_finite"] for part in parts),
        "constant": False,
        "unmoved": False,
        "sqnr": None,
        "cosine": None,
        "max_abs_error": None,
        "max_range_error": None,
        "equal": equal,
    }
    parts = [part for part in parts if part["size"]]
    if not parts or not result["finite"] or not result["source_finite"]:
        return result
    low, high = min(p["source"][0] for p in parts), max(p["source"][1] for p in parts)
    still = min(p["file"][0] for p in parts) == max(p["file"][1] for p in parts)
    several = sum(part["size"] for part in parts) > 1
    result["constant"] = bool(several and still and high > low)
    one_source, one_file = ({part["same"][side] for part in parts} for side in (0, 1))
    result["unmoved"] = (
        len(one_file) == 1
        and "" not in one_file
        and one_source != one_file
        and (len(one_source) > 1 or "" in one_source)
    )
    signal, power, noise, dot = (
        _sum([part[name] for part in parts]) for name in ("signal", "power", "noise", "dot")
    )
    result["sqnr"] = _decibels(signal, noise)
    if signal[0] > 0 and power[0] > 0:
        norm = math.sqrt(signal[0] * power[0])
        result["cosine"] = min(1.0, _float(dot[0] / norm, dot[1] - (signal[1] + power[1]) / 2))
    elif noise[0] == 0:
        result["cosine"] = 1.0
    error = max((part["error"] for part in parts), key=_order)
    result["max_abs_error"] = _float(*error)
    if high > low:
        whole = math.isfinite(high - low)
        m, e = math.frexp(high - low if whole else high / 4 - low / 4)
        result["max_range_error"] = _float(error[0] / m, error[1] - e - (0 if whole else 2))
    worst = sorted(
        (one for part in parts for one in part["worst"]),
        key=lambda one: (*(-n for n in _order(one["error"])), one["sample"]),
    )[:WORST]
    result["worst_samples"] = [
        {"sample": w["sample"], "max_abs_error": _float(*w["error"]), "sqnr": w["sqnr"]}
        for w in worst
    ]
    result["worst_sample"] = worst[0]["sample"] if worst else 0
    found: dict[int, list[int]] = {}
    for part in parts:
        for k, *counts in part["top_k"]:
            found[k] = [a + b for a, b in zip(found.get(k, (0, 0, 0)), counts, strict=True)]
    if found:
        result["top_k"] = [
            {"k": k, "agreement": agreeing / (k * count), "samples": count, "tied": tied}
            for k, (agreeing, count, tied) in found.items()
        ]
    return result


def short(numbers: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of numbers of `merge` those that a comparison of floats is told by; None for text."""
    if numbers["kind"] == "exact":
        return None
    names = ("sqnr", "cosine", "max_abs_error", "max_range_error", "top_k")
    return {n: numbers[n] for n in names if n != "top_k" or n in numbers}


def _same(rows: Array) -> str:
    """What all samples of a chunk give, as a digest; "" where they differ."""
    if (rows != rows[:1]).any():
        return ""
    return hashlib.sha256(rows[0].tobytes()).hexdigest()[:16]


def _unit(values: Array) -> tuple[Array, int]:
    """Values over the power of two that brings the largest below 1, and its exponent."""
    import numpy as np

    largest = float(np.abs(values).max(initial=0.0))
    exponent = math.frexp(largest)[1] if largest else 0
    return np.ldexp(values, -exponent), exponent


def _error(s: Array, o: Array) -> tuple[Array, int]:
    """|s - o| over 2 ** shift, where one of them alone is no float64."""
    import numpy as np

    with np.errstate(over="ignore"):
        error = np.abs(s - o)
    wide = ~np.isfinite(error)
    if not wide.any():
        return error, 0
    return np.where(wide, np.abs(s / 4 - o / 4), error / 4), 2


def _worst(s: Array, o: Array, first: int, samples: int) -> list[dict[str, Any]]:
    """The samples with the largest errors, a row each. The error of each row has a power of two of
    its own: a small one must not vanish beside a large one of another sample."""
    import numpy as np

    with np.errstate(over="ignore"):
        largest = np.abs(s - o).max(axis=1)
    wide = ~np.isfinite(largest)
    largest[wide] = np.abs(s[wide] / 4 - o[wide] / 4).max(axis=1, initial=0.0)
    m, e = np.frexp(largest)
    e = np.where(m > 0, e + 2 * wide, -5000)
    found = []
    for index in np.lexsort((-m, -e))[:WORST].tolist():
        if not m[index] > 0:
            break
        signal, (noise, shift) = _unit(s[index]), _error(s[index], o[index])
        unit = _unit(noise)
        found.append({
            "sample": first + index * samples // len(s),
            "error": [float(m[index]), int(e[index])],
            "sqnr": _decibels(
                (float(np.sum(signal[0] ** 2)), 2 * signal[1]),
                (float(np.sum(unit[0] ** 2)), 2 * (unit[1] + shift)),
            ),
        })  # fmt: skip
    return found


def _top_k(s: Array, o: Array, asked: Sequence[int]) -> list[list[int]]:
    """For each k: elements that are among the k largest of both, samples, and those samples in
    which equal elements of the file decided."""
    found = []
    for k in asked:
        if k <= s.shape[1]:
            own, limit = _largest(s, k), _kth(o, k)
            enough, level = o >= limit, o == limit
            tied = (enough.sum(axis=1) > k) & (own & level).any(axis=1)
            tied &= (level & (s < _kth(s, k))).any(axis=1)
            found.append([k, int((own & enough).sum()), len(s), int(tied.sum())])
    return found


def _kth(values: Array, k: int) -> Array:
    """The k-th largest element of each row, as a column."""
    import numpy as np

    place = values.shape[1] - k
    found: Array = np.partition(values, place, axis=1)[:, place : place + 1]
    return found


def _largest(values: Array, k: int) -> Array:
    """Which elements of each row are its k largest; of equal ones the first."""
    limit = _kth(values, k)
    more, level = values > limit, values == limit
    room = k - more.sum(axis=1, keepdims=True)
    chosen: Array = more | (level & (level.cumsum(axis=1) <= room))
    return chosen


def _sum(terms: Sequence[Scaled]) -> tuple[float, int]:
    """Exactly rounded, so the order of the chunks does not matter."""
    exponents = [math.frexp(m)[1] + int(e) for m, e in terms if m]
    if not exponents:
        return 0.0, 0
    top = max(exponents)
    total = math.fsum(math.ldexp(m, max(int(e) - top, -2000)) for m, e in terms)
    return total, top


def _decibels(signal: Scaled, noise: Scaled) -> float | None:
    if not noise[0] > 0:
        return None
    if not signal[0] > 0:
        return -_LARGEST
    return 10 * (
        math.log10(signal[0] / noise[0]) + (signal[1] - noise[1]) * math.log10(2)
    )  # fmt: skip


def _float(m: float, e: float) -> float:
    """m * 2 ** e; e may be a half."""
    whole = math.floor(e)
    try:
        return math.ldexp(m * 2 ** (e - whole), whole)
    except OverflowError:
        return math.copysign(_LARGEST, m)


def _order(value: Scaled) -> tuple[float, float]:
    """Sorts nonnegative (m, e)."""
    m, e = math.frexp(value[0])
    return (e + value[1], m) if m else (-math.inf, 0.0)


def _real(array: Array) -> Array:
    """Flat float64; real and imaginary parts side by side."""
    import numpy as np

    if array.dtype.kind == "c":
        flat = np.ascontiguousarray(array).ravel()
        array = np.stack([flat.real, flat.imag], axis=1).reshape(len(array), -1)
    result: Array = array.astype(np.float64).ravel()
    return result
