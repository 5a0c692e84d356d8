"""Files with several signatures: what is said of one inference is said of the worst of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tflite_models import OP, TYPE, Graph, Maker, recurrent, s, two_in_two_out

from tflbuild.evaluation.naming import Place
from tflbuild.stages.evaluate import measure
from tflbuild.tflite import cost, layers, memory
from tflbuild.tflite.digest import describe
from tflbuild.tflite.dtypes import places
from tflbuild.tflite.model import entries
from tflbuild.tflite.read import TfliteModel, read_model

Add = Callable[[Maker, Graph], None]


def wide(maker: Maker, g: Graph) -> None:
    """Signature `wide`: ABS of 64 floats. Most inputs and outputs, no MACs."""
    x, y = g.tensor("x", (1, 64)), g.tensor("y", (1, 64))
    g.op(OP.ABS, [x], [y], s.AbsOptionsT())
    g.io([x], [y])
    maker.signature("wide", {"a": x}, {"b": y}, g.index)


def deep(maker: Maker, g: Graph) -> None:
    """Signature `deep`: 4 → 96 → 4: most MACs and traffic. Its batch is open."""
    x = g.tensor("x", (1, 4), shapeSignature=np.array([-1, 4], "<i4"))
    h, y = g.tensor("h", (1, 96)), g.tensor("y", (1, 4))
    g.op(OP.FULLY_CONNECTED, [x, g.weight("w", (96, 4)), -1], [h], s.FullyConnectedOptionsT())
    g.op(OP.FULLY_CONNECTED, [h, g.weight("v", (4, 96)), -1], [y], s.FullyConnectedOptionsT())
    g.io([x], [y])
    maker.signature("deep", {"a": x}, {"b": y}, g.index)


def file(*adds: Add) -> TfliteModel:
    maker = Maker()
    for add in adds:
        add(maker, maker.graph(add.__name__))
    return read_model(maker.pack())


BOTH = pytest.mark.parametrize("adds", [(wide, deep), (deep, wide)], ids=["wide first", "deep"])


@BOTH
def test_the_worst_entry_counts(adds: tuple[Add, ...]) -> None:
    model = file(*adds)
    macs, sizes, costs = cost.macs(model), cost.data_sizes(model), layers.costs(model)
    assert (macs.total, macs.signature, macs.dynamic) == (2 * 96 * 4, "deep", True)
    assert (sizes.input_bytes, sizes.output_bytes, sizes.signature) == (256, 256, "wide")
    assert (costs.traffic, costs.signature) == (4 * 2 * (4 + 384 + 96), "deep")
    assert costs.depth == 2
    assert costs.by_subgraph[macs.subgraph] == costs.traffic
    assert cost.dynamic_shapes(model).io == (("deep", "x", (-1, 4)),)


@BOTH
def test_memory_of_the_worst_entry(adds: tuple[Add, ...]) -> None:
    found = memory.describe(file(*adds))
    assert (found["peak_bytes"], found["signature"]) == (512, "wide")
    assert (found["arena_bytes"], found["arena_signature"]) == (512, "wide")
    assert (found["inputs_bytes"], found["outputs_bytes"]) == (256, 256)


@BOTH
def test_evaluation_names_the_worst_entry(adds: tuple[Add, ...]) -> None:
    found = measure(b"", file(*adds), lambda graph, op: Place())
    told = ("macs", "traffic_bytes", "input_bytes", "depth", "macs_per_byte")
    assert [found[key] for key in told] == [768, 3872, 256, 2, round(768 / 3872, 4)]
    signatures = ("macs_signature", "traffic_signature", "io_signature")
    assert [found[key] for key in signatures] == ["deep", "deep", "wide"]
    assert sum(layer["macs"] for layer in found["layers"]) == 768


def told(model: TfliteModel) -> dict[str, Any]:
    found = describe(model)
    return {key: found[key] for key in ("macs", "dynamic", "dtypes", "params")} | {
        "sizes": found["sizes"]
    }


def test_the_order_changes_nothing() -> None:
    one, other = told(file(wide, deep)), told(file(deep, wide))
    assert one["macs"].pop("signature") == other["macs"].pop("signature") == "deep"
    assert {*one["dtypes"]} == {*other["dtypes"]} == {"float32"}
    del one["dtypes"], other["dtypes"]
    assert one == other


def test_entries() -> None:
    assert entries(file(wide)) == [("", 0)]
    assert entries(read_model(two_in_two_out().pack())) == [("", 0)]
    assert entries(file(wide, deep)) == [("wide", 0), ("deep", 1)]
    maker = Maker()
    for add in (wide, deep):
        add(maker, maker.graph())
    del maker.model.signatureDefs[0]  # Invoke still runs the main subgraph
    assert entries(read_model(maker.pack())) == [("deep", 1), ("", 0)]
    maker.model.signatureDefs.clear()
    assert entries(read_model(maker.pack())) == [("", 0)]
    maker = Maker()
    wide(maker, maker.graph())
    maker.signature("again", {"a": 0}, {"b": 1})
    assert entries(read_model(maker.pack())) == [("", 0)]


def test_what_two_entries_run_is_counted_once() -> None:
    maker = Maker()
    graphs = [maker.graph(name) for name in ("one", "two", "cond", "body")]
    for g in graphs:
        g.tensor("x", (1, 4))
        out = g.tensor("y", () if g is graphs[2] else (1, 4), TYPE.BOOL if g is graphs[2] else 0)
        g.io([0], [out])
    for g in graphs[:2]:
        g.op(OP.WHILE, [0], [1], s.WhileOptionsT(condSubgraphIndex=2, bodySubgraphIndex=3))
        maker.signature(f"s{g.index}", {"a": 0}, {"b": 1}, g.index)
    graphs[3].op(OP.FULLY_CONNECTED, [0, graphs[3].weight("w", (4, 4)), -1], [1])
    found = cost.macs(read_model(maker.pack()))
    assert (found.total, len(found.ops), found.loops) == (16, 1, 2)


def quantized(extra: Add | None = None) -> TfliteModel:
    """An int8 convolution and RESHAPE, with their int32 bias and shape."""
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", (1, 4, 4, 2), TYPE.INT8, scale=0.5)
    h = g.tensor("conv", (1, 4, 4, 3), TYPE.INT8, scale=0.5)
    y = g.tensor("flat", (1, 48), TYPE.INT8, scale=0.5)
    w, bias = g.weight("w", (3, 1, 1, 2), TYPE.INT8), g.weight("bias", (3,), TYPE.INT32)
    shape = g.tensor("shape", (2,), TYPE.INT32, [1, 48])
    g.op(OP.CONV_2D, [x, w, bias], [h], s.Conv2DOptionsT(strideW=1, strideH=1))
    g.op(OP.RESHAPE, [h, shape], [y], s.ReshapeOptionsT())
    g.io([x], [y])
    if extra:
        extra(maker, g)
    return read_model(maker.pack())


def test_biases_and_shapes_are_no_types_of_a_file() -> None:
    assert places(quantized()) == {"int8": {"kind": "input", "op": "", "layer": "x"}}


def test_a_type_says_where_it_is() -> None:
    def more(maker: Maker, g: Graph) -> None:
        best, wide = g.tensor("best", (1,), TYPE.INT64), g.tensor("wide", (1, 48))
        g.op(OP.ARG_MAX, [2, g.tensor("axis", (), TYPE.INT32, [1])], [best])
        half = g.tensor("half", (2, 48), TYPE.FLOAT16, np.zeros((2, 48)))
        full, z = g.tensor("full", (2, 48)), g.tensor("z", (1, 2))
        g.op(OP.DEQUANTIZE, [2], [wide])
        g.op(OP.DEQUANTIZE, [half], [full])
        g.op(OP.FULLY_CONNECTED, [wide, full, -1], [z], s.FullyConnectedOptionsT())
        g.io([0], [best, z])

    assert places(quantized(more)) == {
        "float16": {"kind": "weights", "op": "FULLY_CONNECTED", "layer": "z"},
        "float32": {"kind": "computed", "op": "DEQUANTIZE", "layer": "wide"},
        "int64": {"kind": "computed", "op": "ARG_MAX", "layer": "best"},
        "int8": {"kind": "input", "op": "", "layer": "x"},
    }


def test_types_of_what_nothing_computes() -> None:
    model = read_model(recurrent(OP.RNN, {1: (2, 2), 2: (2, 2), 3: (2,)}, (1, 2)).pack())
    assert places(model) == {"float32": {"kind": "input", "op": "", "layer": "x"}}
    maker = Maker()
    g = maker.graph()
    g.io([], [g.weight("answer", (1,), TYPE.INT32)])
    found = places(read_model(maker.pack()))
    assert found == {"int32": {"kind": "output", "op": "", "layer": "answer"}}
