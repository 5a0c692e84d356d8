"""`weight_only`: int8 or int4 weights, dequantized before a float operator uses them."""

from __future__ import annotations

from collections.abc import Mapping

from tflbuild.optimizations.base import AI_EDGE

NAME = "weight_only"
CALIBRATES = False
IO: tuple[str, ...] = ("float32",)
TRAINED_RANGES = False
QUANTIZERS: Mapping[str, tuple[str, ...]] = {
    AI_EDGE: ("weights", "granularity", "algorithm", "keep_float")
}
configure = None  # TensorFlow's converter cannot do it
