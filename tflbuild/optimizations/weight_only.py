"""`weight_only`: int8 or int4 weights, dequantized before a float operator uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbuild.optimizations.base import AI_EDGE, Calibration, Settings

NAME = "weight_only"
CALIBRATES = False
IO: tuple[str, ...] = ("float32",)
TRAINED_RANGES = False
QUANTIZERS: Mapping[str, tuple[str, ...]] = {
    AI_EDGE: ("weights", "granularity", "algorithm", "keep_float")
}


def configure(converter: Any, settings: Settings, calibration: Calibration | None) -> None:
    raise NotImplementedError("TensorFlow's converter does not quantize weights alone")
