"""One build at a time in a workspace, and a name for whoever holds it.

A `flock` goes with its file description: the kernel drops it when the holder dies, however it
dies. Workers are executed, not forked, so none of them keeps it alive.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tflbuild.errors import UsageError

NAME_TRIES = 50
NAME_PAUSE = 0.01  # seconds; the name follows the lock by one system call


@contextlib.contextmanager
def workspace_lock(path: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file; `waiting` is told once who holds it, when somebody does."""
    import fcntl  # not on every platform that can read a manifest

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"the workspace cannot be written: {error}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(_named_holder(path))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        holder = {"pid": os.getpid(), "command": " ".join(sys.argv)[:200], "since": time.time()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _named_holder(path: Path) -> str:
    """Who holds the lock; a holder of this very moment gets some time to write its name."""
    for _ in range(NAME_TRIES):
        if name := _holder(path):
            return name
        time.sleep(NAME_PAUSE)
    return "another process"


def _holder(path: Path) -> str | None:
    try:
        holder = json.loads(path.read_text())
        since = time.strftime("%H:%M:%S", time.localtime(holder["since"]))
        return f"process {holder['pid']} ({holder['command']}), since {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return None
