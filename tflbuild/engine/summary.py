"""`build/reports/summary.json`: every artifact's standing, released, stale or missing, and why."""

from __future__ import annotations

import json
from typing import Any

from tflbuild.engine.runner import Result
from tflbuild.engine.state import State
from tflbuild.graph import Graph, artifacts_of
from tflbuild.manifest.model import Workspace
from tflbuild.step import Artifact, Step
from tflbuild.store.local import Store

NOT_REACHED = "not reached: another task failed first"


def summary_path(workspace: Workspace) -> str:
    return f"{workspace.build_dir}/reports/summary.json"


def write_summary(
    workspace: Workspace, graph: Graph, result: Result, state: State, store: Store
) -> str:
    """Renew the entries of the models in `graph`, keep the others; its path under the root."""
    path = summary_path(workspace)
    full = workspace.root / path
    try:
        entries: dict[str, Any] = json.loads(full.read_text())["artifacts"]
    except (OSError, ValueError, KeyError, TypeError):
        entries = {}
    released = state.released()
    wanted = [artifact for model in workspace.models for artifact in artifacts_of(model)]
    summary = {}
    for artifact in wanted:
        name = str(artifact)
        step = graph.steps.get(f"release:{artifact}")
        row = released.get(name)
        reasons = [] if step is None else blockers(graph, result, step)
        if step is None or (step.name not in result.outcomes and not reasons):
            old = entries.get(name) if isinstance(entries, dict) else None
            summary[name] = old or _entry(artifact, "released" if row else "not built", row, [])
        elif result.passed(step.name):
            summary[name] = _entry(artifact, "released", row, warnings(graph, result, step))
        else:
            status = "stale" if row else "not released"
            summary[name] = _entry(artifact, status, row, reasons or [NOT_REACHED])
    text = json.dumps({"version": 1, "artifacts": summary}, indent=1, sort_keys=True) + "\n"
    store.write(full, text.encode())
    return path


def _entry(artifact: Artifact, status: str, row: Any, findings: list[str]) -> dict[str, Any]:
    return {
        "status": status,
        "file": row.path if row else None,
        "sha256": row.sha256 if row else None,
        "size": row.size if row else None,
        "findings": findings,
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
