"""`tflbuild why`."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from tflbuild.cli import settings
from tflbuild.errors import UsageError


@click.command("why")
@click.argument("selector", metavar="SEL")
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Say which parts of its key would make a task run, or why it ran last.

    SEL: a task name, or any selector (then: every task that it needs).
    """
    from tflbuild.engine.plan import explain, view

    common = settings(ctx, own)
    selectors = (own["selector"],)
    answers = []
    with view(common.root_manifest(), selectors, "release", common.directory) as seen:
        tasks = seen.selection.tasks
        steps = [seen.graph.steps[name] for name in tasks]
        if not seen.selection.named:
            steps = [seen.graph.steps[name] for name in seen.graph.needed(tasks)]
        if not steps:
            raise UsageError(f"{own['selector']!r} has no tasks")
        for step in steps:
            planned, changes = explain(seen, step)
            history = seen.state.history(step.name)
            answers.append(
                {
                    "task": step.name,
                    "action": planned.action,
                    "why": list(planned.why),
                    "missed": list(planned.missed),
                    "changes": [vars(change) for change in changes or []],
                    "last": None
                    if history is None
                    else {"why": history[0], "finished": history[1], "seconds": history[2]},
                }
            )
    if common.json:
        click.echo(json.dumps({"tasks": answers}, indent=1))
        return 0
    for answer in answers:
        click.echo(_text(answer))
    return 0


def _text(answer: dict[str, Any]) -> str:
    lines = [f"{answer['task']}: {answer['action']}"]
    lines += [f"  {reason}" for reason in answer["why"]]
    lines += [f"  its gate does not pass: {message}" for message in answer["missed"]]
    for change in answer["changes"]:
        if change["part"].startswith("inputs."):
            old, new = (str(change[side] or "(none)")[:16] for side in ("old", "new"))
            lines.append(f"    {change['name']}: SHA-256 {old} → {new}")
    if answer["last"] is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(answer["last"]["finished"]))
        seconds = answer["last"]["seconds"]
        lines.append(
            f"  last ran {when} ({seconds:.1f} s), because: {'; '.join(answer['last']['why'])}"
        )
    return "\n".join(lines)
