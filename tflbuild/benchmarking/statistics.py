"""What is said of repeated measurements: robust numbers, and how sure a ratio is.

Times have a long tail to the right: nothing makes an inference faster than it is, and a lot makes
it slower. So the middle is the median, the spread are quartiles, and a ratio is the median of the
ratios of single rounds, with an interval by the bootstrap.

Rounds are less independent than they look. A process keeps its layout of memory for life, and may
be a few percent faster or slower than the next one; so the bootstrap draws processes first, and
then rounds within them (two levels, as Kalibera and Jones 2013 do). And rounds beside each other
are alike where the machine was disturbed for a while; so it draws blocks of them (Künsch 1989,
circular as in Politis and Romano 1992). Without either the interval would be too narrow.
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
    values: Sequence[Sequence[float]],
    against: Sequence[Sequence[float]],
    seed: int = 0,
    draws: int = DRAWS,
) -> dict[str, float]:
    """How many times `against` the `values` are, round by round.

    Args:
        values: by process, positive numbers, one for each round.
        against: those of the same rounds.
        seed: of the draws; the same gives the same interval.
        draws: how often the rounds are drawn anew.

    Returns:
        `ratio`: the median of the rounds' ratios. `low`, `high`: its 95 % interval, which holds it.

    Raises:
        ValueError: the rounds are not the same, there are none, or a number is not positive.
    """
    import numpy as np

    if [len(part) for part in values] != [len(part) for part in against] or not values:
        raise ValueError("a ratio needs the same rounds of both")
    if not all(values) or not all(number > 0 for part in (*values, *against) for number in part):
        raise ValueError("a ratio needs positive numbers")
    each = [
        np.asarray(top, np.float64) / np.asarray(bottom, np.float64)
        for top, bottom in zip(values, against, strict=True)
    ]
    middle = float(np.median(np.concatenate(each)))
    medians = _medians(each, seed, draws)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(number) for number in np.quantile(medians, [tail, 1 - tail]))
    return {"ratio": middle, "low": min(low, middle), "high": max(high, middle)}


def block(rounds: int) -> int:
    """Rounds that are drawn together: the cube root of all, the usual rule of a block bootstrap."""
    return max(1, round(math.pow(rounds, 1 / 3)))


def _medians(each: Sequence[NDArray[Any]], seed: int, draws: int) -> NDArray[Any]:
    """The medians of so many draws of processes, and of blocks of rounds within them."""
    import numpy as np

    generator = np.random.default_rng(seed)
    sizes = np.array([part.size for part in each])
    longest = int(sizes.max())
    table = np.stack([np.resize(part, longest) for part in each])
    length = block(longest)
    blocks = -(-longest // length)
    found = []
    at_once = max(1, _PART // table.size)
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        parts = generator.integers(0, len(each), (count, len(each), 1))
        first = generator.integers(0, longest, (count, len(each), blocks, 1))
        rounds = (first + np.arange(length)).reshape(count, len(each), -1)[:, :, :longest]
        drawn = table[parts, rounds % sizes[parts]]
        found.append(np.median(drawn.reshape(count, -1), axis=1))
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
