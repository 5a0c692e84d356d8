"""`recipe`: what the rules of a `recipe` say, operator by operator (ai-edge-quantizer).

The manifest does not write this value: it stands for an optimization that has a `recipe`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tflbuild.optimizations.base import AI_EDGE

NAME = "recipe"
CALIBRATES = False  # where a rule is static: `ai_edge.calibrates`
IO: tuple[str, ...] = ("float32", "int8", "int16")
TRAINED_RANGES = False
QUANTIZERS: Mapping[str, tuple[str, ...]] = {AI_EDGE: ("recipe", "keep_float")}
configure = None  # TensorFlow's converter cannot do it
