"""Work in a forked process of its own: fresh memory, and nothing lost where it dies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from tflbuild.errors import one_line


class Failed(Exception):
    """Why the work came to nothing, in one line."""


def apart(work: Callable[[], Any]) -> Any:
    """What `work` gives, which must be JSON. Raises Failed.

    To be called before this process has threads of its own: a fork takes none of them along, and
    whatever lock they hold stays locked.
    """
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _child(work, parent, writing)
        finally:  # whatever happens, never return into the parent's code
            os._exit(70)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise Failed(_death(code))
    result, problem = json.loads(said)
    if problem:
        raise Failed(problem)
    return result


def _death(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"the process died (signal {-code}, {signal.Signals(-code).name})"
        return f"the process died (signal {-code})"
    return f"the process ended with status {code}"


def _child(work: Callable[[], Any], parent: int, writing: int) -> NoReturn:
    import faulthandler

    faulthandler.disable()  # that it dies is an answer, not a fault
    if sys.platform == "linux":
        import ctypes
        import resource

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        data = json.dumps([work(), ""]).encode()
    except MemoryError:
        data = json.dumps([None, "out of memory"]).encode()
    except Exception as error:  # told by the parent, who knows what it was about
        data = json.dumps([None, one_line(error) or type(error).__name__]).encode()
    while data:
        data = data[os.write(writing, data) :]
    os._exit(0)
