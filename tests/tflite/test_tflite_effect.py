"""What became of weights and operators, and operators by name; files by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
import tflite_models as make
from hypothesis import given
from hypothesis import strategies as st
from tflite_models import OP, TYPE, Maker

from tflbuild.tflite import effect, names
from tflbuild.tflite.read import TfliteModel, read_model

s = make.s


def two_layers(dtype: int = TYPE.FLOAT32, scale: float | None = None) -> Maker:
    """`first` (CONV-like FULLY_CONNECTED) and `second`, with SIN between, in one dtype."""
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", (1, 64), dtype, scale=scale)
    a = g.tensor("net/first/Relu;net/first/MatMul", (1, 32), dtype, scale=scale)
    b = g.tensor("net/wave/Sin", (1, 32), dtype, scale=scale)
    y = g.tensor("out", (1, 4), dtype, scale=scale)
    g.op(OP.FULLY_CONNECTED, [x, g.weight("net/first/MatMul", (32, 64), dtype)], [a])
    g.op(OP.SIN, [a], [b])
    g.op(OP.FULLY_CONNECTED, [b, g.weight("net/second/MatMul1", (4, 32), dtype)], [y])
    g.io([x], [y])
    maker.signature("s", {"x": x}, {"y": y})
    return maker


MODEL = read_model(two_layers().pack())


@pytest.mark.parametrize(
    ("pattern", "indexes"),
    [
        ("SIN", [1]),
        ("FULLY_CONNECTED", [0, 2]),
        ("FULL*", [0, 2]),
        ("first", [0]),
        ("net/first", [0]),
        ("net", [0, 1, 2]),
        ("second", [2]),  # by its weights: the output has the model's name
        ("out", [2]),
        ("net/first/Relu;net/first/MatMul", [0]),
        ("*/MatMul*", [0, 2]),
        ("[fw]*", [0, 1]),
        ("irst", []),
        ("First", []),
        ("x", []),
    ],
)
def test_names(pattern: str, indexes: list[int]) -> None:
    found = names.find(MODEL, [pattern])[pattern]
    assert [op.index for _, op in found] == indexes


@given(st.text(max_size=40))
def test_any_pattern_is_answered(pattern: str) -> None:
    (found,) = names.find(MODEL, [pattern]).values()
    near = names.near(MODEL, pattern)
    assert near
    assert all("\n" not in name for name in near)
    assert len(found) <= 3


def test_float_operators() -> None:
    found = effect.float_operators(MODEL)
    assert effect.describe_operators(found, 2) == (
        "FULLY_CONNECTED 'net/first/Relu;net/first/MatMul', SIN 'net/wave/Sin' and 1 more"
    )
    assert effect.float_operators(read_model(two_layers(TYPE.INT8, 0.5).pack())) == []


def test_report() -> None:
    told = effect.report(MODEL, effect.Kept(quantize="dynamic_range"))
    assert told["operators"] == {"FULLY_CONNECTED": {"float32": 2}, "SIN": {"float32": 1}}
    assert told["weights_ratio"] == 1.0
    assert [entry["why"] for entry in told["float_weights"]] == [
        "FULLY_CONNECTED has no quantized kernel for it", "fewer than 1,024 elements",
    ]  # fmt: skip
    kept = effect.report(MODEL, effect.Kept({(0, 2)}, "int8"))["float_weights"]
    assert kept[1]["why"] == "keep_float"
    assert told["signatures"] == [
        {"signature": "s", "subgraph": 0, "weights": 0.0, "operators": 0.0}
    ]
    narrow = effect.report(read_model(two_layers(TYPE.INT8, 0.5).pack()), effect.Kept())
    assert narrow["weights_ratio"] == 0.25
    assert narrow["float_weights"] == []
    assert narrow["signatures"][0]["weights"] == narrow["signatures"][0]["operators"] == 1.0


def quantized(scales: dict[str, float]) -> TfliteModel:
    """x → QUANTIZE → q → ABS → r → DEQUANTIZE → y."""
    maker = Maker()
    g = maker.graph()
    x, y = g.tensor("x", (1, 4)), g.tensor("y", (1, 4))
    q, r = (g.tensor(n, (1, 4), TYPE.INT8, scale=scales.get(n, 0.5)) for n in "qr")
    m = g.tensor("m", (1, 4), TYPE.INT8, scale=scales.get("m", 0.5))
    g.op(OP.QUANTIZE, [x], [q])
    g.op(OP.ABS, [q], [m], s.AbsOptionsT())
    g.op(OP.NEG, [m], [r], s.NegOptionsT())
    g.op(OP.DEQUANTIZE, [r], [y])
    g.io([x], [y])
    maker.signature("s", {"in": x}, {"out": y})
    return read_model(maker.pack())


@pytest.mark.parametrize(
    ("scales", "outside", "inside"),
    [
        ({}, [], []),
        ({"q": 7.84e-9}, ["input 'in'"], []),  # what the converter writes for a constant
        ({"r": 7.84e-9}, ["output 'out'"], []),
        ({"m": 7.84e-9}, [], ["m"]),
        ({"m": 1e-6}, [], []),
    ],
)
def test_point_ranges(scales: dict[str, float], outside: list[str], inside: list[str]) -> None:
    assert effect.point_ranges(quantized(scales)) == (outside, inside)


def test_parts_of_signatures_hold_what_they_call() -> None:
    model = read_model(make.everything().pack())
    found = {
        name: [g.index for g in part.subgraphs] for name, _, part in effect.by_signature(model)
    }
    assert 3 in found["body"]
    assert set(found["body"]) < set(found["first"])


def layers(*paths: str) -> TfliteModel:
    """One SIN for each path."""
    maker = Maker()
    g = maker.graph()
    tensors = [g.tensor("x", (1, 4)), *(g.tensor(path, (1, 4)) for path in paths)]
    for before, after in pairwise(tensors):
        g.op(OP.SIN, [before], [after])
    g.io([tensors[0]], [tensors[-1]])
    maker.signature("s", {"x": tensors[0]}, {"y": tensors[-1]})
    return read_model(maker.pack())


@pytest.mark.parametrize(
    ("pattern", "indexes"),
    [
        ("conv1", [0]),  # Keras 3 traces the layer `conv1` in a scope `conv1_1`
        ("conv1_1", [0]),
        ("net/conv1", [0]),
        ("net_1/conv1", [0]),
        ("head", [3]),
        ("dense", []),  # two could be meant
        ("dense_1", [1]),
        ("conv", []),
        ("net/conv1/Relu", [0]),
        ("he?d", []),
    ],
)
def test_names_of_layers_that_tracing_numbered(pattern: str, indexes: list[int]) -> None:
    model = layers("net_1/conv1_1/Relu", "net_1/dense_1/Relu", "net_1/dense_2/Relu", "net_1/head_1")
    found = names.find(model, [pattern])[pattern]
    assert [op.index for _, op in found] == indexes


def test_near_names_begin_alike() -> None:
    model = layers("a/conv2_1/Relu", "a/conv1_1/Relu", "a/dense_1/Relu", "a/dense_2/Relu")
    assert names.near(model, "conv1_x")[0] == "conv1_1"
    assert names.near(model, "con")[:2] == ["conv1_1", "conv2_1"]
    assert names.near(model, "dense")[:2] == ["dense_1", "dense_2"]
