"""`int8`: full-integer post-training quantization, ranges from the calibration data."""

from __future__ import annotations

from typing import Any

from tflbuild.optimizations.base import Calibration

NAME = "int8"
CALIBRATES = True
IO: tuple[str, ...] = ("float32", "int8", "uint8")
TRAINED_RANGES = False


def configure(converter: Any, io: str, calibration: Calibration | None) -> None:
    import tensorflow as tf

    # Without `optimizations` a representative dataset alone gives a float32 file.
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.inference_input_type = tf.dtypes.as_dtype(io)
    converter.inference_output_type = tf.dtypes.as_dtype(io)
