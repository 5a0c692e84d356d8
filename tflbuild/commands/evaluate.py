"""`tflbuild evaluate`."""

from __future__ import annotations

from typing import Any

import click

from tflbuild.commands.build import build_options, run


@click.command("evaluate")
@build_options
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Evaluate models before conversion: ops, data size, MACs, and a verdict per target.

    All selected models are evaluated, also when one fails (-k changes nothing): the table is the
    result.
    """
    own["keep_going"] = True
    return run(ctx, own, "evaluate")
