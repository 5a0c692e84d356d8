"""Finding the workspace that a folder belongs to."""

from __future__ import annotations

from pathlib import Path

from tflbuild.errors import UsageError

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
            f"no {MANIFEST} in {here} or above it; write one (`tflbuild init`), "
            "or name one with `-f FILE` or its folder with `-C DIR`"
        )
    return found
