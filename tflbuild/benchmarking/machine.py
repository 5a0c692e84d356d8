"""What a measurement of time depends on, beyond the files: it enters the key."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
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


def busy_ns(path: Path = Path("/proc/stat")) -> int | None:
    """Nanoseconds that all processors together have worked since the machine started, for whomever
    (to a hundredth of a second, as the kernel counts them); None where nobody knows."""
    try:
        first = path.read_text().splitlines()[0].split()
        ticks = [int(number) for number in first[1:9]]
    except (OSError, IndexError, ValueError):
        return None
    if len(ticks) < 8:
        return None
    idle = sum(ticks[3:5])  # and waiting for disks
    return (sum(ticks) - idle) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


SHORTEST = 200_000_000  # ns: in less, hundredths of a second say nothing


class Watch:
    """Who else uses the machine, from now on."""

    def __init__(self, busy: Callable[[], int | None] = busy_ns) -> None:
        self._busy = busy
        self._before = busy(), _own_ns(), time.perf_counter_ns()

    def others(self) -> float | None:
        """How many processors others kept busy, on average; None where nobody knows, or too little
        time has passed."""
        busy, own, started = self._before
        now, wall = self._busy(), time.perf_counter_ns() - started
        if busy is None or now is None or wall < SHORTEST:
            return None
        return max(0.0, (now - busy - (_own_ns() - own)) / wall)


def _own_ns() -> int:
    """What this process and those that it waited for have worked."""
    said = os.times()
    return round(1e9 * (said.user + said.system + said.children_user + said.children_system))
