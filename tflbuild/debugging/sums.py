"""Numbers of many samples, added up one sample at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

LEAST = -300.0  # dB: what is told of noise without signal, or of values that are no numbers
MEASURED, EXACT, UNKNOWN = "measured", "exact", "unknown"


@dataclass
class Noise:
    """Signal and noise, in squares, over all samples and elements (float64)."""

    signal: float = 0.0
    noise: float = 0.0
    seen: bool = False
    finite: bool = True

    def add(self, reference: Array, other: Array) -> None:
        """`other` beside the values that it should have; arrays of one size."""
        import numpy as np

        a = reference.astype(np.float64).ravel()
        b = other.astype(np.float64).ravel()
        self.seen = True
        if a.size != b.size or not (np.isfinite(a).all() and np.isfinite(b).all()):
            self.finite = False
            return
        self.signal += float(a @ a)
        difference = a - b
        self.noise += float(difference @ difference)

    @property
    def told(self) -> str:
        """MEASURED, EXACT (no error at all) or UNKNOWN (nothing was compared)."""
        if not self.seen:
            return UNKNOWN
        return MEASURED if self.noise > 0 or not self.finite else EXACT

    @property
    def sqnr(self) -> float | None:
        """10 log10(signal / noise) in dB, rounded to 2 digits; None where `told` says why."""
        import math

        if self.told != MEASURED:
            return None
        if not self.finite or self.signal <= 0 or not math.isfinite(self.noise):
            return LEAST
        return round(max(LEAST, 10 * math.log10(self.signal / self.noise)), 2)


@dataclass(frozen=True)
class Grid:
    """The real numbers that a quantized tensor can hold: from `low` to `high` in steps."""

    scale: float
    zero: int
    least: int
    most: int

    @classmethod
    def of(cls, tensor: Any) -> Grid | None:
        """None for a tensor that is not quantized with one scale."""
        import numpy as np

        found = tensor.quantization
        if found is None or len(found.scale) != 1 or not found.scale[0] > 0:
            return None
        try:
            limits = np.iinfo(tensor.dtype)
        except (ValueError, TypeError):  # a float type, int4
            return None
        zero = (*found.zero_point, 0)[0]
        return cls(found.scale[0], int(zero), int(limits.min), int(limits.max))

    @property
    def low(self) -> float:
        return (self.least - self.zero) * self.scale

    @property
    def high(self) -> float:
        return (self.most - self.zero) * self.scale

    def store(self, values: Array, dtype: str) -> Array:
        """round(x / scale) + zero point, saturated: the affine scheme of LiteRT."""
        import numpy as np

        scaled = np.round(values.astype(np.float64) / self.scale) + self.zero
        result: Array = np.clip(scaled, self.least, self.most).astype(dtype)
        return result

    def real(self, stored: Array) -> Array:
        """(q - zero point) * scale, float32."""
        import numpy as np

        result: Array = (stored.astype(np.float32) - self.zero) * np.float32(self.scale)
        return result

    def outside(self, values: Array) -> int:
        """How many values lie outside, by more than a step: the range of a softmax ends at
        255/256, and its 1.0 is no fault of the calibration."""
        step = 1.001 * self.scale
        return int(((values < self.low - step) | (values > self.high + step)).sum())


@dataclass
class Spread:
    """Smallest and largest value, and how many lie outside a grid."""

    low: float = float("inf")
    high: float = float("-inf")
    outside: int = 0
    count: int = 0

    def add(self, values: Array, grid: Grid | None) -> None:
        import numpy as np

        if not values.size or not np.isfinite(values).all():
            return
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        self.count += values.size
        self.outside += grid.outside(values) if grid is not None else 0

    def told(self, grid: Grid | None) -> dict[str, Any]:
        """`data_range`, `file_range`, and of a grid the shares `saturated` (values outside it) and
        `range_used` (of its own extent, what the data reach over); null where there is none."""
        known = self.count > 0
        used = None
        if known and grid is not None and grid.high > grid.low:
            reach = min(self.high, grid.high) - max(self.low, grid.low)
            used = round(max(0.0, reach) / (grid.high - grid.low), 4)
        return {
            "data_range": [self.low, self.high] if known else None,
            "file_range": None if grid is None else [grid.low, grid.high],
            "saturated": round(self.outside / self.count, 6) if known and grid else None,
            "range_used": used,
        }
