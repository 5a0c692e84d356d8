"""What a user can get wrong in a source: one clear line, never a fault of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workspace_folder import WorkspaceFolder

from tflbuild.api import BuildResult
from tflbuild.engine.zygote import ZygotePool

pytestmark = pytest.mark.convert


@dataclass(frozen=True)
class Wrong:
    """`says`: what the reason of `task` (without the model's name) must hold."""

    path: str
    task: str
    says: str
    source: str = ""
    more: str = ""


def pin(text: str) -> str:
    return f"inputs: {{x: {{{text}}}}}"


WRONG = {
    "not_keras": Wrong("junk.keras", "lower", "neither Keras 3 .* nor tf_keras"),
    "not_h5": Wrong("junk.h5", "lower", "neither Keras 3 .* nor tf_keras"),
    "cut_keras": Wrong("cut.keras", "lower", "neither Keras 3 .* nor tf_keras"),
    "cut_graph": Wrong("cut_graph", "lower", "not a readable SavedModel"),
    "no_weights": Wrong("no_weights", "lower", "TensorFlow cannot load the SavedModel"),
    "wrong_signature": Wrong(
        "signatures", "lower", r"no signature 'nope'; .*\['double', 'project'\]",
        ", signature: nope, tags: [serve, edge]",
    ),
    "wrong_tags": Wrong("signatures", "lower", r"no graph with tags \['serve'\]; .*'edge'"),
    "rank": Wrong("small", "lower", "does not fit", more=pin("shape: [1, 2, 4]")),
    "size": Wrong("small", "lower", r"\[1, 5\] does not fit", more=pin("shape: [1, 5]")),
    "dtype": Wrong("small", "lower", "takes float32, not int32", more=pin("dtype: int32")),
    "input_name": Wrong(
        "small", "lower", r"no input 'z'; it has \['x'\]", more="inputs: {z: {dtype: float32}}"
    ),
    "output_name": Wrong("small", "lower", "expected an order of .*'y'", more="outputs: [z]"),
    "no_inputs": Wrong("no_inputs", "lower", "has no inputs"),
    "no_rank": Wrong("no_rank", "lower", "no known rank: pin it"),
    "no_rank_dtype": Wrong(
        "no_rank", "lower", "no known rank: pin it", more=pin("dtype: float32")
    ),
    "bfloat": Wrong("bfloat", "lower", "'x' is bfloat16: cast it"),
    "weird_twice": Wrong(
        "weird_twice", "lower", "cannot load the SavedModel", ', signature: "serving größe"'
    ),
    "untraceable": Wrong(
        "dynamic.keras", "lower", "cannot be traced with", more=pin("shape: [1, 2, 3]")
    ),
    "unpinned": Wrong("dynamic", "reference", r"dynamic dimensions \['\?', '\?', 3\]; pin them"),
    "text": Wrong("table", "reference", "'word' is string; declare real data"),
    "ids": Wrong(
        "embedding", "reference", "the source itself fails on the test data: indices",
        more="data: {test: {random: {high: 1000, samples: 8}}}",
    ),
    "far": Wrong(
        "embedding", "reference", "leave the range of input 'ids'",
        more="data: {test: {random: {high: 10000000000, samples: 8}}}",
    ),
    "empty_output": Wrong("empty_output", "validate:float32", "output 'none' has shape"),
    "qat_none": Wrong("qat", "convert:float32", "use quantize: qat"),
    "qat_int8": Wrong(
        "qat", "convert:int8", "use quantize: qat",
        more="optimizations: {float32: null, int8: {quantize: int8}}\n"
        "    data: {calibration: {random: {samples: 8}}}",
    ),
    "plain_qat": Wrong(
        "small", "convert:q", "needs a model of quantization-aware training",
        more="optimizations: {float32: null, q: {quantize: qat}}",
    ),
    "accuracy": Wrong(
        "multi_saved", "validate:float32", r"outputs \['beta', 'm', 'omega'\]; name one",
        more="data: {test: {random: null, npz: two.npz, labels: labels}}\n"
        "    validate: {metrics: {accuracy: {min: 0.5}}}",
    ),
    "classes": Wrong(
        "multi_saved", "validate:float32", "labels reach from 0 to 9, output 'beta' has 5 classes",
        more="data: {test: {random: null, npz: two.npz, labels: labels}}\n"
        "    validate: {metrics: {accuracy: {min: 0.5, output: beta}}}",
    ),
}  # fmt: skip
GATES = {
    "nan": ("validate:nan:float32", r"output 'y' has NaN"),
    "det": ("evaluate:det", r"FlexMatrixDeterminant .*at tf.MatrixDeterminant at .*my_det"),
    "betainc": ("evaluate:betainc", r"Betainc .*no TensorFlow Lite op.*at tf.Betainc at .*my_beta"),
}


def manifest() -> str:
    text = (
        "version: 1\n"
        "defaults: {optimizations: {float32: {}}, data: {test: {random: {samples: 8}}}}\n"
        "models:\n"
    )
    everything: Mapping[str, Any] = {**WRONG, **{name: Wrong(name, "", "") for name in GATES}}
    for name, case in everything.items():
        form = "keras" if case.path.endswith((".keras", ".h5")) else "saved_model"
        text += f"  {name}:\n    source: {{format: {form}, path: {case.path}{case.source}}}\n"
        text += f"    {case.more}\n" if case.more else ""
    return text


Built = tuple[WorkspaceFolder, BuildResult]


@pytest.fixture(scope="module")
def built(models: Path, pool: ZygotePool, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = WorkspaceFolder(tmp_path_factory.mktemp("wrong"), pool)
    used = {case.path for case in WRONG.values()} | set(GATES)
    files: dict[str, Any] = {name: models / name for name in used if (models / name).exists()}
    graph = (models / "small/saved_model.pb").read_bytes()
    files |= {
        "junk.keras": "this is no model",
        "junk.h5": "neither is this",
        "cut.keras": (models / "digits.keras").read_bytes()[:4000],
        "cut_graph/saved_model.pb": graph[: len(graph) // 2],
        "no_weights/saved_model.pb": graph,
        "two.npz": {
            "alpha": np.ones((10, 5), "float32") * np.arange(10, dtype="float32")[:, None],
            "zeta": np.ones((10, 3), "float32") * np.arange(10, dtype="float32")[:, None],
            "labels": np.arange(10),
        },
    }
    folder.write(manifest(), files)
    return folder, folder.build(keep_going=True)


@pytest.mark.parametrize("name", WRONG)
def test_one_clear_line(built: Built, name: str) -> None:
    folder, result = built
    stage, _, rest = WRONG[name].task.partition(":")
    task = f"{stage}:{name}:{rest}" if rest else f"{stage}:{name}"
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    assert re.search(WRONG[name].says, reasons[task]), reasons[task]
    for failed, reason in reasons.items():
        if failed.split(":")[1] == name:
            assert "\n" not in reason
            assert len(reason) < 700
            # What a fault of ours looks like, and what it leaves in the log.
            assert not re.match(r"\w+(Error|Exception): ", reason)
            log = folder.root / f"build/logs/{failed}.log"
            assert "in run_request" not in log.read_text(errors="replace")
    assert not any(f.startswith(f"litert/{name}-") for f in folder.dist())


@pytest.mark.parametrize("name", GATES)
def test_gates_stop_what_cannot_ship(built: Built, name: str) -> None:
    folder, result = built
    task, says = GATES[name]
    (failure,) = result.gates[task].failures
    assert re.search(says, failure.message)
    assert "\n" not in failure.message
    assert not any(f.startswith(f"litert/{name}-") for f in folder.dist())
    assert result.exit_code == 1


def test_what_needs_other_ops_is_measured_and_not_converted(built: Built) -> None:
    folder, result = built
    for name, verdict, kind, op, code in (
        ("det", "needs select ops", "select", "FlexMatrixDeterminant", "needs-select-ops"),
        ("betainc", "needs custom ops", "custom", "Betainc", "needs-custom-ops"),
    ):
        measured = folder.report(f"{name}/evaluate.json")["measured"]
        assert measured["verdict"] == verdict
        assert measured["ops"][kind] == {op: 1}
        (problem,) = measured["problems"]
        assert problem["code"] == code
        assert problem["node"].endswith(("my_det", "my_beta"))
        assert result.outcome(f"convert:{name}:float32") == "skipped"


def test_two_builds_of_a_broken_model_say_the_same(built: Built) -> None:
    folder, first = built
    again = folder.build("cut_keras", keep_going=True)
    reasons = [{t.task: t.reason for t in r.tasks if "cut_keras" in t.task} for r in (first, again)]
    assert reasons[0] == reasons[1]
