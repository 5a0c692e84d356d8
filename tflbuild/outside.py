"""What a user's code reads outside of the workspace, and what lies in it that it cannot see."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Sequence
from typing import Any

from tflbuild.errors import TaskError

# Settings, fonts, certificates and devices, which libraries read on their own.
_SYSTEM = (
    "/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/nix", "/proc", "/run", "/sbin", "/sys",
    "/usr", "/var/cache", "/var/lib",
)  # fmt: skip


class Outside:
    """Files that the code opened, and that no key can hold."""

    def __init__(self) -> None:
        self.read: dict[str, None] = {}
        self._prefixes: set[str] = {path + os.sep for path in _SYSTEM}
        self._allowed: set[str] = set()
        self._written: set[str] = set()

    def allow(self, *paths: str) -> None:
        """Files, and folders with all that is in them."""
        for path in paths:
            real = os.path.realpath(path)
            self._allowed.add(real)
            self._prefixes.add(real.rstrip(os.sep) + os.sep)

    def opened(self, path: Any, flags: int) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # an open descriptor
        real = os.path.realpath(os.fsdecode(path))
        if flags & os.O_ACCMODE == os.O_WRONLY or flags & (os.O_TRUNC | os.O_EXCL):
            self._written.add(real)  # its content comes from the code
        elif real in self._allowed or real in self._written:
            pass
        elif not real.startswith(tuple(self._prefixes)) and os.path.isfile(real):
            self.read[real] = None

    def problem(self) -> TaskError | None:
        if not self.read:
            return None
        return TaskError(
            f"the model's code reads {next(iter(self.read))}, outside of the workspace, which no"
            " key can hold: bring it into the workspace and declare it by `depends`"
        )


class Lister:
    """Lists folders for a process that has closed them to itself: by a thread from before."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[Sequence[str] | OSError] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._answer, name="lister", daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        while (path := self._asked.get()) is not None:
            try:
                self._found.put(os.listdir(path))
            except OSError as error:
                self._found.put(error)

    def list(self, path: str) -> Sequence[str]:
        """As os.listdir. Raises OSError."""
        if not self._thread.is_alive() or os.getpid() != self._pid:  # a fork has one thread
            return os.listdir(path)
        with self._lock:
            self._asked.put(path)
            found = self._found.get()
        if isinstance(found, OSError):
            raise found
        return found

    def end(self) -> None:
        self._asked.put(None)
        self._thread.join()
