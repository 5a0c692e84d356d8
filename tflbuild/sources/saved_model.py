"""`saved_model`: a folder with `saved_model.pb`, one of its signatures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tflbuild.errors import TaskError, UsageError, one_line
from tflbuild.sources.base import Loaded, Signature, Tensors, TensorSpec, no_signature

NAME = "saved_model"
MODULES: tuple[str, ...] = ("tf_keras",)
KEYS: tuple[str, ...] = ("path", "signature", "signatures", "tags")
EXAMPLE = "FOLDER"
FOLDER = True


def problem(path: str, shown: str) -> str:
    if os.path.isdir(path):
        if os.path.isfile(os.path.join(path, "saved_model.pb")):
            return ""
        return f"no saved_model.pb in the folder {shown}"
    hint = "; name the folder that holds saved_model.pb"
    if path.endswith((".keras", ".h5", ".hdf5")):
        hint = "; this file needs `format: keras`"
    elif path.endswith("saved_model.pb"):
        hint = f"; name its folder: '{os.path.dirname(shown.strip(chr(39))) or '.'}'"
    return f"a saved_model is a folder, and {shown} a file{hint}"


def files(path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
    found: list[tuple[str, Path]] = []
    folders: list[Path] = []
    seen: set[str] = set()
    for folder, names, entries in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            raise UsageError(f"{folder}: a symbolic link shows the same folder twice: remove it")
        seen.add(real)
        names.sort()
        folders.append(Path(folder))
        found.extend(
            ((Path(folder) / entry).relative_to(path).as_posix(), Path(folder) / entry)
            for entry in entries
        )
    return sorted(found), sorted(folders)


def load(path: Path, params: Mapping[str, Any]) -> Loaded:
    import tensorflow as tf
    import tf_keras  # noqa: F401  registers the optimizers that Keras-2 SavedModels hold
    from tensorflow.python.saved_model import loader_impl

    wanted = params.get("signatures") or ["serving_default"]
    tags = list(params.get("tags", ["serve"]))
    try:
        proto = loader_impl.parse_saved_model(str(path))
    except Exception as error:
        raise TaskError(f"not a readable SavedModel: {one_line(error)}") from error
    graphs = [sorted(graph.meta_info_def.tags) for graph in proto.meta_graphs]
    if sorted(tags) not in graphs:
        raise TaskError(
            f"no graph with tags {tags}; the SavedModel has {graphs}: set source.tags",
            key="source.tags",
        )
    try:
        root = tf.saved_model.load(str(path), tags=tags)
    except Exception as error:
        raise TaskError(f"TensorFlow cannot load the SavedModel: {one_line(error)}") from error
    known = [key for key in root.signatures if not key.startswith("__")]
    for key in wanted:
        if key not in root.signatures:
            raise no_signature(key, known)

    def save(traced: Mapping[str, Any], folder: Path) -> None:
        module = tf.Module()
        module.root = root
        tf.saved_model.save(module, str(folder), signatures=dict(traced))

    signatures = tuple(_signature(key, root.signatures[key]) for key in wanted)
    return Loaded("tf.saved_model", signatures, save, keep_alive=root)


def _signature(key: str, loaded: Any) -> Signature:
    specs = loaded.structured_input_signature[1]

    def function(tensors: Tensors) -> Tensors:
        return dict(loaded(**tensors))

    inputs = tuple(
        TensorSpec(
            name,
            tuple(specs[name].shape.as_list()) if specs[name].shape.rank is not None else None,
            specs[name].dtype.name,
        )
        for name in sorted(specs)
    )
    return Signature(key, inputs, tuple(sorted(loaded.structured_outputs)), function)
