"""XNNPACK: what the rules say is what the interpreter does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as s
from delegate_files import IMAGE, One, T, arg_max, chain, conv, dense, ints, pool
from tflite_models import OP, TYPE, Maker, read_or_skip, two_in_two_out, variables

from tflbuild.delegates.base import Scene
from tflbuild.delegates.coverage import coverage
from tflbuild.delegates.table import DELEGATES, measure
from tflbuild.delegates.xnnpack import observed
from tflbuild.tflite.read import read_model

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/models/mlperf-tiny/published"
PUBLISHED_NAMES = "ad01_fp32 ad01_int8 kws_int8 resnet8_fp32 resnet8_int8 vww96_fp32 vww96_int8"
FLOAT_ONLY = "ABS CEIL COS EXP FLOOR LOG NEG RELU RELU6 ROUND RSQRT SIN SQRT SQUARE"


def check(data: bytes) -> dict[str, Any]:
    """The figures of a file, after they were compared with those of the interpreter."""
    model = read_model(data)
    found = coverage(model, DELEGATES["xnnpack"], data=data)
    seen = observed(data, model)
    assert seen is not None
    why = DELEGATES["xnnpack"].refusals(Scene(model, model.subgraphs[0], data))
    assert [at for at, reason in enumerate(why) if reason] == seen["left"]
    figures = ("ops", "delegated", "partitions")
    assert [found[key] for key in figures] == [seen[key] for key in figures]
    return found


@pytest.mark.parametrize("name", PUBLISHED_NAMES.split())
def test_published_models(name: str) -> None:
    found = check(read_or_skip(PUBLISHED / f"{name}.tflite"))
    left = {entry["op"] for entry in found["breaks"]}
    wanted = set() if name.startswith("ad01") or "fp32" in name else {"AVERAGE_POOL_2D", "SOFTMAX"}
    assert left == wanted


def add(dtype: str, scales: tuple[float, float], activation: int = 0) -> One:
    options = s.AddOptionsT(fusedActivationFunction=activation)
    one, other = (T(dtype=dtype, scales=(scale,)) for scale in scales)
    return One("ADD", (one, one), (other,), options)


def reduced(name: str, dtype: str, axes: T, shape: tuple[int, ...]) -> One:
    return One(name, (T(dtype=dtype), axes), (T(shape, dtype),), s.ReducerOptionsT())


def sliced(dtype: str = "float32", stride: int = 1, shrink: int = 0) -> One:
    shape = (1, 4 // stride, 4, 4) if not shrink else (4, 4, 4)
    inputs = (T(dtype=dtype), ints(0, 0, 0, 0), ints(1, 4, 4, 4), ints(1, stride, 1, 1))
    return One(
        "STRIDED_SLICE", inputs, (T(shape, dtype),), s.StridedSliceOptionsT(shrinkAxisMask=shrink)
    )


def joined(count: int, dtype: str = "float32") -> One:
    inputs = tuple(T(dtype=dtype) for _ in range(count))
    return One(
        "CONCATENATION", inputs, (T((1, 4, 4, 4 * count), dtype),), s.ConcatenationOptionsT(axis=3)
    )


def cut(count: int, dtype: str = "float32") -> One:
    outputs = tuple(T((1, 4, 4, 4 // count), dtype) for _ in range(count))
    return One(
        "SPLIT", (ints(3, shape=()), T(dtype=dtype)), outputs, s.SplitOptionsT(numSplits=count)
    )


def reshaped(dtype: str = "float32", shape: T | None = None, scale: float = 0.5) -> One:
    inputs = (T(dtype=dtype), shape or ints(4, 16))
    scales = (scale,) if dtype in ("int8", "uint8") else ()
    return One("RESHAPE", inputs, (T((4, 16), dtype, scales=scales),), s.ReshapeOptionsT())


def unpooled(kernel: int, stride: int, dtype: str = "float32") -> One:
    side = 4 * stride
    inputs = (ints(1, side, side, 4), T((4, kernel, kernel, 4), dtype, True), T(dtype=dtype))
    options = s.TransposeConvOptionsT(strideW=stride, strideH=stride)
    return One("TRANSPOSE_CONV", inputs, (T((1, side, side, 4), dtype),), options)


def matmul(left: str, right: str, *, zero: int = 0) -> One:
    inputs = (T((2, 3, 4), left), T((2, 4, 5), right, zero=zero))
    return One("BATCH_MATMUL", inputs, (T((2, 3, 5), left),), s.BatchMatMulOptionsT())


def resized(name: str, dtype: str = "float32") -> One:
    options = s.ResizeBilinearOptionsT() if name == "RESIZE_BILINEAR" else None
    options = options or s.ResizeNearestNeighborOptionsT()
    return One(name, (T(dtype=dtype), ints(8, 8)), (T((1, 8, 8, 4), dtype),), options)


def softmax(dtype: str, beta: float = 1.0) -> One:
    result = T(dtype=dtype, scales=(1 / 256,), zero=-128) if dtype == "int8" else T(dtype=dtype)
    return One("SOFTMAX", (T(dtype=dtype),), (result,), s.SoftmaxOptionsT(beta=beta))


def spaced(name: str, dtype: str) -> One:
    options = s.DepthToSpaceOptionsT if name == "DEPTH_TO_SPACE" else s.SpaceToDepthOptionsT
    shape = (1, 8, 8, 1) if name == "DEPTH_TO_SPACE" else (1, 2, 2, 16)
    return One(name, (T(dtype=dtype),), (T(shape, dtype),), options(blockSize=2))


def leaky(dtype: str, alpha: float) -> One:
    return One("LEAKY_RELU", (T(dtype=dtype),), (T(dtype=dtype),), s.LeakyReluOptionsT(alpha=alpha))


def one(name: str, source: T, result: T) -> One:
    return One(name, (source,), (result,))


FEW, MANY = T((5,), "int8", scales=(0.5,)), T((5,), "int8", scales=(200.0,))
# (operator, "" when it is taken or part of the reason)
SINGLE: list[tuple[One, str]] = [
    *((one(name, T(), T()), "") for name in FLOAT_ONLY.split()),
    (one("ABS", T(dtype="int8"), T(dtype="int8")), "is int8"),
    (one("RELU", T(dtype="int8"), T(dtype="int8")), "is int8"),
    (one("LOGISTIC", T(dtype="int8"), T(dtype="int8", scales=(1 / 256,), zero=-128)), ""),
    (one("TANH", T(dtype="int8"), T(dtype="int8", scales=(1 / 128,))), ""),
    (one("ELU", T(dtype="int8"), T(dtype="int8")), ""),
    (one("SIGN", T(), T()), "no such operator"),
    (one("QUANTIZE", T(), T(dtype="int8")), ""),
    (one("QUANTIZE", T(), T(dtype="int16")), "is int16"),
    (one("QUANTIZE", T(dtype="uint8", zero=128), T(dtype="int8")), "changes uint8 to int8"),
    (one("QUANTIZE", FEW, MANY), "too far apart"),
    (one("DEQUANTIZE", T(dtype="int8"), T()), ""),
    (one("DEQUANTIZE", T(dtype="int16"), T()), "is int16"),
    (one("DEQUANTIZE", T(dtype="float16"), T()), "is float16"),
    (one("DEQUANTIZE", T(dtype="float16", constant=True), T()), ""),
    (leaky("float32", 0.1), ""),
    (leaky("int8", 0.1), ""),
    (leaky("int8", 0.001), "too far apart"),
    (add("float32", (0, 0)), ""),
    (add("float32", (0, 0), activation=1), ""),
    (add("float32", (0, 0), activation=4), "not a clamp"),
    (add("int8", (0.5, 0.5)), ""),
    (add("int8", (0.5, 0.5 / 512)), "too far apart"),
    (add("int16", (0.5, 0.5)), "is int16"),
    (One("ADD", (T(dtype="int32"),) * 2, (T(dtype="int32"),), s.AddOptionsT()), "is int32"),
    (One("MAXIMUM", (T(), T()), (T(),), s.MaximumMinimumOptionsT()), ""),
    (One("MAXIMUM", (T(dtype="int8"),) * 2, (T(dtype="int8"),)), "is int8"),
    (One("POW", (T(), T()), (T(),), s.PowOptionsT()), "no such operator"),
    (One("PRELU", (T(), T((1, 1, 4), constant=True)), (T(),)), ""),
    (One("PRELU", (T(), T((1, 1, 4))), (T(),)), "slope is not a constant"),
    (pool("AVERAGE_POOL_2D"), ""),
    (pool("AVERAGE_POOL_2D", "int8"), "is int8"),
    (pool("AVERAGE_POOL_2D", window=1), "larger than its window"),
    (pool("MAX_POOL_2D", "int8"), ""),
    (pool("MAX_POOL_2D", "uint8"), ""),
    (pool("MAX_POOL_2D", "int16"), "is int16"),
    (conv(), ""),
    (conv("int8"), ""),
    (conv("uint8"), ""),
    (conv("int8", scales=(0.5, 0.25, 0.5, 0.25)), ""),
    (conv("float32", "int8", scales=(0.5, 0.25, 0.5, 0.25)), ""),
    (conv(activation=4), "not a clamp"),
    (conv(constant=False), "weight tensor is not a constant"),
    (conv(depthwise=True), ""),
    (conv("int8", depthwise=True, scales=(0.5, 0.25, 0.5, 0.25), axis=3), ""),
    (conv("float32", "int8", depthwise=True, scales=(0.5,) * 4, axis=3), "no such kernel"),
    (dense(), ""),
    (dense(bias=False), ""),
    (dense("int8"), ""),
    (dense("uint8"), ""),
    (dense("int8", zero=3), "zero point"),
    (dense("float32", "int8"), ""),
    (dense("float32", "int8", scales=(0.5, 0.25, 0.5)), ""),
    (dense("int16", "int8"), "is int16"),
    (dense(constant=False), "weight tensor is not a constant"),
    (matmul("float32", "float32"), ""),
    (matmul("int8", "int8"), ""),
    (matmul("int8", "int8", zero=4), "zero point"),
    (reduced("MEAN", "float32", ints(1, 2), (1, 4)), ""),
    (reduced("MEAN", "int8", ints(1, 2), (1, 4)), ""),
    (reduced("MEAN", "float32", T((2,), "int32"), (1, 4)), "is not a constant"),
    (reduced("REDUCE_MAX", "float32", ints(3), (1, 4, 4)), ""),
    (reduced("REDUCE_PROD", "float32", ints(3), (1, 4, 4)), "no such operator"),
    (joined(2), ""),
    (joined(5), ""),
    (joined(6), "6 inputs: 2 to 5"),
    (joined(2, "int32"), "is int32"),
    (cut(2), ""),
    (cut(4, "int8"), ""),
    (reshaped(), ""),
    (reshaped("int8"), ""),
    (reshaped("int8", scale=0.25), "differ in scale"),
    (reshaped("int32"), "is int32"),
    (reshaped(shape=T((2,), "int32")), "new shape is not a constant"),
    (sliced(), ""),
    (sliced("int8"), ""),
    (sliced(stride=2), "every n-th"),
    (sliced(shrink=1), "drops or adds an axis"),
    (One("SLICE", (T(), ints(0, 1, 1, 0), ints(1, 2, 2, 4)), (T((1, 2, 2, 4)),)), ""),
    (One("SLICE", (T(), ints(0, 1, 1, 0), ints(1, 2, 2, -1)), (T((1, 2, 2, 4)),)), "up to the end"),
    (One("PAD", (T(), ints(0, 0, 1, 1, 1, 1, 0, 0, shape=(4, 2))), (T((1, 6, 6, 4)),)), ""),
    (One("TRANSPOSE", (T(), ints(0, 3, 1, 2)), (T(),)), ""),
    (One("TRANSPOSE", (T(), T((4,), "int32")), (T(),)), "order of axes is not a constant"),
    (resized("RESIZE_BILINEAR"), ""),
    (resized("RESIZE_BILINEAR", "int8"), ""),
    (resized("RESIZE_NEAREST_NEIGHBOR"), "no such operator"),
    (softmax("float32"), ""),
    (softmax("float32", 2.0), "beta is not 1"),
    (softmax("int8"), "is int8"),
    (spaced("DEPTH_TO_SPACE", "int8"), ""),
    (spaced("SPACE_TO_DEPTH", "float32"), ""),
    (unpooled(3, 2), ""),
    (unpooled(1, 2), "larger than its kernel"),
    (One("EXPAND_DIMS", (T(), ints(0)), (T((1, *IMAGE)),)), "no such operator"),
    (arg_max(), "no such operator"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "why"), SINGLE, ids=[f"{at}-{case.op}" for at, (case, _) in enumerate(SINGLE)]
)
def test_single_operators(case: One, why: str) -> None:
    found = check(case.pack())
    reasons = [entry["why"] for entry in found["breaks"]]
    assert [why in reason for reason in reasons] == ([True] if why else [])


def test_operators_between() -> None:
    assert check(chain("ABS", "SIGN", "EXP"))["partitions"] == 2
    assert check(chain("ABS", "EXP"))["partitions"] == 1


def half(*, also_read_by: str = "") -> bytes:
    """x @ W + b with W of float16 behind DEQUANTIZE, which another operator may read too."""
    maker = Maker()
    graph = maker.graph()
    x, w = graph.tensor("x", (2, 4)), graph.weight("w", (3, 4), TYPE.FLOAT16)
    wide, y = graph.tensor("wide", (3, 4)), graph.tensor("y", (2, 3))
    graph.op(OP.DEQUANTIZE, [w], [wide])
    graph.op(OP.FULLY_CONNECTED, [x, wide, -1], [y], s.FullyConnectedOptionsT())
    outputs = [y]
    if also_read_by:
        outputs.append(graph.tensor("other", (3, 4)))
        graph.op(getattr(OP, also_read_by), [wide], [outputs[-1]])
    graph.io([x], outputs)
    return maker.pack()


def test_unpacked_weights_go_with_their_reader() -> None:
    assert check(half())["delegated"] == 2
    assert check(half(also_read_by="ABS"))["delegated"] == 3
    found = check(half(also_read_by="SIGN"))
    assert found["delegated"] == 1
    assert "reads it is not taken" in str(found["breaks"])


def test_models_by_hand() -> None:
    assert check(two_in_two_out().pack())["delegated"] == 2


def test_variables() -> None:
    found = check(variables(initialized=True).pack())
    assert [entry["op"] for entry in found["breaks"]] == ["CALL_ONCE"]
    assert found["partitions"] == 2  # what has side effects keeps its order


def test_without_the_data_constants_count_as_kept() -> None:
    model = read_model(sliced(stride=2).pack())
    assert coverage(model, DELEGATES["xnnpack"])["delegated"] == 1


def test_what_is_seen_is_the_truth() -> None:
    data = chain("ABS", "SIGN", "EXP")
    model = read_model(data)
    found = measure(model, data, observe=True)["xnnpack"]
    assert found["observed"]
    assert {**found, "observed": False} == measure(model, data)["xnnpack"]
    other = {"ops": 3, "delegated": 1, "partitions": 1, "left": [1, 2]}
    found = coverage(model, DELEGATES["xnnpack"], data=data, seen=other)
    assert (found["delegated"], found["partitions"]) == (1, 1)
    assert [entry["why"] for entry in found["breaks"]] == [
        "XNNPACK has no such operator",
        "the runtime does not take it",
    ]


def test_what_cannot_be_loaded_is_not_observed() -> None:
    large = T((2**15, 2**14))
    for one in (One("Mine", (T(),), custom=True), One("ABS", (large,), (large,))):
        data = one.pack()
        assert observed(data, read_model(data)) is None
        assert not measure(read_model(data), data, observe=True)["xnnpack"]["observed"]
