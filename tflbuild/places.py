"""The names in a lowered form: which node stands behind each tensor of the converter's file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tflbuild.conversion import Lowered, read_graph
from tflbuild.naming import Names, with_root

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
# Nodes that are in no layer.
_QUIET = frozenset({"Const", "Placeholder", "Identity", "NoOp", "ReadVariableOp", *_CALLS})


def names_of(lowered: Lowered, noted: Mapping[str, Any]) -> Names:
    """What is known of a lowered form; `noted` is what `names.json` holds."""
    if lowered.frozen:
        graph = read_graph(lowered.path)
        producers = dict(_frozen_producers(graph))
    else:
        from tensorflow.core.protobuf import saved_model_pb2

        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((lowered.path / "saved_model.pb").read_bytes())
        meta = saved.meta_graphs[0]
        graph = meta.graph_def
        producers = dict(_saved_producers(graph, meta.signature_def))
    inside = [
        node
        for function in graph.library.function
        if "_traced_save_" not in function.signature.name
        if "_traced_restore_" not in function.signature.name
        for node in function.node_def
    ]
    nodes = [*graph.node, *inside] if lowered.frozen else inside  # the rest saves and restores
    ops = {node.name: node.op for node in nodes if node.op not in _QUIET}
    names = Names(ops, producers, noted.get("functions", {}), bool(noted.get("keras3")))
    return with_root(names, ops)


def _frozen_producers(graph: Any) -> Iterator[tuple[str, str]]:
    """The nodes behind those that only pass a tensor on: outputs of the model are such."""
    passing = {n.name: n.input[0] for n in graph.node if n.op == "Identity" and n.input}
    for name in passing:
        ref, steps = name, 0
        while ref in passing and steps < 100:
            ref, steps = passing[ref].split(":")[0], steps + 1
        yield name, ref


def _saved_producers(graph: Any, signatures: Any) -> Iterator[tuple[str, str]]:
    """The nodes behind the outputs of signatures, through all calls."""
    library = {f.signature.name: f for f in graph.library.function}
    top = {node.name: node for node in graph.node}
    for signature in signatures.values():
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
