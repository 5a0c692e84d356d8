"""The tables at the end of a command, of measurements made up here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_workspace import MANIFEST as FAKE
from fake_workspace import Fake
from rich.console import Console

from tflbuild import gates
from tflbuild.engine.build import Options, build
from tflbuild.engine.inspect import Inspected
from tflbuild.engine.runner import Result
from tflbuild.graph import build_graph
from tflbuild.manifest.load import load_workspace
from tflbuild.reporting import tables
from tflbuild.reporting.inspected import print_inspected, summary
from tflbuild.verdict import Finding, Margin, Verdict

MANIFEST = """
version: 1
targets:
  phone: {runtime: play-services, max_size: 500KB}
  flex: {runtime: select-tf-ops}
  tiny: {runtime: litert, max_macs: 1000}
  sensor: {runtime: micro}
defaults: {source: {format: tflite, path: m.tflite}, optimizations: {f: {}}}
models:
  plain: {targets: [litert, phone]}
  needy: {targets: [litert, flex]}
"""
LONG = "detector_of_rare_flowers_and_mushrooms_v2"
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


def outcome(tmp_path: Path, manifest: str = MANIFEST, **found: Any) -> Any:
    (tmp_path / "tflbuild.yaml").write_text(manifest)
    (tmp_path / "m.tflite").touch()
    workspace = load_workspace(tmp_path / "tflbuild.yaml")
    graph = build_graph(workspace, workspace.models)
    margins = (
        Margin("size", 412_300, 500_000, "target phone"),
        Margin("macs", 2_000_000, 20_000_000, "compat"),
    )
    seen = {"plain": measured(), "needy": measured(DET), **found}
    seen = {model.name: seen[model.name] for model in workspace.models}
    verdicts, fits = {}, {}
    for model in workspace.models:
        targets = [workspace.targets[t] for t in model.optimizations[0].targets]
        told = gates.evaluate_gate(seen[model.name], model, targets)
        verdicts[f"evaluate:{model.name}"], fits[model.name] = told
    verdicts["compat:plain:f@phone"] = Verdict((), margins)
    result = Result(
        measured={f"evaluate:{name}": value for name, value in seen.items()},
        verdicts=verdicts, fits=fits, outcomes={"convert:plain:f": "ran"},
    )  # fmt: skip
    done = SimpleNamespace(interrupted=False, counts=SimpleNamespace(failed=0))
    return SimpleNamespace(
        graph=graph, result=result, done=done, released={}, selected=(), clean=()
    )


def rendered(table: Any, width: int = 160) -> list[str]:
    """What a terminal of that width shows; nothing may be cut."""
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table, crop=False)
    assert "…" not in capture.get()
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_a_verdict_for_each_target(tmp_path: Path) -> None:
    _, *lines = rendered(tables.evaluations(outcome(tmp_path)))
    assert lines == [
        "needy litert needs select ops 1 1,000 2M 4,000 B 300 B does not fit",
        "flex compatible with the Flex delegate for MatrixDeterminant fits",
        "plain litert compatible 1 1,000 2M 4,000 B 300 B fits",
        "phone compatible fits",
    ]


def test_what_stops_whom_and_the_way_out(tmp_path: Path) -> None:
    told = tables.evaluation_lines(outcome(tmp_path))
    assert "needy: litert cannot take tf.linalg.det (MatrixDeterminant) at 'determinant'" in told
    assert any(line.startswith("needy: instead of tf.linalg.det: ") for line in told)
    assert "plain: most of the work is in conv 100 %" in told
    assert "plain: you could also ship to: micro" in told


def test_what_is_no_matter_of_ops_is_told_too(tmp_path: Path) -> None:
    """A target's own budget, the model's gate, and kernels that are there but do not do."""
    manifest = MANIFEST.replace(
        "plain: {targets: [litert, phone]}",
        "plain: {targets: [litert, tiny, sensor], evaluate: {max_params: 500}}",
    )
    problem = {"op": "RESHAPE", "layer": "flat", "why": "its shape is open", "remedy": "pin it"}
    made = outcome(tmp_path, manifest, plain={**measured(), "micro": [problem]})
    _, *lines = rendered(tables.evaluations(made))
    assert [line.rpartition(" ")[2] for line in lines[2:]] == ["fits", "fit", "fit"]
    assert lines[3] == "tiny compatible does not fit"
    told = [line for line in tables.evaluation_lines(made) if line.startswith("plain")]
    beginnings = [
        "plain: most of the work is in conv 100 %",
        "plain: tiny: multiply-accumulates: 2M of 1,000, ",
        "plain: sensor: RESHAPE at 'flat': its shape is open; pin it",
        "plain: its gate does not pass: parameters: 1,000 of 500, ",
        "plain: you could also ship to: play-services",
    ]
    for line, beginning in zip(told, beginnings, strict=True):
        assert line.startswith(beginning)


def test_what_passed_says_so_whatever_became_of_others(fake: Fake) -> None:
    fake.model("a", 1, do={"validate:int8": {"fail": "no"}})
    fake.model("b", 2, do={"sqnr": 1})
    fake.model("c", 3)
    fake.write(FAKE + "  c: {source: {format: keras, path: models/c.keras}}\n")
    options = Options(until="validate", keep_going=True, cwd=fake.root, pool=fake.pool)
    made = build(fake.root / "tflbuild.yaml", options, lambda event: None)
    _, *lines = rendered(tables.artifacts(made))
    standing = {line.split()[0]: line.split()[1:3] for line in lines}
    assert standing["b:float32@litert"] == ["validate", "failed"]
    assert standing["c:float32@litert"] == standing["c:int8@litert"] == ["validate", "passed"]
    assert made.done.counts.failed


def test_the_budget_with_the_least_left(tmp_path: Path) -> None:
    header, *lines = rendered(tables.artifacts(outcome(tmp_path)))
    assert header.endswith("budget")
    assert [line.endswith("size 412 KB of 500 KB") for line in lines] == [False, True]


@pytest.mark.parametrize("limit", [0, 100])
def test_a_missed_budget_comes_first(tmp_path: Path, limit: int) -> None:
    made = outcome(tmp_path)
    margins = (
        Margin("arena", None, 400, "target phone"),
        Margin("size", 499_999, 500_000, "target phone"),
        Margin("io", 101, limit, "target phone"),
    )
    made.result.verdicts["compat:plain:f@phone"] = Verdict((), margins)
    assert rendered(tables.artifacts(made))[2].endswith(f"io 101 B of {limit} B")


def failing(tmp_path: Path) -> Any:
    """A file that misses three things, one that is not made, and a model that is not lowered."""
    made = outcome(tmp_path)
    words = ("target phone: gpu takes nothing: no kernels", "too old", "too large", "too old: 2.3")
    verdict = Verdict(tuple(Finding("fail", f"c{i}", w) for i, w in enumerate(words)))
    made.result.verdicts["compat:plain:f@phone"] = verdict
    made.result.outcomes |= {
        "compat:plain:f@phone": "ran", "compat:plain:f@litert": "failed",
        "lower:needy": "failed", "convert:needy:f": "skipped",
    }  # fmt: skip
    made.result.reasons = {"lower:needy": "no such file", "compat:plain:f@litert": "out of\nmemory"}
    return made


def test_what_stands_above_is_not_said_again(tmp_path: Path) -> None:
    made = outcome(tmp_path)
    words = "sqnr of output 'y' is 4 dB, below the limit 13 dB; worst: sample 3, off by 0.5"
    made.result.verdicts["compat:plain:f@phone"] = Verdict((Finding("fail", "c", words),))
    made.result.outcomes["compat:plain:f@phone"] = "ran"
    assert tables.failure_lines(made) == [f"plain:f@phone: {words}"]
    assert tables.failure_lines(made, said={words}) == []
    made.result.outcomes["lower:needy"] = "failed"
    assert len(tables.failure_lines(made, said={words})) == 2
    long = f"target phone: {words}{'; and more' * 30}"
    made.result.verdicts["compat:plain:f@phone"] = Verdict((Finding("fail", "c", long),))
    first, _ = tables.failure_lines(made)
    assert first.startswith(f"plain:f@phone: {words}")
    assert first.endswith("; and more …")
    assert len(first) < 280


def test_models_that_are_up_to_date_are_named(tmp_path: Path) -> None:
    made = outcome(tmp_path)
    made.clean = ("a", "b")
    assert tables.clean_lines(made) == []
    made.done.counts.failed = 1
    assert tables.clean_lines(made) == ["2 other models are up to date: a, b"]
    made.clean = ("a",)
    assert tables.clean_lines(made) == ["1 other model is up to date: a"]


METRICS = """
version: 1
defaults: {source: {format: tflite, path: m.tflite}, optimizations: {f: {}}}
models:
  plain:
    data: {test: {npz: m.npz, labels: y}}
    validate:
      metrics:
        top_k_accuracy: {k: 5}
        f1: {average: macro}
        recall: {average: macro, min: 0.5}
        accuracy: {max_drop: 0.1}
        mean_absolute_error: {}
"""


def metric(name: str, file: float) -> dict[str, Any]:
    return {"signature": "s", "name": name, "file": file, "source": 0.9, "interval": [0.5, 0.75],
            "higher_is_better": True}  # fmt: skip


def test_the_metric_with_a_limit_comes_first(tmp_path: Path) -> None:
    (tmp_path / "m.npz").touch()
    names = ("accuracy", "f1", "mean_absolute_error", "recall", "top_k_accuracy")
    found = {"metrics": [metric(name, 0.1 * n) for n, name in enumerate(names)]}
    made = outcome(tmp_path, METRICS)
    made.result.measured["validate:plain:f"] = found
    assert rendered(tables.artifacts(made))[0].endswith("recall ± 95 %")
    (line,) = tables.metric_lines(made)
    assert line == (
        "validate:plain:f: recall 0.3000 of 0.9000, accuracy 0.0000 of 0.9000,"
        " top_k_accuracy 0.4000 of 0.9000, f1 0.1000 of 0.9000,"
        " mean_absolute_error 0.2000 of 0.9000"
    )
    found["metrics"] = found["metrics"][-1:]
    header, row = rendered(tables.artifacts(made))
    assert "top-k" in header
    assert "top_k" not in header + row


def test_why_an_artifact_failed(tmp_path: Path) -> None:
    made = failing(tmp_path)
    told = tables.failure_lines(made)
    assert told == [
        "plain:f@litert: out of memory",
        "plain:f@phone: gpu takes nothing: no kernels (+2 more)",
        "lower:needy: no such file",
    ]
    assert tables.failure_lines(made, "evaluate")[-1] == "lower:needy: no such file"


def test_the_reasons_are_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = failing(tmp_path)
    for until in ("release", "evaluate"):
        tables.print_tables(made, until)
        out = capsys.readouterr().out.splitlines()
        assert out[-1] == "lower:needy: no such file"
        assert not any(line.endswith(" ") for line in out)


def test_many_reasons_end_somewhere(tmp_path: Path) -> None:
    made = outcome(tmp_path)
    made.result.outcomes = {f"lower:m{i}": "failed" for i in range(30)}
    assert tables.failure_lines(made) == [
        "lower:m0, lower:m1, lower:m2, lower:m3, lower:m4 and 25 more: failed"
    ]
    made.result.reasons = {f"lower:m{i}": f"no {i}" for i in range(30)}
    told = tables.failure_lines(made)
    assert len(told) == tables.FAILURES + 1
    assert told[-1] == "and 10 more"


@pytest.mark.parametrize("width", [80, 100, 160])
def test_names_and_verdicts_are_whole_in_any_terminal(tmp_path: Path, width: int) -> None:
    manifest = MANIFEST.replace("plain:", f"{LONG}:")
    made = outcome(tmp_path, manifest, **{LONG: measured()})
    made.result.verdicts[f"compat:{LONG}:f@phone"] = Verdict(
        (Finding("fail", "size", "too large"),), (Margin("size", 600_000, 500_000, "target phone"),)
    )
    made.result.outcomes = dict.fromkeys((f"convert:{LONG}:f", f"compat:{LONG}:f@phone"), "ran")
    header, *lines = rendered(tables.artifacts(made), width)
    assert lines[1].startswith(f"{LONG}:f@phone compat failed")
    assert all(len(line) <= width for line in (header, *lines))
    assert ("time" in header) == (width != 100)  # of 80 the budget has no room, and leaves its own
    header, *lines = rendered(tables.evaluations(made), width)
    row = next(line for line in lines if line.startswith(LONG))
    assert row.startswith(f"{LONG} litert compatible")
    assert row.endswith("fits")
    assert header.startswith("model target verdict")
    assert header.endswith("gate")
    assert ("weights" in header) == (width == 160)


def inspected(name: str, **more: Any) -> Inspected:
    found = {
        "size": 1_234_567, "params": 278_690, "macs": {"total": 12_500_000}, "loads": True,
        "ops": {"builtin": {"ADD": 3}, "select": {}, "custom": {}}, "problem": "",
        "not_loaded": "", **more,
    }  # fmt: skip
    return Inspected(name, found)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_files_fold_between_words(width: int) -> None:
    name = "/home/somebody/projects/flowers/dist/phone/" + "a_long_folder/" * 4 + f"{LONG}.tflite"
    why = "it " + "has an operator that nobody has a kernel for; " * 9 + "write something else"
    found = [inspected(name), inspected("b.tflite", loads=False, problem=why)]
    header, *lines = rendered(summary(found, None), width)
    assert header.startswith("file size")
    assert ("ops" in header) == (width > 80)
    words = {word for line in lines for word in line.split()}
    assert any(f"{LONG}.tflite" in word for word in words)
    assert {*why.split()} <= words
    assert all(len(line) <= width for line in lines)


def test_files_are_whole_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    why = "a reason of many words, " * 30 + "and the remedy"
    files = ["some/" * 60 + "a.tflite", "b.tflite"]
    print_inspected([inspected(files[0]), inspected(files[1], loads=False, not_loaded=why)], None)
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split() == [files[0], "1.23", "MB", "279K", "12.5M", "3", "yes"]
    assert second.endswith(f"no: {why}")
