"""Ops that are not builtin: which profile takes them, and what a person is told."""

from __future__ import annotations

import pytest
from tflite_models import Maker

from tflbuild.tflite.foreign import calibration_refusal, foreign_ops, foreign_problems
from tflbuild.tflite.read import TfliteModel, read_model

CUSTOM = 32


def model(*names: str) -> TfliteModel:
    maker = Maker()
    graph = maker.graph()
    x = graph.tensor("x", (1, 4))
    graph.t.inputs = [x]
    for name in names:
        out = graph.tensor(f"layer/{name}", (1, 4))
        graph.op(CUSTOM, [x], [out], custom=name)
        x = out
    graph.t.outputs = [x]
    return read_model(maker.pack())


def test_by_kind() -> None:
    found = foreign_ops(model("Mine", "FlexErf", "Other", "FlexDet", "Mine"))
    assert found == {"select": ["FlexDet", "FlexErf"], "custom": ["Mine", "Other"]}


@pytest.mark.parametrize(
    ("profile", "refused"),
    [
        ("builtin", ["FlexErf", "Mine"]),
        ("select", ["Mine"]),
        ("custom", ["FlexErf"]),
        ("custom_select", []),
    ],
)
def test_profiles(profile: str, refused: list[str]) -> None:
    told = foreign_problems(model("Mine", "FlexErf"), profile, ["Mine"])
    assert [line.split()[0] for line in told] == refused


def test_what_is_told() -> None:
    (line,) = foreign_problems(model("Mine"), "builtin", ())
    assert line.startswith("Mine at 'layer/Mine' is a custom op")
    assert "runtime custom-ops that declares it (ops: {Mine: …})" in line
    # The source's own name of the layer is better than the file's.
    (line,) = foreign_problems(model("Mine"), "select", (), {"Mine": ["block/Mine", "end/Mine"]})
    assert line.startswith("Mine at 'block/Mine', 'end/Mine' is a custom op")
    (line,) = foreign_problems(model("FlexErf"), "builtin", (), {"Erf": ["block/Erf"]})
    assert line.startswith("FlexErf at 'block/Erf' is a select TF op")
    assert "runtime select-tf-ops" in line
    (line,) = foreign_problems(model("FlexBetainc"), "select", ())
    assert "not among the ops that the Flex delegate runs" in line
    # An op of TensorFlow's that the Flex delegate has; and one that nobody has.
    (line,) = foreign_problems(model("MatrixDeterminant"), "custom", ["Mine"])
    assert "no target declares it" in line
    assert "select_ops: true" in line
    (line,) = foreign_problems(model("Betainc"), "custom_select", ["Mine"])
    assert "select_ops" not in line
    assert "declare its kernel (ops: {Betainc: …})" in line


@pytest.mark.parametrize(
    ("profile", "quantize", "kernels", "told"),
    [
        ("builtin", "int8", (), ""),
        ("select", "int8", (), "no kernels for select TF ops (FlexErf at 'block/Erf')"),
        ("custom_select", "int16x8", ("Mine",), "no kernels for select TF ops"),
        ("custom", "int16x8", ("Mine", "Erf"), "takes no custom ops (Erf at 'block/Erf', Mine)"),
        ("custom", "int8", ("Mine", "Erf"), ""),
        ("custom", "int8", ("Mine",), "its custom ops Erf at 'block/Erf' have no kernels here"),
    ],
)
def test_calibration(profile: str, quantize: str, kernels: tuple[str, ...], told: str) -> None:
    foreign = {"select": ["FlexErf"], "custom": ["Mine"]}
    line = calibration_refusal(foreign, profile, quantize, kernels, {"Erf": ["block/Erf"]})
    assert (told in line) if told else line == ""
