"""What is tried, in which order, and what is proposed; and whether calibration is blamed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tflbuild.debugging import proposing
from tflbuild.debugging.fault import calibration_fault
from tflbuild.debugging.proposing import Place, Search, Try
from tflbuild.manifest.load import load_workspace
from tflbuild.manifest.model import Optimization
from tflbuild.verdict import Finding, Verdict

Judge = Callable[[frozenset[Place]], bool]


def layer(index: int, own: float | None, **more: Any) -> dict[str, Any]:
    """Layer n of a chain."""
    return {
        "subgraph": 0, "index": index, "op": "CONV_2D", "name": f"l{index}", "quantized": True,
        "own": "exact" if own is None else "measured", "own_sqnr": own, "cause": "range",
        "accumulated_sqnr": 9.0, "passes_range": False, "writes_output": False,
        "readers": [index + 1], "writers": [index - 1], "rounded_sqnr": None,
        "range_sqnr": own, "kernel_sqnr": 40.0, "file_range": [-1.0, 1.0], "saturated": 0.0,
        "range_used": 1.0, **more,
    }  # fmt: skip


def signature(*layers: dict[str, Any], **entry: Any) -> dict[str, Any]:
    read = {"name": "x", "sqnr": 50.0, "readers": [0], "data_range": [0, 1.0],
            "file_range": [0, 1.0], "saturated": 0.0, "range_used": 1.0, **entry}  # fmt: skip
    return {"signature": "s", "inputs": [read], "layers": list(layers)}


def places(*indexes: int) -> frozenset[Place]:
    return frozenset((0, index) for index in indexes)


def asked(signatures: list[dict[str, Any]], judge: Judge, tries: int = 16) -> Search:
    def attempt(chosen: frozenset[Place]) -> Try:
        return Try(chosen, judge(chosen), float(len(chosen)))

    return proposing.search(signatures, attempt, tries)


def test_a_wrong_range_brings_all_that_shares_it() -> None:
    found = signature(
        layer(0, 30.0), layer(1, 5.0), layer(2, None, passes_range=True), layer(3, 40.0),
        layer(4, 20.0, cause="kernel"), layer(5, 60.0),
    )  # fmt: skip
    ranked = proposing.groups([found])
    assert [(g.sqnr, g.places) for g in ranked[:2]] == [
        (5.0, places(1, 2, 3)), (20.0, places(4)),
    ]  # fmt: skip


def test_an_input_out_of_range_brings_its_readers() -> None:
    found = signature(layer(0, 30.0, passes_range=True), layer(1, 30.0), layer(2, 40.0), sqnr=1.0)
    assert proposing.groups([found])[0].places == places(0, 1)


def test_inputs_too_coarse_for_an_operator_bring_their_makers() -> None:
    found = signature(
        layer(0, 38.0), layer(1, None, quantized=False, own_sqnr=None),
        layer(2, 45.0, rounded_sqnr=7.0),
    )  # fmt: skip
    assert proposing.groups([found])[0] == proposing.Group(7.0, places(0, 2))


def test_the_smallest_list_that_passes() -> None:
    found = [signature(*(layer(i, 10.0 + i, cause="kernel") for i in range(9)))]
    run = asked(found, lambda chosen: chosen >= places(1, 4))
    assert run.best is not None
    assert run.best.places == places(1, 4)
    sizes = [len(p) for p in run.made]
    assert sizes[:4] == [1, 2, 4, 8]
    assert len(sizes) <= 16


def test_tries_and_time_end_it() -> None:
    found = [signature(*(layer(i, 10.0 + i, cause="kernel") for i in range(9)))]
    run = asked(found, lambda chosen: False, tries=3)
    assert len(run.made) == 3
    assert run.best is not None
    assert not run.best.passed
    assert len(run.best.places) == 4  # the highest SQNR
    late = Search(lambda chosen: Try(chosen, True, 1.0), 9, time.monotonic() - 1)
    assert not late.ask(places(1))
    assert late.best is None


def test_something_stays_quantized_in_each_signature() -> None:
    one = signature(layer(0, 1.0), layer(1, 2.0), layer(2, 30.0))
    two = {**signature(layer(0, 1.0), layer(1, 2.0)), "signature": "t"}
    for other in two["layers"]:
        other["subgraph"] = 1
    run = asked([one, two], lambda chosen: False)
    assert run.made
    for chosen in run.made:
        assert not chosen >= places(0, 1, 2)
        assert not chosen >= {(1, 0), (1, 1)}
    moved = signature(layer(0, 1.0), layer(1, None, op="RESHAPE", passes_range=True))
    run = asked([moved], lambda chosen: False)
    assert all(chosen != places(0, 1) and (0, 0) not in chosen for chosen in run.made)


def test_who_carries_a_range_on_goes_with_its_maker() -> None:
    found = signature(
        layer(0, 9.0), layer(1, None, passes_range=True), layer(2, None, passes_range=True),
        layer(3, 9.0),
    )  # fmt: skip
    assert proposing.settled(places(1, 2, 3), [found]) == places(3)
    assert proposing.settled(places(0, 1, 2), [found]) == places(0, 1, 2)
    first = signature(layer(0, None, passes_range=True, writers=[]), layer(1, 9.0))
    assert proposing.settled(places(0), [first]) == places(0)
    run = asked([found], lambda chosen: chosen >= places(3))
    assert all(run.settle(chosen) == chosen for chosen in run.made)
    assert run.best is not None
    assert run.best.places == places(3)


def test_what_has_no_name_of_its_own_is_not_proposed() -> None:
    found = signature(layer(0, 1.0, name="", cause="kernel"), layer(1, 2.0), layer(2, 3.0))
    assert all((0, 0) not in group.places for group in proposing.groups([found]))
    ends = signature(layer(0, 1.0), layer(1, 2.0, writes_output=True))
    edge = Optimization("o", "int8", io="int8", quantizer="ai-edge")
    assert [x["name"] for x in proposing.open_to([ends], edge)[0]["layers"]] == ["l0", ""]
    for other in (Optimization("o", "int8", io="int8"), Optimization("o", "int8")):
        assert [x["name"] for x in proposing.open_to([ends], other)[0]["layers"]] == ["l0", "l1"]


@pytest.mark.parametrize(
    ("optimization", "says"),
    [
        (Optimization("o", "int8"), ""),
        (Optimization("o", "int8", quantizer="ai-edge"), ""),
        (Optimization("o", "weight_only", quantizer="ai-edge"), ""),
        (Optimization("o", "recipe", quantizer="ai-edge"), ""),
        (Optimization("o", "int16x8"), "takes no keep_float; with quantizer: ai-edge it does"),
        (Optimization("o", "float16"), "with quantizer: ai-edge it does"),
        (Optimization("o", "dynamic_range"), "with quantizer: ai-edge it does"),
        (Optimization("o", "qat"), "quantize: qat with quantizer: tensorflow takes no keep_float"),
        (Optimization("o", "int8", settings={"float_ops": "forbid"}), "float_ops: forbid"),
    ],
)
def test_only_what_the_manifest_takes(optimization: Optimization, says: str) -> None:
    refused = proposing.refusal(optimization)
    assert bool(refused) == bool(says)
    assert says in refused


def test_only_for_failures_that_numbers_decide() -> None:
    renamed = Finding("fail", "interface", "output 'y' is now 'z'")
    missed = Finding("fail", "parity.sqnr", "sqnr of output 'y' is 3 dB")
    assert "no such failure: output 'y' is now 'z'" in proposing.beyond(Verdict((renamed,)))
    assert proposing.beyond(Verdict((renamed, missed))) == ""
    assert proposing.beyond(Verdict()) == ""


def test_the_line_of_the_manifest_is_yaml() -> None:
    names = ["dense", "a/b", "on", "1x", "größe", 'quo"te', "x: y", "#", "a;b"]
    whole = {
        "quantize": "int8", "io": "float32", "per_channel": False, "targets": ["litert"],
        "parity": {"sqnr": 20.5, "top_k": {"k": 1, "min": 1}}, "keep_float": names,
    }  # fmt: skip
    line = proposing.yaml_line("int8", whole)
    assert "\n" not in line
    assert yaml.safe_load(line) == {"int8": whole}
    assert line.startswith("int8: {quantize: int8, io: float32, per_channel: false, ")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("sqnr of output 'y' is 5 dB, below the limit 13 dB, default for int8 (float conversion"
         " alone 144.7 dB; see which layers: tflbuild validate --debug m:o); worst: sample 41",
         "sqnr of output 'y' is 5 dB, below the limit 13 dB, default for int8"),
        ("top_k of y: 0.5, below min 1; worst: sample 41", "top_k of y: 0.5, below min 1"),
        ("accuracy is low", "accuracy is low"),
        ("convert:m:o: " + "x" * 400, "convert:m:o: " + "x" * 187),
    ],
)  # fmt: skip
def test_a_reason_without_what_follows_from_it(said: str, kept: str) -> None:
    assert proposing.brief(said) == kept


def test_the_line_holds_all_that_is_inherited(tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_bytes(b"PK")
    path = tmp_path / "tflbuild.yaml"
    path.write_text(
        "version: 1\ndefaults: {optimizations: {int8: {quantize: int8}}}\nmodels:\n"
        "  good:\n    source: {format: keras, path: net.keras}\n"
        "    data: {calibration: {random: {}}}\n"
        "    optimizations: {int8: {io: int8, parity: {sqnr: 20}}, other: {}}\n"
        "  dim: {extends: good}\n"
    )
    dim, good = load_workspace(path).models
    whole = {"quantize": "int8", "io": "int8", "parity": {"sqnr": 20}}
    assert dim.written == good.written == {"int8": whole, "other": {}}
    assert (good.own, dim.own) == ({"int8", "other"}, frozenset())
    assert str(dim.position) == "tflbuild.yaml:8:3"


def test_calibration_is_blamed_for_what_it_did() -> None:
    good = signature(layer(0, 40.0), layer(1, 40.0))
    assert calibration_fault([good]) == []
    one = signature(layer(0, 5.0, saturated=0.4), layer(1, 40.0), layer(2, 40.0))
    assert calibration_fault([one]) == []  # one layer may have other reasons
    cut = signature(
        layer(0, 5.0, saturated=0.4), layer(1, 5.0, saturated=0.2), layer(2, 40.0),
        data_range=[0.0, 10.0], saturated=0.5,
    )  # fmt: skip
    said = calibration_fault([cut], [{"ranges": {"x": [0.0, 1.0]}}])
    assert said[0] == (
        "input 'x' was calibrated on 0 to 1, and the test data reach 0 to 10: 50.0% of the values"
        " lie outside and saturate"
    )
    assert said[1].startswith("2 of 3 layers with a range of their own saturate")
    wide = signature(layer(0, 5.0, range_used=0.01), layer(1, 5.0, range_used=0.02),
                     range_used=0.01)  # fmt: skip
    said = calibration_fault([wide, {**good, "signature": "t"}])
    assert "of signature 's' can hold 0 to 1" in said[0]
    assert "use less than 1/8 of it" in said[1]
