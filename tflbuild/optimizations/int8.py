"""`int8`: full-integer post-training quantization, ranges from the calibration data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbuild.optimizations.base import AI_EDGE, TENSORFLOW, Calibration, Settings

NAME = "int8"
CALIBRATES = True
IO: tuple[str, ...] = ("float32", "int8", "uint8")
TRAINED_RANGES = False
QUANTIZERS: Mapping[str, tuple[str, ...]] = {
    TENSORFLOW: ("per_channel", "float_ops", "keep_float", "sparsity"),
    AI_EDGE: ("weights", "granularity", "algorithm", "float_ops", "keep_float"),
}


def configure(converter: Any, settings: Settings, calibration: Calibration | None) -> None:
    import tensorflow as tf

    # Without `optimizations` a representative dataset alone gives a float32 file. The set
    # TFLITE_BUILTINS_INT8 gives the same bytes, float operators among them: what stays float is
    # looked up in the file instead (`float_ops`).
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.inference_input_type = tf.dtypes.as_dtype(settings.io)
    converter.inference_output_type = tf.dtypes.as_dtype(settings.io_output)
    converter._experimental_disable_per_channel = not settings.per_channel
