"""The gate of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbuild.found import Findings
from tflbuild.manifest.model import MetricLimits


def judge(found: Findings, limits: MetricLimits, value: Mapping[str, Any], where: str) -> None:
    number, source = value["file"], value["source"]
    if limits.min is not None and number < limits.min:
        found.fail(
            f"metrics.{limits.name}.min",
            f"{limits.name}{where} {number:.4f} is below min {limits.min:g}"
            f" (the source has {source:.4f}, {value['samples']} samples)",
        )
    if limits.max_drop is not None and source - number > limits.max_drop + 1e-12:
        found.fail(
            f"metrics.{limits.name}.max_drop",
            f"{limits.name}{where} fell from {source:.4f} to {number:.4f}: by"
            f" {source - number:.4f}, max_drop is {limits.max_drop:g}",
        )
