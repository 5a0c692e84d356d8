"""What `mean_absolute_error` and `mean_squared_error` share: means over all elements of all
samples, in float64, in the output's own units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError
from tflbuild.metrics.base import Evidence, Settings, Spec, WrongLabels, parts, rows, width

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def check(metric: str, output: Spec, labels: Any) -> None:
    import numpy as np

    name, shape, given = output["name"], list(output["shape"]), list(labels.shape)
    if labels.dtype.kind not in "iubf":
        raise WrongLabels(f"{metric}: labels are numbers, not {labels.dtype} of shape {given}")
    if output["dtype"] in ("string", "object") or output["dtype"].startswith(("|S", "complex")):
        raise TaskError(
            f"{metric}: output {name!r} holds {output['dtype']}, no real numbers",
            key="output",
        )
    if [n for n in given[1:] if n != 1] != [n for n in shape[1:] if n != 1]:
        raise WrongLabels(
            f"{metric}: labels of shape {given} do not fit output {name!r} of shape {shape}"
        )
    if not width(output):
        raise TaskError(f"{metric}: output {name!r} of shape {shape} has no element", key="output")
    for start, part in parts(labels) if labels.dtype.kind == "f" else ():
        bad = ~np.isfinite(part.reshape(len(part), -1)).all(axis=1)
        if bad.any():
            raise WrongLabels(
                f"{metric}: the label of sample {start + int(bad.argmax())} has NaN or infinity"
            )


def evidence(output: Array, labels: Array, power: int) -> dict[str, Array]:
    """The mean of |error| ** power over the elements of each sample."""
    import numpy as np

    away = np.abs(rows(output).astype(np.float64) - rows(labels).astype(np.float64))
    with np.errstate(over="ignore"):
        return {"error": (away**power).mean(axis=1)}


def score(settings: Settings, evidence: Evidence) -> float:
    return float(evidence["error"].mean())


def resampled(settings: Settings, evidence: Evidence, counts: Array) -> Array:
    found: Array = counts @ evidence["error"] / counts.sum(axis=1)
    return found
