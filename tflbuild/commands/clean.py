"""`tflbuild clean`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from tflbuild.cli import settings


@click.command("clean")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="The state and the store too: the next build starts from nothing.",
)
@click.pass_context  # fmt: skip
def command(ctx: click.Context, /, **own: Any) -> int:
    """Remove reports, logs and released files; files that tflbuild did not make stay.

    The store stays too, so that the next build restores them without converting anything.
    """
    from tflbuild.engine.build import PRIVATE
    from tflbuild.engine.lock import workspace_lock
    from tflbuild.engine.state import State
    from tflbuild.manifest.load import load_workspace

    common = settings(ctx, own)
    workspace = load_workspace(common.root_manifest(), common.directory)
    root, private = workspace.root, workspace.root / PRIVATE

    def waiting(holder: str) -> None:
        click.echo(f"waiting for the lock of this workspace, held by {holder}", err=True)

    with workspace_lock(private / "lock", waiting):
        state = State.read_only(private / "state.sqlite")
        removed = 0
        for row in state.released().values():
            path = root / row.path
            if path.is_file():
                path.unlink()
                removed += 1
        state.close()
        for target in {row.name for row in workspace.targets.values()}:
            folder = root / workspace.dist_dir / target
            for name in ("index.json", "SHA256SUMS"):
                (folder / name).unlink(missing_ok=True)
            _remove_if_empty(folder)
        _remove_if_empty(root / workspace.dist_dir)
        for name in ("reports", "logs"):
            shutil.rmtree(root / workspace.build_dir / name, ignore_errors=True)
        _remove_if_empty(root / workspace.build_dir)
        (private / "record.json").unlink(missing_ok=True)
        if own["everything"]:
            for path in private.iterdir():
                if path.name != "lock":  # held; an empty file means nothing
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not common.quiet:
        click.echo(f"removed {removed} released files, reports and logs")
    return 0


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
