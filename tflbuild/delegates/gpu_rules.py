"""Which operators the GPU delegate takes, as data.

Sources (LiteRT, 2026-08): `tflite/tools/versioning/gpu_compatibility.cc` (what each operator
needs), and for what the delegate itself asks before, `tflite/delegates/gpu/common/model_builder.cc`
(its operators, their highest versions, the data types of tensors that are computed).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tflbuild.tflite.read import Op

from .base import Refused, Scene, Spec, need, options_of, shape_text

FLOATS = frozenset({"float32", "float16"})
TYPES = FLOATS | {"int8", "uint8"}  # of tensors that are computed; quantized is on by default
MAX_DIMS = 4
COMPARISONS = frozenset({"GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "EQUAL", "NOT_EQUAL"})
# Data types that single operators take beyond TYPES.
MORE_INPUT_TYPES = {
    "CAST": frozenset({"bool", "int32"}),
    "ONE_HOT": frozenset({"int32"}),
    "SELECT": frozenset({"bool"}),
    "SELECT_V2": frozenset({"bool"}),
    "LOGICAL_AND": frozenset({"bool"}),
    "GATHER": frozenset({"int32"}),
}
MORE_OUTPUT_TYPES = {
    "CAST": frozenset({"bool", "int32"}),
    "LOGICAL_AND": frozenset({"bool"}),
    **dict.fromkeys(COMPARISONS, frozenset({"bool"})),
}
# In gpu_compatibility.cc, but not among the operators of the delegate.
_NEWER = (
    "ATAN2 BITCAST CEIL DYNAMIC_UPDATE_SLICE EMBEDDING_LOOKUP LOGICAL_NOT LOGICAL_OR REDUCE_ALL"
    " REDUCE_ANY REVERSE_V2 RIGHT_SHIFT ROUND STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CBRT"
    " STABLEHLO_CLAMP STABLEHLO_REMAINDER STABLEHLO_SHIFT_LEFT TOPK_V2"
)
NEWER = frozenset(_NEWER.split())
_WEIGHT_TYPES = frozenset({"float32", "float16", "int8", "uint8", "int32"})
# What a version above the rule's means, where there is a way out (`op_version.cc`).
_VERSIONS = {
    ("FULLY_CONNECTED", 12): (
        " (dynamic range with a scale for each channel; float16 and int8 files are taken)"
    ),
}
_SIGN_BIT = 5  # of ActivationFunctionType; all others are taken
_TANH, _BASIC_LSTM = 4, 1


@dataclass(frozen=True)
class View:
    """One operator before a rule: its tensors, where constants that are float16 count as such."""

    scene: Scene
    op: Op
    ins: tuple[Spec | None, ...]
    outs: tuple[Spec | None, ...]

    @property
    def options(self) -> Mapping[str, Any]:
        return options_of(self.op)

    @property
    def runtime(self) -> int:
        """How many inputs are computed."""
        return sum(1 for spec in self.ins if spec and not spec.constant)

    @property
    def constants(self) -> int:
        return sum(1 for spec in self.ins if spec and spec.constant)

    def input(self, slot: int) -> Spec:
        found = self.ins[slot] if slot < len(self.ins) else None
        if found is None:
            raise Refused("an input is left out")
        return found

    def output(self, slot: int = 0) -> Spec:
        found = self.outs[slot] if slot < len(self.outs) else None
        if found is None:
            raise Refused("an output is left out")
        return found


Check = Callable[[View], None]


@dataclass(frozen=True)
class Rule:
    """`version`: the highest one. `runtime`, `constants`: numbers of computed and of constant
    inputs, together; `inputs`: of all. None: any. `checks`: what else must hold."""

    version: int | None = None
    runtime: int | None = None
    constants: int | None = None
    outputs: int | None = None
    inputs: int | None = None
    checks: tuple[Check, ...] = ()


def follow(rule: Rule, view: View) -> None:
    """Raise Refused unless the operator keeps to the rule."""
    version = view.op.version
    if rule.version is not None and version > rule.version:
        reason = f"version {version} of the operator, the delegate knows {rule.version}"
        raise Refused(reason + _VERSIONS.get((view.op.name, version), ""))
    _count("inputs", rule.inputs, len(view.ins))
    _count("computed inputs", rule.runtime, view.runtime)
    _count("constant inputs", rule.constants, view.constants)
    _count("outputs", rule.outputs, len(view.outs))
    for check in rule.checks:
        check(view)


def _count(what: str, wanted: int | None, found: int) -> None:
    if wanted is not None and wanted != found:
        raise Refused(f"it has {found} {what}, the delegate wants {wanted}")


def activation(view: View) -> None:
    kind = view.options.get("fusedActivationFunction", 0)
    need(kind != _SIGN_BIT, "its fused activation is the sign bit")


def strides(view: View) -> None:
    _above_zero(view.options, "stride", "strideH", "strideW")


def windows(view: View) -> None:
    _above_zero(view.options, "window", "filterHeight", "filterWidth")


def dilation(view: View) -> None:
    options = {"dilationHFactor": 1, "dilationWFactor": 1, **view.options}
    _above_zero(options, "dilation", "dilationHFactor", "dilationWFactor")


def _above_zero(options: Mapping[str, Any], what: str, *names: str) -> None:
    need(min(options.get(name, 0) for name in names) > 0, f"its {what} is 0")


def block(view: View) -> None:
    need(view.options.get("blockSize", 0) > 1, "its block size is not above 1")


def convolved(view: View) -> None:
    """One or two computed inputs (weights may be computed), one output."""
    need(1 <= view.runtime <= 2, f"it has {view.runtime} computed inputs: 1 or 2 work")
    _count("outputs", 1, len(view.outs))
    need(len(view.ins) > 1, "its weights are left out")


def weights(view: View) -> None:
    """The delegate makes floats of constant weights; of packed types it cannot."""
    for spec in view.ins[1:3]:
        if spec and spec.constant and spec.dtype not in _WEIGHT_TYPES:
            raise Refused(f"its weights are {spec.dtype}: the delegate reads float and int8")


def depthwise(view: View) -> None:
    source, filters, result = view.input(0), view.input(1), view.output()
    for spec, what in ((source, "input"), (filters, "weights"), (result, "output")):
        need(len(spec.shape) == 4, f"its {what} has {len(spec.shape)} dimensions, 4 work")
    multiplier = view.options.get("depthMultiplier", 0)
    need(source.shape[0] == result.shape[0], "its batch changes")
    need(filters.shape[3] == result.shape[3], "its weights do not fit its output channels")
    fits = result.shape[3] == source.shape[3] * multiplier
    need(fits, "its output channels are not its input channels times the depth multiplier")
    if len(view.ins) > 2:  # a bias that is left out by -1 counts as one number
        bias = view.ins[2]
        count = bias.elements if bias else 1
        need(count == result.shape[3], "its bias does not fit its output channels")


def broadcast(view: View) -> None:
    """Operands of different ranks, both above 1: only 3 or 2 dimensions onto 4, in few ways
    (`kStandard`; more is for other backends)."""
    one, other = view.input(0).shape, view.input(1).shape
    long, short = (one, other) if len(one) >= len(other) else (other, one)
    if len(short) <= 1 or len(long) == len(short):
        return
    batch_of_one = len(long) == 4 and long[0] == 1
    known = (
        (batch_of_one and len(short) == 3)
        or (batch_of_one and short == (1, 1))
        or (len(long) == 4 and len(short) == 2 and (long[0], long[3]) == short)
    )
    need(known, f"it does not broadcast {shape_text(short)} to {shape_text(long)}")


def two_operands(view: View) -> None:
    counts = (view.runtime, view.constants, len(view.outs))
    need(counts in ((2, 0, 1), (1, 1, 1)), "it wants two inputs of which one or two are computed")


def axes_known(view: View) -> None:
    axes = view.input(1)
    need(axes.constant, "its axes are not constant")
    need(axes.dtype == "int32", f"its axes are {axes.dtype}: int32 works")


def three_or_four(view: View) -> None:
    dims = len(view.input(0).shape)
    need(dims in (3, 4), f"its input has {dims} dimensions: 3 or 4 work")


def padded(view: View) -> None:
    paddings = view.input(1).shape
    fits = len(paddings) == 2 and paddings[0] in (3, 4) and paddings[1] == 2
    need(fits, "its input has not 3 or 4 dimensions")


def reflected(view: View) -> None:
    need(view.options.get("mode", 0) == 0, "it mirrors the edge too (SYMMETRIC): use REFLECT")


def cast(view: View) -> None:
    """bool → float only between a comparison and one reader; else bool, float and int32."""
    source, result = view.input(0), view.output()
    if source.dtype == "bool" and result.dtype in FLOATS:
        makers = view.scene.producers.get(source.tensor.index, ())
        alone = len(makers) == 1 and len(view.scene.consumers[source.tensor.index]) == 1
        need(alone, "it casts a bool that is not read here alone")
        readers = view.scene.consumers.get(result.tensor.index, ())
        need(len(readers) == 1, "its float of a bool is not read exactly once")
        if makers[0].name in COMPARISONS:
            return
    _count("computed inputs", 1, view.runtime)
    _count("outputs", 1, len(view.outs))
    numbers = {"float32", "int32"}
    known = (
        (source.dtype == "bool" and result.dtype in FLOATS)
        or (source.dtype in FLOATS and result.dtype == "bool")
        or (source.dtype in numbers and result.dtype in numbers)
    )
    need(known, f"it casts {source.dtype} to {result.dtype}")


def comparison(view: View) -> None:
    """Only where its one reader makes floats of the result."""
    result = view.output().tensor.index
    readers = view.scene.consumers.get(result, ())
    alone = len(view.scene.producers.get(result, ())) == 1 and len(readers) == 1
    need(alone, "its bool result is not read exactly once")
    made = view.scene.spec(readers[0].outputs[0]) if readers[0].outputs else None
    floats = made is not None and made.dtype in FLOATS
    named = readers[0].name in ("CAST", "SELECT", "SELECT_V2")
    need(named and floats, "its bool result goes elsewhere than into a cast to float or a select")


def cumsum(view: View) -> None:
    source, axis = view.input(0), view.input(1)
    need(source.dtype in FLOATS and view.output().dtype == source.dtype, "it sums no floats")
    need(axis.constant and axis.dtype == "int32", "its axis is no constant of int32")


def dequantize(view: View) -> None:
    need(view.input(0).dtype != "int16", "its input is int16")


def fully_connected(view: View) -> None:
    need(not view.options.get("weightsFormat", 0), "its weights are shuffled")
    need(view.runtime <= 2, "more than 2 of its inputs are computed")
    need(not view.input(0).constant, "its input is constant")
    if view.options.get("keepNumDims"):
        same = len(view.input(0).shape) == len(view.output().shape)
        need(same, "its input and output have different numbers of dimensions")


def gather(view: View) -> None:
    two_operands(view)
    indexes = view.input(1)
    need(len(indexes.shape) == 1, f"its indexes have {len(indexes.shape)} dimensions: 1 works")
    need(indexes.dtype == "int32", f"its indexes are {indexes.dtype}: int32 works")


def lstm(view: View) -> None:
    options = view.options
    kind = options.get("fusedActivationFunction", 0)
    if options.get("kernelType", 0) != _BASIC_LSTM:
        need(len(view.ins) in (20, 24), f"it has {len(view.ins)} inputs: 20 or 24 work")
        _count("outputs", 1, len(view.outs))
        need(kind == _TANH, "its activation is not tanh or sigmoid")
        return
    _count("computed inputs", 3, view.runtime)
    _count("constant inputs", 2, view.constants)
    _count("outputs", 4, len(view.outs))
    depth = view.output(3).shape
    need(not depth or depth[-1] % 4 == 0, "its depth is no multiple of 4")
    need(kind == _TANH, "its activation is not tanh")
    need(not options.get("cellClip") and not options.get("projClip"), "it clips its cell")


def one_hot(view: View) -> None:
    indexes, on, off = view.input(0), view.input(2), view.input(3)
    shape, axis = indexes.shape, view.options.get("axis", 0)
    need(indexes.dtype == "int32", f"its indexes are {indexes.dtype}: int32 works")
    need(axis == -1 or (shape and axis == shape[-1]), "its axis is not the last")
    for place, size in enumerate(shape[:-1]):
        free = len(shape) > 3 and place == 0
        need(free or size == 1, "its indexes have a dimension in the middle")
    for spec in (on, off):
        scalar = len(spec.shape) <= 1 and spec.elements <= 1
        need(
            spec.constant and spec.dtype == "float32" and scalar,
            "its values are no float constants",
        )


def select(view: View) -> None:
    chosen, result = view.input(0), view.output()
    need(chosen.dtype in FLOATS | {"bool"}, f"its condition is {chosen.dtype}")
    if chosen.shape:
        offset = len(result.shape) - len(chosen.shape)
        wanted = result.shape[max(offset, 0) :]
        fits = offset >= 0 and all(
            size in (1, want) for size, want in zip(chosen.shape, wanted, strict=True)
        )
        need(fits, "its condition does not broadcast to its output")
    for slot in (1, 2):
        spec = view.input(slot)
        whole = spec.shape == result.shape
        scalar = not spec.shape or (len(spec.shape) == 1 and spec.shape[0] <= 1)
        need(whole or scalar, "a choice is neither of the output's shape nor a scalar")
        need(spec.constant or len(spec.shape) != 2, "a choice of 2 dimensions is computed")


def softmax(view: View) -> None:
    need(view.options.get("beta", 0.0) == 1.0, "its beta is not 1")


def at_least(count: int) -> Check:
    def check(view: View) -> None:
        need(len(view.ins) >= count, f"it has {len(view.ins)} inputs, the delegate wants {count}")

    return check


def strided_slice(view: View) -> None:
    masks = ("ellipsisMask", "newAxisMask", "shrinkAxisMask")
    need(
        not any(view.options.get(name, 0) for name in masks),
        "it drops or adds an axis (x[0], x[None] or x[...]): use x[0:1] and a reshape",
    )


def resize(view: View) -> None:
    both = view.options.get("alignCorners") and view.options.get("halfPixelCenters")
    need(not both, "it has align_corners and half_pixel_centers together")


_CUSTOM_POOL = ("padding", "strideW", "strideH", "filterWidth", "filterHeight", "activation")


def _custom(view: View) -> Mapping[str, int]:
    """The raw options of MediaPipe's operators: int32 fields in the order of the C structures
    TfLitePoolParams and TfLiteTransposeConvParams (`core/c/builtin_op_data.h`)."""
    raw = view.op.custom_options[: 4 * len(_CUSTOM_POOL)]
    need(len(raw) >= 12, "its options cannot be read")
    return dict(
        zip(
            _CUSTOM_POOL,
            struct.unpack(f"<{len(raw) // 4}i", raw[: len(raw) // 4 * 4]),
            strict=False,
        )
    )


def custom_strides(view: View) -> None:
    _above_zero(_custom(view), "stride", "strideH", "strideW")


def custom_window(view: View) -> None:
    _above_zero(_custom(view), "window", "filterHeight", "filterWidth")


def resampler(view: View) -> None:
    source, warp = view.input(0).shape, view.input(1).shape
    need(len(source) == len(warp) == 4, "its inputs have not 4 dimensions")
    need(source[0] == warp[0], "its batches differ")
    need(warp[3] >= 2, "its warp has fewer than 2 channels")


def elementwise(version: int = 2) -> Rule:
    return Rule(version, runtime=1, constants=0, outputs=1)


_ONE_IN = "ABS COS ELU EXP FLOOR GELU LOG LOGISTIC NEG RSQRT SIGN SIN SQRT SQUARE TANH"
_TWO_IN = "DIV FLOOR_DIV FLOOR_MOD LOGICAL_AND MAXIMUM MINIMUM POW SQUARED_DIFFERENCE SUB"
_REDUCTION = Rule(runtime=1, constants=1, outputs=1, checks=(axes_known,))
_POOL = Rule(2, runtime=1, outputs=1, checks=(windows, strides, activation))
_PAD = Rule(2, runtime=1, outputs=1, checks=(padded,))
_RESIZE = Rule(3, runtime=1, outputs=1)
_SELECT = Rule(1, inputs=3, outputs=1, checks=(select,))

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ONE_IN.split(), elementwise()),
    **dict.fromkeys(_TWO_IN.split(), Rule(2, checks=(two_operands, activation))),
    **dict.fromkeys(sorted(COMPARISONS), Rule(2, checks=(comparison,))),
    **dict.fromkeys(("MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"), _REDUCTION),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _POOL),
    **dict.fromkeys(("RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "LEAKY_RELU"), Rule(2)),
    **dict.fromkeys(("PAD", "PADV2"), _PAD),
    **dict.fromkeys(("SELECT", "SELECT_V2"), _SELECT),
    **dict.fromkeys(("PACK", "SPLIT", "SPLIT_V", "UNPACK"), Rule()),
    "ADD": Rule(2, inputs=2, checks=(broadcast, activation)),
    "ADD_N": Rule(2, inputs=2),
    "BATCH_MATMUL": Rule(inputs=2, outputs=1),
    "CAST": Rule(checks=(cast,)),
    "CONCATENATION": Rule(2),
    "CONV_2D": Rule(6, checks=(convolved, weights, strides, dilation, activation)),
    "CUMSUM": Rule(1, inputs=2, outputs=1, checks=(cumsum,)),
    "DENSIFY": Rule(1, runtime=0, outputs=1),
    "DEPTHWISE_CONV_2D": Rule(
        6, checks=(convolved, weights, strides, dilation, activation, depthwise)
    ),
    "DEPTH_TO_SPACE": Rule(runtime=1, outputs=1, checks=(block,)),
    "DEQUANTIZE": Rule(3, inputs=1, outputs=1, checks=(dequantize,)),
    "FULLY_CONNECTED": Rule(9, checks=(fully_connected, weights)),
    "GATHER": Rule(1, checks=(gather,)),
    "HARD_SWISH": Rule(runtime=1, outputs=1),
    "LSTM": Rule(4, checks=(lstm,)),
    "MIRROR_PAD": Rule(2, runtime=1, outputs=1, checks=(reflected, padded)),
    "MUL": Rule(3, inputs=2, checks=(broadcast, activation)),
    "ONE_HOT": Rule(1, inputs=4, outputs=1, checks=(one_hot,)),
    "PRELU": Rule(1),
    "QUANTIZE": Rule(2, runtime=1, outputs=1),
    "RESHAPE": Rule(1, runtime=1, outputs=1),
    "RESIZE_BILINEAR": Rule(3, runtime=1, outputs=1, checks=(resize,)),
    "RESIZE_NEAREST_NEIGHBOR": _RESIZE,
    "SLICE": Rule(2, checks=(at_least(3), three_or_four)),
    "SOFTMAX": Rule(2, checks=(softmax,)),
    "SPACE_TO_DEPTH": Rule(2, runtime=1, outputs=1, checks=(block,)),
    "STRIDED_SLICE": Rule(4, checks=(strided_slice, at_least(4), three_or_four)),
    "TILE": Rule(runtime=1, outputs=1),
    "TRANSPOSE": Rule(4, runtime=1, outputs=1),
    "TRANSPOSE_CONV": Rule(3, checks=(convolved, weights, strides)),
}
CUSTOM_RULES: dict[str, Rule] = {
    "Convolution2DTransposeBias": Rule(checks=(at_least(2), custom_strides)),
    "MaxPoolingWithArgmax2D": Rule(2, runtime=1, outputs=2, checks=(custom_window, custom_strides)),
    "MaxUnpooling2D": Rule(runtime=2, outputs=1, checks=(custom_window, custom_strides)),
    "Resampler": Rule(runtime=2, outputs=1, checks=(resampler,)),
}
