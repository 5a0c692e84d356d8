"""`frozen_graph`: a GraphDef of TensorFlow 1 (`.pb`, or `.pbtxt` as text), its variables frozen.

A graph alone does not say what goes in and comes out: the manifest's `inputs` and `outputs` do,
by the names of nodes (`x`) or tensors (`x:0`), as they shall be called in the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tflbuild.errors import TaskError, one_line
from tflbuild.sources.base import GRAPH, Loaded, Signature, TensorSpec
from tflbuild.sources.graphdef import caller, spec
from tflbuild.sources.size import refuse_large, too_large

NAME = "frozen_graph"
MODULES: tuple[str, ...] = ()
KEYS: tuple[str, ...] = ("path",)
EXAMPLE = "GRAPH.pb"
FOLDER = False
LOWERED = GRAPH
RUNS_ALONE = False

PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
# Ends that are nobody's output.
NO_OUTPUT = frozenset({"NoOp", "Assert", "Const", "SaveV2", "RestoreV2", "Print", *PLACEHOLDERS})
SHOWN = 8  # candidates in a message

# What a graph cannot bring along: its ops, what that is and the remedy.
REFUSED = (
    (
        re.compile(r"Variable(V2)?|VarHandleOp|TemporaryVariable"),
        "the graph is not frozen: variable {node!r} has no value in it; freeze it with"
        " tf.compat.v1.graph_util.convert_variables_to_constants, or export a SavedModel",
    ),
    (
        re.compile(r"(Ref)?(Switch|Enter|Exit|NextIteration)|LoopCond|RefMerge"),
        "control flow of TensorFlow 1 ({op} {node!r}) has no TensorFlow Lite form; make the graph"
        " again after tf.compat.v1.enable_control_flow_v2(), or without the branch (is it one for"
        " training?)",
    ),
    (
        re.compile(r"(\w*Queue|\w*Iterator|Barrier|\w*Reader)(V2|[A-Z]\w*)?"),
        "the outputs read from an input pipeline ({op} {node!r}); name the tensor behind it under"
        " inputs:",
    ),
    (
        re.compile(r"(Mutable\w*)?HashTable\w*|LookupTable\w*|InitializeTable\w*"),
        "a table ({op} {node!r}) is filled by an operation that a frozen graph does not run;"
        " export the model as a SavedModel (format: saved_model)",
    ),
)


def problem(path: str, shown: str) -> str:
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return f"{shown} is a SavedModel; it needs `format: saved_model`"
    if os.path.basename(path) == "saved_model.pb":
        return f"{shown} is part of a SavedModel; it needs `format: saved_model` and the folder"
    if os.path.isdir(path) or not path.endswith((".pb", ".pbtxt")):
        return f"expected a .pb or .pbtxt file, got {shown}"
    return too_large(path, shown)


def files(path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
    return [("graph" + path.suffix, path)], []


def load(path: Path, params: Mapping[str, Any]) -> Loaded:
    import tensorflow as tf

    refuse_large(path.stat().st_size, "the graph has")
    graph = _read(path)
    nodes = {node.name: node for node in graph.node}
    outputs = _outputs(nodes, list(params["output_order"]))
    inputs = _inputs(nodes, list(params["input_order"]), outputs)
    part = _needed(graph, nodes, inputs, outputs)
    specs = _specs(graph, inputs)

    def save(traced: Mapping[str, Any], folder: Path) -> None:
        tf.saved_model.save(tf.Module(), str(folder), signatures=dict(traced))

    signature = Signature("serving_default", specs, tuple(outputs), caller(part, inputs, outputs))
    return Loaded("tf.import_graph_def", (signature,), save)


def _read(path: Path) -> Any:
    from google.protobuf import text_format
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    try:
        if path.suffix == ".pbtxt":
            text_format.Parse(path.read_text(), graph)
        else:
            graph.ParseFromString(path.read_bytes())
    except (DecodeError, text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise TaskError(
            f"it is not a GraphDef, or it is damaged: {one_line(error, 200)}"
        ) from error
    if not graph.node:
        raise TaskError("the graph has no nodes: is it a GraphDef?")
    return graph


def _reference(name: str) -> str:
    """A tensor's full name: `x` means `x:0`."""
    return name if ":" in name else name + ":0"


def _node(ref: str) -> str:
    return ref.partition(":")[0].lstrip("^")


def _outputs(nodes: Mapping[str, Any], asked: list[str]) -> dict[str, str]:
    """Name → tensor of each output, as asked, else the only node that nobody reads."""
    read = {_node(ref) for node in nodes.values() for ref in node.input}
    ends = [n.name for n in nodes.values() if n.name not in read and n.op not in NO_OUTPUT]
    if not asked and len(ends) != 1:
        raise TaskError(
            f"a graph does not say what its outputs are: name them, `outputs: [NODE]`; nobody"
            f" reads {_some(ends)}"
        )
    asked = asked or ends
    for name in asked:
        if _node(name) not in nodes:
            raise TaskError(
                f"outputs: the graph has no node {_node(name)!r}; nobody reads"
                f" {_some(ends)}{_nearest(name, nodes)}",
                key="outputs",
            )
    return {name: _reference(name) for name in asked}


def _inputs(
    nodes: Mapping[str, Any], asked: list[str], outputs: Mapping[str, str]
) -> dict[str, str]:
    """Name → tensor of each input: as asked, else the placeholders that the outputs need."""
    placeholders = [n.name for n in nodes.values() if n.op in PLACEHOLDERS]
    for name in asked:
        if _node(name) not in nodes:
            raise TaskError(
                f"inputs: the graph has no node {_node(name)!r}; its placeholders are"
                f" {_some(placeholders)}{_nearest(name, nodes)}",
                key=f"inputs.{name}",
            )
    fed = {name: _reference(name) for name in asked}
    reached = {n.name for n in _walk(nodes, outputs.values(), set(fed.values()))}
    unfed = [n for n in placeholders if n in reached and nodes[n].op != "PlaceholderWithDefault"]
    if asked and unfed:
        raise TaskError(
            f"the outputs need the placeholders {_some(unfed)} too: name them under inputs:",
            key="inputs",
        )
    if not asked and not unfed:
        raise TaskError(
            "the outputs need no placeholder: name the tensors to feed,"
            f" `inputs: {{NODE: {{shape: [...]}}}}`; the placeholders are {_some(placeholders)}"
        )
    return fed or {name: _reference(name) for name in unfed}


def _walk(nodes: Mapping[str, Any], ends: Iterable[str], fed: set[str]) -> list[Any]:
    """The nodes that `ends` are computed from when the tensors `fed` are given."""
    found: dict[str, Any] = {}
    stack = [ref for ref in ends if ref not in fed]
    while stack:
        name = _node(stack.pop())
        if name in found:
            continue
        if name not in nodes:
            raise TaskError(f"the graph is damaged: it has no node {name!r}, which others read")
        found[name] = nodes[name]
        stack += [ref for ref in nodes[name].input if _reference(ref) not in fed]
    return list(found.values())


def _needed(
    graph: Any, nodes: Mapping[str, Any], inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> Any:
    """The part of the graph between inputs and outputs. Raises TaskError for what cannot be."""
    from tensorflow.python.framework import op_def_registry

    used = _walk(nodes, outputs.values(), set(inputs.values()))
    settled = _settled(used)
    functions = {function.signature.name for function in graph.library.function}
    inner = [node for function in graph.library.function for node in function.node_def]
    for node in [*used, *inner]:
        for ops, text in REFUSED:
            if ops.fullmatch(node.op) and node.name not in settled:
                raise TaskError(text.format(op=node.op, node=node.name))
        if node.op not in functions and op_def_registry.get(node.op) is None:
            raise TaskError(
                f"TensorFlow has no op {node.op!r} (node {node.name!r}): it comes from a library"
                " of custom ops, which is not loaded; replace it in the model"
            )
    part = type(graph)()
    part.versions.CopyFrom(graph.versions)
    part.library.CopyFrom(graph.library)
    keep = {node.name for node in used}
    part.node.extend(node for node in graph.node if node.name in keep)
    return part


def _settled(used: Sequence[Any]) -> set[str]:
    """The Switches whose predicate no input changes (a branch for training, say): folding
    constants removes them."""
    by_name = {node.name: node for node in used}
    settled = set()
    for node in used:
        if node.op != "Switch":
            continue
        stack, seen = [_node(node.input[1])], set()
        while stack:
            name = stack.pop()
            if name not in seen and name in by_name:
                seen.add(name)
                stack += [_node(ref) for ref in by_name[name].input]
            elif name not in seen:  # fed
                break
        else:
            if not any(by_name[name].op in ("Placeholder", "Enter", "Switch") for name in seen):
                settled.add(node.name)
    return settled


def _specs(graph: Any, inputs: Mapping[str, str]) -> tuple[TensorSpec, ...]:
    """What TensorFlow infers of the inputs: placeholders, or tensors within."""
    import tensorflow as tf

    whole = tf.Graph()
    try:
        with whole.as_default():
            tf.graph_util.import_graph_def(graph, name="")
        tensors = [whole.get_tensor_by_name(ref) for ref in inputs.values()]
    except Exception as error:  # ValueError, NotFoundError, KeyError, InvalidArgumentError
        raise TaskError(f"TensorFlow cannot import the graph: {one_line(error, 300)}") from error
    return tuple(spec(name, tensor) for name, tensor in zip(inputs, tensors, strict=True))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN]) or "nothing"
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _nearest(name: str, nodes: Mapping[str, Any]) -> str:
    near = get_close_matches(_node(name), list(nodes), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
