"""LSTM, GRU and loops: what converts, and what is stopped with advice before the converter dies."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspace_folder import WorkspaceFolder

from tflbuild.engine.zygote import ZygotePool
from tflbuild.tflite.read import read_model

pytestmark = pytest.mark.convert

PINNED = "inputs: {steps: {shape: [1, 7, 3]}}"
MODELS = {
    "gru3": ("gru3.keras", PINNED),
    "gru3_free": ("gru3.keras", ""),
    "gru2": ("gru2.h5", PINNED),
    "gru2_exported": ("gru_exported", PINNED),
    "lstm2": ("lstm.h5", PINNED),
    "lstm2_free": ("lstm.h5", ""),
    "unrolled3": ("unrolled3.keras", PINNED),
    "unrolled3_free": ("unrolled3.keras", ""),
    "unrolled2": ("unrolled2.h5", PINNED),
    "passes_on": ("passes_on", ""),
    "turns": ("turns", ""),
}
RELEASED = {
    "gru3": "dynamic float half", "gru3_free": "", "gru2": "dynamic float half",
    "gru2_exported": "", "lstm2_free": "", "lstm2": "float half int8",
    "unrolled3": "dynamic float half int8", "unrolled3_free": "dynamic float half int8",
    "unrolled2": "dynamic float half int8", "passes_on": "dynamic float half",
    "turns": "dynamic float half int8",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(
    models: Path, pool: ZygotePool, tmp_path_factory: pytest.TempPathFactory
) -> WorkspaceFolder:
    folder = WorkspaceFolder(tmp_path_factory.mktemp("recurrent"), pool)
    lines = [
        "version: 1",
        "defaults:",
        "  data: {calibration: {random: {samples: 20, low: -1}}}",
        "  optimizations: {float: {}, dynamic: {quantize: dynamic_range},",
        "                  half: {quantize: float16}, int8: {quantize: int8}}",
        "models:",
    ]
    for name, (path, more) in MODELS.items():
        form = "keras" if "." in path else "saved_model"
        lines += [f"  {name}:", f"    source: {{format: {form}, path: models/{path}}}"]
        lines += [f"    {more}"] if more else []
    folder.write("\n".join(lines), {"models": models})
    return folder


def test_recurrent_layers(folder: WorkspaceFolder) -> None:
    result = folder.build(keep_going=True)
    released: dict[str, list[str]] = {name: [] for name in MODELS}
    for path in folder.dist():
        if path.endswith(".tflite"):
            name, _, optimization = (
                path.removeprefix("litert/").removesuffix(".tflite").rpartition("-")
            )
            released[name].append(optimization)
    assert {name: " ".join(sorted(done)) for name, done in released.items()} == RELEASED

    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    crash = {f"convert:{name}:int8" for name in ("gru2", "gru3", "passes_on")}
    small = "convert:lstm2:dynamic"  # its weights have fewer than 1,024 elements
    assert set(reasons) == {*crash, small}
    for name, place in (("gru2", "while"), ("gru3", "gru"), ("passes_on", "while")):
        reason = reasons[f"convert:{name}:int8"]
        assert reason.startswith("tflbuild.yaml:5:"), reason
        assert "quantize: int8 cannot convert it: the loop at '" in reason
        assert place in reason
        assert "unroll=True" in reason
    log = folder.root / "build/logs/convert:gru3:int8.log"
    assert "Fatal" not in log.read_text()  # it was told before, not after a crash

    gates = {task: [f.message for f in v.failures] for task, v in result.gates.items()}
    for name in ("gru3_free", "lstm2_free"):
        (message,) = gates[f"evaluate:{name}"]
        assert "pin the batch, inputs: {steps: {shape: [1, 7, 3]}}" in message
    (message,) = gates["evaluate:gru2_exported"]
    assert "a pin comes too late for it: pin the batch where the model is exported" in message

    (told,) = [
        w.message for w in result.gates["validate:lstm2:int8"].warnings if "LSTM" in w.message
    ]
    assert told.startswith("TensorFlow's int8 of a fused LSTM is often noise")
    assert "quantizer: ai-edge" in told
    fused = read_model(folder.dist()["litert/lstm2-int8.tflite"]).subgraphs[0]
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in [op.name for op in fused.ops]
    unrolled = folder.dist()["litert/unrolled3-int8.tflite"]
    assert "WHILE" not in {op.name for op in read_model(unrolled).subgraphs[0].ops}


def test_a_pin_given_as_advised_helps(folder: WorkspaceFolder) -> None:
    text = (folder.root / "tflbuild.yaml").read_text()
    advised = "path: models/gru3.keras}\n    inputs: {steps: {shape: [1, 7, 3]}}\n  gru2:"
    folder.write(text.replace("path: models/gru3.keras}\n  gru2:", advised))
    folder.build("gru3_free:float")
    assert "litert/gru3_free-float.tflite" in folder.dist()
