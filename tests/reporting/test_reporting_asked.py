"""What JUnit says of a validation that came to no measurement, and of its log."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from tflbuild.engine.runner import Result
from tflbuild.graph import build_graph
from tflbuild.manifest.load import load_workspace
from tflbuild.reporting.asked import of_validation
from tflbuild.reporting.excerpt import TAIL, tail
from tflbuild.reporting.junit import explained, junit
from tflbuild.verdict import Check, Finding, Verdict

MANIFEST = """
version: 1
models:
  m:
    source: {format: tflite, path: m.tflite}
    optimizations: {f: {}, int8: {quantize: int8, parity: {outputs: {y: {sqnr: 20}}}}}
    data: {calibration: {npz: m.npz}, test: {npz: m.npz, labels: y}}
    validate:
      metrics:
        accuracy: {min: 0.9, max_drop: 0.02}
        f1: {}
        python: {function: "own:measure", values: {mAP: {min: 0.5}}}
      golden: {first: {npz: m.npz, max_abs_error: 0.1, optimizations: [int8]}}
"""
ASKED = [
    "parity.sqnr of y", "golden of first", "metrics.accuracy.min", "metrics.accuracy.max_drop",
    "metrics.python.values.mAP.min",
]  # fmt: skip
TASK = "validate:m:int8"


def graph(tmp_path: Path) -> Any:
    (tmp_path / "tflbuild.yaml").write_text(MANIFEST)
    for name in ("m.tflite", "m.npz"):
        (tmp_path / name).touch()
    (tmp_path / "own.py").write_text("def measure(outputs, labels): ...\n")
    workspace = load_workspace(tmp_path / "tflbuild.yaml")
    return build_graph(workspace, workspace.models)


def cases(tmp_path: Path, result: Result, **logs: str) -> dict[str, Any]:
    done = SimpleNamespace(interrupted=False, seconds=1.0)
    made: Any = SimpleNamespace(
        graph=graph(tmp_path), result=result, done=done, selected=(TASK,), wrong=None
    )
    root = ElementTree.fromstring(junit(made, tmp_path, logs))
    return {case.attrib["name"]: case for case in root.iter("testcase")}


def test_limits_keep_their_lines_when_the_task_fails(tmp_path: Path) -> None:
    result = Result(outcomes={TASK: "failed"}, reasons={TASK: "labels: too few"})
    found = cases(tmp_path, result)
    names = [f"{TASK} {name}" for name in ASKED]
    assert [name for name in found if name.startswith(TASK)] == [TASK, *names]
    assert found[TASK].find("error") is not None
    for name in names:
        (skipped,) = found[name].findall("skipped")
        assert skipped.attrib["message"] == f"not judged: {TASK} failed: labels: too few"


def test_limits_keep_their_lines_when_it_is_not_reached(tmp_path: Path) -> None:
    needs = "needs baseline:m, reference:m"
    meant = (
        "needs baseline:m (the float file on the test data),"
        " reference:m (the source on the test data)"
    )
    found = cases(tmp_path, Result(outcomes={TASK: "skipped"}, reasons={TASK: needs}))
    said = {name: case.find("skipped").attrib["message"] for name, case in found.items()}
    assert said[TASK] == meant == explained(needs)
    assert said[f"{TASK} metrics.accuracy.min"] == f"not judged: {TASK} {meant}"
    assert explained("needs convert:c:int8") == "needs convert:c:int8"
    assert explained("not reached") == "not reached"


def test_the_interface_is_asked_for_once_there_is_a_release(tmp_path: Path) -> None:
    model = graph(tmp_path).workspace.models[0]
    locked: Any = {"m:int8@litert": None}
    float32, int8 = model.optimizations
    assert [c.name for c in of_validation(model, int8, locked, "")] == [*ASKED, "interface"]
    assert [c.name for c in of_validation(model, float32, locked, "")] == ASKED[2:]


def test_the_message_is_the_beginning_and_a_warning_has_no_name_twice(tmp_path: Path) -> None:
    long = "accuracy 0.8 is below min 0.9; " + "and so on; " * 60
    verdict = Verdict(
        (
            Finding("fail", "metrics.accuracy.min", long),
            Finding("warn", "metrics.accuracy.min", "few samples"),
            Finding("warn", "stage", "odd data"),
        ),
        checks=(Check("metrics.accuracy.min", False, long),),
    )
    found = cases(tmp_path, Result(outcomes={TASK: "ran"}, verdicts={TASK: verdict}))
    case = found[f"{TASK} metrics.accuracy.min"]
    failure = case.find("failure")
    assert failure.attrib["message"].endswith("and so on …")
    assert len(failure.attrib["message"]) <= 300
    assert failure.text.startswith(long)  # some CIs show the text alone
    assert case.find("system-out").text == "warning: few samples\nwarning: odd data"


NOISE = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "E0000 00:00:1763855415.123456   12345 cuda_platform.cc:52] failed call to cuInit: INTERNAL\n"
    "2026-11-22 23:50:15.123456: I tensorflow/core/util/port.cc:153] oneDNN is on\n"
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with"
    " the appropriate compiler flags.\n"
)
FATAL = "F0000 00:00:1763855415.1  7 x.cc:5] dead\n"


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("a\n" + NOISE + "error: no\n" + NOISE, "a\nerror: no\n"),
        (FATAL + NOISE, FATAL),
        (NOISE, NOISE),
        ("x" * 5000 + "\n" + NOISE * 10, "x" * (TAIL - 1) + "\n"),
    ],
)  # fmt: skip
def test_the_end_of_a_log_is_what_the_stage_said(tmp_path: Path, log: str, shown: str) -> None:
    path = tmp_path / "x.log"
    path.write_text(log)
    assert tail(path) == shown
    assert path.read_text() == log
    assert tail(tmp_path / "none") == ""
