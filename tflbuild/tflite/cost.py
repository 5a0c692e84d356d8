"""What a model costs: multiply-accumulates, parameters, bytes; from shapes alone.

The formulas count one MAC for each weight applied to each position, as TensorFlow Lite does:
`tensorflow/lite/delegates/gpu/common/flops_util.cc` and
`tensorflow/compiler/mlir/lite/utils/arithmetic_count_util.h` (there 2 operations a MAC).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .read import BITS, Kind, Op, Subgraph, Tensor, TfliteModel, element_count, entries

FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})


def _shape(graph: Subgraph, op: Op, slot: int) -> tuple[int, ...]:
    """Shape of an input, () if it is left out; dynamic dimensions count as 1."""
    tensor = op_input(graph, op, slot)
    return tuple(max(size, 1) if size < 0 else size for size in tensor.shape) if tensor else ()


def _tail(shape: tuple[int, ...], *axes: int) -> int:
    """Product of some axes; one that is not there counts as 1."""
    return math.prod(shape[a] for a in axes if -len(shape) <= a < len(shape))


def _outputs(graph: Subgraph, op: Op) -> int:
    index = op.outputs[0] if op.outputs else -1
    return graph.tensors[index].elements if index >= 0 else 0


def _convolution(*axes: int) -> Callable[[Subgraph, Op], int]:
    """Output elements * the filter's elements that each of them sums over."""
    return lambda graph, op: _outputs(graph, op) * _tail(_shape(graph, op, 1), *axes)


def _transposed(*axes: int) -> Callable[[Subgraph, Op], int]:
    """Input elements * the filter's elements that each of them is spread by."""
    return lambda graph, op: (
        element_count(_shape(graph, op, 2)) * _tail(_shape(graph, op, 1), *axes)
    )


def _matmul(graph: Subgraph, op: Op) -> int:
    """Output elements * the inner dimension: the last of the left side, or last but one."""
    inner = -2 if op.options.get("adjX") else -1
    return _outputs(graph, op) * _tail(_shape(graph, op, 0), inner)


def _rows(*slots: int) -> Callable[[Subgraph, Op], int]:
    """(time *) batch * all elements of these weights: each is used once for each row."""

    def count(graph: Subgraph, op: Op) -> int:
        rows = element_count(_shape(graph, op, 0)[:-1])
        used = (op_input(graph, op, slot) for slot in slots)
        return rows * sum(tensor.elements for tensor in used if tensor)

    return count


@dataclass(frozen=True)
class _Rule:
    macs: Callable[[Subgraph, Op], int]
    weights: tuple[int, ...]  # input slots of weights (biases and states are not)
    activation: int = 0  # input slot of the activation
    shapes: tuple[int, ...] = ()  # input slots that hold a shape


_LSTM = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16)  # gates, recurrent, peephole, projection
_BI_LSTM = (*_LSTM, *range(18, 29), 33)
_BI_LSTM_AUX = tuple(range(40, 48))

# Input slots and layouts: tensorflow/lite/kernels/<op>.cc and the op docs in tfl_ops.td.
_RULES = {
    "CONV_2D": _Rule(_convolution(1, 2, 3), (1,)),  # filter OHWI, I already per group
    "DEPTHWISE_CONV_2D": _Rule(_convolution(1, 2), (1,)),  # filter 1HWO
    "CONV_3D": _Rule(_convolution(0, 1, 2, 3), (1,)),  # filter DHWIO
    "FULLY_CONNECTED": _Rule(_convolution(-1), (1,)),  # weights (units, inputs)
    "BATCH_MATMUL": _Rule(_matmul, (0, 1)),
    "TRANSPOSE_CONV": _Rule(_transposed(0, 1, 2), (1,), 2, (0,)),  # filter OHWI
    "CONV_3D_TRANSPOSE": _Rule(_transposed(0, 1, 2, 3), (1,), 2, (0,)),  # filter DHWOI
    "LSTM": _Rule(_rows(*_LSTM), _LSTM),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _Rule(_rows(*_LSTM), _LSTM),
    "BIDIRECTIONAL_SEQUENCE_LSTM": _Rule(
        _rows(*_BI_LSTM, *_BI_LSTM_AUX), (*_BI_LSTM, *_BI_LSTM_AUX)
    ),
    "RNN": _Rule(_rows(1, 2), (1, 2)),
    "UNIDIRECTIONAL_SEQUENCE_RNN": _Rule(_rows(1, 2), (1, 2)),
    "BIDIRECTIONAL_SEQUENCE_RNN": _Rule(_rows(1, 2, 5, 6, 10, 11), (1, 2, 5, 6, 10, 11)),
    "SVDF": _Rule(_rows(1, 2), (1, 2)),
}
_BASIC_LSTM = _Rule(_rows(2), (2,))  # the 5-input kernel keeps all gates in one matrix
_LOOPS = frozenset({"WHILE", "STABLEHLO_WHILE"})
_BRANCHES = frozenset({"IF", "STABLEHLO_CASE"})
# Heavy work for which there is no formula here; a count without them would be a lie.
_UNCOUNTED = frozenset({"STABLEHLO_CONVOLUTION", "STABLEHLO_DOT_GENERAL", "RFFT2D"})


@dataclass(frozen=True)
class OpMacs:
    """MACs of one run of one operator."""

    subgraph: int
    op: int
    name: str
    macs: int


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one inference, and what the number leaves out.

    `total`: of the entry (see `entries`) that has most, whose key is `signature`; `subgraph` is
    its subgraph. The rest is of all entries:
    `ops`: operators with MACs, each once, also those of branches not counted in `total`.
    `dynamic`: dynamic dimensions were counted as 1. `loops`: loops whose condition and body were
    counted once. `uncounted`: operators without a formula, by name.
    """

    total: int
    ops: tuple[OpMacs, ...]
    dynamic: bool
    loops: int
    uncounted: dict[str, int]
    signature: str = ""
    subgraph: int = 0


@dataclass(frozen=True)
class DataSizes:
    """Bytes of constant data (each buffer once), and of one set of inputs and outputs: of the
    entry for which they are most together, whose key is `signature`.

    Dynamic dimensions count as 1; strings, resources and variants as 0 bytes.
    """

    weights_bytes: int
    input_bytes: int
    output_bytes: int
    signature: str = ""


@dataclass(frozen=True)
class DynamicShapes:
    """`io`: (signature key, name, shape with -1) of dynamic inputs and outputs of all entries.

    `inner`: whether a tensor inside is dynamic in a dimension other than the first.
    """

    io: tuple[tuple[str, str, tuple[int, ...]], ...]
    inner: bool


def op_input(graph: Subgraph, op: Op, slot: int) -> Tensor | None:
    """Input `slot` of an operator, None when it is absent or left out."""
    index = op.inputs[slot] if slot < len(op.inputs) else -1
    return graph.tensors[index] if index >= 0 else None


def compute_rule(op: Op) -> _Rule | None:
    """What is known of a compute operator (one with MACs), None for any other."""
    if op.kind != "builtin":
        return None
    return _BASIC_LSTM if op.name == "LSTM" and len(op.inputs) == 5 else _RULES.get(op.name)


def macs(model: TfliteModel) -> Macs:
    """Multiply-accumulates of one run of the dearest entry and all that it runs.

    Convolutions: output elements * filter elements per output (transposed: input elements *
    filter elements per input); fully connected and batch matmul: output elements * inner
    dimension; recurrent operators and SVDF: time * batch * elements of their weights. A loop
    counts once, a branch as its dearest side, CALL_ONCE not at all.
    """
    totals: dict[int, int] = {}
    ops: list[OpMacs] = []
    loops, dynamic = 0, False
    uncounted: Counter[str] = Counter()

    def visit(index: int) -> int:
        nonlocal loops, dynamic
        if index in totals:
            return totals[index]
        graph, total = model.subgraphs[index], 0
        for op in graph.ops:
            loops += op.name in _LOOPS
            inside = [] if op.name == "CALL_ONCE" else [visit(i) for i in op.subgraphs]
            total += max(inside, default=0) if op.name in _BRANCHES else sum(inside)
            if rule := compute_rule(op):
                ops.append(OpMacs(index, op.index, op.name, count := rule.macs(graph, op)))
                total += count
                used = [graph.tensors[i] for i in op.inputs + op.outputs if i >= 0]
                dynamic |= any(-1 in tensor.shape_signature for tensor in used)
            elif op.kind != "builtin" or op.name in _UNCOUNTED:
                uncounted[op.name] += 1
        totals[index] = total
        return total

    runs = [(visit(subgraph), key, subgraph) for key, subgraph in entries(model)]
    total, key, subgraph = max(runs, key=lambda run: run[0])
    left_out = dict(sorted(uncounted.items()))
    return Macs(total, tuple(ops), dynamic, loops, left_out, key, subgraph)


def _constants(model: TfliteModel) -> Iterator[tuple[Subgraph, Tensor]]:
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.is_constant:
                yield graph, tensor


def _data_of(tensor: Tensor) -> tuple[int, int]:
    return tensor.buffer, tensor.external_buffer


def params(model: TfliteModel) -> int:
    """Number of weights and biases: elements of constants, each buffer once.

    A constant counts when it is floating point, quantized, or read by a compute operator;
    shapes, axes and indexes do not.
    """
    read: set[tuple[int, int]] = set()
    for graph in model.subgraphs:
        for op in graph.ops:
            if rule := compute_rule(op):
                read |= {(graph.index, i) for s, i in enumerate(op.inputs) if s not in rule.shapes}
    found: dict[tuple[int, int], int] = {}
    for graph, tensor in _constants(model):
        if tensor.dtype in FLOATS or tensor.quantization or (graph.index, tensor.index) in read:
            found.setdefault(_data_of(tensor), tensor.elements)
    return sum(found.values())


def data_sizes(model: TfliteModel) -> DataSizes:
    """Bytes of the weights of the whole file, and of the inputs and outputs of the entry that has
    most."""
    weights = {_data_of(tensor): tensor.data_size for _, tensor in _constants(model)}
    found = [(io_sizes(model.subgraphs[index]), key) for key, index in entries(model)]
    sizes, key = max(found, key=lambda entry: sum(entry[0]))
    return DataSizes(sum(weights.values()), *sizes, key)


def io_sizes(graph: Subgraph) -> tuple[int, int]:
    """Bytes of one set of inputs, and of outputs, of a subgraph."""

    def size(indexes: tuple[int, ...]) -> int:
        tensors = (graph.tensors[i] for i in indexes)
        return sum(-(-t.elements * BITS.get(t.dtype, 0) // 8) for t in tensors)

    return size(graph.inputs), size(graph.outputs)


def op_counts(model: TfliteModel) -> dict[Kind, dict[str, int]]:
    """How often each operator occurs, over all subgraphs: {kind: {name: count}}, sorted."""
    counts = Counter((op.kind, op.name) for graph in model.subgraphs for op in graph.ops)
    result: dict[Kind, dict[str, int]] = {"builtin": {}, "select": {}, "custom": {}}
    for (kind, name), count in sorted(counts.items()):
        result[kind][name] = count
    return result


def dynamic_shapes(model: TfliteModel) -> DynamicShapes:
    """Which shapes are known only when the model runs."""
    outside = {
        (subgraph, index): key
        for key, subgraph in entries(model)
        for index in (*model.subgraphs[subgraph].inputs, *model.subgraphs[subgraph].outputs)
    }
    io = [(key, model.subgraphs[at].tensors[index]) for (at, index), key in outside.items()]
    inner = any(
        -1 in tensor.shape_signature[1:]
        for graph in model.subgraphs
        for tensor in graph.tensors
        if (graph.index, tensor.index) not in outside
    )
    free = ((key, t.name, t.shape_signature) for key, t in io if -1 in t.shape_signature)
    return DynamicShapes(tuple(free), inner)
