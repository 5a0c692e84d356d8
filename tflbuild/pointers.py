"""Files that stand for others: Git LFS pointers and DVC's, and the command that brings the content.

A pointer reads like any file, and a framework's word for it is "damaged"; so it is recognised
before anybody opens it.
"""

from __future__ import annotations

import os
import shlex
import stat

MAX_POINTER = 1024  # bytes; by the LFS specification a pointer is smaller
_LFS = b"version https://git-lfs.github.com/spec/v1"


def is_lfs_pointer(path: str) -> bool:
    """True for a file that `git lfs` has not yet replaced by its content."""
    try:
        found = os.stat(path)
        if found.st_size >= MAX_POINTER or not stat.S_ISREG(found.st_mode):  # a pipe would block
            return False
        with open(path, "rb") as stream:  # noqa: PTH123
            return stream.read(len(_LFS) + 1).rstrip() == _LFS
    except OSError:
        return False


def lfs_problem(path: str, shown: str) -> str:
    """The sentence for a file that is a pointer, with the remedy; "" for any other file. `shown`:
    its path relative to the workspace root."""
    if not is_lfs_pointer(path):
        return ""
    repository = _repository(path)
    name = os.path.relpath(os.path.realpath(path), repository) if repository else shown
    return f"{shown} is a Git LFS pointer, not the file itself; run: git lfs pull --include " + (
        shlex.quote(name)
    )


def _repository(path: str) -> str | None:
    """The folder of the repository that holds a file, which LFS patterns are relative to."""
    at = os.path.dirname(os.path.realpath(path))
    while not os.path.exists(os.path.join(at, ".git")):
        at, below = os.path.dirname(at), at
        if at == below:
            return None
    return at


def dvc_hint(path: str, root: str, base: str) -> str:
    """The remedy for a path that is not there, but that DVC keeps: itself, or a folder that would
    hold it; "" when it does not. The command's path is relative to `base`."""
    at = os.path.normpath(path)
    while at.startswith(root.rstrip(os.sep) + os.sep):
        if os.path.isfile(at + ".dvc"):
            return (
                f"; DVC keeps it: run: dvc pull {shlex.quote(os.path.relpath(at + '.dvc', base))}"
            )
        if os.path.exists(at):
            return ""
        at = os.path.dirname(at)
    return ""
