"""A traced function as one frozen GraphDef, in a form that does not tell where it came from.

Equal models give equal bytes, in every process and after every re-export: that is what early
cutoff stands on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tflbuild.errors import TaskError

# What inlining leaves of each function that a source wraps around its model (a SavedModel that
# is loaded and saved again gets one more): the call's name before those of the nodes, and an
# Identity for each argument and result.
WRAPPERS = re.compile(r"((Stateful|Stateless)?PartitionedCall(_\d+)?/)+")
ARGUMENT = re.compile(r"Func/.*/(input|output)/_\d+")
# Attributes that say where a node came from.
ORIGINS = ("_class", "_user_specified_name")


def input_key(index: int) -> str:
    return f"in_{index}"


def output_key(index: int) -> str:
    return f"out_{index}"


def has_fake_quant(graph: Any) -> bool:
    """True for a graph of quantization-aware training."""
    return any(
        node.op.startswith(("FakeQuantWithMinMax", "QuantizeAndDequantize"))
        for node in all_nodes(graph)
    )


def freeze(traced: Any, origins: dict[str, str] | None = None) -> tuple[Any, list[str], list[str]]:
    """The canonical frozen GraphDef, and its input and output tensor names in order.

    `origins` gets, for each node, the name that it had with all calls around it.

    Nodes sorted by name: without it (and deterministic serialization) each process writes
    other bytes for the same graph.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2_as_graph,
    )

    frozen, graph = convert_variables_to_constants_v2_as_graph(traced, lower_control_flow=False)
    leftover = [n.name for n in graph.node if n.op in ("VarHandleOp", "ReadVariableOp")]
    if leftover:
        raise TaskError(f"variables remain after freezing: {leftover[:3]}")
    ins, outs = [t.name for t in frozen.inputs], [t.name for t in frozen.outputs]
    nodes = list(graph.node)
    if not has_fake_quant(graph) and not has_effects(graph):
        nodes, ins, outs = unwrap(nodes, ins, outs, origins)
    elif origins is not None:
        origins.update((node.name, node.name) for node in nodes)
    for node in nodes:
        node.ClearField("experimental_debug_info")
    canonical = type(graph)()
    canonical.versions.producer = graph.versions.producer
    canonical.node.extend(sorted(nodes, key=lambda node: node.name))
    functions = sorted(graph.library.function, key=lambda f: f.signature.name)
    canonical.library.function.extend(functions)
    return canonical, ins, outs


def has_effects(graph: Any) -> bool:
    """True where a node does more than give its outputs, so that control inputs have a meaning:
    stateful ops (assertions, random numbers) and those that TensorFlow does not describe."""
    from tensorflow.python.framework import op_def_registry

    described = {node.op: op_def_registry.get(node.op) for node in all_nodes(graph)}
    return any(found is None or found.is_stateful for found in described.values())


def unwrap(
    nodes: Sequence[Any], ins: list[str], outs: list[str], origins: dict[str, str] | None = None
) -> tuple[list[Any], list[str], list[str]]:
    """The same computation whatever the source wraps around it: only what the outputs need,
    nothing that merely passes a tensor on, and names and attributes that do not tell the way.

    Only for graphs without effects; changes the nodes. Gives them and the new tensor names.
    """
    by_name = {node.name: node for node in nodes}
    inputs, outputs = [_producer(name) for name in ins], [_producer(name) for name in outs]
    ends = {*inputs, *outputs}
    passing = {n.name: n.input[0] for n in nodes if n.op == "Identity" and n.name not in ends}
    labels = constant_labels(by_name, passing)
    for node in nodes:
        sources = [_behind(ref, passing) for ref in node.input if not ref.startswith("^")]
        del node.input[:]
        node.input.extend(sources)
        node.device = ""
        for attribute in ORIGINS:
            node.attr.pop(attribute, None)
    kept = _needed(by_name, inputs, outputs)
    names = new_names(kept, inputs, outputs, labels)
    if origins is not None:
        origins.update((new, old) for old, new in names.items())
    for node in kept:
        node.name = names[node.name]
        renamed = [_rename(ref, names) for ref in node.input]
        del node.input[:]
        node.input.extend(renamed)
    return kept, [_rename(n, names) for n in ins], [_rename(n, names) for n in outs]


def constant_labels(by_name: Mapping[str, Any], passing: Mapping[str, str]) -> dict[str, str]:
    """What to call a constant that was a variable or came as an argument, whose own name tells
    only the way: like the first node that reads it, or "" where none does."""
    labels: dict[str, str] = {}
    for name, ref in passing.items():
        constant = _producer(_behind(ref, passing))
        if by_name[constant].op != "Const":
            continue
        label = "" if ARGUMENT.fullmatch(name) else unwrapped_name(name)
        known = labels.get(constant)
        labels[constant] = min(known, label) if known and label else known or label
    return labels


def new_names(
    kept: Sequence[Any], inputs: list[str], outputs: list[str], labels: Mapping[str, str]
) -> dict[str, str]:
    """A name for each node, from the graph alone: nodes that claim the same one are numbered in
    the order of the computation."""
    names: dict[str, str] = {}
    taken: set[str] = set()

    def give(node: str, wanted: str) -> None:
        name, count = wanted, 0
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        taken.add(name)
        names[node] = name

    for key, ends in ((input_key, inputs), (output_key, outputs)):
        for index, end in enumerate(ends):
            if end not in names:
                give(end, key(index))
    nameless = []
    for node in kept:
        label = labels.get(node.name, unwrapped_name(node.name))
        if node.name not in names and label:
            give(node.name, label)
        elif node.name not in names:
            nameless.append(node.name)
    users: dict[str, tuple[str, int]] = {}
    for node in kept:
        for position, ref in enumerate(node.input):
            users.setdefault(_producer(ref), (node.name, position))
    for constant in nameless:
        user, position = users[constant]
        give(constant, f"{names[user]}/operand_{position}")
    return names


def unwrapped_name(name: str) -> str:
    """A node's name without the calls around it: `StatefulPartitionedCall/net/dense/MatMul` is
    `net/dense/MatMul`. One that TensorFlow would not take alone keeps one call, always alike."""
    match = WRAPPERS.match(name)
    if match is None:
        return name
    rest = name[match.end() :]
    return rest if re.match(r"[A-Za-z0-9.]", rest) else f"PartitionedCall/{rest}"


def _needed(by_name: Mapping[str, Any], inputs: list[str], outputs: list[str]) -> list[Any]:
    """The inputs and what the outputs are computed from, sources first: an order that follows
    from the graph alone."""
    done = dict.fromkeys(inputs)
    stack = [(name, False) for name in reversed(outputs)]
    while stack:
        name, ready = stack.pop()
        if name in done:
            continue
        if ready:
            done[name] = None
            continue
        stack.append((name, True))
        stack += [(_producer(ref), False) for ref in reversed(by_name[name].input)]
    return [by_name[name] for name in done]


def _producer(ref: str) -> str:
    """The node of a tensor (`node` or `node:1`)."""
    return ref.partition(":")[0]


def _behind(ref: str, passing: Mapping[str, str]) -> str:
    """The tensor itself, where nodes only pass it on."""
    while (name := _producer(ref)) in passing:
        ref = passing[name]
    return ref.removesuffix(":0")


def _rename(ref: str, names: Mapping[str, str]) -> str:
    name, colon, index = ref.partition(":")
    return names[name] + colon + index


def all_nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the functions that they call. Its library may hold others,
    which stand for another signature of the same source."""
    library = {function.signature.name: function for function in graph.library.function}
    found: set[str] = set()
    todo = [graph.node]
    while todo:
        for node in todo.pop():
            yield node
            for name in library.keys() & called(node) - found:
                found.add(name)
                todo.append(library[name].node_def)


def called(node: Any) -> set[str]:
    """The names that a node may call functions by."""
    names = {node.op}
    for value in node.attr.values():
        names.add(value.func.name)
        names.update(function.name for function in value.list.func)
    return names
