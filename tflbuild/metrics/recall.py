"""`recall`: of the samples that are labelled with a class, the share that the model gives it.

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

NAME = "recall"
HIGHER_IS_BETTER = True
SHARE = True


def check(settings: Settings, output: Spec, labels: Any) -> None:
    scores.check(NAME, settings, output, labels)


def score(settings: Settings, evidence: Evidence) -> float:
    return scores.score("recall_score", settings, evidence)


def resampled(settings: Settings, evidence: Evidence, counts: Array) -> Array:
    found = scores.Counts(settings, evidence, counts)
    return found.averaged(found.right, found.labelled)


def shares(settings: Settings, evidence: Evidence) -> tuple[Array, Array] | None:
    return scores.share(settings, evidence, "labelled")
