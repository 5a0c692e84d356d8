"""`quantizer: ai-edge`: the float file quantized without TensorFlow, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quant_models
from quant_models import Built, file_of
from workspace_folder import WorkspaceFolder

from tflbuild.engine.zygote import ZygotePool
from tflbuild.errors import TaskError
from tflbuild.optimizations import ai_edge
from tflbuild.stages import quantize
from tflbuild.tflite.effect import float_operators
from tflbuild.tflite.read import TfliteModel, buffer_alignment_problems
from tflbuild.tflite.weights import weights_of

convert = pytest.mark.convert

MANIFEST = """
version: 1
models:
  plain:
    source: {format: saved_model, path: plain}
    data: {calibration: {npz: image.npz}, test: {npz: image.npz}}
    validate: {parity: {sqnr: 3}}
    optimizations:
      w8: {quantizer: ai-edge, quantize: weight_only}
      w4: {quantizer: ai-edge, quantize: weight_only, weights: int4, algorithm: octav}
      d8: {quantizer: ai-edge, quantize: dynamic_range, granularity: tensorwise}
      d4: {quantizer: ai-edge, quantize: dynamic_range, weights: int4, algorithm: mse}
      d4_32: {quantizer: ai-edge, quantize: dynamic_range, weights: int4, granularity: blockwise_32}
      d4_gptq: {quantizer: ai-edge, quantize: dynamic_range, weights: int4, algorithm: gptq}
      half: {quantizer: ai-edge, quantize: float16}
      int8: {quantizer: ai-edge, quantize: int8, io: int8, float_ops: forbid}
      int8_float: {quantizer: ai-edge, quantize: int8}
      int8_mse: {quantizer: ai-edge, quantize: int8, io: int8, algorithm: mse, float_ops: forbid}
      int8_int4: {quantizer: ai-edge, quantize: int8, weights: int4}
      int16: {quantizer: ai-edge, quantize: int16x8, io: int16}
      keep: {quantizer: ai-edge, quantize: int8, io: int8, keep_float: [first]}
      mixed:
        quantizer: ai-edge
        recipe:
          - {quantize: int8}
          - {op: FULLY_CONNECTED, quantize: weight_only, weights: int4}
      written: {quantizer: ai-edge, recipe: recipe.json}
      tensorflow: {quantize: int8, io: int8}
      # refused
      keep_nothing: {quantizer: ai-edge, quantize: weight_only, keep_float: [RESHAPE]}
      keep_nobody: {quantizer: ai-edge, quantize: weight_only, keep_float: [fist]}
      useless: {quantizer: ai-edge, recipe: [{quantize: int8}, {op: SOFTMAX, quantize: int8}]}
      covered: {quantizer: ai-edge, recipe: [{op: CONV_2D}, {quantize: dynamic_range}]}
      foreign: {quantizer: ai-edge, recipe: foreign.json}
      damaged: {quantizer: ai-edge, recipe: damaged.json}
      odd: {quantizer: ai-edge, recipe: odd.json}
      odder: {quantizer: ai-edge, recipe: odder.json}
      typo: {quantizer: ai-edge, io: int8, recipe: typo.json}
      nobody: {quantizer: ai-edge, recipe: nobody.json}
      nobody_rule: {quantizer: ai-edge, recipe: [{quantize: int8, regex: nobody}]}
      keep_all: {quantizer: ai-edge, quantize: int8, keep_float: ["*"]}
      broken:
        quantizer: ai-edge
        recipe: [{quantize: int8}, {op: FULLY_CONNECTED, quantize: int8, algorithm: gptq}]
      ends: {quantizer: ai-edge, recipe: all.json}
  trig:
    source: {format: saved_model, path: trig}
    data: {calibration: {npz: image.npz}, test: {npz: image.npz}}
    optimizations:
      forbid: {quantizer: ai-edge, quantize: int8, float_ops: forbid}
      allow: {quantizer: ai-edge, quantize: int8, float_ops: allow}
  trained:
    source: {format: saved_model, path: trained}
    optimizations: {w8: {quantizer: ai-edge, quantize: weight_only}}
  two:
    source: {format: saved_model, path: two, signatures: {prefill: {}, decode: {}}}
    data:
      signatures:
        prefill: {calibration: {npz: prefill.npz}, test: {npz: prefill.npz}}
        decode: {calibration: {npz: decode.npz}, test: {npz: decode.npz}}
    optimizations:
      int8: {quantizer: ai-edge, quantize: int8, io: int8}
      # refused
      keep: {quantizer: ai-edge, quantize: int8, keep_float: ["*decode*"]}
      divided:
        {quantizer: ai-edge, quantize: dynamic_range, weights: int4, granularity: blockwise_128}
  half:
    source: {format: saved_model, path: two, signatures: {prefill: {}, decode: {}}}
    data: {signatures: {decode: {calibration: {npz: decode.npz}}}}
    optimizations: {written: {quantizer: ai-edge, recipe: all.json}}
  uncalibrated:
    source: {format: saved_model, path: plain}
    optimizations: {written: {quantizer: ai-edge, recipe: static.json}}
"""
WEIGHTS = {"num_bits": 8, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"}
DYNAMIC = {"weight_tensor_config": WEIGHTS, "compute_precision": "INTEGER",
           "explicit_dequantize": False}  # fmt: skip
ENTRY: dict[str, Any] = {"regex": ".*", "operation": "FULLY_CONNECTED",
         "algorithm_key": "min_max_uniform_quantize", "op_config": DYNAMIC}  # fmt: skip
ACTIVATIONS = {"num_bits": 8, "symmetric": False, "granularity": "TENSORWISE", "dtype": "INT"}
STATIC = {**ENTRY, "op_config": {**DYNAMIC, "activation_tensor_config": ACTIVATIONS}}
ALL = {**STATIC, "operation": "*"}

REFUSED = {
    "plain:typo": "entry 1 (no_quantize of FULLY_CONNECTED 'typo') has no effect on this model",
    "plain:nobody": "recipe: nothing would be quantized",
    "plain:nobody_rule": "recipe: nothing would be quantized",
    "plain:keep_all": "keep_float leaves nothing to quantize",
    "plain:broken": "ai-edge-quantizer made a file that is not valid (subgraph 0, tensor 1 has",
    "plain:ends": "is int8, io asks for float32; write io: int8, or keep INPUT float",
    "two:keep": "keep_float leaves nothing to quantize in signature 'decode'",
    "half:written": "that needs data.signatures.prefill.calibration, such as {npz: FILE}",
    "plain:keep_nothing": "keep_float: 'RESHAPE' has no effect: what it names stays float anyway",
    "plain:keep_nobody": "no operator, layer or tensor is called 'fist'; the nearest are 'first'",
    "plain:useless": "rule 2 ({'op': 'SOFTMAX', 'quantize': 'int8'}) has no effect on this model",
    "plain:covered": "rule 1 ({'op': 'CONV_2D'}) has no effect on this model",
    "plain:foreign": "knows no operator 'FULLY_CONECTED'; did you mean 'FULLY_CONNECTED'?",
    "two:divided": "long, no multiple of the block, 128: write keep_float: [",
    "plain:damaged": "the recipe is not JSON",
    "plain:odd": "ai-edge-quantizer refuses the recipe: ",
    "plain:odder": "Unsupported algorithm key: NONE_SUCH",
    "trig:forbid": "2 operators stay float: ",
    "trained:w8": "write quantizer: tensorflow and quantize: qat",
    "uncalibrated:written": "that needs data.calibration",
}


@pytest.fixture(scope="module")
def built(pool: ZygotePool, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = WorkspaceFolder(tmp_path_factory.mktemp("ai_edge"), pool)
    quant_models.make(folder.root)
    image = np.random.default_rng(0).normal(size=(40, 8, 8, 1)).astype("float32")
    row = np.random.default_rng(1).normal(size=(40, 64)).astype("float32")
    files = {
        "image.npz": {"x": image},
        "prefill.npz": {"x": row},
        "decode.npz": {"z": row * 3},
        "recipe.json": json.dumps([ENTRY]),
        "static.json": json.dumps([STATIC]),
        "all.json": json.dumps([ALL]),
        "typo.json": json.dumps([ALL, {**ENTRY, "regex": "typo", "algorithm_key": "no_quantize"}]),
        "nobody.json": json.dumps([{**ALL, "regex": "nobody"}]),
        "damaged.json": "[{",
        "foreign.json": json.dumps([{**ENTRY, "operation": "FULLY_CONECTED"}]),
        "odd.json": json.dumps([{**ENTRY, "op_config": [1]}]),
        "odder.json": json.dumps([{**ENTRY, "algorithm_key": "NONE_SUCH"}]),
    }
    folder.write(MANIFEST, files)
    return folder, folder.build(keep_going=True)


def types(model: TfliteModel) -> dict[str, str]:
    """Weight types by operator, and the type of inputs and outputs."""
    main = model.subgraphs[0]
    (io,) = {main.tensors[i].dtype for i in main.inputs + main.outputs}
    return {**{w.op: w.tensor.dtype for w in weights_of(model)}, "io": io}


@convert
@pytest.mark.parametrize(
    ("name", "conv", "dense", "io"),
    [
        ("w8", "int8", "int8", "float32"),
        ("w4", "int4", "int4", "float32"),
        ("d8", "int8", "int8", "float32"),
        ("d4", "int4", "int4", "float32"),
        ("d4_32", "float32", "int4", "float32"),
        ("half", "float16", "float16", "float32"),
        ("int8", "int8", "int8", "int8"),
        ("int8_float", "int8", "int8", "float32"),
        ("int8_mse", "int8", "int8", "int8"),
        ("int8_int4", "int4", "int4", "float32"),
        ("int16", "int8", "int8", "int16"),
        ("mixed", "int8", "int4", "float32"),
        ("written", "float32", "int8", "float32"),
    ],
)
def test_the_file_is_what_was_asked_for(
    built: Built, name: str, conv: str, dense: str, io: str
) -> None:
    model = file_of(built, f"plain-{name}")
    assert types(model) == {"CONV_2D": conv, "FULLY_CONNECTED": dense, "io": io}
    data = built[0].dist()[f"litert/plain-{name}.tflite"]
    assert buffer_alignment_problems(data) == []
    (signature,) = model.signatures
    assert signature.key == "serving_default"
    assert [name for name, _ in signature.inputs + signature.outputs] == ["x", "y"]


@convert
def test_granularity(built: Built) -> None:
    scales = {
        name: [
            len(w.tensor.quantization.scale)
            for w in weights_of(file_of(built, f"plain-{name}"))
            if w.tensor.quantization
        ]
        for name in ("w8", "d8", "d4_32")
    }
    assert scales == {"w8": [16, 64], "d8": [1, 1], "d4_32": [0]}  # blocks: in another tensor


@convert
def test_kept_operators_stay_float(built: Built) -> None:
    folder, _ = built
    model = file_of(built, "plain-keep")
    assert [op.name for _, op in float_operators(model)] == ["CONV_2D"]
    assert types(model) == {"CONV_2D": "float32", "FULLY_CONNECTED": "int8", "io": "int8"}
    told = folder.report("plain/keep/validate.json")["conversion"]["quantization"]
    assert [weight["why"] for weight in told["float_weights"]] == ["keep_float"]


@convert
def test_each_signature_has_its_own_ranges(built: Built) -> None:
    """Calibrated by signature."""
    model = file_of(built, "two-int8")
    scales = {}
    for signature in model.signatures:
        ((_, index),) = signature.inputs
        found = model.subgraphs[signature.subgraph].tensors[index].quantization
        assert found is not None
        scales[signature.key] = found.scale[0]
    assert scales["decode"] == pytest.approx(3 * scales["prefill"], rel=1e-3)
    told = built[0].report("two/int8/validate.json")["conversion"]["quantization"]["signatures"]
    assert {entry["signature"]: entry["operators"] for entry in told} == {
        "prefill": 1.0, "decode": 1.0,
    }  # fmt: skip


@convert
def test_ranges_are_those_of_tensorflow(built: Built) -> None:
    """The package's own moving average would cut off what is rare."""
    folder, _ = built
    parity = {
        name: folder.report(f"plain/{name}/validate.json")["measured"]["parity"][0]["sqnr"]
        for name in ("int8", "tensorflow")
    }
    assert abs(parity["int8"] - parity["tensorflow"]) < 1
    ends = []
    for name in ("int8", "tensorflow"):
        model = file_of(built, f"plain-{name}")
        main = model.subgraphs[0]
        found = main.tensors[main.inputs[0]].quantization
        assert found is not None
        ends.append(found.scale[0])
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)


@convert
@pytest.mark.parametrize("name", REFUSED)
def test_one_line_says_why_not(built: Built, name: str) -> None:
    folder, result = built
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    assert REFUSED[name] in reasons[f"convert:{name}"]
    assert "\n" not in reasons[f"convert:{name}"]
    assert not any(file.startswith(f"litert/{name.replace(':', '-')}") for file in folder.dist())


@convert
def test_the_same_bytes_again_and_nothing_to_do(built: Built) -> None:
    folder, _ = built
    before = folder.dist()
    again = folder.build("plain:d4", "plain:int8", force=True)
    assert {t.outcome for t in again.tasks if t.task == "convert:plain:int8"} == {"ran"}
    assert folder.dist() == before
    assert not [t for t in folder.build("plain:d4", "plain:int8").tasks if t.outcome == "ran"]


@convert
def test_no_tensorflow_for_another_recipe(built: Built, tmp_path: Path) -> None:
    """Once the float file is there, the worker without TensorFlow is the only one."""
    folder, _ = built
    own = ZygotePool(tmp_path / "pool")
    try:
        manifest = MANIFEST.replace("algorithm: mse", "algorithm: octav")
        alone = WorkspaceFolder(folder.root, own)
        alone.write(manifest)
        result = alone.build("plain:d4")
        assert result.outcome("convert:plain:d4") == "ran"
        assert set(own.zygotes) == {"lite"}
    finally:
        own.close()
        folder.write(MANIFEST)


def test_the_names_of_operators_are_those_of_the_package() -> None:
    from ai_edge_quantizer.qtyping import TFLOperationName

    assert {name.value for name in TFLOperationName} == ai_edge.OPERATORS


def test_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_quantizer", None)
    with pytest.raises(TaskError, match=r"pip install 'tflbuild\[ai-edge\]'") as caught:
        quantize.load_package()
    assert caught.value.key == "optimization.quantizer"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{}", "not a list"),
        (b"[]", "not a list"),
        (b"[3]", "entry 0 is not a mapping"),
        (b'[{"regex": "."}]', "entry 0 has no algorithm_key, operation"),
        (b'[{"regex": 3, "operation": "*", "algorithm_key": "no_quantize"}]', "not text"),
        (b'[{"regex": "(", "operation": "*", "algorithm_key": "no_quantize"}]', "regex '('"),
        (b'[{"regex": ".", "operation": "*", "algorithm_key": "MSE"}]', "has no op_config"),
        (b'[{"regex": ".", "operation": "ADDD", "algorithm_key": "no_quantize"}]', "mean 'ADD'?"),
    ],
)
def test_recipes_that_are_none(content: bytes, says: str) -> None:
    with pytest.raises(TaskError) as caught:
        quantize.read_recipe(content)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
