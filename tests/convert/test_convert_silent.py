"""What TensorFlow's converter says OK to while it does something else, and how each is stopped.

Three ways: the manifest has no words for it or refuses them (exit code 2, nothing runs); the data
or the graph are refused before the conversion; the converted file is looked at and not released.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quant_models
from quant_models import Built
from workspace_folder import WorkspaceFolder

from tflbuild import verification
from tflbuild.engine.zygote import ZygotePool
from tflbuild.errors import ManifestErrors
from tflbuild.manifest.load import load_workspace
from tflbuild.tflite.effect import float_operators
from tflbuild.tflite.read import read_model

sys.path.append(str(Path(__file__).parents[1] / "tflite"))
import tflite_models as make

BASE = "source: {format: saved_model, path: SOURCE}"
CALIBRATION = "data: {calibration: {npz: data.npz}, test: {npz: data.npz}}"


@dataclass(frozen=True)
class Trap:
    """`wrong`: what a person would write; `says`: the line that stops it, where it is stopped."""

    wrong: str  # the optimization
    says: str
    data: str = CALIBRATION
    source: str = "plain"
    more: dict[str, Any] = field(default_factory=dict)


# No words for it, or words that the manifest refuses: exit code 2 and a position.
REFUSED = {
    "a dataset without optimizations gives float32": Trap(
        "{}", r"`data.calibration` has no effect: no optimization has quantize: int8 or int16x8"
    ),
    "float16 ignores the dataset": Trap(
        "{quantize: float16}", r"`data.calibration` has no effect"
    ),
    "an empty generator gives float32": Trap(
        "{quantize: int8}", "at least 1, got 0",
        "data: {calibration: {npz: data.npz, samples: 0}}",
    ),
    "int8 without a dataset is dynamic range": Trap(
        "{quantize: int8}", "needs `data.calibration`", "outputs: [y]"
    ),
    "a misspelt attribute is accepted": Trap(
        "{converter: {unfold_batchmatmull: true}}", "did you mean 'unfold_batchmatmul'", ""
    ),
    "an attribute that quantize decides": Trap(
        "{converter: {inference_input_type: int8}}", "unknown key 'inference_input_type'", ""
    ),
    "bfloat16 does nothing on a dense model": Trap(
        "{quantize: bfloat16}", "expected one of none, dynamic_range, float16", ""
    ),
    "allow_custom_ops lets any unknown operator pass": Trap(
        "{converter: {allow_custom_ops: true}}", "unknown key 'allow_custom_ops'", ""
    ),
    "experimental_supported_backends accepts everything": Trap(
        "{converter: {experimental_supported_backends: [GPU]}}", "unknown key", ""
    ),
    "int8 inputs of a float file": Trap(
        "{quantize: float16, io: int8}", "io: int8 cannot work with quantize: float16", ""
    ),
    "per_channel without quantized weights": Trap(
        "{quantize: float16, per_channel: false}", "'per_channel' has no effect", ""
    ),
    "a setting of another quantize": Trap(
        "{quantize: float16, converter: {experimental_new_quantizer: false}}",
        "has no effect with quantize: float16; it needs quantize: int8", "",
    ),
    "a setting at its default": Trap(
        "{converter: {unfold_batchmatmul: false}}", "false is what the converter does anyway", ""
    ),
}  # fmt: skip

# Stopped in the build, before or after the conversion; nothing is released.
STOPPED = {
    "an archive without samples": Trap(
        "{quantize: int8}", "holds no sample", more={"data.npz": np.zeros((0, 8, 8, 1), "float32")}
    ),
    "one sample of zeros gives a valid int8 file": Trap(
        "{quantize: int8}", r"is constant \(0 everywhere\)",
        more={"data.npz": np.zeros((1, 8, 8, 1), "float32")},
    ),
    "sparsity does nothing on a dense model": Trap(
        "{sparsity: true}", "needs a model trained with pruning", "outputs: [y]"
    ),
    "dynamic range leaves small weights as they are": Trap(
        "{quantize: dynamic_range}", r"fewer than 1,024 elements \(the largest 12\)",
        "outputs: [y]", "small",
    ),
    "int8 operators do not make an integer-only file": Trap(
        "{quantize: int8, io: int8, float_ops: forbid}",
        r"2 operators stay float: (SIN 'wave/Sin'|FLOOR).*write float_ops: allow", source="trig",
    ),
    "int16x8 leaves operators float": Trap(
        "{quantize: int16x8, io: int16, float_ops: forbid}", "2 operators stay float",
        source="trig",
    ),
    "select ops loosen int16x8 to float": Trap(
        "{quantize: int16x8, float_ops: forbid, targets: [select-tf-ops]}",
        "2 operators stay float", source="trig",
    ),
    "a trained model with float16 comes out int8": Trap(
        "{quantize: float16}", "use quantize: qat", "outputs: [y]", "trained"
    ),
    "a trained model with dynamic range comes out int8": Trap(
        "{quantize: dynamic_range}", "use quantize: qat", "outputs: [y]", "trained"
    ),
    "a setting that changes nothing": Trap(
        "{converter: {unfold_batchmatmul: true}}", "has no effect on this model", "outputs: [y]"
    ),
    "per_channel that changes nothing": Trap(
        "{quantize: dynamic_range, per_channel: false}", "per_channel has no effect",
        "outputs: [y]", "small",
    ),
    "keep_float of a name that is not there": Trap(
        "{quantize: int8, keep_float: [frist]}",
        r"no operator, layer or tensor is called 'frist'; the nearest are 'first'",
    ),
    "keep_float of what stays float anyway": Trap(
        "{quantize: int8, keep_float: [SIN]}", "stays float anyway", source="trig"
    ),
    "debug metadata with paths of this machine": Trap(
        "{quantize: qat, converter: {serialize_debug_metadata: true}}",
        "would put paths of this machine into the file", "outputs: [y]", "trained",
    ),
    "an output whose range is a point": Trap(
        "{quantize: int8}", "the range of output 'y' is a point", source="dead_end"
    ),
}  # fmt: skip


def manifest(trap: Trap) -> str:
    lines = [BASE.replace("SOURCE", trap.source), f"optimizations: {{o: {trap.wrong}}}", trap.data]
    body = "".join(f"    {line}\n" for line in lines if line)
    return f"version: 1\nmodels:\n  m:\n{body}"


@pytest.mark.parametrize("name", REFUSED)
def test_the_manifest_refuses(name: str, tmp_path: Path) -> None:
    trap = REFUSED[name]
    (tmp_path / "plain").mkdir()
    for file in ("plain/saved_model.pb", "data.npz"):
        (tmp_path / file).touch()
    (tmp_path / "tflbuild.yaml").write_text(manifest(trap))
    with pytest.raises(ManifestErrors) as caught:
        load_workspace(tmp_path / "tflbuild.yaml")
    (line,) = str(caught.value).splitlines()
    assert re.match(r"tflbuild.yaml:\d+:\d+: ", line)
    assert re.search(trap.says, line), line


@pytest.fixture(scope="module")
def built(models: Path, pool: ZygotePool, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One build of all traps that a build stops."""
    folder = WorkspaceFolder(tmp_path_factory.mktemp("silent"), pool)
    quant_models.make(folder.root)
    random = np.random.default_rng(0)
    files: dict[str, Any] = {"small": models / "small", "digits_trap": models / "digits_trap"}
    text = "version: 1\nmodels:\n  digits_trap: {source: {format: saved_model, path:"
    text += " digits_trap}, optimizations: {o: {}}}\n"
    for number, trap in enumerate(STOPPED.values()):
        name, wide = f"m{number}", trap.source in ("dead_end", "trained")
        shape = (20, 1024) if wide else (20, 8, 8, 1)
        array = trap.more.get("data.npz", random.normal(size=shape).astype("float32"))
        files[f"{name}.npz"] = {"x": array}
        section = manifest(trap).partition("models:\n")[2].replace("data.npz", f"{name}.npz")
        text += section.replace("  m:", f"  {name}:", 1)
    folder.write(text, files)
    return folder, folder.build(keep_going=True)


@pytest.mark.convert
@pytest.mark.parametrize("name", STOPPED)
def test_the_build_stops(built: Built, name: str) -> None:
    folder, result = built
    model = f"m{list(STOPPED).index(name)}"
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    (reason,) = (why for task, why in reasons.items() if task.startswith(f"convert:{model}:o"))
    assert reason
    assert re.search(STOPPED[name].says, reason), reason
    assert "\n" not in reason
    assert not any(f"/{model}-" in file for file in folder.dist())


@pytest.mark.convert
def test_keras_3_saved_by_hand_keeps_its_weights(built: Built) -> None:
    """What converts "OK" to variables that nothing assigns (tensorflow #98964)."""
    _, result = built
    assert result.outcome("convert:digits_trap:o") == "ran"


def test_weightless_variables_are_seen_in_any_file() -> None:
    interface = {
        "signature": "s",
        "inputs": [{"name": "x", "dtype": "float32"}],
        "outputs": [{"name": "y", "dtype": "float32"}],
    }
    params = {"quantize": "none", "io": "float32"}
    for initialized, wrong in ((True, 0), (False, 1)):
        maker = make.variables(initialized=initialized)
        main = maker.model.subgraphs[0]
        maker.signature("s", {"x": main.inputs[0]}, {"y": main.outputs[0]})
        sides = {"signatures": [interface]}
        found = verification.verify(read_model(maker.pack()), params, sides, "tensorflow")
        assert len(found.problems) == wrong


def test_a_signature_without_calibration_stays_float_and_is_named() -> None:
    """Two signatures, of which one alone was calibrated."""
    maker = make.Maker()
    sides = []
    for name, dtype in (("prefill", make.TYPE.INT8), ("decode", make.TYPE.FLOAT32)):
        graph = maker.graph(name)
        scale = 0.5 if dtype == make.TYPE.INT8 else None
        x = graph.tensor("x", (1, 256), dtype, scale=scale)
        y = graph.tensor("y", (1, 4), dtype, scale=scale)
        weight = graph.weight("w", (4, 256), make.TYPE.INT8)
        graph.op(make.OP.FULLY_CONNECTED, [x, weight], [y], make.s.FullyConnectedOptionsT())
        graph.io([x], [y])
        maker.signature(name, {"x": x}, {"y": y}, subgraph=graph.index)
        entry = [{"name": "x", "dtype": "float32"}]
        sides.append({"signature": name, "inputs": entry, "outputs": [{**entry[0], "name": "y"}]})
    model = read_model(maker.pack())
    params = {"quantize": "int8", "io": "int8"}
    found = verification.verify(model, params, {"signatures": sides}, "tensorflow")
    (said,) = [p for p in found.problems if "compute operator" in p]
    assert "in signature 'decode' (1 float32)" in said
    assert [entry["operators"] for entry in found.report["quantization"]["signatures"]] == [1, 0]
    assert len(float_operators(model)) == 1
