"""`tflbuild schema`."""

from __future__ import annotations

from typing import Any

import click

from tflbuild.cli import settings
from tflbuild.errors import UsageError


@click.command("schema")
@click.argument("name", default="tflbuild")
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Print a JSON Schema: the manifest's, for editors, or that of a report (NAME)."""
    from tflbuild.schemas import names, text

    settings(ctx, own)
    if own["name"] not in names():
        raise UsageError(f"no schema {own['name']!r}; there are {', '.join(names())}")
    click.echo(text(own["name"]), nl=False)
    return 0
