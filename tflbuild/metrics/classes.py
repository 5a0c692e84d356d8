"""What metrics of classes share: class numbers from labels, and from outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tflbuild.metrics.base import Settings, Spec, WrongLabels, rows, width

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

THRESHOLD = 0.5  # of an output with one value a sample: above it is class 1


def class_numbers(labels: Array) -> Array:
    """Labels as class numbers, int64 (n,): whole numbers (n,) or (n, 1, ...), or one-hot
    (n, classes). Raises WrongLabels for others."""
    import numpy as np

    if labels.dtype.kind not in "iubf" or not labels.ndim:
        raise _wrong_form(labels)
    if labels.dtype.kind == "f":
        _refuse(~np.isfinite(labels), labels, "is NaN or infinite")
        _refuse(labels != np.floor(labels), labels, "is not a whole number")
        _refuse(np.abs(labels) > 2.0**53, labels, "is no class number")
    if labels.ndim == 2 and labels.shape[1] > 1:
        hot = ((labels == 0) | (labels == 1)).all(axis=1) & (labels.sum(axis=1) == 1)
        if not hot.all():
            row = int(np.argmin(hot))
            raise WrongLabels(
                f"test data: labels of shape {list(labels.shape)} must be one-hot, but row {row}"
                " does not hold exactly one 1 and else 0; or give class numbers (N,)"
            )
        labels = labels.argmax(axis=1)
    if labels.size != len(labels):
        raise _wrong_form(labels)
    result: Array = labels.reshape(-1).astype(np.int64)
    return result


def _wrong_form(labels: Array) -> WrongLabels:
    return WrongLabels(
        "test data: labels must be class numbers (N,) or one-hot (N, classes), not"
        f" {labels.dtype} of shape {list(labels.shape)}"
    )


def _refuse(bad: Array, labels: Array, why: str) -> None:
    """WrongLabels for the first label that is `bad`."""
    import numpy as np

    if bad.any():
        sample = int(np.argmax(bad.reshape(len(labels), -1).any(axis=1)))
        value = float(labels[bad].flat[0])
        raise WrongLabels(
            f"test data: the label {value:g} of sample {sample} {why}; labels are class numbers"
        )


def count_classes(output: Spec) -> int:
    """Classes that an output tells apart: one value a sample tells two."""
    return max(width(output), 2)


def check_labels(metric: str, output: Spec, labels: Array) -> Array:
    """The class numbers of all samples, each of which is one of the output's. Raises
    WrongLabels."""
    numbers = class_numbers(labels)
    highest, lowest = int(numbers.max()), int(numbers.min())
    if lowest < 0 or highest >= count_classes(output):
        raise WrongLabels(
            f"{metric}: labels reach from {lowest} to {highest}, output {output['name']!r} has"
            f" {count_classes(output)} classes"
        )
    return numbers


def predicted(output: Array, threshold: float | None = None) -> Array:
    """The class of each sample, int64 (n,): the first of the largest values; of an output with one
    value a sample, 1 above the threshold."""
    import numpy as np

    flat = rows(output)
    if flat.shape[1] == 1:
        above: Array = flat[:, 0] > (THRESHOLD if threshold is None else threshold)
        return above.astype(np.int64)
    largest: Array = flat.argmax(axis=1).astype(np.int64)
    return largest


def share_of(hits: Array, counts: Array) -> Array:
    """The share of `hits` (n,) in each resample (B, n)."""
    total: Array = counts.sum(axis=1)
    share: Array = counts @ hits.astype(float) / total
    return share


def setting(settings: Settings, name: str, default: Any) -> Any:
    """A setting, which is None or absent where the manifest does not say it."""
    value = settings.get(name)
    return default if value is None else value
