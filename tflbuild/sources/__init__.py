"""Source formats: one module each, registered in one literal table."""

from __future__ import annotations

from tflbuild.sources import (
    concrete_function,
    frozen_graph,
    jax,
    keras,
    onnx,
    pytorch,
    saved_model,
    tflite,
)
from tflbuild.sources.base import Format

FORMATS: dict[str, Format] = {
    saved_model.NAME: saved_model,
    keras.NAME: keras,
    concrete_function.NAME: concrete_function,
    jax.NAME: jax,
    frozen_graph.NAME: frozen_graph,
    tflite.NAME: tflite,
    pytorch.NAME: pytorch,
    onnx.NAME: onnx,
}
