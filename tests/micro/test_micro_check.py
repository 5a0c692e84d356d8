from __future__ import annotations

import re

import micro_ops
import numpy as np
import pytest
from micro_ops import Case, single, tensor
from tflite_models import OP, TYPE, Maker, everything, s

from tflbuild.micro.check import problems
from tflbuild.micro.ops import BUILTIN
from tflbuild.tflite.read import read_model


def only(data: bytes) -> dict[str, str]:
    (found,) = problems(read_model(data))
    return found


def test_hybrid_operators_say_what_to_write() -> None:
    case = micro_ops._weighted("FULLY_CONNECTED", "f", "b", "f", "f")
    found = only(single("FULLY_CONNECTED", case, "f"))
    assert found == {
        "op": "FULLY_CONNECTED",
        "layer": "out0",
        "why": "float32 activations with int8 weights have no kernel",
        "remedy": "use quantize: int8 instead of dynamic_range, or none",
    }


def test_float16_weights() -> None:
    case = Case([((1, 4), "e", 1)], [((1, 4), "f")], s.DequantizeOptionsT())
    found = only(single("DEQUANTIZE", case, "f"))
    assert found["why"] == "float16 ('in0') has no kernel (float16 → float32)"
    assert found["remedy"] == "use quantize: int8, or none"


def test_an_operator_without_kernel_has_an_alternative() -> None:
    found = only(single("GELU", micro_ops._unary(), "f"))
    assert found["why"] == "tflite-micro has no kernel for it"
    assert found["remedy"] == "use relu, or x * tf.sigmoid(1.702 * x), which is near to it"


@pytest.mark.parametrize(
    ("name", "letter", "remedy"),
    [
        ("GREATER", "u", "use int8 instead of uint8"),
        ("SQUARED_DIFFERENCE", "l", "use int32 instead of int64"),
        ("ELU", "h", "use quantize: int8 instead of int16x8"),
        ("CEIL", "b", "keep it in float32 (keep_float: [CEIL])"),
        ("CEIL", "h", "keep it in float32 (keep_float: [CEIL])"),
        ("CEIL", "i", "it takes float32 values"),
        ("FLOOR_DIV", "i", "it takes float32 values"),
        ("LOGICAL_AND", "i", "it takes bool values"),
        ("ABS", "i", "it takes float32, int8 or int16 values"),
    ],
)
def test_remedy_for_types(name: str, letter: str, remedy: str) -> None:
    found = only(single(name, micro_ops.PLAIN[name], letter))
    assert found["remedy"] == remedy


@pytest.mark.parametrize(
    ("letter", "remedy"),
    [("i", "use c * a + (1 - c) * b"), ("l", "it takes float32, int8 or int16 values")],
)
def test_values_of_a_selection(letter: str, remedy: str) -> None:
    """The condition is bool and stays it."""
    found = only(single("SELECT_V2", micro_ops.PLAIN["SELECT_V2"], letter))
    assert found["remedy"].startswith(remedy)


def test_types_of_values_but_not_of_indexes() -> None:
    found = only(single("GATHER", micro_ops.PLAIN["GATHER"], "i"))
    assert found["remedy"] == "it takes float32 or int8 values"


def test_remedies_of_types_are_types_that_run() -> None:
    """Of every file of one operator: what is said to take does make types of a kernel."""
    told = set()
    for _, data in micro_ops.cases():
        for found in problems(read_model(data)):
            takes = re.fullmatch("it takes (.*) values", found["remedy"])
            if takes:
                told.add((found["op"], takes[1]))
            assert not found["remedy"].startswith("give")
    assert not {op for op, takes in told if "bool" in takes} - {
        "LOGICAL_AND",
        "LOGICAL_OR",
        "LOGICAL_NOT",
        "REDUCE_ALL",
    }


def test_what_is_kept_in_float32_is_cast_by_kernels() -> None:
    for letter in "bh":
        assert BUILTIN["DEQUANTIZE"].takes(f"{letter}>f")
        assert BUILTIN["QUANTIZE"].takes(f"f>{letter}")


def test_many_operands_take_no_time() -> None:
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", (4,), TYPE.INT64)
    g.op(OP.ADD_N, [x] * 3000, [x])
    g.op(OP.PACK, [x] * 3000 + [g.tensor("y", (4,), TYPE.BOOL)], [x])
    g.io([x], [x])
    assert len(problems(read_model(maker.pack()))) == 2


def test_a_batch_that_is_not_known_runs_as_one() -> None:
    assert problems(read_model(_shaped((-1, 4)))) == []


def test_other_dynamic_dimensions_are_named_once() -> None:
    found = only(_shaped((1, -1)))
    assert (found["layer"], found["op"]) == ("x", "")
    assert "[1, -1]" in found["why"]


def _shaped(signature: tuple[int, ...]) -> bytes:
    maker = Maker()
    g = maker.graph()
    shape = np.array(signature, "<i4")
    x, y = (g.tensor(n, (1, 1), shapeSignature=shape) for n in "xy")
    g.op(OP.RELU, [x], [y])
    g.io([x], [y])
    return maker.pack()


def test_select_custom_sparse_and_outside() -> None:
    found = problems(read_model(everything().pack()))
    assert {p["op"] for p in found} >= {"FlexErf", "Mine", "STABLEHLO_BROADCAST_IN_DIM"}
    assert all(p["why"] and p["remedy"] for p in found)


def test_int4_weights_of_a_channel_each() -> None:
    maker = Maker()
    g = maker.graph()
    x, y = tensor(g, "x", (1, 4), "b"), tensor(g, "y", (1, 2), "b")
    scales = s.QuantizationParametersT(
        scale=np.array([0.5, 0.25], "<f4"), zeroPoint=np.zeros(2, "<i8")
    )
    w = g.tensor("w", (2, 4), TYPE.INT4, b"\1\2\3\4", quantization=scales)
    g.op(OP.FULLY_CONNECTED, [x, w], [y], s.FullyConnectedOptionsT())
    g.io([x], [y])
    assert "a scale for each channel" in only(maker.pack())["why"]


def test_weights_behind_the_flatbuffer() -> None:
    """tflite-micro would take them for activations and compute with what lies there."""
    case = micro_ops._weighted("FULLY_CONNECTED", "f", "f", "-", "f")
    data = single("FULLY_CONNECTED", case, "f")
    model = s.ModelT.InitFromObj(s.Model.GetRootAs(data))
    buffer = next(b for b in model.buffers if b.data is not None and len(b.data) == 32)
    weights, buffer.data = bytes(buffer.data), None
    buffer.offset, buffer.size = 1 << 12, 32
    packed = micro_ops.Maker()
    packed.model = model
    moved = packed.pack()
    moved += b"\0" * ((1 << 12) - len(moved)) + weights
    assert "behind the flatbuffer" in only(moved)["why"]


def test_operators_without_inputs_and_outputs() -> None:
    for name in ("CONV_2D", "SPLIT", "TRANSPOSE_CONV", "SVDF", "MEAN", "ADD", "UNPACK"):
        maker = Maker()
        g = maker.graph()
        x = g.tensor("x", (4,))
        g.op(getattr(OP, name), [], [])
        g.op(getattr(OP, name), [-1, -1, -1], [-1])
        g.io([x], [x])
        assert len(problems(read_model(maker.pack()))) == 2


def test_no_more_than_a_page() -> None:
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", (4,))
    for _ in range(500):
        g.op(OP.RANK, [x], [x])
    g.io([x], [x])
    assert len(problems(read_model(maker.pack()))) == 200


@pytest.mark.parametrize(("letter", "refused"), [("l", True), ("i", False)])
def test_what_no_quantization_changes(letter: str, refused: bool) -> None:
    """`tf.argmax` gives int64 by default, which no kernel gives, whatever becomes of its floats."""
    inputs = [((1, 4), "f", None), ((1,), "i", [1])]
    case = Case(inputs, [((1,), letter)], s.ArgMaxOptionsT())
    model = read_model(single("ARG_MAX", case, "f"))
    assert bool(problems(model, before_conversion=True)) is refused
