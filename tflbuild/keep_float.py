"""`keep_float`: are the operators that it names there, and are they float in the end?"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError

if TYPE_CHECKING:
    from tflbuild.tflite.read import Op, TfliteModel


def input_names(interface: Mapping[str, Any]) -> frozenset[str]:
    """The names of all inputs, of every signature."""
    return frozenset(e["name"] for s in interface["signatures"] for e in s["inputs"])


def check_found(
    pattern: str, found: Sequence[Any], model: TfliteModel, inputs: Collection[str]
) -> None:
    """Raises TaskError, with the nearest names, for a pattern that names no operator.

    Args:
        inputs: the names of the model's inputs.
    """
    from tflbuild.tflite import names

    if not found:
        if pattern in inputs:
            raise TaskError(
                f"keep_float: {pattern!r} is an input, and keep_float names operators, by type,"
                " layer or output; a float input is `io: float32`, the default",
                key="optimization.keep_float",
            )
        near = names.near(model, pattern)
        raise TaskError(
            f"keep_float: no operator, layer or tensor is called {pattern!r}; the nearest are"
            f" {', '.join(map(repr, near))}",
            key="optimization.keep_float",
        )


def kept_operators(
    model: TfliteModel, kept: Mapping[tuple[int, str], str]
) -> frozenset[tuple[int, int]]:
    """Where in the converted file the operators are that were to stay float. Raises TaskError
    when one of them is quantized after all."""
    places: set[tuple[int, int]] = set()
    for at, kind in kept.items():
        if not is_float(model, at, kind):
            raise TaskError(
                f"keep_float: {kind} {at[1]!r} was quantized all the same; name it by its type",
                key="optimization.keep_float",
            )
        places |= {(at[0], op.index) for op in _operators(model, at, kind)}
    return frozenset(places)


def is_float(model: TfliteModel, at: tuple[int, str], kind: str) -> bool:
    """Whether an operator, known by its first output's name, works on floats."""
    from tflbuild.tflite.cost import FLOATS
    from tflbuild.tflite.effect import activations

    graph = model.subgraphs[at[0]]
    found = _operators(model, at, kind)
    return bool(found) and all(
        tensor.dtype in FLOATS or tensor.quantization is None
        for op in found
        for tensor in activations(graph, op)
    )


def _operators(model: TfliteModel, at: tuple[int, str], kind: str) -> list[Op]:
    """By type and name. The quantizer adds a number to a name that it needs for another tensor,
    at the end of the model."""
    from tflbuild.tflite.effect import output_name

    graph = model.subgraphs[at[0]]
    ops = [(output_name(graph, op), op) for op in graph.ops if op.name == kind]
    later = re.compile(re.escape(at[1]) + r"\d+")
    exact = [op for name, op in ops if name == at[1]]
    return exact or [op for name, op in ops if later.fullmatch(name)]
