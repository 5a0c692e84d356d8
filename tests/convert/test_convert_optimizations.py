"""You got what you asked for: each optimization and `io` type, looked up in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspace_folder import WorkspaceFolder

from tflbuild.api import BuildResult
from tflbuild.engine.zygote import ZygotePool
from tflbuild.tflite.checks import quantization_effect
from tflbuild.tflite.read import TfliteModel, read_model

pytestmark = pytest.mark.convert

MANIFEST = """
version: 1
models:
  digits:
    source: {format: keras, path: models/digits.keras}
    data:
      calibration: {npz: models/calibration.npz, samples: 60}
      test: {npz: models/test.npz, labels: labels, samples: 400}
    optimizations:
      none: {}
      dynamic: {quantize: dynamic_range}
      half: {quantize: float16}
      int8: {quantize: int8}
      int8_int8: {quantize: int8, io: int8}
      int8_uint8: {quantize: int8, io: uint8}
    validate: {metrics: {accuracy: {min: 0.9, max_drop: 0.02}}}
"""
Built = tuple[WorkspaceFolder, BuildResult]


@pytest.fixture(scope="module")
def digits(models: Path, pool: ZygotePool, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = WorkspaceFolder(tmp_path_factory.mktemp("digits"), pool)
    folder.write(MANIFEST, {"models": models})
    return folder, folder.build(keep_going=True)


def file_of(digits: Built, optimization: str) -> TfliteModel:
    return read_model(digits[0].dist()[f"litert/digits-{optimization}.tflite"])


def test_all_pass_their_gates(digits: Built) -> None:
    assert digits[1].ok
    assert len(digits[1].released) == 6


@pytest.mark.parametrize(
    ("optimization", "io", "weights", "activations"),
    [
        ("none", "float32", "float32", "float32"),
        ("dynamic", "float32", "int8", "float32"),
        ("half", "float32", "float16", "float32"),
        ("int8", "float32", "int8", "int8"),
        ("int8_int8", "int8", "int8", "int8"),
        ("int8_uint8", "uint8", "int8", "int8"),
    ],
)
def test_the_file_is_what_was_asked_for(
    digits: Built, optimization: str, io: str, weights: str, activations: str
) -> None:
    model = file_of(digits, optimization)
    main = model.subgraphs[0]
    assert {main.tensors[i].dtype for i in main.inputs + main.outputs} == {io}
    effect = quantization_effect(model, "")
    biggest = max(effect["weights"], key=lambda t: effect["weights"][t]["elements"])
    assert biggest == weights
    assert list(effect["compute_ops"]) == [activations]


def test_files_keep_their_outputs(digits: Built) -> None:
    for optimization, decibels in (("none", 100), ("half", 40), ("dynamic", 24), ("int8", 20)):
        measured = digits[0].report(f"digits/{optimization}/validate.json")["measured"]
        (numbers,) = measured["parity"]
        assert numbers["sqnr"] > decibels
        (accuracy,) = measured["metrics"]
        assert accuracy["samples"] == 400
        assert min(accuracy["source"], accuracy["file"]) > 0.9
        assert measured["warnings"] == []


def test_calibration_changes_the_file_and_io_does_not_change_the_inside(digits: Built) -> None:
    """The input's scale comes from the calibration data, which reach from 0 to 1."""
    main = file_of(digits, "int8_int8").subgraphs[0]
    found = main.tensors[main.inputs[0]].quantization
    assert found is not None
    assert found.scale[0] == pytest.approx(1 / 255, rel=1e-3)
    assert found.zero_point == (-128,)
    unsigned = file_of(digits, "int8_uint8").subgraphs[0]
    other = unsigned.tensors[unsigned.inputs[0]].quantization
    assert other is not None
    assert (other.scale, other.zero_point) == (found.scale, (0,))


def test_dynamic_range_that_does_nothing_is_an_error(
    workspace: WorkspaceFolder, models: Path
) -> None:
    text = """
version: 1
models:
  small:
    source: {format: saved_model, path: small}
    optimizations: {dynamic: {quantize: dynamic_range}}
"""
    workspace.write(text, {"small": models / "small"})
    result = workspace.build()
    assert result.exit_code == 1
    (failed,) = [task for task in result.tasks if task.outcome == "failed"]
    assert failed.task == "convert:small:dynamic"
    assert "fewer than 1,024 elements (the largest 12)" in failed.reason
    assert workspace.dist() == {}


def test_test_data_beyond_the_calibration_is_told(workspace: WorkspaceFolder, models: Path) -> None:
    text = """
version: 1
models:
  small:
    source: {format: saved_model, path: small}
    data:
      calibration: {random: {samples: 20}}
      test: {random: {samples: 20, low: -1}}
    optimizations: {int8: {quantize: int8}, int8_io: {quantize: int8, io: int8}}
"""
    workspace.write(text, {"small": models / "small"})
    workspace.build()
    for optimization in ("int8", "int8_io"):
        measured = workspace.report(f"small/{optimization}/validate.json")["measured"]
        assert 0.4 < measured["signatures"][0]["saturated"]["x"] < 0.6
        assert (
            "outside the range that the file's quantized input can hold" in measured["warnings"][0]
        )


def test_calibration_on_the_saved_model_road(workspace: WorkspaceFolder, models: Path) -> None:
    """A fused LSTM quantizes whole; its calibration data go in by our own keys."""
    text = """
version: 1
models:
  lstm:
    source: {format: saved_model, path: lstm}
    inputs: {steps: {shape: [1, 7, 3]}}
    data: {calibration: {random: {samples: 20, low: -1}}}
    optimizations: {int8: {quantize: int8, io: int8}}
"""
    workspace.write(text, {"lstm": models / "lstm"})
    assert workspace.build().ok
    model = read_model(workspace.dist()["litert/lstm-int8.tflite"])
    fused = [op for op in model.subgraphs[0].ops if op.name == "UNIDIRECTIONAL_SEQUENCE_LSTM"]
    assert len(fused) == 1
    assert model.subgraphs[0].tensors[fused[0].outputs[0]].dtype == "int8"
    (numbers,) = workspace.report("lstm/int8/validate.json")["measured"]["parity"]
    assert numbers["sqnr"] > 15
