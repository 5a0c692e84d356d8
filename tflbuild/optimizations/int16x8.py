"""`int16x8`: int16 activations, int8 weights; ranges from the calibration data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbuild.optimizations.base import AI_EDGE, TENSORFLOW, Calibration, Settings

NAME = "int16x8"
CALIBRATES = True
IO: tuple[str, ...] = ("float32", "int16")
TRAINED_RANGES = False
QUANTIZERS: Mapping[str, tuple[str, ...]] = {
    TENSORFLOW: ("per_channel", "float_ops"),
    AI_EDGE: ("granularity", "algorithm", "float_ops", "keep_float"),
}


def configure(converter: Any, settings: Settings, calibration: Calibration | None) -> None:
    import tensorflow as tf

    ops = tf.lite.OpsSet
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    # With TFLITE_BUILTINS an operator without an int16 kernel stays float, and the file tells
    # which (`float_ops`); without it the converter names the type alone. Where every operator has
    # a kernel, both give the same bytes.
    converter.target_spec.supported_ops = {
        ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        ops.TFLITE_BUILTINS,
    }
    converter.inference_input_type = tf.dtypes.as_dtype(settings.io)
    converter.inference_output_type = tf.dtypes.as_dtype(settings.io_output)
    converter._experimental_disable_per_channel = not settings.per_channel
