"""`data`: the arrays that a model is calibrated and tested with."""

from __future__ import annotations

from typing import Any

from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.model import ArrayRef, Data, FileData, RandomData
from tflbuild.manifest.nodes import entries, get
from tflbuild.manifest.yamlfile import Node


def build_data(model: ModelNodes, use: str, signature: str | None = None) -> Data | None:
    """Declared data (`use`: "calibration" or "test") of the model, or of one of its signatures;
    None where there is none."""
    keys = ("data", use) if signature is None else ("data", "signatures", signature, use)
    node = get(model.tree, *keys)
    if node is None:
        return None
    kinds = [k for k in ("npz", "npy", "random") if get(node, k) is not None]
    if len(kinds) != 1:
        more = [f"{k} at {entries(node)[k].key_position}" for k in kinds]
        says = f"got {', '.join(more)}; null removes a default" if kinds else "got none"
        model.problem(f"{'.'.join(keys)} is one of npz, npy and random; {says}", node)
        return None
    samples, labels = get(node, "samples"), get(node, "labels")
    if kinds == ["random"]:
        if samples is not None:
            model.problem("with random data, write `random: {samples: …}`", samples)
        if labels is not None:
            model.problem("random data has no labels; use npz or npy, or remove them", labels)
        return _random(model, entries(node)["random"])
    count: Any = samples.value if samples is not None else None
    given = entries(node)[kinds[0]]
    if kinds == ["npz"]:
        path = model.file(given, ".npz", _other(given, ".npy", "npy"))
        ref = ArrayRef(path, str(labels.value)) if labels is not None else None
        return FileData(npz=path, samples=count, labels=ref)
    files = entries(given) if isinstance(given.value, dict) else {"": given}
    arrays = {n: model.file(f, ".npy", _other(f, ".npz", "npz")) for n, f in files.items()}
    ref = ArrayRef(model.file(labels, ".npy")) if labels is not None else None
    return FileData(npy=tuple(sorted(arrays.items())), samples=count, labels=ref)


def _random(model: ModelNodes, node: Node) -> RandomData:
    given: dict[str, Any] = {key: child.value for key, child in entries(node).items()}
    for bound in {"low", "high"} & {*given}:
        given[bound] = float(given[bound])  # 1 and 1.0 say the same
    data = RandomData(**given)
    if data.low >= data.high:
        model.problem(
            f"low ({data.low:g}) must be below high ({data.high:g})",
            get(node, "high") or get(node, "low"),
        )
    return data


def _other(node: Node, suffix: str, key: str) -> str:
    return f"; write it as `{key}:`" if str(node.value).endswith(suffix) else ""
