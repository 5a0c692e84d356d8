"""`mean_iou`: intersection over union of labelled and predicted places, by class, over all samples;
the mean over the classes that are labelled or predicted anywhere (scikit-learn's `jaccard_score`
with `average: macro`, Cityscapes' and Pascal VOC's mean IoU).

The class of a place is the first of the largest values along `axis` (the last one), counted as in
the output with its first axis, the samples'. Where that axis has one value, the class is 1 above
`threshold` (0.5). A whole-number output holds classes already: then `classes` says how many there
are. Places labelled `ignore` do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError
from tflbuild.metrics.base import Evidence, Settings, Spec, WrongLabels, no_shares, parts
from tflbuild.metrics.classes import THRESHOLD, setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

NAME = "mean_iou"
HIGHER_IS_BETTER = True
SHARE = True
MOST_CLASSES = 10_000
shares = no_shares


def check(settings: Settings, output: Spec, labels: Any) -> None:
    name, shape = output["name"], list(output["shape"])
    whole = _is_whole(output["dtype"])
    if whole:
        _check_whole(settings, name)
    elif not -len(shape) < _axis(settings) < len(shape) or _axis(settings) in (0, -len(shape)):
        raise TaskError(
            f"{NAME}: output {name!r} of shape {shape} has no axis {_axis(settings)} of classes;"
            " axis 0 counts samples, -1 is the last one",
            key="axis",
        )
    classes = _classes(settings, output)
    declared = settings.get("classes")
    if not whole and declared is not None and declared != classes:
        raise TaskError(
            f"{NAME}: classes: {declared}, but output {name!r} has {classes} along axis"
            f" {_axis(settings)}",
            key="classes",
        )
    places = shape if whole else _places(shape, _axis(settings))
    given = list(labels.shape)
    if labels.dtype.kind not in "iub":
        raise WrongLabels(
            f"{NAME}: labels are class numbers of each place, not {labels.dtype} of shape {given}"
        )
    if _size(given) != _size(places) or given[:1] != places[:1]:
        raise WrongLabels(
            f"{NAME}: labels of shape {given} do not fit output {name!r}, which has classes of"
            f" {places}"
        )
    ignore, ignored = settings.get("ignore"), 0
    for start, part in parts(labels):
        wrong = (part < 0) | (part >= classes)
        if ignore is not None:
            left_out = part == ignore
            ignored += int(left_out.sum())
            wrong &= ~left_out
        if wrong.any():
            sample = start + int(wrong.reshape(len(part), -1).any(axis=1).argmax())
            remedy = (
                "" if ignore is not None else "; a label that means no class is named by ignore"
            )
            raise WrongLabels(
                f"{NAME}: the label {int(part[wrong].flat[0])} in sample {sample} is no class of"
                f" output {name!r}, which has {classes}{remedy}"
            )
    if ignore is not None and not ignored:
        raise TaskError(
            f"{NAME}: ignore: {ignore} has no effect, no place is labelled so; remove it",
            key="ignore",
        )
    if ignore is not None and ignored == labels.size:
        raise WrongLabels(f"{NAME}: all places are labelled {ignore}, which is ignored")


def _check_whole(settings: Settings, name: str) -> None:
    if settings.get("classes") is None:
        raise TaskError(
            f"{NAME}: output {name!r} holds class numbers: say how many classes there are by"
            " classes",
            key=".",
        )
    for key in ("axis", "threshold"):
        if settings.get(key) is not None:
            raise TaskError(
                f"{NAME}: {key} has no effect, because output {name!r} holds class numbers;"
                " remove it",
                key=key,
            )


def _is_whole(dtype: str) -> bool:
    return dtype.startswith(("int", "uint", "bool"))


def _axis(settings: Settings) -> int:
    return int(setting(settings, "axis", -1))


def _places(shape: list[int], axis: int) -> list[int]:
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]


def _size(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _classes(settings: Settings, output: Spec) -> int:
    if _is_whole(output["dtype"]):
        return int(settings["classes"])
    return max(2, int(output["shape"][_axis(settings)]))


def evidence(settings: Settings, output: Array, labels: Array) -> dict[str, Array]:
    """By sample and class: places that are both labelled and predicted so, and that are either."""
    import numpy as np

    if output.dtype.kind in "iub":
        classes = int(settings["classes"])
        found = output.astype(np.int64)
    else:
        axis = _axis(settings) % output.ndim
        classes = max(2, output.shape[axis])
        if output.shape[axis] == 1:
            threshold = setting(settings, "threshold", THRESHOLD)
            found = (np.take(output, 0, axis) > threshold).astype(np.int64)
        else:
            found = output.argmax(axis)
    count = len(output)
    found = found.reshape(count, -1)
    labelled = labels.reshape(count, -1).astype(np.int64)
    counts = np.ones_like(found, bool)
    ignore = settings.get("ignore")
    if ignore is not None:
        counts = labelled != ignore
    # What a file predicts beyond the classes is wrong, and a class of its own that nobody labels.
    found = np.where((found >= 0) & (found < classes), found, classes)
    first = np.arange(count)[:, None] * (classes + 1)

    def by_class(numbers: Array, which: Array) -> Array:
        places = (first + numbers)[which]
        total = np.bincount(places, minlength=count * (classes + 1))
        return total.reshape(count, classes + 1)[:, :classes]

    both = by_class(labelled, counts & (labelled == found))
    either = by_class(labelled, counts) + by_class(found, counts) - both
    return {"both": both.astype(np.uint32), "either": either.astype(np.uint32)}


def score(settings: Settings, evidence: Evidence) -> float:
    import numpy as np

    return float(resampled(settings, evidence, np.ones((1, len(evidence["both"]))))[0])


def resampled(settings: Settings, evidence: Evidence, counts: Array) -> Array:
    import numpy as np

    counts = counts.astype(float)
    both, either = counts @ evidence["both"], counts @ evidence["either"]
    there = either > 0
    each = np.divide(both, either, out=np.zeros_like(both), where=there)
    number = there.sum(axis=1)
    result: Array = np.divide(
        each.sum(axis=1), number, out=np.full(len(number), np.nan), where=number > 0
    )
    return result
