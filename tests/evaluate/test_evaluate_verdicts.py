"""Verdicts of runtimes, from facts alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tflbuild.evaluation import remedies, runtimes
from tflbuild.evaluation.runtimes import also, findings, lines, verdict, verdicts
from tflbuild.tflite.flex_ops import FLEX_OPS, SENTENCEPIECE_OPS, TEXT_OPS, is_flex_op
from tflbuild.verdict import Finding


def row(op: str, kind: str, name: str = "", **more: Any) -> dict[str, Any]:
    return {
        "op": op, "class": kind, "name": name, "node": f"net/{name}/{op}", "function": "",
        "count": 1, "dtypes": ["float32"], "rank": 2, "code": "", "message": "", **more,
    }  # fmt: skip


DET = row("MatrixDeterminant", "select", "determinant")
BETA = row("Betainc", "custom", "beta_head")
MINE = row("MyOp", "custom", "mine")


def model(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    kinds = {r["class"] for r in rows}
    word = "compatible"
    for kind, needs in (
        ("select", "needs select ops"),
        ("custom", "needs custom ops"),
        ("not convertible", "not convertible"),
    ):
        word = needs if kind in kinds else word
    return {
        "verdict": word, "problem": "", "problems": [], "not_builtin": list(rows),
        "ops": {"builtin": {"ADD": 1}, "select": {}, "custom": {}}, "dynamic_inputs": [],
        "advice": "", **more,
    }  # fmt: skip


def words(measured: dict[str, Any], **known: Any) -> dict[str, str]:
    return {name: own["verdict"] for name, own in verdicts(measured, **known).items()}


PLAIN = dict.fromkeys(("litert", "play-services", "select-tf-ops", "custom-ops"), "compatible")


@pytest.mark.parametrize(
    ("rows", "known", "expected"),
    [
        ([], {}, {}),
        (
            [DET],
            {},
            {"litert": "needs select ops", "play-services": "needs select ops",
             "select-tf-ops": "compatible with", "custom-ops": "compatible with"},
        ),
        (
            [DET, BETA],
            {},
            {**dict.fromkeys(PLAIN, "needs custom ops"), "custom-ops": "compatible with"},
        ),
        (
            [DET, MINE],
            {"custom_ops": ["MyOp"]},
            {**dict.fromkeys(PLAIN, "needs custom ops"), "custom-ops": "needs select ops"},
        ),
        (
            [DET, MINE],
            {"custom_ops": ["MyOp"], "select_ops": True},
            {**dict.fromkeys(PLAIN, "needs custom ops"), "custom-ops": "compatible with"},
        ),
        (
            [BETA, MINE],
            {"custom_ops": ["MyOp"]},
            dict.fromkeys(PLAIN, "needs custom ops"),
        ),
        (
            [row("stablehlo.sort", "not convertible", "head")],
            {},
            dict.fromkeys(PLAIN, "not convertible"),
        ),
    ],
)  # fmt: skip
def test_each_runtime(
    rows: list[dict[str, Any]], known: dict[str, Any], expected: dict[str, str]
) -> None:
    assert words(model(*rows), **known) == PLAIN | expected


def test_what_it_is_compatible_with() -> None:
    measured = model(DET, dynamic_inputs=[{"signature": "s", "name": "x", "shape": [None, None]}])
    own = verdict(measured, "select-tf-ops", select_ops=True)

    assert own["with"] == [
        "the Flex delegate for MatrixDeterminant", "the shape of x set by the app before it runs",
    ]  # fmt: skip
    assert own["ops"] == []


def test_a_dynamic_batch_alone_is_no_condition() -> None:
    inputs = [{"signature": "s", "name": "x", "shape": [None, 10]}]

    assert words(model(dynamic_inputs=inputs)) == PLAIN


def test_the_model_of_the_issue() -> None:
    """litert says which ops stop it, where, and which of them select-tf-ops would take."""
    select, custom = findings(model(BETA, DET), "litert")

    assert select.check == "ops.select"
    assert select.message == (
        "tf.linalg.det (MatrixDeterminant) at 'determinant': no builtin; the runtime select-tf-ops"
        " would take it; or write out the formula for small fixed sizes (2×2: a*d - b*c; 3×3:"
        " Sarrus' rule)"
    )
    assert custom.check == "ops.custom"
    assert custom.message.startswith(
        "tf.math.betainc (Betainc) at 'beta_head': no builtin, and no select op either:"
        " select-tf-ops would not take it; custom-ops takes it with a kernel of yours"
    )
    (only,) = findings(model(BETA, DET), "select-tf-ops", select_ops=True)
    assert only == custom
    assert not list(findings(model(DET), "select-tf-ops", select_ops=True))


def test_a_custom_ops_target_is_told_what_to_declare() -> None:
    found = findings(model(DET, MINE), "custom-ops", custom_ops=["Other"])
    messages = {finding.check: finding.message for finding in found}

    assert "select_ops: true" in messages["ops.select"]
    assert "declare a kernel under `ops`" in messages["ops.custom"]
    assert not list(findings(model(MINE), "custom-ops", custom_ops=["MyOp"]))


def test_a_type_that_the_builtin_does_not_take_is_the_reason() -> None:
    pool = row("MaxPool", "select", "pool", dtypes=["float64"])
    (finding,) = findings(model(pool), "litert")

    assert re.search("MaxPool of float64 at 'pool': no builtin for that type", finding.message)
    assert "tf.cast to tf.float32" in finding.message
    assert remedies.type_problem("MaxPool", ["float32"]) == ""
    assert remedies.type_problem("MatrixDeterminant", ["float64"]) == ""


def test_a_shape_that_the_builtin_does_not_take_is_the_reason() -> None:
    (finding,) = findings(model(row("Transpose", "select", "swap", rank=7)), "litert")

    assert "Transpose with 7 dimensions at 'swap': no builtin for such shapes" in finding.message


@pytest.mark.parametrize(
    ("known", "place"),
    [
        ({"name": "a", "function": "f"}, "at 'a' in f()"),
        ({"name": "f", "function": "f"}, "in f()"),
        ({"name": "", "function": "f"}, "in f()"),
        ({"name": "a/b"}, "at 'a/b'"),
        ({"name": "", "node": "MatMul_7"}, "at 'MatMul_7'"),
    ],
)
def test_places_in_a_sentence(known: dict[str, str], place: str) -> None:
    assert runtimes.sentence(row("MyOp", "custom", **known)) == f"MyOp {place}"


def test_what_no_runtime_takes() -> None:
    sort = row("stablehlo.other", "not convertible", "ranking/sort")
    loop = row("tf.Enter", "not convertible", code="control-flow-v1", node="", dtypes=[])
    other = row("", "not convertible", node="", dtypes=[], message="it has no shape")
    (finding,) = findings(model(sort, loop, other), "litert")

    assert finding.check == "convertible"
    assert finding.message.startswith(
        "the converter does not take stablehlo.other at 'ranking/sort'; tf.Enter: loops and"
        " branches of TensorFlow 1"
    )
    assert finding.message.endswith("; the model (it has no shape)")
    assert verdict(model(sort), "litert")["verdict"] == "not convertible"


def test_many_ops_are_one_line() -> None:
    rows = [row(f"Op{i}", "custom", f"layer{i}") for i in range(40)]
    (finding,) = findings(model(*rows), "litert")

    assert "Op2 at 'layer2'; and 37 more" in finding.message
    assert len(finding.message) < 400


def test_where_it_could_also_ship() -> None:
    assert also(verdicts(model()), ["litert"]) == ["play-services"]
    assert also(verdicts(model(micro=[])), ["litert"]) == ["play-services", "micro"]
    assert also(verdicts(model(DET)), ["litert"]) == ["select-tf-ops"]
    assert also(verdicts(model(DET)), ["litert", "select-tf-ops"]) == []
    assert also(verdicts(model(BETA)), ["litert"]) == ["custom-ops"]


def test_micro_says_what_it_has_no_kernel_for() -> None:
    problem = {"op": "GELU", "layer": "act", "why": "no kernel", "remedy": "use RELU"}
    measured = model(micro=[problem])

    assert words(measured)["micro"] == "needs custom ops"
    assert list(findings(measured, "micro")) == [
        Finding("fail", "ops.micro", "GELU at 'act': no kernel; use RELU")
    ]
    assert "micro" not in words(model())


def test_lines_for_people() -> None:
    layers = [
        {"name": "conv1", "macs": 75, "ops": {}, "traffic_bytes": 1, "params": 1},
        {"name": "conv2", "macs": 25, "ops": {}, "traffic_bytes": 1, "params": 1},
    ]
    measured = model(DET, macs=100, layers=layers)

    assert lines(measured, verdicts(measured), ["litert"]) == [
        "most of the work is in conv1 75 %, conv2 25 %",
        "litert cannot take tf.linalg.det (MatrixDeterminant) at 'determinant'",
        "instead of tf.linalg.det: write out the formula for small fixed sizes (2×2: a*d - b*c;"
        " 3×3: Sarrus' rule)",
        "you could also ship to: select-tf-ops (with the Flex delegate for MatrixDeterminant)",
    ]
    assert lines(model(), verdicts(model()), ["litert", "play-services"]) == []


def test_lines_tell_the_reason() -> None:
    swap = row("Transpose", "select", "swap", rank=8)
    pool = row("MaxPool", "select", "pool", dtypes=["float64"])
    measured = model(swap, pool)

    assert (
        "litert cannot take Transpose with 8 dimensions at 'swap', MaxPool of float64 at 'pool'"
        in lines(measured, verdicts(measured), ["litert"])
    )


def test_facts_without_places_still_give_a_verdict() -> None:
    measured = model(verdict="needs select ops")
    del measured["not_builtin"]
    measured["ops"] = {"builtin": {}, "select": {"FlexFoo": 2}, "custom": {}}
    (finding,) = findings(measured, "litert")

    assert finding.message.startswith("Foo (×2): no builtin")


def test_the_list_of_the_flex_delegate() -> None:
    assert len(FLEX_OPS) == 744
    assert is_flex_op("FlexMatrixDeterminant")
    assert is_flex_op("tf.MatrixDeterminant")
    assert not is_flex_op("Betainc")
    assert not FLEX_OPS & (TEXT_OPS | SENTENCEPIECE_OPS)


def test_remedies_are_short_and_whole() -> None:
    assert len(remedies.REMEDIES) >= 40
    for op, known in remedies.REMEDIES.items():
        assert known.call, op
        assert known.text, op
        assert len(known.text) < 200, op
        assert "\n" not in known.text
