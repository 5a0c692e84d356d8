"""How sure a metric is: intervals at 95 % of a value, and of its drop against the source.

The samples are taken as drawn at random from all that a model will meet. What a share of samples
says is known in closed form:
- of a share: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
  JASA 22 (1927);
- of the difference of two shares of the same samples: T. Tango, "Equivalence test and confidence
  interval for the difference in proportions for the paired-sample design", Statistics in Medicine
  17 (1998).
All else is resampled: the percentile bootstrap of B. Efron and R. Tibshirani, "An Introduction to
the Bootstrap" (1993), of whole samples, with a fixed seed; for the drop the same resamples of
source and file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tflbuild.metrics.base import Evidence, Metric, Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Interval = tuple[float, float]

Z = 1.959963984540054  # of a normal distribution, 95 % lies within
SEED = 20
RESAMPLES = 1000
FEW_RESAMPLES = 200  # where more would take too long
MOST = 20_000  # samples that are resampled; of more a part, and the interval is narrowed for it
FEWEST = 1000  # of such a part
WORK = 1 << 25  # numbers looked at for one interval: bounds its time
BLOCK = 1 << 22  # numbers in memory at once


def wilson(hits: float, counted: int, z: float = Z) -> Interval:
    """The interval of a share of `counted` samples; (0, 1) of none."""
    if not counted:
        return 0.0, 1.0
    share, square = hits / counted, z * z / counted
    middle = (share + square / 2) / (1 + square)
    reach = z * math.sqrt(share * (1 - share) / counted + square / (4 * counted)) / (1 + square)
    # At the ends rounding must not shut the share itself out.
    return max(0.0, min(share, middle - reach)), min(1.0, max(share, middle + reach))


def tango(lost: int, won: int, counted: int, z: float = Z) -> Interval:
    """The interval of (lost - won) / counted: the drop of a share, where `lost` samples were hits
    before alone, and `won` ones after alone. It is where the score test does not refuse a drop."""
    if not counted:
        return -1.0, 1.0
    drop = (lost - won) / counted

    def refused(assumed: float) -> float:
        """The statistic of the test of a drop, which falls as that grows."""
        a = 2 * counted
        b = -lost - won + (2 * counted - lost + won) * assumed
        c = -won * assumed * (1 - assumed)
        rest = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        spread = counted * (2 * rest + assumed * (1 - assumed))
        away = lost - won - counted * assumed
        if spread <= 0:
            return math.copysign(math.inf, away) if away else 0.0
        return away / math.sqrt(spread)

    low = _crossing(lambda x: refused(x) - z, -1.0, drop)
    high = _crossing(lambda x: refused(x) + z, drop, 1.0)
    return low, high


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function is 0 between two places; the nearer of them where it is not."""
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    for _ in range(100):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def intervals(
    metric: Metric,
    settings: Settings,
    source: Evidence,
    file: Evidence,
) -> tuple[Interval, Interval, str, int | None]:
    """Of the file's value, and of its drop against the source's (above 0: worse); how they were
    found (wilson, bootstrap); how many samples count, of a share of samples.

    Deterministic: the same evidence gives the same intervals.
    """
    before, after = metric.shares(settings, source), metric.shares(settings, file)
    counted: int | None = None
    own: Interval | None = None
    drop: Interval | None = None
    if after is not None:
        hits, counts = after
        counted = int(counts.sum())
        own = wilson(int((hits & counts).sum()), counted)
        if before is not None and bool((before[1] == counts).all()):
            lost = int((before[0] & ~hits & counts).sum())
            won = int((~before[0] & hits & counts).sum())
            drop = tango(lost, won, counted)
    method = "wilson" if own is not None else "bootstrap"
    if own is None or drop is None:
        resampled = _bootstrap(metric, settings, source, file)
        own, drop = own or resampled[0], drop or resampled[1]
    return own, drop, method, counted


def _bootstrap(
    metric: Metric, settings: Settings, source: Evidence, file: Evidence
) -> tuple[Interval, Interval]:
    import numpy as np

    generator = np.random.default_rng(SEED)
    samples = len(next(iter(file.values())))
    values = [metric.score(settings, evidence) for evidence in (source, file)]
    part, rounds = _part(generator, samples, [source, file])
    narrower = 1.0
    center = values
    if part is not None:
        source, file = _taken(source, part), _taken(file, part)
        narrower = math.sqrt(len(part) / samples)
        center = [metric.score(settings, evidence) for evidence in (source, file)]
        samples = len(part)
    weights, (source, file) = _alike([source, file])
    pairs = [
        [metric.resampled(settings, evidence, counts) for evidence in (source, file)]
        for counts in _resamples(generator, samples, rounds, weights)
    ]
    before, after = (np.concatenate(column) for column in zip(*pairs, strict=True))
    sign = 1.0 if metric.HIGHER_IS_BETTER else -1.0
    drops, drop = sign * (before - after), sign * (values[0] - values[1])
    own = _percentiles(after, values[1], center[1], narrower)
    fallen = _percentiles(drops, drop, sign * (center[0] - center[1]), narrower)
    if metric.SHARE:
        # No resample differs where no sample does: as sure as so few samples can be, no more.
        least = Z * Z / (samples / narrower**2 + Z * Z)
        if own[0] == own[1]:
            own = (own[0] - least * own[0], own[1] + least * (1 - own[1]))
        if fallen[0] == fallen[1]:
            fallen = (fallen[0] - least, fallen[1] + least)
        own = (max(0.0, own[0]), min(1.0, own[1]))
    return own, fallen


def _percentiles(found: Array, value: float, center: float, narrower: float) -> Interval:
    """The middle 95 % of what resamples gave, around the value of all samples."""
    import numpy as np

    found = found[np.isfinite(found)]
    if not found.size:
        return value, value
    low, high = (float(edge) for edge in np.quantile(found, [0.025, 0.975]))
    if narrower == 1.0 and center == value:
        return min(low, value), max(high, value)
    return (
        value - max(0.0, center - low) * narrower,
        value + max(0.0, high - center) * narrower,
    )


def _part(generator: Any, samples: int, evidence: Sequence[Evidence]) -> tuple[Array | None, int]:
    """Which samples are resampled (None: all), and how often, so that the time is bounded."""
    import numpy as np

    numbers = sum(array[:1].size for each in evidence for array in each.values())
    most = min(MOST, max(FEWEST, WORK // (RESAMPLES * max(1, numbers))))
    rounds = WORK // (min(most, samples) * max(1, numbers))
    rounds = min(RESAMPLES, max(FEW_RESAMPLES, rounds))
    if samples <= most:
        return None, rounds
    chosen: Array = np.sort(generator.choice(samples, most, replace=False))
    return chosen, rounds


def _taken(evidence: Evidence, part: Array) -> dict[str, Array]:
    return {name: array[part] for name, array in evidence.items()}


def _alike(evidence: Sequence[Evidence]) -> tuple[Array | None, list[Evidence]]:
    """Samples that say the same as one, with how many they are: of whole numbers there are few
    different ones. None for the numbers where each sample is its own."""
    import numpy as np

    columns = [array for each in evidence for array in each.values()]
    if any(array.dtype.kind not in "iub" or array.ndim > 1 for array in columns):
        return None, list(evidence)
    table = np.stack([array.astype(np.int64) for array in columns], axis=1)
    _, first, numbers = np.unique(table, axis=0, return_index=True, return_counts=True)
    if len(first) > len(table) // 2:
        return None, list(evidence)
    return numbers, [_taken(each, first) for each in evidence]


def _resamples(generator: Any, samples: int, rounds: int, weights: Array | None) -> Iterator[Array]:
    """How often each row is in a resample, (block, rows) at a time."""
    import numpy as np

    rows = samples if weights is None else len(weights)
    block = max(1, min(rounds, BLOCK // rows))
    for start in range(0, rounds, block):
        size = min(block, rounds - start)
        if weights is not None:
            yield generator.multinomial(samples, weights / samples, size=size)
            continue
        drawn = generator.integers(0, samples, (size, samples))
        drawn += (np.arange(size) * samples)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * samples).reshape(size, samples)


def known(value: float | None) -> float | None:
    """A number that JSON holds; None for NaN, infinity and what is not there."""
    return value if value is not None and math.isfinite(value) else None


def finite(evidence: Mapping[str, Array]) -> bool:
    """No NaN and no infinity."""
    import numpy as np

    return all(bool(np.isfinite(a).all()) for a in evidence.values() if a.dtype.kind == "f")
