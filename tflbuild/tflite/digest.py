"""A file in brief: what reports, the lock and `inspect` say of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .cost import data_sizes, dynamic_shapes, macs, op_counts, params
from .dtypes import places
from .effect import float_operators
from .read import Tensor, TfliteModel


def describe(model: TfliteModel) -> dict[str, Any]:
    """A summary that `json.dumps` takes, the same for the same file.

    Keys: `size` (bytes), `description`, `metadata` (names); `interface`: the main subgraph's
    `inputs` and `outputs` in positional order (name, shape with -1, dtype, quantization or None)
    and `signatures` ({key: {subgraph, inputs, outputs}}, each {name: tensor}); `ops`: counts by
    kind, and `versions` ({name: {version: count}}); `float_ops`: those that compute in floating
    point, by name; `dtypes` (see `dtypes.places`); `sizes` (bytes; see `cost.DataSizes`),
    `params`, `macs` (see `cost.Macs`), `dynamic` (see `cost.DynamicShapes`).
    """
    main = model.subgraphs[0]
    versions = Counter((op.name, op.version) for graph in model.subgraphs for op in graph.ops)
    by_name: dict[str, dict[str, int]] = {}
    for (name, version), count in sorted(versions.items()):
        by_name.setdefault(name, {})[str(version)] = count
    counted, dynamic = macs(model), dynamic_shapes(model)
    floats = Counter(op.name for _, op in float_operators(model))
    return {
        "size": model.size,
        "description": model.description,
        "metadata": sorted(model.metadata),
        "interface": {
            "inputs": [describe_tensor(main.tensors[i]) for i in main.inputs],
            "outputs": [describe_tensor(main.tensors[i]) for i in main.outputs],
            "signatures": {
                s.key: {
                    "subgraph": s.subgraph,
                    "inputs": {k: model.subgraphs[s.subgraph].tensors[i].name for k, i in s.inputs},
                    "outputs": {
                        k: model.subgraphs[s.subgraph].tensors[i].name for k, i in s.outputs
                    },
                }
                for s in model.signatures
            },
        },
        "ops": {**op_counts(model), "versions": by_name},
        "float_ops": dict(sorted(floats.items())),
        "dtypes": places(model),
        "subgraphs": len(model.subgraphs),
        "sizes": asdict(data_sizes(model)),
        "params": params(model),
        "macs": {
            "total": counted.total,
            "dynamic": counted.dynamic,
            "loops": counted.loops,
            "uncounted": counted.uncounted,
            "signature": counted.signature,
        },
        "dynamic": {
            "io": [
                {"signature": key, "name": name, "shape": list(shape)}
                for key, name, shape in dynamic.io
            ],
            "inner": dynamic.inner,
        },
    }


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def describe_tensor(tensor: Tensor) -> dict[str, Any]:
    """Name, shape (-1: dynamic), dtype and quantization of one tensor. A scale that is NaN or
    infinite, which JSON cannot say, is None."""
    q = tensor.quantization
    return {
        "name": tensor.name,
        "shape": list(tensor.shape_signature),
        "dtype": tensor.dtype,
        "quantization": None
        if q is None
        else {"scale": _finite(q.scale), "zero_point": list(q.zero_point), "axis": q.axis},
    }
