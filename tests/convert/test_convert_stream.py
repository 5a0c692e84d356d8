"""The source on more samples than one chunk holds, by its own framework, and the float file beside
a quantized one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from workspace_folder import WorkspaceFolder

pytestmark = pytest.mark.convert

COUPLED = """
import tensorflow as tf

def alone():
    @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
    def f(x):
        return {"y": tf.nn.relu(x @ tf.constant(WEIGHTS, tf.float32))}
    return f

def coupled():
    @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
    def f(x):
        return {"y": x + tf.reduce_mean(x, axis=0, keepdims=True)}
    return f

WEIGHTS = [[((i * 7 + j * 3) % 11 - 5) / 5 for j in range(128)] for i in range(16)]
"""
MANIFEST = """
version: 1
defaults:
  inputs: {x: {shape: [1, 16], dtype: float32}}
  data: {test: {npz: test.npz}, calibration: {npz: test.npz, samples: 64}}
  optimizations: {float: {}, int8: {quantize: int8}}
  targets: [litert]
models:
  alone: {source: {format: concrete_function, python: net:alone}}
  coupled: {source: {format: concrete_function, python: net:coupled}}
"""
SAMPLES = 1200


def measured(workspace: WorkspaceFolder, model: str, optimization: str) -> Any:
    return workspace.report(f"{model}/{optimization}/validate.json")["measured"]


def test_more_samples_than_a_chunk_holds(workspace: WorkspaceFolder) -> None:
    x = np.random.default_rng(0).normal(0, 1, (SAMPLES, 16)).astype(np.float32)
    workspace.write(MANIFEST, {"net.py": COUPLED, "test.npz": {"x": x}})
    result = workspace.build(jobs=3)
    assert result.ok, [(t.task, t.reason) for t in result.tasks if t.reason]
    for model in ("alone", "coupled"):
        assert f"baseline:{model}" in result.ran()
        assert measured(workspace, model, "float")["signatures"][0]["samples"] == SAMPLES
        (float_file,) = measured(workspace, model, "float")["parity"]
        # A batch's mean is none of a sample's: the coupled source was run sample by sample.
        assert float_file["equal"] or float_file["sqnr"] > 120
        assert (float_file["float"], float_file["quantization"]) == (None, None)
        report = measured(workspace, model, "int8")
        (quantized,) = report["parity"]
        assert report["baseline"] == ""
        assert quantized["float"]["sqnr"] == float_file["sqnr"]
        assert quantized["quantization"]["sqnr"] == pytest.approx(quantized["sqnr"], abs=0.01)
        assert json.dumps(quantized, allow_nan=False)
    assert not (workspace.root / ".tflbuild/progress").exists()
