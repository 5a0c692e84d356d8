"""The GPU delegate: what its rules take, and why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s
from delegate_files import DTYPES, IMAGE, One, T, arg_max, conv, dense, ints, pool
from tflite_models import OP, TYPE, Maker, variables

from tflbuild.delegates.coverage import coverage
from tflbuild.delegates.gpu_rules import COMPARISONS, CUSTOM_RULES, NEWER, RULES
from tflbuild.delegates.table import DELEGATES
from tflbuild.tflite.read import read_model


def found(data: bytes) -> dict[str, Any]:
    return coverage(read_model(data), DELEGATES["gpu"], data=data)


def added(one: tuple[int, ...], other: tuple[int, ...], *, name: str = "ADD") -> One:
    options = s.AddOptionsT() if name == "ADD" else s.MulOptionsT()
    return One(name, (T(one), T(other)), (T(one),), options)


def image(dtype: str = "float32", **fields: Any) -> T:
    return T(IMAGE, dtype, **fields)


def raw(*numbers: int) -> dict[str, Any]:
    """Options of MediaPipe's operators."""
    return {"customOptions": np.frombuffer(np.array(numbers, "<i4").tobytes(), np.uint8)}


def pooled(window: int, stride: int) -> One:
    values = raw(0, stride, stride, window, window, 0)
    outputs = (T((1, 2, 2, 4)), T((1, 2, 2, 4)))
    return One("MaxPoolingWithArgmax2D", (image(),), outputs, custom=True, fields=values)


def lstm(depth: int) -> One:
    state = T((2, depth))
    weights, bias = T((4 * depth, 2 * depth), constant=True), T((4 * depth,), constant=True)
    options = s.LSTMOptionsT(kernelType=1, fusedActivationFunction=4)
    return One("LSTM", (state, weights, bias, state, state), (state,) * 4, options)


def padded(name: str = "PAD", rows: int = 4, options: Any = None) -> One:
    paddings = ints(*[0] * 2 * rows, shape=(rows, 2))
    shape = IMAGE[-rows:]
    return One(name, (T(shape), paddings), (T(shape),), options)


def chosen(condition: T, other: T) -> One:
    return One("SELECT_V2", (condition, image(), other), (image(),))


def gathered(indexes: T) -> One:
    return One("GATHER", (image(), indexes), (T((1, 4, 4, 2)),), s.GatherOptionsT(axis=3))


def without_bias() -> One:
    """A depthwise convolution whose third input is -1; with two inputs alone it is taken."""
    one = conv(depthwise=True)
    return replace(one, inputs=(*one.inputs[:2], None))


def hot(indexes: T, axis: int = -1) -> One:
    value = T((), constant=True)
    inputs = (indexes, ints(4, shape=()), value, value)
    return One("ONE_HOT", inputs, (T((3, 4)),), s.OneHotOptionsT(axis=axis))


def warped(batch: int, channels: int) -> One:
    inputs = (T((batch, 4, 4, 3)), T((1, 4, 4, channels)))
    return One("Resampler", inputs, (T((batch, 4, 4, 3)),), custom=True)


def rfft() -> One:
    return One("RFFT2D", (image(), ints(4, 4)), (image(),))


def cast(source: str, result: str) -> One:
    return One("CAST", (image(source),), (image(result),))


def cut(*masks: int) -> One:
    inputs = (image(), ints(0, 0, 0, 0), ints(1, 4, 4, 4), ints(1, 1, 1, 1))
    options = s.StridedSliceOptionsT(ellipsisMask=masks[0], shrinkAxisMask=masks[1])
    return One("STRIDED_SLICE", inputs, (image(),), options)


def unary(name: str, dtype: str = "float32", **fields: Any) -> One:
    return One(name, (image(dtype),), (image(dtype),), **fields)


CASES: list[tuple[One, str]] = [
    # data types and shapes
    (unary("RELU"), ""),
    (unary("RELU", "int8"), ""),
    (unary("RELU", "int16"), "is int16"),
    (unary("RELU", "int64"), "is int64"),
    (unary("ABS", "int32"), "is int32"),
    (One("RELU", (image("int8", scales=()),), (image("int8"),)), "without one scale"),
    (One("RELU", (image("int8", scales=(0.5,) * 4),), (image("int8"),)), "without one scale"),
    (One("RELU", (T((1, 2, 2, 2, 2)),), (T((1, 2, 2, 2, 2)),)), "5 dimensions"),
    (One("RELU", (T(()),), (T(()),)), "scalar"),
    # no such operator
    (arg_max(), "no such operator"),
    (rfft(), "no such operator"),
    (unary("CEIL"), "newer GPU path"),
    (One("Mine", (image(),), custom=True), "custom operator"),
    # versions
    (conv(version=6), ""),
    (conv(version=7), "version 7"),
    (dense(version=9), ""),
    (dense(version=12), "version 12"),
    (unary("TANH", version=3), "version 3"),
    # convolutions
    (conv(), ""),
    (conv("int8"), ""),
    (conv("float32", "int8", scales=(0.5,) * 4), ""),
    (conv(constant=False), ""),
    (conv(bias=False), ""),
    (conv(activation=4), ""),
    (conv(activation=5), "sign bit"),
    (conv(stride=0), "stride is 0"),
    (conv("float32", "int16"), "weights are int16"),
    (conv(depthwise=True), ""),
    (conv(depthwise=True, source=T((2, 4, 4, 4))), "batch changes"),
    (conv(depthwise=True, source=T((1, 4, 4, 2))), "depth multiplier"),
    (without_bias(), "bias does not fit"),
    (dense(), ""),
    (dense("float32", "int8"), ""),
    (dense(constant=False), ""),
    (dense(shuffled=True), "shuffled"),
    (pool("MAX_POOL_2D"), ""),
    (pool("AVERAGE_POOL_2D", "int8"), ""),
    (pool("MAX_POOL_2D", window=0), "window is 0"),
    (pooled(2, 2), ""),
    (pooled(2, 0), "stride is 0"),
    # broadcasts
    (added((4, 1, 2), (2,)), ""),
    (added((1, 100, 256), (100, 256)), "broadcast 100x256 to 1x100x256"),
    (added((4, 1, 1, 2), (1, 1, 2)), "broadcast"),
    (added((1, 128, 513, 3), (128, 513, 3)), ""),
    (added((1, 512, 512, 1), (1, 1)), ""),
    (added((1, 4, 4, 10), (1, 10)), ""),
    (added((1, 4, 4, 10), (1, 10), name="MUL"), ""),
    (added((1, 4, 4, 10), (4, 10), name="MUL"), "broadcast"),
    (One("ADD", (image(),) * 3, (image(),), s.AddOptionsT()), "3 inputs"),
    (One("SUB", (image(), image(constant=True)), (image(),), s.SubOptionsT()), ""),
    (One("SUB", (image(constant=True),) * 2, (image(),), s.SubOptionsT()), "two inputs"),
    # constants
    (One("MEAN", (image(), ints(1, 2)), (T((1, 4)),), s.ReducerOptionsT()), ""),
    (One("MEAN", (image(), T((2,), "int32")), (T((1, 4)),)), "is int32"),
    (One("MEAN", (image(), ints(1, 2, dtype="int64")), (T((1, 4)),)), "axes are int64"),
    (One("RESHAPE", (image(), ints(4, 16)), (T((4, 16)),), s.ReshapeOptionsT()), ""),
    (One("RESHAPE", (image(), T((2,), "int32")), (T((4, 16)),)), "is int32"),
    (padded(), ""),
    (padded(rows=2), "3 or 4 dimensions"),
    (padded("MIRROR_PAD", options=s.MirrorPadOptionsT(mode=0)), ""),
    (padded("MIRROR_PAD", options=s.MirrorPadOptionsT(mode=1)), "REFLECT"),
    # the rest
    (lstm(8), ""),
    (lstm(5), "multiple of 4"),
    (warped(1, 2), ""),
    (warped(2, 2), "batches differ"),
    (warped(1, 1), "fewer than 2 channels"),
    (cast("float32", "int32"), ""),
    (cast("float32", "int64"), "is int64"),
    (cast("bool", "float32"), "not read here alone"),
    (cast("int8", "float32"), "casts int8"),
    (One("GREATER", (image(), image()), (image("bool"),)), "not read exactly once"),
    (chosen(T((4, 4, 4), "bool"), image()), ""),
    (chosen(T((3,), "bool"), image()), "condition does not broadcast"),
    (chosen(image("bool"), T((2, 2), constant=True)), "neither of the output's shape"),
    (gathered(ints(0, 2)), ""),
    (gathered(T((2,), "int32")), ""),
    (gathered(ints(0, 2, dtype="int64")), "indexes are int64"),
    (gathered(ints(0, 2, shape=(1, 2))), "2 dimensions"),
    (hot(T((3,), "int32")), ""),
    (hot(T((2, 3), "int32")), "in the middle"),
    (hot(T((3,), "int32"), axis=0), "axis is not the last"),
    (cut(0, 0), ""),
    (cut(1, 0), "drops or adds an axis"),
    (cut(0, 1), "drops or adds an axis"),
    (One("SLICE", (T((4, 4)), ints(0, 0), ints(2, 2)), (T((2, 2)),)), "2 dimensions: 3 or 4"),
    (unary("SOFTMAX", options=s.SoftmaxOptionsT(beta=1.0)), ""),
    (unary("SOFTMAX", options=s.SoftmaxOptionsT(beta=2.0)), "beta"),
    (unary("SPACE_TO_DEPTH", options=s.SpaceToDepthOptionsT(blockSize=1)), "block size"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "why"), CASES, ids=[f"{at}-{case.op}" for at, (case, _) in enumerate(CASES)]
)
def test_rules(case: One, why: str) -> None:
    report = found(case.pack())
    reasons = [entry["why"] for entry in report["breaks"]]
    assert [why in reason for reason in reasons] == ([True] if why else [])
    assert report["delegated"] == (0 if why else 1)


_CALLS = (
    "CALL CALL_ONCE IF WHILE STABLEHLO_CASE STABLEHLO_COMPOSITE STABLEHLO_CUSTOM_CALL"
    " STABLEHLO_REDUCE STABLEHLO_REDUCE_WINDOW STABLEHLO_SCATTER STABLEHLO_SORT STABLEHLO_WHILE"
)


def test_every_operator_has_an_answer() -> None:
    """No name that the schema does not have, and a reason for each that has no rule."""
    builtins = {name for name in vars(OP) if name.isupper()}
    assert set(RULES) | NEWER <= builtins
    assert not set(RULES) & NEWER
    assert set(RULES) >= COMPARISONS
    assert (len(RULES), len(CUSTOM_RULES)) == (80, 4)
    others = {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES", *_CALLS.split()}
    for name in sorted(builtins - set(RULES) - others):
        report = found(One(name, (image(),), (image(),)).pack())
        assert report["delegated"] == 0, name
        assert "operator" in report["breaks"][0]["why"] or "variables" in str(report["breaks"])


def test_dynamic_shapes_block_the_delegate() -> None:
    report = found(unary_with(signature=(-1, 4, 4, 4)))
    assert report["delegated"] == 0
    assert report["partitions"] == 0
    assert report["blocked"] == report["breaks"][0]["why"]
    assert "fixed shapes only, and 't0' is ?x4x4x4: pin it" in report["blocked"]
    assert report["pinned"] == {
        "delegated": 1, "share_ops": 1.0, "share_macs": None, "partitions": 1,
    }  # fmt: skip
    assert found(unary_with(signature=(1, -1, 4, 4)))["pinned"] is None
    assert found(unary_with(signature=(1, 4, 4, 4)))["blocked"] is None


def unary_with(signature: tuple[int, ...]) -> bytes:
    return One("RELU", (image(signature=signature),), (image(),)).pack()


def test_control_flow_and_state_stay() -> None:
    report = found(variables(initialized=True).pack())
    reasons = {entry["op"]: entry["why"] for entry in report["breaks"]}
    assert reasons["CALL_ONCE"] == "control flow stays on the CPU"
    assert reasons["VAR_HANDLE"] == reasons["READ_VARIABLE"] == "variables stay on the CPU"


def compared(reader: str = "CAST", *, result: bool = False) -> bytes:
    """GREATER, and what makes floats of it."""
    maker = Maker()
    graph = maker.graph()
    x, y = graph.tensor("x", IMAGE), graph.tensor("y", IMAGE)
    flags, out = graph.tensor("flags", IMAGE, DTYPES["bool"]), graph.tensor("out", IMAGE)
    end = graph.tensor("end", IMAGE)
    graph.op(OP.GREATER, [x, y], [flags])
    graph.op(getattr(OP, reader), [flags] if reader == "CAST" else [flags, x, y], [out])
    if not result:
        graph.op(OP.RELU, [out], [end])
    graph.io([x, y], [out if result else end])
    return maker.pack()


def test_comparisons_go_with_what_reads_them() -> None:
    assert found(compared())["delegated"] == 3
    assert found(compared("SELECT_V2"))["delegated"] == 3
    report = found(compared(result=True))  # the float of the comparison leaves the model
    assert [entry["op"] for entry in report["breaks"]] == ["CAST"]


def halves(*more: str) -> bytes:
    """RELU → FULLY_CONNECTED with float16 weights → more."""
    maker = Maker()
    graph = maker.graph()
    x, w = graph.tensor("x", (1, 4)), graph.weight("w", (4, 4), TYPE.FLOAT16)
    wide, y, z = graph.tensor("wide", (4, 4)), graph.tensor("y", (1, 4)), graph.tensor("z", (1, 4))
    graph.op(OP.RELU, [x], [y])
    graph.op(OP.DEQUANTIZE, [w], [wide])
    graph.op(OP.FULLY_CONNECTED, [y, wide, -1], [z], s.FullyConnectedOptionsT())
    for name in more:
        z, last = graph.tensor(name, (1, 4)), z
        graph.op(getattr(OP, name), [last], [z])
    graph.io([x], [z])
    return maker.pack()


def test_float16_weights() -> None:
    whole = found(halves())
    assert (whole["delegated"], whole["partitions"]) == (3, 1)
    part = found(halves("CEIL", "TANH"))
    assert (part["delegated"], part["partitions"]) == (3, 2)
    assert {entry["op"] for entry in part["breaks"]} == {"DEQUANTIZE", "CEIL"}


def test_by_default_only_the_largest_partition_runs() -> None:
    report = found(halves("CEIL", "TANH"))
    assert [piece["ops"] for piece in report["pieces"]] == [2, 1]
    assert report["share_ops"] == 0.6
    assert report["by_default"]["share_ops"] == 0.2  # chosen before the weights are remapped
