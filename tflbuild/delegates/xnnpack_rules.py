"""Which operators the XNNPACK delegate takes, as built into the LiteRT interpreter.

Rules: the checks of `VisitNode` and what it calls in
`tflite/delegates/xnnpack/xnnpack_delegate.cc` (LiteRT, 2026-08), with the flags of a default build
(`BUILD` beside it): int8 and uint8 on, dynamically quantized operators on, variables on, fully
connected with weights that the model computes off. Confirmed on ai-edge-litert 2.3.0.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from tflbuild.tflite.read import Op, Quantization

from .base import Refused, Scene, Spec, need, options_of, per_tensor

MAX_DIMS = 6  # XNN_MAX_TENSOR_DIMS of xnnpack.h
FLOATS = frozenset({"float32", "float16"})
FLOATS_QS8 = FLOATS | {"int8"}
FLOATS_Q8 = FLOATS | {"int8", "uint8"}
FLOAT32_Q8 = frozenset({"float32", "int8", "uint8"})
Q8 = frozenset({"int8", "uint8"})
_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "int2": (-2, 1)}
_MAX_CONCAT, _MAX_SPLIT = 5, 4
_CLAMPS = frozenset({0, 1, 2, 3})  # none, ReLU, ReLU -1 to 1, ReLU6 of ActivationFunctionType
_TINY = struct.unpack("<f", b"\0\0\x80\0")[0]  # smallest normal float32


@dataclass(frozen=True)
class View:
    """One operator before a rule. `unpacked`: tensors that the delegate unpacks from constants, so
    that they count as constant; `halves`: those of them whose float16 constant it reads itself."""

    scene: Scene
    op: Op
    ins: tuple[Spec | None, ...]
    outs: tuple[Spec | None, ...]
    unpacked: Container[int]
    halves: Container[int]

    @property
    def options(self) -> Mapping[str, Any]:
        return options_of(self.op)

    def input(self, slot: int) -> Spec:
        """An input that must be there."""
        found = self.ins[slot] if slot < len(self.ins) else None
        if found is None:
            raise Refused("an input is left out")
        return found

    def output(self, slot: int = 0) -> Spec:
        """An output that must be there."""
        found = self.outs[slot] if slot < len(self.outs) else None
        if found is None:
            raise Refused("an output is left out")
        return found

    def counts(self, inputs: tuple[int, int], outputs: tuple[int, int] = (1, 1)) -> None:
        """How few and how many inputs and outputs there may be."""
        for what, (low, high), found in (
            ("inputs", inputs, len(self.ins)),
            ("outputs", outputs, len(self.outs)),
        ):
            wanted = f"{low}" if low == high else f"{low} to {high}"
            need(low <= found <= high, f"it has {found} {what}: {wanted} work")

    def static(self, spec: Spec, what: str, *, unpacked: bool = False) -> None:
        """Needs a constant."""
        kept = spec.constant or (unpacked and spec.tensor.index in self.unpacked)
        need(kept, f"its {what} is not a constant")

    def values(self, spec: Spec) -> tuple[int, ...] | None:
        return self.scene.values(spec.tensor)


Rule = Callable[[View], None]


def typed(spec: Spec, allowed: frozenset[str], what: str = "a tensor") -> None:
    """Needs one of these data types, and one scale for the whole tensor when it is quantized."""
    if spec.dtype not in allowed:
        names = ", ".join(sorted(allowed, key=lambda name: (name not in FLOATS, name)))
        raise Refused(f"{what} is {spec.dtype}: XNNPACK takes {names} here")
    if spec.dtype in Q8:
        found = per_tensor(spec.tensor)
        need(found, f"{what} is {spec.dtype} without one scale for the whole tensor")
        need(spec.dtype == "int8" or (found and len(found.zero_point) == 1), "bad zero point")


def shaped(spec: Spec, low: int, high: int = MAX_DIMS, what: str = "a tensor") -> None:
    """Needs so many dimensions, each above 0."""
    if not low <= len(spec.shape) <= high:
        wanted = f"{low}" if low == high else f"at most {high}"
        raise Refused(f"{what} has {len(spec.shape)} dimensions, {wanted} work")
    need(all(size > 0 for size in spec.shape), f"{what} has no fixed size above 0")


def scale_of(spec: Spec) -> float:
    found = spec.tensor.quantization
    return _f32(found.scale[0]) if found and found.scale else math.nan


def zero_of(spec: Spec) -> int:
    """The zero point as kernels without scales per channel see it: 0 unless there is one scale."""
    found = spec.tensor.quantization
    return found.zero_point[0] if found and len(found.scale) == 1 and found.zero_point else 0


def normal(value: float) -> bool:
    return math.isfinite(value) and abs(value) >= _TINY


def activation(view: View) -> None:
    """A fused activation must be a clamp."""
    kind = view.options.get("fusedActivationFunction", 0)
    need(kind in _CLAMPS, "its fused activation (tanh or sign) is not a clamp such as ReLU")


def channelwise(spec: Spec, axis: int, what: str) -> None:
    """Weights: float, uint8 with one scale, or int8 with scales per tensor or along `axis`."""
    if spec.dtype in FLOATS:
        return
    if spec.dtype != "int8":
        typed(spec, FLOATS_Q8, what)
    found = spec.tensor.quantization
    if not found or not found.scale or not found.zero_point:
        raise Refused(f"{what} is {spec.dtype} without scales")
    need(len(found.scale) == 1 or found.axis == axis, f"{what} has scales along another axis")
    _sound(spec, found, what)


def _sound(spec: Spec, found: Quantization, what: str) -> None:
    """Scales are normal positive numbers, as many as channels; zero points in range."""
    need(all(normal(scale) and scale > 0 for scale in found.scale), f"{what} has a bad scale")
    if len(found.scale) > 1:
        channels = spec.shape[found.axis] if 0 <= found.axis < len(spec.shape) else -1
        need(channels == len(found.scale), f"{what} has not one scale for each channel")
        need(found.zero_point[0] == 0, f"{what} has a zero point other than 0")
    else:
        low, high = _LIMITS.get(spec.dtype, (0, 0))
        need(low <= found.zero_point[0] <= high, f"{what} has a zero point out of range")


def bias(view: View, spec: Spec, filters: Spec) -> None:
    """Float like the weights, or int32 with scales along its first axis; a constant."""
    if spec.dtype == "int32":
        found = spec.tensor.quantization
        if not found or not found.scale or not found.zero_point or found.axis != 0:
            raise Refused("its bias is int32 without scales")
        _sound(spec, found, "its bias")
    else:
        need(spec.dtype in FLOATS, f"its bias is {spec.dtype}")
    view.static(spec, "bias", unpacked=True)
    of_filter, of_bias = (
        "float16" if one.tensor.index in view.halves else one.dtype for one in (filters, spec)
    )
    if of_filter in FLOATS and of_bias != of_filter:
        halves = of_filter == "float16" and of_bias == "float32"
        need(halves, "its weights and its bias have different float types")


def unary(allowed: frozenset[str], result: frozenset[str] | None = None) -> Rule:
    """One input, one output of these types."""

    def rule(view: View) -> None:
        view.counts((1, 1))
        shaped(view.input(0), 0, what="its input")
        typed(view.input(0), allowed, "its input")
        typed(view.output(), result or allowed, "its output")

    return rule


def _f32(value: float) -> float:
    """A double as the float32 that the runtime computes with."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _ratio(one: float, other: float) -> float:
    return _f32(one / other) if other else math.nan


def leaky_relu(view: View) -> None:
    unary(FLOATS_Q8)(view)
    alpha = float(view.options.get("alpha", 0.0))
    need(normal(alpha), "its alpha is 0")
    scales = [scale_of(one) for one in (view.input(0), view.output()) if per_tensor(one.tensor)]
    if view.input(0).dtype in Q8 and view.output().dtype in Q8 and len(scales) == 2:
        positive = _ratio(*scales)
        negative = _f32(positive * alpha)
        fits = 1 / 256 <= positive <= 128 and -127.99609375 <= negative <= 128
        need(fits and abs(negative) >= 1 / 256, "its scales are too far apart")


def quantize(view: View) -> None:
    unary(FLOATS_Q8)(view)
    source, result = view.input(0), view.output()
    if source.dtype in FLOATS:
        return
    need(source.dtype == result.dtype, f"it changes {source.dtype} to {result.dtype}")
    need(datatype(source) and datatype(result), "a tensor has a bad scale or zero point")
    need(
        1 / 256 <= _ratio(scale_of(source), scale_of(result)) <= 128, "its scales are too far apart"
    )


def datatype(spec: Spec) -> str:
    """The kind of data that XNNPACK makes of a tensor; "" where it can make none."""
    if spec.dtype in FLOATS:
        return spec.dtype
    found = spec.tensor.quantization
    if not found or not found.scale or not found.zero_point or spec.dtype not in _LIMITS:
        return ""
    try:
        _sound(spec, found, "")
    except Refused:
        return ""
    return spec.dtype if len(found.scale) == 1 else f"{spec.dtype} by channel"


def binary(allowed: frozenset[str]) -> Rule:
    """Two inputs that broadcast, one output."""

    def rule(view: View) -> None:
        view.counts((2, 2))
        one, other, result = view.input(0), view.input(1), view.output()
        for spec in (one, other):
            shaped(spec, 0, what="an input")
        for spec in (one, other):
            typed(spec, allowed, "an input")
        typed(result, allowed, "its output")

    return rule


def arithmetic(view: View) -> None:
    """ADD, SUB and MUL: one type, and quantized with scales that are not too far apart."""
    binary(FLOATS_Q8)(view)
    one, other, result = view.input(0), view.input(1), view.output()
    need(one.dtype == other.dtype == result.dtype, "its inputs and output differ in data type")
    if one.dtype in Q8:
        if view.op.name == "MUL":
            ratios, low = [_ratio(_f32(scale_of(one) * scale_of(other)), scale_of(result))], 2**-16
        else:
            ratios, low = (
                [_ratio(scale_of(spec), scale_of(result)) for spec in (one, other)],
                2**-10,
            )
        need(all(low <= ratio < 256 for ratio in ratios), "its scales are too far apart")
    activation(view)


def divide(view: View) -> None:
    binary(FLOATS)(view)
    activation(view)


def prelu(view: View) -> None:
    binary(FLOATS)(view)
    view.static(view.input(1), "slope", unpacked=True)


def pool(allowed: frozenset[str], result: frozenset[str]) -> Rule:
    """Average and max pooling."""

    def rule(view: View) -> None:
        view.counts((1, 1))
        typed(view.input(0), allowed, "its input")
        typed(view.output(), result, "its output")
        options = view.options
        window = [options.get(name, 0) for name in ("filterHeight", "filterWidth")]
        stride = [options.get(name, 0) for name in ("strideH", "strideW")]
        need(min(stride) > 0 and min(window) > 0, "its window or stride is 0")
        fits = all(step <= size for step, size in zip(stride, window, strict=True))
        need(fits, "its stride is larger than its window")
        activation(view)

    return rule


def convolution(view: View) -> None:
    """CONV_2D and DEPTHWISE_CONV_2D."""
    depthwise = view.op.name == "DEPTHWISE_CONV_2D"
    options = view.options
    strides = [options.get(name, 0) for name in ("strideH", "strideW")]
    dilation = [options.get(name, 1) for name in ("dilationHFactor", "dilationWFactor")]
    need(len(view.ins) > 2 and view.ins[2], "it has no bias")
    view.counts((3, 3))
    source, filters, result = view.input(0), view.input(1), view.output()
    typed(source, FLOATS_Q8, "its input")
    shaped(source, 4, 4, "its input")
    channelwise(filters, 3 if depthwise else 0, "its weights")
    shaped(filters, 4, 4, "its weights")
    view.static(filters, "weight tensor", unpacked=True)
    shaped(view.input(2), 1, 1, "its bias")
    bias(view, view.input(2), filters)
    typed(result, FLOATS_Q8, "its output")
    shaped(result, 4, 4, "its output")
    dynamic = not depthwise and source.dtype == "float32" and filters.dtype == "int8"
    need(
        source.dtype == result.dtype and (source.dtype == filters.dtype or dynamic),
        f"{filters.dtype} weights with {source.dtype} input: XNNPACK has no such kernel",
    )
    need(min(strides) > 0 and min(dilation) > 0, "its stride or dilation is 0")
    if depthwise:
        multiplier = options.get("depthMultiplier", 0)
        need(multiplier > 0 and filters.shape[3] % multiplier == 0, "bad depth multiplier")
    else:
        need(source.shape[3] >= filters.shape[3], "its input has too few channels")
    activation(view)


def fully_connected(view: View) -> None:
    need(view.op.version != 8, "sparse weights (version 8) are not taken")
    need(not view.options.get("weightsFormat", 0), "its weights are shuffled")
    view.counts((2, 3))
    source, filters, result = view.input(0), view.input(1), view.output()
    typed(source, FLOATS_Q8, "its input")
    shaped(filters, 2, 2, "its weights")
    _fully_connected_weights(filters)
    view.static(filters, "weight tensor", unpacked=True)
    if len(view.ins) > 2 and (added := view.ins[2]) is not None:
        need(added.elements == filters.shape[0], "its bias has another size than its output")
        bias(view, added, filters)
    typed(result, FLOATS_Q8, "its output")
    small = filters.dtype in ("int8", "int4", "int2")
    dynamic = source.dtype in FLOATS and small
    need(
        source.dtype == result.dtype
        and (source.dtype == filters.dtype or dynamic or (source.dtype == "int8" and small)),
        f"{filters.dtype} weights with {source.dtype} input: XNNPACK has no such kernel",
    )
    zero = filters.dtype == "int8" and not dynamic and zero_of(filters)
    need(not zero, "its weights have a zero point other than 0")
    multiple = {"int4": 2, "int2": 4}.get(filters.dtype, 1)
    need(filters.shape[1] % multiple == 0, f"{filters.dtype} weights need a multiple of {multiple}")
    activation(view)


def _fully_connected_weights(filters: Spec) -> None:
    if filters.dtype in ("int8", "int4", "int2"):
        found = filters.tensor.quantization
        if found and found.scale:
            need(
                len(found.scale) == 1 or found.axis == 0,
                "its weights have scales along another axis",
            )
            if filters.dtype == "int2":
                need(len(found.scale) == filters.shape[0], "int2 weights need a scale for each row")
    else:
        typed(filters, FLOATS_Q8, "its weights")


def batch_matmul(view: View) -> None:
    view.counts((2, 2))
    left, right, result = view.input(0), view.input(1), view.output()
    typed(left, FLOATS_Q8, "its left side")
    rank = len(right.shape)
    channelwise(right, rank - 2 if view.options.get("adjY") else rank - 1, "its right side")
    dynamic = left.dtype == "float32" and right.dtype == "int8"
    if right.dtype == "int8" and not dynamic:
        found = right.tensor.quantization
        need(found and found.zero_point[0] == 0, "its right side has a zero point other than 0")
    typed(result, FLOATS_Q8, "its output")
    need(datatype(left) == datatype(right) or dynamic, "its two sides differ in data type")
    need(min(len(left.shape), rank) >= 2, "a side has fewer than 2 dimensions")


def concatenation(view: View) -> None:
    view.counts((2, _MAX_CONCAT))
    specs = [view.input(slot) for slot in range(len(view.ins))]
    typed(view.output(), FLOATS_Q8, "its output")
    axis = view.options.get("axis", 0)
    need(all(axis < len(spec.shape) for spec in specs), "its axis is out of range")
    if view.output().dtype == "uint8":
        wanted = (zero_of(view.output()), scale_of(view.output()))
        same = all((zero_of(spec), scale_of(spec)) == wanted for spec in specs)
        need(same, "its uint8 inputs and output differ in scale or zero point")
    for spec in specs:
        typed(spec, FLOATS_Q8, "an input")


def depth_to_space(view: View) -> None:
    view.counts((1, 1))
    typed(view.input(0), FLOATS_Q8, "its input")
    typed(view.output(), FLOATS_Q8, "its output")
    need(view.options.get("blockSize", 0) > 1, "its block size is not above 1")


def space_to_depth(view: View) -> None:
    view.counts((1, 1))
    typed(view.input(0), FLOAT32_Q8, "its input")
    typed(view.output(), FLOATS_Q8, "its output")
    block = view.options.get("blockSize", 0)
    need(block > 1, "its block size is not above 1")
    height_width = view.input(0).shape[1:3]
    fits = len(height_width) == 2 and all(size % block == 0 for size in height_width)
    need(fits, "its block size does not divide height and width")


def reduction(view: View) -> None:
    """MEAN, SUM, REDUCE_MAX, REDUCE_MIN."""
    view.counts((2, 2))
    typed(view.input(0), FLOATS_Q8, "its input")
    axes = view.input(1)
    need(axes.dtype == "int32", f"its axes are {axes.dtype}: int32 works")
    need(len(axes.shape) <= 1, "its axes are not a list")
    view.static(axes, "list of axes")
    values = view.values(axes)
    scalar = values == (0,) and not view.input(0).shape
    need(0 < axes.elements <= MAX_DIMS and not scalar, "it reduces no axis, or more than 6")
    typed(view.output(), FLOATS_Q8, "its output")


def pad(view: View) -> None:
    view.counts((2, 2))
    source, paddings = view.input(0), view.input(1)
    typed(source, FLOATS_Q8, "its input")
    shaped(source, 1, what="its input")
    need(paddings.dtype == "int32", f"its paddings are {paddings.dtype}: int32 works")
    need(paddings.shape == (len(source.shape), 2), "its paddings are not two for each dimension")
    view.static(paddings, "padding")
    typed(view.output(), FLOATS_Q8, "its output")
    shaped(view.output(), 1, what="its output")
    need(min(view.values(paddings) or (0,)) >= 0, "a padding is negative")


def reshape(view: View) -> None:
    view.counts((1, 2))
    source, result = view.input(0), view.output()
    typed(source, FLOATS_Q8, "its input")
    shaped(source, 0, what="its input")
    typed(result, FLOATS_Q8, "its output")
    shaped(result, 0, what="its output")
    if result.dtype in Q8:
        same = (zero_of(source), scale_of(source)) == (zero_of(result), scale_of(result))
        need(same, "its input and output differ in scale or zero point")
    if len(view.ins) == 2:
        shape = view.input(1)
        need(shape.dtype == "int32", f"its shape is {shape.dtype}: int32 works")
        need(all(size == 1 for size in shape.shape[:-1]), "its shape is not a list")
        view.static(shape, "new shape")
        values = view.values(shape)
    else:
        given = view.options.get("newShape")
        values = tuple(given) if isinstance(given, tuple) else ()
    need(values not in ((0,), (-1,)), "its shape is [0] or [-1]")


def resize_bilinear(view: View) -> None:
    view.counts((2, 2))
    source, size = view.input(0), view.input(1)
    typed(source, FLOAT32_Q8, "its input")
    shaped(source, 4, 4, "its input")
    need(size.dtype == "int32" and len(size.shape) == 1, "its size is not a list of int32")
    view.static(size, "size")
    typed(view.output(), FLOATS_Q8, "its output")
    shaped(view.output(), 4, 4, "its output")
    need(min((view.values(size) or (1,))[:1]) > 0, "its size is 0")


def slice_(view: View) -> None:
    begin, size = view.input(1), view.input(2)
    for spec, what in ((begin, "begin"), (size, "size")):
        need(len(spec.shape) == 1, f"its {what} is not a list")
        view.static(spec, what)
        need(spec.dtype in ("int32", "int64"), f"its {what} is {spec.dtype}")
    need(begin.shape == size.shape, "its begin and size differ in length")
    typed(view.input(0), FLOATS_Q8, "its input")
    typed(view.output(), FLOATS_Q8, "its output")
    need(min(view.values(size) or (1,)) > 0, "a size is -1 (up to the end): give the number")


def softmax(view: View) -> None:
    need(view.options.get("beta", 0.0) == 1.0, "its beta is not 1")
    view.counts((1, 1))
    typed(view.input(0), FLOATS, "its input")
    typed(view.output(), FLOATS, "its output")


def split(view: View) -> None:
    need(view.options.get("numSplits", 0) == len(view.outs), "its number of outputs is wrong")
    view.counts((2, 2), (2, _MAX_SPLIT))
    axis = view.input(0)
    need(axis.dtype == "int32", f"its axis is {axis.dtype}: int32 works")
    view.static(axis, "axis")
    typed(view.input(1), FLOATS_Q8, "its input")
    for slot in range(len(view.outs)):
        typed(view.output(slot), FLOATS_Q8, "an output")


def transpose(view: View) -> None:
    view.counts((2, 2))
    typed(view.input(0), FLOATS_Q8, "its input")
    shaped(view.input(0), 1, what="its input")
    view.static(view.input(1), "order of axes")


def strided_slice(view: View) -> None:
    masks = ("ellipsisMask", "newAxisMask", "shrinkAxisMask")
    need(
        not any(view.options.get(name, 0) for name in masks),
        "it drops or adds an axis (x[0], x[None] or x[...]): use x[0:1] and a reshape",
    )
    source, begin, end, strides = (view.input(slot) for slot in range(4))
    for spec, what in ((strides, "strides"), (begin, "begin"), (end, "end")):
        need(len(spec.shape) == 1, f"its {what} is not a list")
        view.static(spec, what)
        need(spec.dtype == "int32", f"its {what} is {spec.dtype}: int32 works")
        need(spec.shape[0] == len(source.shape), f"its {what} does not name every axis")
    need(set(view.values(strides) or (1,)) == {1}, "it takes every n-th element (stride not 1)")
    typed(source, FLOATS_Q8, "its input")
    typed(view.output(), FLOATS_Q8, "its output")


def transpose_conv(view: View) -> None:
    view.counts((3, 4))
    shape, filters, source, result = view.input(0), view.input(1), view.input(2), view.output()
    need(shape.dtype == "int32" and len(shape.shape) == 1, "its shape is not a list of int32")
    view.static(shape, "output shape")
    need(shape.shape[0] == 4, "its output has not 4 dimensions")
    shaped(filters, 4, 4, "its weights")
    view.static(filters, "weight tensor", unpacked=True)
    typed(source, FLOAT32_Q8, "its input")
    shaped(source, 4, 4, "its input")
    channelwise(filters, 0, "its weights")
    if len(view.ins) > 3 and (added := view.ins[3]) is not None:
        _transpose_bias(view, added)
    typed(result, FLOAT32_Q8, "its output")
    shaped(result, 4, 4, "its output")
    target = view.values(shape) or result.shape
    need(filters.shape[0] == target[3], "its weights do not fit its output channels")
    need(filters.shape[3] == source.shape[3], "its weights do not fit its input channels")
    _transpose_padding(view, source, filters, target)
    activation(view)


def _transpose_bias(view: View, added: Spec) -> None:
    if added.dtype == "int32":
        found = added.tensor.quantization
        need(found and found.scale and found.axis == 0, "its bias is int32 without scales")
    else:
        need(added.dtype in FLOATS, f"its bias is {added.dtype}")
    shaped(added, 1, 1, "its bias")
    view.static(added, "bias", unpacked=True)


def _transpose_padding(view: View, source: Spec, filters: Spec, target: tuple[int, ...]) -> None:
    strides = [view.options.get(name, 0) for name in ("strideH", "strideW")]
    need(min(strides) > 0, "its stride is 0")
    for axis, stride in zip((1, 2), strides, strict=True):
        kernel, made, given = filters.shape[axis], target[axis], source.shape[axis]
        if view.options.get("padding", 0) == 1:  # VALID
            need(kernel <= made, "its kernel is larger than its output")
        else:
            need(-(-made // stride) == given, "its input size does not fit its output size")
            need(kernel >= stride, "its stride is larger than its kernel")


_FLOAT_UNARY = (
    "ABS CEIL COS EXP FLOOR GELU HARD_SWISH LOG NEG RELU_N1_TO_1 RELU RELU6 ROUND RSQRT SIN SQRT"
    " SQUARE"
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(_FLOAT_UNARY.split(), unary(FLOATS)),
    "DEQUANTIZE": unary(Q8, FLOATS),
    "ELU": unary(FLOATS_QS8),
    "LOGISTIC": unary(FLOATS_Q8),
    "TANH": unary(FLOATS_Q8),
    "LEAKY_RELU": leaky_relu,
    "QUANTIZE": quantize,
    **dict.fromkeys(("ADD", "MUL", "SUB"), arithmetic),
    "DIV": divide,
    **dict.fromkeys(("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"), binary(FLOATS)),
    "PRELU": prelu,
    "AVERAGE_POOL_2D": pool(FLOATS, FLOATS),
    "MAX_POOL_2D": pool(FLOAT32_Q8, FLOATS_Q8),
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": convolution,
    "FULLY_CONNECTED": fully_connected,
    "BATCH_MATMUL": batch_matmul,
    "CONCATENATION": concatenation,
    "DEPTH_TO_SPACE": depth_to_space,
    "SPACE_TO_DEPTH": space_to_depth,
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), reduction),
    "PAD": pad,
    "RESHAPE": reshape,
    "RESIZE_BILINEAR": resize_bilinear,
    "SLICE": slice_,
    "SOFTMAX": softmax,
    "SPLIT": split,
    "TRANSPOSE": transpose,
    "STRIDED_SLICE": strided_slice,
    "TRANSPOSE_CONV": transpose_conv,
}
