"""`dynamic_range`: quantized weights, float activations that a kernel quantizes as it runs.

TensorFlow's converter takes weights of 1,024 elements and more, in int8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbuild.optimizations.base import AI_EDGE, TENSORFLOW, Calibration, Settings

NAME = "dynamic_range"
CALIBRATES = False
IO: tuple[str, ...] = ("float32",)
TRAINED_RANGES = False
QUANTIZERS: Mapping[str, tuple[str, ...]] = {
    TENSORFLOW: ("per_channel",),
    AI_EDGE: ("weights", "granularity", "algorithm", "keep_float"),
}


def configure(converter: Any, settings: Settings, calibration: Calibration | None) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel = not settings.per_channel
