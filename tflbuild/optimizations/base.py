"""The Protocol of an optimization: how one `quantize` value sets up the converter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

Calibration = Callable[[], Iterator[Any]]


class Quantization(Protocol):
    """One value of `quantize`: one module in this package."""

    NAME: str
    CALIBRATES: bool  # needs a representative dataset
    IO: tuple[str, ...]  # the `io` types that have an effect; the first is the default
    TRAINED_RANGES: bool  # takes its ranges from the graph (quantization-aware training)

    def configure(self, converter: Any, io: str, calibration: Calibration | None) -> None:
        """Set the converter's attributes. A misspelt attribute would be accepted in silence,
        so they are named here and nowhere else."""
        ...
