"""`select-tf-ops`: LiteRT with the Flex delegate, which runs select TensorFlow ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild.manifest.model import Target
from tflbuild.targets import ops
from tflbuild.verdict import Finding

NAME = "select-tf-ops"


def profile(target: Target) -> str:
    return "select"


def judge_evaluation(measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
    return list(ops.model_findings(measured, NAME, select=True))


def judge_file(measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
    return list(ops.file_findings(measured, select=True))
