"""The constant weights of a file: those of compute operators and of look-ups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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
    for weight in weight_uses(model):
        found.setdefault((weight.tensor.buffer, weight.tensor.external_buffer), weight)
    return list(found.values())


def weights_by_subgraph(model: TfliteModel) -> dict[tuple[int, int], tuple[str, set[int]]]:
    """By where its data are: a weight's name, and the subgraphs whose operators read it."""
    found: dict[tuple[int, int], tuple[str, set[int]]] = {}
    for weight in weight_uses(model):
        at = (weight.tensor.buffer, weight.tensor.external_buffer)
        found.setdefault(at, (weight.tensor.name, set()))[1].add(weight.subgraph)
    return found


def not_finite(model: TfliteModel, data: bytes) -> list[Weight]:
    """Weights with a scale or an element that is infinite or NaN.

    Args:
        data: the file that `model` was read from.
    """
    return [weight for weight in weights_of(model) if not _finite(model, weight.tensor, data)]


def _finite(model: TfliteModel, tensor: Tensor, data: bytes) -> bool:
    if tensor.quantization and not np.isfinite(tensor.quantization.scale).all():
        return False
    kind = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}.get(tensor.dtype)
    if kind is None or tensor.external_buffer or not 0 < tensor.buffer < len(model.buffers):
        return True
    buffer = model.buffers[tensor.buffer]
    stored = memoryview(data)[buffer.offset : buffer.offset + buffer.size]
    whole = buffer.size // np.dtype(kind).itemsize
    return bool(np.isfinite(np.frombuffer(stored, kind, whole)).all())


def weight_uses(model: TfliteModel) -> Iterator[Weight]:
    """As `weights_of`, but each operator that reads them gives them once more."""
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
