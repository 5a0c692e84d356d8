"""What a model needs in memory while it runs: a lifetime plan of its tensors.

The plan is the one that TensorFlow Lite's arena makes: `tflite/arena_planner.cc` (who lives from
when to when, which outputs share the memory of an input) and `tflite/simple_memory_arena.cc` (best
fit, the largest tensor first), LiteRT 2026-08. What kernels ask for besides (im2col buffers and
other temporaries of the optimized kernels, XNNPACK's packed weights) is not in the file and not
counted here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cost import data_sizes, io_sizes
from .read import BITS, Subgraph, Tensor, TfliteModel, entries

TFLITE_ALIGNMENT = 64  # kDefaultTensorAlignment, tflite/util.h
FOREVER = 1 << 60  # as the last operator of a tensor: until the next run
MOST_TENSORS = 6_000  # of a graph whose plan is made: it takes the square of their number
_MOST_BYTES = 1 << 50  # beyond it nothing can be planned, and 64-bit sums could overflow
_SHOWN = 20  # live tensors named at the peak

# Input slots that the first output may share memory with, and whether the operator leaves the
# data as they are (`inplace_operator` of the registrations, tflite/kernels/*.cc, LiteRT 2026-08).
_IN_PLACE: dict[str, tuple[tuple[int, ...], bool]] = {
    "ADD": ((0, 1), False),
    "BITCAST": ((0,), True),
    "DIV": ((0, 1), False),
    "DYNAMIC_UPDATE_SLICE": ((0,), False),
    "EXPAND_DIMS": ((0,), True),
    "MUL": ((0, 1), False),
    "RESHAPE": ((0,), True),
    "SOFTMAX": ((0,), False),
    "SQUEEZE": ((0,), True),
    "SUB": ((0, 1), False),
}
_SCALAR_BYTES = 4  # smaller tensors are not shared when their data change


@dataclass(frozen=True)
class Interval:
    """A tensor in the arena: its size in bytes, and the first and last operator that it lives at.

    `first` and `last` are indexes in execution order, both included.
    """

    tensor: int
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """Memory of one subgraph and of what it calls, in bytes.

    `peak`: the largest sum of tensors that live at one operator. `arena`: what the offset plan
    takes; None where there is too much to plan. `persistent`: variable tensors and unpacked
    constants, an arena of their own, not in the others. `at`: (subgraph, operator) of the
    peak, -1 before the first operator; `live`: (subgraph, tensor, bytes) there.
    """

    peak: int
    arena: int | None
    persistent: int
    at: tuple[int, int]
    live: tuple[tuple[int, int, int], ...]


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's elements, packed; dynamic dimensions count as 1, types without a fixed
    width (string, resource, variant) as nothing, as the arena holds none of them."""
    return -(-tensor.elements * BITS.get(tensor.dtype, 0) // 8)


def is_dynamic(tensor: Tensor) -> bool:
    """Whether its size is known only when the model runs."""
    return -1 in tensor.shape_signature or -1 in tensor.shape


def intervals(graph: Subgraph) -> list[Interval]:
    """The tensors that TensorFlow Lite holds in the arena of a subgraph.

    Inputs live from the start, they and outputs to the end; so does what nobody reads. An output
    that shares the memory of an input is not there; its reads lengthen that input's life.
    Variable tensors and unpacked constants are elsewhere (`persistent_bytes`).
    """
    shared, persistent = _shared(graph), _persistent(graph)
    first: dict[int, int] = {}
    reads: Counter[int] = Counter()
    for index in graph.inputs:
        first[index] = 0
    for position, op in enumerate(graph.ops):
        for index in op.outputs:
            if index >= 0:
                first.setdefault(index, position)
        reads.update(shared.get(i, i) for i in op.inputs if i >= 0)
    kept = {*graph.inputs, *graph.outputs}
    last: dict[int, int] = {}
    for position, op in enumerate(graph.ops):
        for read in op.inputs:
            if read < 0:
                continue
            index = shared.get(read, read)
            reads[index] -= 1
            if not reads[index] and index not in kept:
                last[index] = position
    found = []
    for index, begin in first.items():
        tensor = graph.tensors[index]
        if index in shared or index in persistent or tensor.is_constant:
            continue
        if size := tensor_bytes(tensor):
            found.append(Interval(index, size, begin, last.get(index, FOREVER)))
    return found


def _shared(graph: Subgraph) -> dict[int, int]:
    """Outputs that lie where an input lies: {output: the tensor that owns the memory}."""
    uses = Counter(i for op in graph.ops for i in op.inputs if i >= 0)
    uses.update({*graph.inputs})
    uses.update({*graph.outputs})
    owner: dict[int, int] = {}
    for op in graph.ops:
        if (rule := _IN_PLACE.get(op.name)) is None or not op.outputs or op.outputs[0] < 0:
            continue
        slots, unmodified = rule
        output = op.outputs[0]
        for slot in slots:
            index = op.inputs[slot] if slot < len(op.inputs) else -1
            if index >= 0 and _may_share(graph, index, output, unmodified, uses[index]):
                owns = owner.get(index, index)
                if (unmodified or uses[owns] <= 1) and owns != output:
                    owner[output] = owns
                break
    return owner


def _may_share(graph: Subgraph, index: int, output: int, unmodified: bool, uses: int) -> bool:
    before, after = graph.tensors[index], graph.tensors[output]
    size = tensor_bytes(before)
    return (
        (unmodified or (size == tensor_bytes(after) and size > _SCALAR_BYTES and uses <= 1))
        and size == tensor_bytes(after)
        and index not in graph.inputs
        and output not in graph.outputs
        and not (before.is_constant or before.is_variable or after.is_variable)
    )


def persistent_bytes(graph: Subgraph, alignment: int = TFLITE_ALIGNMENT) -> int:
    """Bytes of the arena of what stays from run to run: variable tensors, and constants that a
    DEQUANTIZE unpacks once (tflite/kernels/dequantize.cc)."""
    end = 0
    for index in sorted(_persistent(graph)):
        if size := tensor_bytes(graph.tensors[index]):
            end = -(-end // alignment) * alignment + size
    return end


def _persistent(graph: Subgraph) -> set[int]:
    found = {t.index for t in graph.tensors if t.is_variable and not t.is_constant}
    for op in graph.ops:
        if op.name == "DEQUANTIZE" and op.inputs and op.inputs[0] >= 0:
            if graph.tensors[op.inputs[0]].is_constant:
                found.update(i for i in op.outputs[:1] if i >= 0)
    return found


def peak(found: Sequence[Interval]) -> tuple[int, int]:
    """(largest sum of sizes that live at one operator, that operator; of several the first)."""
    changes: Counter[int] = Counter()
    for interval in found:
        changes[interval.first] += interval.size
        changes[interval.last + 1] -= interval.size
    most = now = at = 0
    for position in sorted(changes):
        now += changes[position]
        if now > most:
            most, at = now, position
    return most, at


def arena(found: Sequence[Interval], alignment: int = TFLITE_ALIGNMENT) -> int | None:
    """End of the last byte that the offset plan uses; None where there is too much to plan.

    Tensors that live all the time come first, then the largest; each goes into the tightest gap
    among those that live at the same time.
    """
    if len(found) > MOST_TENSORS or sum(i.size for i in found) > _MOST_BYTES:
        return None
    order = sorted(
        found,
        key=lambda i: (
            (0, 0, 0, i.tensor)
            if (i.first, i.last) == (0, FOREVER)
            else (1, -i.size, i.first, i.tensor)
        ),
    )
    placed = Placed(len(order))
    for interval in order:
        starts, ends = placed.beside(interval.first, interval.last)
        placed.add(interval, _best_fit(starts, ends, interval.size, alignment))
    return placed.end


class Placed:
    """Tensors that have an offset, in the order of their offsets."""

    def __init__(self, most: int) -> None:
        self._columns = np.zeros((4, most), np.int64)  # start, end, first, last
        self._order: list[tuple[int, int]] = []  # (offset, when it was added)
        self.end = 0

    def beside(self, first: int, last: int) -> tuple[Any, Any]:
        """(starts, ends) of those that live at the same time, int64, by offset. The ends are
        those of all before, too: a tensor may reach over the next one's start."""
        order = np.fromiter((i for _, i in self._order), np.int64, len(self._order))
        rows = self._columns[:, order]
        rows = rows[:, (rows[2] <= last) & (rows[3] >= first)]
        return rows[0], np.maximum.accumulate(rows[1])

    def add(self, interval: Interval, offset: int) -> None:
        count = len(self._order)
        row = offset, offset + interval.size, interval.first, interval.last
        self._columns[:, count] = row
        insort(self._order, (offset, count))
        self.end = max(self.end, offset + interval.size)


def _best_fit(starts: Any, ends: Any, size: int, alignment: int) -> int:
    """The offset in the gap that leaves least; behind all others where it fits nowhere."""
    before = np.concatenate([np.zeros(1, np.int64), ends])
    aligned = -(-before // alignment) * alignment
    best, fit = int(aligned[-1]), FOREVER
    for gap in np.flatnonzero(aligned[:-1] + size <= starts):
        if int(starts[gap] - aligned[gap]) < fit:
            best, fit = int(aligned[gap]), int(starts[gap] - before[gap])
        if fit == 0:
            break
    return best


def plan(model: TfliteModel, subgraph: int = 0, alignment: int = TFLITE_ALIGNMENT) -> Plan:
    """The plan of a subgraph. A subgraph that an operator runs (a loop's body, a branch, an
    initializer) has an arena of its own: of several the deepest counts, beside what lives at that
    operator; a loop once."""
    return _plans(model, [subgraph], alignment)[subgraph]


def _plans(model: TfliteModel, wanted: Iterable[int], alignment: int) -> dict[int, Plan]:
    """The plans of several subgraphs; what they run alike is planned once."""
    plans: dict[int, Plan] = {}

    def visit(index: int) -> Plan:  # read_model limits the nesting
        if index in plans:
            return plans[index]
        graph = model.subgraphs[index]
        found = intervals(graph)
        most, at = peak(found)
        where, inner = (index, at if graph.ops else -1), None
        calls = {op.index: [visit(i) for i in op.subgraphs] for op in graph.ops if op.subgraphs}
        if calls:
            lives = _live_sums(found, calls)
            for position, called in calls.items():
                deepest = max(called, key=lambda p: p.peak)
                if (total := lives[position] + deepest.peak) > most:
                    most, at, where, inner = total, position, deepest.at, deepest
        live = [(index, i.tensor, i.size) for i in found if i.first <= at <= i.last]
        own = arena(found, alignment)
        below = [p for called in calls.values() for p in called]
        unknown = own is None or any(p.arena is None for p in below)
        plans[index] = Plan(
            peak=most,
            arena=None if unknown else (own or 0) + max((p.arena or 0 for p in below), default=0),
            persistent=persistent_bytes(graph, alignment)
            + max((p.persistent for p in below), default=0),
            at=where,
            live=tuple(live) + (inner.live if inner else ()),
        )
        return plans[index]

    return {index: visit(index) for index in wanted}


def _live_sums(found: Iterable[Interval], positions: Iterable[int]) -> dict[int, int]:
    """Bytes that live at each of these operators."""
    changes: Counter[int] = Counter()
    for interval in found:
        changes[interval.first] += interval.size
        changes[interval.last + 1] -= interval.size
    steps = sorted(changes)
    sums, now = [0], 0
    for step in steps:
        now += changes[step]
        sums.append(now)
    return {p: sums[bisect_left(steps, p + 1)] for p in positions}


def describe(model: TfliteModel, alignment: int = TFLITE_ALIGNMENT) -> dict[str, Any]:
    """Memory as JSON-able numbers, all in bytes; of several entries (see `entries`) the one with
    the largest peak: `signature` is its key. `arena_bytes` and `persistent_bytes` are the largest
    of all entries, even of another one; `arena_signature` is the key of that with this arena.

    `peak_bytes`: the largest sum of tensors that live at one operator; `arena_bytes`: what the
    offset plan needs (None: too much to plan); `persistent_bytes`: variable tensors and unpacked
    constants, besides; `weights_bytes`, `inputs_bytes`, `outputs_bytes`: of the file;
    `activations_bytes`: all that operators write, as if nothing were used again. `peak`: where it
    is, with the live tensors, the largest first, at most 20 of `tensors`. `dynamic`: sizes are
    known only when the model runs; such a dimension counts as 1.
    """
    keys = {subgraph: key for key, subgraph in entries(model)}
    plans = _plans(model, keys, alignment)
    subgraph = max(plans, key=lambda index: plans[index].peak)
    found, graph = plans[subgraph], model.subgraphs[subgraph]
    arenas = {index: each.arena for index, each in plans.items() if each.arena is not None}
    known = len(arenas) == len(plans)
    largest = max(arenas, key=lambda index: arenas[index]) if known else subgraph
    inputs, outputs = io_sizes(graph)
    return {
        "subgraph": subgraph,
        "signature": keys[subgraph],
        "peak_bytes": found.peak,
        "arena_bytes": arenas[largest] if known else None,
        "arena_signature": keys[largest],
        "persistent_bytes": max(each.persistent for each in plans.values()),
        "alignment": alignment,
        "weights_bytes": data_sizes(model).weights_bytes,
        "inputs_bytes": inputs,
        "outputs_bytes": outputs,
        "activations_bytes": sum(_written(model)),
        "dynamic": any(is_dynamic(t) for t in graph.tensors)
        or any(is_dynamic(t) for g in model.subgraphs for t in g.tensors),
        "peak": _describe_peak(model, found),
    }


def _written(model: TfliteModel) -> Iterator[int]:
    for graph in model.subgraphs:
        for index in {i for op in graph.ops for i in op.outputs if i >= 0}:
            yield tensor_bytes(graph.tensors[index])


def _describe_peak(model: TfliteModel, found: Plan) -> dict[str, Any]:
    index, at = found.at
    graph = model.subgraphs[index]
    op = graph.ops[at] if 0 <= at < len(graph.ops) else None
    written = [i for i in op.outputs if i >= 0] if op else []
    live = sorted(found.live, key=lambda item: -item[2])
    return {
        "subgraph": index,
        "op": op.index if op else -1,
        "name": op.name if op else "",
        "layer": graph.tensors[written[0]].name if written else "",
        "tensors": len(live),
        "live": [
            {"name": model.subgraphs[g].tensors[t].name, "bytes": size}
            for g, t, size in live[:_SHOWN]
        ],
    }
