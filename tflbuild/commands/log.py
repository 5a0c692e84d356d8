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
    from tflbuild.manifest.load import load_workspace
    from tflbuild.selectors import select

    common = settings(ctx, own)
    workspace = load_workspace(common.root_manifest(), common.directory)
    task = own["task"]
    found = select(workspace, (task,), "release", common.directory)
    if task not in found.named:
        raise UsageError(
            f"{task!r} is no task; tasks are named like {' or '.join(found.tasks[:2])}"
        )
    path = workspace.root / Path(workspace.build_dir) / "logs" / f"{task}.log"
    if not path.is_file():
        raise UsageError(f"{task} has no log: it has not run here")
    click.echo(path.read_text(errors="replace"), nl=False)
    return 0
