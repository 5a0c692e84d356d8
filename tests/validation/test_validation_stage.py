"""The stage in a build: what it says itself, before any gate, and what the gate says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s
from tflite_models import OP, Maker
from workspace_folder import WorkspaceFolder

from tflbuild import cli
from tflbuild.errors import TaskError
from tflbuild.interface import told_with

MANIFEST = """
version: 1
models:
  m:
    source: {format: tflite, path: m.tflite}
    data: {test: {npz: test.npz, labels: labels}}
    optimizations: {same: {}}
    targets: [litert]
    validate: {%s}
"""
SCORE = "def score(outputs, labels):\n    return {'mean': float(outputs['class'].mean())}\n"


def network(output: str) -> bytes:
    maker = Maker()
    graph = maker.graph()
    x, y = graph.tensor("x", (1, 4)), graph.tensor("y", (1, 4))
    graph.op(OP.ADD, [x, x], [y], s.AddOptionsT())
    graph.io([x], [y])
    maker.signature("serve", {"x": x}, {output: y})
    return maker.pack()


def build(workspace: WorkspaceFolder, validate: str) -> Any:
    workspace.write(MANIFEST % validate)
    return workspace.build(keep_going=True)


def test_a_renamed_output_that_something_names(workspace: WorkspaceFolder) -> None:
    """It fails before the gate of the interface could tell."""
    x = np.eye(4, dtype=np.float32)
    root: Path = workspace.root
    np.savez(root / "test.npz", x=x, labels=np.arange(4))
    np.savez(root / "golden.npz", **{"x": x, "class": x + x})
    (root / "score.py").write_text(SCORE)
    (root / "m.tflite").write_bytes(network("class"))
    assert build(workspace, "").exit_code == 0
    assert cli.run(["-C", str(root), "lock", "--update", "-q"]) == 0
    (root / "m.tflite").write_bytes(network("digit"))
    for named, said in (
        ("golden: {first: {npz: golden.npz, exact: true}}", "no input or output is called 'class'"),
        ("metrics: {accuracy: {output: class}}", "accuracy: no output 'class'"),
        ("metrics: {python: {function: 'score.py:score'}}", "KeyError: 'class'"),
    ):
        result = build(workspace, named)
        (reason,) = (t.reason for t in result.tasks if t.task == "validate:m:same")
        assert said in reason
        assert reason.endswith(
            "; against the last release: output 'class' is now called 'digit'"
        ), reason


def test_top_k_of_all_values_is_no_limit(workspace: WorkspaceFolder) -> None:
    x = np.eye(4, dtype=np.float32)
    workspace.write(files={"m.tflite": network("y"), "test.npz": {"x": x, "labels": np.arange(4)}})
    for k, said in ((3, []), (4, ["top_k cannot be measured: no output has more than 4 values"])):
        result = build(workspace, f"parity: {{top_k: {{k: {k}, min: 1}}}}")
        assert result.ok is not bool(said)
        failures = result.verdicts["validate:m:same"].failures
        assert [f.check for f in failures] == ["parity.limits"] * len(said)
        assert all(text in f.message for f, text in zip(failures, said, strict=True))


def one(name: str, scale: float) -> Any:
    output = {"name": name, "shape": [1], "dtype": "int8", "scale": [scale], "zero_point": [0]}
    return {"signatures": [{"name": "s", "main": True, "inputs": [], "outputs": [output]}]}


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ([], "wrong"),
        ([one("y", 1.0)], "wrong"),
        ([one("y", 0.5)], "wrong"),  # each training changes it
        (
            [one("z", 1.0), one("z", 0.5)],
            "wrong; against the last release: output 'z' is now called 'y'",
        ),
    ],
)
def test_what_is_said_of_the_last_release(last: list[Any], said: str) -> None:
    with pytest.raises(TaskError) as caught, told_with(last, one("y", 1.0)):
        raise TaskError("wrong", key="a.b")
    assert str(caught.value) == said
    assert caught.value.key == "a.b"
