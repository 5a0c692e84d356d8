"""`tflbuild diff`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import click

from tflbuild.cli import Settings, settings
from tflbuild.errors import UsageError

_ARTIFACT = re.compile("[^:@/]+:[^:@/]+@[^:@/]+")
_NEARLY = re.compile("[^:@/]+(:[^:@/]*)?(@[^:@/]*)?")  # M:O, M@T, M
MOST = 4  # artifacts that a message names


@click.command("diff")
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@click.option("--data", metavar="FILE.npz", help="Run both on these inputs (arrays by input name,"
              " samples along the first axis) instead of seeded random ones.")  # fmt: skip
@click.option("--exact", is_flag=True, help="Exit code 1 unless they are the same bytes.")
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """What differs between two .tflite files: interface, operators, versions, weights, outputs.

    A, B: files, or artifacts as M:O@T, which stand for what lies in dist. Exit code 0: an
    application that binds to A finds the same in B; 1: the interface differs; 2: one of them
    cannot be read. Each file is opened in a process of its own.
    """
    from tflbuild.engine.diff import diff

    common = settings(ctx, own)
    names = own["old"], own["new"]
    paths = _path(common, own["old"]), _path(common, own["new"])
    data = None
    if own["data"] is not None:
        data = common.directory / own["data"]
        if not data.is_file():
            raise UsageError(f"--data: no such file: {own['data']}")
    found = diff(paths, names, data)
    if common.json:
        click.echo(json.dumps(found.as_json(own["exact"]), indent=1, sort_keys=True))
    else:
        from tflbuild.reporting.differences import print_compared

        print_compared(found, quiet=common.quiet)
    return found.exit_code(own["exact"])


def _path(common: Settings, name: str) -> Path:
    """A file, or the released file of an artifact. Raises UsageError, ManifestErrors."""
    path = common.directory / name
    if os.path.lexists(path):
        return path
    if not _ARTIFACT.fullmatch(name):
        _refuse_near(common, name)
        return path
    from tflbuild.graph import artifacts_of
    from tflbuild.manifest.load import load_workspace
    from tflbuild.manifest.problems import nearest

    try:
        manifest = common.root_manifest()
    except UsageError as error:
        raise UsageError(
            f"no such file: {name}; and no manifest is here that could have such an artifact"
        ) from error
    workspace = load_workspace(manifest, common.directory)
    known = {str(a): a for model in workspace.models for a in artifacts_of(model)}
    if name not in known:
        raise UsageError(f"no such file, and no artifact {name!r}{nearest(name, known)}")
    file = f"{workspace.dist_dir}/{known[name].file}"
    if not (workspace.root / file).is_file():
        raise UsageError(f"{name} is not released: there is no {file}; build it first")
    return workspace.root / file


def _refuse_near(common: Settings, name: str) -> None:
    """Raises UsageError for a model, with or without an optimization: these are several files."""
    if not _NEARLY.fullmatch(name) or name.endswith(".tflite"):
        return
    from tflbuild.errors import ManifestErrors
    from tflbuild.graph import artifacts_of
    from tflbuild.manifest.load import load_workspace

    try:
        workspace = load_workspace(common.root_manifest(), common.directory)
    except (UsageError, ManifestErrors):  # then it is a file that is not there
        return
    model, _, rest = name.partition(":")
    model = model.partition("@")[0]
    known = [str(a) for m in workspace.models if m.name == model for a in artifacts_of(m)]
    if not known:
        return
    own = [a for a in known if rest and a.startswith(f"{name.partition('@')[0]}@")] or known
    shown = ", ".join(own[:MOST]) + (f" and {len(own) - MOST} more" if len(own) > MOST else "")
    raise UsageError(
        f"no such file: {name}; an artifact is MODEL:OPTIMIZATION@TARGET, such as {shown}"
    )
