"""`tflbuild validate`."""

from __future__ import annotations

from typing import Any

import click

from tflbuild.cli import Settings, settings
from tflbuild.commands.build import build_options, run
from tflbuild.errors import UsageError

# Options of --debug and --try alone, and their defaults (engine/debug.py, debugging/proposing.py).
_OWN = ("samples", "tries")


@click.command("validate")
@build_options
@click.option("--debug", is_flag=True, help="Compare the layers of SEL (MODEL:OPTIMIZATION) with"
              " the float file's, name the worst, and propose a keep_float list.")  # fmt: skip
@click.option("--try", "try_", is_flag=True, help="Convert SEL with what --debug proposed, judge"
              " it, and print before and after. Changes nothing.")  # fmt: skip
@click.option("--samples", type=click.IntRange(1, 100_000), metavar="N",
              help="With --debug: test samples to compare layers on (default 64).")  # fmt: skip
@click.option("--tries", type=click.IntRange(1, 1000), metavar="N",
              help="With --debug: lists that are converted and judged to find the smallest that"
              " passes (default 16).")  # fmt: skip
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Convert and validate against the source, without releasing anything."""
    debug, try_ = own.pop("debug"), own.pop("try_")
    given = {name: own.pop(name) for name in _OWN}
    if debug and try_:
        raise UsageError("--debug and --try are two commands: first --debug, then --try")
    for name, value in given.items():
        if value is not None and not debug:
            raise UsageError(f"--{name} has no effect without --debug; remove it")
    if not debug and not try_:
        return run(ctx, own, "validate")
    option = "--debug" if debug else "--try"
    for flag in ("force", "keep_going", "junit", "summary"):
        if own[flag]:
            raise UsageError(f"--{flag.replace('_', '-')} has no effect with {option}; remove it")
    if not own["selectors"]:
        raise UsageError(f"{option} needs what to look at: MODEL:OPTIMIZATION")
    return _look(settings(ctx, own), own, given, debug)


def _look(common: Settings, own: dict[str, Any], given: dict[str, Any], debug: bool) -> int:
    """`--debug`, or else `--try`."""
    from tflbuild.engine.debug import DebugOptions, try_proposals
    from tflbuild.engine.debug import debug as look
    from tflbuild.reporting import debugged

    listener: Any
    if common.json:
        from tflbuild.reporting.jsonlines import JsonLines

        listener = JsonLines()
    else:
        from tflbuild.reporting.terminal import Terminal

        listener = Terminal(common.quiet, common.verbose)
    options = DebugOptions(
        tuple(own["selectors"]),
        quiet=common.quiet,
        jobs=own["jobs"] or 0,
        cwd=common.directory,
        **{name: value for name, value in given.items() if value is not None},
    )
    manifest = common.root_manifest()
    if debug:
        with listener:
            found = look(manifest, options, listener)
        for one in found:
            debugged.show(one.report, one.path, json=common.json, full=common.verbose)
        return max(one.exit_code for one in found)
    with listener:
        tried = try_proposals(manifest, options, listener)
    for trial in tried:
        debugged.show_try(trial, json=common.json)
    return max(trial.exit_code for trial in tried)
