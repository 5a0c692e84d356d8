"""What is said of repeated measurements: robust numbers, and how sure a ratio is.

Times have a long tail to the right: nothing makes an inference faster than it is, and a lot makes
it slower. So the middle is the median, the spread are quartiles, and a ratio is the median of the
ratios of single rounds, with an interval by the bootstrap. Rounds beside each other are alike where
the machine was disturbed for a while; the bootstrap draws blocks of them (Künsch 1989, circular as
in Politis and Romano 1992), else the interval would be too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 2000
CONFIDENCE = 0.95
_PART = 1 << 21  # numbers that are drawn at once


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles, median absolute deviation, smallest and largest of one number or more, in
    their own unit."""
    import numpy as np

    array = np.asarray(values, np.float64)
    low, middle, high = np.quantile(array, [0.25, 0.5, 0.75])
    return {
        "median": float(middle),
        "q1": float(low),
        "q3": float(high),
        "mad": float(np.median(np.abs(array - middle))),
        "min": float(array.min()),
        "max": float(array.max()),
    }


def ratio(
    values: Sequence[float], against: Sequence[float], seed: int = 0, draws: int = DRAWS
) -> dict[str, float]:
    """How many times `against` the `values` are, round by round.

    Args:
        values: positive numbers, one for each round.
        against: those of the same rounds.
        seed: of the draws; the same gives the same interval.
        draws: how often the rounds are drawn anew.

    Returns:
        `ratio`: the median of the rounds' ratios. `low`, `high`: its 95 % interval, which holds it.
    """
    import numpy as np

    top, bottom = np.asarray(values, np.float64), np.asarray(against, np.float64)
    if top.shape != bottom.shape or not top.size:
        raise ValueError("a ratio needs the same rounds of both")
    if not (top > 0).all() or not (bottom > 0).all():
        raise ValueError("a ratio needs positive numbers")
    each = top / bottom
    middle = float(np.median(each))
    medians = np.sort(_medians(each, seed, draws))
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(number) for number in np.quantile(medians, [tail, 1 - tail]))
    return {"ratio": middle, "low": min(low, middle), "high": max(high, middle)}


def block(rounds: int) -> int:
    """Rounds that are drawn together: the cube root of all, the usual rule of a block bootstrap."""
    return max(1, round(math.pow(rounds, 1 / 3)))


def _medians(each: NDArray[Any], seed: int, draws: int) -> NDArray[Any]:
    import numpy as np

    generator = np.random.default_rng(seed)
    length = block(each.size)
    blocks = -(-each.size // length)
    found = []
    part = max(1, _PART // each.size)
    for start in range(0, draws, part):
        count = min(part, draws - start)
        first = generator.integers(0, each.size, (count, blocks, 1))
        drawn = (first + np.arange(length)).reshape(count, -1)[:, : each.size] % each.size
        found.append(np.median(each[drawn], axis=1))
    return np.concatenate(found)


def extremes(values: Sequence[float], against: Sequence[float]) -> dict[str, float]:
    """The ratio of numbers that hardly differ from one measurement to the next, as bytes of memory:
    of the medians, and between which bounds every pair of them lies."""
    import numpy as np

    return {
        "ratio": float(np.median(values)) / float(np.median(against)),
        "low": min(values) / max(against),
        "high": max(values) / min(against),
    }
