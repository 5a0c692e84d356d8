"""How much memory a process may take from here on.

A hostile file may claim tensors of terabytes. A limit on the address space turns that into an
error of this process alone, where the kernel would end some process of the machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

GIB = 1 << 30


def limit_memory(more: int) -> None:
    """Allow so many bytes beyond the address space that this process has now. Only the soft limit
    moves: a child may set its own. Where there are no such limits, nothing happens."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = now + more
    resource.setrlimit(
        resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
    )


def room_for(path: Path) -> None:
    """Before a file is mapped: that takes address space, and no memory. The file has those bytes,
    so that there is nothing to be guarded from. Raises OSError."""
    if sys.platform != "linux":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        wanted = soft + path.stat().st_size + resource.getpagesize()
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def limit_action(inputs: Iterable[Path]) -> None:
    """For an action that runs a file which may claim anything: half of the machine's memory, and
    twice what its inputs take, as data are read whole; at most what the machine has."""
    if sys.platform == "linux":
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        limit_memory(min(machine, machine // 2 + 2 * sum(p.stat().st_size for p in inputs)))
