"""Finding the workspace that a folder belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tflbuild.errors import UsageError

if TYPE_CHECKING:
    from tflbuild.manifest.model import Workspace

MANIFEST = "tflbuild.yaml"


def find_root_manifest(start: Path) -> Path:
    """The outermost tflbuild.yaml from `start` upwards, no higher than the folder of a `.git`."""
    here = start.resolve()
    found: Path | None = None
    for folder in (here, *here.parents):
        if (folder / MANIFEST).is_file():
            found = folder / MANIFEST
        if (folder / ".git").exists():
            break
    if found is None:
        raise UsageError(
            f"no {MANIFEST} in {here} or above it; write one "
            "(docs/GUIDE.md begins with it), or name one with `-f FILE` or its folder with `-C DIR`"
        )
    return found


def stray_manifest(workspace: Workspace, start: Path) -> str | None:
    """What to say of a manifest nearer to `start` than the root's that no other includes."""
    known = {workspace.root / path for path in workspace.manifests}
    here = start.resolve()
    for folder in (here, *here.parents):
        if folder == workspace.root or workspace.root not in folder.parents:
            return None
        path = folder / MANIFEST
        if path.is_file():
            if path in known or path.resolve() in known:
                return None
            return (
                f"{path.relative_to(workspace.root)} takes no part: the workspace is"
                f" {workspace.root}, whose manifests do not include it (or name it with -f)"
            )
    return None
