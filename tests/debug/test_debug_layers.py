"""Each layer's own error names the culprit, on pairs of files made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from debug_files import OP, Maker, float_file, half_file, quantized_file, samples

from tflbuild import data
from tflbuild.debugging.matching import layers, match
from tflbuild.debugging.naming import keep_name
from tflbuild.debugging.sums import LEAST, Grid, Noise, Spread
from tflbuild.stages import debug
from tflbuild.stages.base import Request
from tflbuild.tflite.names import find
from tflbuild.tflite.read import read_model


def told(folder: Path, quantized: bytes, values: Any, wanted: int = 64) -> dict[str, Any]:
    """What the stage says of the one signature."""
    files = {"model.tflite": quantized, "float.tflite": float_file()}
    inputs = {}
    for name, content in files.items():
        inputs[name] = folder / name
        inputs[name].write_bytes(content)
    np.save(folder / "x.npy", values)
    inputs["test.0.npy."] = folder / "x.npy"
    interface = folder / "interface.json"
    spec = '{"name": "x", "dtype": "float32", "shape": [1, 4]}'
    out = '{"name": "out", "dtype": "float32", "shape": [3]}'
    interface.write_text(
        f'{{"signatures": [{{"signature": "serve", "inputs": [{spec}], "outputs": [{out}]}}]}}'
    )
    inputs["interface.json"] = interface
    params = {
        "test": [{"kind": "npy", "arrays": [""], "samples": None}], "sequences": [None],
        "samples": wanted, "data": ["test"],
    }  # fmt: skip
    request = Request(params, inputs, folder / "out")
    request.out.mkdir()
    debug.run(request)
    written = Request({}, {"layers.json": request.out / "layers.json"}, folder)
    (signature,) = written.read_json("layers.json")["signatures"]
    return dict(signature)


def by_op(signature: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {layer["op"]: layer for layer in signature["layers"]}


@pytest.mark.parametrize("names", [True, False])
def test_a_good_file(tmp_path: Path, names: bool) -> None:
    found = told(tmp_path, quantized_file(names=names), samples())
    layers = by_op(found)
    assert list(layers) == ["FULLY_CONNECTED", "RESHAPE", "LOGISTIC"]
    assert found["samples"] == {"used": 12, "of": 12, "which": "all"}
    assert found["inputs"][0]["saturated"] == 0
    assert found["inputs"][0]["sqnr"] > 30
    assert layers["FULLY_CONNECTED"]["own_sqnr"] > 30
    assert layers["RESHAPE"]["own"] == "exact"
    assert layers["RESHAPE"]["accumulated_sqnr"] == layers["FULLY_CONNECTED"]["accumulated_sqnr"]
    by = [layer["matched"] for layer in found["layers"]]
    if names:
        assert by == ["name", "name", "name"]
        assert not found["notes"]
    else:  # the last by what it writes
        assert by == ["order", "order", "name"]
        assert "by their order" in found["notes"][0]
    names_of = [layer["name"] for layer in found["layers"]]
    assert names_of == ["dense", "flat", "LOGISTIC"]


def test_the_maker_of_a_wrong_range_is_blamed_and_not_its_readers(tmp_path: Path) -> None:
    found = told(tmp_path, quantized_file(dense=0.004), samples())
    layers = by_op(found)
    dense, flat, last = (layers[n] for n in ("FULLY_CONNECTED", "RESHAPE", "LOGISTIC"))
    assert dense["own_sqnr"] < 10
    assert (dense["cause"], dense["passes_range"]) == ("range", False)
    assert dense["kernel_sqnr"] > 25
    assert dense["saturated"] > 0.5
    assert (flat["own"], flat["passes_range"]) == ("exact", True)
    assert flat["accumulated_sqnr"] < 10
    assert last["own_sqnr"] > 30
    assert last["accumulated_sqnr"] < 30
    assert (dense["readers"], flat["readers"], flat["writers"]) == ([2], [3], [1])


def test_weights_that_lose_too_much(tmp_path: Path) -> None:
    layers = by_op(told(tmp_path, quantized_file(weight=2.0), samples()))
    assert layers["FULLY_CONNECTED"]["cause"] == "kernel"
    assert layers["FULLY_CONNECTED"]["own_sqnr"] < 15
    assert layers["LOGISTIC"]["own_sqnr"] > 30


def test_an_input_out_of_range_is_not_the_first_layers_fault(tmp_path: Path) -> None:
    found = told(tmp_path, quantized_file(entering=0.001), samples())
    assert found["inputs"][0]["saturated"] > 0.8
    assert found["inputs"][0]["sqnr"] < 5
    dense = by_op(found)["FULLY_CONNECTED"]
    assert dense["own_sqnr"] > 20
    assert dense["entering_sqnr"] < 5
    assert dense["rounded_sqnr"] < 5


def test_a_range_that_is_far_too_wide(tmp_path: Path) -> None:
    found = told(tmp_path, quantized_file(entering=1.0), samples())
    assert found["inputs"][0]["range_used"] < 0.02
    assert found["inputs"][0]["saturated"] == 0


def test_narrow_weights_behind_a_dequantize(tmp_path: Path) -> None:
    found = told(tmp_path, half_file(), samples())
    layers = by_op(found)
    dense = layers["FULLY_CONNECTED"]
    assert dense["quantized"]
    assert dense["own_sqnr"] < 10  # the weights of this file are a third
    assert dense["cause"] == "kernel"
    assert dense["saturated"] is None
    assert not layers["LOGISTIC"]["quantized"]
    assert found["inputs"][0]["file_range"] is None


def test_samples_are_spread_over_the_data(tmp_path: Path) -> None:
    found = told(tmp_path, quantized_file(), samples(count=40), wanted=10)
    assert found["samples"] == {"used": 10, "of": 40, "which": "evenly spaced"}
    spec = [{"name": "x", "shape": [4, 2], "dtype": "float32"}]
    every = data.Samples({"x": np.arange(22 * 2).reshape(22, 2)}, 22, True)
    some, which = debug.chosen(every, spec, 10, in_order=False)
    assert (some.count, which) == (8, "evenly spaced")  # whole batches
    first, which = debug.chosen(replace(every), spec, 3, in_order=True)
    assert (first.arrays["x"][:, 0].tolist(), which) == ([0, 2, 4, 6], "the first")


def test_what_nothing_matches_is_said(tmp_path: Path) -> None:
    quantized, reference = read_model(quantized_file()), read_model(float_file())
    graph = reference.subgraphs[0]
    fewer = replace(graph, ops=graph.ops[:1], outputs=(graph.ops[0].outputs[0],))
    matching = match(quantized.subgraphs[0], fewer)
    assert matching.ops == {1: 0}
    assert matching.unmatched == (2, 3)


@pytest.mark.parametrize("wrong", ["model.tflite", "float.tflite"])
def test_ops_without_kernels_are_said(tmp_path: Path, wrong: str) -> None:
    """What no interpreter here runs is not compared, and that is no error."""
    maker = Maker()
    g = maker.graph()
    x, y = g.tensor("x", (1, 4)), g.tensor("y", (1, 4))
    g.op(OP.CUSTOM, [x], [y], custom="Mine")
    g.io([x], [y])
    maker.signature("serve", {"x": x}, {"out": y})
    inputs = {"interface.json": tmp_path / "interface.json"}
    inputs["interface.json"].write_text('{"signatures": []}')
    for name, sound in (("model.tflite", quantized_file()), ("float.tflite", float_file())):
        inputs[name] = tmp_path / name
        inputs[name].write_bytes(maker.pack() if name == wrong else sound)
    debug.run(Request({}, inputs, tmp_path))
    found = Request({}, {"l": tmp_path / "layers.json"}, tmp_path).read_json("l")
    assert "custom ops Mine have no kernels here" in found["unrunnable"]
    assert found["unrunnable"].startswith("the float" if wrong == "float.tflite" else "the file")
    assert found["signatures"] == []


def test_names_lead_to_one_operator() -> None:
    model = read_model(float_file())
    graph = model.subgraphs[0]
    for op in graph.ops:
        name = keep_name(model, graph, op)
        assert [(g.index, o.index) for g, o in find(model, [name])[name]] == [(0, op.index)]


def test_sums() -> None:
    noise = Noise()
    assert (noise.told, noise.sqnr) == ("unknown", None)
    noise.add(np.float32([3, 4]), np.float32([3, 4]))
    assert (noise.told, noise.sqnr) == ("exact", None)
    noise.add(np.float32([0, 0]), np.float32([0.5, 0]))
    assert (noise.told, noise.sqnr) == ("measured", 20.0)
    noise.add(np.float32([1]), np.float32([np.nan]))
    assert (noise.told, noise.sqnr) == ("measured", LEAST)
    silent = Noise()
    silent.add(np.float32([0]), np.float32([1]))
    assert silent.sqnr == LEAST
    grid = Grid(0.5, -128, -128, 127)
    assert (grid.low, grid.high) == (0.0, 127.5)
    assert grid.real(grid.store(np.float32([-9, 0.3, 500]), "int8")).tolist() == [0, 0.5, 127.5]
    assert grid.outside(np.float32([-0.5, 0, 128, 128.1])) == 1
    spread = Spread()
    spread.add(np.float32([-1, 12.75]), grid)
    assert spread.told(grid)["range_used"] == 0.1
    assert spread.told(grid)["saturated"] == 0.5


@pytest.mark.parametrize("name", ["ad01", "resnet8", "vww96"])
def test_files_that_others_converted_match_by_name(name: str) -> None:
    folder = Path(__file__).resolve().parents[3] / "shared/models/mlperf-tiny/published"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    quantized, reference = (
        read_model((folder / f"{name}_{kind}.tflite").read_bytes()).subgraphs[0]
        for kind in ("int8", "fp32")
    )
    matching = match(quantized, reference)
    assert not matching.unmatched
    assert set(matching.how.values()) == {"name"}
    assert sorted(matching.ops.values()) == [op.index for op in layers(reference)]
    pairs = [(quantized.ops[a].name, reference.ops[b].name) for a, b in matching.ops.items()]
    assert all(one == other for one, other in pairs)
