"""`tflbuild clean`."""

from __future__ import annotations

import contextlib
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from tflbuild.cli import settings
from tflbuild.step import ORDER
from tflbuild.store.digest import file_digest


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
    from tflbuild.engine.publish import INDEX, SUMS, index_is_ours
    from tflbuild.engine.shown import forget
    from tflbuild.engine.state import Beside, Released, State
    from tflbuild.graph import build_graph
    from tflbuild.manifest.load import load_workspace
    from tflbuild.manifest.problems import Problems
    from tflbuild.step import report_of

    common = settings(ctx, own)
    workspace = load_workspace(common.root_manifest(), common.directory)
    root, private = workspace.root, workspace.root / PRIVATE

    def waiting(holder: str) -> None:
        click.echo(f"waiting for the lock of this workspace, held by {holder}", err=True)

    with workspace_lock(private / "lock", waiting):
        with closing(State.read_only(private / "state.sqlite")) as state:
            rows: list[Released | Beside] = [*state.released().values(), *state.beside()]
            tasks = set(state.tasks())
        # Data that is not there hinders no cleaning.
        tasks |= set(build_graph(workspace, workspace.models, Problems()).steps)
        kept = [row.path for row in rows if not _remove_released(root / row.path, row.sha256)]
        for folder in sorted({(root / row.path).parent for row in rows}):
            if index_is_ours(folder):
                (folder / INDEX).unlink(missing_ok=True)
                (folder / SUMS).unlink(missing_ok=True)
        build = root / workspace.build_dir
        for log in _logs(build / "logs"):
            log.unlink(missing_ok=True)
        for task in tasks:
            report = report_of(task)
            if report is not None:
                (build / "reports" / report).unlink(missing_ok=True)
            if task.startswith("generate:"):
                forget(build / "generated", task.partition(":")[2])
        (build / "reports" / "summary.json").unlink(missing_ok=True)
        ours = (build / "reports", build / "logs", build / "generated")
        for folder in (*ours, root / workspace.dist_dir):
            _remove_empty(folder)
        with contextlib.suppress(OSError):
            build.rmdir()
        (private / "record.json").unlink(missing_ok=True)
        if own["everything"]:
            for path in private.iterdir():
                if path.name != "lock":  # held; an empty file means nothing
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not common.quiet:
        what = "reports, logs, state and store" if own["everything"] else "reports and logs"
        click.echo(f"removed {len(rows) - len(kept)} released files, {what}")
        for left in kept:
            click.echo(f"{left} was edited: left as it is")
    return 0


def _remove_released(path: Path, sha256: str) -> bool:
    """Remove a file that is still what was released; False for one that somebody edited."""
    try:
        if file_digest(path) != sha256:
            return False
        path.unlink()
    except FileNotFoundError:
        pass
    return True


def _logs(folder: Path) -> list[Path]:
    """The logs of tasks, also of those that failed and have left the manifest since: no state
    knows these. What is not called like a task is somebody's own."""
    try:
        found = list(folder.iterdir())
    except OSError:
        return []
    return [
        path
        for path in found
        if path.suffix == ".log"
        and path.name.partition(":")[0] in ORDER
        and ":" in path.name
        and path.is_file()
    ]


def _remove_empty(folder: Path) -> None:
    """Remove empty folders, deepest first; whatever holds a file of somebody's stays."""
    for path, _, _ in os.walk(folder, topdown=False):  # rmdir refuses the others
        with contextlib.suppress(OSError):
            Path(path).rmdir()
