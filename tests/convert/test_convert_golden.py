"""A golden test from its recording to a failed release, on the digits example."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from workspace_folder import WorkspaceFolder

from tflbuild import schemas

pytestmark = pytest.mark.convert

DIGITS = Path(__file__).resolve().parents[2] / "examples/digits"
MANIFEST = """
version: 1
models:
  digits:
    source: {format: keras, path: digits.keras}
    inputs: {image: {shape: [1, 8, 8, 1], dtype: float32}}
    data: {calibration: {npz: calibration.npz}}
    optimizations:
      float32: {}
      int8: {quantize: int8, io: int8}
    validate:
      golden:
        values: {npz: values.npz, max_abs_error: {float32: 1.0e-5, int8: %s}}
        steps: {npz: steps.npz, optimizations: [int8]}
"""


def outputs(file: bytes, images: np.ndarray) -> np.ndarray:
    """Written apart from tflbuild: tensors by index, one image at a time, as they are."""
    interpreter = Interpreter(model_content=file)
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for image in images:
        interpreter.set_tensor(into["index"], image[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(out["index"]).copy())
    return np.concatenate(rows)


def test_recorded_on_one_build_and_held_on_the_next(workspace: WorkspaceFolder) -> None:
    names = {"digits.keras": "models/digits.keras", "calibration.npz": "data/calibration.npz"}
    workspace.write(
        MANIFEST[: MANIFEST.index("    validate:")],
        {name: DIGITS / path for name, path in names.items()},
    )
    assert workspace.build().ok
    # Record: real values of the float file, and the quantized file's own steps.
    with np.load(DIGITS / "data/test.npz") as data:
        images = data["image"][:5]
    steps = np.random.default_rng(0).integers(-128, 128, (5, 8, 8, 1), np.int8)
    dist = workspace.dist()
    real = outputs(dist["litert/digits-float32.tflite"], images)
    own = outputs(dist["litert/digits-int8.tflite"], steps)
    (name,) = {e["output"] for e in workspace.report("digits/int8/validate.json")[
        "measured"]["parity"]}  # fmt: skip
    recorded = {
        "values.npz": {"image": images, f"outputs/{name}": real},
        "steps.npz": {"image": steps, name: own},
    }
    workspace.write(MANIFEST % 0.2, recorded)
    result = workspace.build()
    assert result.ok
    ran = [task for task in result.ran() if not task.startswith("release")]
    assert ran == ["validate:digits:float32", "validate:digits:int8"]
    measured = workspace.report("digits/int8/validate.json")["measured"]["golden"]
    schema = json.loads(schemas.text("validate"))["properties"]["measured"]["properties"]
    known = schema["golden"]["items"]["properties"]
    assert all({*entry} <= {*known} for entry in measured)
    found = {e["name"]: (e["unit"], e["samples"], e["equal"]) for e in measured}
    assert found["steps"] == ("steps", 5, True)
    assert found["values"][:2] == ("real", 5)
    # A tolerance is in no key.
    workspace.write(MANIFEST % 1e-6)
    result = workspace.build(keep_going=True)
    assert result.ran() == []
    (failure,) = result.gates["validate:digits:int8"].failures
    assert (failure.check, failure.of) == ("golden.max_abs_error", f"values/{name}")
    # One step more than was recorded stops the release, and says by how much.
    own[2, 3] = own[2, 3] + 1 if own[2, 3] < 127 else 126
    workspace.write(MANIFEST % 0.2, {"steps.npz": {"image": steps, name: own}})
    result = workspace.build(keep_going=True)
    assert [t for t in result.ran() if not t.startswith("release")] == ["validate:digits:int8"]
    (failure,) = result.gates["validate:digits:int8"].failures
    assert failure.message.startswith(
        f"output {name!r} of golden 'steps' differs from what was recorded by up to 1 step"
    )


def test_an_output_that_is_not_there_has_its_place(workspace: WorkspaceFolder) -> None:
    workspace.write(
        MANIFEST[: MANIFEST.index("    data:")]
        + "    optimizations: {float32: {}}\n"
        + "    validate: {parity: {outputs: {scroes: {max_abs_error: 1}}}}\n",
        {"digits.keras": DIGITS / "models/digits.keras"},
    )
    result = workspace.build(keep_going=True)
    (failure,) = result.gates["validate:digits:float32"].failures
    assert "tflbuild.yaml:8:35: no output 'scroes'; " in failure.message
