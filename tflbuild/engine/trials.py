"""Steps that run aside: what they make goes into the store, and nothing else of a build changes.

A trial is a graph like any other, of another manifest or with a further action, run by the build's
own runner with a state that keeps outputs by key alone. So a build with the same recipe takes from
the store what was tried, and tasks, reports, logs, `dist/` and the record are as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tflbuild.engine.decide import Decider
from tflbuild.engine.events import FAILED, SKIPPED, Event
from tflbuild.engine.files import FileDigests
from tflbuild.engine.lying import Lying
from tflbuild.engine.runner import Folders, Result, Runner
from tflbuild.engine.state import Beside, Outputs, Released, State
from tflbuild.engine.workers import Workers
from tflbuild.graph import Graph
from tflbuild.lockfile import read
from tflbuild.manifest.model import Workspace
from tflbuild.step import Step
from tflbuild.store.local import Store
from tflbuild.store.toolchain import Toolchain


class Aside(State):
    """The build's state for those who try something: tasks can be read, and outputs are kept by
    key; no task's success, no file in `dist/` is noted or known."""

    def commit(
        self,
        task: str,
        key: str,
        parts: dict[str, Any],
        outputs: Outputs,
        why: list[str],
        seconds: float,
        max_rss: int,
        released: Released | None = None,
        beside: Iterable[Beside] = (),
    ) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO actions VALUES (?, ?, ?)", (key, json.dumps(outputs), seconds)
        )

    def released(self) -> dict[str, Released]:
        return {}

    def beside(self) -> list[Beside]:
        return []

    def release(self, row: Released) -> None:
        raise AssertionError("nothing is released aside")

    def vouch(self, rows: Iterable[Beside]) -> None:
        raise AssertionError("nothing is released aside")


class Trials:
    """Runs steps aside, with one toolchain, store and set of workers."""

    def __init__(self, root: Path, state: State, store: Store, workers: Workers, jobs: int) -> None:
        self.root, self.store, self.workers, self.jobs = root, store, workers, jobs
        self.state = Aside(state.db, True)
        self.digests = FileDigests(root, self.state)
        self.toolchain = Toolchain()
        self.locked = read(root)

    def run(
        self, workspace: Workspace, steps: Iterable[Step], aims: Iterable[str]
    ) -> tuple[Result, Decider]:
        """Bring `aims` up to date. Raises KeyboardInterrupt."""
        graph = Graph(workspace, {step.name: replace(step, report=None) for step in steps})
        folders = Folders(
            f"{workspace.build_dir}/reports", f"{workspace.build_dir}/logs/debug",
            workspace.dist_dir, f"{workspace.build_dir}/generated",
        )  # fmt: skip
        lying = Lying(workspace.dist_dir, self.state, self.digests)
        decider = Decider(
            self.root, self.state, self.store, self.digests, self.toolchain, lying
        )  # fmt: skip
        runner = Runner(
            graph, decider, self.workers, folders, _silent, self.jobs, True, self.locked
        )
        result = runner.run(list(aims))
        self.digests.save()
        if result.interrupted:
            raise KeyboardInterrupt
        return result, decider

    def read_json(self, decider: Decider, task: str, output: str) -> Any:
        """An output of a task that is up to date. Raises DamagedBlob."""
        return json.loads(self.store.read(decider.rows[task].outputs[output][0]))


def _silent(event: Event) -> None:
    return None


def failure(result: Result, tasks: Iterable[str]) -> str:
    """Why one of these tasks did not end well: the first that failed, or whose gate did not pass;
    "" when all of them were made."""
    bad = [task for task in tasks if result.outcomes.get(task) in (FAILED, SKIPPED)]
    if not bad:
        return ""
    for task, outcome in result.outcomes.items():
        if outcome == FAILED:
            return f"{task}: {result.reasons.get(task, '')}"
    for task, verdict in result.verdicts.items():
        if not verdict.passed and f"needs {task}" in result.reasons.get(bad[0], ""):
            return f"{task}: {verdict.failures[0].message}"
    return f"{bad[0]}: {result.reasons.get(bad[0], '')}"


def outputs_of(decider: Decider, task: str) -> Mapping[str, tuple[str, int]]:
    """The outputs of a task that is up to date: name → SHA-256, bytes."""
    return decider.rows[task].outputs
