"""`tflbuild log`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tflbuild.cli import settings
from tflbuild.errors import UsageError


@click.command("log")
@click.argument("task", metavar="TASK")
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Print what an action printed when it last ran."""
    from tflbuild.graph import Graph, model_steps
    from tflbuild.manifest.load import load_workspace
    from tflbuild.selectors import select

    common = settings(ctx, own)
    workspace = load_workspace(common.root_manifest(), common.directory)
    task = own["task"]
    found = select(workspace, (task,), "release", common.directory)
    if task not in found.named:
        steps = {s.name: s for m in workspace.models if m.name in found.models
                 for s in model_steps(workspace, m)}  # fmt: skip
        graph = Graph(workspace, steps)
        # A release is made by the parent, which keeps no log.
        aims = [name for name in found.tasks if name in steps]
        having = [name for name in graph.needed(aims) if not name.startswith("release:")]
        logs = workspace.root / workspace.build_dir / "logs"
        having.sort(key=lambda name: not (logs / f"{name}.log").is_file())
        raise UsageError(f"{task!r} is no task; tasks are named like {' or '.join(having[:2])}")
    if task.startswith("release:"):
        raise UsageError(f"{task} has no log: it copies a file; what it waits for has one")
    if task.startswith("runtime:"):
        raise UsageError(f"{task} has no log: it writes what is known of released files")
    path = workspace.root / Path(workspace.build_dir) / "logs" / f"{task}.log"
    if not path.is_file():
        raise UsageError(f"{task} has no log: it has not run here")
    click.echo(path.read_text(errors="replace"), nl=False)
    return 0
