"""`custom-ops`: LiteRT with kernels of the application for operators that the target declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild.manifest.model import Target
from tflbuild.targets import ops
from tflbuild.verdict import Finding

NAME = "custom-ops"


def profile(target: Target) -> str:
    return "custom_select" if target.select_ops else "custom"


def judge_evaluation(measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
    declared = [op.name for op in target.ops]
    return list(ops.model_findings(measured, NAME, target.select_ops, declared))


def judge_file(measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
    return list(ops.file_findings(measured, target.select_ops, [op.name for op in target.ops]))
