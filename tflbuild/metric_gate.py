"""The gate of metrics.

A number is held against its limits as it is: what its data set says is what counts. How far other
samples could have moved it is told beside it, by its 95 % interval. A warning comes in two cases:
- The set is too small for the limit to mean anything, whatever the number: even without a single
  mistake the interval would reach beyond the limit, or one sample is more than `max_drop`.
- The limit lies nearer than a quarter of the way to that end of the interval, about half a standard
  error: three times in ten another set of the same size would have turned the verdict. Warning as
  soon as the interval reaches beyond the limit would be noise: of a good test set it mostly does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tflbuild.found import Findings
from tflbuild.lockfile import LOCK, Locked, metric_key, rounded
from tflbuild.manifest.model import Metric, MetricLimits, Optimization
from tflbuild.metrics import METRICS
from tflbuild.metrics.confidence import Z
from tflbuild.metrics.python import NAME as PYTHON

ROUNDING = 1e-12  # of differences of floats
MOST = 10_000_000  # samples; more are only said to be more
NEAR = 0.25  # of the way from the number to the end of its interval

Entry = Mapping[str, Any]  # of measured.metrics


def of_file(metrics: Sequence[Metric], optimization: Optimization) -> list[Metric]:
    """The metrics of a signature with the limits that an optimization sets itself."""
    own = dict(optimization.metric_limits)
    return [
        replace(
            metric,
            limits=tuple(
                own[limits.name].over(limits) if limits.name in own else limits
                for limits in metric.limits
            ),
        )
        for metric in metrics
    ]


def judge(
    found: Findings,
    metric: Metric,
    measured: Sequence[Entry],
    where: str,
    of: str,
    last: Mapping[str, Locked],
) -> None:
    """One metric of one signature, against the limits that it has.

    Args:
        measured: all entries of the signature.
        where: of which signature, for messages; `of`: its name where there are several, else "".
        last: what was released last, by target.
    """
    entries = {entry["name"]: entry for entry in measured}
    for limits in metric.limits:
        key = limits.name
        if metric.name == PYTHON:
            key = f"{PYTHON}.values.{limits.name}"
        entry = entries.get(limits.name)
        if entry is None:
            names = ", ".join(sorted({*entries} - {*METRICS})[:10])
            found.fail(
                f"metrics.{key}",
                f"{metric.name}: the function gives no {limits.name!r}, which `values` declares"
                f" (it gives {names})",
                of,
            )
            continue
        _Judge(found, limits, entry, f"metrics.{key}", where, of)(last)


@dataclass(frozen=True)
class _Judge:
    found: Findings
    limits: MetricLimits
    entry: Entry
    key: str
    where: str
    of: str

    def __call__(self, last: Mapping[str, Locked]) -> None:
        if self.entry["file"] is None:
            self.found.fail(
                self.key,
                f"{self.said} cannot be computed: what it is made of has NaN or infinity",
                self.of,
            )
            return
        self._edge("min", self.limits.min, below=True)
        self._edge("max", self.limits.max, below=False)
        self._drop()
        self._drop_from_last(last)

    @property
    def said(self) -> str:
        return f"{self.limits.name}{self.where}"

    def _edge(self, which: str, limit: float | None, below: bool) -> None:
        """`min` (`below`: numbers below it fail) or `max`."""
        if limit is None:
            return
        value, check = float(self.entry["file"]), f"{self.key}.{which}"
        short = limit - value if below else value - limit
        if short > ROUNDING:
            self.found.fail(
                check,
                f"{self.said} {_shown(value)} is {'below' if below else 'above'} {which}"
                f" {limit:g} ({self._context()}){self._source_too(limit, below)}",
                self.of,
            )
        else:
            text = f"{self.said} {_shown(value)}, {which} is {limit:g} ({self._context()})"
            self.found.check(check, text, self.of)
        interval = self.entry.get("interval")
        if interval is None or (self._is_share and not 0 < limit < 1):  # perfection, or nothing
            return
        if below and self._is_share and self._few_for_min(limit, check):
            return
        toward_low = below != (short > ROUNDING)  # which end of the interval the limit lies at
        reach = value - interval[0] if toward_low else interval[1] - value
        self._near(check, _shown(value), which, limit, short, reach, interval)

    def _source_too(self, limit: float, below: bool) -> str:
        """What no conversion can mend."""
        source = self.entry["source"]
        if source is None or (limit - source if below else source - limit) <= ROUNDING:
            return ""
        return (
            "; the source itself misses it: look at labels and preprocessing, not at the conversion"
        )

    def _drop(self) -> None:
        limit, source = self.limits.max_drop, self.entry["source"]
        if limit is None:
            return
        value, check = float(self.entry["file"]), f"{self.key}.max_drop"
        if source is None:
            self.found.fail(
                check,
                f"{self.said} of the source cannot be computed: what it is made of has NaN or"
                " infinity",
                self.of,
            )
            return
        drop = self._worse(float(source), value)
        interval = self.entry.get("drop_interval")
        words = f"from {_shown(source)} to {_shown(value)}"
        if drop > limit + ROUNDING:
            moved = "fell" if self.limits.higher_is_better else "rose"
            self.found.fail(
                check,
                f"{self.said} {moved} {words}: by {_shown(drop)}, max_drop is {limit:g}"
                f" ({self._context(drop=True)})",
                self.of,
            )
        else:
            text = f"{self.said} went {words}, max_drop is {limit:g} ({self._context(drop=True)})"
            self.found.check(check, text, self.of)
        if interval is None or limit <= 0:  # no drop at all, of this very data
            return
        if self._few_for_drop(limit, interval, check):
            return
        reach = drop - interval[0] if drop > limit + ROUNDING else interval[1] - drop
        self._near(check, f"drop of {_shown(drop)}", "max_drop", limit, drop - limit, reach,
                   interval)  # fmt: skip

    def _drop_from_last(self, last: Mapping[str, Locked]) -> None:
        """Both numbers are rounded as the lock holds them. Targets share the file, and mostly what
        they released last: what they say alike is said once."""
        limit = self.limits.max_drop_from_last
        if limit is None:
            return
        check, name = f"{self.key}.max_drop_from_last", self.limits.name
        key = metric_key(self.of, name, bool(self.of))
        known = {target: locked.metrics.get(key) for target, locked in sorted(last.items())}
        value = rounded(float(self.entry["file"]))
        if not known or None in known.values():
            who = f"{LOCK} tells no release of it" if not known else f"it has none in {LOCK}"
            if None in known.values() and len(known) > 1:
                names = [target for target, before in known.items() if before is None]
                who = f"it has none in {LOCK} for target {', '.join(names)}"
            why = (
                f"{self.said}: max_drop_from_last is not judged: {who}; after a build that you"
                " release, `tflbuild lock --update` writes it"
            )
            self.found.warn(check, why, self.of)
            if not any(before is not None for before in known.values()):
                self.found.skip(check, why, self.of)
        for before in sorted({before for before in known.values() if before is not None}):
            drop = self._worse(before, value)
            words = f"from {before:g} of the last release to {value:g}"
            if drop > limit + ROUNDING:
                moved = "fell" if self.limits.higher_is_better else "rose"
                self.found.fail(
                    check,
                    f"{self.said} {moved} {words}: by {drop:.4g}, max_drop_from_last is {limit:g}"
                    f" ({self._context()})",
                    self.of,
                )
            else:
                text = f"{self.said} went {words}, max_drop_from_last is {limit:g}"
                self.found.check(check, text, self.of)

    def _worse(self, before: float, after: float) -> float:
        return before - after if self.limits.higher_is_better else after - before

    def _context(self, drop: bool = False) -> str:
        """What a person needs to judge the number."""
        entry = self.entry
        interval = entry.get("drop_interval" if drop else "interval")
        parts = [f"{_counted(entry):,} samples"]
        if interval is not None:
            moved = "drop" if self.limits.higher_is_better else "change"  # an error rises
            parts[0] = f"95 % interval{f' of the {moved}' if drop else ''} {_span(interval)} of" + (
                f" {_counted(entry):,} samples"
            )
        if not drop and entry["source"] is not None:
            parts.append(f"the source has {_shown(entry['source'])}")
        if entry.get("float") is not None:
            parts.append(f"the float file has {_shown(entry['float'])}")
        return ", ".join(parts)

    @property
    def _is_share(self) -> bool:
        metric = METRICS.get(self.limits.name)
        return metric is not None and metric.SHARE

    def _few_for_min(self, limit: float, check: str) -> bool:
        """Whether no number of so few samples could show that `min` holds."""
        counted = _counted(self.entry)
        best = counted / (counted + Z * Z)  # where the interval of a perfect result begins
        if best >= limit:
            return False
        self.found.warn(
            check,
            f"{self.said}: {counted:,} samples are too few for min {limit:g}: the 95 % interval of"
            f" a perfect result would begin at {best:.3f}; about"
            f" {_samples(Z * Z * limit / (1 - limit))} would tell",
            self.of,
        )
        return True

    def _few_for_drop(self, limit: float, interval: Sequence[float], check: str) -> bool:
        """Whether so few samples cannot tell a drop of `max_drop` from none."""
        counted = self.entry.get("counted")
        if counted is None:
            noise = (interval[1] - interval[0]) / 2
            needed = self.entry["samples"] * (noise / limit) ** 2
        else:
            noise = Z * Z / (counted + Z * Z)  # where no sample differs
            needed = Z * Z * (1 / limit - 1)
        if noise <= limit:
            return False
        counted = _counted(self.entry)
        if self.entry.get("counted") is not None and 1 / max(counted, 1) > limit + ROUNDING:
            why = (
                f"one of {counted:,} samples is {_shown(1 / max(counted, 1))}, more than max_drop"
                f" {limit:g}: a single other answer decides"
            )
        else:
            why = (
                f"{counted:,} samples are too few for max_drop {limit:g}: their noise alone is"
                f" ±{_shown(noise)}"
            )
        self.found.warn(
            check, f"{self.said}: {why}; about {_samples(needed)} samples would tell", self.of
        )
        return True

    def _near(
        self,
        check: str,
        value: str,
        which: str,
        limit: float,
        short: float,
        reach: float,
        interval: Sequence[float],
    ) -> None:
        """Warns where the limit lies within the noise. `short`: by how much it is missed; `reach`:
        how far the interval goes towards the limit."""
        margin = abs(short)
        if margin >= NEAR * reach:
            return
        counted = _counted(self.entry)
        verb = "misses" if short > ROUNDING else "meets"
        more = ""
        if margin > ROUNDING:
            more = f"; about {_samples(counted * (reach / margin) ** 2)} samples would tell"
        self.found.warn(
            check,
            f"{self.said} {value} {verb} {which} {limit:g} by {_shown(margin)}, less than the"
            f" noise of {counted:,} samples (95 % interval {_span(interval)}){more}",
            self.of,
        )


def _counted(entry: Entry) -> int:
    """The samples that a share is of, else all."""
    counted = entry.get("counted")
    return int(entry["samples"] if counted is None else counted)


def _shown(value: float) -> str:
    """Four digits behind the point, as of shares; four digits of what is far from those."""
    return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 10 else f"{value:.4g}"


def _span(interval: Sequence[float]) -> str:
    return f"{_shown(interval[0])} to {_shown(interval[1])}"


def _samples(number: float) -> str:
    """A number of samples for people, rounded up to two digits: 23,000."""
    if not number < MOST:
        return f"more than {MOST:,}"
    step = 10 ** max(0, math.floor(math.log10(max(number, 1))) - 1)
    return f"{math.ceil(number / step - 1e-9) * step:,}"
