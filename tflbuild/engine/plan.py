"""plan: what a build would do and why, found without doing anything.

Works on a tree that cannot be written, imports no TensorFlow, and makes the same decisions as a
build (`Decider`), in the same order. Where a task will run, its outputs are not known yet, so
what reads them `depends` on it: early cutoff may still spare those.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tflbuild.engine import decide
from tflbuild.engine.build import PRIVATE
from tflbuild.engine.decide import Decider, Decision
from tflbuild.engine.files import FileDigests
from tflbuild.engine.judge import Judge
from tflbuild.engine.publish import superfluous
from tflbuild.engine.state import State
from tflbuild.errors import TaskError
from tflbuild.graph import Graph, artifacts_of, build_graph
from tflbuild.manifest.load import load_workspace
from tflbuild.manifest.model import Workspace
from tflbuild.selectors import Selection, forced_tasks, select
from tflbuild.step import Step
from tflbuild.store.keys import Change
from tflbuild.store.local import DamagedBlob, Store
from tflbuild.store.toolchain import Toolchain

DEPENDS = "depends"
BLOCKED = "blocked"  # by a gate that is known to fail, or by an input that is missing


@dataclass(frozen=True)
class Planned:
    """What would happen to one task."""

    task: str
    action: str  # run, restore, up-to-date, depends or blocked
    why: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()  # what its gate is known to say against it

    def as_json(self) -> dict[str, Any]:
        return {"task": self.task, "action": self.action, "why": list(self.why)}


@dataclass(frozen=True)
class View:
    """A workspace, its graph and its state, open for looking at."""

    workspace: Workspace
    selection: Selection
    graph: Graph
    decider: Decider
    state: State


@contextmanager
def view(
    manifest: Path, selectors: tuple[str, ...], until: str, cwd: Path, force: bool = False
) -> Iterator[View]:
    """Open a workspace read-only. Raises ManifestErrors and UsageError."""
    root = Path(os.path.realpath(manifest.parent))
    workspace = load_workspace(manifest, cwd)
    selection = select(workspace, selectors, until, cwd)
    wanted = set(selection.models)
    graph = build_graph(workspace, [m for m in workspace.models if m.name in wanted])
    with closing(State.read_only(root / PRIVATE / "state.sqlite")) as state:
        store = Store(root / PRIVATE / "store")
        forced = forced_tasks(selection, graph, selection.tasks) if force else frozenset()
        digests = FileDigests(root, state)
        decider = Decider(root, state, store, digests, Toolchain(), forced)
        yield View(workspace, selection, graph, decider, state)


def plan(seen: View) -> list[Planned]:
    """Every task that the selection needs, producers first."""
    planned: dict[str, Planned] = {}
    judge = Judge(seen.workspace, seen.decider)
    for name in seen.graph.needed(seen.selection.tasks):
        planned[name] = _predict(seen, seen.graph.steps[name], planned, judge)
    return list(planned.values())


def removals(seen: View) -> list[str]:
    """Files that a build of everything would take out of `dist/`."""
    wanted = [a for model in seen.workspace.models for a in artifacts_of(model)]
    return [row.path for row in superfluous(seen.state, wanted, seen.workspace.dist_dir)]


def _predict(seen: View, step: Step, planned: dict[str, Planned], judge: Judge) -> Planned:
    waits = [port.task for port in step.ports if planned[port.task].action in (decide.RUN, DEPENDS)]
    if waits:
        return Planned(step.name, DEPENDS, tuple(f"on {name}" for name in waits))
    reasons: list[str] = []
    for name in step.depends:
        if planned[name].action == BLOCKED:
            reasons.append(f"by {name}")
        reasons += [f"by the gate of {name}: {message}" for message in planned[name].missed]
    if reasons:
        return Planned(step.name, BLOCKED, tuple(reasons))
    try:
        decision = seen.decider.decide(step)
        if step.stage == "release":
            return _release(seen, step, decision)
    except TaskError as error:
        return Planned(step.name, BLOCKED, (str(error),))
    if decision.outputs is not None:
        try:
            judgement = judge(step, decision.outputs)
        except DamagedBlob:
            why = "its output in the store is damaged or missing"
            return Planned(step.name, decide.RUN, (why,))
        seen.decider.settle(step, decision.key, decision.outputs)
        if judgement is not None:
            missed = tuple(finding.message for finding in judgement.verdict.failures)
            return Planned(step.name, decision.verdict, decision.why, missed)
    return Planned(step.name, decision.verdict, decision.why)


def _release(seen: View, step: Step, decision: Decision) -> Planned:
    """Whether the file in `dist/` is the one that would be released."""
    path = f"{seen.workspace.dist_dir}/{step.artifact.file}"
    if decision.verdict != decide.UP_TO_DATE:
        return Planned(step.name, decide.RUN, decision.why)
    try:
        if seen.decider.digests.digest(path) == decision.inputs.keyed["model.tflite"]:
            return Planned(step.name, decide.UP_TO_DATE)
        what = "was edited"
    except TaskError:
        what = "is missing"
    return Planned(step.name, decide.RESTORE, (f"{path} {what}",))


def explain(seen: View, step: Step) -> tuple[Planned, list[Change] | None]:
    """What would happen to a task, and the parts of its key that changed since it was built
    (None where the key is not known yet, or nothing was built before)."""
    planned = {p.task: p for p in plan(seen)}[step.name]
    if planned.action not in (decide.RUN, decide.RESTORE):
        return planned, None
    inputs = seen.decider.inputs(step)
    return planned, seen.decider.changes(step, seen.decider.action(step, inputs))
