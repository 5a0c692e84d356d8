"""`qat`: a model of quantization-aware training; its ranges are in the graph."""

from __future__ import annotations

from typing import Any

from tflbuild.optimizations.base import Calibration

NAME = "qat"
CALIBRATES = False
IO: tuple[str, ...] = ("float32", "int8", "uint8")
TRAINED_RANGES = True


def configure(converter: Any, io: str, calibration: Calibration | None) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.dtypes.as_dtype(io)
    converter.inference_output_type = tf.dtypes.as_dtype(io)
