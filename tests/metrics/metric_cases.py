"""What tests of metrics share: measuring in chunks, as a stage does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tflbuild import metrics

Array = NDArray[Any]


def spec(output: Array, name: str = "y") -> dict[str, Any]:
    return {"name": name, "dtype": str(output.dtype), "shape": list(output.shape)}


def evidence(
    settings: Mapping[str, Any], output: Array, labels: Array, chunk: int = 0
) -> dict[str, Array]:
    """Of chunks of so many samples, put together; 0: of all at once."""
    size = chunk or len(output)
    return metrics.merge(
        metrics.evidence_of(settings, {"y": output[at : at + size]}, labels[at : at + size])
        for at in range(0, len(output), size)
    )


def measured(
    name: str,
    labels: Array,
    file: Array,
    source: Array | None = None,
    chunk: int = 0,
    said: Mapping[str, Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """The one entry of a metric. Its settings: `settings`, and `said`."""
    params = {"name": name, "output": None, **settings, **(said or {})}
    given = metrics.prepare(params, {}, ["y"])
    metrics.check(given, {"y": spec(file)}, labels)
    own = evidence(given, file, labels, chunk)
    other = own if source is None else evidence(given, source, labels, chunk)
    (entry,) = metrics.result(given, {"source": other, "float": None, "file": own})
    assert entry["output"] == "y"
    return entry


def value(name: str, labels: Array, output: Array, **settings: Any) -> float:
    """The metric of all samples, which no cut into chunks changes."""
    own = {"name": name, "output": "y", **settings}
    whole = evidence(own, output, labels)
    for chunk in (1, 3):
        for key, array in evidence(own, output, labels, chunk).items():
            assert array.dtype == whole[key].dtype
            assert array.tolist() == whole[key].tolist()
    return float(measured(name, labels, output, **settings)["file"])


def drawn(seed: int, samples: int, classes: int) -> tuple[Array, Array]:
    """Labels, and scores that know something of them."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, samples)
    scores = generator.normal(size=(samples, classes)).astype(np.float32)
    scores[np.arange(samples), labels] += 1.5
    return labels, scores
