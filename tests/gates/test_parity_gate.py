"""Limits by output and by optimization, top-k, whom to blame, and limits that mean nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tflbuild import gates, parity_gate
from tflbuild.errors import Position
from tflbuild.manifest.model import (
    FileData,
    Model,
    Optimization,
    ParityLimits,
    RandomData,
    Shipped,
    Source,
    TopK,
)
from tflbuild.manifest.parity import of_output, over, top_k_of
from tflbuild.verdict import Verdict

SOUND: dict[str, Any] = {
    "signature": "s", "kind": "float", "finite": True, "source_finite": True, "constant": False,
    "equal": False, "sqnr": 60.0, "cosine": 1.0, "max_abs_error": 0.1, "max_range_error": 0.01,
}  # fmt: skip


def output(name: str, **numbers: Any) -> dict[str, Any]:
    return {**SOUND, "output": name, **numbers}


def text(name: str) -> dict[str, Any]:
    return {"signature": "s", "output": name, "kind": "exact", "equal": True, "finite": True}


def judge(
    *parity: dict[str, Any],
    limits: ParityLimits | None = None,
    own: ParityLimits | None = None,
    quantize: str = "int8",
    keys: tuple[str, ...] = (),
    said: tuple[str, ...] = (),
    shipped: tuple[Shipped, ...] = (),
    representative: bool = True,
) -> Verdict:
    model = Model(
        "m", Source("keras", "m.keras"), (), (),
        signatures=shipped or (Shipped(parity=limits or ParityLimits()),),
        positions={key: Position("tflbuild.yaml", n + 1, 1) for n, key in enumerate(keys)},
        said=frozenset(said),
    )  # fmt: skip
    names = dict.fromkeys(entry["signature"] for entry in parity)
    signatures = [{"signature": name, "representative": representative} for name in names]
    measured = {"signatures": signatures, "parity": list(parity), "metrics": []}
    return gates.validate_gate(measured, model, Optimization("o", quantize, parity_limits=own))


def failed(verdict: Verdict) -> list[str]:
    return [f"{f.check} {f.of}".strip() for f in verdict.failures]


BOXES = ParityLimits(max_abs_error=4)
SCORES = ParityLimits(max_abs_error=0.05)


def test_each_output_has_its_own_limit() -> None:
    """Boxes in pixels and scores in 0 to 1 have nothing in common."""
    limits = ParityLimits(outputs=(("boxes", BOXES), ("scores", SCORES)))
    pixels, share = output("boxes", max_abs_error=3.0), output("scores", max_abs_error=0.04)
    assert judge(pixels, share, limits=limits).passed
    swapped = judge({**pixels, "output": "scores"}, {**share, "output": "boxes"}, limits=limits)
    assert failed(swapped) == ["parity.max_abs_error scores"]


@pytest.mark.parametrize(
    ("all_", "one", "own_all", "own_one", "limit"),
    [
        (None, None, None, None, 13),  # the default for int8
        (30, None, None, None, 30),
        (30, 40, None, None, 40),
        (30, None, 50, None, 50),
        (30, 40, 50, None, 40),  # an output's own lies over what is set for all
        (30, 40, 50, 45, 45),
        (None, None, None, 7, 7),  # also below the default
    ],
)
def test_what_is_nearer_counts(
    all_: float | None, one: float | None, own_all: float | None, own_one: float | None,
    limit: float,
) -> None:  # fmt: skip
    def limits(every: float | None, single: float | None) -> ParityLimits:
        outputs = () if single is None else (("y", ParityLimits(sqnr=single)),)
        return ParityLimits(sqnr=every, outputs=outputs)

    for sqnr, passed in ((limit + 0.1, True), (limit - 0.1, False)):
        verdict = judge(
            output("y", sqnr=sqnr), limits=limits(all_, one), own=limits(own_all, own_one)
        )
        assert verdict.passed is passed


def test_a_signature_lies_over_the_model() -> None:
    model = ParityLimits(sqnr=30, cosine=0.9, outputs=(("y", ParityLimits(sqnr=40, cosine=0.8)),))
    own = ParityLimits(sqnr=20, outputs=(("y", ParityLimits(sqnr=35)),))
    merged = over(own, model)
    assert of_output(merged, "y") == ParityLimits(sqnr=35, cosine=0.8)
    assert of_output(merged, "z") == ParityLimits(sqnr=20, cosine=0.9)


TOP = (TopK(1, 0.9), TopK(5, 0.99))
AGREED = [{"k": 1, "agreement": 0.95, "samples": 100}, {"k": 5, "agreement": 0.98, "samples": 100}]


def test_top_k_agreement() -> None:
    limits = ParityLimits(top_k=TOP)
    verdict = judge(output("y", top_k=AGREED), limits=limits)
    assert failed(verdict) == ["parity.top_5 y"]
    assert verdict.failures[0].message == (
        "top_k of output 'y': 0.9800 of the source's 5 largest are the file's, below min 0.99"
    )
    assert ("parity.top_1", True) in [(c.check, c.passed) for c in verdict.checks]


def test_ties_of_many_samples_are_told() -> None:
    def told(tied: int, k: int = 3) -> list[str]:
        entry = {"k": k, "agreement": 1.0, "samples": 450, "tied": tied}
        limits = ParityLimits(top_k=(TopK(k, 0.9),))
        verdict = judge(output("y", top_k=[entry]), limits=limits)
        assert verdict.passed
        return [finding.message for finding in verdict.findings]

    assert told(45) == []
    assert told(430) == [
        "top_k of output 'y': in 430 of 450 samples other values of the file equal its number 3,"
        " mostly 0: the agreement says little; ask for k: 1"
    ]
    assert told(430, k=1)[0].endswith("the agreement says little")


def test_top_k_says_whom_to_blame() -> None:
    def entry(agreement: float) -> dict[str, Any]:
        return {"top_k": [{"k": 1, "agreement": agreement, "samples": 9, "tied": 0}]}

    numbers = {**entry(0.6), "float": entry(1.0), "quantization": entry(0.6)}
    verdict = judge(output("y", **numbers), limits=ParityLimits(top_k=(TopK(1, 0.9),)))
    assert verdict.failures[0].message == (
        "top_k of output 'y': 0.6000 of the source's 1 largest are the file's, below min 0.9"
        " (float conversion alone 1, quantization 0.6: the quantization is to blame; see which"
        " layers: tflbuild validate --debug m:o)"
    )


def test_which_k_are_measured() -> None:
    limits = ParityLimits(
        top_k=TOP, outputs=(("a", ParityLimits(top_k=(TopK(3, 1),))), ("b", BOXES))
    )
    assert top_k_of(limits) == {"": [1, 5], "a": [3]}
    assert top_k_of(ParityLimits()) == {}


def test_top_k_of_fewer_values_is_an_error_with_its_place() -> None:
    limits = ParityLimits(top_k=TOP)
    verdict = judge(output("y", top_k=AGREED[:1]), limits=limits, keys=("validate.parity.top_k",))
    assert failed(verdict) == ["parity.limits"]
    assert verdict.failures[0].message == (
        "tflbuild.yaml:1:1: top_k cannot be measured: no output has more than 5 values in a sample"
    )
    # Equal outputs are measured too, and NaN is told alone.
    assert not judge(output("y", equal=True, sqnr=None, top_k=AGREED[:1]), limits=limits).passed
    # What is set for all is for the outputs that have so many; what is set for one is for it.
    both = output("y", top_k=AGREED), output("z", top_k=AGREED[:1])
    lax = ParityLimits(top_k=(TopK(5, 0.5),))
    assert judge(*both, limits=lax).passed
    (failure,) = judge(*both, limits=one("z", lax)).failures
    assert "output 'z' has no more than 5 values" in failure.message
    nan = judge(output("y", finite=False, sqnr=None), limits=limits)
    assert failed(nan) == ["parity.finite y"]


# whom to blame


def parts(name: str, converted: float | None, quantized: float | None) -> dict[str, Any]:
    empty = dict.fromkeys(("sqnr", "cosine", "max_abs_error", "max_range_error"))
    return {"float": {**empty, name: converted}, "quantization": {**empty, name: quantized}}


@pytest.mark.parametrize(
    ("name", "number", "converted", "quantized", "said"),
    [
        ("sqnr", 8.1, 132.0, 8.1, "(float conversion alone 132 dB, quantization 8.1 dB: the"
         " quantization is to blame; see which layers: tflbuild validate --debug m:o)"),
        ("sqnr", 8.1, 8.2, 31.0, "(float conversion alone 8.2 dB, quantization 31 dB: the float"
         " conversion is to blame)"),
        ("sqnr", 8.1, 9.0, 9.5, "both are to blame; see which layers: tflbuild validate --debug"
         " m:o)"),
        ("sqnr", 12.9, 14.0, 14.0, "both are to blame; see which layers: tflbuild validate"
         " --debug m:o)"),
        ("sqnr", 8.1, None, 8.1, "(float conversion alone no error, quantization 8.1 dB: the"
         " quantization is to blame; see which layers: tflbuild validate --debug m:o)"),
        ("cosine", 0.5, 0.9999, 0.51, "(float conversion alone 0.9999, quantization 0.51: the"
         " quantization is to blame; see which layers: tflbuild validate --debug m:o)"),
    ],
)  # fmt: skip
def test_a_miss_says_whom_to_blame(
    name: str, number: float, converted: float | None, quantized: float | None, said: str
) -> None:
    measured = output("y", **{name: number}, **parts(name, converted, quantized))
    (failure,) = judge(measured).failures
    assert failure.message.endswith(said)


def test_what_to_do_next_is_said_once() -> None:
    both = parts("sqnr", 130.0, 8.1)
    both["float"]["cosine"], both["quantization"]["cosine"] = 1.0, 0.5
    worst = [{"sample": 1, "max_abs_error": 2.0, "sqnr": 1.0}]
    first, second = judge(output("y", sqnr=8.1, cosine=0.5, worst_samples=worst, **both)).failures
    assert "--debug m:o); worst: sample 1, off by 2" in first.message
    assert second.message.endswith("the quantization is to blame)")


def test_without_a_float_file_nobody_is_blamed() -> None:
    for numbers in ({}, {"float": None, "quantization": None}):
        (failure,) = judge(output("y", sqnr=8.1, **numbers)).failures
        assert failure.message == (
            "sqnr of output 'y' is 8.1 dB, below the limit 13 dB, default for int8"
        )


def test_a_warning_blames_too() -> None:
    (warning,) = judge(output("y", sqnr=15.0, **parts("sqnr", 130.0, 15.1))).warnings
    assert "15 dB, below the 18 dB that is usual for int8 (float conversion alone" in (
        warning.message
    )


@pytest.mark.parametrize(
    ("numbers", "blamed"),
    [({"finite": False}, True), ({"constant": True}, True), ({"finite": False}, False)],
)
def test_nan_and_constants_are_blamed_on_the_quantization_of_a_sound_file(
    numbers: dict[str, Any], blamed: bool
) -> None:
    sound = parts("max_abs_error", 1e-6 if blamed else None, None)
    (failure,) = judge(output("y", **numbers, **sound)).failures
    assert ("the quantization is to blame" in failure.message) is blamed
    assert ("validate --debug m:o" in failure.message) is blamed


def test_an_output_that_never_moves_fails_where_it_should_and_warns_where_it_may() -> None:
    far = judge(output("y", unmoved=True, sqnr=44.0, max_range_error=0.2))
    assert "output 'y' is the same for every sample" in far.failures[0].message
    near = judge(output("y", unmoved=True, sqnr=44.0, max_range_error=0.01))
    assert near.passed
    assert "is the same for every sample" in near.warnings[0].message


def test_the_worst_samples_are_named() -> None:
    worst = [
        {"sample": 17, "max_abs_error": 203.44, "sqnr": 1.0, "in_file": 170},
        *({"sample": n, "max_abs_error": 0.5, "sqnr": 9.0} for n in (3, 1, 2)),
    ]
    measured = output("y", sqnr=8.1, worst_samples=worst)
    (failure,) = judge(measured).failures
    assert failure.message.endswith(
        "; worst: sample 17 (number 170 in the file), off by 203.4; sample 3, off by 0.5;"
        " sample 1, off by 0.5"
    )

    model = Model("m", Source("keras", "m.keras"), (), ())
    told = {
        "signatures": [{"signature": "s", "representative": True}], "parity": [measured],
        "metrics": [],
    }  # fmt: skip
    names = {(0, 17): "image cat/0017.png"}
    verdict = gates.validate_gate(
        told, model, Optimization("o", "int8"), origin=lambda *of: names.get(of, "")
    )
    assert "; worst: sample 17 (image cat/0017.png), off by 203.4; sample 3," in (
        verdict.failures[0].message
    )


def test_a_known_cause_is_said_before_whom_to_blame() -> None:
    told = {
        "signatures": [{"signature": "s", "representative": True}], "metrics": [],
        "parity": [
            output("y", sqnr=4.7, float={"sqnr": 120.0}, quantization={"sqnr": 4.7}),
            output("z", constant=True),
            output("ok"),
        ],
    }  # fmt: skip
    model = Model("m", Source("keras", "m.keras"), (), ())
    verdict = gates.validate_gate(told, model, Optimization("o", "int8"), causes=["likely: data"])
    first, second = verdict.failures
    assert "13 dB, default for int8; likely: data (float conversion alone 120 dB" in first.message
    assert second.message.endswith("is constant where the source's varies; likely: data")
    assert [c.text.count("likely") for c in verdict.checks if c.passed] == [0] * 3


# random data


@pytest.mark.parametrize(
    ("shipped", "said"),
    [
        (Shipped(), "in the range 0 to 1 (seed 0)"),
        (Shipped(test=RandomData(3, low=-2, high=2)), "in the range -2 to 2 (seed 3)"),
        (
            Shipped(calibration=RandomData(0, high=255)),
            "in the range of the calibration, 0 to 255 (seed 1)",
        ),
    ],
)
def test_random_data_say_their_range(shipped: Shipped, said: str) -> None:
    verdict = judge(output("y"), shipped=(shipped,), representative=False)
    (warning,) = [w for w in verdict.warnings if w.check == "data"]
    assert warning.message == (f"measured on random data {said}, which is not representative")
    real = judge(output("y"), shipped=(Shipped(test=FileData("x.npz")),))
    assert real.findings == ()


# limits that mean nothing


def one(name: str, limits: ParityLimits) -> ParityLimits:
    return ParityLimits(outputs=((name, limits),))


@pytest.mark.parametrize(
    ("limits", "own", "keys", "parity", "said"),
    [
        (one("boxs", BOXES), None, ("validate.parity.outputs.boxs",), [output("boxes")],
         "no output 'boxs'; did you mean 'boxes'?"),
        (one("q", BOXES), None, ("validate.parity.outputs.q",), [output("boxes"), output("ab")],
         "no output 'q'; the model has ab, boxes"),
        (None, one("boxs", BOXES), ("optimizations.o.parity.outputs.boxs",), [output("boxes")],
         "no output 'boxs'; did you mean 'boxes'?"),
        (one("word", ParityLimits(cosine=0.5)), None,
         ("validate.parity.outputs.word", "validate.parity.outputs.word.cosine"), [text("word")],
         "`cosine` has no effect: output 'word' is text, which is compared exactly"),
        (ParityLimits(sqnr=3), None, ("validate.parity.sqnr",), [text("word")],
         "`sqnr` has no effect: every output is text, which is compared exactly"),
        (ParityLimits(sqnr=3, outputs=(("y", ParityLimits(sqnr=4)),)), None,
         ("validate.parity.sqnr", "validate.parity.outputs.y"), [output("y")],
         "`sqnr` has no effect: every output has one of its own"),
    ],
)  # fmt: skip
def test_a_limit_without_effect_is_an_error_with_its_place(
    limits: ParityLimits | None, own: ParityLimits | None, keys: tuple[str, ...],
    parity: list[dict[str, Any]], said: str,
) -> None:  # fmt: skip
    verdict = judge(*parity, limits=limits, own=own, keys=keys, said=keys)
    (failure,) = verdict.failures
    line = 2 if said.startswith("`cosine`") else 1
    assert failure.check == "parity.limits"
    assert failure.message == f"tflbuild.yaml:{line}:1: {said}"


def test_limits_that_defaults_give_may_concern_other_models() -> None:
    keys = ("validate.parity.sqnr",)
    assert judge(text("word"), limits=ParityLimits(sqnr=3), keys=keys).passed


def test_a_limit_of_the_model_may_be_for_an_output_of_one_signature() -> None:
    other = {**output("z"), "signature": "t"}
    both = Shipped("s", parity=one("z", BOXES)), Shipped("t", parity=one("z", BOXES))
    assert judge(output("y"), other, shipped=both, keys=("validate.parity.outputs.z",)).passed
    # What is said of a signature is for its own outputs.
    keys = ("validate.signatures.s.parity.outputs.z",)
    wrong = judge(output("y"), other, shipped=(both[0], Shipped("t")), keys=keys)
    assert failed(wrong) == ["parity.limits"]
    missed = judge(output("y"), {**other, "max_abs_error": 5.0}, shipped=both)
    assert failed(missed) == ["parity.max_abs_error t/z"]


def test_a_number_that_is_not_defined_is_skipped_and_said() -> None:
    """The range of a constant output."""
    limits = ParityLimits(max_range_error=0.1)
    verdict = judge(output("y", max_range_error=None), limits=limits)
    assert [c.passed for c in verdict.checks if c.check == "parity.max_range_error"] == [None]
    assert verdict.passed


def test_the_default_row_of_a_file() -> None:
    int4 = Optimization("o", "int8", settings={"weights": "int4"})
    assert parity_gate.row_of(int4, ()) == "int8_int4"
    assert parity_gate.row_of(Optimization("o", "recipe"), ()) == "recipe"
    assert replace(int4, settings={}).parity == "int8"


def messages(verdict: Verdict) -> list[str]:
    return [failure.message for failure in verdict.failures]


def test_not_a_number_of_the_source_too_is_not_the_files_fault() -> None:
    both = judge(output("y", finite=False, source_finite=False, sqnr=None))
    assert messages(both) == ["output 'y' has NaN or infinity, and so has the source's own"]
    own = judge(output("y", finite=False, sqnr=None))
    assert messages(own) == ["output 'y' has NaN or infinity"]
