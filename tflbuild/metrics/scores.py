"""What `precision`, `recall` and `f1` share: all are made of how often which class was labelled and
predicted. scikit-learn does the scoring.

`average`: `binary` is the score of one class, `positive` (1), against all others; `macro` the mean
over the classes that are labelled or predicted at all; `weighted` that by how often each is
labelled; `micro` the score of all answers together. Without an answer to count, a score is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError
from tflbuild.metrics.base import Evidence, Settings, Spec, rows, width
from tflbuild.metrics.classes import check_labels, class_numbers, count_classes, predicted, setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

BINARY = "binary"


def check(metric: str, settings: Settings, output: Spec, labels: Any) -> None:
    check_labels(metric, output, labels)
    classes, name = count_classes(output), output["name"]
    average, positive = settings.get("average"), settings.get("positive")
    if average in (None, BINARY) and positive is None and classes > 2:
        raise TaskError(
            f"{metric}: output {name!r} has {classes} classes; give average: macro, weighted or"
            " micro, or the class that counts: positive",
            key=".",
        )
    if positive is not None and positive >= classes:
        raise TaskError(
            f"{metric}: positive: {positive} is no class of output {name!r}, which has {classes}"
            f" (0 to {classes - 1})",
            key="positive",
        )
    if settings.get("threshold") is not None and width(output) == 1 and positive == 0:
        raise TaskError(
            f"{metric}: threshold with positive: 0 means two things for output {name!r}, whose one"
            " value is that of class 1; remove one of them",
            key="threshold",
        )


def evidence(settings: Settings, output: Array, labels: Array) -> dict[str, Array]:
    """The class of each sample, labelled and predicted; with `binary`, whether it is the positive
    one."""
    import numpy as np

    labelled = class_numbers(labels)
    if not _is_binary(settings):
        return _pairs(labelled, predicted(output), np.int32)
    positive, threshold = setting(settings, "positive", 1), settings.get("threshold")
    flat = rows(output)
    if threshold is not None and flat.shape[1] > 1:
        found: Array = flat[:, positive] > threshold
    else:
        found = predicted(output, threshold) == positive
    return _pairs(labelled == positive, found, np.bool_)


def _is_binary(settings: Settings) -> bool:
    return bool(setting(settings, "average", BINARY) == BINARY)


def _pairs(labelled: Array, found: Array, dtype: Any) -> dict[str, Array]:
    return {"labelled": labelled.astype(dtype), "predicted": found.astype(dtype)}


def score(scorer: str, settings: Settings, evidence: Evidence) -> float:
    """By scikit-learn's function of that name."""
    from sklearn import metrics

    return float(
        getattr(metrics, scorer)(
            evidence["labelled"],
            evidence["predicted"],
            average=setting(settings, "average", BINARY),
            zero_division=0.0,
        )
    )


class Counts:
    """By resample and class (B, C): right answers, answers, labels; one class with `binary`."""

    def __init__(self, settings: Settings, evidence: Evidence, counts: Array) -> None:
        import numpy as np
        from scipy import sparse

        labelled, found = (evidence[name].astype(np.int64) for name in ("labelled", "predicted"))
        self.average = setting(settings, "average", BINARY)
        classes = 1 + int(max(labelled.max(), found.max(), 1))

        def by_class(numbers: Array, weights: Array) -> Array:
            matrix = sparse.csr_matrix(
                (weights, (numbers, np.arange(len(numbers)))), shape=(classes, len(numbers))
            )
            total: Array = np.asarray(matrix @ counts.T, float).T
            return total[:, 1:] if self.average == BINARY else total

        ones = np.ones(len(labelled))
        self.right = by_class(labelled, (labelled == found).astype(float))
        self.found = by_class(found, ones)
        self.labelled = by_class(labelled, ones)
        if self.average == "micro":
            for name in ("right", "found", "labelled"):
                setattr(self, name, getattr(self, name).sum(axis=1, keepdims=True))

    def averaged(self, above: Array, below: Array) -> Array:
        """`above` over `below` of each class, averaged."""
        import numpy as np

        scores = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        if self.average == "weighted":
            weights = self.labelled
        else:
            weights = ((self.found > 0) | (self.labelled > 0)).astype(float)
        total = weights.sum(axis=1)
        result: Array = np.divide(
            (scores * weights).sum(axis=1), total, out=np.zeros_like(total), where=total > 0
        )
        return result


def share(settings: Settings, evidence: Evidence, of: str) -> tuple[Array, Array] | None:
    """With `binary` and `micro`, the share of right answers of the samples whose class `of`
    (labelled, predicted) counts."""
    import numpy as np

    labelled, found = evidence["labelled"], evidence["predicted"]
    average = setting(settings, "average", BINARY)
    if average == "micro":
        return labelled == found, np.ones(len(found), bool)
    if average != BINARY:
        return None
    return labelled & found, evidence[of]
