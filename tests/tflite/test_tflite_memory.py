from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_models import OP, TYPE, Maker, everything, read_or_skip, s, two_in_two_out, variables

from tflbuild.tflite.memory import FOREVER, Interval, arena, describe, intervals, peak, plan
from tflbuild.tflite.read import read_model

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/models/mlperf-tiny/published"


def chain(*ops: int, size: int = 64) -> Maker:
    """Operators in a row, each of one float tensor of `size` elements."""
    maker = Maker()
    g = maker.graph()
    tensors = [g.tensor(f"t{i}", (1, size)) for i in range(len(ops) + 1)]
    for op, (a, b) in zip(ops, itertools.pairwise(tensors), strict=True):
        g.op(op, [a, a] if op in (OP.ADD, OP.MUL) else [a], [b])
    g.io([tensors[0]], [tensors[-1]])
    return maker


def real_arena(data: bytes) -> int:
    """Bytes from the first to the last tensor that LiteRT's reference kernels see."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    spans = []
    for interval in intervals(read_model(data).subgraphs[0]):
        view = interpreter.tensor(interval.tensor)()
        spans.append((view.__array_interface__["data"][0], view.nbytes))
    return int(max(a + n for a, n in spans) - min(a for a, _ in spans))


@pytest.mark.parametrize(
    "name",
    ["ad01_fp32", "ad01_int8", "kws_int8", "resnet8_fp32", "resnet8_int8", "vww96_fp32"],
)
def test_the_arena_is_the_interpreters(name: str) -> None:
    data = read_or_skip(PUBLISHED / f"{name}.tflite")
    assert describe(read_model(data))["arena_bytes"] == real_arena(data)


@pytest.mark.parametrize(
    "maker",
    [
        two_in_two_out(),
        chain(OP.RELU, OP.RELU, OP.RELU),
        chain(OP.RELU, OP.SOFTMAX, OP.SQUEEZE, OP.RESHAPE, OP.RELU, size=33),
        chain(OP.SOFTMAX, OP.SOFTMAX, OP.SOFTMAX, OP.RELU, size=1),
    ],
)
def test_the_arena_of_small_files_is_the_interpreters(maker: Maker) -> None:
    for op in maker.model.subgraphs[0].operators:
        code = maker.model.operatorCodes[op.opcodeIndex].builtinCode
        if code == OP.SOFTMAX:
            op.builtinOptionsType = s.BuiltinOptions.SoftmaxOptions
            op.builtinOptions = s.SoftmaxOptionsT(beta=1.0)
        elif code == OP.SQUEEZE:
            op.builtinOptionsType = s.BuiltinOptions.SqueezeOptions
            op.builtinOptions = s.SqueezeOptionsT(squeezeDims=np.array([], "<i4"))
        elif code == OP.RESHAPE:
            op.builtinOptionsType = s.BuiltinOptions.ReshapeOptions
            op.builtinOptions = s.ReshapeOptionsT(newShape=np.array([1, 33], "<i4"))
    data = maker.pack()
    assert describe(read_model(data))["arena_bytes"] == real_arena(data)


def test_lifetimes() -> None:
    """Inputs and outputs live on; what is in between to its last use."""
    graph = read_model(chain(OP.RELU, OP.ABS, OP.RELU).pack()).subgraphs[0]
    assert intervals(graph) == [
        Interval(0, 256, 0, FOREVER),
        Interval(1, 256, 0, 1),
        Interval(2, 256, 1, 2),
        Interval(3, 256, 2, FOREVER),
    ]


def test_an_output_in_the_memory_of_its_input() -> None:
    graph = read_model(chain(OP.RELU, OP.SOFTMAX, OP.RELU).pack()).subgraphs[0]
    assert [(i.tensor, i.last) for i in intervals(graph)] == [(0, FOREVER), (1, 2), (3, FOREVER)]


def test_no_sharing_with_an_input_that_is_read_again() -> None:
    """ADD of a tensor with itself reads it twice."""
    graph = read_model(chain(OP.RELU, OP.ADD, OP.RELU).pack()).subgraphs[0]
    assert [i.tensor for i in intervals(graph)] == [0, 1, 2, 3]


def test_what_nobody_reads_lives_on() -> None:
    maker = chain(OP.RELU, OP.RELU)
    g = maker.model.subgraphs[0]
    g.outputs = [1]
    found = {i.tensor: i.last for i in intervals(read_model(maker.pack()).subgraphs[0])}
    assert found[2] == FOREVER


def test_where_the_peak_is() -> None:
    maker = Maker()
    g = maker.graph()
    x, big, y = g.tensor("x", (1, 8)), g.tensor("layer/Relu", (1, 4, 8)), g.tensor("y", (1, 8))
    w = g.weight("w", (100,))
    g.op(OP.TILE, [x, w], [big])
    g.op(OP.MEAN, [big, w], [y], s.ReducerOptionsT())
    g.io([x], [y])
    found = describe(read_model(maker.pack()))
    assert found == {
        "subgraph": 0,
        "signature": "",
        "peak_bytes": 32 + 128 + 32,
        "arena_bytes": 64 + 128 + 32 - 64 + 64,
        "arena_signature": "",
        "persistent_bytes": 0,
        "alignment": 64,
        "weights_bytes": 400,
        "inputs_bytes": 32,
        "outputs_bytes": 32,
        "activations_bytes": 160,
        "dynamic": False,
        "peak": {
            "subgraph": 0,
            "op": 1,
            "name": "MEAN",
            "layer": "y",
            "tensors": 3,
            "live": [
                {"name": "layer/Relu", "bytes": 128},
                {"name": "x", "bytes": 32},
                {"name": "y", "bytes": 32},
            ],
        },
    }


def test_a_loop_adds_its_deepest_subgraph() -> None:
    maker = Maker()
    g, cond, body = maker.graph(), maker.graph("cond"), maker.graph("body")
    x, y = g.tensor("x", (64,)), g.tensor("y", (64,))
    g.op(OP.WHILE, [x], [y], s.WhileOptionsT(condSubgraphIndex=1, bodySubgraphIndex=2))
    g.io([x], [y])
    c, o = cond.tensor("c", (64,)), cond.tensor("o", (), TYPE.BOOL)
    cond.op(OP.CUSTOM, [c], [o], custom="Mine")
    cond.io([c], [o])
    b, middle, e = (body.tensor(n, (64,)) for n in ("b", "middle", "e"))
    body.op(OP.RELU, [b], [middle])
    body.op(OP.ABS, [middle], [e])
    body.io([b], [e])
    model = read_model(maker.pack())
    assert plan(model, 2).peak == 3 * 256
    found = describe(model)
    assert found["peak_bytes"] == 2 * 256 + 3 * 256
    assert found["arena_bytes"] == 2 * 256 + 3 * 256
    assert (found["peak"]["subgraph"], found["peak"]["name"]) == (2, "ABS")
    assert {t["name"] for t in found["peak"]["live"]} == {"x", "y", "b", "middle", "e"}


def test_variables_and_unpacked_constants_are_elsewhere() -> None:
    maker = Maker()
    g = maker.graph()
    x, state, y = g.tensor("x", (4,)), g.tensor("state", (5,), isVariable=True), g.tensor("y", (4,))
    packed, unpacked = g.weight("packed", (100,), TYPE.INT8), g.tensor("unpacked", (100,))
    g.op(OP.DEQUANTIZE, [packed], [unpacked])
    g.op(OP.SVDF, [x, unpacked, unpacked, -1, state], [y], s.SVDFOptionsT())
    g.io([x], [y])
    found = describe(read_model(maker.pack()))
    assert found["persistent_bytes"] == 64 + 400
    assert found["peak_bytes"] == 32


def test_dynamic_shapes_are_said() -> None:
    maker = chain(OP.RELU)
    maker.model.subgraphs[0].tensors[0].shapeSignature = np.array([-1, 64], "<i4")
    assert describe(read_model(maker.pack()))["dynamic"]
    assert not describe(read_model(chain(OP.RELU).pack()))["dynamic"]


def test_int4_is_packed_and_strings_take_no_arena() -> None:
    maker = Maker()
    g = maker.graph()
    x, y = g.tensor("x", (7,), TYPE.INT4), g.tensor("y", (7,), TYPE.STRING)
    g.op(OP.CAST, [x], [y])
    g.io([x], [y])
    assert describe(read_model(maker.pack()))["peak_bytes"] == 4


def test_a_file_of_everything() -> None:
    assert describe(read_model(everything().pack()))["peak_bytes"] > 0
    assert describe(read_model(variables(initialized=True).pack()))["peak_bytes"] > 0


def test_the_plan_never_overlaps() -> None:
    """Seeded random lifetimes: at least the peak, at most the sum."""
    random = np.random.default_rng(7)
    for _ in range(50):
        found = []
        for index in range(40):
            first = int(random.integers(0, 30))
            last = first + int(random.integers(0, 8))
            found.append(Interval(index, int(random.integers(1, 5000)), first, last))
        most, _at = peak(found)
        planned = arena(found, 64)
        assert planned is not None
        assert most <= planned <= sum(-(-i.size // 64) * 64 for i in found)


class TestHostile:
    """Whatever `read_model` accepts is answered, in bounded time and memory."""

    def test_huge_shapes(self) -> None:
        maker = Maker()
        g = maker.graph()
        x, y = (g.tensor(n, (2**31 - 1,) * 60) for n in "xy")
        g.op(OP.RELU, [x], [y])
        g.io([x], [y])
        found = describe(read_model(maker.pack()))
        assert found["arena_bytes"] is None
        assert found["peak_bytes"] > 2**1800

    def test_odd_graphs(self) -> None:
        maker = Maker()
        g = maker.graph()
        x = g.tensor("x", (4,))
        for inputs, outputs in (([], []), ([-1], [-1]), ([x], [x]), ([x, x], [x, x])):
            for op in (OP.RESHAPE, OP.ADD, OP.DEQUANTIZE, OP.RELU):
                g.op(op, inputs, outputs)
        g.io([x, x], [x, x])
        assert describe(read_model(maker.pack()))["peak_bytes"] == 16

    def test_no_operators_at_all(self) -> None:
        maker = Maker()
        maker.graph()
        found: dict[str, Any] = describe(read_model(maker.pack()))
        assert (found["peak_bytes"], found["arena_bytes"], found["peak"]["op"]) == (0, 0, -1)

    def test_more_tensors_than_can_be_planned(self) -> None:
        found = [Interval(i, 16, i, i + 1) for i in range(60_000)]
        assert arena(found) is None
        assert peak(found)[0] == 32
