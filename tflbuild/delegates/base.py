"""What a delegate is, and what its rules look at.

A delegate takes the operators that it knows how to run away from the interpreter. Which ones those
are follows from the file alone for the delegates here; how they are then cut into partitions is
the interpreter's work (`coverage.py`).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from tflbuild.tflite.flat import InvalidModel
from tflbuild.tflite.read import Op, Quantization, Subgraph, Tensor, TfliteModel

_MAX_VALUES = 4096  # constants that rules read are shapes, axes and paddings
_INTEGERS = {"int32": "i", "int64": "q"}


class Delegate(Protocol):
    """One delegate.

    `NAME` is the key under `accelerator`; `NOTE` says in a line what the figures describe.
    `RUNS_IN_LOOPS`: whether operators inside WHILE and IF count as taken too. `PARTITIONS`: how
    many partitions it takes, the largest first, in an app that sets nothing; None: all.
    """

    NAME: str
    NOTE: str
    RUNS_IN_LOOPS: bool
    PARTITIONS: int | None

    def blocked(self, scene: Scene) -> tuple[int, str] | None:
        """Why the delegate is not applied to the subgraph at all, with the tensor that it is due
        to; None where it is applied. Raises nothing."""

    def direct(self, scene: Scene) -> Container[int]:
        """Tensors that operators which are taken do not read: the delegate gives them the constant
        behind it. Raises nothing."""

    def refusals(self, scene: Scene) -> Sequence[str]:
        """For each operator of the subgraph "" when the delegate takes it, else why not.

        A reason is short, in words of a mobile developer, and names no tensor, so that operators
        that are refused alike can be counted together. Raises nothing.
        """


class Refused(Exception):
    """Raised by a rule, with the reason as its message; never leaves `reason_of`."""


def need(condition: object, reason: str) -> None:
    """Raise Refused unless the condition holds."""
    if not condition:
        raise Refused(reason)


class Spec(NamedTuple):
    """What rules see of a tensor. `shape` is that of the file, where dynamic sizes are mostly 1."""

    dtype: str
    shape: tuple[int, ...]
    constant: bool
    tensor: Tensor

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= max(size, 0)
        return count


class Scene:
    """One subgraph, with what rules ask of it. `data` is the file: without it constants cannot be
    read, and rules about their values count as kept."""

    def __init__(self, model: TfliteModel, graph: Subgraph, data: bytes | None) -> None:
        self.model, self.graph = model, graph
        self._data = memoryview(data) if data is not None else None

    def other(self, index: int) -> Scene:
        """Another subgraph of the same file."""
        scene = Scene(self.model, self.model.subgraphs[index], None)
        scene._data = self._data
        return scene

    @cached_property
    def consumers(self) -> Mapping[int, tuple[Op, ...]]:
        """The operators that read each tensor, once for each use."""
        found: dict[int, list[Op]] = {}
        for op in self.graph.ops:
            for index in op.inputs:
                found.setdefault(index, []).append(op)
        return {index: tuple(ops) for index, ops in found.items()}

    @cached_property
    def producers(self) -> Mapping[int, tuple[Op, ...]]:
        """The operators that write each tensor."""
        found: dict[int, list[Op]] = {}
        for op in self.graph.ops:
            for index in op.outputs:
                found.setdefault(index, []).append(op)
        return {index: tuple(ops) for index, ops in found.items()}

    def spec(self, index: int) -> Spec | None:
        """A tensor as rules see it; None where it is left out."""
        if index < 0:
            return None
        tensor = self.graph.tensors[index]
        return Spec(tensor.dtype, tensor.shape, tensor.is_constant, tensor)

    def present(self, indexes: Sequence[int]) -> Iterator[Tensor]:
        """The tensors that are not left out."""
        return (self.graph.tensors[index] for index in indexes if index >= 0)

    def values(self, tensor: Tensor) -> tuple[int, ...] | None:
        """The values of a small int32 or int64 constant; None when they cannot be read."""
        letter = _INTEGERS.get(tensor.dtype)
        buffer = self.model.buffers[tensor.buffer]
        if self._data is None or letter is None or not buffer.size or tensor.external_buffer:
            return None
        width = 4 if letter == "i" else 8
        if buffer.size % width or buffer.size > _MAX_VALUES * width or tensor.sparse:
            return None
        raw = self._data[buffer.offset : buffer.offset + buffer.size].tobytes()
        return tuple(
            int.from_bytes(raw[at : at + width], "little", signed=True)
            for at in range(0, len(raw), width)
        )

    def layer(self, op: Op) -> str:
        """What people know an operator by: its first output tensor."""
        for tensor in self.present(op.outputs):
            return tensor.name
        return ""


def per_tensor(tensor: Tensor) -> Quantization | None:
    """The quantization of a tensor with one scale; None where there is none, or several."""
    found = tensor.quantization
    return found if found and len(found.scale) == 1 and found.axis == 0 else None


def options_of(op: Op) -> Mapping[str, Any]:
    """The builtin options; Refused when the file holds nonsense there."""
    try:
        return op.options
    except InvalidModel:
        raise Refused("its options cannot be read") from None


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people write it: 1x32x32x3."""
    shown = "x".join("?" if size < 0 else str(size) for size in shape[:8])
    return shown + ("…" if len(shape) > 8 else "") or "scalar"
