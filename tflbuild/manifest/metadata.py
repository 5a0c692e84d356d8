"""`metadata`: what the released files say of themselves (TFLite Metadata)."""

from __future__ import annotations

import math
from typing import Any

from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.model import Metadata, TensorMetadata
from tflbuild.manifest.nodes import entries, get, text
from tflbuild.manifest.yamlfile import Node, describe

_MOST = 3.4028234663852886e38  # the largest float32: numbers are stored as such


def build_metadata(model: ModelNodes) -> Metadata | None:
    """What the manifest says; None where it says nothing."""
    node = get(model.tree, "metadata")
    if node is None:
        return None
    found = Metadata(
        **{key: text(get(node, key)) or "" for key in
           ("name", "description", "version", "author", "license")},
        inputs=_tensors(model, get(node, "inputs")),
        outputs=_tensors(model, get(node, "outputs")),
    )  # fmt: skip
    if found == Metadata():
        model.key_problem(
            "`metadata` says nothing; give it a name or a license, or remove it", node
        )
    _check_names(model, found, node)
    return found


def _tensors(model: ModelNodes, node: Node | None) -> tuple[TensorMetadata, ...]:
    result = []
    for name, entry in entries(node).items():
        if not entries(entry):
            model.key_problem(
                f"metadata says nothing of {describe(name)}; give a description, or remove it",
                entry,
            )
        labels = get(entry, "labels")
        mean, std = _per_channel(model, get(entry, "normalization"), "mean", "std", 0.0, 1.0)
        if 0.0 in std:
            model.problem("std must not be 0", get(entry, "normalization", "std"))
        low, high = _per_channel(model, get(entry, "range"), "min", "max")
        if any(a > b for a, b in zip(*_evenly(low, high), strict=False)):
            model.problem("min is above max", get(entry, "range", "min"))
        result.append(
            TensorMetadata(
                name=name,
                description=text(get(entry, "description")) or "",
                mean=mean,
                std=std,
                low=low,
                high=high,
                image=text(get(entry, "image")) or "",
                labels="" if labels is None else model.file(labels),
            )
        )
    return tuple(result)


def _evenly(
    low: tuple[float, ...], high: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """One number stands for all channels."""
    channels = max(len(low), len(high))
    return (low * channels if len(low) == 1 else low), (high * channels if len(high) == 1 else high)


def _per_channel(
    model: ModelNodes,
    node: Node | None,
    first: str,
    second: str,
    *defaults: float,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Two numbers, or lists of them, that belong together. Without a default both must be there."""
    if node is None:
        return (), ()
    found = [_numbers(model, get(node, key)) for key in (first, second)]
    if not any(found) or (not defaults and not all(found)):
        words = "or" if defaults else "and"
        model.problem(f"give {first} {words} {second}", node)
    one, other = (values or defaults[i : i + 1] for i, values in enumerate(found))
    if len({len(one), len(other)} - {1}) > 1:
        model.problem(
            f"{first} has {len(one)} numbers, {second} has {len(other)}", get(node, second)
        )
    return one, other


def _numbers(model: ModelNodes, node: Node | None) -> tuple[float, ...]:
    if node is None:
        return ()
    several: Any = node.value
    items = several if isinstance(several, list) else [node]
    numbers: list[Any] = [item.value for item in items]
    values = tuple(float(number) for number in numbers)
    if not all(math.isfinite(v) and abs(v) <= _MOST for v in values):
        model.problem("it must be finite, and no larger than a float32 can be", node)
        return tuple(1.0 for _ in values)
    return values


def _check_names(model: ModelNodes, found: Metadata, node: Node) -> None:
    """Files behind a model are known by their names alone."""
    taken: dict[str, str] = {}
    for tensor in found.outputs:
        if not tensor.labels:
            continue
        name = tensor.labels.rpartition("/")[2]
        if taken.setdefault(name, tensor.labels) != tensor.labels:
            model.problem(
                f"two label files are called {name!r}, and a .tflite file knows them by that name"
                " alone; rename one",
                get(node, "outputs", tensor.name, "labels"),
            )
