"""`float16`: float16 weights, dequantized when the model is loaded."""

from __future__ import annotations

from typing import Any

from tflbuild.optimizations.base import Calibration

NAME = "float16"
CALIBRATES = False
IO: tuple[str, ...] = ("float32",)
TRAINED_RANGES = False


def configure(converter: Any, io: str, calibration: Calibration | None) -> None:
    import tensorflow as tf

    # Without `optimizations` the supported type alone gives a float32 file.
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
