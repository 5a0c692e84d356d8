"""inspect: any file, as `compat` measures one; no task of a graph.

`params`: `path`, and `runtime` or None. Output: `inspect.json`.
"""

from __future__ import annotations

import os
import stat

from tflbuild.errors import TaskError
from tflbuild.limits import GIB, limit_memory
from tflbuild.sources.size import LIMIT
from tflbuild.stages.base import Request

VERSION = 2
MODULES: tuple[str, ...] = ("flatbuffers", "ai_edge_litert", "numpy")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.inspection import measure

    data = read_file(request.params["path"])
    request.write_json("inspect.json", measure(data, runtime=request.params["runtime"]))


def read_file(path: str) -> bytes:
    """A regular file, whole; from here on memory is limited by its size. Whatever else the path
    names is neither waited for nor read. Raises TaskError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise TaskError(why_not(error)) from None
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise TaskError("is a folder, not a .tflite file")
        if not stat.S_ISREG(found.st_mode):
            raise TaskError("is not a regular file")
        if found.st_size > LIMIT:
            raise TaskError(f"has {found.st_size:,} bytes; files of at most {LIMIT:,} are read")
        limit_memory(GIB + 8 * found.st_size)
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(found.st_size)
    except (OSError, MemoryError) as error:
        raise TaskError(why_not(error)) from None
    finally:
        os.close(descriptor)


def why_not(error: Exception) -> str:
    """Why a file cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, MemoryError):
        return "is too large to be read"
    text = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot be opened: {text}"
