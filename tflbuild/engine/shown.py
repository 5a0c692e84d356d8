"""What commands generated, for people to look at: `build/generated/<model>/`.

A copy of what is in the store; nothing reads it. A mark beside the folder tells which content it
shows, so that it is made only when that changes, or when somebody removed it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from tflbuild.archive import unpack
from tflbuild.sources.made import OUTPUT
from tflbuild.store.local import Store


def shown_paths(generated: str, model: str) -> tuple[str, str]:
    """The folder of a model, and the mark beside it (no model's name begins with a dot)."""
    return f"{generated}/{model}", f"{generated}/.{model}.sha256"


def show(generated: Path, store: Store, model: str, outputs: Mapping[str, tuple[str, int]]) -> None:
    """Bring a model's folder up to date. Raises DamagedBlob."""
    folder, mark = map(Path, shown_paths(str(generated), model))
    digest = outputs[OUTPUT][0]
    with contextlib.suppress(OSError):
        if mark.read_text() == digest and folder.is_dir():
            return
    archive, fresh = generated / f".{model}.tar", generated / f".{model}.new"
    try:
        store.copy_out(digest, archive)
        shutil.rmtree(fresh, ignore_errors=True)  # of a build that was killed
        unpack(archive, fresh)
        mark.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
        store.write(mark, digest.encode())
    finally:
        archive.unlink(missing_ok=True)


def forget(generated: Path, model: str) -> None:
    """Remove a model's folder."""
    folder, mark = map(Path, shown_paths(str(generated), model))
    shutil.rmtree(folder, ignore_errors=True)
    mark.unlink(missing_ok=True)
