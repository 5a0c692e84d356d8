"""Calibration and test data: checked before use, and cut so that every sample counts once."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflbuild import data, quantizing
from tflbuild.conversion import Lowered
from tflbuild.errors import TaskError
from tflbuild.optimizations import QUANTIZATIONS
from tflbuild.stages import convert, validate
from tflbuild.stages.base import Request
from tflbuild.validation.file import File

INT8 = {"quantize": "int8", "io": "int8", "profile": "builtin"}
CALIBRATION = {"int8": "", "int16x8": "", "foreign": {"select": [], "custom": []}}
X = {"name": "x", "dtype": "float32", "shape": [None, 2]}
IDS = {"name": "ids", "dtype": "int32", "shape": [None]}
RNG = np.random.default_rng(0)


def floats(*shape: int) -> Any:
    return RNG.random(shape).astype(np.float32)


def load(
    folder: Path,
    arrays: dict[str, Any],
    inputs: list[Any] | None = None,
    what: str = "test",
    **params: Any,
) -> data.Samples:
    """Through an .npz, as convert and validate load it."""
    np.savez(folder / "d.npz", **arrays)
    return data.load({"kind": "npz", **params}, {"npz": folder / "d.npz"}, inputs or [X], what)


def refused(says: str) -> Any:
    return pytest.raises(TaskError, match=says)


def test_good_data_and_what_is_known_of_it(tmp_path: Path) -> None:
    x = np.array([[0, 1], [2, -3], [1, 1]], np.float32)
    samples = load(tmp_path, {"x": x, "other": x, "y": [2, 0, 1]}, labels=True, label_key="y")
    assert samples.count == 3
    assert samples.representative
    assert samples.labels is not None
    assert samples.labels.tolist() == [2, 0, 1]
    assert samples.ranges() == {"x": [-3.0, 2.0]}
    assert samples.warnings == []
    first = load(tmp_path, {"x": x, "y": [2, 0, 1]}, samples=2, labels=True, label_key="y")
    assert first.count == len(first.arrays["x"]) == 2
    assert first.labels is not None
    assert first.labels.tolist() == [2, 0]


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"x": floats(0, 2)}, {}, "holds no sample"),
    ({"x": floats(3, 2)}, {"samples": 4}, "holds 3 samples, fewer than samples: 4"),
    ({"x": floats(3, 5)}, {}, re.escape("shape [3, 5]; the model takes [?, 2], samples")),
    ({"x": floats(3)}, {}, re.escape("has shape [3]")),
    ({"x": np.float32(3)}, {}, "has shape"),
    ({"x": floats(3, 1, 5, 2)}, {}, "has shape"),
    ({"x": floats(3, 2).astype("float64")}, {}, "is float64, the model takes float32"),
    ({"x": np.arange(4).reshape(2, 2)}, {}, "is int64, the model takes float32"),
    ({"x": np.array([["a", "b"]])}, {}, "the model takes float32"),
    ({"X": floats(3, 2)}, {}, "no array 'x' .*did you mean to rename 'X'"),
    ({"z": floats(3, 2)}, {}, "arrays are bound by input name"),
    ({"x": np.array([[0, 1], [np.nan, 1]], "f")}, {}, r"NaN or infinity in sample 1 \(1 of 2"),
    ({"x": np.array([[0, 1], [0, -np.inf]], "f")}, {}, "NaN or infinity in sample 1"),
    ({"x": np.full((3, 2), 7, "f")}, {}, r"constant \(7 everywhere\)"),
    ({"x": floats(3, 2), "y": [1, 2]}, {"labels": True, "label_key": "y"}, "2 labels for 3"),
    ({"x": floats(3, 2)}, {"labels": True, "label_key": "y"}, "has no array 'y'"),
    (
        {"x": floats(2, 2), "y": np.array([1j, 2])},
        {"labels": True, "label_key": "y"},
        r"labels must be numbers or text, .* not complex128 of shape \[2\]",
    ),
    ({"x": np.array([{}, {}], object)}, {}, "'x' holds Python objects; save plain numbers$"),
]


@pytest.mark.parametrize(("arrays", "params", "says"), BAD, ids=[says for *_, says in BAD])
def test_bad_data(tmp_path: Path, arrays: Any, params: Any, says: str) -> None:
    with refused(says) as caught:
        load(tmp_path, arrays, **params)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("test data")


def test_inputs_that_differ_in_their_number(tmp_path: Path) -> None:
    with refused("differ in their number of samples: {'x': 3, 'ids': 2}"):
        load(tmp_path, {"x": floats(3, 2), "ids": np.array([1, 2], "int32")}, [X, IDS])


def test_one_constant_input_of_two_stops_calibration_alone(tmp_path: Path) -> None:
    arrays = {"x": floats(3, 2), "z": np.ones((3, 2), "float32")}
    inputs = [X, {**X, "name": "z"}]
    assert "'z' is constant (1 everywhere)" in load(tmp_path, arrays, inputs).warnings[0]
    with refused("its range says nothing"):
        load(tmp_path, arrays, inputs, "calibration")


def test_labels_of_any_kind(tmp_path: Path) -> None:
    for labels, kept in (
        (np.array([[2], [0], [1]], "int8"), np.array([2, 0, 1])),
        (np.array([2.5, 0, 1], ">f4"), np.array([2.5, 0, 1], "f4")),
        (np.arange(12, dtype="uint8").reshape(3, 2, 2), None),
        (np.array(["a b", "", "ü"]), None),
    ):
        kept = labels if kept is None else kept
        arrays = {"x": floats(3, 2), "y": labels}
        found = load(tmp_path, arrays, labels=True, label_key="y").labels
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.tolist()) == (kept.dtype, kept.tolist())
        both = load(tmp_path, arrays, labels=True, label_keys={"l": "y", "m": "x"}, samples=2)
        assert isinstance(both.labels, dict)
        assert both.labels["l"].tolist() == kept[:2].tolist()
        assert both.labels["m"].shape == (2, 2)


@pytest.mark.parametrize(
    ("labels", "says"),
    [(np.array(1), r"not int64 of shape \[\]"), (np.zeros(0), r"0 labels for 3 samples")],
)
def test_labels_that_are_none(tmp_path: Path, labels: Any, says: str) -> None:
    with refused(says) as caught:
        load(tmp_path, {"x": floats(3, 2), "y": labels}, labels=True, label_key="y")
    assert caught.value.key == "labels"


def test_big_endian_is_the_same_type(tmp_path: Path) -> None:
    samples = load(tmp_path, {"x": floats(3, 2).astype(">f4")})
    assert samples.count == 3


def test_text(tmp_path: Path) -> None:
    word = {"name": "w", "dtype": "string", "shape": [None]}
    samples = load(tmp_path, {"w": np.array(["größe", ""])}, [word])
    assert next(data.batches(samples, [word], 1))["w"].tolist() == ["größe"]
    with refused("'w' is float32, the model takes string$"):
        load(tmp_path, {"w": floats(2)}, [word])


def test_outliers_are_told_and_absurd_ranges_refused(tmp_path: Path) -> None:
    x = floats(1000, 2)
    assert load(tmp_path, {"x": x}, what="calibration").warnings == []
    x[5, 1] = 1000
    (warning,) = load(tmp_path, {"x": x}, what="calibration").warnings
    assert "reaches from" in warning
    assert "to 1000" in warning
    assert load(tmp_path, {"x": x}).warnings == []
    x[5] = [-3e38, 3e38]
    with refused("no quantization can hold"):
        load(tmp_path, {"x": x}, what="calibration")


def test_npy_by_name(tmp_path: Path) -> None:
    x, ids = floats(3, 2), np.arange(3, dtype="int32")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "i.npy", ids)
    np.save(tmp_path / "l.npy", ids)
    files = {"npy.x": tmp_path / "x.npy", "npy.ids": tmp_path / "i.npy", "npy.": tmp_path / "x.npy"}
    files["labels"] = tmp_path / "l.npy"
    params: dict[str, Any] = {"kind": "npy", "arrays": ["ids", "x"]}
    assert data.load(params, files, [X, IDS], "test").count == 3
    params["labels"] = True
    assert data.load({**params, "arrays": [""]}, files, [X], "test").labels is not None
    with refused("give npy: a file for each"):
        data.load({**params, "arrays": [""]}, files, [X, IDS], "test")
    with refused(r"npy names \['x'\], the inputs are \['x', 'ids'\]"):
        data.load({**params, "arrays": ["x"]}, files, [X, IDS], "test")
    with refused("npy names"):
        data.load({**params, "arrays": ["ids", "x"]}, files, [X], "test")


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", floats(3, 2))
    np.savez(tmp_path / "x.npz", x=floats(3, 2))
    good = (tmp_path / "x.npz").read_bytes()
    npz, npy = {"kind": "npz"}, {"kind": "npy", "arrays": [""]}
    with refused("declare it as npy:"):
        data.load(npz, {"npz": tmp_path / "x.npy"}, [X], "test")
    with refused("declare it as npz:"):
        data.load(npy, {"npy.": tmp_path / "x.npz"}, [X], "test")
    with refused("has no array|is one array"):
        data.load(npz, {"npz": tmp_path / "x.npy"}, [X], "calibration")
    for name, content in {
        "empty": b"",
        "text": b"x, y\n1, 2\n",
        "cut": good[: len(good) // 2],
        "flipped": good[:140] + bytes(b ^ 255 for b in good[140:150]) + good[150:],
        "unsafe": b"\x80\x04]\x94.",
        "folder": None,
    }.items():
        path = tmp_path / name
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
        with refused("is not a NumPy file|is damaged|cannot be read: Is a dir") as caught:
            data.load(npz, {"npz": path}, [X], "test")
        assert "\n" not in str(caught.value)
        assert "pickle" not in str(caught.value)
    with refused("text is not a NumPy file; write it with numpy.save"):
        data.load(npz, {"npz": tmp_path / "text"}, [X], "test")
    np.save(tmp_path / "o.npy", np.array([{}, {}], object))
    with refused("o.npy holds Python objects; save plain numbers$"):
        data.load(npy, {"npy.": tmp_path / "o.npy"}, [X], "test")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("x", "no array")
    with refused("'x' is not an array"):
        data.load(npz, {"npz": tmp_path / "other.npz"}, [X], "test")


def test_random_data(tmp_path: Path) -> None:
    params = {"kind": "random", "seed": 3, "samples": 10, "low": -2.0, "high": 3.0}
    mask = {"name": "m", "dtype": "bool", "shape": [None, 4]}
    samples = data.load(params, {}, [X, IDS, mask], "test")
    assert not samples.representative
    x, ids = samples.arrays["x"], samples.arrays["ids"]
    assert x.dtype == np.float32
    assert -2 <= x.min() < x.max() < 3
    assert set(ids.tolist()) <= {-2, -1, 0, 1, 2}
    assert samples.arrays["m"].dtype == bool
    again = data.load(params, {}, [X, IDS, mask], "test")
    assert (again.arrays["x"] == x).all()
    other = data.load({**params, "seed": 4}, {}, [X, IDS, mask], "test")
    assert not (other.arrays["x"] == x).all()
    with refused("leave the range of input 'b'"):
        data.load(params, {}, [{"name": "b", "dtype": "uint8", "shape": [None]}], "test")
    with refused(r"dynamic dimensions \[\?, \?\];"):
        data.load(params, {}, [{**X, "shape": [None, None]}], "test")
    with refused("is string; declare real data"):
        data.load(params, {}, [{**X, "dtype": "string"}], "test")


shapes = st.lists(
    st.tuples(st.sampled_from([None, None, 1, 2, 3, 5, "scalar"]), st.integers(1, 3)),
    min_size=1,
    max_size=3,
)


@given(shapes, st.integers(1, 12), st.integers(1, 7), st.booleans())
@settings(deadline=None)
def test_batches_hold_every_sample_once(drawn: Any, count: int, size: int, random: bool) -> None:
    """Whatever the mix of dynamic, fixed and scalar inputs: all samples, in order, each once,
    as complete inputs; or an error that says why not."""
    inputs = [
        {
            "name": f"i{n}",
            "dtype": "float32",
            "shape": [] if first == "scalar" else [first, inner],
        }
        for n, (first, inner) in enumerate(drawn)
    ]
    if random:
        params = {"kind": "random", "seed": 0, "samples": count, "low": 0.0, "high": 1.0}
        samples = data.load(params, {}, inputs, "test")
        assert samples.count >= count
    else:
        arrays = {s["name"]: floats(count, *s["shape"][1:]) for s in inputs}
        samples = data.Samples(arrays, count, True)
    try:
        got = list(data.batches(samples, inputs, size))
    except TaskError as error:
        assert not random
        refusals = ("do not fill batches", "different numbers of samples")
        if not any(refusal in str(error) for refusal in refusals):
            raise
        return
    for spec in inputs:
        name, shape = spec["name"], spec["shape"]
        pieces = [batch[name] for batch in got]
        for piece in pieces:
            assert piece.ndim == len(shape)
            for want, have in zip(shape, piece.shape, strict=True):
                assert want in (None, have)
        joined = np.concatenate([piece.reshape(-1) for piece in pieces])
        assert (joined == samples.arrays[name].reshape(-1)).all()
    if data.is_stacked(samples, inputs):
        assert len(got) == samples.count


def test_samples_that_do_not_fill_a_fixed_batch(tmp_path: Path) -> None:
    fixed = {**X, "shape": [4, 2]}
    samples = data.Samples({"x": floats(10, 2)}, 10, True)
    with refused("10 samples do not fill batches of 4.*take the first 8 by samples: 8"):
        list(data.batches(samples, [fixed], 64))
    with refused("3 samples do not fill batches of 4, the model's fixed batch size$"):
        list(data.batches(data.Samples({"x": floats(3, 2)}, 3, True), [fixed], 64))
    stacked = data.Samples({"x": floats(3, 4, 2)}, 3, True)
    assert [b["x"].shape for b in data.batches(stacked, [fixed], 64)] == [(4, 2)] * 3


class Ran(Exception):
    """The converter was made."""


@pytest.mark.parametrize("good", [True, False])
def test_bad_calibration_stops_before_the_converter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    def make_converter(lowered: Any) -> None:
        raise Ran

    monkeypatch.setattr(convert, "make_converter", make_converter)
    (tmp_path / "lowered.pb").touch()
    signature = {"signature": "s", "inputs": [{**X, "tensor": "x:0"}], "outputs": []}
    interface = {"signatures": [signature], "quantization_aware": False}
    out = tmp_path / "work/out"
    out.mkdir(parents=True)
    Request({}, {}, tmp_path).write_json("interface.json", interface)
    Request({}, {}, tmp_path).write_json("calibration.json", CALIBRATION)
    np.savez(tmp_path / "c.npz", x=floats(4, 2) if good else np.zeros((4, 2), "float32"))
    request = Request(
        {**INT8, "calibration": [{"kind": "npz", "samples": 4}]},
        {
            "interface.json": tmp_path / "interface.json",
            "lowered.pb": tmp_path / "lowered.pb",
            "calibration.json": tmp_path / "calibration.json",
            "calibration.0.npz": tmp_path / "c.npz",
        },
        out,
    )
    with pytest.raises(Ran) if good else refused("calibration data: input 'x' is constant"):
        convert.run(request)


@pytest.mark.parametrize("random", [True, False])
def test_random_calibration_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random: bool
) -> None:
    interface = {"signatures": [{"signature": "s", "inputs": [X]}], "quantization_aware": False}
    lowered = Lowered(tmp_path / "lowered.pb", interface)
    monkeypatch.setattr(convert, "open_lowered", lambda request: lowered)
    monkeypatch.setattr(convert, "make_converter", lambda lowered: None)
    monkeypatch.setitem(QUANTIZATIONS, "int8", Calibrating)
    monkeypatch.setattr(quantizing, "run_converter", lambda converter: b"")
    monkeypatch.setattr(convert, "finish", lambda lowered, raw, notes: b"")
    monkeypatch.setattr(convert, "check", lambda *_: {"warnings": []})
    np.savez(tmp_path / "c.npz", x=floats(12, 2))
    Request({}, {}, tmp_path).write_json("calibration.json", CALIBRATION)
    calibration: dict[str, Any] = {"kind": "npz"}
    if random:
        calibration = {"kind": "random", "seed": 0, "samples": 4, "low": 0.0, "high": 1.0}
    convert.run(
        Request(
            {**INT8, "calibration": [calibration]},
            {
                "calibration.json": tmp_path / "calibration.json",
                "calibration.0.npz": tmp_path / "c.npz",
            },
            tmp_path,
        )
    )
    report = json.loads((tmp_path / "convert.json").read_text())
    told = ["calibrated on random data, which is not representative"]
    assert report["warnings"] == (told if random else [])
    assert report["calibration"][0]["representative"] is not random


class Calibrating:
    TRAINED_RANGES = False
    CALIBRATES = True

    @staticmethod
    def configure(*_: Any) -> None:
        pass


def test_saturation_is_told_of_the_files_own_range() -> None:
    file = SimpleNamespace(state_tensors=0)
    (warning,) = validate._warnings({"x": 0.25, "y": 0.001}, cast(File, file))
    assert warning.startswith(
        "25.0% of the test values of input 'x' lie outside the range that the file's quantized"
        " input can hold"
    )


def test_big_endian_arrays_are_read_by_value(tmp_path: Path) -> None:
    values = np.arange(40, dtype=">f4").reshape(20, 2)
    np.savez(tmp_path / "d.npz", x=values)
    spec = [{"name": "x", "dtype": "float32", "shape": [None, 2]}]
    samples = data.load({"kind": "npz"}, {"npz": tmp_path / "d.npz"}, spec, "calibration")
    assert samples.arrays["x"].dtype.isnative
    assert samples.arrays["x"].tobytes() == values.astype("<f4").tobytes()
