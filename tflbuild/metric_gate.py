"""The gate of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbuild.found import Findings
from tflbuild.manifest.model import MetricLimits


def judge(
    found: Findings, limits: MetricLimits, value: Mapping[str, Any], where: str, of: str
) -> None:
    """`where` is said in messages, `of` in the lines of a CI's report."""
    number, source = value["file"], value["source"]
    if limits.min is not None:
        check = f"metrics.{limits.name}.min"
        if number < limits.min:
            found.fail(
                check,
                f"{limits.name}{where} {number:.4f} is below min {limits.min:g}"
                f" (the source has {source:.4f}, {value['samples']} samples)",
                of,
            )
        else:
            found.check(check, f"{limits.name}{where} {number:.4f}, min is {limits.min:g}", of)
    if limits.max_drop is not None:
        check, words = f"metrics.{limits.name}.max_drop", f"from {source:.4f} to {number:.4f}"
        drop = source - number
        if drop > limits.max_drop + 1e-12:
            found.fail(
                check,
                f"{limits.name}{where} fell {words}: by {drop:.4f}, max_drop is"
                f" {limits.max_drop:g}",
                of,
            )
        else:
            found.check(
                check, f"{limits.name}{where} went {words}, max_drop is {limits.max_drop:g}", of
            )
