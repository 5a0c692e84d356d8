"""What metrics add to the key of a validation: what they are, and nothing of their limits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tflbuild.errors import ManifestError
from tflbuild.manifest.load import load_workspace
from tflbuild.manifest.model import Model
from tflbuild.metrics.inputs import metric_inputs

MANIFEST = """version: 1
models:
  m:
    source: {format: keras, path: m.keras}
    optimizations: {a: {}}
    data: {test: {npz: t.npz, labels: {a: x, b: y}}}
    env: [TFLBUILD_TEST_SCORE]
    validate: {metrics: METRICS}
"""
METRICS = """{accuracy: {labels: a, min: 0.5}, f1: {labels: a, average: macro, max_drop: 0.1},
      word_error_rate: {labels: b, vocabulary: v.txt, ctc: true},
      python: {function: score.py:score, args: {k: 1},
               values: {p: {min: 1}, q: {better: lower}}}}"""


def model(folder: Path, metrics: str = METRICS) -> Model:
    files = {
        "tflbuild.yaml": MANIFEST.replace("METRICS", metrics), "m.keras": "", "t.npz": "",
        "v.txt": "a\n", "score.py": "import inner, lost\ndef score(o, l, k):\n    return {}\n",
        "inner.py": "",
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text)
    return load_workspace(folder / "tflbuild.yaml").models[0]


def test_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFLBUILD_TEST_SCORE", "1")
    found = metric_inputs(tmp_path, model(tmp_path))
    ((accuracy, f1, python, words),) = found.params
    assert accuracy == {"name": "accuracy", "output": None, "labels": "a"}
    assert f1 == {"name": "f1", "output": None, "average": "macro", "labels": "a"}
    assert words == {
        "name": "word_error_rate", "output": None, "labels": "b", "ctc": True,
        "vocabulary": "metrics.0.vocabulary",
    }  # fmt: skip
    assert python["python"] == {"module": "score", "function": "score"}
    assert (python["args"], python["lower"]) == ({"k": 1}, ["q"])
    assert found.files == {
        "metrics.0.vocabulary": "v.txt",
        "python/score.py": "score.py",
        "python/inner.py": "inner.py",
    }
    assert "lost.py" in found.folders  # were it there, it would be read
    assert {"sklearn", "jiwer", "lost"} <= set(found.modules)
    assert found.request["env"] == {"TFLBUILD_TEST_SCORE": "1"}
    json.dumps(found.params)
    monkeypatch.setenv("TFLBUILD_TEST_SCORE", "2")
    assert metric_inputs(tmp_path, model(tmp_path)).params != found.params


def test_limits_are_in_no_key(tmp_path: Path) -> None:
    found = metric_inputs(tmp_path, model(tmp_path))
    other = METRICS.replace("min: 0.5", "max_drop_from_last: 0.1").replace("max_drop: 0.1, ", "")
    other = other.replace("{min: 1}", "{max: 3}").replace("better: lower", "better: lower, max: 1")
    assert metric_inputs(tmp_path, model(tmp_path, other)) == found
    better = METRICS.replace("better: lower", "better: higher")
    assert metric_inputs(tmp_path, model(tmp_path, better)) != found


def test_code_that_is_gone(tmp_path: Path) -> None:
    declared = model(tmp_path)
    (tmp_path / "score.py").write_text("x = 1\n")
    with pytest.raises(ManifestError, match=r"tflbuild.yaml:10:16: .*has no function 'score'"):
        metric_inputs(tmp_path, declared)


def test_nothing_of_no_metrics(tmp_path: Path) -> None:
    declared: Any = model(tmp_path)
    bare = dataclasses.replace(declared, signatures=(dataclasses.replace(
        declared.signatures[0], metrics=()),))  # fmt: skip
    found = metric_inputs(tmp_path, bare)
    assert (found.params, found.files, found.modules, found.request) == (((),), {}, (), {})
