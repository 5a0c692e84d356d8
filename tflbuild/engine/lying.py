"""What lies in `dist/` and is ours: the files that the state vouches for, as they are now."""

from __future__ import annotations

from tflbuild.engine.files import FileDigests
from tflbuild.engine.state import Released, State
from tflbuild.errors import TaskError


class Lying:
    """The released files of each target, for those who describe them.

    `leaving`: artifacts whose files this build takes out of `dist/` in the end, since the
    manifest no longer has them. `coming`: artifacts whose files a build would put back, for a
    plan.
    """

    def __init__(
        self, dist: str, state: State, digests: FileDigests, leaving: frozenset[str] = frozenset()
    ) -> None:
        self.dist = dist
        self.state = state
        self.digests = digests
        self.leaving = leaving
        self.coming: set[str] = set()

    def of(self, target: str) -> list[Released]:
        """The files that belong to a target, by name: what its index lists, too."""
        rows = [
            row
            for row in self.state.released().values()
            if row.target == target
            and row.path.rpartition("/")[0] == f"{self.dist}/{target}"
            and row.artifact not in self.leaving
            and (row.artifact in self.coming or self.untouched(row.path, row.sha256))
        ]
        return sorted(rows, key=lambda row: row.path)

    def untouched(self, path: str, sha256: str) -> bool:
        """A file is there, as it was released."""
        try:
            return self.digests.digest(path) == sha256
        except TaskError:
            return False
