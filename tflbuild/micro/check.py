"""Whether the kernels of TensorFlow Lite for Microcontrollers take a file, and what to do if not.

It reads the file alone: `run.py` runs it. What it finds is certain; a file without a finding may
still be refused by a kernel for its shapes or options.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, islice

from ..tflite.layer_names import shown_layer
from ..tflite.read import Op, Subgraph, Tensor, TfliteModel
from .ops import ABSENT, LETTERS, OTHER, Kernel, kernel

_MOST = 200  # problems listed
_FEW = 4  # operands of one type that are looked at in all ways
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
_SELECT = (
    "c * a + (1 - c) * b, with c the condition cast to the type of a and b, both finite; in place"
    " of a Keras Embedding, a layer that calls tf.gather"
)
# Instead of operators that have no kernel. `tests/micro/test_micro_remedies.py` proves each with
# the converter, which makes some of them again of what looks like another way.
_INSTEAD = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": "Bidirectional(LSTM(…, unroll=True)) of Keras",
    "CONV_3D": "2-D convolutions of the slices (tf.unstack), added and stacked",
    "GELU": "relu, or x * tf.sigmoid(1.702 * x), which is near to it",
    "LSTM": "LSTM(…, unroll=True) of Keras",
    "ONE_HOT": "tf.gather of a constant identity matrix",
    "POW": "multiplications for a whole exponent (x * x * x); in float32 also"
    " tf.exp(y * tf.math.log(x)), of x above 0",
    "RANGE": "a constant: fix the shapes that its limits come from",
    "REDUCE_ANY": "tf.logical_not(tf.reduce_all(tf.logical_not(x)))",
    "REDUCE_PROD": "multiplications of the slices",
    "RELU_0_TO_1": "tf.minimum(tf.nn.relu(x), 1.0)",
    "RELU_N1_TO_1": "1 - relu(2 - relu(x + 1)): tf.clip_by_value, tf.minimum and tf.maximum"
    " become this operator again",
    "RFFT2D": "tf.matmul with a constant DFT matrix, or transform outside the model",
    "SELECT": _SELECT,
    "TILE": "tf.concat of copies, or tf.broadcast_to of a dimension of 1; in place of a nearest"
    " UpSampling2D, tf.image.resize with method='nearest'",
    "TOPK_V2": "tf.reduce_max and tf.argmax with output_type=tf.int32 for the first,"
    " or sort outside the model",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SimpleRNN(…, unroll=True) of Keras",
}
_INTEGERS_INSTEAD = {"SELECT_V2": _SELECT}  # where a kernel takes no integers of 32 bits
# What a person may change, and how it is said.
_CHANGES = (
    ("l", "i", "use int32 instead of int64"),
    ("h", "b", "use quantize: int8 instead of int16x8"),
    ("u", "b", "use int8 instead of uint8"),
)


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
        if before_conversion and _quantized_runs(op, found, letters):
            return None
        return _wrong_types(op, found, tensors, outputs)
    for slot in found.constant:
        tensor = tensors[slot] if slot < len(tensors) else None
        if tensor is not None and not tensor.is_constant:
            why = f"its input {slot} ('{shown_layer(tensor.name)}') must be a constant"
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


def _quantized_runs(op: Op, found: Kernel, letters: str) -> bool:
    """Whether an operator could run once its floats are integers (a bias becomes another type than
    the activations: of those with weights nothing is said here)."""
    own = LETTERS["float32"]
    if own not in letters:
        return False
    integers = (letters.replace(own, LETTERS[name]) for name in ("int8", "int16"))
    return op.name in _WEIGHTED or any(found.takes(text) for text in integers)


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
        why = f"{half.dtype} ('{shown_layer(half.name)}') has no kernel ({has})"
        return why, "use quantize: int8, or none"
    if op.name in _WEIGHTED and (pair := _pair(op, inputs)):
        activation, weight = pair
        if activation.dtype in _FLOATS and weight.dtype in _INTEGERS:
            why = f"{activation.dtype} activations with {weight.dtype} weights have no kernel"
            return why, "use quantize: int8 instead of dynamic_range, or none"
    return f"its kernel does not take {has}", _other_types(op, found, inputs, outputs)


def _other_types(
    op: Op, found: Kernel, inputs: list[Tensor | None], outputs: list[Tensor | None]
) -> str:
    """Only what makes types that the kernel takes."""
    letters = f"{_letters(inputs)}>{_letters(outputs)}"
    scaled = {LETTERS.get(t.dtype) for t in (*inputs, *outputs) if t and t.quantization}
    able = [c for c in _CHANGES if c[0] in letters and (c[0] != "h" or "h" in scaled)]
    for count in range(1, len(able) + 1):
        for chosen in combinations(able, count):
            changed = letters
            for old, new, _ in chosen:
                changed = changed.replace(old, new)
            if found.takes(changed):
                return " and ".join(text for _, _, text in chosen)
    for letter in ("b", "h"):
        if letter in scaled and found.takes(letters.replace(letter, "f")):
            return f"keep it in float32 (keep_float: [{op.name}])"
    if op.name in _INTEGERS_INSTEAD and "i" in letters:
        return f"use {_INTEGERS_INSTEAD[op.name]}"
    takes = _takes(found, letters)
    return f"it takes {takes} values" if takes else "replace the layer, or run this part outside"


def _pair(op: Op, inputs: list[Tensor | None]) -> tuple[Tensor, Tensor] | None:
    activation, weight = _WEIGHTED[op.name]
    if max(activation, weight) >= len(inputs):
        return None
    one, other = inputs[activation], inputs[weight]
    return (one, other) if one and other else None


def _types(tensors: list[Tensor | None]) -> str:
    names = [t.dtype if t else "none" for t in tensors[:6]]
    return ", ".join(names + ["…"] * (len(tensors) > 6)) or "nothing"


def _takes(found: Kernel, letters: str) -> str:
    """The types for people that the kernel takes in place of one of those that stand there: of all
    that have this one, or, of few, of some. What has a type of its own (a condition, an index)
    keeps it."""
    able = [new for new in "fbhiB" if any(map(found.takes, _with(letters, new)))]
    names = [_NAMES[letter] for letter in able]
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _with(letters: str, new: str) -> Iterator[str]:
    for old in sorted({*letters} - {new, ">", ABSENT}):
        places = [i for i, letter in enumerate(letters) if letter == old]
        fewest = 1 if len(places) <= _FEW else len(places)
        for count in range(len(places), fewest - 1, -1):
            for chosen in combinations(places, count):
                changed = (new if i in chosen else c for i, c in enumerate(letters))
                yield "".join(changed)
