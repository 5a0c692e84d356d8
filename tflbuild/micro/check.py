"""Whether the kernels of TensorFlow Lite for Microcontrollers take a file, and what to do if not.

It reads the file alone: `run.py` runs it. What it finds is certain; a file without a finding may
still be refused by a kernel for its shapes or options.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from ..tflite.read import Op, Subgraph, Tensor, TfliteModel
from .ops import ABSENT, LETTERS, OTHER, Kernel, kernel

_MOST = 200  # problems listed
_FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
_INTEGERS = frozenset({"int4", "int8", "int16", "uint8", "int2"})
_NAMES = {letter: name for name, letter in LETTERS.items()}
_WEIGHTED = {  # slots of activation and weight
    "BATCH_MATMUL": (0, 1),
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "SVDF": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (0, 2),
}
# Instead of operators that have no kernel.
_INSTEAD = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": "two one-way LSTM layers and a concatenation, or unroll=True",
    "CONV_3D": "Conv2D layers over the slices",
    "GELU": "ReLU or ReLU6",
    "LSTM": "unroll=True, or an LSTM layer that converts to UNIDIRECTIONAL_SEQUENCE_LSTM",
    "POW": "a multiplication, or SQUARE and SQRT",
    "RANGE": "a constant",
    "RELU_N1_TO_1": "ReLU6, or MAXIMUM and MINIMUM",
    "RELU_0_TO_1": "ReLU6, or MAXIMUM and MINIMUM",
    "REDUCE_ANY": "REDUCE_MAX",
    "REDUCE_PROD": "multiplications",
    "RFFT2D": "the custom operator SignalRfft of tflite-micro, or preprocessing outside the model",
    "SELECT": "tf.where with equal shapes (SELECT_V2)",
    "TILE": "BROADCAST_TO, or concatenation",
    "TOPK_V2": "ARG_MAX, or do it outside the model",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "unroll=True",
}


@dataclass(frozen=True)
class Problem:
    """Why an operator does not run. `layer`: the name of its first output; where it is
    not about one operator, `op` is "" and `layer` the name of a tensor or signature."""

    op: str
    layer: str
    why: str
    remedy: str


def problems(model: TfliteModel, *, before_conversion: bool = False) -> list[dict[str, str]]:
    """What stops a file on a microcontroller: [{op, layer, why, remedy}], at most 200, in the order
    of the file; each operator with its first reason.

    `before_conversion`: of a float model, only what no quantization changes.
    """
    found = islice(_problems(model, before_conversion), _MOST)
    return [{"op": p.op, "layer": p.layer, "why": p.why, "remedy": p.remedy} for p in found]


def _problems(model: TfliteModel, before_conversion: bool) -> Iterator[Problem]:
    yield from _buffer_problems(model)
    for signature in model.signatures:
        if signature.subgraph:
            why = "tflite-micro runs the first subgraph of a file; this signature has another"
            yield Problem("", signature.key, why, "ship a file for each signature")
    for graph in model.subgraphs:
        yield from _tensor_problems(graph)
        for op in graph.ops:
            if found := _op_problem(graph, op, before_conversion):
                why, remedy = found
                yield Problem(op.name, _layer(graph, op), why, remedy)


def _layer(graph: Subgraph, op: Op) -> str:
    indexes = [i for i in (*op.outputs, *op.inputs) if i >= 0]
    return graph.tensors[indexes[0]].name if indexes else ""


def _buffer_problems(model: TfliteModel) -> Iterator[Problem]:
    """`GetFlatbufferTensorBuffer` of micro_allocator.cc knows `Buffer.data` alone: it would take
    such weights for activations, and compute with whatever lies there."""
    behind = {i for i, buffer in enumerate(model.buffers) if buffer.behind}
    found = [t for g in model.subgraphs for t in g.tensors if behind and t.buffer in behind]
    if found:
        why = f"the data of {len(found)} constants lie behind the flatbuffer (Buffer.offset)"
        why += ", where tflite-micro does not look"
        yield Problem("", found[0].name, why, "write them into the flatbuffer (Buffer.data)")


def _tensor_problems(graph: Subgraph) -> Iterator[Problem]:
    used = {i for op in graph.ops for i in (*op.inputs, *op.outputs) if i >= 0}
    used.update(graph.inputs, graph.outputs)
    dynamic = [i for i in sorted(used) if _is_dynamic(graph.tensors[i])]
    for index in [i for i in dynamic if i in graph.inputs] or dynamic[:1]:
        tensor = graph.tensors[index]
        why = f"its shape {list(tensor.shape_signature)} is known only when the model runs"
        why += ", and tflite-micro plans all memory before; it would take 1 for each -1"
        yield Problem(
            "", tensor.name, why, "pin the shapes of the inputs in the manifest (inputs:)"
        )
    for index in sorted(used):
        tensor = graph.tensors[index]
        if tensor.dtype in ("string", "variant"):
            why = f"{tensor.dtype} tensors are not supported"
            yield Problem("", tensor.name, why, "do text processing outside the model")
        elif tensor.sparse:
            why = "its weights are stored sparse, which no kernel reads"
            yield Problem("", tensor.name, why, "convert without sparsity")
        elif tensor.external_buffer:
            why = "its data lie outside the file"
            yield Problem("", tensor.name, why, "keep the weights in the file")


def _is_dynamic(tensor: Tensor) -> bool:
    """A batch that is not known runs: it is 1, as the file's shape says."""
    return -1 in tensor.shape_signature[1:] or -1 in tensor.shape


def _op_problem(graph: Subgraph, op: Op, before_conversion: bool) -> tuple[str, str] | None:
    found = kernel(op.name, op.kind)
    if found is None:
        return _no_kernel(op)
    tensors = [graph.tensors[i] if i >= 0 else None for i in op.inputs]
    outputs = [graph.tensors[i] if i >= 0 else None for i in op.outputs]
    letters = f"{_letters(tensors)}>{_letters(outputs)}"
    if not found.takes(letters):
        if before_conversion and any(t and t.dtype == "float32" for t in (*tensors, *outputs)):
            return None  # another type may have a kernel
        return _wrong_types(op, found, tensors, outputs)
    for slot in found.constant:
        tensor = tensors[slot] if slot < len(tensors) else None
        if tensor is not None and not tensor.is_constant:
            why = f"its input {slot} ('{tensor.name}') must be a constant"
            return why, "compute it from shapes that are known, or write it as a constant"
    if op.name == "FULLY_CONNECTED" and (weight := tensors[1]) and weight.dtype == "int4":
        if weight.quantization and len(weight.quantization.scale) > 1:
            why = "int4 weights with a scale for each channel have no kernel here"
            return why, "use int8 weights, or one scale for all channels"
    first = tensors[found.rank_of] if found.rank_of < len(tensors) else None
    if found.rank and first is not None and len(first.shape) > found.rank:
        why = f"its input has {len(first.shape)} dimensions, the kernel takes {found.rank}"
        return why, "reshape it to fewer dimensions"
    return None


def _letters(tensors: Iterable[Tensor | None]) -> str:
    return "".join(LETTERS.get(t.dtype, OTHER) if t else ABSENT for t in tensors)


def _no_kernel(op: Op) -> tuple[str, str]:
    if op.kind == "custom":
        why = "a custom operator that tflite-micro does not have"
        return why, "declare it, and register your kernel with AddCustom"
    if op.kind == "select":
        return "TensorFlow operators do not run there", "use builtin operators"
    instead = _INSTEAD.get(op.name)
    remedy = f"use {instead}" if instead else "replace the layer, or run this part outside"
    return "tflite-micro has no kernel for it", remedy


def _wrong_types(
    op: Op, found: Kernel, inputs: list[Tensor | None], outputs: list[Tensor | None]
) -> tuple[str, str]:
    used = [t for t in (*inputs, *outputs) if t]
    has = f"{_types(inputs)} → {_types(outputs)}"
    half = next((t for t in used if t.dtype in ("float16", "bfloat16")), None)
    if half:
        why = f"{half.dtype} ('{half.name}') has no kernel ({has})"
        return why, "use quantize: int8, or none"
    if op.name in _WEIGHTED and (pair := _pair(op, inputs)):
        activation, weight = pair
        if activation.dtype in _FLOATS and weight.dtype in _INTEGERS:
            why = f"{activation.dtype} activations with {weight.dtype} weights have no kernel"
            return why, "use quantize: int8 instead of dynamic_range, or none"
    why = f"its kernel does not take {has}"
    if any(t.dtype in ("int64", "uint64") for t in used):
        return why, "use int32 instead of int64"
    if any(t.dtype == "int16" for t in used):
        return why, "use quantize: int8 instead of int16x8"
    if any(t.dtype == "uint8" for t in used):
        return why, "use int8 instead of uint8"
    takes = _takes(found)
    return why, f"give it {takes}" if takes else "give it other types, or replace the layer"


def _pair(op: Op, inputs: list[Tensor | None]) -> tuple[Tensor, Tensor] | None:
    activation, weight = _WEIGHTED[op.name]
    if max(activation, weight) >= len(inputs):
        return None
    one, other = inputs[activation], inputs[weight]
    return (one, other) if one and other else None


def _types(tensors: list[Tensor | None]) -> str:
    names = [t.dtype if t else "none" for t in tensors[:6]]
    return ", ".join(names + ["…"] * (len(tensors) > 6)) or "nothing"


def _takes(found: Kernel) -> str:
    """The types of a rule that names one set of them, for people."""
    letters = found.types.split("]")[0].lstrip("([") if found.types[:1] in ("(", "[") else ""
    if not letters and found.types[:1] in _NAMES:
        letters = found.types[0]
    return " or ".join(_NAMES[c] for c in letters if c in _NAMES)
