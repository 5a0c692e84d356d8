"""`float16`: float16 weights, dequantized when the model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbuild.optimizations.base import AI_EDGE, TENSORFLOW, Calibration, Settings

NAME = "float16"
CALIBRATES = False
IO: tuple[str, ...] = ("float32",)
TRAINED_RANGES = False
QUANTIZERS: Mapping[str, tuple[str, ...]] = {TENSORFLOW: (), AI_EDGE: ("keep_float",)}


def configure(converter: Any, settings: Settings, calibration: Calibration | None) -> None:
    import tensorflow as tf

    # Without `optimizations` the supported type alone gives a float32 file.
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
