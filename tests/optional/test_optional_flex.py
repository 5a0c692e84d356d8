"""Select TF ops run by their own kernels: with TensorFlow 2.18 as validator, and as flex_library.

It cannot be installed beside the TensorFlow that converts: `.ci/optional flex` makes an environment
for it, and names its interpreter in TFLBUILD_TF218.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from foreign_models import NETWORK, compile_library
from workspace_folder import WorkspaceFolder

PYTHON = os.environ.get("TFLBUILD_TF218", "")
pytestmark = [
    pytest.mark.convert,
    pytest.mark.skipif(not PYTHON, reason="needs TensorFlow 2.18: .ci/optional flex"),
]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples/custom_op"

MANIFEST = """
version: 1
targets:
  python: {{runtime: select-tf-ops, validator: {python}}}
  library: {{runtime: select-tf-ops, flex_library: {flex}}}
  wrong: {{runtime: select-tf-ops, flex_library: {framework}}}
  own_python: {{runtime: custom-ops, select_ops: true, validator: {python}, {own}}}
  own_library: {{runtime: custom-ops, select_ops: true, flex_library: {flex}, {own}}}
defaults:
  data: {{calibration: {{npz: x.npz}}, test: {{npz: x.npz}}}}
models:
  det:
    source: {{format: concrete_function, python: "net:det"}}
    optimizations:
      python: {{targets: [python]}}
      python_dynamic: {{targets: [python], quantize: dynamic_range}}
      python_half: {{targets: [python], quantize: float16}}
      library: {{targets: [library]}}
      library_dynamic: {{targets: [library], quantize: dynamic_range}}
      library_half: {{targets: [library], quantize: float16}}
      wrong: {{targets: [wrong]}}
  mixed:
    source: {{format: concrete_function, python: "mixed:network"}}
    data: {{test: {{npz: null, random: {{seed: 0, samples: 20, low: -1, high: 1}}}}}}
    optimizations:
      python: {{targets: [own_python]}}
      library: {{targets: [own_library]}}
"""
MIXED = """
import tensorflow as tf
from network import Network, soft_clip


class Mixed(Network):
    @tf.function(input_signature=[tf.TensorSpec([1, 16], tf.float32, name="x")])
    def __call__(self, x):
        y = soft_clip(x @ self.first) @ self.second
        return {"y": y, "det": tf.linalg.det(tf.reshape(y[:, :9], [1, 3, 3]))}


def network():
    return Mixed()
"""


def test_validated_by_tensorflow_2_18(workspace: WorkspaceFolder) -> None:
    packages = Path(PYTHON).parent.parent.glob("lib/python3*/site-packages")
    flex = next(packages) / "tensorflow/libtensorflow_cc.so.2"
    own = "ops: {SoftClip: {register: Register_SOFT_CLIP}}, library: libsoft_clip.so"
    x = np.random.default_rng(1).normal(0, 1, (20, 9)).astype(np.float32)
    framework = flex.with_name("libtensorflow_framework.so.2")
    manifest = MANIFEST.format(python=PYTHON, flex=flex, framework=framework, own=own)
    files = {name: EXAMPLE / name for name in ("network.py", "soft_clip.cc", "tflite_kernel.h")}
    workspace.write(manifest, {"net.py": NETWORK, "mixed.py": MIXED, "x.npz": {"x": x}, **files})
    compile_library(workspace.root / "soft_clip.cc", workspace.root / "libsoft_clip.so")
    result = workspace.build(keep_going=True)
    failed = {t.task: t.reason or "" for t in result.tasks if t.outcome == "failed"}
    assert {task.partition(":")[2] for task in failed} == {"det:wrong+select", "det:wrong@wrong"}
    assert all("holds no Flex delegate" in reason for reason in failed.values())
    assert len(result.released) == 8

    def measured(pair: str) -> dict[str, object]:
        found: dict[str, object] = workspace.report(f"{pair}/validate.json")["measured"]
        return found

    for kind, least in (("", 100), ("_dynamic", 18), ("_half", 40)):
        for way, runner in (("python", "TensorFlow 2.18"), ("library", "LiteRT, flex_library")):
            report = measured(f"det/{way}{kind}+select")
            assert str(report["runner"]).startswith(runner)
            assert {p["output"] for p in report["parity"]} == {"plain", "det"}
            assert all(p["sqnr"] is None or p["sqnr"] > least for p in report["parity"])
    for way in ("python", "library"):
        report = measured(f"mixed/{way}+custom_select")
        assert str(report["runner"]).endswith(", library")
        assert all(p["sqnr"] is None or p["sqnr"] > 100 for p in report["parity"])
