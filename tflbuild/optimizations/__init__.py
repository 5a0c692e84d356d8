"""Optimizations: one module for each value of `quantize`, in one literal table."""

from __future__ import annotations

from tflbuild.optimizations import (
    dynamic_range,
    float16,
    int8,
    int16x8,
    none,
    qat,
    recipe,
    weight_only,
)
from tflbuild.optimizations.base import Quantization

QUANTIZATIONS: dict[str, Quantization] = {
    none.NAME: none,
    dynamic_range.NAME: dynamic_range,
    float16.NAME: float16,
    int8.NAME: int8,
    int16x8.NAME: int16x8,
    qat.NAME: qat,
    weight_only.NAME: weight_only,
    recipe.NAME: recipe,
}
