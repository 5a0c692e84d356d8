from __future__ import annotations

import micro_ops
import numpy as np
import pytest
from micro_ops import Case, single, tensor
from tflite_models import OP, TYPE, Maker, everything, s

from tflbuild.micro.check import problems
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
    assert found["remedy"] == "use ReLU or ReLU6"


@pytest.mark.parametrize(
    ("name", "letter", "remedy"),
    [
        ("GREATER", "u", "use int8 instead of uint8"),
        ("SQUARED_DIFFERENCE", "l", "use int32 instead of int64"),
        ("ELU", "h", "use quantize: int8 instead of int16x8"),
        ("CEIL", "b", "give it float32"),
    ],
)
def test_remedy_for_types(name: str, letter: str, remedy: str) -> None:
    found = only(single(name, micro_ops.PLAIN[name], letter))
    assert found["remedy"] == remedy


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
