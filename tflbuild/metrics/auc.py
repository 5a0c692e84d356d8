"""`auc`: the area under the ROC curve: how often a sample of a class is scored above one that is
not of it, ties counting half. scikit-learn does the scoring.

Of an output with one value a sample that is the score of class 1; of one with two, the second is.
Of more classes: `multi_class: ovr` is the mean over the curves of each class against the rest
(`average: macro`, or `weighted` by how often each is labelled); `ovo` that over the curves of each
class against each other one (Hand and Till, Machine Learning 45, 2001). Scores need not be
probabilities: their order counts. `positive` is the curve of one class against the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from tflbuild.errors import TaskError
from tflbuild.metrics.base import Evidence, Settings, Spec, WrongLabels, no_shares, rows, width
from tflbuild.metrics.classes import check_labels, class_numbers, setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

NAME = "auc"
HIGHER_IS_BETTER = True
SHARE = True
OVR, OVO = "ovr", "ovo"
shares = no_shares


def check(settings: Settings, output: Spec, labels: Any) -> None:
    numbers = check_labels(NAME, output, labels)
    classes, name = width(output), output["name"]
    positive = settings.get("positive")
    if classes <= 2 or positive is not None:
        for key in ("multi_class", "average"):
            if settings.get(key) is not None:
                why = "positive asks for" if positive is not None else f"output {name!r} has"
                raise TaskError(f"{NAME}: {key} has no effect: {why} one curve; remove it", key=key)
    if positive is not None and (classes == 1 or positive >= classes):
        what = "has one value, the score of class 1" if classes == 1 else f"has {classes} classes"
        raise TaskError(
            f"{NAME}: positive: {positive} has no effect: output {name!r} {what}", key="positive"
        )
    wanted = range(max(classes, 2))
    if positive is not None:
        numbers, wanted = (numbers == positive).astype(int), range(2)
    missing = sorted(set(wanted) - set(numbers.tolist()))
    if missing:
        what = f"class {missing[0]}" if positive is None else ("the others", "positive")[missing[0]]
        raise WrongLabels(
            f"{NAME}: no sample is labelled {what}, so that its curve is not defined; add samples"
            " of it, or measure another class: positive"
        )


def evidence(settings: Settings, output: Array, labels: Array) -> dict[str, Array]:
    import numpy as np

    labelled, flat = class_numbers(labels).astype(np.int32), rows(output)
    if flat.shape[1] > 2 and settings.get("positive") is None:
        return {"labelled": labelled, "scores": flat}
    positive = setting(settings, "positive", 1)
    scores = flat[:, 0] if flat.shape[1] == 1 else flat[:, positive]
    return {"labelled": (labelled == positive).astype(np.int32), "scores": scores}


class _Curve(NamedTuple):
    """One class against others."""

    samples: Array  # which count
    is_of: Array  # of those, which are of the class
    scores: Array  # of those
    weight: float


def _curves(settings: Settings, evidence: Evidence) -> Iterator[_Curve]:
    import numpy as np

    labelled, scores = evidence["labelled"], evidence["scores"]
    every = np.ones(len(labelled), bool)
    if scores.ndim == 1:
        yield _Curve(every, labelled == 1, scores, 1.0)
        return
    weighted = setting(settings, "average", "macro") == "weighted"
    classes = [int(c) for c in np.unique(labelled)]
    for one in classes:
        if setting(settings, "multi_class", OVR) == OVR:
            weight = float((labelled == one).mean()) if weighted else 1.0
            yield _Curve(every, labelled == one, scores[:, one], weight)
            continue
        for other in classes:
            if other != one:
                pair = (labelled == one) | (labelled == other)
                weight = float(pair.mean()) if weighted else 1.0
                yield _Curve(pair, labelled[pair] == one, scores[pair, one], weight)


def score(settings: Settings, evidence: Evidence) -> float:
    from sklearn.metrics import roc_auc_score

    return float(_mean(settings, evidence, lambda curve: roc_auc_score(curve.is_of, curve.scores)))


def _mean(settings: Settings, evidence: Evidence, area: Callable[[_Curve], Any]) -> Any:
    total: Any = 0.0
    weights: Any = 0.0
    for curve in _curves(settings, evidence):
        if curve.is_of.any() and not curve.is_of.all():
            total = total + curve.weight * area(curve)
            weights = weights + curve.weight
    return total / weights if weights else float("nan")


def resampled(settings: Settings, evidence: Evidence, counts: Array) -> Array:
    import numpy as np

    found: Array = np.asarray(
        _mean(settings, evidence, lambda curve: _areas(curve, counts[:, curve.samples]))
    )
    return found


def _areas(curve: _Curve, counts: Array) -> Array:
    """The area by resample: pairs in order, those of equal scores by half, over all pairs."""
    import numpy as np

    order = np.argsort(curve.scores, kind="stable")
    ordered, is_of = curve.scores[order], curve.is_of[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    taken = counts[:, order].astype(float)
    inside = np.add.reduceat(taken * is_of, starts, axis=1)
    outside = np.add.reduceat(taken * ~is_of, starts, axis=1)
    below = np.cumsum(outside, axis=1) - outside
    pairs = inside.sum(axis=1) * outside.sum(axis=1)
    above = (inside * (below + outside / 2)).sum(axis=1)
    result: Array = np.divide(above, pairs, out=np.full_like(above, np.nan), where=pairs > 0)
    return result
