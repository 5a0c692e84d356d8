"""The tables at the end of a command, of measurements made up here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from tflbuild.graph import build_graph
from tflbuild.manifest.load import load_workspace
from tflbuild.reporting import tables
from tflbuild.verdict import Margin, Verdict

MANIFEST = """
version: 1
targets: {phone: {runtime: play-services, max_size: 500KB}, flex: {runtime: select-tf-ops}}
defaults: {source: {format: tflite, path: m.tflite}, optimizations: {f: {}}}
models:
  plain: {targets: [litert, phone]}
  needy: {targets: [litert, flex]}
"""
DET = {"op": "MatrixDeterminant", "class": "select", "count": 1, "name": "determinant", "node": "",
       "function": "", "dtypes": ["float32"], "code": "", "message": ""}  # fmt: skip


def measured(*foreign: Any) -> dict[str, Any]:
    return {
        "verdict": "needs select ops" if foreign else "compatible", "problem": "", "problems": [],
        "ops": {"builtin": {"ADD": 1}, "select": {}, "custom": {}}, "not_builtin": list(foreign),
        "op_count": 1, "params": 1000, "macs": 2_000_000, "weights_bytes": 4000,
        "memory": {"peak_bytes": 300}, "dynamic_inputs": [], "advice": "", "micro": [],
        "layers": [{"name": "conv", "macs": 2_000_000}],
    }  # fmt: skip


def outcome(tmp_path: Path) -> Any:
    (tmp_path / "tflbuild.yaml").write_text(MANIFEST)
    (tmp_path / "m.tflite").touch()
    workspace = load_workspace(tmp_path / "tflbuild.yaml")
    graph = build_graph(workspace, workspace.models)
    margins = (
        Margin("size", 412_300, 500_000, "target phone"),
        Margin("macs", 2_000_000, 20_000_000, "compat"),
    )
    result = SimpleNamespace(
        measured={"evaluate:plain": measured(), "evaluate:needy": measured(DET)},
        verdicts={
            "evaluate:plain": Verdict(), "evaluate:needy": Verdict(),
            "compat:plain:f@phone": Verdict((), margins),
        },
        outcomes={"convert:plain:f": "ran"}, seconds={}, sizes={},
        passed=lambda task: True,
    )  # fmt: skip
    done = SimpleNamespace(interrupted=False, counts=SimpleNamespace(failed=0))
    return SimpleNamespace(graph=graph, result=result, done=done, released={})


def rendered(table: Any) -> list[str]:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(table)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_a_verdict_for_each_target(tmp_path: Path) -> None:
    _, *lines = rendered(tables.evaluations(outcome(tmp_path)))
    assert lines == [
        "needy litert needs select ops 1 1.00K 2.00M 4.0 KB 300 B passed",
        "flex compatible with the Flex delegate for MatrixDeterminant",
        "plain litert compatible 1 1.00K 2.00M 4.0 KB 300 B passed",
        "phone compatible",
    ]


def test_what_stops_whom_and_the_way_out(tmp_path: Path) -> None:
    told = tables.evaluation_lines(outcome(tmp_path))
    assert "needy: litert cannot take MatrixDeterminant at 'determinant'" in told
    assert any(line.startswith("needy: instead of tf.linalg.det: ") for line in told)
    assert "plain: most of the work is in conv 100 %" in told
    assert "plain: you could also ship to: micro" in told


def test_the_budget_with_the_least_left(tmp_path: Path) -> None:
    header, *lines = rendered(tables.artifacts(outcome(tmp_path)))
    assert header.endswith("budget")
    assert [line.endswith("size 412 KB of 500 KB") for line in lines] == [False, True]
