"""Operators by what people call them: type, tensor, node, layer.

A tensor's name holds the nodes that were fused into it (`conv/Relu;conv/BiasAdd`), each with the
path of its layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import takewhile

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
    """The operators that each pattern (a name, or a glob) names. A name that nothing has exactly
    also stands for the one that has it with numbers behind: Keras 3 traces a layer `head` in a
    scope `head_1`."""
    named = [(found, op_names(*found)) for found in operators(model)]
    every = set().union(*(names for _, names in named))
    result = {}
    for pattern in patterns:
        traced = numbered(pattern, every)
        wanted = traced[0] if pattern not in every and len(traced) == 1 else pattern
        result[pattern] = [
            found
            for found, names in named
            if wanted in names or any(fnmatchcase(name, wanted) for name in names)
        ]
    return result


def numbered(name: str, known: Iterable[str]) -> list[str]:
    """The known names that are this one with `_N` behind some of its parts."""
    if not name:
        return []
    parts = [re.escape(part) + r"(_\d+)?" for part in re.split("[/;]", name)]
    wanted = re.compile("[/;]".join(parts), re.ASCII)
    return sorted(other for other in known if other != name and wanted.fullmatch(other))


def near(model: TfliteModel, pattern: str) -> list[str]:
    """Names that a pattern without a match may have meant: first those that begin with it."""
    every = {name for found in operators(model) for name in op_names(*found)}
    known = sorted(every, key=lambda name: (len(name), name))
    folded = {name.casefold(): name for name in reversed(known)}
    wanted = pattern[:200].casefold()
    longer = [name for name in known if wanted and name.casefold().startswith(wanted)]
    parts = [name for name in longer if "/" not in name[len(pattern) :] and ";" not in name]
    alike = get_close_matches(wanted, list(folded), n=9, cutoff=0.5)
    alike.sort(key=lambda name: -_alike(name, wanted))  # stable
    close = [folded[name] for name in alike]
    found = list(dict.fromkeys([*numbered(pattern, known), *parts, *close, *longer]))[:3]
    return found or sorted({op.name for _, op in operators(model)})[:8]


def _alike(one: str, other: str) -> int:
    """How many characters two names begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
