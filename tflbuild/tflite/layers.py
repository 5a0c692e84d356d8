"""What each operator of a file costs (MACs, parameters, memory traffic), and the layers they make.

Traffic is what an inference reads and writes if nothing stays in a cache: for each operator the
bytes of its inputs (weights and activations) and of its outputs. An operator that picks a part of
an input (GATHER, SLICE) reads as much of it as it gives. What control flow costs is what it runs.
Dynamic dimensions count as 1, types without a width (string, resource) as 0 bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import cost
from .read import BITS, Op, Subgraph, Tensor, TfliteModel, entries

LIMIT = 200  # layers and places that a report lists
# Input that only a part of is read, as large as the output.
_PART = {
    "GATHER": 0, "GATHER_ND": 0, "SLICE": 0, "STRIDED_SLICE": 0, "EMBEDDING_LOOKUP": 1,
    "DYNAMIC_UPDATE_SLICE": 0,
}  # fmt: skip
_CONTROL_FLOW_NAMES = """
    IF WHILE CALL CALL_ONCE STABLEHLO_CASE STABLEHLO_WHILE STABLEHLO_COMPOSITE
    """
CONTROL_FLOW = frozenset(_CONTROL_FLOW_NAMES.split())
_BRANCHES = frozenset({"IF", "STABLEHLO_CASE"})
_STATE_NAMES = """
    VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT
    HASHTABLE_SIZE RANDOM_UNIFORM RANDOM_STANDARD_NORMAL MULTINOMIAL
    """
_STATE = frozenset(_STATE_NAMES.split())


@dataclass(frozen=True)
class OpCost:
    """One operator: MACs, bytes read and written, and parameters whose first reader it is."""

    subgraph: int
    op: int
    name: str
    macs: int
    traffic: int
    params: int


@dataclass(frozen=True)
class Costs:
    """`traffic`: bytes of one inference of an entry and what it runs; a loop counts once, a branch
    as its dearest side, CALL_ONCE not at all. It is that of the entry with most, whose key is
    `signature`; `by_subgraph` has it for the subgraph of each. `depth`: operators on the longest
    way from an input to an output of any entry, those of subgraphs included."""

    ops: tuple[OpCost, ...]
    traffic: int
    depth: int
    signature: str
    by_subgraph: Mapping[int, int]


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor; 0 where its type has no width."""
    if tensor.is_constant:
        return tensor.data_size
    return -(-tensor.elements * BITS.get(tensor.dtype, 0) // 8)


def costs(model: TfliteModel) -> Costs:
    """What every operator costs, and one inference of the dearest entry; linear in operators."""
    macs = {(o.subgraph, o.op): o.macs for o in _all_macs(model)}
    counted = _parameters(model)
    traffic: dict[tuple[int, int], int] = {}
    found = []
    for graph in model.subgraphs:
        for op in graph.ops:
            place = (graph.index, op.index)
            traffic[place] = 0 if op.subgraphs else op_traffic(graph, op)
            found.append(OpCost(*place, op.name, macs.get(place, 0), traffic[place],
                                counted.get(place, 0)))  # fmt: skip
    totals: dict[int, tuple[int, int]] = {}

    def visit(index: int) -> tuple[int, int]:  # read_model bounds the nesting
        if index not in totals:
            graph, total = model.subgraphs[index], 0
            depths = dict.fromkeys(range(len(graph.tensors)), 0)
            for op in graph.ops:
                inside = [] if op.name == "CALL_ONCE" else [visit(i) for i in op.subgraphs]
                own = [t for t, _ in inside]
                total += traffic[index, op.index]
                total += max(own, default=0) if op.name in _BRANCHES else sum(own)
                below = max((d for _, d in inside), default=0)
                depth = 1 + below + max((depths[i] for i in op.inputs if i >= 0), default=0)
                for output in op.outputs:
                    depths[output] = max(depths.get(output, 0), depth)
            totals[index] = total, max(depths.values(), default=0)
        return totals[index]

    runs = [(key, subgraph, *visit(subgraph)) for key, subgraph in entries(model)]
    worst = max(runs, key=lambda run: run[2])
    depth = max(run[3] for run in runs)
    by_subgraph = {subgraph: total for _, subgraph, total, _ in runs}
    return Costs(tuple(found), worst[2], depth, worst[0], by_subgraph)


def op_traffic(graph: Subgraph, op: Op) -> int:
    """Bytes that one run of an operator reads and writes."""
    written = sum(tensor_bytes(graph.tensors[i]) for i in dict.fromkeys(op.outputs) if i >= 0)
    read = 0
    part = _PART.get(op.name) if op.kind == "builtin" else None
    seen = set()
    for slot, index in enumerate(op.inputs):
        if index >= 0 and index not in seen:
            seen.add(index)
            size = tensor_bytes(graph.tensors[index])
            read += min(size, written) if slot == part else size
    return read + written


def table(
    model: TfliteModel, found: Costs, name_of: Callable[[int, int], str]
) -> tuple[list[dict[str, Any]], dict[str, int] | None]:
    """The layers, dearest first: operators that share a name (of `name_of(subgraph, op)`), or
    alone where they have none; and what the list leaves out, None for nothing."""
    layers: dict[Any, dict[str, Any]] = {}
    kinds: dict[Any, Counter[str]] = {}
    for op in found.ops:
        name = name_of(op.subgraph, op.op)
        key = (op.subgraph, name) if name else (op.subgraph, "", op.name)
        layer = layers.setdefault(
            key, {"name": name, "ops": {}, "macs": 0, "traffic_bytes": 0, "params": 0}
        )
        layer["macs"] += op.macs
        layer["traffic_bytes"] += op.traffic
        layer["params"] += op.params
        kinds.setdefault(key, Counter())[op.name] += 1
    for key, layer in layers.items():
        layer["ops"] = dict(sorted(kinds[key].items()))
    ordered = sorted(
        layers.items(), key=lambda e: (-e[1]["macs"], -e[1]["traffic_bytes"], e[0][0], e[1]["name"])
    )
    rows = [layer for _, layer in ordered]
    if len(rows) <= LIMIT:
        return rows, None
    rest = rows[LIMIT:]
    more = {name: sum(r[name] for r in rest) for name in ("macs", "traffic_bytes", "params")}
    return rows[:LIMIT], {"layers": len(rest), **more}


def dtypes(model: TfliteModel) -> dict[str, int]:
    """How many tensors that operators read or write have each type."""
    counts: Counter[str] = Counter()
    for graph in model.subgraphs:
        used = {i for op in graph.ops for i in (*op.inputs, *op.outputs) if i >= 0}
        counts.update(graph.tensors[i].dtype for i in used | {*graph.inputs, *graph.outputs})
    return dict(sorted(counts.items()))


def control_flow(model: TfliteModel) -> dict[str, int]:
    """Operators that run other subgraphs, by name."""
    names = (op.name for g in model.subgraphs for op in g.ops if op.name in CONTROL_FLOW)
    return dict(sorted(Counter(names).items()))


def state(model: TfliteModel) -> dict[str, Any]:
    """What may make two equal calls give different outputs, and tables.

    `ops`: operators with state (variables, tables, random numbers), by name. `variables`:
    tensors that keep their value from call to call (of recurrent operators), `bytes` of them.
    """
    counts: Counter[str] = Counter()
    size = number = 0
    for graph in model.subgraphs:
        counts.update(op.name for op in graph.ops if op.kind == "builtin" and op.name in _STATE)
        kept = [tensor for tensor in graph.tensors if tensor.is_variable]
        number += len(kept)
        size += sum(tensor_bytes(tensor) for tensor in kept)
    return {"ops": dict(sorted(counts.items())), "variables": number, "variable_bytes": size}


def dynamic_tensors(
    model: TfliteModel, name_of: Callable[[int, int], str]
) -> tuple[list[dict[str, Any]], int]:
    """Where dimensions become known only when the model runs: outputs of operators with one,
    first those of operators that read none; at most 20, and how many there are."""
    rows: list[dict[str, Any]] = []
    later: list[dict[str, Any]] = []
    for graph in model.subgraphs:
        for op in graph.ops:
            shapes = [graph.tensors[i].shape_signature for i in op.outputs if i >= 0]
            shape = next((s for s in shapes if -1 in s), None)
            if shape is None:
                continue
            row = {
                "op": op.name,
                "name": name_of(graph.index, op.index),
                "shape": [None if size < 0 else size for size in shape],
            }
            read = (graph.tensors[i].shape_signature for i in op.inputs if i >= 0)
            (later if any(-1 in s for s in read) else rows).append(row)
    return (rows + later)[:20], len(rows) + len(later)


def _all_macs(model: TfliteModel) -> list[cost.OpMacs]:
    """The MACs of every operator, also of subgraphs that no entry runs."""
    return [
        cost.OpMacs(graph.index, op.index, op.name, rule.macs(graph, op))
        for graph in model.subgraphs
        for op in graph.ops
        if (rule := cost.compute_rule(op))
    ]


def _parameters(model: TfliteModel) -> Mapping[tuple[int, int], int]:
    """Elements of weights and biases, by the first operator that reads them; as `cost.params`."""
    counted: dict[tuple[int, int], int] = {}
    seen: set[tuple[int, int]] = set()
    for graph in model.subgraphs:
        for op in graph.ops:
            rule = cost.compute_rule(op)
            for slot, index in enumerate(op.inputs):
                tensor = graph.tensors[index] if index >= 0 else None
                if tensor is None or not tensor.is_constant:
                    continue
                weight = rule is not None and slot not in rule.shapes
                if not (weight or tensor.dtype in cost.FLOATS or tensor.quantization):
                    continue
                if (data := (tensor.buffer, tensor.external_buffer)) not in seen:
                    seen.add(data)
                    place = (graph.index, op.index)
                    counted[place] = counted.get(place, 0) + tensor.elements
    return counted
