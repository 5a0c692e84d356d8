"""What an action has done so far outlives it: the parent's side of `tflbuild.validation.running`.

A stage that streams keeps evidence of its samples in `.tflbuild/progress/<key>/` until it is
committed. What nobody will go on with is removed here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tflbuild.engine.files import Seen

STAGES = frozenset({"reference", "baseline", "validate"})
WEEK = 7 * 86400.0

# Names in a progress folder, which the child writes.
TASK, DONE = "task", "done"


class Progress:
    def __init__(self, root: Path, work: Path, jobs: int) -> None:
        self.folder = root / ".tflbuild" / "progress"
        self.root = root
        self.jobs = jobs
        self._cores = work / "cores"
        self._told = (0, 0)
        self._clear_old()

    def request(
        self, stage: str, task: str, key: str, seen: Mapping[str, Seen | None], begin_anew: bool
    ) -> dict[str, Any]:
        """For the request of an action; nothing for a stage that does not stream. `seen`: the
        user's files that it reads."""
        if stage not in STAGES:
            return {}
        self._clear(task, key)
        if begin_anew:
            self.forget(stage, key)
        files = {
            str(self.root / path): [entry[0].size, entry[0].mtime, entry[0].ctime, entry[0].inode]
            for path, entry in seen.items()
            if entry is not None
        }
        return {
            "progress": {
                "folder": str(self.folder / key), "task": task, "files": files,
                "jobs": self.jobs, "cores": str(self._cores),
            }
        }  # fmt: skip

    def tell_cores(self, running: int, ready: int) -> None:
        """How many actions run, and how many could if there were cores: what is left is for
        actions that can use more than one."""
        if self._told == (running, ready):
            return
        self._told = (running, ready)
        descriptor = os.open(self._cores, os.O_WRONLY | os.O_CREAT, 0o644)
        try:  # of one length: nobody reads a part
            os.pwrite(descriptor, f"{running:9} {ready:9}\n".encode(), 0)
        finally:
            os.close(descriptor)

    def forget(self, stage: str, key: str) -> None:
        """It is done."""
        if stage in STAGES:
            shutil.rmtree(self.folder / key, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()  # when it was the last one

    def goes_on(self, key: str) -> str:
        """How far an action came that did not end; "" where it begins again."""
        try:
            done, samples = map(int, (self.folder / key / DONE).read_text().split())
        except (OSError, ValueError):
            return ""
        if not done:
            return ""
        if done == samples:  # it ended in what comes after them: metrics, golden tests
            return f"; all {samples} samples were run, and building again does not run them again"
        return f"; {done} of {samples} samples are done: building again goes on from there"

    def _clear(self, task: str, key: str) -> None:
        """What is left of a task whose key is another now."""
        for own in self._own():
            with contextlib.suppress(OSError):
                if own.name != key and (own / TASK).read_text() == task:
                    shutil.rmtree(own, ignore_errors=True)

    def _clear_old(self) -> None:
        for own in self._own():
            with contextlib.suppress(OSError):
                if time.time() - own.stat().st_mtime > WEEK:
                    shutil.rmtree(own, ignore_errors=True)

    def _own(self) -> list[Path]:
        try:
            return list(self.folder.iterdir())
        except OSError:
            return []
