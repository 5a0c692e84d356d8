"""How much of a file a delegate takes: operators, MACs, partitions, and what breaks it.

Partitions follow `tflite/graph_info.cc` (LiteRT, 2026-08): not runs of neighbours, but sets of
operators that can run one set after the other. A set grows by every operator of its kind (taken,
or not) whose inputs are known; operators with side effects keep their order.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from tflbuild.tflite.cost import compute_rule
from tflbuild.tflite.read import InvalidModel, Op, Subgraph, TfliteModel

from .base import Delegate, Scene

_BRANCHES = frozenset({"IF", "STABLEHLO_CASE"})
_SIDE_EFFECTS = frozenset({"IF", "WHILE", "CALL_ONCE"})
_UNREACHED = "its inputs are never computed"
_MAX_LISTED = 10  # partitions; breaks are one for each (operator, reason)


def coverage(
    model: TfliteModel, delegate: Delegate, subgraph: int = 0, *, data: bytes | None = None
) -> dict[str, Any]:
    """What a delegate takes of a subgraph, as JSON.

    `ops`, `delegated`: operators; `share_ops`, `share_macs`: from 0 to 1, the second None for a
    model without MACs. `partitions`: how many pieces the delegate gets; `pieces` lists the largest
    of them by operators. `breaks`: one entry for each operator and reason, the most frequent
    first, with the index and the output tensor of the first such operator.

    Args:
        model: what `read_model` gave.
        delegate: one of `DELEGATES`.
        subgraph: index of the subgraph; its operators are counted, and MACs also in what it runs.
        data: the file. Without it, rules about the values of constants count as kept.
    """
    scene = Scene(model, model.subgraphs[subgraph], data)
    why = list(delegate.refusals(scene))
    taken, unreached = partitions(scene.graph, [not reason for reason in why])
    for index in unreached:
        why[index] = why[index] or _UNREACHED
    ops = len(scene.graph.ops)
    delegated = sum(map(len, taken))
    costs = _Costs(model, delegate, data)
    total, inside = costs.of(scene.graph, why)
    return {
        "ops": ops,
        "delegated": delegated,
        "share_ops": _share(delegated, ops),
        "share_macs": _share(inside, total) if total else None,
        "partitions": len(taken),
        "pieces": _pieces(scene.graph, taken, total),
        "breaks": _breaks(scene, why),
        "note": delegate.NOTE,
    }


def partitions(graph: Subgraph, taken: Sequence[bool]) -> tuple[list[list[int]], list[int]]:
    """The sets of operators that a delegate gets, in the order in which they run, and the
    operators that never run because nothing computes their inputs."""
    computed = {index for op in graph.ops for index in op.outputs if index >= 0}
    waiting: list[int] = []
    readers: dict[int, list[int]] = {}
    for at, op in enumerate(graph.ops):
        inputs = {index for index in op.inputs if index in computed}
        waiting.append(len(inputs))
        for index in inputs:
            readers.setdefault(index, []).append(at)
    following: dict[int, int] = {}  # operators with side effects wait for the one before
    last = -1
    for at, op in enumerate(graph.ops):
        if _side_effect(graph, op):
            if last >= 0:
                following[last] = at
                waiting[at] += 1
            last = at
    ready: dict[bool, list[int]] = {True: [], False: []}
    for at, count in enumerate(waiting):
        if not count:
            heapq.heappush(ready[taken[at]], at)
    found: list[list[int]] = []
    done = [False] * len(graph.ops)
    known: set[int] = set()
    while ready[True] or ready[False]:
        heads = [queue[0] for queue in ready.values() if queue]
        kind = taken[min(heads)]  # the first operator that is ready says of which kind the set is
        queue, members = ready[kind], []
        while queue:
            at = heapq.heappop(queue)
            done[at] = True
            members.append(at)
            freed = [following[at]] if at in following else []
            for index in graph.ops[at].outputs:
                if index >= 0 and index not in known:
                    known.add(index)
                    freed += readers.get(index, ())
            for other in freed:
                waiting[other] -= 1
                if not waiting[other]:
                    heapq.heappush(ready[taken[other]], other)
        if kind:
            found.append(sorted(members))
    return found, [at for at, reached in enumerate(done) if not reached]


def _side_effect(graph: Subgraph, op: Op) -> bool:
    used = (graph.tensors[index] for index in op.inputs + op.outputs if index >= 0)
    return op.name in _SIDE_EFFECTS or any(tensor.dtype == "resource" for tensor in used)


class _Costs:
    """MACs of a subgraph and all that it runs, and how many of them the delegate computes."""

    def __init__(self, model: TfliteModel, delegate: Delegate, data: bytes | None) -> None:
        self._model, self._delegate, self._data = model, delegate, data
        self._known: dict[int, tuple[int, int]] = {}

    def of(self, graph: Subgraph, why: Sequence[str]) -> tuple[int, int]:
        """(all MACs, those of the delegate). A branch counts as its dearest side."""
        total = inside = 0
        for op, reason in zip(graph.ops, why, strict=True):
            count = _macs(graph, op)
            total += count
            inside += 0 if reason else count
            if op.name != "CALL_ONCE" and op.subgraphs:
                runs = [self._inner(index) for index in op.subgraphs]
                runs = [max(runs)] if op.name in _BRANCHES else runs
                total += sum(run[0] for run in runs)
                inside += sum(run[1] for run in runs)
        return total, inside

    def _inner(self, index: int) -> tuple[int, int]:
        if index not in self._known:
            graph = self._model.subgraphs[index]
            why: Sequence[str] = ["inside"] * len(graph.ops)
            if self._delegate.RUNS_IN_LOOPS:
                why = self._delegate.refusals(Scene(self._model, graph, self._data))
            self._known[index] = self.of(graph, why)
        return self._known[index]


def _macs(graph: Subgraph, op: Op) -> int:
    rule = compute_rule(op)
    try:
        return rule.macs(graph, op) if rule else 0
    except InvalidModel:  # options that nobody can read
        return 0


def _share(part: int, whole: int) -> float:
    """Rounded to 4 digits, but 1.0 and 0.0 only where it is all and nothing."""
    if part == whole:
        return 1.0
    return min(max(round(part / whole, 4), 0.0001 if part else 0.0), 0.9999)


def _pieces(graph: Subgraph, taken: list[list[int]], total: int) -> list[dict[str, Any]]:
    largest = sorted(taken, key=len, reverse=True)[:_MAX_LISTED]
    found = []
    for members in largest:
        macs = sum(_macs(graph, graph.ops[at]) for at in members)
        found.append(
            {"ops": len(members), "share_macs": _share(macs, total) if total else None}
        )
    return found


def _breaks(scene: Scene, why: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for at, (op, reason) in enumerate(zip(scene.graph.ops, why, strict=True)):
        if reason:
            first = {"op": op.name, "count": 0, "index": at, "layer": scene.layer(op), "why": reason}
            found.setdefault((op.name, reason), first)["count"] += 1
    return sorted(found.values(), key=lambda entry: (-entry["count"], entry["index"]))
