"""`tflbuild build`."""

from __future__ import annotations

from typing import Any

import click

from tflbuild.cli import settings
from tflbuild.errors import UsageError


def build_options(function: Any) -> Any:
    """The options that build, evaluate and validate share."""
    for option in (
        click.argument("selectors", nargs=-1, metavar="[SEL]..."),
        click.option("-j", "--jobs", type=click.IntRange(1, 256), metavar="N",
                     help="Actions at once (default: one for each core)."),
        click.option("-k", "--keep-going", is_flag=True, help="Go on with what does not"
                     " depend on a failed task."),
        click.option("-B", "--force", is_flag=True,
                     help="Run the selected tasks though they are up to date."),
        click.option("--junit", metavar="FILE", help="Write the gates as JUnit XML, a line each."),
        click.option("--summary", metavar="FILE", help="Write a summary for a pull request,"
                     " against the last release, in Markdown."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command("build")
@build_options
@click.option("-n", "--dry-run", is_flag=True, help="Print the plan and do nothing.")
@click.option("--explain", is_flag=True, help="Say for each task why it runs.")
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Build and release what changed.

    SEL: a model, model:optimization, model:optimization@target, @target, a full task name, or
    a path (all that reads it).
    """
    return run(ctx, own, "release")


def run(ctx: click.Context, own: dict[str, Any], until: str) -> int:
    """Build up to a stage and show it."""
    common = settings(ctx, own)
    manifest = common.root_manifest()
    if own.get("dry_run"):
        from tflbuild.commands.plan import show_plan

        if told := [f"--{name}" for name in ("junit", "summary") if own[name] is not None]:
            raise UsageError(f"{' and '.join(told)} would have no effect with -n: leave one out")
        return show_plan(common, manifest, own["selectors"], own["force"])
    from tflbuild.engine.build import Options
    from tflbuild.reporting.files import Wanted, build_reported

    listener: Any
    if common.json:
        from tflbuild.reporting.jsonlines import JsonLines

        listener = JsonLines(results=until != "release")
    else:
        from tflbuild.reporting.terminal import Terminal

        listener = Terminal(common.quiet, common.verbose or bool(own.get("explain")))
    options = Options(
        selectors=tuple(own["selectors"]),
        until=until,
        jobs=own["jobs"] or 0,
        keep_going=own["keep_going"],
        force=own["force"],
        cwd=common.directory,
    )
    paths = [common.directory / own[name] if own[name] is not None else None
             for name in ("junit", "summary")]  # fmt: skip
    wanted = Wanted(*paths)
    with listener:
        outcome = build_reported(manifest, options, listener, wanted)
    if not common.json:
        listener.summary(outcome, until)
    if outcome.wrong is not None:
        raise outcome.wrong
    return outcome.exit_code
