"""`accuracy`: the share of samples whose class is the labelled one.

The class is the first of the largest values; of an output with one value a sample, 1 above 0.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tflbuild.metrics.base import Evidence, Settings, Spec
from tflbuild.metrics.classes import check_labels, class_numbers, predicted, share_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

NAME = "accuracy"
HIGHER_IS_BETTER = True
SHARE = True


def check(settings: Settings, output: Spec, labels: Any) -> None:
    check_labels(NAME, output, labels)


def evidence(settings: Settings, output: Array, labels: Array) -> dict[str, Array]:
    return {"hit": predicted(output) == class_numbers(labels)}


def score(settings: Settings, evidence: Evidence) -> float:
    return float(evidence["hit"].mean())


def resampled(settings: Settings, evidence: Evidence, counts: Array) -> Array:
    return share_of(evidence["hit"], counts)


def shares(settings: Settings, evidence: Evidence) -> tuple[Array, Array] | None:
    import numpy as np

    return evidence["hit"], np.ones(len(evidence["hit"]), bool)
