"""The constant weights of a file: those of compute operators and of look-ups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .cost import FLOATS, compute_rule, op_input
from .read import Tensor, TfliteModel

QUANTIZED = frozenset({"int2", "int4", "uint4", "int8", "uint8"})
# The converter's default `minimum elements for weights` of dynamic range quantization
# (tensorflow/compiler/mlir/lite/quantization/common/quantization_lib/quantization_config.h).
MIN_ELEMENTS = 1024
# Operators that look up rows of a weight: quantized like weights, but they compute nothing.
_LOOKUPS = {"EMBEDDING_LOOKUP": 1, "GATHER": 0}


@dataclass(frozen=True)
class Weight:
    tensor: Tensor
    op: str
    subgraph: int
    at: int  # its operator, in the subgraph


def weights_of(model: TfliteModel) -> list[Weight]:
    """Constant weights of compute operators and look-ups, seen through DEQUANTIZE; data once."""
    found: dict[tuple[int, int], Weight] = {}
    for weight in _uses(model):
        found.setdefault((weight.tensor.buffer, weight.tensor.external_buffer), weight)
    return list(found.values())


def weights_by_subgraph(model: TfliteModel) -> dict[tuple[int, int], tuple[str, set[int]]]:
    """By where its data are: a weight's name, and the subgraphs whose operators read it."""
    found: dict[tuple[int, int], tuple[str, set[int]]] = {}
    for weight in _uses(model):
        at = (weight.tensor.buffer, weight.tensor.external_buffer)
        found.setdefault(at, (weight.tensor.name, set()))[1].add(weight.subgraph)
    return found


def _uses(model: TfliteModel) -> Iterator[Weight]:
    for graph in model.subgraphs:
        stored = {
            op.outputs[0]: op.inputs[0]
            for op in graph.ops
            if op.name in ("DEQUANTIZE", "DENSIFY") and op.inputs and op.outputs
        }
        for op in graph.ops:
            rule = compute_rule(op)
            slots = rule.weights if rule else (_LOOKUPS[op.name],) if op.name in _LOOKUPS else ()
            for slot in slots:
                tensor = op_input(graph, op, slot)
                for _ in range(2):  # DENSIFY, then DEQUANTIZE
                    if tensor and not tensor.is_constant:
                        index = stored.get(tensor.index, -1)
                        tensor = graph.tensors[index] if index >= 0 else None
                if (
                    tensor
                    and tensor.is_constant
                    and (tensor.dtype in FLOATS or tensor.quantization)
                ):
                    yield Weight(tensor, op.name, graph.index, op.index)
