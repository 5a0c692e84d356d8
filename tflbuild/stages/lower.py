"""lower: the source, whatever its format, becomes one frozen, variant-independent form.

Outputs: `lowered.pb` (a frozen GraphDef in canonical form) or `saved_model.tar`,
`interface.json` (what the later stages bind by), `names.json` (what `evaluate` calls places in
the graph by) and `lower.json` (route, reason, loader).

The frozen route is exact for feed-forward graphs and the fast one. It loses fused ops or
crashes the converter elsewhere, so it is taken only for graphs that hold nothing of the kind
(DESIGN section 6); the others travel as a SavedModel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tflbuild import archive, pyrun
from tflbuild.errors import TaskError, one_line
from tflbuild.evaluation import origin
from tflbuild.frozen import all_nodes, freeze, has_fake_quant, input_key, output_key
from tflbuild.sources import FORMATS
from tflbuild.sources.base import Loaded, Signature, no_signature
from tflbuild.sources.made import source_path
from tflbuild.stages.base import Request

VERSION = 4
MODULES: tuple[str, ...] = ("tensorflow", "numpy")
ZYGOTE = "tf"

FROZEN = "frozen"
SAVED_MODEL = "saved_model"

# Ops that hold state or need an initializer, and control flow: the frozen form cannot carry
# the first two, and conversion of the third differs from the SavedModel's.
STATE_OPS = ("Assign", "LookupTable", "HashTable", "MutableHashTable", "InitializeTable")
CONTROL_FLOW_OPS = frozenset(
    {"If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"}
)


# What NumPy holds and both runtimes take; others (bfloat16, variant, resource) are refused.
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64", "complex64", "complex128")
DTYPES = frozenset(("bool", "string", *INTEGERS, *FLOATS))
MAX_GRAPH = 2**31 - 2**24  # bytes of weights that a GraphDef (a protocol buffer) can carry

# How the lowered form calls its signatures, inputs and outputs, whatever the source calls them:
# a source's names need not be names that TensorFlow takes, nor stay distinct once cleaned.
SIGNATURE = "serving_default"


def signature_key(index: int, count: int) -> str:
    """The lowered name of a signature. The converter sorts several by name: so do these."""
    return SIGNATURE if count == 1 else f"signature_{index:04}"


def run(request: Request) -> None:
    loaded = load_source(request)
    interface, route, reason = lower(loaded, request.params, request.out)
    request.write_json("interface.json", interface)
    told = {"loader": loaded.loader, "route": route, "reason": reason}
    request.write_json("lower.json", {**told, "warnings": list(loaded.warnings)})


def load_source(request: Request) -> Loaded:
    """Load the source by its own framework: exactly the signatures that ship, in the manifest's
    order. Raises TaskError."""
    asked = request.params["signatures"]
    pins = {name: pin for settings in asked for name, pin in settings["pins"].items()}
    of = {settings["name"]: settings["pins"] for settings in asked if settings["name"] is not None}
    params = {**request.params["source"], "pins": pins, "pins_of": of}
    params |= {key: asked[0][key] for key in ("input_order", "output_order")}
    if "code" in request.params:
        pyrun.enter(request.inputs, request.params["code"], request.out.parent)
    form = FORMATS[params["format"]]
    loaded = form.load(source_path(request.inputs, request.out.parent, params, form), params)
    chosen = loaded.signatures
    if asked[0]["name"] is None:
        if len(loaded.signatures) != 1:
            names = [signature.name for signature in loaded.signatures]
            raise TaskError(
                f"the source has signatures {names}: name those to ship by source.signatures",
                key="source",
            )
    else:
        chosen = tuple(_named(loaded, settings["name"]) for settings in asked)
    for signature, settings in zip(chosen, asked, strict=True):
        check_signature(signature, settings)
    return replace(loaded, signatures=chosen)


def _named(loaded: Loaded, name: str) -> Signature:
    names = [signature.name for signature in loaded.signatures]
    if name not in names:
        raise no_signature(name, names)
    return loaded.signatures[names.index(name)]


def check_signature(signature: Signature, settings: Mapping[str, Any]) -> None:
    """Raises TaskError for inputs that cannot be bound, and where nothing goes in or out."""
    for spec in signature.inputs:
        if spec.shape is None and settings["pins"].get(spec.name, {}).get("shape") is None:
            raise TaskError(
                f"input {spec.name!r} has no known rank: pin it under inputs:"
                f" {{{spec.name}: {{shape: [...]}}}}"
            )
        if spec.dtype not in DTYPES:
            raise TaskError(f"input {spec.name!r} is {spec.dtype}: cast it inside the model")
    for side, names in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        if not names:
            raise TaskError(f"signature {signature.name!r} has no {side}: nothing to run")


@dataclass(frozen=True)
class Traced:
    """A signature with its inputs and outputs in the order that ships, and traced."""

    source: Signature
    inputs: list[str]
    outputs: list[str]
    specs: Mapping[str, tuple[Any, str]]
    function: Any  # a ConcreteFunction over positional inputs, with a list of outputs


def lower(
    loaded: Loaded, params: Mapping[str, Any], out: Path, force: str | None = None
) -> tuple[dict[str, Any], str, str]:
    """Trace, choose the route and write the lowered form into `out`.

    Returns the interface, the route and the reason for it. `force` names a route (the retry
    of a failed conversion takes the SavedModel one).
    """
    traced = []
    for signature, settings in zip(loaded.signatures, params["signatures"], strict=True):
        inputs, outputs = positional_order(signature, settings)
        specs = pinned_specs(signature, settings)
        function = trace(signature, inputs, outputs, specs)
        traced.append(Traced(signature, inputs, outputs, specs, function))
    reason = (force and "asked for") or why_not_frozen([t.function for t in traced])
    route = force or (SAVED_MODEL if reason else FROZEN)
    tensors: list[tuple[list[str], list[str]]] = []
    origins: dict[str, str] = {}
    if route == FROZEN:
        try:
            graph, ins, outs = freeze(traced[0].function, origins)
            (out / "lowered.pb").write_bytes(graph.SerializeToString(deterministic=True))
            graphs, tensors = [graph], [(ins, outs)]
        except Exception as error:  # a SavedModel needs no freezing
            if force:
                raise
            text = " ".join(str(error).split())[:200]
            route, reason = SAVED_MODEL, f"cannot be frozen: {text}"
    if route == SAVED_MODEL:
        graphs = [t.function.graph.as_graph_def() for t in traced]
        tensors = [
            ([input_key(i) for i in range(len(t.inputs))],
             [output_key(i) for i in range(len(t.outputs))])
            for t in traced
        ]  # fmt: skip
        folder = out.parent / "saved_model"
        export(loaded, traced, folder)
        archive.pack(folder, ["."], out / "saved_model.tar")
    nodes = graphs[0].node if route == FROZEN else ()
    names = origin.names([t.function for t in traced], nodes, origins, loaded.loader)
    (out / "names.json").write_text(json.dumps(names, indent=1, sort_keys=True) + "\n")
    interface = {
        "signatures": [
            {"key": signature_key(index, len(traced)), **_described(t, *tensors[index])}
            for index, t in enumerate(traced)
        ],
        "quantization_aware": any(has_fake_quant(graph) for graph in graphs),
    }
    return interface, route, reason or "feed-forward graph, nothing stateful"


def _described(traced: Traced, ins: list[str], outs: list[str]) -> dict[str, Any]:
    """A signature as `interface.json` has it. `tensor`: its name in the lowered form."""
    arguments, results = _arguments(traced.function), traced.function.outputs
    return {
        "signature": traced.source.name,
        "inputs": [
            {"name": name, "dtype": t.dtype.name, "shape": _shape(t), "tensor": tensor}
            for name, t, tensor in zip(traced.inputs, arguments, ins, strict=True)
        ],
        "outputs": [
            {"name": name, "dtype": t.dtype.name, "shape": _shape(t), "tensor": tensor}
            for name, t, tensor in zip(traced.outputs, results, outs, strict=True)
        ],
    }


def place(settings: Mapping[str, Any], key: str) -> str:
    """The manifest key of what it says of a signature."""
    name = settings["name"]
    return key if name is None else f"source.signatures.{name}.{key}"


def positional_order(
    signature: Signature, settings: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """The manifest's order where it names every tensor, else the source's. Raises TaskError."""
    names = [spec.name for spec in signature.inputs]
    unknown = [name for name in settings["input_order"] if name not in names]
    if unknown:
        near = get_close_matches(unknown[0], names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(
            f"inputs: the source has no input {unknown[0]!r}; it has {names}{hint}",
            key=place(settings, f"inputs.{unknown[0]}"),
        )
    asked = list(settings["input_order"])
    inputs = asked if len(asked) == len(names) else names
    outputs = list(settings["output_order"]) or list(signature.outputs)
    if sorted(outputs) != sorted(signature.outputs):
        raise TaskError(
            f"outputs: expected an order of {list(signature.outputs)}, got {outputs}",
            key=place(settings, "outputs"),
        )
    return inputs, outputs


def pinned_specs(signature: Signature, settings: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Shape and dtype of each input after the manifest's pins. Raises TaskError on a conflict."""
    result = {}
    for spec in signature.inputs:
        pin = settings["pins"].get(spec.name, {})
        dtype = pin.get("dtype") or spec.dtype
        if dtype != spec.dtype:
            raise TaskError(
                f"inputs.{spec.name}.dtype: the source takes {spec.dtype}, not {dtype}",
                key=place(settings, f"inputs.{spec.name}"),
            )
        shape = spec.shape
        pinned = pin.get("shape")
        if pinned is not None:
            fits = shape is None or (
                len(shape) == len(pinned)
                and all(
                    have is None or want is None or have == want
                    for have, want in zip(shape, pinned, strict=True)
                )
            )
            if not fits:
                raise TaskError(
                    f"inputs.{spec.name}.shape: {list(pinned)} does not fit the source's"
                    f" {list(shape or ())}",
                    key=place(settings, f"inputs.{spec.name}"),
                )
            base = shape if shape is not None else tuple(pinned)
            shape = tuple(
                want if have is None else have for have, want in zip(base, pinned, strict=True)
            )
        result[spec.name] = (shape, dtype)
    return result


def trace(
    source: Signature,
    inputs: list[str],
    outputs: list[str],
    specs: Mapping[str, tuple[Any, str]],
    named: bool = False,
) -> Any:
    """A ConcreteFunction over positional inputs, with a list of outputs.

    `named`: a function to export, whose outputs are a dict.
    """
    import tensorflow as tf

    def call(*tensors: Any) -> Any:
        result = source.function(dict(zip(inputs, tensors, strict=True)))
        flat = [tf.identity(result[name]) for name in outputs]
        if named:
            return {output_key(index): tensor for index, tensor in enumerate(flat)}
        return flat

    signature = [
        tf.TensorSpec(specs[name][0], specs[name][1], name=input_key(index))
        for index, name in enumerate(inputs)
    ]
    function = tf.function(call, input_signature=signature, autograph=False)
    if named:
        return function
    try:
        traced = function.get_concrete_function()
    except Exception as error:
        text = " ".join(str(error).split())[-400:]
        raise TaskError(f"the model cannot be traced with these input shapes: {text}") from error
    for name, tensor in zip(outputs, traced.outputs, strict=True):
        if tensor.dtype.name not in DTYPES:
            raise TaskError(f"output {name!r} is {tensor.dtype.name}: cast it inside the model")
    return traced


def why_not_frozen(functions: Sequence[Any]) -> str | None:
    """The reason why traced signatures must travel as a SavedModel, or None."""
    if len(functions) > 1:
        return f"{len(functions)} signatures"
    traced = functions[0]
    size = sum(v.dtype.size * (v.shape.num_elements() or 0) for v in traced.graph.variables)
    if size > MAX_GRAPH:
        return f"{size:,} bytes of weights are more than a graph can hold"
    graph = traced.graph.as_graph_def()
    for function in graph.library.function:
        if "_implements" in function.attr or "api_implements" in function.attr:
            return "holds a fused function (_implements) that the converter recognises"
    for node in all_nodes(graph):
        if node.op in CONTROL_FLOW_OPS:
            return f"control flow ({node.op} {node.name!r})"
        if node.op.startswith(STATE_OPS):
            return f"state or table ({node.op} {node.name!r})"
    return None


def keeps_state(traced: Any) -> bool:
    """True when one call may change what the next one gives."""
    return any(node.op.startswith("Assign") for node in all_nodes(traced.graph.as_graph_def()))


def takes_batches(traced: Any) -> bool:
    """True when several samples may be run at once, so far as the graph tells: each output grows
    with the batch, and no branch or loop decides for all of them."""
    if any(node.op in CONTROL_FLOW_OPS for node in all_nodes(traced.graph.as_graph_def())):
        return False
    return all(t.shape.rank and t.shape[0] is None for t in traced.outputs)


def export(loaded: Loaded, traced: Sequence[Traced], folder: Path) -> None:
    """Write a SavedModel of the signatures, under our keys."""
    endpoints = {
        signature_key(index, len(traced)): trace(t.source, t.inputs, t.outputs, t.specs, named=True)
        for index, t in enumerate(traced)
    }
    try:
        loaded.save(endpoints, folder)
    except TaskError:
        raise
    except Exception as error:
        text = one_line(error)
        raise TaskError(f"the model cannot be exported as a SavedModel: {text}") from error


def _arguments(traced: Any) -> list[Any]:
    """The traced inputs that are arguments, without captured variables."""
    count = len(traced.inputs) - len(traced.captured_inputs)
    return list(traced.inputs[:count])


def _shape(tensor: Any) -> list[int | None] | None:
    return None if tensor.shape.rank is None else list(tensor.shape.as_list())
