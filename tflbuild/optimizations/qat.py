"""`qat`: a model of quantization-aware training; its ranges are in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbuild.optimizations.base import TENSORFLOW, Calibration, Settings

NAME = "qat"
CALIBRATES = False
IO: tuple[str, ...] = ("float32", "int8", "uint8")
TRAINED_RANGES = True
QUANTIZERS: Mapping[str, tuple[str, ...]] = {TENSORFLOW: ("float_ops", "sparsity")}


def configure(converter: Any, settings: Settings, calibration: Calibration | None) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.dtypes.as_dtype(settings.io)
    converter.inference_output_type = tf.dtypes.as_dtype(settings.io_output)
