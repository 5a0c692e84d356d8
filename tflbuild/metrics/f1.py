"""`f1`: the harmonic mean of precision and recall of each class. See `scores`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tflbuild.metrics import scores
from tflbuild.metrics.base import Evidence, Settings, Spec
from tflbuild.metrics.scores import evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["HIGHER_IS_BETTER", "NAME", "SHARE", "check", "evidence", "resampled", "score", "shares"]

NAME = "f1"
HIGHER_IS_BETTER = True
SHARE = True


def check(settings: Settings, output: Spec, labels: Any) -> None:
    scores.check(NAME, settings, output, labels)


def score(settings: Settings, evidence: Evidence) -> float:
    return scores.score("f1_score", settings, evidence)


def resampled(settings: Settings, evidence: Evidence, counts: Array) -> Array:
    found = scores.Counts(settings, evidence, counts)
    return found.averaged(2 * found.right, found.found + found.labelled)


def shares(settings: Settings, evidence: Evidence) -> tuple[Array, Array] | None:
    found = scores.share(settings, evidence, "labelled")
    # Of one class it is no share of samples; of all answers together it is accuracy.
    return found if settings.get("average") == "micro" else None
