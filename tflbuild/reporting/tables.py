"""The tables at the end of build, evaluate and validate."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from tflbuild.engine.build import Outcome


def print_tables(outcome: Outcome, until: str) -> None:
    """Print what the command was about; nothing when there is nothing to show."""
    table = evaluations(outcome) if until == "evaluate" else artifacts(outcome)
    if table.row_count:
        width = None if sys.stdout.isatty() else 160
        Console(file=sys.stdout, width=width, highlight=False).print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column in ("ops", "params", "MACs", "weights", "time", "float size", "size", "SQNR")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    return table


def evaluations(outcome: Outcome) -> Table:
    """One row per model: what it is made of, and whether it passes."""
    table = _table("model", "verdict", "ops", "params", "MACs", "weights", "gate")
    assert outcome.result is not None
    for task, measured in sorted(outcome.result.measured.items()):
        if not task.startswith("evaluate:"):
            continue
        verdict = outcome.result.verdicts[task]
        table.add_row(
            task.partition(":")[2],
            measured["verdict"],
            _number(measured.get("op_count")),
            _number(measured.get("params")),
            _number(measured.get("macs")),
            _bytes(measured.get("weights_bytes")),
            "passed" if verdict.passed else "failed",
        )
    return table


def artifacts(outcome: Outcome) -> Table:
    """One row per artifact: how it stands, the time of its stages, sizes, worst error."""
    table = _table("model", "optimization", "target", "stage", "status", "time", "float size",
                   "size", "SQNR", "accuracy")  # fmt: skip
    result, graph = outcome.result, outcome.graph
    assert result is not None
    assert graph is not None
    for artifact in graph.artifacts():
        pair = f"{artifact.model}:{artifact.optimization}"
        stages = (f"convert:{pair}", f"compat:{artifact}", f"validate:{pair}",
                  f"release:{artifact}")  # fmt: skip
        if not any(stage in result.outcomes for stage in stages):
            continue
        compat = result.measured.get(f"compat:{artifact}", {})
        evaluation = result.measured.get(f"evaluate:{artifact.model}", {})
        validation = result.measured.get(f"validate:{pair}", {})
        table.add_row(
            artifact.model,
            artifact.optimization,
            artifact.target,
            *_standing(outcome, str(artifact), stages),
            f"{sum(result.seconds.get(stage, 0.0) for stage in stages):.1f} s",
            _bytes(evaluation.get("size")),
            _bytes(compat.get("size")),
            _worst(validation),
            _accuracy(validation),
        )
    return table


def _standing(outcome: Outcome, artifact: str, stages: tuple[str, ...]) -> tuple[str, str]:
    """The stage that an artifact reached (or failed in), and how it stands."""
    result = outcome.result
    assert result is not None
    reached = [stage for stage in stages if stage in result.outcomes]
    bad = [s for s in reached if not result.passed(s) and result.outcomes[s] != "skipped"]
    if bad:
        status = "stale" if artifact in outcome.released else "not released"
        return bad[0].partition(":")[0], f"failed, {status}"
    done = [stage for stage in reached if result.passed(stage)]
    if not done or any(result.outcomes[stage] == "skipped" for stage in reached):
        return (done or reached)[-1].partition(":")[0], "not reached"
    stage = done[-1].partition(":")[0]
    if stage != "release":
        return stage, "passed"
    outcomes = {"ran": "released", "restored": "restored"}
    return stage, outcomes.get(result.outcomes[done[-1]], "up to date")


def _worst(validation: Any) -> str:
    values = [p["sqnr"] for p in validation.get("parity", []) if p.get("sqnr") is not None]
    if values:
        return f"{min(values):.1f} dB"
    return "exact" if validation.get("parity") else ""


def _accuracy(validation: Any) -> str:
    value = validation.get("metrics", {}).get("accuracy")
    return "" if value is None else f"{value['file']:.4f} (source {value['source']:.4f})"


def _number(value: int | None) -> str:
    if value is None:
        return ""
    for unit, size in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if value >= size:
            return f"{value / size:.2f}{unit}"
    return str(value)


def _bytes(value: int | None) -> str:
    if value is None:
        return ""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value} B"
