"""Operators by what people call them: type, tensor, node, layer.

A tensor's name holds the nodes that were fused into it (`conv/Relu;conv/BiasAdd`), each with the
path of its layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase

from .cost import compute_rule
from .read import Op, Subgraph, TfliteModel

Found = tuple[Subgraph, Op]


def op_names(graph: Subgraph, op: Op) -> set[str]:
    """All names of an operator: its type, its output tensors and weights, the nodes in their
    names, and each part of the nodes' paths. At the end of a model the output has the name of the
    model's output, and the weights alone that of their layer."""
    names = {op.name}
    rule = compute_rule(op)
    inputs = [op.inputs[slot] for slot in (rule.weights if rule else ()) if slot < len(op.inputs)]
    for index in (*op.outputs, *inputs):
        if index < 0 or (index in inputs and not graph.tensors[index].is_constant):
            continue
        tensor = graph.tensors[index].name
        names.add(tensor)
        for node in tensor.split(";"):
            parts = [part for part in node.split("/") if part][:20]
            for start in range(len(parts)):
                names.update("/".join(parts[start:end]) for end in range(start + 1, len(parts) + 1))
    return names - {""}


def operators(model: TfliteModel) -> Iterator[Found]:
    """Every operator, subgraph by subgraph."""
    for graph in model.subgraphs:
        for op in graph.ops:
            yield graph, op


def find(model: TfliteModel, patterns: Iterable[str]) -> dict[str, list[Found]]:
    """The operators that each pattern (a name, or a glob) names."""
    named = [(found, op_names(*found)) for found in operators(model)]
    return {
        pattern: [
            found
            for found, names in named
            if pattern in names or any(fnmatchcase(name, pattern) for name in names)
        ]
        for pattern in patterns
    }


def near(model: TfliteModel, pattern: str) -> list[str]:
    """Names that a pattern without a match may have meant."""
    known = sorted({name for found in operators(model) for name in op_names(*found)})
    folded = {name.casefold(): name for name in known}
    close = get_close_matches(pattern[:200].casefold(), list(folded), n=3, cutoff=0.5)
    return [folded[name] for name in close] or sorted({op.name for _, op in operators(model)})[:8]
