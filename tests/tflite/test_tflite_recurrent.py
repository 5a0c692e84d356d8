"""Advice about loops leads nowhere that is refused in turn; files by hand."""

from __future__ import annotations

import pytest
import tflite_models as make
from tflite_models import OP, Maker

from tflbuild.tflite import checks, recurrent
from tflbuild.tflite.read import TfliteModel, read_model

s = make.s


def loop(rows: int, *, carried: bool = True) -> TfliteModel:
    """A loop whose body multiplies by a weight of 8 * rows; a float value may only pass by."""
    maker = Maker()
    main, cond, body = maker.graph(), maker.graph("cond"), maker.graph("body")
    x = main.tensor("x", (1, 8))
    y = main.tensor("net/while", (1, 8))
    inside = cond.tensor("v", (1, 8))
    cond.io([inside], [cond.tensor("more", (), make.TYPE.BOOL)])
    v = body.tensor("v", (1, 8))
    w = body.tensor("w", (1, rows))
    body.op(OP.FULLY_CONNECTED, [v, body.weight("weight", (rows, 8))], [w])
    body.io([v], [v if carried else w])
    main.op(OP.WHILE, [x], [y], s.WhileOptionsT(1, 2))
    main.io([x], [y])
    maker.signature("s", {"x": x}, {"y": y})
    return read_model(maker.pack())


@pytest.mark.parametrize(("rows", "says"), [(8, "float16"), (128, "dynamic_range or float16")])
def test_small_weights_are_not_sent_to_dynamic_range(rows: int, says: str) -> None:
    found = recurrent.calibration(loop(rows))
    assert found["int8"].endswith(f"or quantize: {says}")
    assert recurrent.calibration(loop(rows, carried=False))["int16x8"].endswith(f": {says}")


def test_dynamic_range_of_a_loop_is_not_sent_to_int8() -> None:
    def said(model: TfliteModel, quantizer: str) -> str:
        found = checks.quantization_problems(
            model, "dynamic_range", "float32", {"x": "float32"}, {"y": "float32"},
            signature="s", quantizer=quantizer,
        )  # fmt: skip
        (problem,) = found
        return problem

    never = "use quantize: float16 or none (int8 cannot calibrate the model's loop)"
    assert said(loop(8), "tensorflow").endswith(never)
    assert said(loop(8, carried=False), "ai-edge").endswith(never)
    assert said(loop(8, carried=False), "tensorflow").endswith(
        "use quantize: int8, float16 or none"
    )
