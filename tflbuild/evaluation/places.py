"""The names in a lowered form: which node stands behind each tensor of the converter's file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tflbuild.conversion import Lowered, read_graph
from tflbuild.evaluation.naming import Names, function_name, strip_calls, with_root
from tflbuild.frozen import called

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
# Nodes that are in no layer.
_QUIET = frozenset({"Const", "Placeholder", "Identity", "NoOp", "ReadVariableOp", *_CALLS})


def names_of(lowered: Lowered, noted: Mapping[str, Any]) -> Names:
    """What is known of a lowered form; `noted` is what `names.json` holds."""
    functions: dict[str, str] = dict(noted.get("functions", {}))
    if lowered.frozen:
        graph = read_graph(lowered.path)
        producers = dict(_frozen_producers(graph))
        nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    else:
        from tensorflow.core.protobuf import saved_model_pb2

        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((lowered.path / "saved_model.pb").read_bytes())
        meta = saved.meta_graphs[0]
        graph, signatures = (
            meta.graph_def,
            [meta.signature_def[s["key"]] for s in lowered.signatures],
        )
        producers = dict(_saved_producers(graph, signatures))
        nodes = []
        holders: dict[str, set[str]] = {}
        for function, holder in _reached(graph, signatures):
            nodes += function.node_def
            for node in function.node_def:
                holders.setdefault(node.name, set()).add(holder)
        functions = {n: next(iter(f)) for n, f in holders.items() if len(f) == 1 and f != {""}}
    ops = {strip_calls(node.name): node.op for node in nodes if node.op not in _QUIET}
    names = Names(
        ops,
        {tensor: strip_calls(node) for tensor, node in producers.items()},
        {strip_calls(node): name for node, name in functions.items()},
        bool(noted.get("keras3")),
    )
    return with_root(names, ops)


def attributes(lowered: Lowered, op: str, name: str) -> list[bytes]:
    """An attribute of bytes, of every node of an op in a lowered form."""
    if lowered.frozen:
        graphs = [read_graph(lowered.path)]
    else:
        from tensorflow.core.protobuf import saved_model_pb2

        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((lowered.path / "saved_model.pb").read_bytes())
        graphs = [meta.graph_def for meta in saved.meta_graphs]
    return [
        bytes(node.attr[name].s)
        for graph in graphs
        for nodes in (graph.node, *(f.node_def for f in graph.library.function))
        for node in nodes
        if node.op == op
    ]


def _reached(graph: Any, signatures: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """The functions that signatures run, each with the innermost name of the user's around it."""
    library = {f.signature.name: f for f in graph.library.function}
    outputs = {o.name.partition(":")[0] for s in signatures for o in s.outputs.values()}
    todo = [(node, "") for node in graph.node if node.name in outputs]
    seen: set[tuple[str, str]] = set()
    while todo:
        node, around = todo.pop()
        for name in library.keys() & called(node):
            holder = function_name(name) or around
            if (name, holder) not in seen:
                seen.add((name, holder))
                yield library[name], holder
                todo += [(inner, holder) for inner in library[name].node_def]


def _frozen_producers(graph: Any) -> Iterator[tuple[str, str]]:
    """The nodes behind those that only pass a tensor on: outputs of the model are such."""
    passing = {n.name: n.input[0] for n in graph.node if n.op == "Identity" and n.input}
    for name in passing:
        ref, steps = name, 0
        while ref in passing and steps < 100:
            ref, steps = passing[ref].split(":")[0], steps + 1
        yield name, ref


def _saved_producers(graph: Any, signatures: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """The nodes behind the outputs of signatures, through all calls."""
    library = {f.signature.name: f for f in graph.library.function}
    top = {node.name: node for node in graph.node}
    for signature in signatures:
        for output in signature.outputs.values():
            name, _, index = output.name.partition(":")
            node = _behind(top, library, name, int(index or 0))
            if node:
                yield output.name, node


def _behind(nodes: Mapping[str, Any], library: Mapping[str, Any], name: str, index: int) -> str:
    """The node that makes output `index` of node `name`; "" where the way is not clear."""
    for _ in range(1000):
        node = nodes.get(name)
        if node is None:
            return ""
        if node.op == "Identity" and node.input:
            ref = node.input[0]
        elif node.op in _CALLS and (function := library.get(node.attr["f"].func.name)):
            results = list(function.signature.output_arg)
            if index >= len(results):
                return ""
            ref = function.ret[results[index].name]
            nodes = {inner.name: inner for inner in function.node_def}
        else:
            return name
        # In functions `node:output:index`, elsewhere `node:index`.
        name, _, rest = ref.partition(":")
        index = int(rest.rpartition(":")[2] or 0)
    return ""
