from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tflite_models as make
from tflite_models import OP, TYPE, Maker

from tflbuild.tflite.cost import data_sizes, dynamic_shapes, macs, op_counts, params
from tflbuild.tflite.digest import describe
from tflbuild.tflite.read import read_model

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/models/mlperf-tiny/published"
s = make.s

# op, input shapes (None: activation; the rest constant), output shape, options, MACs
SHAPES = [
    (OP.CONV_2D, [(1, 8, 8, 3), (16, 3, 3, 3)], (1, 4, 4, 16), None, 4 * 4 * 16 * 27),
    (OP.CONV_2D, [(1, 8, 8, 4), (16, 3, 3, 2)], (1, 8, 8, 16), None, 64 * 16 * 18),  # 2 groups
    (OP.DEPTHWISE_CONV_2D, [(1, 8, 8, 4), (1, 3, 5, 8)], (1, 8, 8, 8), None, 64 * 8 * 15),
    (OP.FULLY_CONNECTED, [(5, 10), (3, 10)], (5, 3), None, 150),
    (OP.CONV_3D, [(1, 4, 4, 4, 2), (3, 3, 3, 2, 5)], (1, 4, 4, 4, 5), None, 64 * 5 * 54),
    (
        OP.BATCH_MATMUL,
        [(2, 3, 4), (2, 4, 5)],
        (2, 3, 5),
        s.BatchMatMulOptionsT(),
        2 * 3 * 4 * 5,
    ),
    (
        OP.BATCH_MATMUL,
        [(2, 4, 3), (2, 4, 5)],
        (2, 3, 5),
        s.BatchMatMulOptionsT(adjX=True),
        2 * 3 * 4 * 5,
    ),
]


@pytest.mark.parametrize(("op", "inputs", "output", "options", "expected"), SHAPES)
def test_macs_by_shape(
    op: int,
    inputs: list[tuple[int, ...]],
    output: tuple[int, ...],
    options: object,
    expected: int,
) -> None:
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", inputs[0])
    w = g.weight("w", inputs[1])
    y = g.tensor("y", output)
    g.op(op, [x, w], [y], options)
    g.io([x], [y])
    model = read_model(maker.pack())
    found = macs(model)
    assert found.total == expected
    assert (found.dynamic, found.loops, found.uncounted) == (False, 0, {})
    assert params(model) == np.prod(inputs[1])


def test_transposed_convolution_and_its_shape_input() -> None:
    maker = Maker()
    g = maker.graph()
    shape = g.tensor("shape", (4,), TYPE.INT32, [1, 8, 8, 3])
    w, x = g.weight("w", (3, 2, 2, 6)), g.tensor("x", (1, 4, 4, 6))
    y = g.tensor("y", (1, 8, 8, 3))
    g.op(OP.TRANSPOSE_CONV, [shape, w, x], [y])
    g.io([x], [y])
    model = read_model(maker.pack())
    assert macs(model).total == 4 * 4 * 6 * 3 * 2 * 2
    assert params(model) == 3 * 2 * 2 * 6


def test_recurrent() -> None:
    units, inputs, time = 5, 3, 7
    w, r = dict.fromkeys(range(1, 5), (units, inputs)), dict.fromkeys(range(5, 9), (units, units))
    bias = dict.fromkeys(range(12, 16), (units,))
    lstm = make.recurrent(OP.UNIDIRECTIONAL_SEQUENCE_LSTM, {**w, **r, **bias}, (2, time, inputs))
    per_step = 4 * units * (units + inputs)
    assert macs(read_model(lstm.pack())).total == 2 * time * per_step
    assert params(read_model(lstm.pack())) == per_step + 4 * units
    both = {**w, **r, **bias, **{i + 17: v for i, v in {**w, **r, **bias}.items()}}
    bi = make.recurrent(OP.BIDIRECTIONAL_SEQUENCE_LSTM, both, (2, time, inputs))
    assert macs(read_model(bi.pack())).total == 2 * 2 * time * per_step
    slots = {1: (units, inputs), 2: (units, units), 3: (units,)}
    rnn = make.recurrent(OP.UNIDIRECTIONAL_SEQUENCE_RNN, slots, (2, time, inputs))
    assert macs(read_model(rnn.pack())).total == 2 * time * units * (inputs + units)
    svdf = make.recurrent(OP.SVDF, {1: (units, inputs), 2: (units, 9), 3: (units,)}, (2, inputs))
    assert macs(read_model(svdf.pack())).total == 2 * units * (inputs + 9)
    basic = make.recurrent(OP.LSTM, {2: (4 * units, 8), 3: (4 * units,), 4: (2, 5)}, (2, inputs))
    assert macs(read_model(basic.pack())).total == 2 * 4 * units * 8


def called(op: int, options: object) -> Maker:
    """Main runs subgraphs 1 (12 MACs) and 2 (24 MACs)."""
    maker = Maker()
    main = maker.graph()
    x, y = main.tensor("x", (1, 4)), main.tensor("y", (1, 3))
    main.op(op, [x], [y], options)
    main.io([x], [y])
    for rows in (1, 2):
        g = maker.graph(f"sub{rows}")
        a, b = g.tensor("a", (rows, 4)), g.tensor("b", (rows, 3))
        g.op(OP.FULLY_CONNECTED, [a, g.weight("w", (3, 4))], [b])
        g.io([a], [b])
    return maker


def test_subgraphs() -> None:
    loop = macs(read_model(called(OP.WHILE, s.WhileOptionsT(1, 2)).pack()))
    assert (loop.total, loop.loops, len(loop.ops)) == (36, 1, 2)
    branch = macs(read_model(called(OP.IF, s.IfOptionsT(1, 2)).pack()))
    assert (branch.total, branch.loops) == (24, 0)
    assert macs(read_model(called(OP.CALL_ONCE, s.CallOnceOptionsT(1)).pack())).total == 0


def test_a_chain_of_doubling_calls_ends() -> None:
    maker = Maker()
    for i in range(40):
        g = maker.graph()
        g.tensor("x", (1, 4))
        g.io([0], [0])
        for _ in range(2 if i < 39 else 0):
            g.op(OP.CALL, [0], [0], s.CallOptionsT(i + 1))
    leaf = make.Graph(maker, maker.model.subgraphs[-1], 39)
    leaf.op(OP.FULLY_CONNECTED, [0, leaf.weight("w", (1, 4))], [leaf.tensor("y", (1, 1))])
    assert macs(read_model(maker.pack())).total == 4 * 2**39


def test_params_share_and_skip() -> None:
    model = read_model(make.everything().pack())
    # value 4, one/two share 4, outside 4, sparse 16, blocks 6
    assert params(model) == 4 + 4 + 4 + 16 + 6
    assert data_sizes(model).weights_bytes == 16 + 16 + 16 + 2 + 3
    assert (data_sizes(model).input_bytes, data_sizes(model).output_bytes) == (16, 16)


def test_counts_and_what_is_not_counted() -> None:
    model = read_model(make.everything().pack())
    counts = op_counts(model)
    assert counts["select"] == {"FlexErf": 1}
    assert counts["custom"] == {"Mine": 1}
    assert counts["builtin"]["VAR_HANDLE"] == 2
    assert list(counts["builtin"]) == sorted(counts["builtin"])
    assert macs(model).uncounted == {"FlexErf": 1, "Mine": 1}


def test_dynamic() -> None:
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", (1, 4), shapeSignature=np.array([-1, 4], "<i4"))
    y = g.tensor("y", (1, 3), shapeSignature=np.array([-1, 3], "<i4"))
    z = g.tensor("z", (1, 3), shapeSignature=np.array([-1, 3], "<i4"))
    g.op(OP.FULLY_CONNECTED, [x, g.weight("w", (3, 4))], [y])
    g.op(OP.ABS, [y], [z])
    g.io([x], [z])
    model = read_model(maker.pack())
    assert macs(model).dynamic
    found = dynamic_shapes(model)
    assert found.io == (("", "x", (-1, 4)), ("", "z", (-1, 3)))
    assert not found.inner
    maker.model.subgraphs[0].tensors[y].shapeSignature = np.array([-1, -1], "<i4")
    assert dynamic_shapes(read_model(maker.pack())).inner


# MLPerf Tiny v1.0: the figures of the benchmark's models, MACs and parameters.
KNOWN = {
    "kws_int8": (2_656_768, 22_604),
    "resnet8_fp32": (12_501_632, 77_706),
    "resnet8_int8": (12_501_632, 77_706),
    "vww96_fp32": (7_489_664, 210_850),
    "vww96_int8": (7_489_664, 210_850),
    "ad01_fp32": (264_192, 265_864),
    "ad01_int8": (264_192, 265_864),
}


@pytest.mark.parametrize("name", KNOWN)
def test_published(name: str) -> None:
    model = read_model(make.read_or_skip(PUBLISHED / f"{name}.tflite"))
    assert (macs(model).total, params(model)) == KNOWN[name]


def test_describe_is_json_and_stable() -> None:
    data = make.everything().pack()
    found = describe(read_model(data))
    assert json.loads(json.dumps(found)) == found
    assert found == describe(read_model(data))
    assert found["interface"]["signatures"]["first"]["inputs"] == {"in": "x"}
    assert found["interface"]["inputs"][0] == {
        "name": "x",
        "shape": [4],
        "dtype": "float32",
        "quantization": None,
    }
    assert found["ops"]["versions"]["ADD"] == {"1": 1}
    assert found["macs"]["loops"] == 1
