"""What became of the weights and operators of a file: how much is quantized, what stayed float
and why. Measured in the file, subgraph by subgraph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .cost import FLOATS
from .model import BITS
from .names import operators
from .read import Op, Subgraph, Tensor, TfliteModel
from .weights import MIN_ELEMENTS, QUANTIZED, Weight, weights_of

SHOWN = 20  # entries of a list in a report

# They change a type, read a shape alone, or run other subgraphs, whose operators are looked at
# themselves.
_NOT_WORK = frozenset(
    {"QUANTIZE", "DEQUANTIZE", "CAST", "IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_WHILE",
     "VAR_HANDLE", "ASSIGN_VARIABLE", "READ_VARIABLE", "DENSIFY", "FAKE_QUANT", "SHAPE", "RANK"}
)  # fmt: skip
# A range this small is a point: the converter widens the range of a constant to 2e-6.
_POINT = 2.1e-6


@dataclass(frozen=True)
class Kept:
    """Why weights and operators may be float, as far as the manifest says."""

    by_name: Collection[tuple[int, int]] = frozenset()  # (subgraph, operator)
    quantize: str = ""
    quantizer: str = "tensorflow"


def float_operators(model: TfliteModel) -> list[tuple[Subgraph, Op]]:
    """Operators that work on floating point numbers."""
    return [
        (graph, op)
        for graph, op in operators(model)
        if op.name not in _NOT_WORK and any(t.dtype in FLOATS for t in activations(graph, op))
    ]


def activations(graph: Subgraph, op: Op) -> Iterator[Tensor]:
    """The tensors that an operator reads and writes, without constants."""
    for index in (*op.inputs, *op.outputs):
        if index >= 0 and not (tensor := graph.tensors[index]).is_constant:
            yield tensor


def describe_operators(found: list[tuple[Subgraph, Op]], limit: int = 5) -> str:
    """`SIN 'trig/Sin', FLOOR 'floor'`, and how many more."""
    names = [f"{op.name} '{output_name(graph, op)}'" for graph, op in found[:limit]]
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(names) + more


def describe_weights(found: list[Weight], limit: int = 3) -> str:
    """`FULLY_CONNECTED 'dense/MatMul'`, and how many more."""
    names = [f"{weight.op} '{weight.tensor.name}'" for weight in found[:limit]]
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(names) + more


def output_name(graph: Subgraph, op: Op) -> str:
    """The name that a person knows an operator by."""
    return next((graph.tensors[index].name for index in op.outputs if index >= 0), "")


def report(model: TfliteModel, kept: Kept) -> dict[str, Any]:
    """JSON-able: by operator type, weights left float and why, float operators, and each
    signature's shares.

    `operators`: {type: {activation dtype: count}}; `weights_ratio`: bytes of weights over what
    they take in float32; `float_weights` and `float_operators` list the first 20.
    """
    by_type: dict[str, Counter[str]] = {}
    for graph, op in operators(model):
        if op.name in _NOT_WORK:
            continue
        kinds = {tensor.dtype for tensor in activations(graph, op)}
        main = next((t for t in ("int8", "uint8", "int16", *sorted(FLOATS)) if t in kinds), None)
        if main is not None:
            by_type.setdefault(op.name, Counter())[main] += 1
    weights = weights_of(model)
    left = [weight for weight in weights if weight.tensor.dtype == "float32"]
    floats = float_operators(model)
    elements = sum(weight.tensor.elements for weight in weights)
    stored = sum(weight.tensor.data_size for weight in weights)
    return {
        "operators": {name: dict(sorted(found.items())) for name, found in sorted(by_type.items())},
        "weights_ratio": round(stored / (4 * elements), 4) if elements else 1.0,
        "float_weights": [
            {
                "tensor": weight.tensor.name,
                "op": weight.op,
                "elements": weight.tensor.elements,
                "why": why_float(weight, kept),
            }
            for weight in left[:SHOWN]
        ],
        "float_operators": [
            {"op": op.name, "tensor": output_name(graph, op)} for graph, op in floats[:SHOWN]
        ],
        "float_operator_count": len(floats),
        "sparse_weights": sum(t.sparse for graph in model.subgraphs for t in graph.tensors),
        "signatures": [
            {"signature": name, "subgraph": index, **shares(part)}
            for name, index, part in by_signature(model)
        ],
    }


def why_float(weight: Weight, kept: Kept) -> str:
    """Why a weight is float in a quantized file."""
    if (weight.subgraph, weight.at) in kept.by_name:
        return "keep_float"
    if kept.quantize == "none":
        return "quantize is none"
    if kept.quantizer != "tensorflow":
        return f"ai-edge-quantizer does not quantize {weight.op} this way"
    if kept.quantize == "dynamic_range" and weight.tensor.elements < MIN_ELEMENTS:
        return f"fewer than {MIN_ELEMENTS:,} elements"
    if kept.quantize == "qat":
        return "no trained ranges around it"
    return f"{weight.op} has no quantized kernel for it"


def by_signature(model: TfliteModel) -> list[tuple[str, int, TfliteModel]]:
    """Each signature with its subgraph and the part of the file that it runs."""
    calls = {g.index: {i for op in g.ops for i in op.subgraphs} for g in model.subgraphs}
    found = []
    roots = [(s.key, s.subgraph) for s in model.signatures] or [("", 0)]
    for name, root in roots:
        todo, seen = [root], {root}
        while todo:
            new = calls[todo.pop()] - seen
            seen |= new
            todo += new
        part = tuple(graph for graph in model.subgraphs if graph.index in seen)
        found.append((name, root, replace(model, subgraphs=part)))
    return found


def shares(model: TfliteModel) -> dict[str, float]:
    """Shares from 0 to 1: of weight elements, and of operators, that are quantized."""
    weights = [w.tensor for w in weights_of(model)]
    elements = sum(t.elements for t in weights)
    narrow = sum(t.elements for t in weights if t.dtype in QUANTIZED | {"float16"})
    works = [integer for _, integer in real_operators(model)]
    return {
        "weights": round(narrow / elements, 4) if elements else 0.0,
        "operators": round(sum(works) / len(works), 4) if works else 0.0,
    }


def real_operators(model: TfliteModel) -> Iterator[tuple[Op, bool]]:
    """Operators that work on real numbers, and whether these are quantized."""
    for graph, op in operators(model):
        if op.name in _NOT_WORK:
            continue
        kinds = list(activations(graph, op))
        integer = any(t.quantization and t.dtype not in FLOATS for t in kinds)
        if integer or any(t.dtype in FLOATS for t in kinds):
            yield op, integer


def point_ranges(model: TfliteModel) -> tuple[list[str], list[str]]:
    """Quantized tensors whose range is a point: (inputs and outputs of signatures, others).

    Calibration saw one value there; whatever else comes is lost.
    """
    ends: dict[tuple[int, int], str] = {}
    for signature in model.signatures:
        for what, pairs in (("input", signature.inputs), ("output", signature.outputs)):
            for name, index in pairs:
                ends[signature.subgraph, index] = f"{what} '{name}'"
    outside, inside = dict[str, None](), dict[str, None]()
    for graph in model.subgraphs:
        reach: dict[int, str] = {}  # through QUANTIZE and DEQUANTIZE at the ends
        for op in graph.ops:
            if op.name in ("QUANTIZE", "DEQUANTIZE") and op.inputs and op.outputs:
                first, last = op.inputs[0], op.outputs[0]
                if (graph.index, first) in ends:
                    reach[last] = ends[graph.index, first]
                if (graph.index, last) in ends:
                    reach[first] = ends[graph.index, last]
        for tensor in graph.tensors:
            scales = tensor.quantization.scale if tensor.quantization else ()
            if tensor.is_constant or len(scales) != 1 or tensor.dtype in FLOATS:
                continue
            if scales[0] * 2.0 ** BITS.get(tensor.dtype, 8) > _POINT:
                continue
            end = ends.get((graph.index, tensor.index)) or reach.get(tensor.index)
            if end:
                outside[end] = None
            else:
                inside[tensor.name] = None
    return list(outside), list(inside)


def channel_scales(model: TfliteModel) -> list[Weight]:
    """Weights with a scale for each channel."""
    return [
        weight
        for weight in weights_of(model)
        if weight.tensor.quantization and len(weight.tensor.quantization.scale) > 1
    ]


def as_counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items()))
