"""`keras`: a `.keras` file, or an `.h5` of Keras 3 or Keras 2.

Keras 3 reads most Keras-2 files; where it refuses, tf_keras (Keras 2) reads them, and the
report names the loader.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tflbuild import pyrun
from tflbuild.errors import TaskError, one_line
from tflbuild.sources.base import GRAPH, Loaded, Signature, Tensors, TensorSpec
from tflbuild.sources.size import LIMIT, refuse_large

NAME = "keras"
MODULES: tuple[str, ...] = ("keras", "tf_keras", "h5py")
KEYS: tuple[str, ...] = ("path",)
EXAMPLE = "FILE.keras"
FOLDER = False
LOWERED = GRAPH
RUNS_ALONE = False

# How Keras 3, both for .h5, and tf_keras tell of a class that they do not know.
_UNKNOWN = re.compile(
    r"(?:Could not locate class|Unknown (?:layer|object):|Cannot deserialize object of type)"
    r" ['`]([^'`]+)['`]"
)


def problem(path: str, shown: str) -> str:
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return f"{shown} is a SavedModel; it needs `format: saved_model`"
    if os.path.isdir(path) or not path.endswith((".keras", ".h5")):
        return f"expected a .keras or .h5 file, got {shown}"
    return ""


def files(path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
    # The suffix decides how the file is read; the rest of its name does not matter.
    return [("model" + path.suffix, path)], []


def load(path: Path, params: Mapping[str, Any]) -> Loaded:
    model, loader = _load_model(path, _custom_objects(params))
    return loaded_keras3(model) if loader == "keras" else loaded_keras2(model)


def _custom_objects(params: Mapping[str, Any]) -> dict[str, Any]:
    """What the user's function says the names in the file stand for. Raises TaskError."""
    if "custom_objects" not in params:
        return {}
    key = "custom_objects"
    given = pyrun.call(pyrun.function(params[key], key), key=key)
    good = isinstance(given, Mapping) and all(
        isinstance(name, str) and callable(value) for name, value in given.items()
    )
    if not good:
        raise TaskError(
            f"expected a mapping of names to classes or functions, got {type(given).__name__}",
            key=key,
        )
    return dict(given)


def _load_model(path: Path, custom: dict[str, Any]) -> tuple[Any, str]:
    import keras

    refuse_large(weights_size(path), "its weights take")
    writer = _written_by(path)
    try:
        return keras.models.load_model(path, compile=False, custom_objects=custom), "keras"
    except Exception as error:
        if writer and not writer.startswith("2."):
            raise TaskError(_why_not(error, f"Keras {keras.__version__}", writer)) from error
        import tf_keras

        try:
            return tf_keras.models.load_model(
                path, compile=False, custom_objects=custom
            ), "tf_keras"
        except Exception as other:  # the log shows both
            if not writer:
                raise TaskError(
                    f"it is not a {path.suffix} file that Keras wrote, or it is damaged",
                    key="source.path",
                ) from other
            here = f"tf_keras {tf_keras.__version__}"
            raise TaskError(_why_not(other, here, writer)) from other


def _written_by(path: Path) -> str:
    """The version of Keras that wrote a file; empty where it does not say."""
    import h5py

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json"))["keras_version"])
        with h5py.File(path, "r") as file:
            version = file.attrs["keras_version"]
            return version.decode() if isinstance(version, bytes) else str(version)
    except Exception:  # not a file of Keras; zip, zlib and HDF5 have many words for it
        return ""


def weights_size(path: Path) -> int:
    """Bytes of the model's own weights, from the file's headers; 0 where they cannot be read."""
    import h5py

    try:
        if not zipfile.is_zipfile(path):
            with h5py.File(path, "r") as file:
                return _stored(file.get("model_weights", file))
        with zipfile.ZipFile(path) as archive:
            size = max((e.file_size for e in archive.infolist() if e.filename.endswith(".h5")),
                       default=0)  # fmt: skip
            if size <= LIMIT:
                return size
            try:
                with archive.open("model.weights.h5") as stream, h5py.File(stream, "r") as file:
                    return _stored(file)
            except Exception:  # not what Keras writes: then all of it counts
                return size
    except Exception:  # Keras says what is wrong when it loads the file
        return 0


def _stored(group: Any) -> int:
    """Bytes of all arrays below a group of HDF5, but an optimizer's."""
    sizes: list[int] = []

    def add(name: str, item: Any) -> None:
        if hasattr(item, "nbytes") and not name.startswith("optimizer"):
            sizes.append(int(item.nbytes))

    group.visititems(add)
    return sum(sizes)


def _why_not(error: Exception, here: str, writer: str) -> str:
    """What is essential of pages that Keras writes, and the remedy."""
    text = str(error)
    export = "export the model as a SavedModel (format: saved_model)"
    if "deserialization of a `Lambda` layer" in text:  # it recommends to allow what is unsafe
        return f"it has a Lambda layer of Python code, which is not run from a file: {export}"
    custom = _UNKNOWN.search(text)
    if custom:
        return (
            f"{here} knows no {custom[1]!r} (the file is of Keras {writer}): write"
            " `custom_objects: module:function`, a function of yours that returns"
            f" {{{custom[1].split('>')[-1]!r}: the class}}, or export the model as a SavedModel"
        )
    essential = text.rpartition("Exception encountered:")[2].partition("Full object config")[0]
    return f"{here} cannot load it (the file is of Keras {writer}): {one_line(essential, 250)}"


def loaded_keras3(model: Any) -> Loaded:
    import keras

    if not getattr(model, "inputs", None):
        raise TaskError(
            "the Keras model has no declared inputs: give it an Input layer (or build it on"
            " a batch of data) before saving, or export it as a SavedModel"
        )
    names = unique([tensor.name.split(":")[0] for tensor in model.inputs])
    if isinstance(model, keras.Sequential):  # it has no `input` and `output` of its own
        taken, given, output_names = model.inputs[0], model.outputs[0], [model.layers[-1].name]
    else:
        taken, given, output_names = model.input, model.output, model.output_names
    outputs = _output_names(given, output_names, len(model.outputs))

    def function(tensors: Tensors) -> Tensors:
        flat = [tensors[name] for name in names]
        structure = keras.tree.pack_sequence_as(taken, flat)
        result = keras.tree.flatten(model(structure, training=False))
        return dict(zip(outputs, result, strict=True))

    def save(traced: Mapping[str, Any], folder: Path) -> None:
        # tf.saved_model.save of a Keras 3 model gives variables that nobody assigns;
        # ExportArchive tracks them.
        archive = keras.export.ExportArchive()
        archive.track(model)
        for key, endpoint in traced.items():
            archive.add_endpoint(key, endpoint)
        archive.write_out(str(folder), verbose=False)

    inputs = tuple(
        TensorSpec(name, tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype))
        for name, tensor in zip(names, model.inputs, strict=True)
    )
    signature = Signature("serving_default", inputs, outputs, function)
    return Loaded("keras", (signature,), save, keep_alive=model)


def loaded_keras2(model: Any) -> Loaded:
    import tensorflow as tf

    if not getattr(model, "inputs", None):
        raise TaskError("the Keras 2 model has no declared inputs: export it as a SavedModel")
    names = unique([name.split(":")[0] for name in model.input_names])
    outputs = _output_names(
        model.output, getattr(model, "output_names", None) or [], len(model.outputs)
    )

    def function(tensors: Tensors) -> Tensors:
        flat = [tensors[name] for name in names]
        structure = tf.nest.pack_sequence_as(model.input, flat)
        result = tf.nest.flatten(model(structure, training=False))
        return dict(zip(outputs, result, strict=True))

    def save(traced: Mapping[str, Any], folder: Path) -> None:
        module = tf.Module()
        module.model = model
        tf.saved_model.save(module, str(folder), signatures=dict(traced))

    inputs = tuple(
        TensorSpec(name, tuple(tensor.shape.as_list()), tensor.dtype.name)
        for name, tensor in zip(names, model.inputs, strict=True)
    )
    signature = Signature("serving_default", inputs, outputs, function)
    return Loaded("tf_keras", (signature,), save, keep_alive=model)


def _output_names(structure: Any, layers: Sequence[str], count: int) -> tuple[str, ...]:
    """A name for each output, in the order in which the framework flattens them."""
    if isinstance(structure, dict) and len(structure) == count:
        return tuple(sorted(structure))  # the order in which both frameworks flatten a dict
    if len(layers) == count:
        return tuple(unique(layers))
    return tuple(f"output_{index}" for index in range(count))


def unique(names: Sequence[str]) -> list[str]:
    """The names, those that are taken with a number."""
    result: list[str] = []
    for name in names:
        count, free = 0, name
        while free in result or (count and free in names):
            count += 1
            free = f"{name}_{count}"
        result.append(free)
    return result
