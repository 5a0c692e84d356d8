"""`tflbuild plan`, and `build -n`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tflbuild.cli import Settings, settings, warn_of_stray_manifest

if TYPE_CHECKING:
    from tflbuild.engine.plan import Planned


@click.command("plan")
@click.argument("selectors", nargs=-1, metavar="[SEL]...")
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Print what a build would run, restore or leave, and why. Changes nothing."""
    common = settings(ctx, own)
    return show_plan(common, common.root_manifest(), own["selectors"])


LONG = 200  # characters of a reason


def _why(task: Planned, verbose: bool) -> str:
    """Of what is blocked the first reason, since its gate has the others; with -v all."""
    if task.action != "blocked" or verbose:
        return "; ".join(task.why)
    from tflbuild.reporting.wording import beginning

    more = f" (+{len(task.why) - 1} more)" if len(task.why) > 1 else ""
    return beginning(task.why[0], LONG) + more


def show_plan(
    common: Settings, manifest: Path, selectors: tuple[str, ...], force: bool = False
) -> int:
    """Print the plan of a build up to release."""
    from tflbuild.engine.plan import plan, removals, view

    with view(manifest, tuple(selectors), "release", common.directory, force) as seen:
        planned = plan(seen)
        removed = [] if selectors else removals(seen)
        warn_of_stray_manifest(common, seen.workspace)
    if common.json:
        tasks = [task.as_json() for task in planned]
        click.echo(json.dumps({"tasks": tasks, "remove": removed}, indent=1))
        return 0
    counts: dict[str, int] = {}
    for task in planned:
        counts[task.action] = counts.get(task.action, 0) + 1
        if task.action != "up-to-date" or common.verbose:
            why = f"  {_why(task, common.verbose)}" if task.why and not common.quiet else ""
            click.echo(f"{task.action:<10} {task.task}{why}")
        if task.missed and not common.quiet:
            for message in task.missed:
                click.echo(f"{'gate':<10} {task.task}  {message}")
    for path in removed:
        click.echo(f"{'remove':<10} {path}  no longer in the manifest")
    if removed:
        counts["to remove"] = len(removed)
    total = ", ".join(f"{number} {action}" for action, number in sorted(counts.items()))
    click.echo(total or "nothing to plan")
    return 0
