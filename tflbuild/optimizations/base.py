"""The Protocol of an optimization: how one `quantize` value sets up the converter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Calibration = Callable[[], Iterator[Any]]

TENSORFLOW = "tensorflow"
AI_EDGE = "ai-edge"


@dataclass(frozen=True)
class Settings:
    """What a manifest asks of one conversion, beside `quantize`. The defaults are the manifest's.

    `converter`: further settings of the converter by manifest key (`settings.SETTINGS`).
    """

    io: str = "float32"
    io_output: str = "float32"
    per_channel: bool = True
    sparsity: bool = False
    keep_float: tuple[str, ...] = ()
    converter: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Settings:
        """From the parameters of an action."""
        return cls(
            io=params["io"],
            io_output=params.get("io_output", params["io"]),
            per_channel=params.get("per_channel", True),
            sparsity=params.get("sparsity", False),
            keep_float=tuple(params.get("keep_float", ())),
            converter=tuple(sorted(params.get("converter", {}).items())),
        )


Configure = Callable[[Any, Settings, Calibration | None], None]


class Quantization(Protocol):
    """One value of `quantize`: one module in this package."""

    NAME: str
    CALIBRATES: bool  # needs a representative dataset
    IO: tuple[str, ...]  # the `io` types that have an effect; the first is the default
    TRAINED_RANGES: bool  # takes its ranges from the graph (quantization-aware training)
    # By `quantizer`: the further keys of an optimization that have an effect with it.
    QUANTIZERS: Mapping[str, tuple[str, ...]]

    # Sets the attributes of TensorFlow's converter. A misspelt one would be accepted in silence,
    # so they are named here and in `settings.py`, and nowhere else. None where QUANTIZERS has no
    # "tensorflow".
    @property
    def configure(self) -> Configure | None: ...
