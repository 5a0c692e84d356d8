from __future__ import annotations

import pytest
import tflite_models as make
from tflite_models import OP, TYPE, Maker

from tflbuild.tflite.checks import (
    quantization_effect,
    quantization_problems,
    untouched_signatures,
    weightless_variables,
)
from tflbuild.tflite.read import TfliteModel, read_model
from tflbuild.tflite.weights import not_finite

s = make.s


def dense(
    activation: int = TYPE.FLOAT32,
    weight: int = TYPE.FLOAT32,
    *,
    units: int = 4,
    io: int | None = None,
    dequantize: bool = False,
) -> TfliteModel:
    """One FULLY_CONNECTED with 256 inputs, between QUANTIZE and DEQUANTIZE if `io` differs."""
    maker = Maker()
    g = maker.graph()
    scale = None if activation == TYPE.FLOAT32 else 0.5
    x = g.tensor("x", (1, 256), activation, scale=scale)
    y = g.tensor("y", (1, units), activation, scale=scale)
    w = stored = g.weight("w", (units, 256), weight)
    if dequantize:
        w = g.tensor("wide", (units, 256))
        g.op(OP.DEQUANTIZE, [stored], [w])
    g.op(OP.FULLY_CONNECTED, [x, w], [y], s.FullyConnectedOptionsT())
    first, last = x, y
    if io is not None:
        scale = None if io == TYPE.FLOAT32 else 0.5
        first = g.tensor("in", (1, 256), io, scale=scale)
        last = g.tensor("out", (1, units), io, scale=scale)
        g.op(OP.QUANTIZE, [first], [x])
        g.op(OP.DEQUANTIZE, [y], [last])
    g.io([first], [last])
    maker.signature("s", {"x": first}, {"y": last})
    return read_model(maker.pack())


FLOAT = dense()
HALF = dense(weight=TYPE.FLOAT16, dequantize=True)
DYNAMIC = dense(weight=TYPE.INT8)
INT8 = dense(TYPE.INT8, TYPE.INT8)
INT8_FLOAT_IO = dense(TYPE.INT8, TYPE.INT8, io=TYPE.FLOAT32)
INT16 = dense(TYPE.INT16, TYPE.INT8)


@pytest.mark.parametrize(
    ("model", "quantize", "io"),
    [
        (FLOAT, "none", "float32"),
        (HALF, "float16", "float32"),
        (DYNAMIC, "dynamic_range", "float32"),
        (INT8, "int8", "int8"),
        (INT8, "qat", "int8"),
        (INT8_FLOAT_IO, "int8", "float32"),
        (INT16, "int16x8", "int16"),
    ],
)
def test_what_was_asked_for(model: TfliteModel, quantize: str, io: str) -> None:
    assert quantization_problems(model, quantize, io) == []


@pytest.mark.parametrize(
    ("model", "quantize", "io", "message"),
    [
        (HALF, "none", "float32", "quantized although quantize is none"),
        (DYNAMIC, "none", "float32", "quantized although quantize is none"),
        (FLOAT, "float16", "float32", "no weight is float16; 1 are float32"),
        (dense(units=3), "dynamic_range", "float32", "fewer than 1,024 elements"),
        (FLOAT, "dynamic_range", "float32", "left all 1 weights in float"),
        (FLOAT, "int8", "float32", "no compute operator with int8 activations (1 float32)"),
        (DYNAMIC, "int8", "float32", "no compute operator with int8 activations (1 float32)"),
        (FLOAT, "qat", "float32", "no int8 weight"),
        (INT8, "int16x8", "int8", "no compute operator with int16 activations (1 int8)"),
        (INT8, "int8", "float32", "input 'x' is int8, io asks for float32"),
        (INT8_FLOAT_IO, "int8", "int8", "output 'y' is float32, io asks for int8"),
        (INT8_FLOAT_IO, "float16", "float32", "needs quantize: qat"),
        (INT8_FLOAT_IO, "dynamic_range", "float32", "needs quantize: qat"),
    ],
)
def test_what_was_not(model: TfliteModel, quantize: str, io: str, message: str) -> None:
    problems = quantization_problems(model, quantize, io)
    assert any(message in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


def test_source_dtypes_decide_about_integers() -> None:
    maker = Maker()
    g = maker.graph()
    x, t = g.tensor("ids", (1, 8), TYPE.INT32), g.weight("table", (512, 4))
    y = g.tensor("y", (1, 8, 4))
    g.op(OP.GATHER, [t, x], [y], s.GatherOptionsT())
    g.io([x], [y])
    maker.signature("s", {"ids": x}, {"y": y})
    model = read_model(maker.pack())
    assert quantization_problems(model, "none") == []
    assert quantization_problems(model, "none", "float32", {"ids": "int32"}, {"y": "float32"}) == []
    changed = quantization_problems(model, "none", "float32", {"ids": "int64"})
    assert changed == ["input 'ids' is int32, in the source it is int64"]
    lost = quantization_problems(model, "none", "int8", {"ids": "float32"}, {"y": "float32"})
    assert len(lost) == 2
    assert quantization_problems(model, "none", "int8", {}, {}, signature="other")
    assert quantization_effect(model, "none")["weights"] == {
        "float32": {"tensors": 1, "elements": 2048, "bytes": 8192}
    }


def test_effect() -> None:
    assert quantization_effect(INT8_FLOAT_IO, "int8") == {
        "quantize": "int8",
        "weights": {"int8": {"tensors": 1, "elements": 1024, "bytes": 1024}},
        "compute_ops": {"int8": 1},
        "quantized_weight_share": 1.0,
    }
    assert quantization_effect(FLOAT, "none")["quantized_weight_share"] == 0.0
    assert quantization_effect(HALF, "float16")["weights"]["float16"]["elements"] == 1024


def test_without_compute_operators() -> None:
    def add(dtype: int) -> TfliteModel:
        maker = Maker()
        g = maker.graph()
        x, y = (g.tensor(n, (4,), dtype, scale=0.5 if dtype else None) for n in "xy")
        g.op(OP.ADD, [x, x], [y], s.AddOptionsT())
        g.io([x], [y])
        return read_model(maker.pack())

    assert quantization_problems(add(TYPE.INT8), "int8", "int8") == []
    assert quantization_problems(add(TYPE.FLOAT32), "int8") == [
        "int8 left no operator with int8 activations"
    ]
    (problem,) = quantization_problems(add(TYPE.FLOAT32), "dynamic_range")
    assert "no constant weights" in problem


def test_variables() -> None:
    assert weightless_variables(read_model(make.variables(initialized=True).pack())) == []
    (problem,) = weightless_variables(read_model(make.variables(initialized=False).pack()))
    assert problem == "variable 'v' is read and never initialized"
    boxed = make.variables(initialized=False, container="box").pack()
    assert weightless_variables(read_model(boxed)) == [
        "variable 'v' (container 'box') is read and never initialized"
    ]


def test_the_same_name_in_another_container_is_another_variable() -> None:
    maker = make.variables(initialized=True)
    handle = maker.model.subgraphs[0].operators[0]
    handle.builtinOptions = s.VarHandleOptionsT(container=b"other", sharedName=b"v")
    (problem,) = weightless_variables(read_model(maker.pack()))
    assert "container 'other'" in problem


def test_assigned_but_never_run() -> None:
    maker = make.variables(initialized=True)
    main = maker.model.subgraphs[0]
    main.operators = [
        op for op in main.operators if not isinstance(op.builtinOptions, s.CallOnceOptionsT)
    ]
    assert weightless_variables(read_model(maker.pack()))


@pytest.mark.parametrize("initialized", [True, False])
def test_handles_reach_into_loops(initialized: bool) -> None:
    maker = make.variables(initialized=initialized)
    main = make.Graph(maker, maker.model.subgraphs[0], 0)
    out = main.tensor("after", (), TYPE.RESOURCE)
    main.op(OP.WHILE, [0], [out], s.WhileOptionsT(2, 3))
    value = main.tensor("late", (4,))
    main.op(OP.READ_VARIABLE, [out], [value], s.ReadVariableOptionsT())
    cond, body = maker.graph("cond"), maker.graph("body")
    for g in (cond, body):
        g.tensor("h", (), TYPE.RESOURCE)
        g.tensor("v", (4,))
        g.op(OP.READ_VARIABLE, [0], [1], s.ReadVariableOptionsT())
    cond.io([0], [cond.tensor("more", (), TYPE.BOOL)])
    body.io([0], [0])
    problems = weightless_variables(read_model(maker.pack()))
    assert problems == ([] if initialized else ["variable 'v' is read and never initialized"])


def test_a_handle_from_nowhere() -> None:
    maker = Maker()
    g = maker.graph()
    h, v = g.tensor("h", (), TYPE.RESOURCE), g.tensor("v", (4,))
    g.op(OP.READ_VARIABLE, [h], [v], s.ReadVariableOptionsT())
    g.io([h], [v])
    (problem,) = weightless_variables(read_model(maker.pack()))
    assert "whose handle is unknown" in problem


def two(*kinds: tuple[int, int], units: int = 4) -> TfliteModel:
    """Signatures `s0`, `s1`… of one FULLY_CONNECTED, of the types (activation, weight)."""
    maker = Maker()
    for number, (activation, weight) in enumerate(kinds):
        g = maker.graph(f"s{number}")
        scale = None if activation == TYPE.FLOAT32 else 0.5
        x = g.tensor("x", (1, 256), activation, scale=scale)
        y = g.tensor("y", (1, units), activation, scale=scale)
        w = g.weight("w", (units, 256), weight)
        g.op(OP.FULLY_CONNECTED, [x, w], [y], s.FullyConnectedOptionsT())
        g.io([x], [y])
        maker.signature(f"s{number}", {"x": x}, {"y": y}, subgraph=g.index)
    return read_model(maker.pack())


F, I8 = (TYPE.FLOAT32, TYPE.FLOAT32), (TYPE.INT8, TYPE.INT8)
D8 = (TYPE.FLOAT32, TYPE.INT8)


@pytest.mark.parametrize(
    ("model", "quantize", "kept", "problem", "warning"),
    [
        (two(I8, F), "int8", {(1, 0)}, "nothing to quantize in signature 's1'", ""),
        (two(F, F), "int8", {(0, 0), (1, 0)}, "nothing to quantize in signature 's0'", ""),
        (two(F), "int8", {(0, 0)}, "keep_float leaves nothing to quantize: none of 1", ""),
        (two(D8, F), "recipe", {(1, 0)}, "nothing to quantize in signature 's1'", ""),
        (two(I8, I8), "int8", set(), "", ""),
        (two(D8, F), "dynamic_range", set(), "nothing in signature 's1' (0 % of its weights)", ""),
        (two(D8, F), "recipe", set(), "1,024 elements and more: FULLY_CONNECTED 'w'", ""),
        (two(D8, D8), "dynamic_range", set(), "", ""),
        (two(D8, F, units=3), "dynamic_range", set(), "", "nothing in signature 's1': 0 % of 768"),
        (two(F, F), "none", set(), "", ""),
    ],
)
def test_no_signature_stays_float_in_silence(
    model: TfliteModel, quantize: str, kept: set[tuple[int, int]], problem: str, warning: str
) -> None:
    problems, warnings = untouched_signatures(model, quantize, kept)
    for found, says in ((problems, problem), (warnings, warning)):
        assert bool(found) == bool(says)
        assert not says or says in found[0]


def test_values_that_are_only_moved_are_not_quantized() -> None:
    """What QUANTIZE and RESHAPE leave of a model that is kept float."""
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", (1, 256), TYPE.INT8, scale=0.5)
    row = g.tensor("row", (256,), TYPE.INT8, scale=0.5)
    wide, y = g.tensor("wide", (256,)), g.tensor("y", (256,))
    g.op(OP.RESHAPE, [x], [row], s.ReshapeOptionsT())
    g.op(OP.DEQUANTIZE, [row], [wide])
    g.op(OP.TANH, [wide], [y])
    g.io([x], [y])
    maker.signature("s", {"x": x}, {"y": y})
    problems, _ = untouched_signatures(read_model(maker.pack()), "int8", {(0, 2)})
    assert problems[0].startswith("keep_float leaves nothing to quantize: none of 2 operators")


@pytest.mark.parametrize("kind", [TYPE.FLOAT16, TYPE.FLOAT32])
def test_weights_that_are_no_numbers(kind: int) -> None:
    maker = Maker()
    g = maker.graph()
    x, y = g.tensor("x", (1, 256)), g.tensor("y", (1, 4))
    w = g.weight("w", (4, 256), kind)
    g.op(OP.FULLY_CONNECTED, [x, w], [y], s.FullyConnectedOptionsT())
    g.io([x], [y])
    data = bytearray(maker.pack())
    model = read_model(bytes(data))
    assert not_finite(model, bytes(data)) == []
    buffer = model.buffers[model.subgraphs[0].tensors[w].buffer]
    size = 2 if kind == TYPE.FLOAT16 else 4
    infinite = bytes.fromhex("007c") if size == 2 else bytes.fromhex("0000807f")
    data[buffer.offset + 7 * size : buffer.offset + 8 * size] = infinite
    assert [found.op for found in not_finite(model, bytes(data))] == ["FULLY_CONNECTED"]


def test_scales_that_are_no_numbers() -> None:
    maker = Maker()
    g = maker.graph()
    x, y = g.tensor("x", (1, 256)), g.tensor("y", (1, 4))
    w = g.tensor("w", (4, 256), TYPE.INT8, scale=float("inf"), data=bytes(1024))
    g.op(OP.FULLY_CONNECTED, [x, w], [y], s.FullyConnectedOptionsT())
    g.io([x], [y])
    data = maker.pack()
    assert [found.tensor.name for found in not_finite(read_model(data), data)] == ["w"]
