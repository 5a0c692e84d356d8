"""Stages that take milliseconds: the engine is tested with them, without TensorFlow.

A source is a JSON file, or a function of the user's that gives the same: `value` is what the
model is, `ops` what its files need of a runtime, `sqnr` and `size` what is measured of it,
`note` nothing (so that another file can hold the same model), and `do` says what a stage shall
suffer, by stage name: {"convert": {"sleep": 1}}. Imported by a zygote, this module takes the
place of the real stages in its children.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from tflbuild import pyrun
from tflbuild.errors import TaskError
from tflbuild.sources import FORMATS
from tflbuild.sources.made import source_path
from tflbuild.stages import runtime
from tflbuild.stages.base import ConversionFailed, Request


def suffer(stage: str, asked: dict[str, Any], request: Request) -> None:
    do = asked.get(f"{stage}:{request.params.get('quantize')}", asked.get(stage, {}))
    print(f"{stage} says hello", flush=True)
    if "mark" in do:  # a line for each run
        with Path(do["mark"]).open("a") as stream:
            stream.write(f"{os.getpid()}\n")
    if "stubborn" in do:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "sleep" in do:
        time.sleep(do["sleep"])
    while "await" in do and not Path(do["await"]).exists():
        time.sleep(0.005)
    if "edit" in do:
        path, text = do["edit"]
        Path(path).write_text(text)
    if "signal" in do:
        os.kill(os.getpid(), do["signal"])
    if "exit" in do:
        os._exit(do["exit"])
    if "fail" in do:
        raise TaskError(do["fail"])
    if "refuse" in do and not request.retry:
        raise ConversionFailed(do["refuse"])
    if "bug" in do:
        raise ZeroDivisionError(do["bug"])


def source(request: Request) -> dict[str, Any]:
    asked = request.params["source"]
    if "python" in asked:  # the user's code gives what else stands in the file
        pyrun.enter(request.inputs, request.params["code"], request.out.parent)
        model: dict[str, Any] = pyrun.call_with(pyrun.function(asked["python"]), asked.get("args"))
        return model
    path = source_path(request.inputs, request.out.parent, asked, FORMATS[asked["format"]])
    return json.loads((path / "saved_model.pb" if path.is_dir() else path).read_text())


def lower(request: Request) -> None:
    model = source(request)
    suffer("lower", model.get("do", {}), request)
    model.pop("note", None)
    request.write_json("lowered.pb", model)
    request.write_json("interface.json", {"do": model.get("do", {}), "signatures": []})
    request.write_json("lower.json", {"loader": "fake", "route": "frozen", "reason": ""})


def reference(request: Request) -> None:
    model = source(request)
    suffer("reference", model.get("do", {}), request)
    request.write_json("reference.json", {"signatures": []})
    (request.out / "output.0.npy").write_text(str(model["value"]))


def evaluate(request: Request) -> None:
    model = request.read_json("lowered.pb")
    suffer("evaluate", model.get("do", {}), request)
    (request.out / "float.tflite").write_text(str(model["value"]))
    request.write_json("calibration.json", {"int8": "", "int16x8": ""})
    measured = {"verdict": "compatible", "problem": "", "problems": [], "params": 1000}
    request.write_json("evaluate.json", {**measured, "ops": {"builtin": {"ADD": 1}}, "macs": 9})


def baseline(request: Request) -> None:
    suffer("baseline", request.read_json("interface.json")["do"], request)
    (request.out / "output.0.npy").write_bytes(request.inputs["float.tflite"].read_bytes())
    request.write_json("baseline.json", {"problem": "", "signatures": []})


def convert(request: Request) -> None:
    model = source(request) if request.retry else request.read_json("lowered.pb")
    suffer("convert", model.get("do", {}), request)
    line = f"{model['value']} {request.params['quantize']} {request.params['io']}\n"
    needs = f"ops {' '.join(model['ops'])}\n" if "ops" in model else ""
    (request.out / "model.tflite").write_text(line * 20_000 + needs)
    request.write_json("convert.json", {"retry": request.retry, "warnings": []})


MEASURED = {
    "ops": {"builtin": {"ADD": 1}, "select": {}, "custom": {}}, "float_ops": {},
    "dtypes": {"int8": {"kind": "computed", "op": "ADD", "layer": "sum"}},
    "params": 10, "macs": {"total": 100}, "dynamic": {"io": [], "inner": False},
    "sizes": {"weights_bytes": 10, "input_bytes": 4, "output_bytes": 4},
    "memory": {"peak_bytes": 8, "arena_bytes": 16}, "traffic_bytes": 18,
    "versions": {"min_runtime": {"tensorflow": "2.4.0", "litert": "1.0.0"}, "needs": [],
                 "unknown": []},
    "loads": True, "problem": "", "micro": {"problems": [], "run": {
        "problem": None, "unmeasured": None, "outputs": [], "head_bytes": 8, "tail_bytes": 8,
    }},
}  # fmt: skip


def compat(request: Request) -> None:
    data = request.inputs["model.tflite"].read_bytes()
    measured = {**MEASURED, "size": len(data), "runtime": request.params["runtime"]}
    request.write_json("compat.json", measured)
    if request.params.get("op_list"):
        request.write_json("ops.json", read_ops(data))


def read_ops(data: bytes) -> list[dict[str, Any]]:
    """What `stages.runtime.read_ops` would find in the file: "ADD:1", "FlexDet:1", "Mine:2"."""
    last = data.decode().splitlines()[-1].split()
    ops = last[1:] if last[0] == "ops" else ["ADD:1"]
    found = []
    for op in sorted(ops):
        name, _, version = op.partition(":")
        kind = "select" if name.startswith("Flex") else "builtin" if name.isupper() else "custom"
        found.append({"op": name, "version": int(version), "kind": kind})
    return found


def validate(request: Request) -> None:
    do = request.read_json("interface.json")["do"]
    suffer("validate", do, request)
    parity = {
        "signature": "s", "output": do.get("output", "y"), "kind": "float", "finite": True,
        "source_finite": True,
        "constant": False, "equal": False, "sqnr": do.get("sqnr", 120), "cosine": 1.0,
        "max_abs_error": 0.0, "max_range_error": 0.0,
    }  # fmt: skip
    real = request.params["signatures"][0]["data"] != "random"
    signatures = [{"signature": "s", "representative": real}]
    report = {"signatures": signatures, "parity": [parity], "warnings": []}
    report["metrics"] = do.get("metrics", [])
    tensors = [{"name": n, "shape": [1, 2], "dtype": "float32"} for n in do.get("names", ["y"])]
    own = {"name": "s", "main": True, "inputs": [], "outputs": tensors}
    report["interface"] = {"signatures": [own]}
    request.write_json("validate.json", report)


def benchmark(request: Request) -> None:
    do = request.read_json("interface.json")["do"]
    suffer("benchmark", do, request)
    low, ratio, high = do.get("ratio", (0.4, 0.5, 0.6))
    names = [entry["name"] for entry in request.params["files"]]
    assert all(request.inputs[f"{name}/model.tflite"].exists() for name in names)
    ratios = [
        {"file": one, "against": other, "ratio": ratio, "low": low, "high": high}
        for one in names for other in names if one != other
    ]  # fmt: skip
    signature = {"signature": "s", "cpu_share": 1.0, "ratios": ratios, "files": []}
    request.write_json("benchmark.json", {
        "files": [{"file": name, "unmeasured": ""} for name in names], "others": 0.0,
        "signatures": [signature], "memory_ratios": ratios, "warnings": [],
    })  # fmt: skip


def install() -> None:
    for run in (lower, reference, evaluate, baseline, convert, compat, validate, benchmark):
        module = ModuleType(f"tflbuild.stages.{run.__name__}")
        module.run = run  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module
    runtime.read_ops = read_ops


install()
