"""`precision`: of the samples that the model gives a class, the share that is labelled so.

See `scores`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tflbuild.metrics import scores
from tflbuild.metrics.base import Evidence, Settings, Spec
from tflbuild.metrics.scores import evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["HIGHER_IS_BETTER", "NAME", "SHARE", "check", "evidence", "resampled", "score", "shares"]

NAME = "precision"
HIGHER_IS_BETTER = True
SHARE = True


def check(settings: Settings, output: Spec, labels: Any) -> None:
    scores.check(NAME, settings, output, labels)


def score(settings: Settings, evidence: Evidence) -> float:
    return scores.score("precision_score", settings, evidence)


def resampled(settings: Settings, evidence: Evidence, counts: Array) -> Array:
    found = scores.Counts(settings, evidence, counts)
    return found.averaged(found.right, found.found)


def shares(settings: Settings, evidence: Evidence) -> tuple[Array, Array] | None:
    return scores.share(settings, evidence, "predicted")
