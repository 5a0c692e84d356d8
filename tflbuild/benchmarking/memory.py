"""Memory of this process, as TFLite's own benchmark tool counts it (tflite/profiling/memory_info.h,
LiteRT, 2026-08): the C library's heap, and the resident set."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


class _Info(ctypes.Structure):
    """struct mallinfo2 of glibc 2.33 and later."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                     "uordblks", "fordblks", "keepcost")
    )  # fmt: skip


def heap_bytes() -> int | None:
    """Bytes of the heap that are in use, those with a mapping of their own too; None where the C
    library does not say. It is the same number in every run, which the resident set never is."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    ask.restype = _Info
    said = ask()
    return int(said.uordblks + said.hblkhd)


def resident_bytes() -> int | None:
    """Bytes of this process that are in memory now."""
    return _status("VmRSS")


def peak_bytes() -> int | None:
    """The most that `resident_bytes` ever was, since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> bool:
    """Let `peak_bytes` begin anew; False where the kernel does not."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def threads() -> int:
    """Threads of this process; 1 where nobody knows."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return None
