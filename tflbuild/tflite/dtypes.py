"""Which data types a device has to work with, and where the first tensor of each is."""

from __future__ import annotations

from typing import Any

from .effect import output_name
from .read import TfliteModel, entries
from .weights import weight_uses


def places(model: TfliteModel) -> dict[str, dict[str, Any]]:
    """{dtype: {kind, op, layer}} of the first tensor of each type, by type, as JSON.

    Those count that a caller gives (`kind` "input") or gets ("output" with no operator behind
    it), that an operator computes ("computed"), and weights in their slots ("weights"; also the
    ones that a DEQUANTIZE or DENSIFY unpacks). Biases, shapes, axes and other constants do not:
    which types they have follows from the operator, and nobody can choose another. `op` is the
    operator that computes or reads it, "" where there is none; `layer` the name that people know
    it by: the operator's output, or the input itself.
    """
    found: dict[str, dict[str, Any]] = {}

    def note(dtype: str, kind: str, op: str, layer: str) -> None:
        found.setdefault(dtype, {"kind": kind, "op": op, "layer": layer})

    for _, subgraph in entries(model):
        graph = model.subgraphs[subgraph]
        for index in graph.inputs:
            note(graph.tensors[index].dtype, "input", "", graph.tensors[index].name)
    for weight in weight_uses(model):
        graph = model.subgraphs[weight.subgraph]
        note(weight.tensor.dtype, "weights", weight.op, output_name(graph, graph.ops[weight.at]))
    for graph in model.subgraphs:
        for op in graph.ops:
            for index in op.outputs:
                if index >= 0:
                    tensor = graph.tensors[index]
                    note(tensor.dtype, "computed", op.name, tensor.name)
    for _, subgraph in entries(model):
        graph = model.subgraphs[subgraph]
        for index in graph.outputs:
            note(graph.tensors[index].dtype, "output", "", graph.tensors[index].name)
    return dict(sorted(found.items()))
