"""What operators and layers cost, from files made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tflite_models as make
from tflite_models import OP, TYPE, Maker

from tflbuild.tflite import cost, layers
from tflbuild.tflite.read import TfliteModel, read_model

s = make.s


def chain() -> Maker:
    """x (1, 10) → FULLY_CONNECTED → RELU → y, and GATHER of a table of 1,000 rows."""
    maker = Maker()
    g = maker.graph()
    x, ids = g.tensor("x", (1, 10)), g.tensor("ids", (1, 2), TYPE.INT32)
    w, table = g.weight("w", (4, 10)), g.weight("table", (1000, 4))
    a, y, row = g.tensor("a", (1, 4)), g.tensor("y", (1, 4)), g.tensor("row", (1, 2, 4))
    g.op(OP.FULLY_CONNECTED, [x, w], [a])
    g.op(OP.RELU, [a], [y])
    g.op(OP.GATHER, [table, ids], [row])
    g.io([x, ids], [y, row])
    return maker


def test_traffic_is_what_ops_read_and_write() -> None:
    found = layers.costs(read_model(chain().pack()))

    assert [op.traffic for op in found.ops] == [
        4 * (10 + 40 + 4),
        4 * (4 + 4),
        4 * (8 + 2 + 8),  # of the table two rows, not a thousand
    ]
    assert found.traffic == sum(op.traffic for op in found.ops)
    assert [op.macs for op in found.ops] == [40, 0, 0]
    assert [op.params for op in found.ops] == [40, 0, 4000]
    assert found.depth == 2


def test_a_tensor_read_twice_by_one_op_is_read_once() -> None:
    maker = Maker()
    g = maker.graph()
    x, y = g.tensor("x", (8,)), g.tensor("y", (8,))
    g.op(OP.MUL, [x, x], [y])
    g.io([x], [y])

    assert layers.costs(read_model(maker.pack())).traffic == 64


def test_a_weight_belongs_to_its_first_reader() -> None:
    maker = Maker()
    g = maker.graph()
    x, w = g.tensor("x", (1, 4)), g.weight("w", (4, 4))
    a, y = g.tensor("a", (1, 4)), g.tensor("y", (1, 4))
    g.op(OP.FULLY_CONNECTED, [x, w], [a])
    g.op(OP.FULLY_CONNECTED, [a, w], [y])
    g.io([x], [y])
    model = read_model(maker.pack())

    assert [op.params for op in layers.costs(model).ops] == [16, 0]
    assert cost.params(model) == 16


def looped(kind: int, options: object, bodies: int) -> TfliteModel:
    """An op of control flow over two subgraphs, with one and two NEG of 4 floats."""
    maker = Maker()
    main = maker.graph()
    x, y = main.tensor("x", (4,)), main.tensor("y", (4,))
    main.op(kind, [x], [y], options)
    main.io([x], [y])
    for count in range(1, bodies + 1):
        g = maker.graph(f"body{count}")
        last = g.tensor("a", (4,))
        start = last
        for index in range(count):
            now = g.tensor(f"t{index}", (4,))
            g.op(OP.NEG, [last], [now])
            last = now
        g.io([start], [last])
    return read_model(maker.pack())


@pytest.mark.parametrize(
    ("kind", "options", "traffic", "depth"),
    [
        (OP.WHILE, s.WhileOptionsT(condSubgraphIndex=1, bodySubgraphIndex=2), 32 + 64, 3),
        (OP.IF, s.IfOptionsT(thenSubgraphIndex=1, elseSubgraphIndex=2), 64, 3),
    ],
)
def test_control_flow_costs_what_it_runs(
    kind: int, options: object, traffic: int, depth: int
) -> None:
    model = looped(kind, options, 2)
    found = layers.costs(model)

    assert (found.traffic, found.depth) == (traffic, depth)
    assert sum(layers.control_flow(model).values()) == 1


def test_ops_with_one_name_are_one_layer() -> None:
    model = read_model(chain().pack())
    names = {0: "dense", 1: "dense", 2: ""}
    rows, more = layers.table(model, layers.costs(model), lambda graph, op: names[op])

    assert more is None
    assert rows == [
        {"name": "dense", "ops": {"FULLY_CONNECTED": 1, "RELU": 1}, "macs": 40,
         "traffic_bytes": 248, "params": 40},
        {"name": "", "ops": {"GATHER": 1}, "macs": 0, "traffic_bytes": 72, "params": 4000},
    ]  # fmt: skip


def test_the_table_is_bounded_and_says_what_it_leaves_out() -> None:
    maker = Maker()
    g = maker.graph()
    last = start = g.tensor("t", (1,))
    for index in range(layers.LIMIT + 7):
        now = g.tensor(f"t{index}", (1,))
        g.op(OP.NEG, [last], [now])
        last = now
    g.io([start], [last])
    model = read_model(maker.pack())
    rows, more = layers.table(model, layers.costs(model), lambda graph, op: f"layer{op}")

    assert len(rows) == layers.LIMIT
    assert more == {"layers": 7, "macs": 0, "traffic_bytes": 7 * 8, "params": 0}


def test_types_state_and_dynamic_tensors() -> None:
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", (1, 4))
    y = g.tensor("y", (1, 4), shapeSignature=np.array((1, -1), "<i4"))
    g.op(OP.NEG, [x], [y])
    g.io([x], [y])
    model = read_model(maker.pack())

    assert layers.dtypes(model) == {"float32": 2}
    assert layers.state(model) == {"ops": {}, "variables": 0, "variable_bytes": 0}
    first, count = layers.dynamic_tensors(model, lambda graph, op: "here")
    assert (first, count) == ([{"op": "NEG", "name": "here", "shape": [1, None]}], 1)
