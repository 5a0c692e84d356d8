"""A source that a command trains, and one that is fetched: converted, validated, released."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_folder import Server
from workspace_folder import WorkspaceFolder

pytestmark = pytest.mark.convert

TRAIN = """
import sys
import keras
import numpy as np

keras.utils.set_random_seed(0)
x = np.load("data/x.npy")
net = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, name="y")])
net.compile(optimizer="sgd", loss="mse")
net.fit(x, x[:, :3], epochs=1, verbose=0)
net.save("net.keras")
net.export("saved", verbose=False)
"""
MANIFEST = """
version: 1
project: {{name: made}}
defaults:
  inputs: {{x: {{shape: [1, 4]}}}}
  data: {{calibration: {{npy: data/x.npy}}}}
  optimizations: {{float32: {{}}, int8: {{quantize: int8}}}}
models:
  trained:
    source:
      format: keras
      path: net.keras
      generate:
        command: python train.py
        inputs: [train.py, data/*.npy]
        outputs: [net.keras, saved]
  exported:
    extends: trained
    source: {{format: saved_model, path: saved}}
  fetched:
    source: {{format: saved_model, path: export/net, fetch: "{url}", sha256: {sha}}}
"""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.end()


def test_generated_and_fetched_models_are_released(
    workspace: WorkspaceFolder, server: Server, tmp_path: Path
) -> None:
    import numpy as np

    x = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    workspace.write(MANIFEST.format(url=server.url("net.tar.gz"), sha="ab" * 32),
                    {"train.py": TRAIN, "data/x.npy": x})  # fmt: skip
    first = workspace.build("trained", "exported")
    assert first.ok, [t.reason for t in first.tasks if t.reason]
    # One training for both, though they load different outputs of it.
    outcomes = [first.outcome(f"generate:{name}") for name in ("trained", "exported")]
    assert sorted(outcomes) == ["ran", "restored"]
    released = ["exported:float32@litert", "exported:int8@litert", "trained:float32@litert",
                "trained:int8@litert"]  # fmt: skip
    assert sorted(first.released) == released

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(workspace.root / "build/generated/exported/saved", "export/net")
    content = stream.getvalue()
    url = server.put("net.tar.gz", content)
    workspace.write(MANIFEST.format(url=url, sha=hashlib.sha256(content).hexdigest()))
    second = workspace.build()
    assert second.ok, [t.reason for t in second.tasks if t.reason]
    # It is the same model, so that its conversions are there already.
    assert [task for task in second.ran() if "release" not in task] == [
        "fetch:fetched", "lower:fetched", "reference:fetched",
    ]  # fmt: skip
    dist = workspace.dist()
    for optimization in ("float32", "int8"):
        assert (
            dist[f"litert/fetched-{optimization}.tflite"]
            == dist[f"litert/exported-{optimization}.tflite"]
        )
    assert workspace.report("fetched/evaluate.json")["lowering"]["loader"] == "tf.saved_model"
    assert workspace.build().ran() == []
    assert workspace.build().done.reached_graph == 0

    file = dist["litert/fetched-float32.tflite"]  # a format that is read without TensorFlow
    server.put("net.tflite", file)
    text = (workspace.root / "tflbuild.yaml").read_text()
    workspace.write(
        text + "  file:\n    optimizations: {int8: null}\n    source: {format: tflite, fetch: "
        f"'{server.url('net.tflite')}', sha256: {hashlib.sha256(file).hexdigest()}}}\n"
    )
    third = workspace.build()
    assert third.ok, [t.reason for t in third.tasks if t.reason]
    new = ["fetched:float32@litert", "fetched:int8@litert", "file:float32@litert"]
    assert sorted(third.released) == sorted([*released, *new])

    shutil.rmtree(workspace.root / "build")
    shutil.rmtree(workspace.root / "dist")
    assert [task for task in workspace.build().ran() if "release" not in task] == []
