"""What is measured of one file by itself, each in a process of its own: memory and the first
inference; the operators."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from tflbuild.benchmarking import hooks, memory
from tflbuild.benchmarking.loaded import Loaded

if TYPE_CHECKING:
    from tflbuild.tflite.read import TfliteModel

Loader = Callable[..., Loaded]  # takes hooks


def fresh(load: Loader, path: Path) -> dict[str, Any]:
    """Loading and the first inference, as an application meets them.

    Returns:
        `load_ns`, with the plan of memory and the delegate's own preparation; `first_ns`; bytes:
        `heap_init` and `heap` (the heap's growth by loading, and with the first inference; None
        where the C library does not say), `peak_rss` (growth of the resident set's peak, None where
        the kernel does not say), `file`; `threads`: how many the process got.
    """
    before_threads, before = memory.threads(), memory.heap_bytes()
    forgot, resident = memory.forget_peak(), memory.resident_bytes()
    started = time.perf_counter_ns()
    loaded = load()
    ready = time.perf_counter_ns()
    after_init = memory.heap_bytes()
    loaded.feed(0)
    fed = time.perf_counter_ns()
    loaded.invoke()
    done = time.perf_counter_ns()
    after, peak = memory.heap_bytes(), memory.peak_bytes()
    return {
        "load_ns": ready - started,
        "first_ns": done - fed,
        "heap_init": _grown(before, after_init),
        "heap": _grown(before, after),
        "peak_rss": _grown(resident, peak) if forgot else None,
        "file": path.stat().st_size,
        "threads": memory.threads() - before_threads,
    }


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)


def operators(
    load: Loader, model: TfliteModel, subgraph: int, runs: int, timing: bool
) -> dict[str, Any]:
    """The plan that runs, and, with `timing`, how long each of its nodes takes.

    Returns:
        `delegates`: by name, how many nodes each runs; `taken`: operators that they took; `ops`:
        all of the subgraph; `arena`: see `Visitor.arena`; `threads`: what kernels are told;
        `nodes`: None without `timing`.
    """
    profiler = hooks.Profiler() if timing else None
    loaded = load([profiler] if profiler is not None else [])
    visitor = hooks.Visitor(subgraph, timing, profiler)
    loaded.visit(visitor)
    graph = model.subgraphs[subgraph]
    own = [node for node in visitor.nodes if not node.delegate]
    delegates: dict[str, int] = {}
    for node in visitor.nodes:
        if node.delegate:
            delegates[node.delegate] = delegates.get(node.delegate, 0) + 1
    found = {
        "delegates": delegates,
        # What no delegate took is still in the plan, under its own number.
        "taken": len(graph.ops) - len(own) if delegates else 0,
        "ops": len(graph.ops),
        "arena": visitor.arena(_sizes(model, subgraph)),
        "threads": visitor.threads,
        "nodes": None,
        "whole_ns": None,
    }
    if profiler is not None:
        profiler.on(False)
        found["whole_ns"] = median(_runs(loaded, visitor.nodes, runs))
        times = [median(node.nanoseconds or [0]) for node in visitor.nodes]
        profiler.on(True)  # in runs of their own, since to report takes time too
        _runs(loaded, visitor.nodes, runs)
        profiler.on(False)
        found["nodes"] = [
            _told(node, nanoseconds, model, subgraph)
            for node, nanoseconds in zip(visitor.nodes, times, strict=True)
        ]
    return found


def _runs(loaded: Loaded, nodes: Sequence[hooks.Node], runs: int) -> list[int]:
    """Nanoseconds of each of so many inferences, after one that is not counted."""
    taken = []
    for turn in range(runs + 1):
        if turn == 1:
            for node in nodes:
                node.nanoseconds.clear()
                node.inside.clear()
        loaded.feed(turn)
        started = time.perf_counter_ns()
        loaded.invoke()
        taken.append(time.perf_counter_ns() - started)
    return taken[1:]


def _told(
    node: hooks.Node, nanoseconds: float, model: TfliteModel, subgraph: int
) -> dict[str, Any]:
    graph = model.subgraphs[subgraph]
    op = node.delegate
    if not op:
        op = graph.ops[node.index].name if node.index < len(graph.ops) else "?"
    output = ""
    if 0 <= node.first_output < len(graph.tensors):
        output = graph.tensors[node.first_output].name
    inside = [
        {"op": name, "ms": fmean(values) / 1e3} for (_, name), values in sorted(node.inside.items())
    ]
    return {
        "index": node.index,
        "op": op,
        "output": output,
        "delegate": bool(node.delegate),
        "ms": nanoseconds / 1e6,
        "inside": inside,
        "inside_ms": sum(entry["ms"] for entry in inside),
    }


def _sizes(model: TfliteModel, subgraph: int) -> Mapping[int, int]:
    """Bytes of constants, which no interpreter changes."""
    from tflbuild.tflite.read import BITS

    graph = model.subgraphs[subgraph]
    return {
        index: tensor.elements * BITS[tensor.dtype] // 8
        for index, tensor in enumerate(graph.tensors)
        if tensor.is_constant and BITS.get(tensor.dtype, 0) >= 8
    }
