"""The options of `validate`, what it prints, and proposals that are not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tflbuild import cli, schemas
from tflbuild.engine import debug
from tflbuild.reporting import debugged

MANIFEST = """
version: 1
models:
  net:
    source: {format: keras, path: net.keras}
    optimizations: {float: {}, int8: {quantize: int8}}
    data: {calibration: {random: {}}}
"""
NUMBERS = {
    "passed": False, "reasons": ["sqnr of output 'y' is 9.2 dB"], "size": 14_800,
    "failed": [{"check": "parity.sqnr", "of": "y", "message": "sqnr of output 'y' is 9.2 dB"}],
    "parity": [{"signature": "s", "output": "y", "sqnr": 9.2, "equal": False}],
    "metrics": [{"signature": "s", "name": "accuracy", "source": 0.9778, "file": 0.9178}],
}  # fmt: skip
BETTER = {
    **NUMBERS, "passed": True, "reasons": [], "failed": [], "size": 27_700,
    "parity": [{"signature": "s", "output": "y", "sqnr": None, "equal": True}],
}  # fmt: skip


def layer(name: str, own: float | None) -> dict[str, Any]:
    return {
        "subgraph": 0, "index": 1, "op": "CONV_2D", "layer": name, "name": name, "tensor": name,
        "dtype": "int8", "quantized": True, "matched": "name",
        "own": "exact" if own is None else "measured", "own_sqnr": own,
        "cause": "" if own is None else "range", "kernel_sqnr": 40.0, "range_sqnr": own,
        "entering_sqnr": 4.0, "rounded_sqnr": 4.0, "writers": [0], "accumulated": "measured",
        "accumulated_sqnr": 4.0, "data_range": [0.0, 2.0], "file_range": [0.0, 1.0],
        "saturated": 0.25, "range_used": 1.0, "passes_range": False, "writes_output": False,
        "readers": [2], "why": "",
    }  # fmt: skip


def report(**more: Any) -> dict[str, Any]:
    return {
        "task": "debug:net:int8", "model": "net", "optimization": "int8", "quantize": "int8",
        "quantizer": "tensorflow", "file": "0" * 64, "float_file": "1" * 64,
        "gate": {"passed": False, "findings": [], "margins": [], "met": []},
        "blame": "quantization", "unrunnable": "",
        "signatures": [{
            "signature": "s", "samples": {"used": 64, "of": 450, "which": "evenly spaced"},
            "data": "test", "representative": True, "notes": ["one thing"],
            "inputs": [{"name": "x", "sqnr": 1.0, "error": "measured", "data_range": [0.0, 1.0],
                        "file_range": [0.0, 0.1], "saturated": 0.5, "range_used": 1.0,
                        "readers": [0]}],
            "outputs": [{"name": "y", "sqnr": 9.0, "error": "measured"}],
            "layers": [layer("bad", 3.0), *(layer(f"l{n}", 30.0 + n) for n in range(11)),
                       layer("moved", None)],
        }],
        "calibration": {"suspected": True, "reasons": ["input 'x' was calibrated on 0 to 0.1"],
                        "remedy": "scale it", "on_test_data": BETTER, "stops": ""},
        "before": NUMBERS,
        "proposal": {"settings": {"keep_float": ["bad"]},
                     "yaml": ["int8: {quantize: int8, keep_float: [bad]}"],
                     "place": "tflbuild.yaml:8:5", "inherited": "", "passes": True,
                     "operators": 1, "after": BETTER},
        "refused": "", "tries": [{"keep_float": ["bad"], **BETTER}], **more,
    }  # fmt: skip


def test_the_report_has_its_schema() -> None:
    validator = Draft202012Validator(json.loads(schemas.text("debug")))
    for value in (report(), report(proposal=None, refused="the gate passes", blame="")):
        assert [e.message for e in validator.iter_errors(value)] == []
    assert not validator.is_valid(report(blame="nobody"))


def test_people_read_the_worst_the_fault_and_what_to_paste(
    capsys: pytest.CaptureFixture[str],
) -> None:
    debugged.show(report(), "build/reports/net/int8/debug.json", json=False)
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == (
        "net:int8 (int8): the gate does not pass; 9.2 dB, accuracy 0.9178 of 0.9778, 14.8 KB"
    )
    assert lines[1] == (
        "quantization is to blame, not the conversion to float; the worst layer is bad (CONV_2D),"
        " 3.0 dB of its own"
    )
    assert lines[2] == "64 of 450 samples of test data, evenly spaced"
    assert lines[4].split() == ["x", "(input)", "1.0", "dB", "1.0", "dB", "50.0%", "100.0%"]
    assert lines[5].split()[:4] == ["bad", "CONV_2D", "3.0", "dB"]
    assert "and 3 layers that lose less (-v)" in lines
    assert "note: one thing" in lines
    assert "  calibrated on test data, the same file passes: equal, accuracy" in text
    assert "with this the gate passes (1 list tried)" in text
    assert lines[-5:] == [
        "write it in place of the line at tflbuild.yaml:8:5:",
        "  int8: {quantize: int8, keep_float: [bad]}",
        "try it first: tflbuild validate --try net:int8",
        "make it permanent: edit the manifest, then tflbuild build net:int8",
        "all of it: build/reports/net/int8/debug.json",
    ]
    debugged.show(report(), "p", json=True)
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["path"], line["report"]["model"]) == ("debug", "p", "net")


def test_an_inherited_optimization_is_written_into_the_model_itself() -> None:
    told = report()
    told["proposal"] |= {"place": "tflbuild.yaml:20:3", "inherited": "tflbuild.yaml:11:7"}
    assert (
        "write it under the optimizations of `net:` (tflbuild.yaml:20:3; it inherits int8 from"
        " tflbuild.yaml:11:7):"
    ) in debugged.tail(told)


def test_what_does_not_pass_is_not_offered() -> None:
    told = report()
    told["proposal"] |= {"passes": False, "after": NUMBERS}
    text = "\n".join(debugged.tail(told))
    assert "nothing that was tried passes (1 list); the best: 9.2 dB" in text
    assert "sqnr of output 'y' is 9.2 dB" in text
    assert "--try" not in text
    assert "write it" not in text


def test_why_a_well_calibrated_file_does_not_pass_either() -> None:
    told = report()
    told["calibration"] |= {"on_test_data": NUMBERS}
    lines = debugged.tail(told)
    at = next(i for i, line in enumerate(lines) if "the same file does not pass" in line)
    assert lines[at + 1] == "    sqnr of output 'y' is 9.2 dB"
    told["calibration"] |= {"stops": "top_k of y: 0.9 of 1"}
    assert (
        "    this limit stops even a well calibrated file: top_k of y: 0.9 of 1"
    ) in debugged.tail(told)


def test_the_column_that_decides_the_remedy_stays() -> None:
    (told,) = report()["signatures"]
    grid = debugged.table(told["layers"], told["inputs"])
    titles = grid.lines(80)[0]
    assert "why" in titles
    assert "accumulated" in titles  # there is room for all
    narrow = grid.lines(62)[0]
    assert "why" in narrow
    assert "accumulated" not in narrow


def test_counts_have_no_decimals() -> None:
    def said(name: str, source: float, file: float) -> str:
        metric = {"signature": "s", "name": name, "source": source, "file": file}
        return debugged.numbers({"parity": [], "metrics": [metric], "size": None})

    assert said("confused", 0.0, 12.0) == "confused 12 of 0"
    assert said("confused", 0.5, 12.0) == "confused 12.0000 of 0.5000"
    assert said("accuracy", 1.0, 1.0) == "accuracy 1.0000 of 1.0000"


def test_a_limit_that_a_well_calibrated_file_misses_too() -> None:
    other = {**NUMBERS, "failed": [{"check": "parity.top_k", "of": "y", "message": "m"}]}
    assert debug._stops_both(NUMBERS, NUMBERS) == "sqnr of output 'y' is 9.2 dB"
    assert debug._stops_both(NUMBERS, other) == ""
    assert debug._stops_both(NUMBERS, BETTER) == ""
    assert debug._stops_both(NUMBERS, None) == ""


def test_people_read_what_a_trial_changes(capsys: pytest.CaptureFixture[str]) -> None:
    tried = debug.Tried("validate:net:int8", {"keep_float": ["bad"]}, NUMBERS, BETTER)
    assert tried.exit_code == 0
    assert debug.Tried("validate:net:int8", {"keep_float": ["bad"]}, NUMBERS, NUMBERS).exit_code
    debugged.show_try(tried, json=False)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[2:] == [
        ["SQNR", "of", "y", "9.2", "dB", "equal"], ["accuracy", "0.9178", "0.9178"],
        ["size", "14.8", "KB", "27.7", "KB"], ["gate", "does", "not", "pass", "passes"],
    ]  # fmt: skip
    debugged.show_try(tried, json=True)
    line = json.loads(capsys.readouterr().out)
    schema = json.loads(schemas.text("events"))
    assert Draft202012Validator(schema).is_valid(line)
    assert line["event"] == "try"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--debug", "--try", "net:int8"], "--debug and --try are two commands"),
        (["--samples", "3", "net:int8"], "--samples has no effect without --debug"),
        (["--try", "--tries", "3", "net:int8"], "--tries has no effect without --debug"),
        (["--debug"], "--debug needs what to look at: MODEL:OPTIMIZATION"),
        (["--try"], "--try needs what to look at: MODEL:OPTIMIZATION"),
        (["--debug", "-k", "net:int8"], "--keep-going has no effect with --debug"),
        (["--debug", "--junit", "j.xml", "net:int8"], "--junit has no effect with --debug"),
        (["--try", "-B", "net:int8"], "--force has no effect with --try"),
        (["--debug", "net:float"], "'net:float' is not quantized (net:float): there is nothing"),
        (["--debug", "net:inte8"], "nothing matches 'net:inte8'; did you mean net:int8"),
        (["--try", "lower:net"], "'lower:net' is no converted file; name MODEL:OPTIMIZATION"),
        (["--debug", "--samples", "0", "net:int8"], "--samples"),
    ],
)
def test_wrong_usage_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    (tmp_path / "tflbuild.yaml").write_text(MANIFEST)
    (tmp_path / "net.keras").write_bytes(b"PK")
    assert cli.run(["-C", str(tmp_path), "validate", *arguments]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert says in told[0]
    assert not (tmp_path / ".tflbuild").exists()
