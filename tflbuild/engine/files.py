"""Digests of source files, hashed again only when their stat data changed.

git's rule for racy entries: a file whose time stamps are younger than 2 s when it was hashed
could change again without a visible difference, so it is hashed again next time.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tflbuild.errors import TaskError

if TYPE_CHECKING:  # SQLite is not for a build with nothing to do, which uses `Stat`
    from tflbuild.engine.state import State

RACY = 2_000_000_000  # nanoseconds


@dataclass(frozen=True)
class Stat:
    """What the record compares of a file or folder. Times in nanoseconds."""

    size: int
    mtime: int
    ctime: int
    inode: int

    @classmethod
    def of(cls, path: str | Path) -> Stat | None:
        """None for a path that is absent."""
        try:
            s = os.stat(path)
        except OSError:
            return None
        return cls(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)

    def young(self, now: int) -> bool:
        return now - max(self.mtime, self.ctime) < RACY


Seen = tuple[Stat, int, str]  # stat data, when it was hashed, digest


class FileDigests:
    """SHA-256 of files under the root, with the stat data that stood when each was hashed."""

    def __init__(self, root: Path, state: State) -> None:
        self.root = root
        self.state = state
        rows = state.db.execute("SELECT path, size, mtime, ctime, inode, seen, digest FROM files")
        self._known = {row[0]: (Stat(*row[1:5]), row[5], row[6]) for row in rows}
        self._new: dict[str, Seen] = {}

    def digest(self, path: str) -> str:
        """The digest of a file (path relative to the root). Raises TaskError."""
        full = self.root / path
        now = Stat.of(full)
        if now is None:
            raise TaskError(f"{path}: the file is gone")
        known = self.seen(path)
        if known and known[0] == now and not known[0].young(known[1]):
            return known[2]
        if not stat.S_ISREG(full.stat().st_mode):
            raise TaskError(f"{path}: not a regular file")
        seen = time.time_ns()
        value = self._hash(path)
        self._new[path] = (now, seen, value)
        return value

    def _hash(self, path: str) -> str:
        from tflbuild.pointers import lfs_problem
        from tflbuild.store.digest import file_digest

        try:
            if problem := lfs_problem(str(self.root / path), path):
                raise TaskError(problem)
            return file_digest(self.root / path)
        except OSError as error:
            raise TaskError(f"{path}: cannot be read: {error.strerror}") from error

    def seen(self, path: str) -> Seen | None:
        """The stat data that stood when a file was last hashed, when that was, its digest."""
        return self._new.get(path) or self._known.get(path)

    def unchanged(self, path: str, since: Seen | None) -> bool:
        """False when a file's stat data differs from what it was when it was hashed then, or
        when it was young then and its content differs."""
        if since is None or Stat.of(self.root / path) != since[0]:
            return False
        try:
            return not since[0].young(since[1]) or self._hash(path) == since[2]
        except TaskError:
            return False

    def save(self) -> None:
        """Keep what was hashed for the next build."""
        if not self._new or not self.state.writable:
            return
        with self.state.batch():
            self.state.db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (path, s.size, s.mtime, s.ctime, s.inode, seen, value)
                    for path, (s, seen, value) in self._new.items()
                ],
            )
        self._known.update(self._new)
        self._new.clear()
