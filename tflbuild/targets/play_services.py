"""`play-services`: the runtime in Google Play services, which takes builtin ops alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild.manifest.model import Target
from tflbuild.targets import ops
from tflbuild.verdict import Finding

NAME = "play-services"


def profile(target: Target) -> str:
    return "builtin"


def judge_evaluation(measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
    return list(ops.model_findings(measured, NAME))


def judge_file(measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
    return list(ops.file_findings(measured))
