"""The tables at the end of build, evaluate and validate."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from tflbuild.engine.build import Outcome
from tflbuild.evaluation import runtimes
from tflbuild.manifest.model import Target
from tflbuild.verdict import Verdict


def print_tables(outcome: Outcome, until: str) -> None:
    """Print what the command was about; nothing when there is nothing to show."""
    table = evaluations(outcome) if until == "evaluate" else artifacts(outcome)
    if table.row_count:
        width = None if sys.stdout.isatty() else 160
        console = Console(file=sys.stdout, width=width, highlight=False)
        console.print(table)
        for line in evaluation_lines(outcome) if until == "evaluate" else ():
            console.print(line, markup=False, soft_wrap=True)


FEW = 5  # models that more than the table is shown of
NUMBERS = ("ops", "params", "MACs", "weights", "activations", "time", "float → file", "SQNR")


def _table(name: str, *columns: str) -> Table:
    """In a narrow terminal names fold onto a second line; numbers and verdicts stay whole."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(name, overflow="fold", min_width=12)
    for column in columns:
        right = column in NUMBERS
        whole = column != "verdict"  # which may name conditions
        table.add_column(column, justify="right" if right else "left", no_wrap=whole)
    return table


def evaluations(outcome: Outcome) -> Table:
    """One row per model and target: what the model is made of, and whether it could ship there."""
    columns = ("ops", "params", "MACs", "weights", "activations", "gate")
    table = _table("model", "target", "verdict", *columns)
    for model, measured, verdict, targets in _evaluated(outcome):
        numbers = (
            _number(measured.get("op_count")),
            _number(measured.get("params")),
            _number(measured.get("macs")),
            _bytes(measured.get("weights_bytes")),
            _bytes(measured.get("memory", {}).get("peak_bytes")),
            "passed" if verdict.passed else "failed",
        )
        for index, target in enumerate(targets):
            told = runtimes.of_target(measured, target)
            word = " ".join([told["verdict"], ", ".join(told["with"])]).strip()
            shown = numbers if index == 0 else ("",) * len(numbers)
            table.add_row(model if index == 0 else "", target.name, word, *shown)
    return table


def evaluation_lines(outcome: Outcome) -> list[str]:
    """Below the table: what costs most, what stops whom, and the way out; of many models, for
    those alone that something stops."""
    evaluated = list(_evaluated(outcome))
    lines = []
    for model, measured, _, targets in evaluated:
        found = {target.name: runtimes.of_target(measured, target) for target in targets}
        stopped = any(own["ops"] for own in found.values())
        if len(evaluated) > FEW and not stopped:
            continue
        told = runtimes.lines(measured, found, list(found))
        told += runtimes.also_lines(runtimes.verdicts(measured), [t.runtime for t in targets])
        lines += [f"{model}: {line}" for line in told]
    return lines


def _evaluated(outcome: Outcome) -> Iterator[tuple[str, Any, Verdict, list[Target]]]:
    """Each model that was evaluated: its name, measurement, verdict and targets."""
    result, graph = outcome.result, outcome.graph
    assert result is not None
    assert graph is not None
    for task, measured in sorted(result.measured.items()):
        if task.startswith("evaluate:"):
            model = graph.steps[task].model
            names = dict.fromkeys(t for o in model.optimizations for t in o.targets)
            targets = [graph.workspace.targets[name] for name in names]
            yield model.name, measured, result.verdicts[task], targets


def artifacts(outcome: Outcome) -> Table:
    """One row per artifact: how far it came, the time of its stages, sizes, worst error."""
    result, graph = outcome.result, outcome.graph
    assert result is not None
    assert graph is not None
    metrics = ["accuracy"] if any(m.get("metrics") for m in result.measured.values()) else []
    margins = {str(a): _tightest(result.verdicts, str(a)) for a in graph.artifacts()}
    budgets = ["budget"] if any(margins.values()) else []
    columns = ("stage", "status", "time", "float → file", "SQNR", *metrics, *budgets)
    table = _table("artifact", *columns)
    for artifact in graph.artifacts():
        release = f"release:{artifact}"
        convert = graph.steps[release].ports[0].task
        pair = convert.partition(":")[2]  # with the suffix of the converter profile
        stages = (f"evaluate:{artifact.model}", convert, f"compat:{artifact}",
                  f"validate:{pair}", release)  # fmt: skip
        if not any(stage in result.outcomes for stage in stages[1:]):
            continue
        validation = result.measured.get(f"validate:{pair}", {})
        table.add_row(
            str(artifact),
            *_standing(outcome, str(artifact), stages),
            f"{sum(result.seconds.get(stage, 0.0) for stage in stages[1:]):.1f} s",
            _sizes(
                result.measured.get(f"evaluate:{artifact.model}", {}).get("size"),
                result.sizes.get(convert),
            ),
            _worst(validation),
            *([_accuracy(validation)] if metrics else []),
            *([margins[str(artifact)]] if budgets else []),
        )
    return table


def _standing(outcome: Outcome, artifact: str, stages: tuple[str, ...]) -> tuple[str, str]:
    """The stage that an artifact reached (or failed in), and how it stands."""
    result = outcome.result
    assert result is not None
    reached = [stage for stage in stages if stage in result.outcomes]
    bad = [s for s in reached if not result.passed(s) and result.outcomes[s] != "skipped"]
    if bad:
        status = "failed, stale" if artifact in outcome.released else "failed"
        return bad[0].partition(":")[0], status
    done = [stage for stage in reached if result.passed(stage)]
    stage = (done or reached)[-1].partition(":")[0]
    if stage == "release" and done:
        outcomes = {"ran": "released", "restored": "restored"}
        return stage, outcomes.get(result.outcomes[done[-1]], "up to date")
    stopped = len(done) < len(reached) or outcome.done.interrupted or outcome.done.counts.failed
    return stage, "not reached" if stopped else "passed"


def _tightest(verdicts: Mapping[str, Verdict], artifact: str) -> str:
    """The budget of a file that the least is left of."""
    verdict = verdicts.get(f"compat:{artifact}", Verdict())
    if not verdict.margins:
        return ""
    margin = max(verdict.margins, key=lambda m: (m.value is None, (m.value or 0) / m.limit))
    return f"{margin.name} {margin.text}"


def _sizes(before: int | None, after: int | None) -> str:
    if after is None:
        return "" if before is None else f"{_bytes(before)} →"
    return _bytes(after) if before is None else f"{_bytes(before)} → {_bytes(after)}"


def _worst(validation: Any) -> str:
    values = [p["sqnr"] for p in validation.get("parity", []) if p.get("sqnr") is not None]
    if values:
        return f"{min(values):.1f} dB"
    return "exact" if validation.get("parity") else ""


def _accuracy(validation: Any) -> str:
    values = [m for m in validation.get("metrics", []) if m["name"] == "accuracy"]
    if not values:
        return ""
    worst = min(values, key=lambda m: float(m["file"]))
    return f"{worst['file']:.4f} of {worst['source']:.4f}"


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
