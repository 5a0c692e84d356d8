"""Parity: how far the outputs of a file are from those of its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def parity_numbers(source: Array, other: Array) -> dict[str, Any]:
    """Parity of one output, pooled over all samples and elements, in float64.

    `sqnr` 10 log10(sum s^2 / sum (s - o)^2) in dB (null: no error at all), `cosine` similarity,
    `max_abs_error` in output units, `max_range_error` that over the source output's range
    (null: the source is constant). `finite` false or `constant` true are findings that always
    fail; the numbers are then null.
    """
    import numpy as np

    if source.dtype.kind in "SUO" or other.dtype.kind in "SUO":
        return {"kind": "exact", "equal": bool((source == other).all()), "finite": True}
    exact = source.dtype.kind not in "fc"
    s, o = _real(source), _real(other)
    result: dict[str, Any] = {
        "kind": "integer" if exact else "float",
        "finite": bool(np.isfinite(o).all()),
        "source_finite": bool(np.isfinite(s).all()),
        "constant": False,
        "sqnr": None,
        "cosine": None,
        "max_abs_error": None,
        "max_range_error": None,
        "equal": bool(np.array_equal(source, other)),
    }
    if not s.size or not result["finite"] or not result["source_finite"]:
        return result
    # Relative to the largest value, so that no square overflows or vanishes.
    peak = max(float(np.abs(s).max()), float(np.abs(o).max())) or 1.0
    error = np.abs(s / peak - o / peak)
    noise, signal = float(np.sum(error**2)), float(np.sum((s / peak) ** 2))
    spread = float(s.max() / peak - s.min() / peak)
    result["constant"] = bool(o.size > 1 and o.max() == o.min() and spread > 0)
    if noise > 0 and signal > 0:
        result["sqnr"] = float(10 * (np.log10(signal) - np.log10(noise)))
    elif noise > 0:
        result["sqnr"] = -float(np.finfo(np.float64).max)
    norms = float(np.sqrt(signal) * np.sqrt(np.sum((o / peak) ** 2)))
    if norms > 0:
        result["cosine"] = min(1.0, float(np.dot(s / peak, o / peak)) / norms)
    elif noise == 0:
        result["cosine"] = 1.0
    result["max_abs_error"] = min(float(error.max()) * peak, float(np.finfo(np.float64).max))
    if spread > 0:
        result["max_range_error"] = float(error.max()) / spread
    worst = int(np.argmax(error.reshape(len(source), -1).max(axis=1))) if source.ndim else 0
    result["worst_sample"] = worst
    return result


def _real(array: Array) -> Array:
    """Flat float64; real and imaginary parts side by side."""
    import numpy as np

    if array.dtype.kind == "c":
        flat = np.ascontiguousarray(array).ravel()
        array = np.stack([flat.real, flat.imag], axis=1).reshape(len(array), -1)
    result: Array = array.astype(np.float64).ravel()
    return result
