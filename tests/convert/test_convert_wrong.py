"""What a user can get wrong in a source: one clear line, never a fault of ours."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
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


# Of a file of Keras 3: nothing of tf_keras.
CUSTOM = (
    r"^Keras 3\S* knows no 'Twice' \(the file is of Keras 3\S*\): write"
    r" `custom_objects: module:function`, a function of yours that returns {'Twice': the class}, or"
    r" export the model as a SavedModel$"
)

WRONG = {
    "not_keras": Wrong(
        "junk.keras", "lower",
        r"^tflbuild\.yaml:\d+:\d+: \S*junk\.keras: it is not a \.keras file that Keras wrote, or",
    ),
    "not_h5": Wrong("junk.h5", "lower", "not a .h5 file that Keras wrote"),
    "cut_keras": Wrong("cut.keras", "lower", "not a .keras file that Keras wrote"),
    "custom_keras": Wrong("custom.keras", "lower", CUSTOM),
    "custom_h5": Wrong("custom.h5", "lower", CUSTOM),
    "lambda_keras": Wrong("lambda.keras", "lower", "has a Lambda layer .*export the model as a Sa"),
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
    "untraceable": Wrong(
        "dynamic.keras", "lower", "cannot be traced with", more=pin("shape: [1, 2, 3]")
    ),
    "unpinned": Wrong("dynamic", "reference", r"dynamic dimensions \[\?, \?, 3\]; pin them"),
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
    "det": (
        "evaluate:det",
        r"tf.linalg.det \(MatrixDeterminant\) at 'my_det': no builtin; .*-tf-ops would take it",
    ),
    "betainc": (
        "evaluate:betainc",
        r"tf.math.betainc \(Betainc\) at 'my_beta': .*select-tf-ops would not take it",
    ),
}


def foreign(name: str) -> bytes:
    """A small Keras 3 file with a layer that only its author has: neither Keras nor TensorFlow
    is imported here to write it."""
    layer: dict[str, Any] = {"module": None, "registered_name": "mine>Twice", "class_name": "Twice",
             "config": {"name": "twice"}}  # fmt: skip
    if name.startswith("lambda"):
        code = {"class_name": "__lambda__", "config": {"code": "4wEA", "defaults": None}}
        layer = {"module": "keras.layers", "registered_name": None, "class_name": "Lambda",
                 "config": {"name": "twice", "function": code}}  # fmt: skip
    given = {"module": "keras.layers", "registered_name": None, "class_name": "InputLayer",
             "config": {"batch_shape": [None, 2], "dtype": "float32", "name": "x"}}  # fmt: skip
    config = {"module": "keras", "registered_name": None, "class_name": "Sequential",
              "config": {"name": "s", "layers": [given, layer]}}  # fmt: skip
    stream = io.BytesIO()
    if name.endswith(".h5"):
        with h5py.File(stream, "w") as file:
            file.attrs["keras_version"] = "3.12.0"
            file.attrs["backend"] = "tensorflow"
            file.attrs["model_config"] = json.dumps(config)
            file.create_group("model_weights")
        return stream.getvalue()
    weights = io.BytesIO()
    h5py.File(weights, "w").close()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.12.0"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
    return stream.getvalue()


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
        **{name: foreign(name) for name in ("custom.keras", "custom.h5", "lambda.keras")},
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
            if name in ("custom_keras", "custom_h5", "lambda_keras", "not_h5"):  # what Keras said
                assert "Traceback (most recent call last)" in log.read_text(errors="replace")
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
        (row,) = measured["not_builtin"]
        assert (row["class"], row["name"]) == (kind, problem["node"])
        assert row["op"] == op.removeprefix("Flex")
        assert result.outcome(f"convert:{name}:float32") == "skipped"


def test_two_builds_of_a_broken_model_say_the_same(built: Built) -> None:
    folder, first = built
    again = folder.build("cut_keras", keep_going=True)
    reasons = [{t.task: t.reason for t in r.tasks if "cut_keras" in t.task} for r in (first, again)]
    assert reasons[0] == reasons[1]
