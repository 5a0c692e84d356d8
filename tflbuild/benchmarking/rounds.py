"""Measuring several things beside each other, so that what disturbs the machine hits all alike.

A clock that slows down, or a neighbour that wakes up, lasts longer than one inference. So the files
take turns: in every round each of them runs once, and what is compared are the two numbers of one
round.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol


class Timed(Protocol):
    """What is measured."""

    def prepare(self, turn: int) -> None:
        """What a round needs before the clock starts: inputs, and caches as they were."""

    def invoke(self) -> None:
        """What the clock measures."""


def schedule(names: Sequence[str], rounds: int, seed: int) -> list[tuple[str, ...]]:
    """The order of each round.

    Blocks of as many rounds as there are names: a random order, rotated by one each round. Within a
    block each name stands once at each place, so that no file always follows the same one, and none
    is always first.
    """
    generator = random.Random(seed)
    plan: list[tuple[str, ...]] = []
    while names and len(plan) < rounds:
        order = list(names)
        generator.shuffle(order)
        plan += [tuple(order[turn:] + order[:turn]) for turn in range(len(order))]
    return plan[:rounds]


def measure(
    timed: Mapping[str, Timed], plan: Sequence[Sequence[str]], clock: Callable[[], int]
) -> dict[str, list[int]]:
    """Run the rounds of `plan`.

    Args:
        timed: what is measured, by name.
        plan: the names of each round, in order.
        clock: nanoseconds since any moment.

    Returns:
        Nanoseconds by name, one number for each round, in their order.
    """
    found: dict[str, list[int]] = {name: [] for name in timed}
    collecting = gc.isenabled()
    gc.disable()  # it would stop whoever's turn it is
    try:
        for turn, order in enumerate(plan):
            for name in order:
                one = timed[name]
                one.prepare(turn)
                started = clock()
                one.invoke()
                found[name].append(max(1, clock() - started))  # no clock is that coarse
    finally:
        if collecting:
            gc.enable()
    return found
