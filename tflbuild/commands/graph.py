"""`tflbuild graph`."""

from __future__ import annotations

import json
from typing import Any

import click

from tflbuild.cli import settings


@click.command("graph")
@click.argument("selectors", nargs=-1, metavar="[SEL]...")
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Print the task graph for Graphviz (dot), or as JSON.

    Solid: a data edge, whose digest enters the key. Dashed: a gate.
    """
    from tflbuild.graph import build_graph
    from tflbuild.manifest.load import load_workspace
    from tflbuild.selectors import select

    common = settings(ctx, own)
    workspace = load_workspace(common.root_manifest(), common.directory)
    selection = select(workspace, tuple(own["selectors"]), "release", common.directory)
    wanted = set(selection.models)
    models = [m for m in workspace.models if m.name in wanted]
    graph = build_graph(workspace, models, aims=selection.tasks)
    steps = [graph.steps[name] for name in graph.needed(selection.tasks)]
    edges = [
        (producer, step.name, kind)
        for step in steps
        for kind, producers in (
            ("data", [port.task for port in step.ports]),
            ("gate", list(step.gates)),
        )
        for producer in producers
    ]
    if common.json:
        nodes = [{"task": step.name, "stage": step.stage} for step in steps]
        listed = [{"from": a, "to": b, "kind": kind} for a, b, kind in edges]
        click.echo(json.dumps({"tasks": nodes, "edges": listed}, indent=1))
        return 0
    click.echo("digraph tflbuild {\n  rankdir=LR; node [shape=box];")
    for step in steps:
        click.echo(f"  {json.dumps(step.name)};")
    for producer, consumer, kind in edges:
        style = " [style=dashed]" if kind == "gate" else ""
        click.echo(f"  {json.dumps(producer)} -> {json.dumps(consumer)}{style};")
    click.echo("}")
    return 0
