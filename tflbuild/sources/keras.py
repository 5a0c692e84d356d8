"""`keras`: a `.keras` file, or an `.h5` of Keras 3 or Keras 2.

Keras 3 reads most Keras-2 files; where it refuses, tf_keras (Keras 2) reads them, and the
report names the loader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tflbuild.errors import TaskError
from tflbuild.sources.base import Loaded, Tensors, TensorSpec

NAME = "keras"
MODULES: tuple[str, ...] = ("keras", "tf_keras", "h5py")


def files(path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
    # The suffix decides how the file is read; the rest of its name does not matter.
    return [("model" + path.suffix, path)], []


def load(path: Path, params: Mapping[str, Any]) -> Loaded:
    model, loader = _load_model(path)
    return _loaded_keras3(model) if loader == "keras" else _loaded_keras2(model)


def _load_model(path: Path) -> tuple[Any, str]:
    import keras

    try:
        return keras.models.load_model(path, compile=False), "keras"
    except Exception as error:
        first = _line(error)
    if path.suffix == ".keras":
        raise TaskError(f"Keras cannot load it: {first}")
    import tf_keras

    try:
        return tf_keras.models.load_model(path, compile=False), "tf_keras"
    except Exception as error:
        raise TaskError(
            f"neither Keras 3 ({first}) nor tf_keras ({_line(error)}) can load it"
        ) from error


def _loaded_keras3(model: Any) -> Loaded:
    import keras

    if not getattr(model, "inputs", None):
        raise TaskError(
            "the Keras model has no declared inputs: give it an Input layer (or build it on"
            " a batch of data) before saving, or export it as a SavedModel"
        )
    names = _unique([tensor.name.split(":")[0] for tensor in model.inputs])

    def function(tensors: Tensors) -> Tensors:
        flat = [tensors[name] for name in names]
        structure = keras.tree.pack_sequence_as(model.input, flat)
        result = keras.tree.flatten(model(structure, training=False))
        return dict(zip(outputs, result, strict=True))

    def save(traced: Any, signature: str, folder: Path) -> None:
        # tf.saved_model.save of a Keras 3 model gives variables that nobody assigns;
        # ExportArchive tracks them.
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(signature, traced)
        archive.write_out(str(folder), verbose=False)

    outputs = _output_names(model, keras.tree.flatten(model.output))
    return Loaded(
        loader="keras",
        signature="serving_default",
        inputs=tuple(
            TensorSpec(name, tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype))
            for name, tensor in zip(names, model.inputs, strict=True)
        ),
        outputs=outputs,
        function=function,
        save=save,
        keep_alive=model,
    )


def _loaded_keras2(model: Any) -> Loaded:
    import tensorflow as tf

    if not getattr(model, "inputs", None):
        raise TaskError("the Keras 2 model has no declared inputs: export it as a SavedModel")
    names = _unique([name.split(":")[0] for name in model.input_names])
    outputs = _output_names(model, tf.nest.flatten(model.output))

    def function(tensors: Tensors) -> Tensors:
        flat = [tensors[name] for name in names]
        structure = tf.nest.pack_sequence_as(model.input, flat)
        result = tf.nest.flatten(model(structure, training=False))
        return dict(zip(outputs, result, strict=True))

    def save(traced: Any, signature: str, folder: Path) -> None:
        module = tf.Module()
        module.model = model
        tf.saved_model.save(module, str(folder), signatures={signature: traced})

    return Loaded(
        loader="tf_keras",
        signature="serving_default",
        inputs=tuple(
            TensorSpec(name, tuple(tensor.shape.as_list()), tensor.dtype.name)
            for name, tensor in zip(names, model.inputs, strict=True)
        ),
        outputs=outputs,
        function=function,
        save=save,
        keep_alive=model,
    )


def _output_names(model: Any, flat: Sequence[Any]) -> tuple[str, ...]:
    structure = model.output
    if isinstance(structure, dict):
        return tuple(sorted(structure))  # the order in which both frameworks flatten a dict
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != len(flat):
        names = [f"output_{index}" for index in range(len(flat))]
    return tuple(_unique(names))


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        count = seen[name] = seen.get(name, -1) + 1
        result.append(f"{name}_{count}" if count else name)
    return result


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
