"""Every further key of an optimization does what it says, looked up in the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quant_models
from quant_models import Built, file_of
from workspace_folder import WorkspaceFolder

from tflbuild.engine.zygote import ZygotePool
from tflbuild.tflite import effect, names
from tflbuild.tflite.read import Op, Subgraph, TfliteModel, read_metadata, read_model
from tflbuild.tflite.weights import weights_of

pytestmark = pytest.mark.convert

MANIFEST = """
version: 1
models:
  plain:
    source: {format: saved_model, path: plain}
    data: &image {calibration: {npz: image.npz}, test: {npz: image.npz}}
    optimizations:
      int8: {quantize: int8}
      int16: {quantize: int16x8}
      int16_io: {quantize: int16x8, io: int16}
      bias32: {quantize: int16x8, converter: {experimental_full_integer_quantization_bias_type: int32}}
      uint8_in: {quantize: int8, io: uint8, io_output: float32}
      int8_out: {quantize: int8, io_output: int8}
      tensor: {quantize: int8, per_channel: false}
      dense: {quantize: int8, converter: {experimental_disable_per_channel_quantization_for_dense_layers: true}}
      old: {quantize: int8, converter: {experimental_new_quantizer: false}}
      debug: {converter: {serialize_debug_metadata: true}}
      half: {quantize: float16, converter: {experimental_supported_accumulation_type: float16}}
      by_type: {quantize: int8, io: int8, keep_float: [CONV_2D]}
      by_layer: {quantize: int8, io: int8, keep_float: [second]}
      by_glob: {quantize: int8, keep_float: ["*/MatMul*"], per_channel: false}
  trig:
    source: {format: saved_model, path: trig}
    data: *image
    optimizations:
      told: {quantize: int8}
      allowed: {quantize: int8, float_ops: allow}
      wide: {quantize: int16x8, float_ops: allow}
  pruned:
    source: {format: saved_model, path: pruned}
    data: {calibration: {npz: row.npz}, test: {npz: row.npz}}
    optimizations:
      float32: {sparsity: true}
      int8: {quantize: int8, sparsity: true}
      int8_dense: {quantize: int8}
  loose:
    source: {format: saved_model, path: loose}
    data: {calibration: {npz: row.npz}, test: {npz: row.npz}}
    optimizations: {float32: {sparsity: true}, int8: {quantize: int8, sparsity: true}}
  trained:
    source: {format: saved_model, path: trained}
    data: {test: {npz: row.npz}}
    optimizations:
      qat: {quantize: qat, float_ops: forbid}
      qat_int8: {quantize: qat, io: int8, io_output: float32}
  dead:
    source: {format: saved_model, path: dead}
    data: {calibration: {npz: row.npz}, test: {npz: row.npz}}
    optimizations: {int8: {quantize: int8}}
  lstm:
    source: {format: saved_model, path: lstm}
    inputs: {steps: {shape: [1, 7, 3]}}
    data: {calibration: {random: {samples: 20, low: -1}}, test: {random: {samples: 20, low: -1}}}
    optimizations: {keep: {quantize: int8, keep_float: [UNIDIRECTIONAL_SEQUENCE_LSTM]}}
"""  # noqa: E501


@pytest.fixture(scope="module")
def built(models: Path, pool: ZygotePool, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = WorkspaceFolder(tmp_path_factory.mktemp("settings"), pool)
    quant_models.make(folder.root)
    random = np.random.default_rng(0)
    image = random.normal(size=(40, 8, 8, 1)).astype("float32")
    row = random.normal(size=(40, 1024)).astype("float32")
    files = {"image.npz": {"x": image}, "row.npz": {"x": row}, "lstm": models / "lstm"}
    folder.write(MANIFEST, files)
    return folder, folder.build(keep_going=True)


def io_types(model: TfliteModel) -> tuple[str, str]:
    main = model.subgraphs[0]
    return main.tensors[main.inputs[0]].dtype, main.tensors[main.outputs[0]].dtype


def operator(model: TfliteModel, kind: str) -> tuple[Subgraph, Op]:
    (found,) = [(g, op) for g, op in names.operators(model) if op.name == kind]
    return found


def activation(model: TfliteModel, kind: str) -> str:
    graph, op = operator(model, kind)
    return graph.tensors[op.outputs[0]].dtype


@pytest.mark.parametrize(
    ("name", "types", "inside"),
    [
        ("int16", ("float32", "float32"), "int16"),
        ("int16_io", ("int16", "int16"), "int16"),
        ("bias32", ("float32", "float32"), "int16"),
        ("uint8_in", ("uint8", "float32"), "int8"),
        ("int8_out", ("float32", "int8"), "int8"),
    ],
)
def test_types(built: Built, name: str, types: tuple[str, str], inside: str) -> None:
    model = file_of(built, f"plain-{name}")
    assert io_types(model) == types
    assert activation(model, "CONV_2D") == activation(model, "FULLY_CONNECTED") == inside
    assert {w.tensor.dtype for w in weights_of(model)} == {"int8"}


def test_the_type_of_biases(built: Built) -> None:
    def bias(name: str) -> str:
        graph, op = operator(file_of(built, name), "CONV_2D")
        return graph.tensors[op.inputs[2]].dtype

    assert (bias("plain-int16"), bias("plain-bias32")) == ("int64", "int32")


def test_scales_by_channel(built: Built) -> None:
    def scales(name: str) -> dict[str, bool]:
        found = weights_of(file_of(built, f"plain-{name}"))
        return {w.op: len(w.tensor.quantization.scale) > 1 for w in found if w.tensor.quantization}

    assert scales("int8") == {"CONV_2D": True, "FULLY_CONNECTED": True}
    assert scales("tensor") == {"CONV_2D": False, "FULLY_CONNECTED": False}
    assert scales("dense") == {"CONV_2D": True, "FULLY_CONNECTED": False}
    assert scales("by_glob") == {"CONV_2D": False}


def test_settings_of_the_converter(built: Built) -> None:
    folder, _ = built
    file_of(built, "plain-old")
    names_of = {
        name: set(read_metadata(folder.dist()[f"litert/plain-{name}.tflite"]))
        for name in ("int8", "half", "debug")
    }
    assert "reduced_precision_support" in names_of["half"] - names_of["int8"]
    plain = folder.dist()["litert/plain-debug.tflite"]
    assert b"CONVERSION_METADATA" not in plain


@pytest.mark.parametrize(
    ("name", "kept", "other"),
    [
        ("by_type", "CONV_2D", "FULLY_CONNECTED"),
        ("by_layer", "FULLY_CONNECTED", "CONV_2D"),
        ("by_glob", "FULLY_CONNECTED", "CONV_2D"),
    ],
)
def test_keep_float(built: Built, name: str, kept: str, other: str) -> None:
    folder, _ = built
    model = file_of(built, f"plain-{name}")
    assert activation(model, other) == "int8"
    assert activation(model, kept) == "float32"
    assert io_types(model)[0] == ("float32" if name == "by_glob" else "int8")
    told = folder.report(f"plain/{name}/validate.json")["conversion"]["quantization"]
    (weight,) = told["float_weights"]
    assert (weight["op"], weight["why"]) == (kept, "keep_float")
    layer = ["RESHAPE", kept] if name == "by_layer" else [kept]
    assert [entry["op"] for entry in told["float_operators"]] == layer


def test_keep_float_by_way_of_a_saved_model(built: Built) -> None:
    model = file_of(built, "lstm-keep")
    assert activation(model, "UNIDIRECTIONAL_SEQUENCE_LSTM") == "float32"
    assert any(w.tensor.dtype == "int8" for w in weights_of(model))


def test_operators_that_stay_float_are_told(built: Built) -> None:
    folder, _ = built
    for name in ("told", "allowed", "wide"):
        model = file_of(built, f"trig-{name}")
        assert {op.name for _, op in effect.float_operators(model)} >= {"SIN", "FLOOR"}
        findings = folder.report(f"trig/{name}/validate.json")["gate"]["findings"]
        said = [f["message"] for f in findings if "stay float" in f["message"]]
        assert len(said) == (name == "told")
    assert (
        "SIN 'wave/Sin'"
        in folder.report("trig/told/validate.json")["gate"]["findings"][0]["message"]
    )


def test_pruned_weights_are_stored_sparse(built: Built) -> None:
    folder, _ = built
    for name in ("float32", "int8"):
        model = file_of(built, f"pruned-{name}")
        assert any(t.sparse for t in model.subgraphs[0].tensors)
    sizes = {n: len(folder.dist()[f"litert/pruned-{n}.tflite"]) for n in ("int8", "int8_dense")}
    assert sizes["int8"] * 3 < sizes["int8_dense"]


def test_zeros_without_a_pattern_are_refused_by_the_runtime_in_int8(built: Built) -> None:
    """The converter stores half-empty weights sparse all the same."""
    folder, result = built
    assert "litert/loose-int8.tflite" not in folder.dist()
    (failure,) = result.gates["compat:loose:int8@litert"].failures
    assert "refuses it" in failure.message
    assert len(folder.dist()["litert/loose-float32.tflite"]) < 262_144  # bytes of its weights


def test_trained_ranges(built: Built) -> None:
    folder, _ = built
    assert io_types(file_of(built, "trained-qat")) == ("float32", "float32")
    model = file_of(built, "trained-qat_int8")
    assert io_types(model) == ("int8", "float32")
    assert activation(model, "FULLY_CONNECTED") == "int8"
    assert folder.report("trained/qat/validate.json")["conversion"]["entry"] == "v2"


def test_a_dead_part_of_a_model_is_told(built: Built) -> None:
    folder, _ = built
    told = folder.report("dead/int8/validate.json")["conversion"]["warnings"]
    assert any("calibration saw one value in" in warning for warning in told)


TFMOT = """
import sys, tf_keras, numpy as np, tensorflow as tf
from tensorflow_model_optimization.quantization.keras import quantize_model
layers = tf_keras.layers
tf_keras.utils.set_random_seed(0)
model = quantize_model(tf_keras.Sequential([
    layers.Input((8, 8, 1), name="image"), layers.Conv2D(8, 3),
    layers.BatchNormalization(), layers.ReLU(), layers.Flatten(), layers.Dense(10)]))
model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
random = np.random.default_rng(0)
model.fit(random.normal(size=(128, 8, 8, 1)), random.integers(0, 10, 128), verbose=0)
tf.saved_model.save(model, sys.argv[1])
"""


def test_a_model_of_tensorflow_model_optimization(workspace: WorkspaceFolder) -> None:
    pytest.importorskip(
        "tensorflow_model_optimization",
        reason="tensorflow-model-optimization is not installed (its absl-py~=1.2 bars it from the"
        " test extra); FakeQuant graphs stand in for it",
        exc_type=ImportError,
    )
    environment: dict[str, Any] = {
        "PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "-1", "TF_USE_LEGACY_KERAS": "1",
        "HOME": str(workspace.root), "PYTHONPATH": ":".join(sys.path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", TFMOT, str(workspace.root / "qat")],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    text = (
        "version: 1\nmodels:\n  m:\n    source: {format: saved_model, path: qat}\n"
        "    optimizations: {q: {quantize: qat, io: int8, float_ops: forbid}}\n"
    )
    workspace.write(text)
    result = workspace.build()
    assert result.ok, [t.reason for t in result.tasks if t.reason]
    model = read_model(workspace.dist()["litert/m-q.tflite"])
    assert io_types(model) == ("int8", "int8")
    assert {w.tensor.dtype for w in weights_of(model)} == {"int8"}
