"""Which of a file's metrics comes first where there is room for one, and their short names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild import metric_gate
from tflbuild.manifest.model import MetricLimits, Model, Optimization
from tflbuild.metrics.python import NAME as PYTHON

# What heads a column of a terminal.
SHORT = {
    "mean_absolute_error": "MAE",
    "mean_squared_error": "MSE",
    "word_error_rate": "WER",
    "top_k_accuracy": "top-k",
}

Entry = Mapping[str, Any]  # of measured.metrics


def in_order(
    model: Model, optimization: Optimization | None, entries: Sequence[Entry]
) -> list[Entry]:
    """Those that have a limit first, and either in the order in which the manifest says them."""
    limited: set[tuple[str | None, str]] = set()
    several = len(model.signatures) > 1
    for shipped in model.signatures:
        metrics = metric_gate.of_file(shipped.metrics, optimization) if optimization else ()
        for metric in metrics:
            name = shipped.name if several else None
            limited |= {(name, limits.name) for limits in metric.limits if _has_limit(limits)}

    def rank(entry: Entry) -> tuple[bool, int, int]:
        signature, name = entry.get("signature"), str(entry["name"])
        keys = (f"{name}", f"{PYTHON}.values.{name}", PYTHON)
        sections = (f"validate.signatures.{signature}.metrics", "validate.metrics")
        places = [f"{section}.{key}" for section in sections for key in keys]
        place = next((model.positions[key] for key in places if key in model.positions), None)
        line = (place.line, place.column) if place is not None else (1 << 30, 0)
        return ((signature if several else None, name) not in limited, *line)

    return sorted(entries, key=rank)


def _has_limit(limits: MetricLimits) -> bool:
    said = (limits.min, limits.max, limits.max_drop, limits.max_drop_from_last)
    return any(limit is not None for limit in said)
