"""What the gate of metrics says."""

from __future__ import annotations

from typing import Any

import pytest

from tflbuild import metric_gate
from tflbuild.found import Findings
from tflbuild.lockfile import Locked
from tflbuild.manifest.model import Metric, MetricLimits
from tflbuild.metrics.confidence import tango, wilson
from tflbuild.verdict import FAIL, WARN


def share(hits: int, samples: int, source: int | None = None, lost: int = 0) -> dict[str, Any]:
    """Accuracy: `lost` samples were right in the source alone."""
    before = hits if source is None else source
    won = hits - before + lost
    return {
        "signature": "s", "name": "accuracy", "output": "y", "samples": samples,
        "counted": samples, "file": hits / samples, "source": before / samples, "float": None,
        "interval": list(wilson(hits, samples)), "method": "wilson",
        "drop_interval": list(tango(lost, won, samples)), "higher_is_better": True,
    }  # fmt: skip


def error(file: float, source: float, reach: float, drop: float) -> dict[str, Any]:
    return {
        "signature": "s", "name": "mean_absolute_error", "output": "y", "samples": 100,
        "counted": None, "file": file, "source": source, "float": source, "method": "bootstrap",
        "interval": [file - reach, file + reach], "higher_is_better": False,
        "drop_interval": [file - source - drop, file - source + drop],
    }  # fmt: skip


def judged(
    entry: dict[str, Any], last: dict[str, Locked] | None = None, of: str = "", **limits: Any
) -> list[tuple[str, str, str]]:
    """Level, check and message of the findings."""
    found = Findings()
    own = MetricLimits(entry["name"], higher_is_better=entry["higher_is_better"], **limits)
    where = f" of signature {of!r}" if of else ""
    metric_gate.judge(found, Metric(entry["name"], (own,)), [entry], where, of, last or {})
    verdict = found.verdict()
    told = {(c.check, c.of) for c in verdict.checks}
    keys = [key for key in limits if limits[key] is not None]
    assert told == {(f"metrics.{entry['name']}.{key}", of) for key in keys}
    assert len(verdict.checks) == len(told)
    return [(f.level, f.check.removeprefix("metrics."), f.message) for f in verdict.findings]


def test_the_digits_say_nothing() -> None:
    """440 of 450 with min 0.97, one answer lost and one won: nobody needs to act."""
    assert judged(share(440, 450, 440, lost=1), min=0.97, max_drop=0.01) == []


def test_a_failure_tells_all_that_one_asks_then() -> None:
    (failed,) = judged({**share(430, 450, 444, lost=15), "float": 0.98}, min=0.97)
    assert failed == (
        FAIL, "accuracy.min",
        "accuracy 0.9556 is below min 0.97 (95 % interval 0.9324 to 0.9710 of 450 samples, the"
        " source has 0.9867, the float file has 0.9800)",
    )  # fmt: skip
    (failed,) = judged({**share(430, 450, 444, lost=15), "float": 0.98}, max_drop=0.01)
    assert failed[:2] == (FAIL, "accuracy.max_drop")
    assert failed[2].startswith(
        "accuracy fell from 0.9867 to 0.9556: by 0.0311, max_drop is 0.01 (95 % interval of the"
        " drop 0.0"
    )
    assert failed[2].endswith("of 450 samples, the float file has 0.9800)")


def test_a_source_that_misses_it_too() -> None:
    """Nobody needs to search the conversion for wrong labels."""
    (failed,) = judged(share(39, 450, 40), min=0.97)
    assert failed[2].endswith(
        "the source has 0.0889); the source itself misses it: look at labels and preprocessing,"
        " not at the conversion"
    )
    (failed,) = judged(error(4.0, 3.5, 0.1, 0.1), max=3)
    assert "; the source itself misses it" in failed[2]
    (failed,) = judged(error(4.0, 2.5, 0.1, 0.1), max=3)
    assert "itself" not in failed[2]


def test_a_limit_that_is_a_toss_up() -> None:
    (warned,) = judged(share(437, 450), min=0.97)
    assert warned == (
        WARN, "accuracy.min",
        "accuracy 0.9711 meets min 0.97 by 0.0011, less than the noise of 450 samples (95 %"
        " interval 0.9512 to 0.9830); about 150,000 samples would tell",
    )  # fmt: skip
    failed, warned = judged(share(436, 450), min=0.97)
    assert (failed[0], warned[0]) == (FAIL, WARN)
    assert "misses min 0.97 by 0.0011, less than the noise" in warned[2]
    (warned,) = judged(share(440, 450, 444, lost=7), max_drop=0.0089)
    assert "drop of 0.0089 meets max_drop 0.0089 by 1.111e-05, less than the noise" in warned[2]
    assert warned[2].endswith("more than 10,000,000 samples would tell")


@pytest.mark.parametrize(
    ("samples", "limits", "says"),
    [
        (20, {"min": 0.97}, "20 samples are too few for min 0.97: the 95 % interval of a perfect"
                            " result would begin at 0.839; about 130 would tell"),
        (130, {"min": 0.97}, ""),
        (10, {"min": 0.5}, ""),
        (50, {"max_drop": 0.01}, "one of 50 samples is 0.0200, more than max_drop 0.01: a single"
                                 " other answer decides; about 390 samples would tell"),
        (200, {"max_drop": 0.01}, "200 samples are too few for max_drop 0.01: their noise alone is"
                                  " ±0.0188; about 390 samples would tell"),
        (390, {"max_drop": 0.01}, ""),
        (20, {"max_drop": 0}, ""),  # of this very data, none
        (20, {"min": 1}, ""),
    ],
)  # fmt: skip
def test_a_set_that_is_too_small(samples: int, limits: dict[str, float], says: str) -> None:
    found = judged(share(samples, samples), **limits)
    assert [message for _, _, message in found] == [f"accuracy: {says}"] * bool(says)
    assert all(level == WARN for level, _, _ in found)


def test_a_lower_number_may_be_better() -> None:
    assert judged(error(0.5, 0.45, 0.01, 0.01), max=0.6, max_drop=0.1) == []
    (failed,) = judged(error(0.5, 0.3, 0.01, 0.01), max=0.6, max_drop=0.1)
    assert "mean_absolute_error rose from 0.3000 to 0.5000: by 0.2000, max_drop is 0.1" in failed[2]
    assert "95 % interval of the change 0.1900 to 0.2100" in failed[2]  # nothing dropped
    (failed,) = judged(error(0.5, 0.5, 0.01, 0.01), max=0.4)
    assert "0.5000 is above max 0.4 (95 % interval 0.4900 to 0.5100 of 100 samples" in failed[2]
    (warned,) = judged(error(0.5, 0.5, 0.1, 0.01), max=0.51)
    assert "meets max 0.51 by 0.0100, less than the noise of 100 samples" in warned[2]
    assert "about 10,000 samples" in warned[2]
    (warned,) = judged(error(0.5, 0.5, 0.1, 0.08), max_drop=0.02)
    assert "100 samples are too few for max_drop 0.02: their noise alone is ±0.0800" in warned[2]
    assert "about 1,600 samples would tell" in warned[2]
    assert judged(error(0.3, 0.5, 0.1, 0.01), max_drop=0.05) == []


def locked(target: str, **numbers: float) -> dict[str, Locked]:
    return {target: Locked(f"m:o@{target}", "", {}, "", 0, {}, {}, metrics=numbers)}


def test_against_the_last_release() -> None:
    limit = {"max_drop_from_last": 0.005}
    assert judged(share(440, 450), locked("a", accuracy=0.9822), **limit) == []
    (failed,) = judged(share(440, 450), locked("a", accuracy=0.99), **limit)
    assert failed[:2] == (FAIL, "accuracy.max_drop_from_last")
    assert failed[2].startswith(
        "accuracy fell from 0.99 of the last release to 0.9778: by 0.0122, max_drop_from_last is"
        " 0.005 (95 % interval"
    )
    # As the lock rounds it: what did not change did not drop.
    same = {"max_drop_from_last": 0.0}
    assert judged(share(440, 450), locked("a", accuracy=0.9778), **same) == []
    rose = judged(error(0.5, 0.5, 0.0, 0.0), locked("a", mean_absolute_error=0.4), **limit)
    assert "rose from 0.4 of the last release to 0.5: by 0.1" in rose[0][2]
    own = judged(share(440, 450), locked("a", **{"decode/accuracy": 0.99}), of="decode", **limit)
    assert "accuracy of signature 'decode' fell from 0.99" in own[0][2]


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ({}, "tflbuild.lock tells no release of it"),
        (locked("a", f1=0.5), "it has none in tflbuild.lock"),
        (locked("a", f1=0.5) | locked("b", accuracy=0.97), "none in tflbuild.lock for target a"),
    ],
)
def test_without_a_last_release(last: dict[str, Locked], says: str) -> None:
    ((level, check, message),) = judged(share(440, 450), last, max_drop_from_last=0.01)
    assert (level, check) == (WARN, "accuracy.max_drop_from_last")
    assert "max_drop_from_last is not judged: " in message
    assert says in message
    assert message.endswith("`tflbuild lock --update` writes it")


def test_what_cannot_be_computed_fails_even_without_limits() -> None:
    found = Findings()
    metric = Metric("accuracy", (MetricLimits("accuracy"),))
    metric_gate.judge(found, metric, [share(440, 450)], "", "", {})
    assert not found.verdict().findings
    nothing = {**share(440, 450), "file": None, "interval": None}
    metric_gate.judge(found, metric, [nothing], "", "", {})
    (finding,) = found.verdict().findings
    assert "accuracy cannot be computed: what it is made of has NaN or infinity" in finding.message
    no_source = {**share(440, 450), "source": None, "drop_interval": None}
    ((_, _, message),) = judged(no_source, max_drop=0.01)
    assert "accuracy of the source cannot be computed" in message


def test_values_of_a_function() -> None:
    entry = {
        "signature": "s", "name": "mAP", "output": None, "samples": 9, "counted": None,
        "file": 0.5, "source": 0.6, "float": None, "interval": None, "drop_interval": None,
        "higher_is_better": True, "method": "none",
    }  # fmt: skip
    limits = (MetricLimits("mAP", min=0.4, max=0.55, max_drop=0.05), MetricLimits("other"))
    found = Findings()
    metric_gate.judge(found, Metric("python", limits), [entry, share(1, 2)], "", "", {})
    verdict = found.verdict()
    assert [(f.check, f.message) for f in verdict.failures] == [
        ("metrics.python.values.mAP.max_drop",
         "mAP fell from 0.6000 to 0.5000: by 0.1000, max_drop is 0.05 (9 samples)"),
        ("metrics.python.values.other",
         "python: the function gives no 'other', which `values` declares (it gives mAP)"),
    ]  # fmt: skip
    assert len(verdict.checks) == 4
