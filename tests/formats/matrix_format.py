"""A format of the tests: an .npz with a matrix `w` and a vector `b`, which is y = x @ w + b.

All that a format needs. Imported, it registers itself; `test_formats_adding.py` counts its lines.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tflbuild.errors import TaskError
from tflbuild.manifest import schema
from tflbuild.sources import FORMATS
from tflbuild.sources.base import GRAPH, Loaded, Signature, Tensors, TensorSpec

NAME = "matrix"
MODULES: tuple[str, ...] = ()
KEYS: tuple[str, ...] = ("path",)
EXAMPLE = "FILE.npz"
FOLDER = False
LOWERED = GRAPH
RUNS_ALONE = False


def problem(path: str, shown: str) -> str:
    return "" if os.path.isfile(path) else f"expected a .npz file, got {shown}"


def files(path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
    return [("matrix.npz", path)], []


def load(path: Path, params: Mapping[str, Any]) -> Loaded:
    import numpy as np
    import tensorflow as tf

    try:
        arrays = np.load(path)
        w, b = arrays["w"], arrays["b"]
    except (OSError, ValueError, KeyError) as error:
        raise TaskError(f"it is no .npz with the arrays w and b: {error}") from error

    def function(tensors: Tensors) -> Tensors:
        return {"y": tf.matmul(tensors["x"], tf.constant(w)) + b}

    def save(traced: Mapping[str, Any], folder: Path) -> None:
        tf.saved_model.save(tf.Module(), str(folder), signatures=dict(traced))

    inputs = (TensorSpec("x", (None, len(w)), "float32"),)
    return Loaded("numpy", (Signature("serving_default", inputs, ("y",), function),), save)


FORMATS[NAME] = __import__("sys").modules[__name__]
model = schema.load_schema()["properties"]["models"]["additionalProperties"]["properties"]
model["source"]["properties"]["format"]["enum"].append(NAME)
