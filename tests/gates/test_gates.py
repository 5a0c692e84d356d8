"""Gates: pure functions of measurement and manifest."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from tflbuild import gates, parity_gate
from tflbuild.manifest.model import (
    Accelerator,
    Budgets,
    CustomOp,
    Metric,
    MetricLimits,
    Model,
    Optimization,
    ParityLimits,
    Shipped,
    Source,
    Target,
)
from tflbuild.optimizations import ai_edge
from tflbuild.verdict import Verdict

LITERT = Target("litert", "litert")
MODEL = Model("m", Source("keras", "m.keras"), (), ("litert",))
EVALUATED: dict[str, Any] = {
    "verdict": "compatible", "problem": "", "problems": [], "params": 1000, "macs": 5000,
    "ops": {"builtin": {"ADD": 1}},
}  # fmt: skip
FILE: dict[str, Any] = {
    "size": 1000, "ops": {"builtin": {"ADD": 1}, "select": {}, "custom": {}}, "problem": "",
    "params": 100, "macs": {"total": 5000}, "float_ops": {"ADD": 1},
    "dtypes": {"float32": {"kind": "computed", "op": "ADD", "layer": "sum"}},
    "sizes": {"weights_bytes": 400, "input_bytes": 40, "output_bytes": 8},
    "dynamic": {"io": [], "inner": False},
    "memory": {"peak_bytes": 64, "arena_bytes": 128}, "traffic_bytes": 500,
}  # fmt: skip


RUN: dict[str, Any] = {
    "problem": None, "unmeasured": None, "outputs": [], "head_bytes": 60, "tail_bytes": 40,
}  # fmt: skip
MICRO: dict[str, Any] = {"problems": [], "run": RUN, "estimated": False, "arena_bytes": 100}


def target(**own: Any) -> Target:
    """A target `t` of the runtime litert."""
    return Target("t", own.pop("runtime", "litert"), **own)


def files(**ops: dict[str, int]) -> dict[str, Any]:
    return {"ops": {"builtin": {}, "select": {}, "custom": {}, **ops}}


def validated(representative: bool = True, **numbers: Any) -> dict[str, Any]:
    good = {
        "signature": "s", "output": "y", "kind": "float", "finite": True, "source_finite": True,
        "constant": False, "equal": False, "sqnr": 120.0, "cosine": 1.0, "max_abs_error": 0.0,
        "max_range_error": 0.0,
    }  # fmt: skip
    signatures = [{"signature": "s", "representative": representative}]
    return {"signatures": signatures, "parity": [{**good, **numbers}], "metrics": []}


def judge(quantize: str, measured: dict[str, Any], limits: ParityLimits | None = None) -> Verdict:
    model = replace(MODEL, signatures=(Shipped(parity=limits or ParityLimits()),))
    before = copy.deepcopy(measured)
    settings = {"weights": "int4"} if quantize.endswith("_int4") else {}
    optimization = Optimization("o", quantize.removesuffix("_int4"), settings=settings)
    verdict = gates.validate_gate(measured, model, optimization)
    assert measured == before
    assert verdict == gates.validate_gate(measured, model, optimization)
    return verdict


# Version 2 of the table of docs/VALIDATION.md: fails below, warns below, cosine, max_range_error.
TABLE = [
    ("none", 80, 100, None, 1e-4),
    ("float16", 25, 40, 0.998, None),
    ("dynamic_range", 18, 23, 0.99, None),
    ("int16x8", 18, 23, 0.99, None),
    ("int8", 13, 18, 0.975, None),
    ("qat", 13, 18, 0.975, None),
    ("weight_only", 18, 23, 0.99, None),
    ("weight_only_int4", 3, 10, None, None),
    ("dynamic_range_int4", 3, 10, None, None),
    ("int8_int4", 3, 10, None, None),
    ("recipe", 3, 10, None, None),
]


@pytest.mark.parametrize(("quantize", "fails", "warns", "cosine", "error"), TABLE)
def test_default_limits(
    quantize: str, fails: float, warns: float, cosine: float | None, error: float | None
) -> None:
    assert judge(quantize, validated(sqnr=float(warns))).findings == ()
    assert judge(quantize, validated(sqnr=None, equal=True)).findings == ()  # no error at all
    warned = judge(quantize, validated(sqnr=warns - 0.01))
    assert warned.passed
    assert [f.check for f in warned.warnings] == ["parity.sqnr"]
    assert judge(quantize, validated(sqnr=float(fails))).passed
    failed = judge(quantize, validated(sqnr=fails - 0.01))
    assert [f.check for f in failed.failures] == ["parity.sqnr"]
    assert failed.failures[0].message == (
        f"sqnr of output 'y' is {fails - 0.01:.4g} dB, below the limit {fails} dB,"
        f" default for {quantize}"
    )
    low_cosine = judge(quantize, validated(cosine=(cosine or 0) - 0.0001))
    assert [f.check for f in low_cosine.failures] == (["parity.cosine"] if cosine else [])
    far = judge(quantize, validated(max_range_error=2e-4))
    assert [f.check for f in far.failures] == (["parity.max_range_error"] if error else [])
    assert judge(quantize, validated(max_range_error=1e-4)).passed


def test_the_table_is_whole() -> None:
    assert sorted(parity_gate.PARITY) == sorted(row[0] for row in TABLE)
    assert parity_gate.PARITY_VERSION == 2


@pytest.mark.parametrize("quantize", [row[0] for row in TABLE])
def test_on_random_data_quantized_files_only_warn(quantize: str) -> None:
    verdict = judge(quantize, validated(False, sqnr=1.0, cosine=0.1))
    assert verdict.passed == (quantize != "none")
    assert "data" in [f.check for f in verdict.warnings]
    assert not judge(quantize, validated(False, sqnr=19.0), ParityLimits(sqnr=20)).passed  # own


@pytest.mark.parametrize("representative", [True, False])
@pytest.mark.parametrize(
    ("numbers", "check"),
    [
        ({"finite": False, "sqnr": None}, "parity.finite"),
        ({"source_finite": False, "sqnr": None}, "parity.finite"),
        ({"constant": True}, "parity.constant"),
    ],
)
def test_nan_and_constant_always_fail(
    numbers: dict[str, Any], check: str, representative: bool
) -> None:
    lax = ParityLimits(sqnr=-1000, cosine=-1, max_range_error=1e9, max_abs_error=1e9)
    for limits in (None, lax):
        verdict = judge("int8", validated(representative, **numbers), limits)
        assert [f.check for f in verdict.failures] == [check]


@pytest.mark.parametrize(
    ("limits", "numbers", "message"),
    [
        (ParityLimits(sqnr=30), {"sqnr": 29.9}, "is 29.9 dB, below the limit 30 dB"),
        (ParityLimits(cosine=0.9999), {"cosine": 0.999}, "is 0.999, below the limit 0.9999"),
        (ParityLimits(max_range_error=0.1), {"max_range_error": 0.2}, "0.2, above the limit 0.1"),
        (ParityLimits(max_abs_error=0.5), {"max_abs_error": 0.75}, "is 0.75, above the limit 0.5"),
    ],
)  # fmt: skip
def test_own_limits(limits: ParityLimits, numbers: dict[str, Any], message: str) -> None:
    verdict = judge("int8", validated(**numbers), limits)
    assert [f.message.endswith(message) for f in verdict.failures] == [True]


def test_an_own_limit_takes_the_place_of_the_default() -> None:
    assert judge("int8", validated(sqnr=5.0), ParityLimits(sqnr=4)).findings == ()
    assert not judge("int8", validated(sqnr=5.0, cosine=0.5), ParityLimits(sqnr=4)).passed


def test_outputs_that_are_not_numbers() -> None:
    exact = {"signature": "s", "output": "y", "kind": "exact", "finite": True}
    good, bad = validated(), validated()
    good["parity"], bad["parity"] = [{**exact, "equal": True}], [{**exact, "equal": False}]
    assert judge("none", good).passed
    assert not judge("none", bad).passed


@pytest.mark.parametrize(
    ("limits", "passed"),
    [
        (MetricLimits("accuracy", min=0.9), True),
        (MetricLimits("accuracy", min=0.91), False),
        (MetricLimits("accuracy", max_drop=0.05), True),  # 0.95 - 0.9 in floating point
        (MetricLimits("accuracy", max_drop=0.04), False),
        (MetricLimits("accuracy", min=0.9, max_drop=0.05), True),
    ],
)
def test_metrics(limits: MetricLimits, passed: bool) -> None:
    measured = validated()
    measured["metrics"] = [
        {
            "signature": "s",
            "name": "accuracy",
            "file": 0.9,
            "source": 0.95,
            "samples": 100,
            "float": None,
        }
    ]
    model = replace(MODEL, signatures=(Shipped(metrics=(Metric("accuracy", (limits,)),)),))
    verdict = gates.validate_gate(measured, model, Optimization("o"))
    assert verdict.passed is passed
    if not passed:
        assert "0.9" in verdict.failures[0].message
        assert verdict.failures[0].check.startswith("metrics.accuracy.")


@pytest.mark.parametrize(
    ("limits", "failed"),
    [
        (Budgets(max_params=1000, max_macs=5000), []),
        (Budgets(max_params=999), ["evaluate.max_params"]),
        (Budgets(max_macs=4999), ["evaluate.max_macs"]),
    ],
)
def test_evaluation_limits(limits: Budgets, failed: list[str]) -> None:
    verdict, _ = gates.evaluate_gate(EVALUATED, replace(MODEL, evaluate=limits), [LITERT])
    assert [f.check for f in verdict.failures] == failed


def test_a_model_that_no_target_takes_stops() -> None:
    ops = {"builtin": {}, "select": {"Foo": 2}}
    measured = {**EVALUATED, "ops": ops, "verdict": "needs select ops"}
    verdict, by_target = gates.evaluate_gate(measured, MODEL, [LITERT])
    assert not verdict.passed
    assert "target litert: Foo (×2)" in verdict.failures[0].message
    # What its target said before conversion blocks its files, too.
    assert not gates.compat_gate(FILE, LITERT, by_target["litert"]).passed


@pytest.mark.parametrize(
    ("file", "target", "check"),
    [
        ({}, LITERT, None),
        ({}, target(budgets=Budgets(max_size=1000)), None),
        ({}, target(budgets=Budgets(max_size=999)), "size"),
        ({}, target(budgets=Budgets(max_params=99)), "params"),
        ({}, target(budgets=Budgets(max_macs=4999)), "macs"),
        ({}, target(budgets=Budgets(max_weights=399)), "weights"),
        ({}, target(budgets=Budgets(max_io=47)), "io"),
        ({}, target(budgets=Budgets(max_activations=63)), "activations"),
        ({}, target(budgets=Budgets(max_traffic=499)), "traffic"),
        ({}, target(budgets=Budgets(max_arena=127)), "arena"),
        ({"micro": {"arena_bytes": 100}}, target(budgets=Budgets(max_arena=127)), None),
        ({"memory": {}}, target(budgets=Budgets(max_arena=127)), "arena"),
        ({"problem": "no"}, LITERT, "loads"),
        (files(custom={"X": 1}), LITERT, "ops.custom"),
        (files(select={"X": 1}), LITERT, "ops.select"),
        (files(select={"X": 1}), target(runtime="play-services"), "ops.select"),
        (files(select={"X": 1}), target(runtime="select-tf-ops"), None),
        (files(custom={"X": 1}), target(runtime="select-tf-ops"), "ops.custom"),
        (files(custom={"X": 1}), target(runtime="custom-ops", ops=(CustomOp("X"),)), None),
        (files(custom={"Y": 1}), target(runtime="custom-ops", ops=(CustomOp("X"),)), "ops.custom"),
        (files(select={"Y": 1}), target(runtime="custom-ops", ops=(CustomOp("X"),)), "ops.select"),
        (
            files(select={"Y": 1}),
            target(runtime="custom-ops", ops=(CustomOp("X"),), select_ops=True),
            None,
        ),
        ({}, target(allow_ops=("ADD",)), None),
        ({}, target(allow_ops=("MUL",)), "allow_ops"),
        ({}, target(deny_ops=("MUL",)), None),
        ({}, target(deny_ops=("ADD",)), "deny_ops"),
        ({}, target(dtypes=("float32", "int8")), None),
        ({}, target(dtypes=("int8",)), "dtypes"),
        ({}, target(static_shapes=True), None),
        ({"dynamic": {"io": [], "inner": True}}, target(static_shapes=True), "static_shapes"),
        (
            {"dynamic": {"io": [{"signature": "", "name": "x", "shape": [-1]}], "inner": False}},
            target(static_shapes=True),
            "static_shapes",
        ),
    ],
)
def test_compat(file: dict[str, Any], target: Target, check: str | None) -> None:
    verdict = gates.compat_gate({**FILE, **file}, target, None)
    assert [f.check for f in verdict.failures] == ([check] if check else [])


def test_a_budget_shows_its_margin() -> None:
    measured = {**FILE, "size": 412_300}
    for limit, text, passed in ((500_000, "412 KB of 500 KB", True), (400_000, "", False)):
        own = target(budgets=Budgets(max_size=limit, max_macs=20_000_000))
        verdict = gates.compat_gate(measured, own, None)
        size, macs = verdict.margins
        assert verdict.passed is passed
        assert macs.text == "5,000 of 20M"
        assert size.text == text or "12,300 too many (max_size of target t)" in (
            verdict.failures[0].message
        )
        assert verdict.as_json()["margins"][0]["left"] == limit - 412_300


def test_a_missed_budget_says_where_it_goes() -> None:
    peak = {"name": "CONV_2D", "layer": "conv;bias"}
    measured = {**FILE, "memory": {"peak_bytes": 64, "arena_bytes": 300, "peak": peak}}
    own = target(budgets=Budgets(max_arena=100, max_size=900))
    size, arena = gates.compat_gate(measured, own, None).failures
    assert arena.message == (
        "the arena: 300 B of 100 B, 3 times it (max_arena of target t);"
        " most of it at CONV_2D 'conv'"
    )
    assert size.message.endswith("(max_size of target t); weights are 400 B of it")
    model = replace(MODEL, evaluate=Budgets(max_macs=4000))
    layers = [{"name": "head", "macs": 100, "params": 9}, {"name": "conv", "macs": 4900}]
    verdict, _ = gates.evaluate_gate({**EVALUATED, "layers": layers}, model, [LITERT])
    assert verdict.failures[0].message.endswith("; most of it in conv: 4,900")


def test_a_missed_budget_names_its_signature() -> None:
    peak = {"name": "CONV_2D", "layer": "conv"}
    measured = {
        **FILE, "macs": {"total": 5000, "signature": "b"}, "traffic_signature": "a",
        "sizes": {**FILE["sizes"], "signature": "c"},
        "memory": {"peak_bytes": 64, "signature": "d", "arena_bytes": 128, "arena_signature": "e",
                   "peak": peak},
    }  # fmt: skip
    limits = Budgets(max_macs=9, max_traffic=9, max_io=9, max_activations=9, max_arena=9)
    verdict = gates.compat_gate(measured, target(budgets=limits), None)
    tails = {f.check: f.message.split("; ", 1)[1] for f in verdict.failures}
    assert tails == {
        "macs": "in signature 'b'",
        "traffic": "in signature 'a'",
        "io": "in signature 'c'",
        "activations": "in signature 'd'; most of it at CONV_2D 'conv'",
        "arena": "in signature 'e'",  # the peak is elsewhere
    }
    layers = [{"name": "conv", "macs": 4900}]  # of whichever signature
    measured = {**EVALUATED, "layers": layers, "macs_signature": "b"}
    verdict, _ = gates.evaluate_gate(
        measured, replace(MODEL, evaluate=Budgets(max_macs=9)), [LITERT]
    )
    assert verdict.failures[0].message.endswith("; in signature 'b'")


TYPES = [
    ("int64", "computed", "ARG_MAX", ("int32",), "cast it in the model (output_type=tf.int32)"),
    ("int64", "computed", "ADD", ("int32",), "cast it in the model (tf.cast(…, tf.int32))"),
    ("int32", "computed", "SHAPE", ("int8",), "pin the shape with `inputs`"),
    ("float32", "input", "", ("int8",), "quantize: int8 with io: int8"),
    ("float32", "computed", "SIN", ("int16",), "quantize: int16x8"),
    ("float32", "computed", "SIN", ("int32",), "add float32 to dtypes, or an integer type"),
    ("float16", "weights", "CONV_2D", ("float32",), "the optimization stores weights so"),
    ("int8", "weights", "CONV_2D", ("float32",), "leave out the quantization"),
    ("string", "input", "", ("float32",), "compute this part outside the model"),
]


@pytest.mark.parametrize(("dtype", "kind", "op", "allowed", "remedy"), TYPES)
def test_a_type_that_a_target_lacks(
    dtype: str, kind: str, op: str, allowed: tuple[str, ...], remedy: str
) -> None:
    types = {dtype: {"kind": kind, "op": op, "layer": "here;fused"}}
    verdict = gates.compat_gate({**FILE, "dtypes": types}, target(dtypes=allowed), None)
    (failure,) = verdict.failures
    where, said = failure.message.split(": ", 1)
    begins = {"input": "input 'here' is", "computed": f"{op} 'here' gives",
              "weights": f"weights of {op} 'here' are"}[kind]  # fmt: skip
    assert where == f"{begins} {dtype}, and dtypes of target t allows {', '.join(allowed)}"
    assert said.startswith(remedy)


def test_a_dynamic_input_names_its_signature() -> None:
    io = [{"signature": "b", "name": "x", "shape": [-1]}]
    measured = {**FILE, "dynamic": {"io": io, "inner": False}}
    (failure,) = gates.compat_gate(measured, target(static_shapes=True), None).failures
    assert "shapes of x (signature 'b') are known only" in failure.message


def test_a_model_has_budgets_for_all_its_files() -> None:
    model = replace(MODEL, compat=Budgets(max_size=999))
    verdict = gates.compat_gate(FILE, LITERT, None, model, Optimization("o"))
    assert [f.check for f in verdict.failures] == ["size"]
    assert "max_size of compat" in verdict.failures[0].message


def test_what_no_optimization_changes_is_judged_before_conversion() -> None:
    small = target(budgets=Budgets(max_macs=4999, max_size=1))
    verdict, by_target = gates.evaluate_gate(EVALUATED, MODEL, [small, LITERT])
    assert verdict.passed  # the other target takes it
    assert [f.check for f in by_target["t"].failures] == ["macs"]


TAKEN: dict[str, Any] = {
    "ops": 1, "delegated": 1, "share_ops": 1.0, "share_macs": 1.0, "partitions": 1, "breaks": [],
    "by_default": {"share_ops": 1.0, "share_macs": 1.0}, "pieces": [], "blocked": None,
    "pinned": None, "observed": False, "note": "", "signature": "",
}  # fmt: skip
KNOWN: dict[str, Any] = {
    **EVALUATED, "ops": {"builtin": {"GELU": 1}, "select": {}, "custom": {}}, "dynamic_inputs": [],
    "delegates": {"gpu": {**TAKEN, "blocked": "an open batch"}, "xnnpack": TAKEN},
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "own", "check"),
    [
        ({}, {}, None),
        ({}, {"static_shapes": True}, None),
        ({"dynamic_inputs": [{"name": "x", "shape": [None]}]}, {"static_shapes": True},
         "static_shapes"),
        ({}, {"deny_ops": ("GELU",)}, "deny_ops"),
        ({}, {"allow_ops": ("ADD",)}, "allow_ops"),
        ({}, {"min_runtime": ("tensorflow", "2.4")}, "min_runtime"),
        ({}, {"min_runtime": ("tensorflow", "2.14")}, None),
        ({}, {"accelerators": (Accelerator("xnnpack"),)}, None),
        ({}, {"accelerators": (Accelerator("gpu"),)}, "accelerator.gpu"),
    ],
)  # fmt: skip
def test_what_a_target_asks_is_judged_before_conversion(
    facts: dict[str, Any], own: dict[str, Any], check: str | None
) -> None:
    """What no optimization changes: a person learns it before the conversion."""
    _, by_target = gates.evaluate_gate({**KNOWN, **facts}, MODEL, [target(**own)])
    assert [f.check for f in by_target["t"].failures] == ([check] if check else [])


def test_a_file_that_nothing_ran() -> None:
    """Targets share a validation; each says for itself whether it takes a file without."""
    lax = target(runtime="select-tf-ops", unvalidated=True)
    strict = replace(lax, name="s", unvalidated=False)
    measured = {**validated(), "unvalidated": "its select TF ops FlexDet need the Flex delegate"}
    for targets, passes in (((lax,), True), ((lax, strict), True), ((strict,), False)):
        optimization = Optimization("o")
        verdict = gates.validate_gate(measured, MODEL, optimization, targets=targets)
        assert verdict.passed is passes
        assert any(f.message.startswith("not validated: ") for f in verdict.findings)
    assert gates.unvalidated(measured["unvalidated"], lax) == ""
    assert gates.unvalidated("", strict) == ""
    assert "give target s `flex_library`" in gates.unvalidated(measured["unvalidated"], strict)


@pytest.mark.parametrize(
    ("floats", "optimization", "passes"),
    [
        ({"SIN": 1}, Optimization("o", "int8", "int8"), False),
        ({"SIN": 1}, Optimization("o", "int8", settings={"float_ops": "allow"}), True),
        ({"SIN": 1}, Optimization("o", "int8", settings={"keep_float": ["a"]}), True),
        ({"QUANTIZE": 1, "DEQUANTIZE": 1}, Optimization("o", "int8"), True),
        ({"QUANTIZE": 1}, Optimization("o", "int8", "int8"), False),
        ({"SIN": 1}, Optimization("o", "none"), True),
        ({}, Optimization("o", "int8", "int8"), True),
    ],
)
def test_float_operators_of_int8_on_micro(
    floats: dict[str, int], optimization: Optimization, passes: bool
) -> None:
    measured = {**FILE, "float_ops": floats, "micro": MICRO}
    verdict = gates.compat_gate(measured, target(runtime="micro"), None, MODEL, optimization)
    assert [f.check for f in verdict.failures] == ([] if passes else ["float_ops"])
    assert gates.compat_gate(measured, LITERT, None, MODEL, optimization).passed


@pytest.mark.parametrize(
    ("micro", "failed", "warned"),
    [
        ({}, [], []),
        ({"problems": [{"op": "RFFT2D", "layer": "y", "why": "no kernel", "remedy": ""}],
          "run": None}, ["micro.kernels"], []),
        ({"problems": [{"op": f"X{i}", "layer": "", "why": "", "remedy": ""} for i in range(7)],
          "run": None}, ["micro.kernels"] * 6, []),
        ({"problems": [{"op": "X", "layer": "", "why": "", "remedy": ""}] * 2, "run": None},
         ["micro.kernels"], []),
        ({"run": None}, [], ["micro.run"]),
        ({"run": {**RUN, "problem": "ended by SIGSEGV"}}, ["micro.run"], []),
        ({"run": {**RUN, "unmeasured": "for an Ethos-U"}}, [], ["micro.run"]),
        ({"run": {**RUN, "outputs": [{"name": "y", "dtype": "int8", "equal": True}]}}, [], []),
        ({"run": {**RUN, "outputs": [
            {"name": "y", "dtype": "int8", "equal": False, "largest_steps": 2}]}},
         [], ["micro.outputs"]),
        ({"run": {**RUN, "outputs": [
            {"name": "y", "dtype": "int8", "equal": False, "largest_steps": 42}]}},
         ["micro.outputs"], []),
        ({"run": {**RUN, "outputs": [
            {"name": "y", "dtype": "float32", "equal": False, "largest_error": 0.001}]}},
         [], ["micro.outputs"]),
        ({"run": {**RUN, "outputs": [
            {"name": "y", "dtype": "float32", "equal": False, "largest_error": None}]}},
         ["micro.outputs"], []),
    ],
)  # fmt: skip
def test_what_tflite_micro_says(
    micro: dict[str, Any], failed: list[str], warned: list[str]
) -> None:
    measured = {**FILE, "micro": {**MICRO, **micro}, "memory": {"peak": None}}
    verdict = gates.compat_gate(measured, target(runtime="micro"), None)
    assert [f.check for f in verdict.failures] == failed
    assert [f.check for f in verdict.warnings] == warned


@pytest.mark.parametrize(
    ("limit", "passes"),
    [(("tensorflow", "2.14"), True), (("tensorflow", "2.1"), False), (("litert", "1.0"), True)],
)
def test_the_oldest_runtime(limit: tuple[str, str], passes: bool) -> None:
    need = {"op": "CONV_2D", "version": 5, "since": "2.4.0", "count": 1, "why": "int4 weights",
            "first": {"subgraph": 0, "op": 0, "layer": "conv"}}  # fmt: skip
    measured = {**FILE, "versions": {
        "needs": [need], "unknown": [], "min_runtime": {"tensorflow": "2.4.0", "litert": "1.0.0"},
    }}  # fmt: skip
    verdict = gates.compat_gate(measured, target(min_runtime=limit), None)
    assert verdict.passed is passes
    if passes:
        assert verdict.met[0].startswith(f"runtime: needs {limit[0]} ")
    else:
        assert "CONV_2D version 5 at 'conv'" in verdict.failures[0].message


def test_what_a_delegate_does_not_take() -> None:
    some = {"ops": 4, "delegated": 3, "share_ops": 0.75, "share_macs": 0.6, "partitions": 1,
            "by_default": {"share_ops": 0.75, "share_macs": 0.6}, "pieces": [], "blocked": None,
            "breaks": [{"op": "ARG_MAX", "count": 1, "index": 3, "layer": "y", "why": "no"}],
            "pinned": None, "observed": False, "note": ""}  # fmt: skip
    measured = {**FILE, "delegates": {"gpu": some}}
    for accelerator, passes in (
        (Accelerator("gpu"), False),
        (Accelerator("gpu", min_macs=0.7), False),
        (Accelerator("gpu", min_macs=0.5), True),
    ):
        verdict = gates.compat_gate(measured, target(accelerators=(accelerator,)), None)
        assert verdict.passed is passes
        assert all(f.check == "accelerator.gpu" for f in verdict.failures)


RULES: list[tuple[list[dict[str, str]], str]] = [
    ([{"quantize": "int8"}], "int8"),
    ([{"quantize": "int16x8"}], "int16x8"),
    ([{"quantize": "float16"}], "float16"),
    ([{}], "dynamic_range"),
    ([{"quantize": "weight_only"}], "weight_only"),
    ([{"quantize": "weight_only", "weights": "int4"}], "weight_only_int4"),
    ([{"quantize": "int8", "weights": "int4"}], "int8_int4"),
    ([{"weights": "int4", "granularity": "blockwise_32"}], "dynamic_range_int4"),
    ([{"quantize": "none", "op": "ADD"}, {"quantize": "float16"}, {"quantize": "int8"}], "int8"),
    ([{"quantize": "int8"}, {"weights": "int4"}], "dynamic_range_int4"),
    ([{"quantize": "none"}], "recipe"),
]


@pytest.mark.parametrize(("rules", "row"), RULES)
def test_a_recipe_is_judged_by_what_its_rules_make(rules: list[dict[str, str]], row: str) -> None:
    entries = ai_edge.recipe(rules, "float32")
    assert parity_gate.recipe_row(entries) == row
    limits = parity_gate.PARITY[row]
    model = replace(MODEL, signatures=(Shipped(),))
    for sqnr, passes in ((limits.fail_sqnr - 0.1, False), (limits.fail_sqnr + 0.1, True)):
        measured = validated(sqnr=sqnr, cosine=0.9999)
        verdict = gates.validate_gate(measured, model, Optimization("o", "recipe"), (), entries)
        assert verdict.passed is passes


def test_an_entry_that_nobody_knows_is_judged_mildly() -> None:
    odd = {"regex": ".*", "operation": "*", "algorithm_key": "NEW", "op_config": {
        "activation_tensor_config": {"num_bits": 4}}}  # fmt: skip
    assert parity_gate.recipe_row([odd]) == "recipe"


def test_every_thing_that_is_judged_is_counted() -> None:
    """A report of a CI has a line for what holds too, and the line keeps its name."""
    limits, name = ParityLimits(max_abs_error=0.5), ("parity.max_abs_error", "y")
    for error, passed in ((0.25, True), (0.75, False)):
        checks = judge("int8", validated(max_abs_error=error), limits).checks
        assert [(c.check, c.of) for c in checks] == [
            ("parity.sqnr", "y"), ("parity.cosine", "y"), name,
        ]  # fmt: skip
        assert [c.passed for c in checks] == [True, True, passed]
    assert checks[0].text == "sqnr of output 'y' is 120 dB (at least 13 dB, default for int8)"
    soft = judge("int8", validated(False, sqnr=1.0))
    assert [c.passed for c in soft.checks] == [True, True]
    assert "which only warns" in soft.checks[0].text
    assert [w.of for w in soft.warnings] == ["y", ""]  # and that the data are random
    (equal,) = judge("none", validated(equal=True)).checks
    assert (equal.name, equal.passed) == ("parity.equal of y", True)


def test_what_a_target_asks_is_counted() -> None:
    small = target(budgets=Budgets(max_size=999, max_params=100))
    checks = {c.check: c.passed for c in gates.compat_gate(FILE, small, None).checks}
    assert checks == {"ops": True, "size": False, "params": True}
    _, by_target = gates.evaluate_gate(EVALUATED, MODEL, [small])
    assert [c.as_json() for c in by_target["t"].checks][1] == {
        "check": "params", "of": "", "passed": False,
        "text": "parameters: 1,000 of 100, 10 times it (max_params of target t)",
    }  # fmt: skip
