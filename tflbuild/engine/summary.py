"""`build/reports/summary.json`: every artifact's standing, released, stale or missing, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tflbuild.engine.runner import Result
from tflbuild.engine.state import State
from tflbuild.graph import Graph, artifacts_of
from tflbuild.manifest.model import Workspace
from tflbuild.step import Step
from tflbuild.store.local import Store
from tflbuild.verdict import Check

NOT_REACHED = "not reached: another task failed first"

STATUSES = ("released", "stale", "not released", "not built")

# What a dashboard or a pull request is told of each metric, and of the parity of each output.
METRIC = (
    "signature", "name", "output", "samples", "file", "source", "float", "interval",
    "drop_interval", "higher_is_better",
)  # fmt: skip
PARITY = (
    "signature", "output", "kind", "equal", "sqnr", "cosine", "max_range_error", "max_abs_error",
)  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    """What this build knows of one artifact's file, released or not; None or empty where it was
    not measured. Values of the JSON are finite."""

    sha256: str | None = None
    size: int | None = None  # bytes
    min_runtime: Mapping[str, str | None] = field(default_factory=dict)  # numbering → version
    metrics: tuple[Mapping[str, Any], ...] = ()  # with keys of METRIC
    parity: tuple[Mapping[str, Any], ...] = ()  # with keys of PARITY
    checks: tuple[tuple[str, Check], ...] = ()  # task, and what its gate judged

    def as_json(self) -> dict[str, Any]:
        return {
            "built": None if self.sha256 is None else {"sha256": self.sha256, "size": self.size},
            "min_runtime": dict(self.min_runtime),
            "metrics": [dict(metric) for metric in self.metrics],
            "parity": [dict(output) for output in self.parity],
            "checks": [{"task": task, **check.as_json()} for task, check in self.checks],
        }


def numbers(graph: Graph, result: Result, step: Step) -> Numbers:
    """What was measured on the way to a release."""
    convert = step.ports[0].task
    tasks = graph.needed([step.name])
    compat = result.measured.get(f"compat:{step.artifact}", {})
    validation: Mapping[str, Any] = {}
    checks: list[tuple[str, Check]] = []
    for task in tasks:
        stage = task.partition(":")[0]
        if stage == "validate":
            validation = result.measured.get(task, {})
        if stage == "evaluate" and task in result.verdicts:
            # The model's own verdict repeats those of its targets where none of them passes.
            own = result.verdicts[task].checks
            checks += [(task, check) for check in own if check.check.startswith("evaluate.")]
            fits = result.fits.get(step.model.name, {})
            if told := fits.get(step.artifact.target):
                checks += [(task, check) for check in told.checks]
        elif task in result.verdicts:
            checks += [(task, check) for check in result.verdicts[task].checks]
    oldest = compat.get("versions", {}).get("min_runtime", {})
    return Numbers(
        result.files.get(convert),
        result.sizes.get(convert),
        {name: oldest[name] for name in sorted(oldest)},
        tuple(_some(metric, METRIC) for metric in validation.get("metrics", ())),
        tuple(_some(output, PARITY) for output in validation.get("parity", ())),
        tuple(checks),
    )


def _some(entry: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """These keys of a measurement."""
    return {key: _finite(entry[key]) for key in keys if key in entry}


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return value


def summary_path(workspace: Workspace) -> str:
    return f"{workspace.build_dir}/reports/summary.json"


def write_summary(
    workspace: Workspace,
    graph: Graph,
    result: Result,
    state: State,
    store: Store,
    written: bool = False,
) -> str:
    """Renew the entries of the models in `graph`, keep the others; its path under the root.

    `written`: the file is as this wrote it, so that what is kept needs no look.
    """
    path = summary_path(workspace)
    full = workspace.root / path
    entries = _entries(full, written)
    released = state.released()
    wanted = [artifact for model in workspace.models for artifact in artifacts_of(model)]
    lines = {}
    for artifact in wanted:
        name = str(artifact)
        step = graph.steps.get(f"release:{artifact}")
        row = released.get(name)
        reasons = [] if step is None else blockers(graph, result, step)
        if step is None or (step.name not in result.outcomes and not reasons):
            if (old := entries.get(name)) is not None:
                lines[name] = old
                continue
            made = _entry("released" if row else "not built", row, [])
        else:
            known = numbers(graph, result, step)
            if result.passed(step.name):
                made = _entry("released", row, warnings(graph, result, step), known)
            else:
                status = "stale" if row else "not released"
                made = _entry(status, row, reasons or [NOT_REACHED], known)
        lines[name] = json.dumps(made, sort_keys=True)
    # A line for each artifact: of thousands, a tenth of the time of a line for each value.
    text = ",\n".join(f"{json.dumps(name)}: {lines[name]}" for name in sorted(lines))
    store.write(full, f"{_HEAD}\n{text}\n{_FOOT}\n".encode())
    return path


_HEAD, _FOOT = '{"version": 1, "artifacts": {', "}}"


def _entries(path: Path, written: bool) -> dict[str, str]:
    """The entries of a file, each as its JSON; without those that we never wrote."""
    try:
        text = path.read_text()
        if written and text.startswith(_HEAD):
            pairs = (line.partition(": ") for line in text.splitlines()[1:-1])
            return {name.strip('"'): entry.removesuffix(",") for name, _, entry in pairs}
        found: dict[str, Any] = json.loads(text)["artifacts"]
        return {
            name: json.dumps({**_entry("not built", None, []), **entry}, sort_keys=True)
            for name, entry in found.items()
            if entry["status"] in STATUSES and isinstance(entry["findings"], list)
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _entry(
    status: str, row: Any, findings: list[str], known: Numbers | None = None
) -> dict[str, Any]:
    return {
        "status": status,
        "file": row.path if row else None,
        "sha256": row.sha256 if row else None,
        "size": row.size if row else None,
        "findings": findings,
        **(known or Numbers()).as_json(),
    }


def blockers(graph: Graph, result: Result, step: Step) -> list[str]:
    """What kept an artifact from being released, a line each; none: it was not reached."""
    lines = []
    for name in graph.needed([step.name]):
        verdict = result.verdicts.get(name)
        if verdict is not None:
            lines += [f"{name}: {finding.message}" for finding in verdict.failures]
        elif result.outcomes.get(name) == "failed":
            lines.append(f"{name}: {result.reasons.get(name, 'failed')}")
    return lines


def warnings(graph: Graph, result: Result, step: Step) -> list[str]:
    """What an artifact was released in spite of, a line each."""
    return [
        f"{name}: {finding.message}"
        for name in graph.needed([step.name])
        if name in result.verdicts
        for finding in result.verdicts[name].warnings
    ]
