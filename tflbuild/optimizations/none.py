"""`none`: float32 as the source has it."""

from __future__ import annotations

from typing import Any

from tflbuild.optimizations.base import Calibration

NAME = "none"
CALIBRATES = False
IO: tuple[str, ...] = ("float32",)
TRAINED_RANGES = False


def configure(converter: Any, io: str, calibration: Calibration | None) -> None:
    """Nothing to set: the converter's defaults are float32."""
