"""plan: what a build would do and why, found without doing anything.

Works on a tree that cannot be written, imports no TensorFlow, and makes the same decisions as a
build (`Decider`), in the same order. Where a task will run, its outputs are not known yet, so
what reads them `depends` on it: early cutoff may still spare those.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tflbuild import lockfile
from tflbuild.custom_runtime import FOLDER
from tflbuild.engine import decide
from tflbuild.engine.build import PRIVATE
from tflbuild.engine.decide import Decider, Decision
from tflbuild.engine.dist import Dist
from tflbuild.engine.files import FileDigests
from tflbuild.engine.judge import Judge
from tflbuild.engine.lying import Lying
from tflbuild.engine.publish import superfluous, superfluous_beside
from tflbuild.engine.state import Released, State
from tflbuild.errors import TaskError
from tflbuild.graph import Graph, artifacts_of, build_graph, environments
from tflbuild.lockfile import Locked
from tflbuild.manifest.load import load_workspace
from tflbuild.manifest.model import Workspace
from tflbuild.selectors import Selection, forced_tasks, select
from tflbuild.step import EMITTED, Step
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
    locked: Mapping[str, Locked]  # the last release


@contextmanager
def view(
    manifest: Path, selectors: tuple[str, ...], until: str, cwd: Path, force: bool = False
) -> Iterator[View]:
    """Open a workspace read-only. Raises ManifestErrors and UsageError."""
    root = Path(os.path.realpath(manifest.parent))
    workspace = load_workspace(manifest, cwd)
    locked = lockfile.read(root)
    selection = select(workspace, selectors, until, cwd)
    wanted = set(selection.models)
    models = [m for m in workspace.models if m.name in wanted]
    graph = build_graph(workspace, models, aims=selection.tasks)
    with closing(State.read_only(root / PRIVATE / "state.sqlite")) as state:
        store = Store(root / PRIVATE / "store")
        forced = forced_tasks(selection, graph, selection.tasks) if force else frozenset()
        digests = FileDigests(root, state)
        leaving = [] if selectors else _superfluous(workspace, state)
        lying = Lying(
            workspace.dist_dir, state, digests, frozenset(row.artifact for row in leaving)
        )
        decider = Decider(root, state, store, digests, Toolchain(), lying, forced)
        yield View(workspace, selection, graph, decider, state, locked)


def plan(seen: View) -> list[Planned]:
    """Every task that the selection needs, producers first."""
    planned: dict[str, Planned] = {}
    judge = Judge(seen.workspace, seen.decider, seen.locked)
    for name in seen.graph.needed(seen.selection.tasks):
        planned[name] = _predict(seen, seen.graph.steps[name], planned, judge)
    return list(planned.values())


def removals(seen: View) -> list[str]:
    """Files that a build of everything would take out of `dist/`."""
    workspace = seen.workspace
    tasks = {f"release:{a}" for model in workspace.models for a in artifacts_of(model)}
    tasks |= {f"runtime:{target}" for target in environments(workspace)}
    beside = superfluous_beside(seen.state, tasks, workspace.dist_dir)
    leaving = [row.path for row in _superfluous(workspace, seen.state)]
    return sorted([*leaving, *(row.path for row in beside)])


def _superfluous(workspace: Workspace, state: State) -> list[Released]:
    wanted = [a for model in workspace.models for a in artifacts_of(model)]
    return superfluous(state, wanted, workspace.dist_dir)


def _predict(seen: View, step: Step, planned: dict[str, Planned], judge: Judge) -> Planned:
    if step.stage == "runtime":
        return _runtime(seen, step, planned)
    # A task may read several outputs of another one.
    producers = dict.fromkeys(port.task for port in step.ports)
    waits = [name for name in producers if planned[name].action in (decide.RUN, DEPENDS)]
    if waits:
        return Planned(step.name, DEPENDS, tuple(f"on {name}" for name in waits))
    reasons: list[str] = []
    for name in step.depends:
        if planned[name].action == BLOCKED:
            reasons.append(f"by {name}")
        reasons += [f"by the gate of {name}: {message}" for message in planned[name].missed]
    if reasons:
        return Planned(step.name, BLOCKED, tuple(dict.fromkeys(reasons)))
    if step.stage == "convert" and (refused := judge.refused(step)):
        return Planned(step.name, BLOCKED, (refused,))
    try:
        if step.stage == "release" and (refused := judge.unvalidated(step)):
            return Planned(step.name, BLOCKED, (refused,))
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
            missed = tuple(dict.fromkeys(f.message for f in judgement.verdict.failures))
            return Planned(step.name, decision.verdict, decision.why, missed)
    return Planned(step.name, decision.verdict, decision.why)


def _release(seen: View, step: Step, decision: Decision) -> Planned:
    """Whether the files in `dist/` are those that would be released."""
    folder = f"{seen.workspace.dist_dir}/{step.target}"
    if decision.verdict != decide.UP_TO_DATE:
        return Planned(step.name, decide.RUN, decision.why)
    keyed = decision.inputs.keyed
    wanted = {f"{seen.workspace.dist_dir}/{step.artifact.file}": keyed["model.tflite"]}
    for name, digest in keyed.items():
        if name.startswith(EMITTED):
            wanted[f"{folder}/{name.removeprefix(EMITTED)}"] = digest
    if wrong := _wrong(seen, wanted):
        seen.decider.lying.coming.add(str(step.artifact))
        return Planned(step.name, decide.RESTORE, (wrong,))
    return Planned(step.name, decide.UP_TO_DATE)


def _wrong(seen: View, wanted: Mapping[str, str]) -> str:
    dist = Dist(seen.decider.root, seen.decider.store, seen.state, seen.decider.digests)
    return dist.wrong(wanted)


def _runtime(seen: View, step: Step, planned: dict[str, Planned]) -> Planned:
    """A runtime is for what lies in `dist/` in the end: files whose release is blocked stay as
    they are, and those that will be new are not known yet."""
    gates = dict.fromkeys(step.gates)
    waits = [name for name in gates if planned[name].action in (decide.RUN, DEPENDS)]
    if waits:
        return Planned(step.name, DEPENDS, tuple(f"on {name}" for name in waits))
    decision = seen.decider.decide(step)
    if not decision.inputs.keyed:
        return Planned(step.name, BLOCKED, (f"no file of target {step.target} is released",))
    if decision.verdict == decide.UP_TO_DATE:
        assert decision.outputs is not None
        folder = f"{seen.workspace.dist_dir}/{step.target}/{FOLDER}"
        wanted = {f"{folder}/{name}": digest for name, (digest, _) in decision.outputs.items()}
        if wrong := _wrong(seen, wanted):
            return Planned(step.name, decide.RESTORE, (wrong,))
    return Planned(step.name, decision.verdict, decision.why)


def explain(seen: View, step: Step) -> tuple[Planned, list[Change] | None]:
    """What would happen to a task, and the parts of its key that changed since it was built
    (None where the key is not known yet, or nothing was built before)."""
    planned = {p.task: p for p in plan(seen)}[step.name]
    if planned.action not in (decide.RUN, decide.RESTORE):
        return planned, None
    inputs = seen.decider.inputs(step)
    return planned, seen.decider.changes(step, seen.decider.action(step, inputs))
