"""Interfaces: what a file's is, and what differs between two."""

from __future__ import annotations

import json
import random
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tflbuild import interface
from tflbuild.interface import Difference, check, differences, of_model, side_by_side
from tflbuild.tflite.read import read_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tflite"))
import tflite_models as make


def tensor(name: str, shape: tuple[int, ...] = (1, 4), dtype: str = "float32", **q: Any) -> Any:
    return {"name": name, "shape": list(shape), "dtype": dtype, **q}


def scaled(name: str, scale: Any, zero: int = 0) -> Any:
    return tensor(name, dtype="int8", scale=[scale], zero_point=[zero])


def signature(name: str, inputs: Any, outputs: Any, main: bool = True) -> Any:
    return {"name": name, "main": main, "inputs": inputs, "outputs": outputs}


def of(*signatures: Any) -> Any:
    return {"signatures": list(signatures)}


def one(inputs: Any, outputs: Any) -> Any:
    return of(signature("serve", inputs, outputs))


A, B, Y, Z = tensor("a"), tensor("b"), tensor("y", (1, 3)), tensor("z", (1, 5))
BASE = one([A, B], [Y, Z])


def whats(old: Any, new: Any) -> list[str]:
    return [change.what for change in differences(old, new)]


def only(old: Any, new: Any) -> Difference:
    (change,) = differences(old, new)
    return change


# what a file's interface is


def test_of_a_file_with_a_signature() -> None:
    assert of_model(read_model(make.two_in_two_out().pack())) == of(
        signature(
            "serve",
            [tensor("left"), tensor("right")],
            [tensor("score", (1, 3)), tensor("sum", (1, 4))],
        )
    )


def test_positions_are_those_of_the_subgraph() -> None:
    maker = make.two_in_two_out()
    graph = maker.model.subgraphs[0]
    graph.inputs, graph.outputs = graph.inputs[::-1], graph.outputs[::-1]
    (found,) = of_model(read_model(maker.pack()))["signatures"]
    assert [t["name"] for t in found["inputs"]] == ["right", "left"]
    assert [t["name"] for t in found["outputs"]] == ["sum", "score"]


def test_of_a_file_without_signatures() -> None:
    maker = make.two_in_two_out()
    maker.model.signatureDefs = []
    (found,) = of_model(read_model(maker.pack()))["signatures"]
    assert (found["name"], found["main"]) == ("", True)
    assert [t["name"] for t in found["inputs"] + found["outputs"]] == ["a", "b", "y", "x"]


def test_a_signature_of_another_subgraph_leaves_the_main_one_there() -> None:
    maker = make.variables(initialized=True)
    maker.signature("start", {}, {}, subgraph=1)
    found = of_model(read_model(maker.pack()))["signatures"]
    assert [(s["name"], s["main"]) for s in found] == [("", True), ("start", False)]


def test_dynamic_shapes_and_quantization() -> None:
    maker = make.Maker()
    graph = maker.graph()
    x = graph.tensor("x", (1, 4), make.TYPE.INT8, scale=0.1,
                     shapeSignature=np.array([-1, 4], "<i4"))  # fmt: skip
    q = make.s.QuantizationParametersT(
        scale=np.array([0.5, float("nan")], "<f4"), zeroPoint=np.array([0, 1], "<i8"),
        quantizedDimension=1,
    )  # fmt: skip
    y = graph.tensor("y", (1, 2), make.TYPE.INT8, quantization=q)
    graph.io([x], [y])
    maker.signature("s", {"x": x}, {"y": y})
    (found,) = of_model(read_model(maker.pack()))["signatures"]
    assert found["inputs"] == [
        {"name": "x", "shape": [-1, 4], "dtype": "int8", "scale": [0.100000001], "zero_point": [0]}
    ]
    assert found["outputs"] == [
        {"name": "y", "shape": [1, 2], "dtype": "int8", "scale": [0.5, "nan"],
         "zero_point": [0, 1], "axis": 1}
    ]  # fmt: skip
    json.dumps(found, allow_nan=False)


def test_scales_that_are_one_bit_apart_differ() -> None:
    chosen = random.Random(0)
    for _ in range(1000):
        scale = np.float32(chosen.uniform(1e-8, 1e3))
        other = np.nextafter(scale, np.float32(np.inf))
        assert float(f"{scale:.9g}") != float(f"{other:.9g}")
        assert np.float32(float(f"{scale:.9g}")) == scale


@pytest.mark.parametrize("maker", [make.everything, make.two_in_two_out])
def test_a_file_against_itself(maker: Any) -> None:
    found = of_model(read_model(maker().pack()))
    check(found)
    assert differences(found, json.loads(json.dumps(found))) == ()
    assert not any(row.change for row in side_by_side(found, found))


# what differs


def test_a_rename() -> None:
    change = only(BASE, one([A, B], [tensor("score", (1, 3)), Z]))
    assert (change.what, change.where, change.old, change.new) == (
        "names", "output 'y'", "y", "score",
    )  # fmt: skip
    assert change.message == (
        "output 'y' is now called 'score': an application that binds by name no longer finds it;"
        " by position nothing changes"
    )


def test_renames_of_what_looks_alike_go_by_position() -> None:
    found = differences(BASE, one([tensor("p"), tensor("q")], [Y, Z]))
    assert [(c.old, c.new) for c in found] == [("a", "p"), ("b", "q")]


def test_an_order() -> None:
    change = only(BASE, one([B, A], [Y, Z]))
    assert (change.what, change.where, change.old, change.new) == (
        "order", "the inputs", ["a", "b"], ["b", "a"],
    )  # fmt: skip
    assert "by name nothing changes" in change.sees


def test_names_that_change_places_are_an_order() -> None:
    """By name each is where it was asked for; by position it is the other."""
    assert whats(one([A, B], [Y]), one([B, A], [Y])) == ["order"]


def test_a_rename_and_another_order() -> None:
    assert whats(BASE, one([A, B], [Z, tensor("score", (1, 3))])) == ["order", "names"]


def test_shapes_and_types() -> None:
    change = only(BASE, one([A, tensor("b", (1, 8))], [Y, Z]))
    assert (change.what, change.old, change.new) == ("shapes", [1, 4], [1, 8])
    assert change.said == "the shape of input 'b' was [1,4] and is [1,8]"
    change = only(BASE, one([A, tensor("b", dtype="int32")], [Y, Z]))
    assert (change.what, change.old, change.new) == ("dtypes", "float32", "int32")


def test_opened_and_closed_dimensions() -> None:
    fixed, dynamic = one([tensor("x", (1, 4))], []), one([tensor("x", (-1, 4))], [])
    opened = only(fixed, dynamic)
    assert (opened.what, opened.breaks) == ("shapes", False)
    closed = only(dynamic, fixed)
    assert closed.breaks
    assert "resizes it" in closed.sees
    assert "[?,4]" in closed.said


def test_a_scale_alone() -> None:
    change = only(one([], [scaled("y", 0.5)]), one([], [scaled("y", 0.25)]))
    assert change.what == "quantization"
    assert change.message == (
        "the scale of output 'y' was 0.5 and is 0.25, and the scale alone changed: an application"
        " that reads scale and zero point from the file sees nothing; one that hard-codes 0.5"
        " reads values 2 times too large"
    )
    change = only(one([scaled("x", 0.5)], []), one([scaled("x", 0.25)], []))
    assert change.sees.endswith("hard-codes 0.5 hands over values 2 times too small")


def test_a_zero_point() -> None:
    change = only(one([], [scaled("y", 0.5, 3)]), one([], [scaled("y", 0.5, -3)]))
    assert change.said == (
        "the quantization of output 'y' was scale 0.5 zero point 3 and is scale 0.5 zero point -3"
    )


def test_a_type_is_told_without_its_scale() -> None:
    assert whats(one([A], []), one([scaled("a", 0.5)], [])) == ["dtypes"]


def test_a_retrained_and_renamed_output_is_still_a_rename() -> None:
    found = whats(one([], [scaled("y", 0.5)]), one([], [scaled("z", 0.25)]))
    assert found == ["names", "quantization"]


def test_what_comes_and_goes() -> None:
    last = only(BASE, one([A, B], [Y, Z, tensor("w", (9,))]))
    assert (last.what, last.old, last.breaks) == ("outputs", None, False)
    between = only(BASE, one([A, B], [Y, tensor("w", (9,)), Z]))
    assert (between.what, between.breaks) == ("outputs", True)
    gone = only(BASE, one([A, B], [Y]))
    assert (gone.what, gone.new) == ("outputs", None)
    new = only(BASE, one([A, tensor("c", (9,)), B], [Y, Z]))
    assert (new.what, new.breaks) == ("inputs", True)
    assert "every application must set it" in new.sees


def test_signatures() -> None:
    serve, train = signature("serve", [A], [Y]), signature("train", [B], [Z], main=False)
    extra = signature("extra", [B], [], main=False)
    new = only(of(serve), of(serve, train))
    assert (new.what, new.breaks, new.harmless) == ("signatures", True, False)
    assert "without naming it" in new.sees
    third = only(of(serve, train), of(serve, train, extra))
    assert (third.what, third.breaks, third.harmless) == ("signatures", False, True)
    gone = only(of(serve, train), of(serve))
    assert (gone.what, gone.old, gone.new) == ("signatures", "train", None)
    renamed = only(of(serve, train), of(serve, {**train, "name": "learn"}))
    assert renamed.said == "signature 'train' is now called 'learn'"
    other = {**serve, "main": False}, {**train, "main": True}
    assert whats(of(serve, train), of(*other)) == ["order", "order"]


def test_a_renamed_signature_with_a_renamed_output() -> None:
    found = whats(one([A], [Y]), of(signature("run", [A], [tensor("score", (1, 3))])))
    assert found == ["signatures", "names"]


def test_where_says_which_signature_where_there_are_several() -> None:
    old = of(signature("s", [A], [Y]), signature("t", [A], [Y], main=False))
    new = of(signature("s", [A], [Y]), signature("t", [A], [tensor("z", (1, 3))], main=False))
    assert only(old, new).where == "output 'y' of signature 't'"


def test_signatures_for_a_file_that_had_none() -> None:
    change = only(of(signature("", [A], [Y])), of(signature("serve", [A], [Y])))
    assert (change.what, change.old, change.new) == ("signatures", None, "serve")
    assert not change.harmless


# side by side


def test_side_by_side() -> None:
    rows = side_by_side(BASE, one([B, A], [tensor("score", (1, 3))]))
    assert [(r.place, r.old, r.new, r.change) for r in rows] == [
        ("input", "0 a float32[1,4]", "1 a float32[1,4]", "order"),
        ("input", "1 b float32[1,4]", "0 b float32[1,4]", "order"),
        ("output", "0 y float32[1,3]", "0 score float32[1,3]", "names"),
        ("output", "1 z float32[1,5]", "", "output gone"),
    ]


def test_signatures_side_by_side() -> None:
    serve, train = signature("serve", [], [Y]), signature("train", [B], [], main=False)
    rows = side_by_side(of(serve, train), of(serve))
    assert [(r.place, r.old, r.new, r.change) for r in rows] == [
        ("signature", "serve", "serve", ""),
        ("output", "0 y float32[1,3]", "0 y float32[1,3]", ""),
        ("signature", "train", "", "signatures"),
        ("input", "0 b float32[1,4]", "", ""),
    ]


# anything against anything


def test_random_interfaces() -> None:
    chosen = random.Random(3)

    def side() -> Any:
        made = []
        for _ in range(chosen.randrange(4)):
            shape = tuple(chosen.choice((-1, 1, 4)) for _ in range(chosen.randrange(3)))
            name = chosen.choice("abc")  # twice, too: a hostile file
            if chosen.random() < 0.5:
                made.append(tensor(name, shape))
            else:
                made.append({**scaled(name, chosen.choice((0.5, 0.0, "nan"))), "shape": [1]})
        return made

    def some() -> Any:
        names = chosen.sample(["", "s", "t", "u"], chosen.randrange(1, 4))
        return of(*(signature(n, side(), side(), not i) for i, n in enumerate(names)))

    for _ in range(2000):
        old, new = some(), some()
        check(old)
        kept = deepcopy((old, new))
        found = differences(old, new)
        assert (old, new) == kept
        assert bool(found) == (_by_name(old) != _by_name(new)), (old, new)
        assert all(c.what in interface.KINDS and c.said and c.sees for c in found)
        rows = side_by_side(old, new)
        assert any(row.change for row in rows) or not found or all(c.what == "order" for c in found)
        for index, given in enumerate((old, new)):
            count = sum(len(s["inputs"]) + len(s["outputs"]) for s in given["signatures"])
            cells = [(row.old, row.new)[index] for row in rows if row.place != "signature"]
            assert len([cell for cell in cells if cell]) == count


def _by_name(value: Any) -> Any:
    """The order of signatures in the list says nothing."""
    return {s["name"]: s for s in value["signatures"]}
