"""Putting files into `dist/`: each atomically, none over a stranger's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tflbuild.engine.files import FileDigests
from tflbuild.engine.state import Beside, Released, State
from tflbuild.errors import TaskError
from tflbuild.store.local import Store


class Dist:
    """The released files of one workspace, on the disk. Paths are relative to the root."""

    def __init__(self, root: Path, store: Store, state: State, digests: FileDigests) -> None:
        self.root = root
        self.store = store
        self.state = state
        self.digests = digests

    def current(self, path: str) -> str | None:
        """The digest of what lies there; None when nothing does that can be read."""
        try:
            return self.digests.digest(path)
        except TaskError:
            return None

    def wrong(self, wanted: Mapping[str, str]) -> str:
        """What somebody did to the first file that is not as it was released; "" when all are."""
        for path, digest in wanted.items():
            current = self.current(path)
            if current != digest:
                return f"{path} is missing" if current is None else f"{path} was edited"
        return ""

    def check(self, wanted: Mapping[str, str], vouched: Iterable[str]) -> None:
        """Raises TaskError where a file stands in the way that we did not make."""
        mine = set(vouched)
        for path, digest in wanted.items():
            if path in mine:
                continue
            current = self.current(path)
            # One that we made, though nothing vouches for it: a build was killed in between.
            if current not in (None, digest) and not self.store.has(current or ""):
                raise TaskError(f"{path} was not released by tflbuild: move it away")

    def put(self, wanted: Mapping[str, str], again: bool = False) -> None:
        """Write files from the store, `again` also those that lie there. Raises DamagedBlob, and
        TaskError for one that cannot be written."""
        for path, digest in wanted.items():
            if not again and self.current(path) == digest:
                continue
            folder = (self.root / path).parent
            if not Path(os.path.realpath(folder)).is_relative_to(self.root):
                raise TaskError(f"{folder.relative_to(self.root)} leads out of the workspace")
            try:
                self.store.copy_out(digest, self.root / path, durable=True)
            except OSError as error:
                raise TaskError(f"{path} cannot be written: {error.strerror}") from error

    def take(self, row: Released | Beside) -> bool:
        """Remove a file that is still what was released; False for one that somebody edited."""
        current = self.current(row.path)
        if current == row.sha256:
            (self.root / row.path).unlink(missing_ok=True)
        return current in (None, row.sha256)

    def take_beside(self, rows: Iterable[Beside], keep: Iterable[str] = ()) -> None:
        """Remove what a task no longer makes; a file that somebody edited stays."""
        kept = set(keep)
        for row in rows:
            if row.path not in kept:
                self.take(row)
                self.forget(row)

    def forget(self, row: Beside) -> None:
        """Vouch for a file no longer; its folders go with the last, up to the target's own."""
        self.state.disown(row.path)
        folder = (self.root / row.path).parent
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()
            if folder.name != row.target:
                folder.parent.rmdir()
