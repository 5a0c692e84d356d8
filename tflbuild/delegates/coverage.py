"""How much of a file a delegate takes: operators, MACs, partitions, and what breaks it.

Partitions follow `tflite/graph_info.cc` (LiteRT, 2026-08): not runs of neighbours, but sets of
operators that can run one set after the other. A set grows by every operator of its kind (taken,
or not) whose inputs are known; operators with side effects keep their order.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Mapping, Sequence
from typing import Any

from tflbuild.tflite.cost import compute_rule
from tflbuild.tflite.read import InvalidModel, Op, Subgraph, TfliteModel, entries

from .base import Delegate, Scene

_BRANCHES = frozenset({"IF", "STABLEHLO_CASE"})
_SIDE_EFFECTS = frozenset({"IF", "WHILE", "CALL_ONCE"})
_UNREACHED = "its inputs are never computed"
_UNKNOWN = "the runtime does not take it"
_MAX_LISTED = 10  # partitions; breaks are one for each (operator, reason)


def coverage(
    model: TfliteModel,
    delegate: Delegate,
    subgraph: int = 0,
    *,
    data: bytes | None = None,
    seen: Mapping[str, Any] | None = None,
    signature: str = "",
    costs: Costs | None = None,
) -> dict[str, Any]:
    """What a delegate takes of a subgraph, as JSON.

    `signature`: the key of the entry that this is, as it was given.
    `ops`, `delegated`: operators; `share_ops`, `share_macs`: from 0 to 1, the second None for a
    model without MACs. `partitions`: how many pieces the graph falls into; `pieces` lists the
    largest of them by operators; `by_default` has the shares of those that the delegate takes in
    an app that sets no options. `breaks`: one entry for each operator and reason, the most
    frequent first, with the index and the output tensor of the first such operator. `blocked`: why
    the delegate takes nothing at all, else None; `pinned`: what it would take at least with a batch
    of 1, where an open batch alone blocks it, else None.

    Args:
        model: what `read_model` gave.
        delegate: one of `DELEGATES`.
        subgraph: index of the subgraph; its operators are counted, and MACs also in what it runs.
        data: the file. Without it, rules about the values of constants count as kept.
        seen: what `observed` gave of the same file, for subgraph 0. It is the truth, also where it
            contradicts the rules; `observed` in the result says whether it was there.
        signature: key of the entry, "" for the only one.
        costs: what is known already of subgraphs that operators run, of the same three.
    """
    scene = Scene(model, model.subgraphs[subgraph], data)
    costs = costs or Costs(scene, delegate)
    why = list(delegate.refusals(scene))
    if seen is not None:
        left = frozenset(seen["left"])
        why = [(reason or _UNKNOWN) if at in left else "" for at, reason in enumerate(why)]
    block = delegate.blocked(scene)
    report = _report(scene, delegate, [block[1]] * len(why) if block else why, costs)
    if block:
        index, reason = block
        report["blocked"] = reason
        report["breaks"] = [_blocking(scene, index, reason)]
        if _pinnable(scene):
            report["pinned"] = _brief(_report(scene, delegate, why, costs))
    if seen is not None:
        report["partitions"] = seen["partitions"]
    return {
        "signature": signature,
        **report,
        "observed": seen is not None,
        "note": delegate.NOTE,
    }


def of_file(
    model: TfliteModel, delegate: Delegate, data: bytes, seen: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The coverage of the worst entry (see `tflite.model.entries`): of which the delegate takes
    the least of the MACs, then of the operators, then in the most partitions. `others`: that of
    all other entries, worst first; a limit may be missed by one of them alone.

    Args:
        model: what `read_model` gave.
        delegate: one of `DELEGATES`.
        data: the file.
        seen: what `observed` gave; of other entries than the main subgraph nobody can ask.
    """
    costs = Costs(Scene(model, model.subgraphs[0], data), delegate)
    found = []
    for key, subgraph in entries(model):
        known = seen if subgraph == 0 else None
        found.append(
            coverage(model, delegate, subgraph, data=data, seen=known, signature=key, costs=costs)
        )
    worst, *others = sorted(found, key=_goodness)
    return {**worst, "others": others}


def _goodness(found: Mapping[str, Any]) -> tuple[float, float, int]:
    share = found["share_macs"]
    return 1.0 if share is None else share, found["share_ops"], -found["partitions"]


def _report(scene: Scene, delegate: Delegate, why: list[str], costs: Costs) -> dict[str, Any]:
    graph = scene.graph
    flags = [not reason for reason in why]
    direct = delegate.direct(scene)
    taken, unreached = partitions(graph, flags, direct)
    # The delegate chooses its partitions before it gives constants to their operators.
    first = partitions(graph, flags)[0] if direct else taken
    for at in unreached:
        why[at] = why[at] or _UNREACHED
    total, inside = costs.of(graph, why)
    pieces, chosen = _sizes(graph, taken), _sizes(graph, first)
    ops, delegated = len(graph.ops), sum(piece[0] for piece in pieces)
    kept = chosen[: delegate.PARTITIONS] if delegate.PARTITIONS is not None else chosen
    if len(kept) < len(chosen):
        default = _shares(sum(p[0] for p in kept), ops, sum(p[1] for p in kept), total)
    else:
        default = _shares(delegated, ops, inside, total)
    return {
        "ops": ops,
        "delegated": delegated,
        **_shares(delegated, ops, inside, total),
        "partitions": len(pieces),
        "by_default": default,
        "pieces": [{"ops": p[0], **_shares(p[0], ops, p[1], total)} for p in pieces[:_MAX_LISTED]],
        "breaks": _breaks(scene, why),
        "blocked": None,
        "pinned": None,
    }


def _sizes(graph: Subgraph, taken: list[list[int]]) -> list[tuple[int, int]]:
    """(operators, MACs) of each partition, the one of most operators first."""
    found = [(len(piece), sum(_macs(graph, graph.ops[at]) for at in piece)) for piece in taken]
    return sorted(found, key=lambda piece: -piece[0])


def _brief(report: dict[str, Any]) -> dict[str, Any]:
    return {key: report[key] for key in ("delegated", "share_ops", "share_macs", "partitions")}


def _blocking(scene: Scene, index: int, reason: str) -> dict[str, Any]:
    """One entry for all operators, at the first that uses the tensor."""
    ops = scene.graph.ops
    users = (op for op in ops if index in op.inputs or index in op.outputs)
    first = next(users, None)
    return {
        "op": first.name if first else "",
        "count": len(ops),
        "index": first.index if first else 0,
        "layer": scene.graph.tensors[index].name,
        "why": reason,
    }


def _pinnable(scene: Scene) -> bool:
    """Whether pinning the batch would do: then the shapes in the file are those of a batch of 1."""
    inputs = [scene.graph.tensors[index] for index in scene.graph.inputs]
    free = [tensor for tensor in inputs if -1 in tensor.shape_signature]
    return bool(free) and not any(
        -1 in tensor.shape_signature[1:] or -1 in tensor.shape for tensor in free
    )


def partitions(
    graph: Subgraph, taken: Sequence[bool], direct: Container[int] = ()
) -> tuple[list[list[int]], list[int]]:
    """The sets of operators that a delegate gets, in the order in which they run, and the
    operators that never run because nothing computes their inputs. Operators that are taken wait
    for no tensor of `direct`."""
    computed = {index for op in graph.ops for index in op.outputs if index >= 0}
    waiting: list[int] = []
    readers: dict[int, list[int]] = {}
    for at, op in enumerate(graph.ops):
        inputs = {index for index in op.inputs if index in computed}
        if taken[at]:
            inputs = {index for index in inputs if index not in direct}
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


class Costs:
    """MACs of a subgraph and all that it runs, and how many of them the delegate computes; what
    several entries run is looked at once."""

    def __init__(self, scene: Scene, delegate: Delegate) -> None:
        self._scene, self._delegate = scene, delegate
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
            inner = self._scene.other(index)
            graph = inner.graph
            why: Sequence[str] = ["inside"] * len(graph.ops)
            if self._delegate.RUNS_IN_LOOPS and not self._delegate.blocked(inner):
                why = self._delegate.refusals(inner)
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


def _shares(ops: int, all_ops: int, macs: int, all_macs: int) -> dict[str, float | None]:
    return {
        "share_ops": _share(ops, all_ops),
        "share_macs": _share(macs, all_macs) if all_macs else None,
    }


def _breaks(scene: Scene, why: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for at, (op, reason) in enumerate(zip(scene.graph.ops, why, strict=True)):
        if reason:
            first = {
                "op": op.name,
                "count": 0,
                "index": at,
                "layer": scene.layer(op),
                "why": reason,
            }
            found.setdefault((op.name, reason), first)["count"] += 1
    return sorted(found.values(), key=lambda entry: (-entry["count"], entry["index"]))
