"""What an application binds to: signatures, names, order, shapes, dtypes, quantization."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Tensor, TfliteModel

MAIN = ""  # the name of the main subgraph where no signature is of it


def of_model(model: TfliteModel) -> dict[str, Any]:
    """The interface of a file, for `json.dumps` and to be compared by `tflbuild.interface`.

    `signatures`: {name, main, inputs, outputs}; `main`: it is what `Invoke` runs, so that its
    inputs and outputs have positions for applications that know no signatures. Those of the main
    subgraph come first, then the others by name. A file without a signature of its main subgraph
    has an entry named "" for that, whose inputs and outputs have the names of tensors.

    Each input and output, in positional order: `name`; `shape`, -1 for a dynamic dimension;
    `dtype`; and where it is quantized `scale` (to nine digits, which tell any two float32 apart;
    "nan" or "inf" where it is none that JSON has) and `zero_point`, with `axis` where they are
    several.

    Never raises for what `read_model` accepts.
    """
    found = []
    for signature in model.signatures:
        graph = model.subgraphs[signature.subgraph]
        found.append({
            "name": signature.key,
            "main": signature.subgraph == 0,
            "inputs": [_tensor(name, graph.tensors[i])
                       for name, i in _ordered(signature.inputs, graph.inputs)],
            "outputs": [_tensor(name, graph.tensors[i])
                        for name, i in _ordered(signature.outputs, graph.outputs)],
        })  # fmt: skip
    if not any(entry["main"] for entry in found):
        graph = model.subgraphs[0]
        inputs, outputs = (
            [_tensor(graph.tensors[i].name, graph.tensors[i]) for i in side]
            for side in (graph.inputs, graph.outputs)
        )
        found.append({"name": MAIN, "main": True, "inputs": inputs, "outputs": outputs})
    found.sort(key=lambda entry: (not entry["main"], entry["name"]))
    return {"signatures": found}


def _ordered(pairs: Iterable[tuple[str, int]], positions: Sequence[int]) -> list[tuple[str, int]]:
    """By the position of the tensor; those that have none behind, by name."""
    rank = {tensor: place for place, tensor in reversed(list(enumerate(positions)))}
    return sorted(pairs, key=lambda pair: (rank.get(pair[1], len(rank)), pair[0]))


def _tensor(name: str, tensor: Tensor) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": name, "shape": list(tensor.shape_signature), "dtype": tensor.dtype,
    }  # fmt: skip
    scaled = tensor.quantization
    if scaled is not None and scaled.scale:
        told["scale"] = [_short(value) for value in scaled.scale]
        told["zero_point"] = list(scaled.zero_point)
        if len(scaled.scale) > 1:
            told["axis"] = scaled.axis
    return told


def _short(value: float) -> float | str:
    return float(f"{value:.9g}") if math.isfinite(value) else str(value)
