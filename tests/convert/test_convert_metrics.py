"""Metrics of real files, against scikit-learn on outputs of an interpreter of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from jsonschema import Draft202012Validator
from sklearn import metrics as sk
from workspace_folder import WorkspaceFolder

from tflbuild import schemas

pytestmark = pytest.mark.convert

DIGITS = Path(__file__).parents[2] / "examples/digits"
MANIFEST = """
version: 1
defaults:
  source: {format: keras, path: digits.keras}
  inputs: {image: {shape: [1, 8, 8, 1]}}
  optimizations: {int8: {quantize: int8, io: int8}}
  data: {calibration: {npz: c.npz}}
models:
  all:
    data: {test: {npz: t.npz, labels: {digit: labels, soft: soft}}}
    validate:
      metrics:
        accuracy: {labels: digit, min: 0.9, max_drop: 0.05, max_drop_from_last: 0.1}
        top_k_accuracy: {labels: digit, k: 2}
        precision: {labels: digit, average: macro}
        recall: {labels: digit, positive: 3, threshold: 0.4}
        f1: {labels: digit, average: weighted, min: 0.5}
        auc: {labels: digit, min: 0.5}
        mean_absolute_error: {labels: soft, max: 1}
        mean_squared_error: {labels: soft}
        python:
          function: score.py:score
          args: {scale: 2}
          values: {worst: {better: lower, max: 3, max_drop: 1}}
  wrong:
    data: {test: {npz: t.npz, labels: labels}}
    validate: {metrics: {python: {function: wrong.py:score, values: {a: {min: 1}}}}}
"""
SCORE = """
import numpy as np
from inner import off

def score(outputs, labels, scale):
    (probabilities,) = outputs.values()
    assert sorted(labels) == ["digit", "soft"]
    assert probabilities.shape == labels["soft"].shape
    assert not probabilities.flags.writeable
    np.random.rand()
    return {"worst": scale * off(probabilities, labels["soft"]),
            "drawn": np.float32(np.random.rand())}
"""
INNER = "def off(a, b):\n    return abs(a - b).max()\n"


@pytest.fixture
def digits(workspace: WorkspaceFolder) -> WorkspaceFolder:
    with np.load(DIGITS / "data/test.npz") as test:
        images, labels = test["image"][:300], test["labels"][:300]
    soft = 0.8 * np.eye(10, dtype=np.float32)[labels] + 0.02
    workspace.write(
        MANIFEST,
        {
            "digits.keras": DIGITS / "models/digits.keras",
            "c.npz": {"image": np.load(DIGITS / "data/calibration.npz")["image"]},
            "t.npz": {"image": images, "labels": labels, "soft": soft},
            "score.py": SCORE, "inner.py": INNER, "wrong.py": "def score(o, l):\n    0 / 0\n",
        },
    )  # fmt: skip
    return workspace


def outputs(file: bytes, images: Any) -> Any:
    interpreter = Interpreter(model_content=file)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for image in images:
        scale, zero = given["quantization"]
        stored = np.clip(np.round(image / np.float32(scale)) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], stored[None])
        interpreter.invoke()
        scale, zero = made["quantization"]
        row = interpreter.get_tensor(made["index"]).astype(np.float32)
        rows.append((row - zero) * np.float32(scale))
    return np.concatenate(rows)


def test_metrics_are_those_of_an_independent_loop(digits: WorkspaceFolder) -> None:
    result = digits.build("all")
    assert result.ok, [task.reason for task in result.tasks]
    report = digits.report("all/int8/validate.json")
    Draft202012Validator(json.loads(schemas.text("validate"))).validate(report)
    with np.load(digits.root / "t.npz") as test:
        images, labels, soft = test["image"], test["labels"], test["soft"]
    scores = outputs(digits.dist()["litert/all-int8.tflite"], images)
    found = scores.argmax(axis=1)
    wanted = {
        "accuracy": sk.accuracy_score(labels, found),
        "top_k_accuracy": sk.top_k_accuracy_score(labels, scores, k=2),
        "precision": sk.precision_score(labels, found, average="macro"),
        "recall": sk.recall_score(labels == 3, scores[:, 3] > 0.4),
        "f1": sk.f1_score(labels, found, average="weighted"),
        "auc": np.mean([sk.roc_auc_score(labels == c, scores[:, c]) for c in range(10)]),
        "mean_absolute_error": sk.mean_absolute_error(soft.ravel(), scores.ravel()),
        "mean_squared_error": sk.mean_squared_error(soft.ravel(), scores.ravel()),
        "worst": 2 * float(abs(scores - soft).max()),
    }
    entries = {entry["name"]: entry for entry in report["measured"]["metrics"]}
    assert entries.keys() == {*wanted, "drawn"}
    for name, number in wanted.items():
        assert entries[name]["file"] == pytest.approx(number, rel=1e-6, abs=1e-7), name
    assert entries["accuracy"]["file"] == wanted["accuracy"]
    assert entries["drawn"]["source"] == entries["drawn"]["file"]  # seeded alike
    assert not entries["worst"]["higher_is_better"]
    for name in set(wanted) - {"worst"}:
        low, high = entries[name]["interval"]
        assert low <= entries[name]["file"] <= high
    judged = {check["check"] for check in report["gate"]["checks"]}
    assert {"metrics.f1.min", "metrics.python.values.worst.max_drop"} <= judged
    (skipped,) = (f for f in report["gate"]["findings"] if "from_last" in f["check"])
    assert (skipped["level"], "tflbuild lock --update" in skipped["message"]) == ("warn", True)

    # Limits are in no key; the code of a function is.
    assert digits.build("all").done.reached_graph == 0
    limits = MANIFEST.replace("max: 3,", "max: 0.001,").replace(
        "f1: {labels: digit, ", "f1: {labels: digit, max_drop: 0.1, "
    )
    digits.write(limits)
    again = digits.build("all")
    assert (again.ok, again.ran()) == (False, [])
    digits.write(MANIFEST, {"inner.py": INNER.replace(".max()", ".min()")})
    assert digits.build("all").ran() == ["validate:all:int8"]


BAD = [
    ("return 1 / 0", "wrong.py:2: ZeroDivisionError: division by zero"),
    ("return 0.5", "the function gives float 0.5 of the source's outputs; return a dict of number"),
    ("return {}", "the function gives an empty dict of the source's outputs"),
    ("return {'a': 'x'}", "the function gives str 'x' for 'a' of the source's outputs"),
    ("return {'a': float('nan')}", "the function gives nan for 'a' of the source's outputs"),
    ("return {'a': o['digit'][0]}", "the function gives ndarray"),
    ("return {1: 2.0}", "the function names a number int 1"),
    ("o['digit'][0] = 1", "wrong.py:2: ValueError: assignment destination is read-only"),
    ("return {'a': open('../t.npz').read()}", "wrong.py:2: "),
    ("import sys; sys.exit(1)", "ended the process"),
    ("return {'a': True}", "the function gives bool True for 'a'"),
]


def test_what_a_function_does_wrong(digits: WorkspaceFolder) -> None:
    assert not digits.build("wrong").ok
    for body, says in BAD:
        digits.write(files={"wrong.py": f"def score(o, l):\n    {body}\n"})
        result = digits.build("wrong", keep_going=True)
        (failed,) = (task for task in result.tasks if task.outcome == "failed")
        assert failed.task == "validate:wrong:int8"
        assert says in failed.reason
        assert failed.reason.startswith("tflbuild.yaml:27:26: "), failed.reason
    digits.write(files={"wrong.py": "def score(o, l):\n    return {'b': 1}\n"})
    result = digits.build("wrong")
    (failed,) = result.gates["validate:wrong:int8"].failures
    assert "the function gives no 'a', which `values` declares (it gives b)" in failed.message
