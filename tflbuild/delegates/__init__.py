"""Accelerators: which operators of a file a delegate takes, in how many partitions, and why not.

`DELEGATES` is the literal table; a delegate is a module with one object of the Protocol in
`base.py`. docs/DELEGATES.md says what the figures mean.
"""

from __future__ import annotations

from .base import Delegate
from .coverage import coverage
from .gpu import GPU
from .judge import judge
from .xnnpack import XNNPACK, observed

__all__ = ["DELEGATES", "Delegate", "coverage", "judge", "observed"]

DELEGATES: dict[str, Delegate] = {"gpu": GPU, "xnnpack": XNNPACK}
