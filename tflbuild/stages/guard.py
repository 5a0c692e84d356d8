"""Programs that an action starts end with it, however it ends.

The zygote ends the process group of an action, and the kernel the action when the zygote dies; but
nobody would then be left to end what the action itself has started. A guard of its own waits for
that.
"""

from __future__ import annotations

import contextlib
import os
import signal

_held: list[int] = []  # the end of the pipe that lives as long as this process


def guarded_group() -> None:
    """From now on, whatever is in this process's group is killed when this process ends."""
    group = os.getpgrp()
    if group != os.getpid() or _held:  # not an action in a worker, or guarded already
        return
    watched, held = os.pipe()  # neither is inherited by programs
    if os.fork() == 0:
        try:
            _guard(watched, held, group)
        finally:
            os._exit(0)
    os.close(watched)
    _held.append(held)


def _guard(watched: int, held: int, group: int) -> None:
    os.close(held)
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(entry) > 2 and int(entry) != watched:
                os.close(int(entry))
    os.read(watched, 1)  # end of file: nobody holds the other end any more
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
