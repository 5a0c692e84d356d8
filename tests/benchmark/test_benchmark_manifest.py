"""`benchmark` in a manifest, and its task in the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tflbuild.benchmarking import machine
from tflbuild.errors import ManifestErrors
from tflbuild.graph import Graph, build_graph
from tflbuild.manifest.load import load_workspace
from tflbuild.manifest.model import Benchmark, RatioLimit, Workspace
from tflbuild.selectors import select

HEAD = """version: 1
targets:
  own: {runtime: custom-ops, ops: {Mine: {register: f}}, library: lib.so}
models:
  m:
    source: {format: tflite, path: m.tflite}
    optimizations: {f: {}, g: {}, h: {}}
    benchmark: """


def load(folder: Path, text: str) -> Workspace:
    (folder / "m.tflite").touch()
    (folder / "lib.so").touch()
    (folder / "tflbuild.yaml").write_text(text)
    return load_workspace(folder / "tflbuild.yaml")


def graph_of(workspace: Workspace) -> Graph:
    return build_graph(workspace, workspace.models)


def test_what_it_says(tmp_path: Path) -> None:
    (model,) = load(tmp_path, HEAD + "{}\n").models
    assert model.benchmark == Benchmark(optimizations=("f", "g", "h"))
    text = (
        "{threads: 2, delegate: none, warmup: 1, repeats: 10, per_op: false, optimizations: [h, f],"
        " max_ratio: {h: {against: f, time: 0.8, memory: 1}}}\n"
    )
    (model,) = load(tmp_path, HEAD + text).models
    assert model.benchmark == Benchmark(
        threads=2, delegate="none", warmup=1, repeats=10, per_op=False, optimizations=("f", "h"),
        max_ratio=(RatioLimit("h", "f", time=0.8, memory=1),),
    )  # fmt: skip


WRONG = {
    "typo": ("{thread: 1}", "8:17", "unknown key 'thread'; did you mean 'threads'?"),
    "milliseconds": ("{max_ms: 3}", "8:17", "there is no limit in seconds or bytes"),
    "of one": (
        "{max_ratio: {f: {max_latency_ms: 3}}}", "8:33",
        "unknown key 'max_latency_ms'; there is no limit in seconds or bytes, since another machine"
        " has other ones: write `max_ratio: {int8: {against: float32, time: 0.8}}`",
    ),
    "nothing but a time": ("{time: 0.8}", "8:17", "there is no limit in seconds"),
    "few rounds": ("{repeats: 5}", "8:26", "expected at least 10, got 5"),
    "delegate": ("{delegate: gpu}", "8:27", "expected one of xnnpack, none"),
    "unknown": ("{optimizations: [f, int8]}", "8:36", "no optimization 'int8'; the model has f, g"),
    "unknown limit": ("{max_ratio: {i: {against: f, time: 1}}}", "8:29", "no optimization 'i'"),
    "unknown other": ("{max_ratio: {f: {against: i, time: 1}}}", "8:42", "no optimization 'i'"),
    "no other": ("{max_ratio: {f: {time: 1}}}", "8:29", "max_ratio of f needs `against`"),
    "itself": ("{max_ratio: {f: {against: f, time: 1}}}", "8:42", "f against itself is always 1"),
    "no number": ("{max_ratio: {f: {against: g}}}", "8:29", "max_ratio of f limits nothing"),
    "not measured": (
        "{optimizations: [f, h], max_ratio: {f: {against: g, time: 1}}}", "8:65",
        "g is not measured: it is not in `benchmark.optimizations`",
    ),
    "another model": (
        "{max_ratio: {f: {against: 'n:f', time: 1}}}", "8:42",
        "takes an optimization of this model, not 'n:f': only files that are measured in one run",
    ),
    "percent": (
        "{max_ratio: {f: {against: g, time: 80}}}", "8:51",
        "80 times what g needs is no limit; a ratio is meant: 0.8 is 80 % (at most 10)",
    ),
    "percent of memory": (
        "{max_ratio: {f: {against: g, time: 10, memory: 10.5}}}", "8:63", "0.8 is 80 %",
    ),
    "zero": ("{max_ratio: {f: {against: g, time: 0}}}", "8:51", "expected a number above 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong(tmp_path: Path, name: str) -> None:
    text, place, message = WRONG[name]
    with pytest.raises(ManifestErrors) as caught:
        load(tmp_path, HEAD + text + "\n")
    (error,) = caught.value.errors
    assert f":{place}: " in str(error)
    assert message in str(error)


DEFAULTS = """version: 1
defaults:
  source: {format: tflite, path: m.tflite}
  benchmark:
    optimizations: [f, int8]
    max_ratio: {int8: {against: f, time: 0.8}, f: {against: old, time: 1}}
models:
  both: {optimizations: {f: {}, int8: {quantize: int8}}, data: {calibration: {random: {}}}}
  one: {optimizations: {f: {}}}
  other: {optimizations: {g: {}}}
  none: {optimizations: {f: {}}, benchmark: null}
"""


def test_defaults_serve_models_that_have_what_they_name(tmp_path: Path) -> None:
    models = {model.name: model for model in load(tmp_path, DEFAULTS).models}
    both, one, other = (models[name].benchmark for name in ("both", "one", "other"))
    assert both is not None
    assert one is not None
    assert other is not None
    assert both.optimizations == ("f", "int8")
    assert both.max_ratio == (RatioLimit("int8", "f", time=0.8),)
    assert (one.optimizations, one.max_ratio) == (("f",), ())
    assert other.optimizations == ("g",)
    assert models["none"].benchmark is None


def test_without_it_there_is_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD.removesuffix("    benchmark: ")

    def never() -> Any:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(machine, "machine", never)
    workspace = load(tmp_path, text)
    graph = graph_of(workspace)
    assert [name for name in graph.steps if name.startswith("benchmark")] == []
    chosen = select(workspace, (), "release", tmp_path)
    assert chosen.tasks == ("release:m:f@litert", "release:m:g@litert", "release:m:h@litert")


def test_one_task_reads_all_files(tmp_path: Path) -> None:
    text = HEAD.replace("h: {}", "h: {targets: [litert, own]}") + "{optimizations: [f, h]}\n"
    step = graph_of(load(tmp_path, text)).steps["benchmark:m"]
    assert step.alone
    assert step.depends == ["convert:m:f", "convert:m:h", "convert:m:h+custom", "lower:m"]
    assert [port.name_of("model.tflite") for port in step.ports] == [
        "f/model.tflite", "h/model.tflite", "h+custom/model.tflite", None,
    ]  # fmt: skip
    assert step.files == {"h+custom/library": "lib.so"}
    assert [entry["name"] for entry in step.params["files"]] == ["f", "h", "h+custom"]
    assert step.params["machine"] == machine.machine()
    assert step.report == "m/benchmark.json"


def test_limits_are_in_no_key(tmp_path: Path) -> None:
    def params(text: str) -> Any:
        return graph_of(load(tmp_path, HEAD + text + "\n")).steps["benchmark:m"].params

    assert params("{}") == params("{max_ratio: {f: {against: g, time: 0.1}}}")
    assert params("{}") != params("{threads: 2}")
    assert params("{}") != params("{optimizations: [f, g]}")


def test_another_machine_measures_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = load(tmp_path, HEAD + "{}\n")
    here = graph_of(workspace).steps["benchmark:m"].params
    monkeypatch.setattr(machine, "cpu_name", lambda: "Another 9000")
    there = graph_of(workspace).steps["benchmark:m"].params
    assert here != there
    assert {k: v for k, v in here.items() if k != "machine"} == {
        k: v for k, v in there.items() if k != "machine"
    }


def test_those_that_have_a_limit_wait_for_it(tmp_path: Path) -> None:
    graph = graph_of(load(tmp_path, HEAD + "{max_ratio: {h: {against: f, time: 1}}}\n"))
    waiting = {n for n, step in graph.steps.items() if "benchmark:m" in step.gates}
    assert waiting == {"release:m:h@litert"}


def test_what_selects_it(tmp_path: Path) -> None:
    workspace = load(tmp_path, HEAD + "{}\n")

    def chosen(until: str, *selectors: str) -> list[str]:
        tasks = select(workspace, selectors, until, tmp_path).tasks
        return [task for task in tasks if task.startswith("benchmark")]

    assert chosen("release") == ["benchmark:m"]
    assert chosen("validate") == ["benchmark:m"]
    assert chosen("release", "m") == ["benchmark:m"]
    assert chosen("release", "benchmark:m") == ["benchmark:m"]
    assert chosen("evaluate") == []
    assert chosen("release", "m:f") == []
    assert chosen("release", "@litert") == []
