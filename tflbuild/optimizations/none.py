"""`none`: float32 as the source has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbuild.optimizations.base import TENSORFLOW, Calibration, Settings

NAME = "none"
CALIBRATES = False
IO: tuple[str, ...] = ("float32",)
TRAINED_RANGES = False
QUANTIZERS: Mapping[str, tuple[str, ...]] = {TENSORFLOW: ("sparsity",)}


def configure(converter: Any, settings: Settings, calibration: Calibration | None) -> None:
    """Nothing to set: the converter's defaults are float32."""
