"""lower, for formats whose lowered form is a file: `Loaded.to_tflite` makes it.

Outputs: `lowered.tflite` in its final layout, so that equal models are equal bytes;
`interface.json` and `lower.json` as of `lower`. Needs no TensorFlow of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError, one_line
from tflbuild.limits import limit_action
from tflbuild.sources import tflite
from tflbuild.sources.base import Signature, TensorSpec
from tflbuild.stages.base import Request
from tflbuild.stages.lower import load_source, pinned_specs, positional_order

if TYPE_CHECKING:
    from tflbuild.tflite.read import Subgraph, TfliteModel
    from tflbuild.tflite.signature import Interface

VERSION = 2
MODULES: tuple[str, ...] = ("numpy", "flatbuffers", "ai_edge_litert")
ZYGOTE = "lite"

ROUTE = "tflite"


def run(request: Request) -> None:
    from tflbuild.tflite.metadata import files_of, with_files
    from tflbuild.tflite.read import InvalidModel, read_model
    from tflbuild.tflite.write import rewrite

    if request.params["source"]["format"] == tflite.NAME:
        limit_action(request.inputs.values())
    loaded = load_source(request)
    assert loaded.to_tflite is not None
    asked = request.params["signatures"]
    specs = {}
    for signature, settings in zip(loaded.signatures, asked, strict=True):
        pinned = pinned_specs(signature, settings)
        specs[signature.name] = [TensorSpec(s.name, *pinned[s.name]) for s in signature.inputs]
    raw = loaded.to_tflite(specs)
    model = read_model(raw)
    interfaces = [
        bound(model, index, signature, settings)
        for index, (signature, settings) in enumerate(zip(loaded.signatures, asked, strict=True))
    ]
    try:
        # What lies behind the model stays with it: label files that its metadata name.
        data = with_files(bytes(rewrite(raw, interfaces=interfaces)), files_of(model, raw))
    except InvalidModel as error:
        raise TaskError(
            f"it is not a sound .tflite file: {one_line(error)}", key="source.path"
        ) from error
    final = read_model(data)
    described = [describe(final, its, specs[its.signature]) for its in interfaces]
    (request.out / "lowered.tflite").write_bytes(data)
    request.write_json("interface.json", {"signatures": described, "quantization_aware": False})
    reason = f"{loaded.loader} gives a file: there is no graph to lower"
    told = {"loader": loaded.loader, "route": ROUTE, "reason": reason}
    request.write_json("lower.json", {**told, "warnings": version_warnings(model)})


def version_warnings(model: TfliteModel) -> list[str]:
    """What `rewrite` puts right in a file that was made elsewhere."""
    from tflbuild.tflite import versions

    described = versions.describe(model)
    changes = [f"{w['op']} {w['written']} to {w['right']}" for w in described["wrong"]]
    if not changes:
        return []
    more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    minimum = described["min_runtime"]["tensorflow"]
    needs = f"; the file needs TensorFlow {minimum} or LiteRT {described['min_runtime']['litert']}"
    return [
        "operators had versions that are not what they need, put right in what is released: "
        + ", ".join(changes[:3]) + more + (needs if minimum else "")
    ]  # fmt: skip


def bound(
    model: TfliteModel, index: int, signature: Signature, settings: Mapping[str, Any]
) -> Interface:
    """A signature in the manifest's order, bound by position to its subgraph: the one of its
    name, in a file with several signatures, else the main one. Raises TaskError."""
    from tflbuild.tflite.signature import Interface, IOTensor

    own = [s.subgraph for s in model.signatures if s.key == signature.name]
    graph = model.subgraphs[own[0] if own else index]
    inputs = dict(zip((spec.name for spec in signature.inputs), graph.inputs, strict=False))
    outputs = dict(zip(signature.outputs, graph.outputs, strict=False))
    if len(inputs) != len(graph.inputs) or len(outputs) != len(graph.outputs):
        raise TaskError(
            f"the file has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, the source"
            f" {len(signature.inputs)} and {len(signature.outputs)}"
        )
    takes, gives = positional_order(signature, settings)
    return Interface(
        signature.name,
        tuple(IOTensor(name, inputs[name]) for name in takes),
        tuple(IOTensor(name, outputs[name]) for name in gives),
        graph.index,
    )


def describe(
    model: TfliteModel, interface: Interface, specs: Sequence[TensorSpec]
) -> dict[str, Any]:
    """A signature as `interface.json` has it."""
    graph = model.subgraphs[interface.subgraph]
    dtypes = {spec.name: spec.dtype for spec in specs}
    return {
        "key": interface.signature,
        "signature": interface.signature,
        "inputs": [_entry(graph, io.name, io.tensor, dtypes[io.name]) for io in interface.inputs],
        "outputs": [
            _entry(graph, io.name, io.tensor, _real(graph, io.tensor)) for io in interface.outputs
        ],
    }


def _entry(graph: Subgraph, name: str, index: int, dtype: str) -> dict[str, Any]:
    tensor = graph.tensors[index]
    shape = [None if size < 0 else size for size in tensor.shape_signature]
    return {"name": name, "dtype": dtype, "shape": shape, "tensor": tensor.name}


def _real(graph: Subgraph, index: int) -> str:
    """What a reader of an output gets: quantized ones as real numbers."""
    tensor = graph.tensors[index]
    integer = tensor.dtype.startswith(("int", "uint"))
    return "float32" if integer and tensor.quantization is not None else tensor.dtype
