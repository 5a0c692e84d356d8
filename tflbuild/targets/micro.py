"""`micro`: LiteRT for Microcontrollers, with the kernels that an application adds to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild.manifest.model import Optimization, Target
from tflbuild.targets import ops
from tflbuild.verdict import FAIL, Finding

NAME = "micro"


def profile(target: Target) -> str:
    return "builtin"


def judge_evaluation(measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
    return list(ops.model_findings(measured, NAME))


def judge_file(measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
    return list(ops.file_findings(measured))


def judge_floats(measured: Mapping[str, Any], optimization: Optimization) -> Sequence[Finding]:
    """An integer model for a microcontroller holds no float operators, unless it may."""
    floats = measured["float_ops"]
    settings = optimization.settings
    if optimization.quantize != "int8" or settings.get("float_ops") == "allow":
        return []
    if settings.get("keep_float"):  # a person has chosen them
        return []
    if optimization.io == "float32":  # the casts at its edges are what was asked for
        floats = {name: n for name, n in floats.items() if name not in ("QUANTIZE", "DEQUANTIZE")}
    if not floats:
        return []
    names = ", ".join(f"{name} (×{count})" for name, count in sorted(floats.items()))
    return [
        Finding(
            FAIL,
            "float_ops",
            f"operators that stayed float: {names}; write float_ops: allow"
            " for this optimization to ship them all the same",
        )
    ]
