"""`tflbuild check`."""

from __future__ import annotations

import json
from typing import Any

import click

from tflbuild.cli import settings, warn_of_stray_manifest


@click.command("check")
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Check the manifests alone: nothing is built, no TensorFlow is imported."""
    from tflbuild.graph import artifacts_of, build_graph
    from tflbuild.manifest.load import load_workspace

    common = settings(ctx, own)
    workspace = load_workspace(common.root_manifest(), common.directory)
    warn_of_stray_manifest(common, workspace)
    build_graph(workspace, workspace.models)  # finds what is declared, and is not there
    artifacts = [str(a) for model in workspace.models for a in artifacts_of(model)]
    if common.json:
        facts = {
            "root": str(workspace.root),
            "manifests": list(workspace.manifests),
            "models": [model.name for model in workspace.models],
            "artifacts": artifacts,
        }
        click.echo(json.dumps(facts, indent=1))
    elif not common.quiet:
        counted = (
            (len(workspace.manifests), "manifest"),
            (len(workspace.models), "model"),
            (len(artifacts), "artifact"),
        )
        words = [f"{number} {what}{'' if number == 1 else 's'}" for number, what in counted]
        click.echo(f"{', '.join(words)}: no error")
        if common.verbose:
            for artifact in artifacts:
                click.echo(artifact)
    return 0
