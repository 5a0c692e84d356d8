"""Metrics on labelled test data: one module a metric, registered in one literal table.

How a stage measures:

    settings = metrics.prepare(params, inputs, outputs)     once
    metrics.check(settings, specs, labels)                  before anything runs
    metrics.evidence_of(settings, outputs, labels)          for each chunk of samples
    metrics.merge(chunks, folder)                           the evidence of all, in order
    metrics.result(settings, {"source": …, "float": …, "file": …})

Nothing here judges: `metric_gate` does, in the parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError
from tflbuild.metrics import (
    accuracy,
    auc,
    f1,
    mean_absolute_error,
    mean_iou,
    mean_squared_error,
    precision,
    python,
    recall,
    top_k_accuracy,
    word_error_rate,
)
from tflbuild.metrics.base import Evidence, Metric, Settings, Spec, WrongLabels
from tflbuild.metrics.confidence import finite, intervals, known
from tflbuild.metrics.merging import merged_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Labels = Array | Mapping[str, Array]

METRICS: dict[str, Metric] = {
    accuracy.NAME: accuracy,
    top_k_accuracy.NAME: top_k_accuracy,
    precision.NAME: precision,
    recall.NAME: recall,
    f1.NAME: f1,
    auc.NAME: auc,
    mean_iou.NAME: mean_iou,
    mean_absolute_error.NAME: mean_absolute_error,
    mean_squared_error.NAME: mean_squared_error,
    word_error_rate.NAME: word_error_rate,
}  # and `python`, which is no Metric: it sees all samples at once

# What the settings of every metric may hold, beside its own.
NAME, OUTPUT, LABELS = "name", "output", "labels"


def prepare(
    params: Mapping[str, Any], inputs: Mapping[str, Path], outputs: Iterable[str] = ()
) -> dict[str, Any]:
    """The settings of one metric, from an action's parameters, its input files and the names of
    the signature's outputs. Raises TaskError."""
    if params[NAME] == python.NAME:
        return {**params, "inputs": dict(inputs)}
    only = [*outputs]
    settings = dict(params)
    if settings.get(OUTPUT) is None and len(only) == 1:
        settings[OUTPUT] = only[0]
    if params[NAME] == word_error_rate.NAME:
        return word_error_rate.prepare(settings, inputs)
    return settings


def check(
    settings: Settings,
    outputs: Mapping[str, Spec],
    labels: Labels | None,
    signature: str | None = None,
) -> None:
    """Before anything runs: can this metric be measured on these outputs and labels at all?

    `outputs` by name: name, dtype, and shape over all samples; `signature`: where several ship.
    Raises TaskError with the key that says the wrong thing.
    """
    with _placed(settings, signature):
        if settings[NAME] == python.NAME:
            return
        metric = METRICS[settings[NAME]]
        spec = outputs[_output(settings, outputs)]
        chosen = _labels(settings, labels)
        if not spec["shape"] or spec["shape"][0] != len(chosen):
            given = spec["shape"][0] if spec["shape"] else 0
            raise TaskError(
                f"{metric.NAME}: output {spec['name']!r} gives {given} rows for"
                f" {len(chosen)} labels",
                key=OUTPUT,
            )
        metric.check(settings, spec, chosen)


def evidence_of(
    settings: Settings, outputs: Mapping[str, Array], labels: Labels | None
) -> dict[str, Array]:
    """What some samples say: arrays whose first axis counts them. `labels`: of these samples.

    Of `python` it is outputs and labels as they are, so that the whole of the source's may be
    given at once, memory-mapped. Raises TaskError.
    """
    if settings[NAME] == python.NAME:
        return python.evidence(outputs, labels)
    with _placed(settings):
        output, chosen = outputs[_output(settings, outputs)], _labels(settings, labels)
        if len(output) != len(chosen):
            raise TaskError(
                f"{settings[NAME]}: output {_output(settings, outputs)!r} gives {len(output)} rows"
                f" for {len(chosen)} labels"
            )
        return METRICS[settings[NAME]].evidence(settings, output, chosen)


def is_large(settings: Settings) -> bool:
    """The evidence is as large as the outputs: give `merge` a folder. That of the source's outputs
    may be taken of all of them at once: nothing is copied of memory-mapped arrays."""
    return settings[NAME] in (python.NAME, auc.NAME)


def merge(chunks: Iterable[Evidence], folder: Path | None = None) -> dict[str, Array]:
    """The evidence of all chunks, in order. `folder`: a new one, where the arrays go as files and
    stay out of memory."""
    import numpy as np

    if folder is not None:
        return merged_files(chunks, folder)
    found: dict[str, list[Array]] = {}
    for chunk in chunks:
        for name, array in chunk.items():
            found.setdefault(name, []).append(array)
    return {name: np.concatenate(arrays) for name, arrays in found.items()}


def result(
    settings: Settings, evidence: Mapping[str, Evidence | None], signature: str | None = None
) -> list[dict[str, Any]]:
    """The entries of `measured.metrics`, without their signature. `evidence`: of `source`, `float`
    (None: the file is not quantized) and `file`, each of all samples; `signature`: where several
    ship.

    A value is None where there is none, and where NaN or infinity are in what it is made of.
    Raises TaskError. To be called last: code of the user's closes the workspace to this process.
    """
    source, file = evidence["source"], evidence["file"]
    assert source is not None
    assert file is not None
    samples = len(next(iter(file.values())))
    if settings[NAME] == python.NAME:
        with _placed(settings, signature):
            found = python.values(settings, evidence)
        return [
            {
                "name": name,
                "output": None,
                "samples": samples,
                "counted": None,
                **{which: found.get(which, {}).get(name) for which in ("source", "float", "file")},
                "interval": None,
                "drop_interval": None,
                "higher_is_better": name not in settings["lower"],
                "method": "none",
            }
            for name in sorted(found["file"])
        ]
    metric = METRICS[settings[NAME]]
    entry: dict[str, Any] = {
        "name": metric.NAME,
        "output": settings.get(OUTPUT),
        "samples": samples,
        "counted": None,
        "interval": None,
        "drop_interval": None,
        "higher_is_better": metric.HIGHER_IS_BETTER,
        "method": "none",
    }
    for which in ("source", "float", "file"):
        given = evidence.get(which)
        entry[which] = None
        if given is not None and finite(given):
            entry[which] = known(metric.score(settings, given))
    if entry["source"] is not None and entry["file"] is not None:
        own, drop, method, counted = intervals(metric, settings, source, file)
        entry |= {"interval": list(own), "drop_interval": list(drop), "method": method,
                  "counted": counted}  # fmt: skip
    return [entry]


def _output(settings: Settings, outputs: Mapping[str, Any]) -> str:
    name = settings[NAME]
    wanted: str | None = settings.get(OUTPUT)
    if wanted is None:
        if len(outputs) != 1:
            raise TaskError(
                f"{name}: the model has outputs {sorted(outputs)}; name one: metrics.{name}.output",
                key=".",
            )
        return next(iter(outputs))
    if wanted not in outputs:
        raise TaskError(
            f"{name}: no output {wanted!r}; the model has {sorted(outputs)}", key=OUTPUT
        )
    return wanted


def _labels(settings: Settings, labels: Labels | None) -> Array:
    """The array of labels that a metric takes."""
    name, wanted = settings[NAME], settings.get(LABELS)
    if labels is None:
        raise WrongLabels(f"{name} needs labels: data.test.labels")
    if not isinstance(labels, Mapping):
        if wanted is not None:
            raise TaskError(
                f"{name}: labels: {wanted} has no effect, because data.test.labels is one array;"
                " remove it",
                key=LABELS,
            )
        return labels
    if wanted is None:
        raise TaskError(
            f"{name}: data.test.labels has {sorted(labels)}; choose one: metrics.{name}.labels",
            key=".",
        )
    if wanted not in labels:
        raise TaskError(
            f"{name}: no labels {wanted!r}; data.test.labels has {sorted(labels)}", key=LABELS
        )
    return labels[wanted]


@contextmanager
def _placed(settings: Settings, signature: str | None = None) -> Iterator[None]:
    """Errors get the whole key that says the wrong thing."""
    where = "" if signature is None else f"signatures.{signature}."
    section = f"validate.{where}metrics."
    try:
        yield
    except WrongLabels as error:
        error.key = f"data.{where}test.labels"
        raise
    except TaskError as error:
        if error.key.startswith("validate.metrics."):
            error.key = section + error.key.removeprefix("validate.metrics.")
        elif error.key:
            error.key = f"{section}{settings[NAME]}.{error.key}".rstrip(".")
        raise
