"""The example of the root manifest: its numbers are true, and its gate stops broken models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from workspace_folder import WorkspaceFolder

from tflbuild.api import BuildResult

pytestmark = pytest.mark.convert

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = ("digits-h5", "digits-keras", "digits-saved-model")
OPTIMIZATIONS = ("float32", "dynamic", "half", "int8", "int16")
ON_MICRO = ("float32", "int8")
H5 = "examples/digits/models/digits.h5"
CALIBRATION = "examples/digits/data/calibration.npz"
TEST = "examples/digits/data/test.npz"


@pytest.fixture
def digits(workspace: WorkspaceFolder) -> WorkspaceFolder:
    """The root manifest and what it reads, in a folder of its own."""
    names = ["examples/digits/models", CALIBRATION, TEST]
    workspace.write(files={name: REPOSITORY / name for name in names})
    text = (REPOSITORY / "tflbuild.yaml").read_text()
    workspace.write("".join(line for line in text.splitlines(True) if "include:" not in line))
    return workspace


def accuracy(file: Path, test: Path) -> tuple[float, Interpreter]:
    """Written apart from tflbuild: tensors by index, no signature, one image at a time."""
    with np.load(test) as data:
        images, labels = data["image"], data["labels"]
    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = into["quantization"]
    right = 0
    for image, label in zip(images, labels, strict=True):
        value = image[np.newaxis]
        if into["dtype"] is np.int8:
            value = np.clip(np.rint(value / np.float32(scale)) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(into["index"], value)
        interpreter.invoke()
        right += int(interpreter.get_tensor(out["index"]).argmax() == label)
    return right / len(labels), interpreter


def gate_failures(result: BuildResult, task: str) -> dict[str, str]:
    return {finding.check: finding.message for finding in result.gates[task].failures}


def summary(workspace: WorkspaceFolder, artifact: str) -> Any:
    return workspace.report("summary.json")["artifacts"][artifact]


def test_root_manifest_releases_three_formats_with_true_numbers(digits: WorkspaceFolder) -> None:
    result = digits.build()

    assert result.exit_code == 0
    assert sorted(result.released) == sorted(
        [f"{model}:{optimization}@litert" for model in MODELS for optimization in OPTIMIZATIONS]
        + [f"{model}:{optimization}@sensor" for model in MODELS for optimization in ON_MICRO]
    )
    for model in MODELS:
        for optimization in OPTIMIZATIONS:
            file = result.released[f"{model}:{optimization}@litert"].path
            report = digits.report(f"{model}/{optimization}/validate.json")["measured"]
            own, interpreter = accuracy(file, digits.root / TEST)
            assert report["metrics"][0]["file"] == own
            assert report["signatures"][0]["samples"] == 450
            assert own >= 0.97
            assert list(interpreter.get_signature_list()) == ["serving_default"]
            assert interpreter.get_signature_list()["serving_default"]["inputs"] == ["image"]
            wanted = np.int8 if optimization == "int8" else np.float32
            assert interpreter.get_input_details()[0]["dtype"] is wanted
            assert interpreter.get_output_details()[0]["dtype"] is wanted

    sizes = {name: file.size for name, file in result.released.items()}
    for model in MODELS:  # every optimization has an effect
        full = sizes[f"{model}:float32@litert"]
        assert sizes[f"{model}:half@litert"] < 0.7 * full
        assert sizes[f"{model}:dynamic@litert"] < 0.5 * full
        assert sizes[f"{model}:int8@litert"] < 0.5 * full

    again = digits.build()
    assert (again.exit_code, again.ran(), again.done.reached_graph) == (0, [], 0)


def test_what_a_microcontroller_gets(digits: WorkspaceFolder) -> None:
    """An arena within its budget, C arrays, and the resolver of the union."""
    assert digits.build("digits-h5", "digits-keras").exit_code == 0
    names = {"SHA256SUMS", "index.json", "runtime"}
    names |= {
        f"{model}-{optimization}.{suffix}"
        for model in ("digits-h5", "digits-keras")
        for optimization in ON_MICRO
        for suffix in ("tflite", "h", "cc")
    }
    folder = digits.root / "dist/sensor"
    assert {path.name for path in folder.iterdir()} == names
    report = digits.report("digits-h5/int8@sensor/compat.json")
    (arena,) = [m for m in report["gate"]["margins"] if m["name"] == "arena"]
    assert arena["value"] == report["measured"]["micro"]["run"]["smallest_arena_bytes"]
    assert 0 < arena["value"] < arena["limit"] == 16 * 1024
    resolver = (folder / "runtime/micro_op_resolver.h").read_text()
    ops = {op for model in ("digits-h5", "digits-keras") for optimization in ON_MICRO
           for op in digits.report(f"{model}/{optimization}@sensor/compat.json")
           ["measured"]["ops"]["builtin"]}  # fmt: skip
    assert f"MicroMutableOpResolver<{len(ops)}>" in resolver
    assert resolver.count("resolver.Add") == len(ops)


@pytest.mark.parametrize("damage", ["shuffled", "zeroed"])
def test_broken_model_is_stopped_by_the_accuracy_gate(damage: str, digits: WorkspaceFolder) -> None:
    assert digits.build("digits-h5:float32").exit_code == 0
    before = digits.dist()
    with h5py.File(digits.root / H5, "r+") as model:
        kernel = model["model_weights/shapes"]
        while isinstance(kernel, h5py.Group) and "kernel" not in kernel:
            kernel = kernel[next(iter(kernel))]
        weights = kernel["kernel"][()]
        assert weights.shape == (3, 3, 16, 32)
        shuffled = np.random.default_rng(0).permuted(weights.reshape(-1)).reshape(weights.shape)
        kernel["kernel"][...] = shuffled if damage == "shuffled" else 0

    result = digits.build("digits-h5:float32")

    # The source itself is broken, so that parity has nothing to say: only the labels know.
    assert result.exit_code == 1
    failures = gate_failures(result, "validate:digits-h5:float32")
    assert list(failures) == ["metrics.accuracy.min"]
    assert "below min 0.97" in failures["metrics.accuracy.min"]
    assert digits.dist() == before
    assert result.done.stale == ("digits-h5:float32@litert", "digits-h5:float32@sensor")

    again = digits.build("digits-h5:float32")  # the same failure, without work
    assert (again.exit_code, again.ran()) == (1, [])
    assert gate_failures(again, "validate:digits-h5:float32") == failures


@pytest.mark.parametrize("keep_going", [False, True])
def test_summary_calls_the_kept_file_stale_and_says_why(
    keep_going: bool, digits: WorkspaceFolder
) -> None:
    digits.build("digits-h5:float32")
    manifest = (digits.root / "tflbuild.yaml").read_text()
    digits.write(manifest.replace("min: 0.97", "min: 0.999"))

    assert digits.build("digits-h5:float32", keep_going=keep_going).exit_code == 1

    entry = summary(digits, "digits-h5:float32@litert")
    assert entry["status"] == "stale"
    assert "below min 0.999" in entry["findings"][0]
    assert entry["sha256"] is not None


@pytest.mark.parametrize("factor", [255.0, 1 / 255])
def test_int8_calibrated_on_another_scale_is_stopped(
    factor: float, digits: WorkspaceFolder
) -> None:
    with np.load(digits.root / CALIBRATION) as data:
        image = (data["image"] * factor).astype(np.float32)
    digits.write(files={CALIBRATION: {"image": image}})

    result = digits.build("digits-h5:int8", "digits-h5:half", keep_going=True)

    assert result.exit_code == 1
    failures = gate_failures(result, "validate:digits-h5:int8")
    assert {"metrics.accuracy.min", "metrics.accuracy.max_drop"} <= set(failures)
    assert "parity.sqnr" in failures
    assert sorted(result.released) == ["digits-h5:half@litert"]  # what calibration cannot harm
    assert summary(digits, "digits-h5:int8@litert")["status"] == "not released"
