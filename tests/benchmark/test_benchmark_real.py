"""Real measurements of small files, by the light worker. No time is asserted anywhere."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from foreign_models import compile_library
from jsonschema import Draft202012Validator
from tflite_models import OP, TYPE, Maker, s, two_in_two_out
from workspace_folder import WorkspaceFolder

from tflbuild import schemas
from tflbuild.benchmarking import single
from tflbuild.benchmarking.machine import cores
from tflbuild.benchmarking.measuring import measure
from tflbuild.stages.base import Request

HEAD = """version: 1
models:
  m:
    source: {format: tflite, path: m.tflite}
    optimizations: {a: {}, b: {}}
    benchmark: """


def closed(part: Any) -> Any:
    """The same schema, allowing only the keys that it names."""
    if isinstance(part, list):
        return [closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    found = {key: closed(value) for key, value in part.items()}
    return {**found, "additionalProperties": False} if "properties" in part else found


def conform(report: Any) -> None:
    Draft202012Validator(closed(json.loads(schemas.text("benchmark")))).validate(report)


def report(workspace: WorkspaceFolder, said: str, maker: Maker, more: str = "") -> Any:
    workspace.write(HEAD + said + "\n" + more, {"m.tflite": maker.pack()})
    result = workspace.build("benchmark:m")
    assert result.ok, result
    found = workspace.report("m/benchmark.json")
    conform(found)
    return found


def nodes(file: Any) -> list[str]:
    return [node["op"] for node in file["per_op"]["nodes"]]


def integers() -> Maker:
    """y = x + x of int32, which XNNPACK does not take."""
    maker = Maker()
    graph = maker.graph()
    x, y = graph.tensor("x", (1, 4), TYPE.INT32), graph.tensor("y", (1, 4), TYPE.INT32)
    graph.op(OP.ADD, [x, x], [y], s.AddOptionsT())
    graph.io([x], [y])
    return maker


def test_operators_and_memory(workspace: WorkspaceFolder) -> None:
    found = report(workspace, "{delegate: none, repeats: 25, warmup: 1}", two_in_two_out())
    measured = found["measured"]
    (signature,) = measured["signatures"]
    assert (signature["signature"], signature["data"]) == ("serve", "random")
    assert (signature["samples"], signature["processes"]) == (8, 2)
    assert [file["file"] for file in signature["files"]] == ["a", "b"]
    for file in signature["files"]:
        assert file["delegates"] == {}
        assert (file["taken"], file["ops"]) == (0, 2)
        assert nodes(file) == ["ADD", "FULLY_CONNECTED"]
        outputs = [node["output"] for node in file["per_op"]["nodes"]]
        assert ["sum" in outputs[0], "score" in outputs[1]] == [True, True]
        assert [node["index"] for node in file["per_op"]["nodes"]] == [0, 1]
        assert sum(node["share"] for node in file["per_op"]["nodes"]) == pytest.approx(1)
        assert file["per_op"]["sum_ms"] <= file["per_op"]["profiled_ms"]
        # a, b, x of 16 bytes and y of 12, each at a multiple of 64 or so.
        assert 16 * 3 + 12 <= file["arena"]["bytes"] <= 4096
        assert 0 < file["ms"]["min"] <= file["ms"]["median"] <= file["ms"]["max"]
    assert [(r["file"], r["against"]) for r in signature["ratios"]] == [("a", "b"), ("b", "a")]
    for file in measured["files"]:
        memory = file["memory"]
        assert memory["file"] == file["size"]
        assert len(memory["bytes"]) == 5
        assert memory["heap"] >= memory["heap_init"] > 0
        assert min(memory["bytes"]) >= memory["file"] + memory["heap_init"] // 2
        assert memory["peak_rss"] > 0
        assert file["threads"] == 1
    assert found["gate"]["passed"]


def test_xnnpack(workspace: WorkspaceFolder) -> None:
    found = report(workspace, "{repeats: 10}", two_in_two_out())["measured"]
    (signature,) = found["signatures"]
    for file in signature["files"]:
        assert file["delegates"] == {"TfLiteXNNPackDelegate": 1}
        assert (file["taken"], file["ops"]) == (2, 2)
        assert nodes(file) == ["TfLiteXNNPackDelegate"]
        # It says what it is made of, by its own names.
        (node,) = file["per_op"]["nodes"]
        assert node["delegate"]
        assert any("Fully Connected" in inner["op"] for inner in node["inside"])
    # Nothing that was asked for is the same twice, but where it was measured is.
    assert found["machine"]["cores"] == cores()


def test_without_operators(workspace: WorkspaceFolder) -> None:
    found = report(workspace, "{repeats: 10, per_op: false, optimizations: [a]}", two_in_two_out())
    (signature,) = found["measured"]["signatures"]
    (file,) = signature["files"]
    assert file["per_op"] is None
    assert file["per_op_problem"] == ""
    assert file["taken"] == 2
    assert (signature["ratios"], found["measured"]["memory_ratios"]) == ([], [])


def test_each_signature_by_itself(workspace: WorkspaceFolder) -> None:
    maker = two_in_two_out()
    second = maker.graph("second")
    x, y = second.tensor("x", (1, 8)), second.tensor("y", (1, 8))
    second.op(OP.RELU, [x], [y])
    second.io([x], [y])
    maker.signature("relu", {"x": x}, {"y": y}, subgraph=1)
    workspace.write(
        HEAD.replace("m.tflite}", "m.tflite, signatures: {serve: {}, relu: {}}}")
        + "{delegate: none, repeats: 10}\n",
        {"m.tflite": maker.pack()},
    )
    assert workspace.build("benchmark:m").ok
    found = workspace.report("m/benchmark.json")
    conform(found)
    serve, relu = found["measured"]["signatures"]
    assert [nodes(file) for file in serve["files"]] == [["ADD", "FULLY_CONNECTED"]] * 2
    assert [nodes(file) for file in relu["files"]] == [["RELU"]] * 2


def test_open_shapes_take_those_of_the_data(workspace: WorkspaceFolder) -> None:
    import numpy as np

    maker = Maker()
    graph = maker.graph()
    open_shape = np.array([-1, -1], "<i4")
    x = graph.tensor("x", (1, 1), shapeSignature=open_shape)
    y = graph.tensor("y", (1, 1), shapeSignature=open_shape)
    graph.op(OP.RELU, [x], [y])
    graph.io([x], [y])
    data = np.ones((3, 1000), np.float32) * np.arange(3, dtype=np.float32)[:, None]
    workspace.write(files={"x.npz": {"x": data}})
    found = report(
        workspace, "{delegate: none, repeats: 10}", maker, "    data: {test: {npz: x.npz}}\n"
    )
    (signature,) = found["measured"]["signatures"]
    assert (signature["data"], signature["representative"]) == ("test", True)
    assert signature["samples"] == 3
    assert all(file["arena"]["bytes"] >= 4000 for file in signature["files"])


def failure(workspace: WorkspaceFolder, said: str, maker: Maker) -> str:
    workspace.write(HEAD + said + "\n", {"m.tflite": maker.pack()})
    result = workspace.build("benchmark:m")
    assert not result.ok
    return next(task.reason for task in result.tasks if task.task == "benchmark:m")


def test_a_delegate_that_takes_nothing_is_an_error(workspace: WorkspaceFolder) -> None:
    text = "{delegate: xnnpack, repeats: 10}"
    assert failure(workspace, text, integers()) == (
        "tflbuild.yaml:6:17: delegate: xnnpack has no effect: it takes no operator of any file;"
        " write `delegate: none`"
    )


def test_more_threads_than_cores_are_an_error(workspace: WorkspaceFolder) -> None:
    reason = failure(workspace, "{threads: 1000}", two_in_two_out())
    assert reason.startswith(f"tflbuild.yaml:6:17: threads: 1000 on {cores()} core(s): ")


def test_kernels_that_are_nowhere(workspace: WorkspaceFolder) -> None:
    maker = two_in_two_out()
    graph = maker.model.subgraphs[0]
    graph.operators[0].opcodeIndex = maker.code(OP.CUSTOM, "Mine")
    graph.operators[0].builtinOptions, graph.operators[0].builtinOptionsType = None, 0
    workspace.write(
        HEAD.replace(
            "models:\n",
            "targets: {own: {runtime: custom-ops, ops: {Mine: {}}, unvalidated: allow}}\nmodels:\n",
        ).replace("a: {}, b: {}}", "a: {}, b: {}}\n    targets: [own]")
        + "{repeats: 10}\n",
        {"m.tflite": maker.pack()},
    )
    result = workspace.build("benchmark:m")
    assert result.ok, result
    found = workspace.report("m/benchmark.json")
    conform(found)
    assert [file["unmeasured"] for file in found["measured"]["files"]] == [
        "its custom ops Mine have no kernels here"
    ] * 2


def test_hooks_that_do_not_survive_cost_their_own_numbers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    monkeypatch.setattr(single, "operators", die)
    path = tmp_path / "m.tflite"
    path.write_bytes(two_in_two_out().pack())
    names = [{"name": name, "shape": [1, 4], "dtype": "float32"} for name in ("left", "right")]
    interface = {"signatures": [{"signature": "serve", "inputs": names, "outputs": []}]}
    (tmp_path / "interface.json").write_text(json.dumps(interface))
    request = Request(
        {
            "test": [{"kind": "random", "seed": 0, "samples": 2, "low": 0, "high": 1}],
            "signatures": [{"data": "random"}], "files": [{"name": "a", "params": {}}],
            "threads": 1, "delegate": "none", "warmup": 1, "repeats": 10, "per_op": True,
        },
        {"a/model.tflite": path, "interface.json": tmp_path / "interface.json"},
        tmp_path,
    )  # fmt: skip

    found = measure(request)

    reason = "the process died (signal 11, SIGSEGV)"
    (file,) = found["signatures"][0]["files"]
    assert (file["per_op"], file["arena"], file["per_op_problem"]) == (None, None, reason)
    assert file["ms"]["min"] > 0
    assert found["warnings"] == [f"what a runs is not known: {reason}"]


def test_custom_ops_with_their_kernels(workspace: WorkspaceFolder) -> None:
    example = Path(__file__).resolve().parents[2] / "examples/custom_op"
    sources = {name: example / name for name in ("soft_clip.cc", "tflite_kernel.h")}
    workspace.write(files=sources)
    compile_library(workspace.root / "soft_clip.cc", workspace.root / "libsoft_clip.so")
    maker = Maker()
    graph = maker.graph()
    x, clipped, y = (graph.tensor(name, (1, 4)) for name in ("x", "clipped", "y"))
    graph.op(OP.CUSTOM, [x], [clipped], custom="SoftClip")
    graph.op(OP.ADD, [clipped, x], [y], s.AddOptionsT())
    graph.io([x], [y])
    workspace.write(
        HEAD.replace(
            "models:\n",
            "targets:\n  own: {runtime: custom-ops, library: libsoft_clip.so,"
            " ops: {SoftClip: {register: Register_SOFT_CLIP}}}\nmodels:\n",
        ).replace("a: {}, b: {}}", "a: {}}\n    targets: [own]")
        + "{repeats: 10}\n",
        {"m.tflite": maker.pack()},
    )
    assert workspace.build("benchmark:m").ok
    found = workspace.report("m/benchmark.json")
    conform(found)
    (file,) = found["measured"]["signatures"][0]["files"]
    assert file["file"] == "a+custom"
    assert nodes(file) == ["SoftClip", "TfLiteXNNPackDelegate"]
    assert (file["taken"], file["ops"]) == (1, 2)
