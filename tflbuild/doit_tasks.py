"""tflbuild's models as doit tasks, for a `dodo.py` of the user's.

One task for each model; its action is tflbuild's own build of that model. Whether it is up to date,
tflbuild says, from its own state: doit's file dependencies are there so that doit knows the order
(a task that makes a source comes first) and what changed in between. A manifest is not among them,
since a comment in it must not rebuild anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from doit.exceptions import TaskFailed

from tflbuild.api import _manifest
from tflbuild.errors import EXIT_INTERRUPTED, TflbuildError


def tasks(
    path: str | os.PathLike[str] = ".",
    selectors: str | Iterable[str] = (),
    *,
    jobs: int = 0,
    keep_going: bool = False,
) -> Iterator[dict[str, Any]]:
    """A doit task for each model of a workspace, named like the model.

    Args:
        path: a manifest file, or a folder in or above which one lies.
        selectors: which models, as on the command line; none: all. One that names a part of a
            model (`digits:int8`) builds that part alone.
        jobs: actions at once within one model; 0: one for each core.
        keep_going: within one model, go on with what does not depend on a failed task.

    Raises UsageError or ManifestErrors when it is iterated.
    """
    from tflbuild.graph import build_graph
    from tflbuild.manifest.load import load_workspace
    from tflbuild.selectors import select

    manifest = _manifest(path).absolute()
    workspace = load_workspace(manifest, Path.cwd())
    wanted = (selectors,) if isinstance(selectors, str) else tuple(selectors)
    selection = select(workspace, wanted, "release", Path.cwd())
    models = [model for model in workspace.models if model.name in selection.models]
    graph = build_graph(workspace, models)
    for model in models:
        # What belongs to a target (`runtime:T`) comes with the releases.
        aims = [
            name for name in selection.tasks
            if name in graph.steps and graph.steps[name].model.name == model.name
        ]  # fmt: skip
        steps = [graph.steps[name] for name in graph.needed(aims)]
        files = {path for step in steps for path in step.files.values()}
        releases = [step.artifact.file for step in steps if step.stage == "release"]
        shown = [_shown(workspace.root, f"{workspace.dist_dir}/{file}") for file in releases]
        yield {
            "name": model.name,
            "doc": f"build {', '.join(shown) or model.name}",
            "actions": [(_build, [str(manifest), aims, jobs, keep_going])],
            "file_dep": [_shown(workspace.root, path) for path in sorted(files)],
            "targets": shown,
            "uptodate": [(_up_to_date, [str(manifest), aims])],
            "clean": True,
            "verbosity": 2,
        }


def _shown(root: Path, path: str) -> str:
    """A path as a dodo.py writes it: doit compares them as text."""
    return os.path.relpath(root / path)


def _build(manifest: str, selectors: list[str], jobs: int, keep_going: bool) -> TaskFailed | None:
    """The action: what went wrong is one line, without a traceback."""
    from tflbuild.api import build
    from tflbuild.engine.events import TaskDone
    from tflbuild.reporting.terminal import Terminal, last_line

    try:
        with Terminal() as terminal:
            terminal.live = False  # doit may run several of us at once
            result = build(manifest, selectors, jobs=jobs, keep_going=keep_going, listen=terminal)
    except TflbuildError as error:
        return TaskFailed(f"tflbuild: {error}")
    if result.exit_code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    print(last_line(result.done), flush=True)
    if result.ok:
        return None
    failed: list[TaskDone] = [task for task in result.tasks if task.outcome == "failed"]
    reasons = [f"{task.task}: {task.reason}" for task in failed]
    reasons += [
        f"{name}: {finding.message}"
        for name, verdict in result.gates.items()
        for finding in verdict.failures
    ]
    return TaskFailed(f"tflbuild: {'; '.join(reasons[:3]) or 'a task failed'}")


def _up_to_date(manifest: str, selectors: list[str]) -> bool:
    """What a build would say, without doing anything."""
    from tflbuild.engine.decide import UP_TO_DATE
    from tflbuild.engine.plan import plan, view

    try:
        with view(Path(manifest), tuple(selectors), "release", Path.cwd()) as seen:
            return all(p.action == UP_TO_DATE and not p.missed for p in plan(seen))
    except TflbuildError:  # the build will say it
        return False


__all__ = ["tasks"]
