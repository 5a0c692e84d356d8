"""`keep_float` by the names that layers have in Keras 3, which tracing numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from workspace_folder import WorkspaceFolder

pytestmark = pytest.mark.convert

NETS = """
import keras, tensorflow as tf

def make():
    model = keras.Sequential([
        keras.Input((8, 8, 1), batch_size=1, name="image"),
        keras.layers.Conv2D(8, 3, activation="relu", name="first"),
        keras.layers.Flatten(),
        keras.layers.Dense(4, name="scores"),
    ])
    spec = tf.TensorSpec([1, 8, 8, 1], tf.float32, name="image")
    return tf.function(lambda image: model(image), input_signature=[spec])
"""
MANIFEST = """
version: 1
defaults:
  data: {calibration: {npz: image.npz}}
  optimizations:
    first: {quantize: int8, io: int8, keep_float: [first]}
    scores: {quantize: int8, io: int8, keep_float: [scores]}
    input: {quantize: int8, keep_float: [image]}
    near: {quantize: int8, keep_float: [scoring]}
models:
  file:
    source: {format: keras, path: models/digits.keras}
    inputs: {image: {shape: [1, 8, 8, 1]}}
  code:
    source: {format: concrete_function, python: nets.py:make}
"""


def test_a_layer_is_found_by_its_own_name(workspace: WorkspaceFolder, models: Path) -> None:
    image = np.random.default_rng(0).normal(size=(20, 8, 8, 1)).astype("float32")
    files = {"models": models, "nets.py": NETS, "image.npz": {"image": image}}
    workspace.write(MANIFEST, files)
    result = workspace.build(keep_going=True)
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    assert set(reasons) == {f"convert:{m}:{o}" for m in ("file", "code") for o in ("input", "near")}
    for model in ("file", "code"):
        for layer, op in (("first", "CONV_2D"), ("scores", "FULLY_CONNECTED")):
            told = workspace.report(f"{model}/{layer}/validate.json")["conversion"]["quantization"]
            left = [(w["op"], w["why"]) for w in told["float_weights"]]
            assert left == [(op, "keep_float")], (model, layer)
        assert (
            "'image' is an input, and keep_float names operators"
            in reasons[f"convert:{model}:input"]
        )
        near = reasons[f"convert:{model}:near"].partition("the nearest are ")[2]
        assert near.startswith("'scores"), near
