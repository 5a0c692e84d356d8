"""What a measurement of time depends on, beyond the files: it enters the key."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# What /proc/cpuinfo calls a processor: x86, then ARM and others, which have no such name there.
_NAMES = ("model name", "Hardware", "cpu model", "uarch")
_ARM = ("CPU implementer", "CPU part", "CPU variant")


def machine() -> dict[str, str | int]:
    """`cpu`: its name; `cores`: those that this process may use."""
    return {"cpu": cpu_name(), "cores": cores()}


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name(path: Path = Path("/proc/cpuinfo")) -> str:
    """The processor as the kernel names it."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return platform.processor() or "unknown"
    said: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            said.setdefault(key.strip(), " ".join(value.split()))
    found = next((said[key] for key in _NAMES if said.get(key)), "")
    parts = [f"{key.removeprefix('CPU ')} {said[key]}" for key in _ARM if said.get(key)]
    return found or " ".join(parts) or platform.processor() or "unknown"
