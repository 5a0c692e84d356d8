"""Which operator and tensor of a quantized file is which of its float file.

Names tell most of it: a quantizer keeps the names of tensors, or puts a number behind one that it
needs twice. What the names do not tell is taken by order among operators of one type, where both
files have equally many left. QUANTIZE and DEQUANTIZE carry a value on and are no layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tflbuild.tflite.read import Op, Subgraph

CASTS = frozenset({"QUANTIZE", "DEQUANTIZE"})
_NUMBER = re.compile(r"_?\d+$")


@dataclass(frozen=True)
class Matching:
    """From indexes of the quantized subgraph to those of the float one."""

    ops: Mapping[int, int]
    tensors: Mapping[int, int]
    how: Mapping[int, str]  # operator → "name" or "order"
    unmatched: tuple[int, ...]  # operators that are layers and have no counterpart
    folded: frozenset[int] = field(default_factory=frozenset)  # tensors made of constants alone


def folded(graph: Subgraph) -> frozenset[int]:
    """The tensors that operators compute from constants alone: weights that are dequantized."""
    found: set[int] = set()
    for op in graph.ops:
        read = [index for index in op.inputs if index >= 0]
        if read and all(graph.tensors[i].is_constant or i in found for i in read):
            found.update(index for index in op.outputs if index >= 0)
    return frozenset(found)


def layers(graph: Subgraph) -> list[Op]:
    """The operators that work on activations, but casts, in the order of the file."""
    constant = folded(graph)
    return [
        op
        for op in graph.ops
        if op.name not in CASTS and any(i >= 0 and i not in constant for i in op.outputs)
    ]


def readers(graph: Subgraph, tensor: int) -> list[int]:
    """The layers that read a tensor, seen through casts."""
    found, todo, seen = dict[int, None](), [tensor], {tensor}
    while todo:
        wanted = todo.pop()
        for op in graph.ops:
            if wanted not in op.inputs:
                continue
            if op.name not in CASTS:
                found[op.index] = None
                continue
            new = [i for i in op.outputs if i >= 0 and i not in seen]
            seen.update(new)
            todo += new
    return sorted(found)


def writers(graph: Subgraph, op: Op) -> list[int]:
    """The layers that write what an operator reads, seen through casts."""
    makers = {out: other for other in graph.ops for out in other.outputs}
    found, todo, seen = set[int](), list(op.inputs), set[int]()
    while todo:
        index = todo.pop()
        maker = makers.get(index)
        if maker is None or index in seen:
            continue
        seen.add(index)
        if maker.name in CASTS:
            todo += maker.inputs
        else:
            found.add(maker.index)
    return sorted(found)


def match(quantized: Subgraph, reference: Subgraph) -> Matching:
    """The operators of two subgraphs of one signature, whose inputs and outputs have one order."""
    tensors: dict[int, int] = {}
    for side in ("inputs", "outputs"):
        pairs = zip(getattr(quantized, side), getattr(reference, side), strict=False)
        tensors.update({mine: other for mine, other in pairs if mine >= 0 and other >= 0})
    for op in reversed(quantized.ops):
        if op.name in CASTS and op.outputs[0] in tensors:
            tensors.setdefault(op.inputs[0], tensors[op.outputs[0]])
    mine, others = layers(quantized), layers(reference)
    ops: dict[int, int] = {}
    how: dict[int, str] = {}
    free = {op.index: op for op in others}

    def pair(op: Op, other: Op, by: str) -> None:
        ops[op.index] = other.index
        how[op.index] = by
        free.pop(other.index)
        for a, b in zip(op.outputs, other.outputs, strict=False):
            if a >= 0 and b >= 0:
                tensors.setdefault(a, b)

    for exact in (True, False):
        for op in mine:
            if op.index in ops:
                continue
            same = [o for o in free.values() if o.name == op.name]
            found = [o for o in same if _alike(quantized, op, reference, o, tensors, exact)]
            if found:
                pair(op, found[0], "name")
    for kind in dict.fromkeys(op.name for op in mine):
        left = [op for op in mine if op.name == kind and op.index not in ops]
        right = [op for op in list(free.values()) if op.name == kind]
        if len(left) == len(right) and all(
            _shapes(quantized, a) == _shapes(reference, b) for a, b in zip(left, right, strict=True)
        ):
            for op, other in zip(left, right, strict=True):
                pair(op, other, "order")
    for op in quantized.ops:
        if op.name in CASTS and op.inputs[0] in tensors:
            tensors.setdefault(op.outputs[0], tensors[op.inputs[0]])
    lost = tuple(op.index for op in mine if op.index not in ops)
    return Matching(ops, tensors, how, lost, folded(quantized))


def _alike(
    graph: Subgraph,
    op: Op,
    reference: Subgraph,
    other: Op,
    tensors: Mapping[int, int],
    exact: bool,
) -> bool:
    """Two operators of one type write one tensor, by its place among the outputs or its name."""
    if not op.outputs or not other.outputs or min(op.outputs[0], other.outputs[0]) < 0:
        return False
    if op.outputs[0] in tensors:
        return tensors[op.outputs[0]] == other.outputs[0]
    name, known = graph.tensors[op.outputs[0]].name, reference.tensors[other.outputs[0]].name
    if exact or not known:
        return bool(known) and name == known
    return _NUMBER.sub("", name) in (known, _NUMBER.sub("", known)) and (
        _shapes(graph, op) == _shapes(reference, other)
    )


def _shapes(graph: Subgraph, op: Op) -> list[tuple[int, ...]]:
    return [graph.tensors[index].shape for index in op.outputs if index >= 0]
