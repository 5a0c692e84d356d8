"""`dynamic_range`: int8 weights (of 1,024 elements and more), float activations."""

from __future__ import annotations

from typing import Any

from tflbuild.optimizations.base import Calibration

NAME = "dynamic_range"
CALIBRATES = False
IO: tuple[str, ...] = ("float32",)
TRAINED_RANGES = False


def configure(converter: Any, io: str, calibration: Calibration | None) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
