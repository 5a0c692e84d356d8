"""Which of the user's functions a node of a lowered graph comes from, and how its scopes are named.

Freezing inlines functions, and the calls around a model leave no name in the graph: what a person
would look for is noted while the traced functions are at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tflbuild.evaluation.naming import function_name, is_keras3
from tflbuild.frozen import all_nodes

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_QUIET = frozenset({"Const", "Placeholder", "Identity", "NoOp", "ReadVariableOp"})


def names(
    traced: Sequence[Any], nodes: Iterable[Any], origins: Mapping[str, str], loader: str
) -> dict[str, Any]:
    """What `names.json` holds: `keras3` (how scopes are named, see `naming.Names`) and, on the
    frozen route, `functions`: the innermost function of the user's by node.

    Args:
        traced: the concrete functions of the signatures.
        nodes: those of the frozen graph; none on the other route.
        origins: by node of the frozen graph the name with all calls around it.
        loader: the framework that loaded the source.
    """
    keras3 = loader == "keras"
    functions: dict[str, str] = {}
    full = {node.name: origins[node.name] for node in nodes if node.op not in _QUIET}
    for function in traced:
        graph = function.graph.as_graph_def()
        readers = [node.name for node in all_nodes(graph) if node.op == "ReadVariableOp"]
        keras3 = keras3 or is_keras3(readers, [v.name for v in function.graph.variables])
        functions |= _functions(graph, full)
    return {"keras3": keras3, "functions": functions}


def _functions(graph: Any, origins: Mapping[str, str]) -> dict[str, str]:
    """The user's function of each node that has one, from the calls in the traced graph."""
    library = {f.signature.name: f for f in graph.library.function}
    calls: dict[str, dict[str, str]] = {}

    def calls_of(name: str) -> dict[str, str]:
        if name not in calls:
            nodes = library[name].node_def if name else graph.node
            calls[name] = {
                node.name: node.attr["f"].func.name
                for node in nodes
                if node.op in _CALLS and node.attr["f"].func.name in library
            }
        return calls[name]

    found = {}
    for node, full in origins.items():
        holder, said, scopes, start = "", "", full.split("/"), 0
        for end in range(1, len(scopes)):
            called = calls_of(holder).get("/".join(scopes[start:end]))
            if called:
                holder, start = called, end
                said = function_name(called) or said
        if said:
            found[node] = said
    return found
