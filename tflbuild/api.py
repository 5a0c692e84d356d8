"""The Python API: `load` a workspace, `build` it, typed results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tflbuild.engine.build import PRIVATE, Options
from tflbuild.engine.events import BuildDone, Event, GateDone, TaskDone
from tflbuild.engine.state import Released, State
from tflbuild.manifest.model import Workspace
from tflbuild.reporting.files import Wanted, build_reported
from tflbuild.verdict import Verdict

if TYPE_CHECKING:
    from tflbuild.engine.zygote import ZygotePool


@dataclass(frozen=True)
class ReleasedFile:
    """A file in `dist/` after a build."""

    artifact: str  # "model:optimization@target"
    path: Path
    sha256: str
    size: int  # bytes


@dataclass(frozen=True)
class BuildResult:
    """What a build came to."""

    exit_code: int  # 0 done, 1 a task failed or a gate did not pass, 130 interrupted
    done: BuildDone
    tasks: tuple[TaskDone, ...]  # those that were not up to date, in the order of their end
    gates: Mapping[str, Verdict]  # of tasks whose gate failed or warned
    verdicts: Mapping[str, Verdict]  # of all that were judged: none where nothing was to do
    released: Mapping[str, ReleasedFile]  # by artifact

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    def outcome(self, task: str) -> str:
        """`ran`, `restored`, `failed`, `skipped`, or `up-to-date` for a task not told of."""
        return next((t.outcome for t in self.tasks if t.task == task), "up-to-date")

    def ran(self) -> list[str]:
        """The names of the tasks that ran, sorted."""
        return sorted(t.task for t in self.tasks if t.outcome == "ran")


def load(path: str | os.PathLike[str] = ".") -> Workspace:
    """Read a workspace: a manifest file, or a folder in or above which one lies.

    Raises UsageError when there is none, ManifestErrors when it is wrong.
    """
    from tflbuild.manifest.load import load_workspace

    return load_workspace(_manifest(path), Path.cwd())


def build(
    path: str | os.PathLike[str] = ".",
    selectors: str | Iterable[str] = (),
    *,
    until: str = "release",
    jobs: int = 0,
    keep_going: bool = False,
    force: bool = False,
    listen: Callable[[Event], None] | None = None,
    pool: ZygotePool | None = None,
    junit: str | os.PathLike[str] | None = None,
    summary: str | os.PathLike[str] | None = None,
) -> BuildResult:
    """Build a workspace as the command line does.

    Args:
        path: a manifest file, or a folder in or above which one lies.
        selectors: one or several, as on the command line; none: everything.
        until: "release", or "validate" or "evaluate" to stop after that stage and its gate.
        jobs: actions at once; 0: one for each core.
        keep_going: go on with what does not depend on a failed task.
        force: run the selected tasks though they are up to date.
        listen: called with each event as it happens.
        pool: workers to use and keep, for callers that build again and again.
        junit: a file for the gates as JUnit XML. With it or `summary` every selected gate is
            judged again, though nothing changed.
        summary: a file for a summary in Markdown, against the last release.

    Raises UsageError or ManifestErrors before anything is done (with `keep_going`, ManifestErrors
    about files of some models after the others were built). Failed tasks and gates are in the
    result.
    """
    tasks: list[TaskDone] = []
    gates: dict[str, Verdict] = {}

    def hear(event: Event) -> None:
        if isinstance(event, TaskDone):
            tasks.append(event)
        elif isinstance(event, GateDone):
            gates[event.task] = event.verdict
        if listen is not None:
            listen(event)

    wanted = (selectors,) if isinstance(selectors, str) else tuple(selectors)
    manifest = _manifest(path)
    outcome = build_reported(
        manifest,
        Options(wanted, until, jobs, keep_going, force, Path.cwd(), pool),
        hear,
        Wanted(*(None if each is None else Path(each) for each in (junit, summary))),
    )
    if outcome.wrong is not None:
        raise outcome.wrong
    root = manifest.parent.resolve()
    rows = outcome.released if outcome.result is not None else _released(root)
    return BuildResult(
        outcome.exit_code,
        outcome.done,
        tuple(tasks),
        gates,
        dict(outcome.result.verdicts) if outcome.result is not None else {},
        {
            name: ReleasedFile(name, root / row.path, row.sha256, row.size)
            for name, row in sorted(rows.items())
        },
    )


def _released(root: Path) -> Mapping[str, Released]:
    """What lies in `dist/` after a build that found nothing to do, and so opened no state."""
    with closing(State.read_only(root / PRIVATE / "state.sqlite")) as state:
        return state.released()


def _manifest(path: str | os.PathLike[str]) -> Path:
    from tflbuild.manifest.root import find_root_manifest

    given = Path(path)
    return given if given.is_file() else find_root_manifest(given)
