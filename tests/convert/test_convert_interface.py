"""The last release of real files: a renamed output, a retrained scale, a signature more."""

from __future__ import annotations

import numpy as np
import pytest
from workspace_folder import WorkspaceFolder

from tflbuild import cli
from tflbuild.api import BuildResult
from tflbuild.interface import differences, of_model
from tflbuild.lockfile import LOCK, read
from tflbuild.tflite.read import read_model

pytestmark = pytest.mark.convert

NET = """
import numpy as np, tensorflow as tf

def net():
    w = tf.Variable(np.random.default_rng(0).normal(size=(4, 3)).astype("float32"))
    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32, name="x")])
    def call(x):
        return {"probabilities": tf.nn.softmax(x @ w), "logits": x @ w}
    return call
"""
MANIFEST = """
version: 1
models:
  m:
    source: {format: concrete_function, python: "net:net"}
    data: {calibration: {npy: x.npy}}
    optimizations: {float32: {}, int8: {quantize: int8, io: int8}}
"""


def said(result: BuildResult, level: str = "fail") -> dict[str, list[str]]:
    return {
        task: [f.message for f in verdict.findings if (f.check, f.level) == ("interface", level)]
        for task, verdict in sorted(result.gates.items())
    }


def test_what_applications_bind_to_is_held(workspace: WorkspaceFolder) -> None:
    x = np.random.default_rng(0).normal(size=(50, 1, 4)).astype("float32")
    workspace.write(MANIFEST, {"net.py": NET, "x.npy": x})
    assert workspace.build().ok
    root = str(workspace.root)
    assert cli.run(["-C", root, "lock", "--update", "-q"]) == 0
    first = read(workspace.root)
    for artifact, locked in first.items():
        file = workspace.dist()[f"litert/{artifact.split('@')[0].replace(':', '-')}.tflite"]
        assert locked.interface == of_model(read_model(file))
        assert locked.min_runtime
    assert set(first["m:int8@litert"].parity) == {"logits", "probabilities"}
    outputs = first["m:int8@litert"].interface["signatures"][0]["outputs"]
    assert [(t["name"], t["dtype"]) for t in outputs] == [
        ("logits", "int8"), ("probabilities", "int8"),
    ]  # fmt: skip
    before = workspace.dist()

    # An output renamed in the source is stopped.
    workspace.write(files={"net.py": NET.replace('"logits"', '"scores"')})
    renamed = workspace.build(keep_going=True)
    assert renamed.exit_code == 1
    for task in ("validate:m:float32", "validate:m:int8"):
        messages = said(renamed)[task]
        assert any("output 'logits' is now called 'scores'" in text for text in messages)
        assert any("outputs 'logits', 'probabilities' now come as" in text for text in messages)
    assert workspace.dist() == before

    # The same source on other calibration data: the scales alone.
    workspace.write(files={"net.py": NET, "x.npy": x * 1.5})
    retrained = workspace.build(keep_going=True)
    assert retrained.exit_code == 1
    assert not said(retrained).get("validate:m:float32")
    messages = said(retrained)["validate:m:int8"]
    assert len(messages) == 2  # softmax's scale is what it is
    assert all("hard-codes" in text for text in messages)
    allowed = MANIFEST + "    allow_interface_change: [quantization]\n"
    workspace.write(allowed)
    released = workspace.build()
    assert released.ok
    assert released.ran() == ["release:m:int8@litert"]
    assert len(said(released, "warn")["validate:m:int8"]) == 2
    assert cli.run(["-C", root, "lock", "--update", "-q"]) == 0
    second = read(workspace.root)
    assert [
        change.what
        for change in differences(
            first["m:int8@litert"].interface, second["m:int8@litert"].interface
        )
    ] == ["quantization", "quantization"]
    assert first["m:float32@litert"].sha256 == second["m:float32@litert"].sha256
    workspace.write(MANIFEST)
    assert workspace.build().ok
    assert workspace.build().done.reached_graph == 0


def test_the_same_sources_give_the_same_lock(workspace: WorkspaceFolder) -> None:
    x = np.random.default_rng(0).normal(size=(50, 1, 4)).astype("float32")
    workspace.write(MANIFEST, {"net.py": NET, "x.npy": x})
    texts = []
    for _ in range(2):
        assert workspace.build(force=True).ok
        assert cli.run(["-C", str(workspace.root), "lock", "--update", "-q"]) == 0
        texts.append((workspace.root / LOCK).read_bytes())
    assert texts[0] == texts[1]
