"""`top_k_accuracy`: the share of samples whose labelled class is among the k largest values.

Of equal values the later ones go first, as in scikit-learn's `top_k_accuracy_score`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError
from tflbuild.metrics.accuracy import resampled, score, shares
from tflbuild.metrics.base import Settings, Spec, rows, width
from tflbuild.metrics.classes import check_labels, class_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["HIGHER_IS_BETTER", "NAME", "SHARE", "check", "evidence", "resampled", "score", "shares"]

NAME = "top_k_accuracy"
HIGHER_IS_BETTER = True
SHARE = True


def check(settings: Settings, output: Spec, labels: Any) -> None:
    check_labels(NAME, output, labels)
    classes = width(output)
    if settings["k"] >= classes:
        raise TaskError(
            f"{NAME}: every sample is right with k: {settings['k']}, because output"
            f" {output['name']!r} has {classes} classes; give a smaller k",
            key="k",
        )


def evidence(settings: Settings, output: Array, labels: Array) -> dict[str, Array]:
    import numpy as np

    best = np.argsort(rows(output), axis=1, kind="stable")[:, ::-1][:, : settings["k"]]
    return {"hit": (best == class_numbers(labels)[:, None]).any(axis=1)}
