"""Which samples are taken: the first ones, or a choice by seed."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable


def choose(names: Iterable[str], count: int, seed: int) -> list[int]:
    """The places of `count` of the names, in order: those with the smallest SHA-256 of
    "<seed>:<name>".

    Unlike a random generator's, the choice is the same with every version of Python and NumPy, and
    another sample more changes it by one sample at most.
    """
    ranked = (
        (hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest(), place)
        for place, name in enumerate(names)
    )
    return sorted(place for _, place in heapq.nsmallest(count, ranked))
