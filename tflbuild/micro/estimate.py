"""The arena that tflite-micro would report, without running it: stated, not measured.

Head (tensors and scratch buffers): the plan of
`tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc` with the lifetimes of
`micro_allocation_info.cc` and the scratch buffers of the reference kernels,
`tensorflow/lite/micro/kernels/*.cc` (tensorflow/tflite-micro, 2026-08). Tail (structures that live
as long as the interpreter): sizes of a 64-bit host, measured with the package `tflite-micro`
0.dev20261023; on a 32-bit device those that hold pointers are about half. docs/MICRO.md has the
error of both on real files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tflite.memory import MOST_TENSORS, Interval, Placed
from ..tflite.read import BITS, Op, Subgraph, Tensor, TfliteModel

ALIGNMENT = 16  # MicroArenaBufferAlignment(), tensorflow/lite/micro/micro_arena_constants.h
_MOST_VISITS = 200_000  # operators, those of a subgraph at each call
_MOST_BYTES = 1 << 50

# Bytes of a 64-bit build.
_BASE = 464  # allocator, planner and interpreter
_SUBGRAPH = 16  # SubgraphAllocations
_EVAL_TENSOR, _NODE, _TENSOR, _POINTER = 24, 64, 64, 8
_QUANTIZATION = 32  # TfLiteAffineQuantization and a zero point, of an input or output
_ALLOCATION_INFO, _PLANNED, _REQUESTS = 32, 40, 200  # only while it plans

# What each kernel keeps, with its options: measured on files of one operator.
_KEPT = {
    "ABS": 48, "ADD": 80, "ADD_N": 16, "ARG_MAX": 8, "ARG_MIN": 8, "AVERAGE_POOL_2D": 80,
    "BATCH_MATMUL": 112, "BROADCAST_TO": 8, "CALL_ONCE": 24, "CAST": 16, "CONCATENATION": 96,
    "CONV_2D": 128, "CUMSUM": 8, "DEPTHWISE_CONV_2D": 128, "DEPTH_TO_SPACE": 32, "DEQUANTIZE": 48,
    "DIV": 32, "DYNAMIC_UPDATE_SLICE": 8, "ELU": 272, "EMBEDDING_LOOKUP": 40, "EQUAL": 32,
    "EXPAND_DIMS": 8, "FILL": 8, "FULLY_CONNECTED": 112, "GATHER": 40, "GATHER_ND": 24,
    "GREATER": 32, "GREATER_EQUAL": 32, "HARD_SWISH": 32, "IF": 24, "L2_NORMALIZATION": 16,
    "L2_POOL_2D": 80, "LEAKY_RELU": 48, "LESS": 32, "LESS_EQUAL": 32, "LOGISTIC": 32,
    "MAX_POOL_2D": 80, "MEAN": 72, "MIRROR_PAD": 56, "MUL": 48, "NOT_EQUAL": 32, "PACK": 16,
    "PAD": 72, "PADV2": 64, "PRELU": 40, "QUANTIZE": 48, "REDUCE_ALL": 72, "REDUCE_MAX": 72,
    "REDUCE_MIN": 72, "RELU": 48, "RELU6": 16, "RESHAPE": 40, "RESIZE_BILINEAR": 8,
    "RESIZE_NEAREST_NEIGHBOR": 8, "REVERSE_V2": 8, "RSQRT": 48, "SELECT_V2": 16, "SHAPE": 16,
    "SOFTMAX": 96, "SPACE_TO_BATCH_ND": 16, "SPACE_TO_DEPTH": 32, "SPLIT": 8,
    "SQUARED_DIFFERENCE": 112, "SQUEEZE": 48, "STRIDED_SLICE": 120, "SUB": 64, "SVDF": 96,
    "TANH": 32, "TRANSPOSE": 8, "TRANSPOSE_CONV": 144, "UNIDIRECTIONAL_SEQUENCE_LSTM": 704,
    "VAR_HANDLE": 88, "WHILE": 32,
}  # fmt: skip
_KEPT_CUSTOM = 64  # more or less
_KEPT_MORE = {  # of some types of the first input
    ("ADD_N", "int8"): 48,
    ("BATCH_MATMUL", "int8"): 16,
    ("BATCH_MATMUL", "int16"): 16,
    ("CUMSUM", "int8"): 48,
    ("LOG_SOFTMAX", "int8"): 48,
    ("SOFTMAX", "int16"): 2080,
}
# Kernels that keep a multiplier and a shift for each output channel: input slot of the weights,
# the axis of the channels, whether also in float and with one scale.
_PER_CHANNEL = {
    "CONV_2D": (1, 0, True),
    "DEPTHWISE_CONV_2D": (1, 3, True),
    "FULLY_CONNECTED": (1, 0, False),
    "TRANSPOSE_CONV": (1, 0, True),
}
_CALLS = frozenset({"IF", "WHILE", "CALL_ONCE"})


@dataclass(frozen=True)
class Estimate:
    """Bytes; None where the file is too large to plan."""

    head: int | None
    tail: int
    smallest: int | None


def _up(size: int, alignment: int = ALIGNMENT) -> int:
    return -(-size // alignment) * alignment


def micro_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor in the arena: whole bytes an element. A handle of a variable lies in its
    operator's data."""
    bits = BITS.get(tensor.dtype, 0)
    return tensor.elements * max(bits // 8, 1 if bits else 0)


def scratch(graph: Subgraph, op: Op) -> list[int]:
    """Bytes of each buffer that a reference kernel asks for while it runs.

    Not counted: those of custom operators.
    """
    inputs = [graph.tensors[i] if i >= 0 else None for i in op.inputs]
    first = inputs[0] if inputs else None
    output = graph.tensors[op.outputs[0]] if op.outputs and op.outputs[0] >= 0 else None
    second = inputs[1] if len(inputs) > 1 else None
    if first is None or output is None:
        return []
    rank = len(first.shape)
    if op.name == "ADD_N":
        return [_POINTER * len(inputs)]
    if op.name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ALL"):
        sums = op.name in ("MEAN", "SUM") and first.dtype in ("int8", "int16")
        own = [4 * output.elements] if sums else []
        return [*own, 4 * rank, 4 * (second.elements if second else 0)]
    if op.name == "MIRROR_PAD":
        return [4 * rank, 4 * rank]
    if second is None:
        return []
    if op.name == "TRANSPOSE_CONV":
        image = inputs[2].dtype if len(inputs) > 2 and inputs[2] else ""
        return [output.elements * {"int8": 4, "int16": 8}[image]] if image in _INTEGERS else []
    if op.name == "SVDF":
        batch, filters = (first.shape or (1,))[0], (second.shape or (1,))[0]
        units = [4 * output.elements] if first.dtype == "int8" else []
        return [4 * max(batch, 1) * max(filters, 1), *units]
    if op.name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        cell = inputs[19] if len(inputs) > 19 else None
        return [micro_bytes(cell)] * 4 if cell else []
    if op.name in _PER_CHANNEL and second.dtype == "int4":
        return [second.elements]
    return []


_INTEGERS = ("int8", "int16")


def _lifetimes(model: TfliteModel) -> list[Interval] | None:
    """Everything in the head, in the order of the planner; None where there is too much."""
    first: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], int] = {}
    buffers: dict[tuple[int, int], tuple[list[int], int, int]] = {}
    now = visits = 0

    def touch(graph: int, index: int, *, creates: bool) -> None:
        if creates:
            first.setdefault((graph, index), now)
        last[graph, index] = now

    def visit(index: int) -> bool:  # read_model limits the nesting
        nonlocal now, visits
        graph = model.subgraphs[index]
        for i in graph.inputs:
            touch(index, i, creates=True)
        for op in graph.ops:
            now, visits = now + 1, visits + 1
            if visits > _MOST_VISITS:
                return False
            for i in op.outputs:
                if i >= 0:
                    first.setdefault((index, i), now)
            start = now
            for called in op.subgraphs if op.name in _CALLS else ():
                now += 1
                if not visit(called):
                    return False
            for i in (*op.inputs, *op.outputs):
                if i >= 0:
                    touch(index, i, creates=False)
            if sizes := scratch(graph, op):
                begin = buffers.get((index, op.index), (sizes, start, now))[1]
                buffers[index, op.index] = (sizes, begin, now)
        for i in graph.outputs:
            touch(index, i, creates=True)
        return True

    if not visit(0):
        return None
    found: list[Interval] = []
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            elsewhere = tensor.is_constant or tensor.is_variable or tensor.dtype == "resource"
            size = 0 if elsewhere else micro_bytes(tensor)
            if size:  # what nobody uses has its place before the first operator
                at = graph.index, tensor.index
                begin, end = first.get(at, -1), last.get(at, -1)
                found.append(Interval(len(found), _up(size), begin, end))
    for _, (sizes, begin, end) in sorted(buffers.items()):
        found += [Interval(len(found) + n, _up(size), begin, end) for n, size in enumerate(sizes)]
    return [interval for interval in found if interval.size]


def head(found: list[Interval]) -> int | None:
    """End of the greedy plan: the largest first, of equal ones the last, each in the first gap."""
    if len(found) > MOST_TENSORS or sum(i.size for i in found) > _MOST_BYTES:
        return None
    placed = Placed(len(found))
    for interval in sorted(found, key=lambda i: (-i.size, -i.tensor)):
        starts, ends = placed.beside(interval.first, interval.last)
        before = np.concatenate([np.zeros(1, np.int64), ends])
        gaps = np.flatnonzero(starts - before[:-1] >= interval.size)
        placed.add(interval, int(before[gaps[0] if gaps.size else -1]))
    return placed.end


def _kept(graph: Subgraph, op: Op) -> int:
    """Bytes of one operator in the tail, without its node."""
    first = graph.tensors[op.inputs[0]] if op.inputs and op.inputs[0] >= 0 else None
    default = 0 if op.kind == "builtin" else _KEPT_CUSTOM
    size = _KEPT.get(op.name, default)
    size += _KEPT_MORE.get((op.name, first.dtype), 0) if first else 0
    if op.name == "BATCH_MATMUL" and len(op.inputs) > 1 and op.inputs[1] >= 0:
        size += _up(micro_bytes(graph.tensors[op.inputs[1]]))
    return size


def _channels(graph: Subgraph, op: Op) -> int:
    """Bytes of a kernel's arrays of one number for each output channel."""
    rule = _PER_CHANNEL.get(op.name)
    if rule is None or rule[0] >= len(op.inputs) or op.inputs[rule[0]] < 0:
        return 0
    slot, axis, always = rule
    weight = graph.tensors[op.inputs[slot]]
    if not always and not (weight.quantization and len(weight.quantization.scale) > 1):
        return 0
    channels = weight.shape[axis] if axis < len(weight.shape) else 1
    return 2 * _up(4 * max(channels, 1))


def _preparing(graph: Subgraph, op: Op) -> int:
    """Bytes of what a kernel with channels looks at while it prepares: whole tensors."""
    if op.name not in _PER_CHANNEL:
        return 0
    used = [graph.tensors[i].quantization for i in (*op.inputs, *op.outputs) if i >= 0]
    scales = [len(q.scale) if q else 0 for q in used]
    return sum(_TENSOR + (_QUANTIZATION + 4 * (n - 1) if n else 0) for n in scales)


def _outside(model: TfliteModel) -> Iterator[int]:
    """Bytes of each input and output of the main subgraph in the tail."""
    main = model.subgraphs[0]
    for index in main.inputs + main.outputs:
        found = main.tensors[index].quantization
        scales = len(found.scale) if found else 0
        more = _QUANTIZATION + 4 * (scales - 1) if scales else 0
        yield _POINTER + _TENSOR + more


def _variables(model: TfliteModel) -> dict[str, int]:
    """Bytes of each resource variable, of the largest value that it is assigned."""
    found: dict[str, int] = {}
    for graph in model.subgraphs:
        handles = {
            i: str(op.options.get("sharedName") or "")
            for op in graph.ops
            for i in op.outputs
            if op.name == "VAR_HANDLE"
        }
        for op in graph.ops:
            if op.name == "ASSIGN_VARIABLE" and len(op.inputs) > 1 and op.inputs[1] >= 0:
                if (name := handles.get(op.inputs[0])) is not None:
                    size = micro_bytes(graph.tensors[op.inputs[1]])
                    found[name] = max(found.get(name, 0), size)
    return found


def _estimate(model: TfliteModel) -> Estimate:
    intervals = _lifetimes(model)
    above = None if intervals is None else head(intervals)
    tensors = sum(len(graph.tensors) for graph in model.subgraphs)
    buffers = sum(len(scratch(graph, op)) for graph in model.subgraphs for op in graph.ops)
    before = _BASE + (_SUBGRAPH + 16) * len(model.subgraphs) + _EVAL_TENSOR * tensors
    before += _POINTER * buffers
    nodes = [(graph, op) for graph in model.subgraphs for op in graph.ops]
    before += sum(_NODE + _kept(graph, op) for graph, op in nodes)
    preparing = 0
    for graph, op in nodes:
        before += _channels(graph, op)
        preparing = max(preparing, before + _REQUESTS + _preparing(graph, op))
    for graph in model.subgraphs:
        variables = [t for t in graph.tensors if t.is_variable and not t.is_constant]
        before += sum(_up(micro_bytes(t)) for t in variables)
    before += sum(map(_up, _variables(model).values()))
    tail = before + sum(_outside(model))
    planning = _REQUESTS + _ALLOCATION_INFO * (tensors + buffers) + _PLANNED * len(intervals or ())
    smallest = None if above is None else _up(max(above + tail, before + planning, preparing))
    return Estimate(above, tail, smallest)


def estimate(model: TfliteModel) -> dict[str, Any]:
    """The arena of a file as JSON-able bytes, with the keys of `run.measure`, and `estimated`.

    Sizes of the package's 64-bit build. None where the file is too large to plan. Tensors of
    dynamic size count 1 for each such dimension. `uncounted`: custom operators, whose memory only
    they know.
    """
    found = _estimate(model)
    custom = {op.name for graph in model.subgraphs for op in graph.ops if op.kind != "builtin"}
    return {
        "estimated": True,
        "uncounted": sorted(custom),
        "arena_bytes": None if found.head is None else found.head + found.tail,
        "head_bytes": found.head,
        "tail_bytes": found.tail,
        "smallest_arena_bytes": found.smallest,
    }
