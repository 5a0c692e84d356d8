"""No remedy is unproven: the converter gives the op that it is for, and of what it says to write
tflite-micro takes everything; it computes the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tflbuild.micro import check
from tflbuild.micro.ops import BUILTIN

pytestmark = pytest.mark.convert

# The converter makes these no more. Their remedies convert, and that is all that can be shown.
OLD = {
    "BIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", "RELU_0_TO_1", "UNIDIRECTIONAL_SEQUENCE_RNN",
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("micro-remedies") / "found.json"
    child = Path(__file__).with_name("micro_remedies_child.py")
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    done = subprocess.run(
        [sys.executable, str(child), str(out)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


def test_every_remedy_has_a_case(found: Any) -> None:
    cases = {case["op"] for case in found["cases"]}
    assert {*check._INSTEAD, *check._INTEGERS_INSTEAD} <= cases
    assert not {*check._INSTEAD} & {*BUILTIN}
    assert {case["op"] for case in found["cases"] if "bad" not in case} == OLD


def test_the_op_comes_and_is_refused(found: Any) -> None:
    instead = {**check._INSTEAD, **check._INTEGERS_INSTEAD}
    for case in found["cases"]:
        if "bad" in case:
            (remedy, *_) = [r for op, _, r in case["bad"] if op == case["op"]]
            if case["op"] in instead:
                assert remedy == f"use {instead[case['op']]}", case


def test_what_is_said_to_write_runs_and_is_equal(found: Any) -> None:
    for case in found["cases"]:
        assert case["good"] == [], case
        assert case.get("int8", []) == [], case
        if "gap" in case:
            gap, tolerance = case["gap"]
            assert gap <= tolerance, case
    assert sum("gap" in case for case in found["cases"]) >= 20


def test_what_is_said_of_types(found: Any) -> None:
    said = {case["op"]: case["bad"] for case in found["cases"] if case["op"] in ("ARG_MAX", "ADD")}
    for op, bad in said.items():
        assert (op, "use int32 instead of int64") in {(name, remedy) for name, _, remedy in bad}


def test_what_is_said_of_quantizations(found: Any) -> None:
    dense, largest, root = (found["quantized"][name] for name in ("dense", "largest", "root"))
    (half,), (hybrid,) = dense["float16"], dense["dynamic_range"]
    assert half[2] == "use quantize: int8, or none"
    assert hybrid[2] == "use quantize: int8 instead of dynamic_range, or none"
    assert dense["int8"] == dense["none"] == []

    (wide,) = largest["int16x8"]
    assert wide[2] == "use quantize: int8 instead of int16x8"
    assert largest["int8"] == []

    (narrow,) = root["int8"]
    assert narrow[2] == "keep it in float32 (keep_float: [SQRT])"
    assert root["none"] == []
