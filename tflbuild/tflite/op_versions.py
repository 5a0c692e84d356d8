"""Which version of its operator each operation of a file needs, and why.

An operator has a version for each thing that its kernel learned: a data type, an option, a number
of dimensions. The version in a file's operator code is what a runtime looks up before it runs
anything; too low a number starts a kernel on what it does not know.

Source of the rules: `tflite/converter/tools/versioning/op_version.cc` and `op_signature.cc`
(LiteRT, 2026-08). TensorFlow 2.21's converter writes the same; what came later is newer types
(float8, uint4, float16 arithmetic) that it does not write. Rules of an operator stand newest
first, and the first that holds decides; without one it is version 1. `tests/tflite` and
`tests/convert` hold them against the converter.

Some things differ from the source, by what kernels do (`docs/VERSIONS.md`):

- int16 activations: the source asks CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED for int16
  weights too, which quantizers do not make, and takes int16 with int8 weights for version 1.
- A declared type of the quantized bias is new only if it is not int64: all kernels for int16
  activations take int64 (`tflite-runtime` 2.14 runs such files, the source says 2.15).
- "Quantized" is a tensor that has a scale. The source takes any table of quantization for it, and
  the converter writes an empty one for every tensor: plain int16 then passes for quantized.
- Types that no rule is about are unknown, the source says version 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from .flat import InvalidModel
from .model import Op, Subgraph, Tensor

ABSENT = ""  # the type of an input that is left out
_INT64 = 4  # of TensorType in schema.fbs


@dataclass(frozen=True)
class Need:
    """The version an operation needs, and what of it asks for that ("" for a first version).

    `version` None: nobody knows, as its options cannot be read or no rule is about its types.
    """

    version: int | None
    why: str = ""


class _Seen:
    """What rules may look at: one operation with its tensors."""

    def __init__(self, op: Op, graph: Subgraph, options: Mapping[str, Any]) -> None:
        self.op, self.options = op, options
        self.inputs = [graph.tensors[i] if i >= 0 else None for i in op.inputs]
        self.outputs = [graph.tensors[i] if i >= 0 else None for i in op.outputs]

    def input(self, slot: int) -> Tensor | None:
        return self.inputs[slot] if slot < len(self.inputs) else None

    def type_in(self, slot: int) -> str:
        return tensor.dtype if (tensor := self.input(slot)) is not None else ABSENT

    def type_out(self, slot: int) -> str:
        tensor = self.outputs[slot] if slot < len(self.outputs) else None
        return tensor.dtype if tensor is not None else ABSENT

    def shape(self, slot: int) -> tuple[int, ...]:
        return tensor.shape if (tensor := self.input(slot)) is not None else ()


@dataclass(frozen=True)
class _Test:
    """A condition, and how a message says that it holds."""

    holds: Callable[[_Seen], bool]
    text: Callable[[_Seen], str]

    def __and__(self, other: _Test) -> _Test:
        return _Test(
            lambda s: self.holds(s) and other.holds(s),
            lambda s: ", ".join(filter(None, (self.text(s), other.text(s)))),
        )

    def __or__(self, other: _Test) -> _Test:
        return _Test(
            lambda s: self.holds(s) or other.holds(s),
            lambda s: (self if self.holds(s) else other).text(s),
        )

    def said(self, text: str) -> _Test:
        return _Test(self.holds, lambda _: text)


def _check(holds: Callable[[_Seen], bool], text: str) -> _Test:
    return _Test(holds, lambda _: text)


_NAMED = frozenset(vars(schema.BuiltinOperator))  # by the schema that `read` has
_NAMES = {0: "input", 1: "second input", 2: "third input", 3: "fourth input"}


def _in(types: str, slot: int = 0, name: str = "") -> _Test:
    """Input `slot` has one of these types (a word each)."""
    wanted, called = types.split(), name or _NAMES[slot]

    def text(s: _Seen) -> str:
        if s.type_in(slot) == "int16" and not name and _has_scale(s.input(slot)):
            return "int16 activations"
        return f"{s.type_in(slot)} {called}"

    return _Test(lambda s: s.type_in(slot) in wanted, text)


def _out(types: str, slot: int = 0) -> _Test:
    wanted = types.split()
    return _Test(lambda s: s.type_out(slot) in wanted, lambda s: f"{s.type_out(slot)} output")


def _mixed(activations: str, weights: str, slot: int = 1) -> _Test:
    """Input and output of one type, weights of another."""
    return (_in(activations) & _in(weights, slot) & _out(activations)).said(
        f"{weights} weights with {activations} activations"
    )


def _option(name: str, text: str, default: Any = 0) -> _Test:
    """An option is set (neither 0 nor false)."""
    return _check(lambda s: bool(s.options.get(name, default)), text)


def _rank(limit: int, slot: int = 0) -> _Test:
    """More dimensions than `limit`."""
    return _Test(lambda s: len(s.shape(slot)) > limit, lambda s: f"{len(s.shape(slot))} dimensions")


def _has_scale(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.quantization is not None


def _scales(tensor: Tensor | None) -> tuple[float, ...]:
    return tensor.quantization.scale if tensor is not None and tensor.quantization else ()


def _per_channel(slot: int, dimension: int) -> _Test:
    """As many scales as that dimension of the weights has places."""

    def holds(s: _Seen) -> bool:
        shape, scales = s.shape(slot), _scales(s.input(slot))
        return len(shape) > dimension and 0 < len(scales) == shape[dimension]

    return _check(holds, "per-channel")


def _per_axis(tensor_of: Callable[[_Seen], Tensor | None]) -> _Test:
    """Several scales, one for each place of the quantized dimension."""

    def holds(s: _Seen) -> bool:
        tensor = tensor_of(s)
        scales = _scales(tensor)
        if tensor is None or tensor.quantization is None or len(scales) < 2:
            return False
        axis = tensor.quantization.axis
        return 0 <= axis < len(tensor.shape) and tensor.shape[axis] == len(scales)

    return _check(holds, "per-channel quantization")


def _grouped(s: _Seen) -> bool:
    image, kernel = s.shape(0), s.shape(1)
    return len(image) > 3 and len(kernel) > 3 and image[3] != kernel[3]


def _broadcast_beyond_four(s: _Seen) -> bool:
    differ = len(s.inputs) > 1 and s.shape(0) != s.shape(1)
    return differ and max(len(s.shape(i)) for i in range(len(s.inputs))) > 4


def _grows(s: _Seen) -> bool:
    """A product whose rescale factor is 1 or more."""
    first, second = _scales(s.input(0)), _scales(s.input(1))
    out = _scales(s.outputs[0]) if s.outputs else ()
    if not (first and second and out):
        return False
    # NaN and infinity of a hostile file compare as false; 0 counts as "no scale".
    return bool(first[0] and second[0] and out[0]) and (first[0] * second[0] / out[0] >= 1.0)


def _newer_bias(s: _Seen) -> bool:
    """A declared type of the bias that is not the only one that older kernels take."""
    declared = s.options.get("quantizedBiasType", 0)
    slot = 3 if s.op.name == "TRANSPOSE_CONV" else 2
    plain = declared == _INT64 and s.type_in(slot) in (ABSENT, "int64")
    return bool(declared) and not plain


def _dilated(s: _Seen) -> bool:
    return any(s.options.get(f"dilation{side}Factor", 1) != 1 for side in "WH")


_FLOAT8 = "float8_e4m3fn float8_e5m2"
# Types that came after all others. Where no rule is about them, version 1 would be a guess: a
# FULLY_CONNECTED of float32 and int4 runs in `tflite-runtime` 2.14, and gives NaN.
_YOUNG = frozenset(("int4", "int2", "uint4", "bfloat16", *_FLOAT8.split()))
_PLAIN = _check(lambda s: not (_has_scale(s.input(0)) or _has_scale(s.input(1))), "not quantized")
_INPUT_PLAIN = _check(lambda s: not _has_scale(s.input(0)), "not quantized")
_INT8, _INT16, _BOOL = _in("int8"), _in("int16"), _in("bool")
_F8, _F16, _STRING = _in(_FLOAT8), _in("float16"), _in("string")
_INT16_BOTH = (_INT16 & _out("int16")).said("int16 activations")
_INT8_ALL = (_in("int8") & _in("int8", 1) & _out("int8")).said("int8 activations and weights")
_INT16_ALL = (_in("int16") & _in("int16 int8", 1) & _out("int16")).said("int16 activations")
_HYBRID = _mixed("float32", "int8")
_BROADCAST = _check(_broadcast_beyond_four, "broadcasting of more than 4 dimensions")
_ASYMMETRIC = _option("asymmetricQuantizeInputs", "inputs quantized asymmetrically")
_BIAS_TYPE = _check(_newer_bias, "a quantized bias that is not int64")
_ANY_8 = _in("int8 uint8")

_Rule = tuple[int, _Test]
_INT8_THEN_16: tuple[_Rule, ...] = ((3, _INT16), (2, _INT8))
_BOTH_16_OR_8: tuple[_Rule, ...] = ((3, _INT16_BOTH), (2, _INT8))
_INT8_ONLY: tuple[_Rule, ...] = ((2, _INT8),)
_INT8_OR_16: tuple[_Rule, ...] = ((2, _INT8 | _INT16),)
_PADS: tuple[_Rule, ...] = ((6, _F8), (5, _BOOL), (4, _rank(4)), (3, _INT16), (2, _INT8))
_BLOCKS: tuple[_Rule, ...] = (
    (4, _INT16),
    (3, _Test(lambda s: len(s.shape(0)) != 4, lambda s: f"{len(s.shape(0))} dimensions")),
    (2, _INT8),
)
_EXTREMES: tuple[_Rule, ...] = ((4, _INT16_BOTH), (3, _BROADCAST), (2, _INT8))
_ARGS: tuple[_Rule, ...] = ((3, _BOOL), (2, _INT8))
_INT8_CELL = (_in("int8", 1) & _out("float32")).said("int8 weights with float32 activations")
_CELLS: tuple[_Rule, ...] = ((3, _INT8_CELL & _ASYMMETRIC), (2, _INT8_CELL))
_SEQUENCE_HYBRID = _mixed("float32", "int8", 2)
_FULL_KERNEL = _check(lambda s: s.options.get("kernelType", 0) == 0, "")
_CAST_8 = _in("int2 uint4") | _out("int2 uint4")
_WIDE_FLOATS = "float64 float16"

RULES: dict[str, tuple[_Rule, ...]] = {
    "ABS": (
        (5, _in("int32")),
        (4, _INT16 & _INPUT_PLAIN),
        (3, _INT16),
        (2, _ANY_8),
    ),
    "ADD": (
        (6, _F16),
        (5, _INT16 & _INPUT_PLAIN),
        (4, _in("int64")),
        (3, _INT16_BOTH & _check(lambda s: not s.options.get("potScaleInt16"), "any scale")),
        (2, _INT8),
    ),
    "ARG_MAX": _ARGS,
    "ARG_MIN": _ARGS,
    "AVERAGE_POOL_2D": _BOTH_16_OR_8,
    "BATCH_MATMUL": ((4, _HYBRID & _ASYMMETRIC), (3, _INT16), (2, _INT8)),
    "BATCH_TO_SPACE_ND": _BLOCKS,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _CELLS,
    "BIDIRECTIONAL_SEQUENCE_RNN": _CELLS,
    # Its version 1 was withdrawn together with its first operator code.
    "BROADCAST_TO": ((4, _F8), (3, _INT8 | _INT16), (2, _check(lambda _: True, ""))),
    "CAST": (
        (9, _F8 | _out(_FLOAT8)),
        (8, _CAST_8),
        (7, _in("bfloat16") | _out("bfloat16")),
        (6, _in("int4") & _out("float32")),
        (5, _in(_WIDE_FLOATS) | _out(_WIDE_FLOATS)),
        (4, _in("uint16") | _out("uint16")),
        (3, _INT8 | _out("int8")),
        (2, _in("uint32") | _out("uint32")),
    ),
    "CONCATENATION": (
        (7, _F8),
        (6, _F16),
        (5, _in("int4")),
        (4, _in("uint32")),
        (3, _INT16),
        (2, _INT8),
    ),
    "CONV_2D": (
        (8, _mixed("int16", "int8") & _BIAS_TYPE),
        (6, _check(_grouped, "grouped convolution")),
        (4, _INT16_ALL),
        (3, _INT8_ALL),
        (7, _mixed("int8", "int4")),
        (5, (_HYBRID & _per_channel(1, 0)).said("per-channel int8 weights, float32 activations")),
        (2, _HYBRID),
    ),
    "COS": ((2, _F16),),
    "DEPTHWISE_CONV_2D": (
        (5, _INT16_ALL),
        (6, (_HYBRID & _per_channel(1, 3)).said("per-channel int8 weights, float32 activations")),
        (4, _HYBRID),
        (3, _INT8_ALL),
        (7, _mixed("int8", "int4")),
        (2, _check(_dilated, "dilation")),
    ),
    "DEPTH_TO_SPACE": _INT8_ONLY,
    "DEQUANTIZE": (
        (9, _F8),
        (8, _in("uint4")),
        (7, _in("int2")),
        (6, _in("int4")),
        (3, _INT16 | _F16),
        (5, _INT8 & _per_axis(lambda s: s.input(0))),
        (2, _INT8),
    ),
    "DIV": ((2, _BROADCAST),),
    "DYNAMIC_UPDATE_SLICE": (
        (6, _in("bfloat16")),
        (5, _in("int4")),
        (4, _INT16),
        (3, _F16),
        (2, _in("int64", 2, "start indices")),
    ),
    "EMBEDDING_LOOKUP": (
        (4, _in("int4", 1, "table")),
        (
            4,
            (_per_channel(1, 0) & _check(lambda s: len(_scales(s.input(1))) > 1, "")).said(
                "table quantized per row"
            ),
        ),
        (5, _in("int2", 1, "table")),
    ),
    "EQUAL": ((5, _INT16), (3, _STRING), (2, _INT8)),
    "EXP": _INT8_OR_16,
    "FAKE_QUANT": ((2, _option("narrowRange", "a narrow range")),),
    "FILL": (
        (5, _in(_FLOAT8, 1, "value")),
        (4, _in("float16", 1, "value")),
        (3, _in("int8 int16", 1, "value")),
        (2, _in("bool string", 1, "value")),
    ),
    "FLOOR_DIV": ((3, _INT16 | _INT8), (2, _in("float32"))),
    "FLOOR_MOD": _INT8_OR_16,
    "FULLY_CONNECTED": (
        (14, _in("int2", 1, "weights")),
        (13, _mixed("int16", "int4")),
        (12, (_HYBRID & _per_channel(1, 0)).said("per-channel int8 weights, float32 activations")),
        (11, _mixed("int16", "int8") & _BIAS_TYPE),
        (
            8,
            _check(lambda s: (w := s.input(1)) is not None and w.sparse, "sparse weights"),
        ),
        (7, _INT16_ALL),
        (6, _check(lambda s: len(s.inputs) == 2, "no bias")),
        (5, _option("keepNumDims", "the input's number of dimensions is kept")),
        (4, _INT8_ALL),
        (10, _mixed("int8", "int4")),
        (9, _HYBRID & _ASYMMETRIC),
        (3, _HYBRID),
        (2, _check(lambda s: s.options.get("weightsFormat", 0) == 1, "shuffled weights")),
    ),
    "GATHER": (
        (8, _F8),
        (7, _in("int4")),
        (6, _in("int16", 1, "indices")),
        (5, _option("batchDims", "batch dimensions")),
        (4, _INT16),
        (3, _BOOL),
        (2, _INT8),
    ),
    "GATHER_ND": (
        (6, _F8),
        (5, _BOOL),
        (4, _in("int16", 1, "indices")),
        (3, _INT16),
        (2, _STRING),
    ),
    "GELU": ((3, _F16), (2, _ANY_8)),
    "GREATER": _INT8_ONLY,
    "GREATER_EQUAL": _INT8_THEN_16,
    "L2_NORMALIZATION": ((2, _out("int8")),),
    "LEAKY_RELU": ((2, _INT16),),
    "LESS": _INT8_THEN_16,
    "LESS_EQUAL": _INT8_ONLY,
    "LOG": _INT8_OR_16,
    "LOGISTIC": _BOTH_16_OR_8,
    "LOG_SOFTMAX": _INT8_ONLY,
    "LSTM": (
        (5, _mixed("int16", "int8", 2) & _FULL_KERNEL),
        (4, _SEQUENCE_HYBRID & _FULL_KERNEL & _ASYMMETRIC),
        (3, _SEQUENCE_HYBRID & _FULL_KERNEL),
        (2, _check(lambda s: s.options.get("kernelType", 0) == 1, "the basic kernel")),
    ),
    "MAXIMUM": _EXTREMES,
    "MAX_POOL_2D": _BOTH_16_OR_8,
    "MEAN": _INT8_THEN_16,
    "MINIMUM": _EXTREMES,
    "MIRROR_PAD": _INT8_THEN_16,
    "MUL": (
        (8, _F16),
        (7, (_INT16 & _PLAIN) | _in("uint32")),
        (6, _in("complex64")),
        (5, _in("int64")),
        (4, _INT16),
        (3, _check(_grows, "a product rescaled by 1 or more")),
        (2, _INT8),
    ),
    "NOT_EQUAL": ((4, _INT16), (3, _STRING), (2, _INT8)),
    "PACK": ((5, _F8), (2, _INT8), (3, _INT16_BOTH), (4, _in("uint32"))),
    "PAD": _PADS,
    "PADV2": _PADS,
    "QUANTIZE": (
        (5, _in("uint4") | _out("uint4")),
        (4, _in("int4") | _out("int4")),
        (3, _per_axis(lambda s: s.outputs[0] if s.outputs else None)),
        (2, _out("int16")),
    ),
    "RANGE": ((2, _in("int64")),),
    "REDUCE_MAX": _INT8_THEN_16,
    "REDUCE_MIN": _INT8_THEN_16,
    "REDUCE_PROD": _INT8_OR_16,
    "RELU": ((3, _INT16), (2, _ANY_8)),
    "RELU6": _INT8_THEN_16,
    "RESIZE_BILINEAR": (
        (4, _INT16),
        (3, _option("halfPixelCenters", "half pixel centers")),
        (2, _INT8),
    ),
    "RESIZE_NEAREST_NEIGHBOR": (
        (4, _INT16),
        (
            3,
            _option("halfPixelCenters", "half pixel centers")
            | _option("alignCorners", "aligned corners"),
        ),
        (2, _INT8),
    ),
    "REVERSE_V2": ((4, _F8), (3, _INT8), (2, _BOOL)),
    "RNN": _CELLS,
    "RSQRT": _INT8_THEN_16,
    "SELECT": (
        (4, _in("uint32")),
        (
            3,
            _check(lambda s: any(len(s.shape(i)) == 5 for i in range(3)), "5 dimensions"),
        ),
        (2, _INT8),
    ),
    "SELECT_V2": ((2, _in("uint32")),),
    "SIGN": ((2, _in("int32")),),
    "SIN": ((2, _F16),),
    "SLICE": (
        (8, _F16),
        (7, _in("int4")),
        (6, _in("uint32")),
        (5, _rank(4)),
        (4, _INT16),
        (3, _STRING),
        (2, _INT8),
    ),
    "SOFTMAX": ((4, _F16), (3, _INT16), (2, _INT8)),
    "SPACE_TO_BATCH_ND": _BLOCKS,
    "SPACE_TO_DEPTH": _INT8_ONLY,
    "SPARSE_TO_DENSE": (
        (3, _in("int8 uint8", 2, "values")),
        (2, _in("int64", 2, "values")),
    ),
    "SPLIT": (  # its first input is the axis
        (5, _in(_FLOAT8, 1, "input")),
        (4, _in("int16", 1)),
        (3, _in("int32", 1, "input")),
        (2, _in("int8", 1, "input")),
    ),
    "SPLIT_V": ((3, _F8), (2, _INT8)),
    "SQRT": _INT8_OR_16,
    "SQUARED_DIFFERENCE": _INT8_ONLY,
    "SQUEEZE": ((2, _STRING),),
    "STRIDED_SLICE": (
        (8, _option("offset", "ends given as offsets")),
        (7, _in("uint32")),
        (6, _option("ellipsisMask", "an ellipsis") | _option("newAxisMask", "a new axis")),
        (5, _STRING),
        (4, _rank(4)),
        (3, _BOOL),
        (2, _INT8),
    ),
    "SUB": (
        (5, _INT16_BOTH & _check(lambda s: not s.options.get("potScaleInt16"), "any scale")),
        (4, _in("int64")),
        (3, _BROADCAST),
        (2, _INT8),
    ),
    "SUM": _INT8_ONLY,
    "SVDF": ((3, _INT8), (4, _HYBRID & _ASYMMETRIC), (2, _HYBRID)),
    "TANH": _BOTH_16_OR_8,
    "TILE": ((3, _INT8), (2, _STRING)),
    "TOPK_V2": (
        (3, _INT16 | _in("int16", 1) | _out("int16", 1)),
        (2, _INT8),
    ),
    "TRANSPOSE": (
        (9, _F16),
        (8, _rank(6) | _in("bfloat16")),
        (7, _in("int4")),
        (6, _rank(5)),
        (5, _INT16),
        (4, _rank(4)),
        (3, _BOOL),
        (2, _INT8),
    ),
    "TRANSPOSE_CONV": (
        (5, _mixed("int16", "int8") & _BIAS_TYPE),
        (4, _option("fusedActivationFunction", "a fused activation")),
        (
            3,
            _check(lambda s: len(s.inputs) == 4 and s.input(3) is not None, "a bias"),
        ),
        (2, _in("int8", 1, "weights")),
    ),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        (5, _mixed("int16", "int8", 2)),
        (4, _option("diagonalRecurrentTensors", "diagonal recurrent weights")),
        (3, _SEQUENCE_HYBRID & _ASYMMETRIC),
        (2, _SEQUENCE_HYBRID),
    ),
    "UNIDIRECTIONAL_SEQUENCE_RNN": _CELLS,
    "UNPACK": (
        (6, _F8),
        (2, _ANY_8),
        (3, _BOOL),
        (4, _INT16_BOTH),
        (5, _F16 | _in("bfloat16")),
    ),
    "WHERE": ((2, _check(lambda s: s.type_in(0) != "bool", "a condition that is no bool")),),
}  # fmt: skip


def meant(name: str, version: int) -> bool:
    """Whether it is known what this version of an operator is for; no rule gives QUANTIZE 6."""
    return version == 1 or any(version == ours for ours, _ in RULES.get(name, ()))


def needed(op: Op, graph: Subgraph) -> Need:
    """The version that this operation needs. Custom and select operators: as written.

    Never raises for what `read_model` accepts.
    """
    if op.kind != "builtin":
        return Need(op.version)
    if op.name not in _NAMED:
        return Need(None, "an operator that is newer than the schema at hand")
    rules = RULES.get(op.name, ())
    try:
        seen = _Seen(op, graph, op.options if rules else {})
    except InvalidModel:
        return Need(None, "its options cannot be read")
    version, why = 1, ""
    for candidate, test in rules:
        if test.holds(seen):
            version, why = candidate, test.text(seen)
            break
    tensors = (*seen.inputs, *seen.outputs)
    young = {t.dtype for t in tensors if t is not None and t.dtype in _YOUNG}
    if unseen := sorted(dtype for dtype in young if dtype not in why):
        return Need(None, _untold(unseen[0], seen))
    return Need(version, why)


def _untold(dtype: str, seen: _Seen) -> str:
    weights = seen.type_in(1) == dtype and seen.type_in(0) == "float32"
    return f"{dtype} {'weights with float32 activations' if weights else 'tensors'}"
