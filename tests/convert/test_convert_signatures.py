"""Several signatures in one file, and models that keep state from call to call."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from workspace_folder import WorkspaceFolder

import tflbuild
from tflbuild.errors import ManifestErrors
from tflbuild.tflite.read import read_model

pytestmark = pytest.mark.convert

SPEECH = """
version: 1
models:
  speech:
    source:
      format: saved_model
      path: speech
      signatures:
        encode: {inputs: {wave: {dtype: float32}, gain: {dtype: float32}, bias: {dtype: float32}},
                 outputs: [gained, code]}
        decode: {}
    data:
      calibration: {random: {samples: 30, low: -1}}
      signatures:
        encode: {calibration: {npz: encode.npz}, test: {npz: encode.npz}}
        decode: {calibration: {npz: decode.npz}, test: {npz: decode.npz, labels: labels}}
    optimizations: {float: {}, dynamic: {quantize: dynamic_range}, half: {quantize: float16},
                    int8: {quantize: int8, io: int8}, inner: {quantize: int8}}
    validate: {signatures: {decode: {metrics: {accuracy: {min: 0.95}}}}}
"""
ROW = (1, 48)


def weights(*shape: int, seed: int = 0) -> Any:
    """The weights of the models, as make_models.py has them."""
    scale = 1 / np.sqrt(np.prod(shape[:-1]))
    return np.random.default_rng(seed).normal(0, scale, shape).astype("float32")


def own_outputs(feed: dict[str, Any]) -> dict[str, Any]:
    """The two signatures, by hand."""
    shared, head = weights(48, 48), weights(48, 5, seed=1)
    code = np.maximum((feed["wave"] * feed["gain"] + feed["bias"]) @ shared, 0)
    scores = np.exp(np.maximum(feed["code"] @ shared, 0) @ head)
    return {
        "code": code,
        "gained": feed["wave"] * feed["gain"],
        "scores": scores / scores.sum(axis=1, keepdims=True),
    }


@pytest.fixture(scope="module")
def feed() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {
        name: rng.uniform(-1, 1, (40, 48)).astype("float32") * scale
        for name, scale in (("wave", 1), ("gain", 0.5), ("bias", 0.2), ("code", 2))
    }


@pytest.fixture
def speech(workspace: WorkspaceFolder, models: Path, feed: dict[str, Any]) -> WorkspaceFolder:
    labels = np.argmax(own_outputs(feed)["scores"], axis=1)
    encode = {name: feed[name] for name in ("bias", "gain", "wave")}
    decode = {"code": feed["code"], "labels": labels}
    workspace.write(
        SPEECH, {"speech": models / "speech", "encode.npz": encode, "decode.npz": decode}
    )
    return workspace


def run(data: bytes, key: str, feed: dict[str, Any]) -> dict[str, Any]:
    """A signature over all rows, real values in and out."""
    runner = Interpreter(model_content=data, num_threads=1).get_signature_runner(key)
    ins, outs = runner.get_input_details(), runner.get_output_details()
    rows: dict[str, list[Any]] = {name: [] for name in outs}
    for index in range(40):
        given = {}
        for name, detail in ins.items():
            value, (scale, zero) = feed[name][index : index + 1], detail["quantization"]
            if scale:
                value = np.clip(np.round(value / scale) + zero, -128, 127).astype("int8")
            given[name] = value
        for name, value in runner(**given).items():
            scale, zero = outs[name]["quantization"]
            rows[name].append((value.astype("float32") - zero) * scale if scale else value)
    return {name: np.concatenate(values) for name, values in rows.items()}


def sqnr(source: Any, other: Any) -> float:
    noise = float(((source - other) ** 2).sum())
    return 10 * float(np.log10((source**2).sum() / (noise or 1e-30)))


def test_two_signatures_in_one_file(speech: WorkspaceFolder, feed: dict[str, Any]) -> None:
    result = speech.build()
    assert result.ok, result
    truth = own_outputs(feed)
    least = {"float": 100, "dynamic": 25, "half": 45, "int8": 20, "inner": 20}
    sizes = {}
    for optimization, decibel in least.items():
        data = speech.dist()[f"litert/speech-{optimization}.tflite"]
        sizes[optimization] = len(data)
        model = read_model(data)
        assert [s.key for s in model.signatures] == ["encode", "decode"]
        encode = model.subgraphs[0]
        assert [encode.tensors[i].name for i in encode.inputs] == [
            "encode_wave:0", "encode_gain:0", "encode_bias:0",
        ]  # fmt: skip
        assert [encode.tensors[i].name for i in encode.outputs] == [
            "encode_gained:0", "encode_code:0",
        ]  # fmt: skip
        outputs = run(data, "encode", feed) | run(data, "decode", feed)
        assert min(sqnr(truth[name], outputs[name]) for name in truth) > decibel
        measured = speech.report(f"speech/{optimization}/validate.json")["measured"]
        assert [(p["signature"], p["output"]) for p in measured["parity"]] == [
            ("encode", "gained"), ("encode", "code"), ("decode", "scores"),
        ]  # fmt: skip
        (accuracy,) = measured["metrics"]
        own = np.argmax(outputs["scores"], 1) == np.argmax(truth["scores"], 1)
        assert (accuracy["signature"], accuracy["file"]) == ("decode", own.mean())
        if optimization in ("int8", "inner"):  # both subgraphs, and the shared weight is one
            for graph in model.subgraphs:
                assert "int8" in {graph.tensors[op.outputs[0]].dtype for op in graph.ops}
    assert sizes["float"] < 4 * (48 * 48 + 48 * 5) + 4000  # the shared weight is there once
    calibration = speech.report("speech/int8/validate.json")["conversion"]["calibration"]
    assert [(c["signature"], sorted(c["ranges"])) for c in calibration] == [
        ("encode", ["bias", "gain", "wave"]), ("decode", ["code"]),
    ]  # fmt: skip
    assert speech.build().ran() == []


def test_limits_of_one_signature_judge_that_one(speech: WorkspaceFolder) -> None:
    strict = "decode: {parity: {sqnr: 200}, metrics:"
    speech.write(SPEECH.replace("decode: {metrics:", strict))
    result = speech.build("speech:int8")
    (verdict,) = [v for task, v in result.gates.items() if task == "validate:speech:int8"]
    assert [f.message.partition(" is ")[0] for f in verdict.failures] == [
        "sqnr of output 'scores' of signature 'decode'"
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("decode: {}", "decod: {}", r"tflbuild.yaml:11:\d+: no signature 'decod'.*mean 'decode'"),
        ("wave: {dtype", "wav: {dtype", r"tflbuild.yaml:9:\d+: .*no input 'wav'"),
        ("[gained, code]", "[gained]", r"tflbuild.yaml:10:\d+: outputs: expected an order of"),
    ],
)
def test_wrong_signatures(speech: WorkspaceFolder, old: str, new: str, said: str) -> None:
    text = SPEECH.replace(old, new)
    if "decod:" in new:
        text = text.replace("decode: {cal", "decod: {cal").replace("decode: {met", "decod: {met")
    speech.write(text)
    reasons = {t.task: t.reason for t in speech.build(keep_going=True).tasks}
    assert re.search(said, reasons["lower:speech"]), reasons["lower:speech"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("      calibration: {random: {samples: 30, low: -1}}\n", "", None),
        ("decode: {calibration: {npz: decode.npz}, ", "decode: {", "data.signatures.decode.calibr"),
        ("        decode: {}\n", "", "no signature 'decode' ships"),
        ("      path: speech\n", "      path: speech\n      signature: encode\n", "not both"),
        ("    validate: {", "    inputs: {wave: {dtype: float32}}\n    validate: {", "no effect"),
        ("    validate: {", "    validate: {metrics: {accuracy: {min: 0.5}}, ", "no effect beside"),
    ],
)  # fmt: skip
def test_what_the_manifest_must_say_of_signatures(
    speech: WorkspaceFolder, old: str, new: str, said: str | None
) -> None:
    assert old in SPEECH
    text = SPEECH.replace(old, new)
    if said is not None and "calibr" in said:  # without the model's own to fall back to
        text = text.replace("      calibration: {random: {samples: 30, low: -1}}\n", "")
    speech.write(text)
    if said is None:
        assert tflbuild.load(speech.root).models[0].signatures[1].calibration is not None
        return
    with pytest.raises(ManifestErrors, match=said):
        tflbuild.load(speech.root)


def test_signatures_that_do_not_ship_say_nothing_of_those_that_do(
    workspace: WorkspaceFolder, models: Path
) -> None:
    """FakeQuant in one of a SavedModel's functions makes no other quantization-aware. Several
    signatures reach TensorFlow's converter as the SavedModel itself, and it looks at all of it:
    what it does not do then is told, not released."""
    text = "version: 1\ndefaults: {data: {test: {random: {samples: 6, low: -1}}}}\nmodels:\n"
    for name, signatures, quantize in (
        ("both", "signatures: {plain: {}, more: {}}", "none"),
        ("both-half", "signatures: {plain: {}, more: {}}", "float16"),
        ("plain", "signature: plain", "float16"),
        ("trained", "signature: trained", "qat"),
    ):
        text += (
            f"  {name}:\n    source: {{format: saved_model, path: half_trained, {signatures}}}\n"
        )
        text += f"    optimizations: {{it: {{quantize: {quantize}}}}}\n"
    workspace.write(text, {"half_trained": models / "half_trained"})
    result = workspace.build(keep_going=True)
    failed = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    assert list(failed) == ["convert:both-half:it"]
    assert "float16 quantized nothing in signature 'plain'" in failed["convert:both-half:it"]
    for name in ("both", "both-half", "plain"):
        told = workspace.report(f"{name}/evaluate.json")["measured"]
        assert told["quantization_aware"] is False


STATE = """
version: 1
models:
  smoother:
    source: {format: saved_model, path: smoother}
    data: {test: {npy: x.npy}}
    optimizations: {float: {}}
    validate: {sequence: {reset: %s}}
"""


def smoothed(x: Any, length: int) -> Any:
    """The model by hand: state begins anew every `length` calls."""
    w, rows = weights(32, 32), []
    kept: Any = np.zeros(32, "float32")
    for index, row in enumerate(x):
        if index % length == 0:
            kept = np.zeros(32, "float32")
        kept = 0.5 * kept + row
        rows.append(kept @ w)
    return np.stack(rows)


@pytest.mark.parametrize(("reset", "length"), [("never", 12), ("each", 1), ("each, length: 4", 4)])
def test_state_is_run_on_as_declared(
    reset: str, length: int, workspace: WorkspaceFolder, models: Path
) -> None:
    x = np.random.default_rng(0).normal(size=(12, 32)).astype("float32")
    workspace.write(STATE % reset, {"smoother": models / "smoother", "x.npy": x})
    assert workspace.build().ok
    (numbers,) = workspace.report("smoother/float/validate.json")["measured"]["parity"]
    assert numbers["sqnr"] is None or numbers["sqnr"] > 100
    own, stored = smoothed(x, length), outputs_of_the_source(workspace)
    assert any(o.shape == own.shape and np.allclose(o, own, atol=1e-4) for o in stored)


@pytest.mark.parametrize(
    ("reset", "length"), [("never", 12), ("each, length: 6", 6), ("each", 1)], ids=["n", "6", "1"]
)
def test_a_stateful_lstm(reset: str, length: int, workspace: WorkspaceFolder, models: Path) -> None:
    """Of both Keras: source and file, step by step, against a run of the file by hand."""
    names = {"stateful3": "stateful3.keras", "stateful2": "stateful2.h5"}
    x = np.random.default_rng(0).normal(size=(12, 1, 3)).astype("float32")
    text = "version: 1\nmodels:\n"
    for name, path in names.items():
        text += f"""
  {name}:
    source: {{format: keras, path: {path}}}
    data: {{test: {{npy: x.npy}}}}
    optimizations: {{float: {{}}, half: {{quantize: float16}}}}
    validate: {{sequence: {{reset: {reset}}}}}
"""
    workspace.write(text, {path: models / path for path in names.values()} | {"x.npy": x})
    assert workspace.build().ok
    stored = outputs_of_the_source(workspace)
    for name in names:
        data = workspace.dist()[f"litert/{name}-float.tflite"]
        rows = []
        for start in range(0, 12, length):  # a new interpreter begins anew
            runner = Interpreter(model_content=data).get_signature_runner()
            rows += [runner(step=row[None])["y"] for row in x[start : start + length]]
        (numbers,) = workspace.report(f"{name}/float/validate.json")["measured"]["parity"]
        assert numbers["sqnr"] > 100
        own = np.concatenate(rows)
        assert any(o.shape == own.shape and np.allclose(o, own, atol=1e-4) for o in stored)


def outputs_of_the_source(workspace: WorkspaceFolder) -> list[Any]:
    """Every array that is in the store."""
    return [
        np.load(path)
        for path in (workspace.root / ".tflbuild").rglob("*")
        if path.is_file() and path.read_bytes()[:6] == b"\x93NUMPY"
    ]


def test_each_signature_begins_with_the_state_as_it_was_loaded(
    workspace: WorkspaceFolder, models: Path
) -> None:
    """The first one leaves something behind, in the source that is loaded once."""
    text = """
version: 1
defaults: {optimizations: {float: {}}, data: {test: {random: {samples: 6, low: -1}}}}
models:
  store:
    source: {format: saved_model, path: store, signatures: {put: {}, get: {}}}
  centred: {source: {format: saved_model, path: centred}}
  decided: {source: {format: saved_model, path: decided}}
"""
    names = ("store", "centred", "decided")
    workspace.write(text, {name: models / name for name in names})
    result = workspace.build(keep_going=True)
    assert result.ok, [v.failures for v in result.gates.values()]
    for name in names:  # the last two: a sample alone is not what it is among others
        for numbers in workspace.report(f"{name}/float/validate.json")["measured"]["parity"]:
            assert numbers["sqnr"] is None or numbers["sqnr"] > 100


def test_state_of_a_tflite_file(workspace: WorkspaceFolder, models: Path) -> None:
    """As a source: variables and the state tensors of a fused LSTM begin anew as declared."""
    lstm = """  lstm:
    source: {format: saved_model, path: lstm}
    inputs: {steps: {shape: [1, 7, 3]}}
    optimizations: {float: {}}
"""
    x = np.random.default_rng(0).normal(size=(12, 32)).astype("float32")
    files = {"smoother": models / "smoother", "lstm": models / "lstm", "x.npy": x}
    workspace.write(STATE % "never" + lstm, files)
    assert workspace.build().ok
    made = {
        f"{n}.tflite": workspace.dist()[f"litert/{n}-float.tflite"] for n in ("smoother", "lstm")
    }
    text = "version: 1\ndefaults: {optimizations: {again: {}}}\nmodels:\n"
    for name, sequence in (("never", "never"), ("each", "each, length: 4"), ("none", "")):
        text += f"""  {name}:
    source: {{format: tflite, path: smoother.tflite}}
    data: {{test: {{npy: x.npy}}}}
"""
        text += f"    validate: {{sequence: {{reset: {sequence}}}}}\n" if sequence else ""
    text += "  fused:\n    source: {format: tflite, path: lstm.tflite}\n"
    text += "  fused_on:\n    source: {format: tflite, path: lstm.tflite}\n"
    text += "    validate: {sequence: {reset: never}}\n"
    workspace.write(text, made)
    result = workspace.build()
    assert result.ok, [t.reason for t in result.tasks if t.reason]
    for name in ("never", "each", "none", "fused", "fused_on"):
        (numbers,) = workspace.report(f"{name}/again/validate.json")["measured"]["parity"]
        assert numbers["equal"], name


def test_a_sequence_cut_short_is_no_test(workspace: WorkspaceFolder, models: Path) -> None:
    x = np.zeros((12, 32), "float32")
    x[:, 0] = range(12)
    workspace.write(STATE % "each, length: 5", {"smoother": models / "smoother", "x.npy": x})
    (failed,) = [t for t in workspace.build().tasks if t.outcome == "failed"]
    assert failed.task == "reference:smoother"
    assert "tflbuild.yaml:8:" in failed.reason
    assert "12 samples are no whole sequences of 5; take the first 10" in failed.reason


def test_a_sequence_without_state_has_no_effect(workspace: WorkspaceFolder, models: Path) -> None:
    text = STATE.replace("smoother", "small").replace("{npy: x.npy}", "{random: {samples: 4}}")
    workspace.write(text % "never", {"small": models / "small"})
    (failed,) = [t for t in workspace.build().tasks if t.outcome == "failed"]
    assert failed.task == "validate:small:float"
    assert "tflbuild.yaml:8:" in failed.reason
    assert "validate.sequence has no effect: signature 'serving_default'" in failed.reason
