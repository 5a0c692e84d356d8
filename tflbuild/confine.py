"""Files of a folder that this process can no longer read: Linux's Landlock.

An audit hook sees what Python opens; TensorFlow, HDF5, SQLite and programs that the code starts
open files by themselves. Landlock (Linux 5.19 and later) binds those too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import stat
import sys
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, alike on every machine
_READ_FILE, _READ_DIR, _REFER = 1 << 2, 1 << 3, 1 << 13
_VERSION, _PATH_BENEATH, _NO_NEW_PRIVS = 1, 1, 38
_ENOUGH = 2  # ABI 1 forbids every move between folders


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def available() -> bool:
    """Whether this kernel can do it."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return False
    return bool(_call(_CREATE, None, 0, _VERSION) >= _ENOUGH)


def confine(root: str, allowed: Iterable[str]) -> bool:
    """From now on this thread, and all that it starts, reads nothing below `root` but `allowed`
    (files, and folders with all that is in them; `root` is a real path). False where the kernel
    cannot: then nothing has changed."""
    if os.path.dirname(root) == root or not available():
        return False
    handled = _Ruleset(_READ_FILE | _READ_DIR | _REFER)
    rules = _call(_CREATE, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if rules < 0:
        return False
    try:
        _allow(rules, "/", _REFER)
        for path in (*_beside(root), *allowed):
            _allow(rules, path, _READ_FILE | _READ_DIR)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            return False
        return bool(_call(_RESTRICT, rules, 0) == 0)
    finally:
        os.close(rules)


def _beside(root: str) -> list[str]:
    """Everything that is not on the way to `root`: a rule holds for all that is beneath."""
    way = ["/"]
    for part in root.strip("/").split("/"):
        way.append(os.path.join(way[-1], part))
    on_way = set()
    for path in way:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            on_way.add((status.st_dev, status.st_ino))
    found = []
    for folder in way[:-1]:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                # What a link leads to has its own place; another mount may lead back here.
                with contextlib.suppress(OSError):
                    status = os.stat(entry.path)
                    if not entry.is_symlink() and (status.st_dev, status.st_ino) not in on_way:
                        found.append(entry.path)
    return found


def _allow(rules: int, path: str, access: int) -> None:
    with contextlib.suppress(OSError):  # what is not there, nobody reads
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                access &= _READ_FILE
            rule = _Beneath(access, descriptor)
            _call(_ADD, rules, _PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(syscall(ctypes.c_long(number), *given))
