"""lower, for formats whose lowered form is a file: `Loaded.to_tflite` makes it.

Outputs: `lowered.tflite` in its final layout, so that equal models are equal bytes;
`interface.json` and `lower.json` as of `lower`. Needs no TensorFlow of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tflbuild.errors import TaskError
from tflbuild.sources.base import Signature, TensorSpec
from tflbuild.stages.base import Request
from tflbuild.stages.lower import load_source, pinned_specs, positional_order

VERSION = 1
MODULES: tuple[str, ...] = ("numpy", "flatbuffers", "ai_edge_litert")
ZYGOTE = "lite"

ROUTE = "tflite"


def run(request: Request) -> None:
    loaded = load_source(request)
    assert loaded.to_tflite is not None
    pinned = {s.name: _pinned(s, request) for s in loaded.signatures}
    raw = loaded.to_tflite(pinned)
    (signature,) = loaded.signatures
    data, interface = signed(raw, signature, pinned[signature.name], request.params)
    (request.out / "lowered.tflite").write_bytes(data)
    request.write_json("interface.json", interface)
    reason = f"{loaded.loader} gives a file: there is no graph to lower"
    request.write_json("lower.json", {"loader": loaded.loader, "route": ROUTE, "reason": reason})


def _pinned(signature: Signature, request: Request) -> list[TensorSpec]:
    specs = pinned_specs(signature, request.params["pins"])
    return [TensorSpec(spec.name, *specs[spec.name]) for spec in signature.inputs]


def signed(
    raw: bytes, signature: Signature, specs: Sequence[TensorSpec], params: Any
) -> tuple[bytes, dict[str, Any]]:
    """The file with the source's names in the manifest's order, and the interface of it."""
    from tflbuild.tflite.read import read_model
    from tflbuild.tflite.signature import Interface, IOTensor
    from tflbuild.tflite.write import rewrite

    main = read_model(raw).subgraphs[0]
    inputs = dict(zip((spec.name for spec in specs), main.inputs, strict=False))
    outputs = dict(zip(signature.outputs, main.outputs, strict=False))
    if len(inputs) != len(main.inputs) or len(outputs) != len(main.outputs):
        raise TaskError(
            f"the file has {len(main.inputs)} inputs and {len(main.outputs)} outputs, the source"
            f" {len(specs)} and {len(signature.outputs)}"
        )
    takes, gives = positional_order(signature, params)
    dtypes = {spec.name: spec.dtype for spec in specs}
    data = rewrite(
        raw,
        interface=Interface(
            signature.name,
            tuple(IOTensor(name, inputs[name]) for name in takes),
            tuple(IOTensor(name, outputs[name]) for name in gives),
        ),
    )
    final = read_model(data).subgraphs[0]

    def entries(names: Sequence[str], indexes: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "dtype": dtypes.get(name) if indexes is final.inputs else _real(final, index),
                "shape": [None if d < 0 else d for d in final.tensors[index].shape_signature],
                "tensor": final.tensors[index].name,
            }
            for name, index in zip(names, indexes, strict=True)
        ]

    return bytes(data), {
        "signature": signature.name,
        "inputs": entries(takes, final.inputs),
        "outputs": entries(gives, final.outputs),
        "quantization_aware": False,
    }


def _real(graph: Any, index: int) -> str:
    """What a reader of an output gets: quantized ones as real numbers."""
    tensor = graph.tensors[index]
    integer = tensor.dtype.startswith(("int", "uint"))
    return "float32" if integer and tensor.quantization is not None else str(tensor.dtype)
