"""The table of kernels against the interpreter itself."""

from __future__ import annotations

from typing import Any

import micro_ops
import pytest
from ai_edge_litert import schema_py_generated as schema

from tflbuild.micro import estimate
from tflbuild.micro.check import problems
from tflbuild.micro.ops import BUILTIN, CUSTOM, kernel
from tflbuild.tflite.read import read_model

# Kernels that do not look at these types and take the bytes for others: they "run", and compute
# nonsense (a 64-bit bias as 32-bit numbers, floats as bools).
READS_NONSENSE = {
    *(f"LOGICAL_{n} {t}{t}>{t}" for n in ("AND", "OR") for t in "fbhilue"),
    "CONV_2D bbl>b",
    "DEPTHWISE_CONV_2D bbl>b",
    "DEPTHWISE_CONV_2D hbi>h",
    "FULLY_CONNECTED bbl>b",
    "PRELU fb>f",
    "TRANSPOSE_CONV ibbl>b",
    "TRANSPOSE_CONV ibhi>h",
    "TRANSPOSE_CONV ihhl>h",
}


def test_the_check_and_the_interpreter_agree(said: dict[str, Any]) -> None:
    wrong = []
    for name, data in micro_ops.cases():
        found = problems(read_model(data))
        runs = said[name]["runs"] and name not in READS_NONSENSE
        if runs == bool(found):
            wrong.append((name, [p["why"] for p in found], said[name]["said"][-200:]))
    assert not wrong
    assert sum(s["runs"] for s in said.values()) > 300
    assert sum(not s["runs"] for s in said.values()) > 300


def test_what_runs_as_nonsense_still_does(said: dict[str, Any]) -> None:
    """A case that is refused now belongs to the table's own business."""
    assert {name for name in READS_NONSENSE if not said[name]["runs"]} == set()


def test_most_kernels_are_asked(said: dict[str, Any]) -> None:
    asked = {name.split()[0] for name, result in said.items() if result["runs"]}
    left = {"ASSIGN_VARIABLE", "CALL_ONCE", "IF", "READ_VARIABLE", "SVDF", "VAR_HANDLE", "WHILE"}
    assert set(BUILTIN) - asked == {*left, "UNIDIRECTIONAL_SEQUENCE_LSTM"}


def test_names_of_the_schema() -> None:
    assert set(BUILTIN) <= set(vars(schema.BuiltinOperator))
    assert len({k.add for k in (*BUILTIN.values(), *CUSTOM.values())}) == len(BUILTIN) + len(CUSTOM)


@pytest.mark.parametrize(
    ("name", "kind", "add"),
    [
        ("CONV_2D", "builtin", "AddConv2D"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "builtin", "AddUnidirectionalSequenceLSTM"),
        ("SignalRfft", "custom", "AddRfft"),
        ("ethos-u", "custom", "AddEthosU"),
    ],
)
def test_kernel(name: str, kind: str, add: str) -> None:
    found = kernel(name, kind)
    assert found is not None
    assert found.add == add


def test_a_custom_operator_is_not_the_builtin_of_its_name() -> None:
    assert kernel("CONV_2D", "custom") is None
    assert kernel("SignalRfft", "builtin") is None


def test_the_estimate_of_one_operator(said: dict[str, Any]) -> None:
    """The head is exact, the tail within 10 %."""
    wrong = []
    for name, data in micro_ops.cases():
        if (real := said[name])["runs"]:
            ours = estimate.estimate(read_model(data))
            near = abs(ours["tail_bytes"] - real["tail"]) <= real["tail"] / 10
            if ours["head_bytes"] != real["head"] or not near:
                wrong.append((name, ours, real))
    assert not wrong
