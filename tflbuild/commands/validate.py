"""`tflbuild validate`."""

from __future__ import annotations

from typing import Any

import click

from tflbuild.commands.build import build_options, run


@click.command("validate")
@build_options
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Convert and validate against the source, without releasing anything."""
    return run(ctx, own, "validate")
