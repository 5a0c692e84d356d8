"""`tflbuild inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tflbuild.cli import Settings, settings
from tflbuild.errors import UsageError

if TYPE_CHECKING:
    from tflbuild.manifest.model import Target


@click.command("inspect")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--target", "targets", multiple=True, metavar="T",
              help="Judge it for T: a built-in runtime, or a target of the manifest."
              " Exit code 1 when it does not fit.")  # fmt: skip
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """What .tflite files hold, cost and need; with --target, whether they fit.

    Needs no manifest, unless --target names a target of one. Each file is opened in a process of
    its own, so that a damaged one harms nothing.
    """
    from tflbuild.engine.inspect import inspect

    common = settings(ctx, own)
    if len(own["targets"]) > 1:
        raise UsageError(
            f"--target is given {len(own['targets'])} times ({', '.join(own['targets'])}): files"
            " are judged for one target at a time"
        )
    target = find_target(common, own["targets"][0]) if own["targets"] else None
    found = inspect([common.directory / name for name in own["files"]], target, own["files"])
    if common.json:
        import json

        value = {"target": None if target is None else target.name,
                 "files": [one.as_json() for one in found]}  # fmt: skip
        click.echo(json.dumps(value, indent=1, sort_keys=True))
    else:
        from tflbuild.reporting.inspected import print_inspected

        print_inspected(found, target, quiet=common.quiet, full=common.verbose)
    return max(one.exit_code for one in found)


def find_target(common: Settings, name: str) -> Target:
    """A built-in runtime, which no manifest may name anew, or a target of the workspace.

    Raises UsageError, ManifestErrors.
    """
    from tflbuild.manifest.load import BUILT_IN

    if name in BUILT_IN:
        return BUILT_IN[name]
    from tflbuild.manifest.load import load_workspace
    from tflbuild.manifest.problems import nearest

    try:
        manifest = common.root_manifest()
    except UsageError as error:
        raise UsageError(
            f"--target: no runtime {name!r}{nearest(name, BUILT_IN)}; the built-in ones are"
            f" {', '.join(sorted(BUILT_IN))}, and no manifest is here that could have others"
        ) from error
    targets = load_workspace(manifest, common.directory).targets
    if name not in targets:
        raise UsageError(
            f"--target: no target {name!r}{nearest(name, targets)}; there are"
            f" {', '.join(sorted(targets))}"
        )
    return targets[name]
