"""Samples chosen by count and seed; arrays that a task made; large arrays looked at in parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflbuild import data
from tflbuild.datasets.arrays import Writer
from tflbuild.datasets.choose import choose
from tflbuild.errors import TaskError

X = {"name": "x", "dtype": "float32", "shape": [None, 2]}
Y = {"name": "y", "dtype": "float32", "shape": [None, 1]}


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 1 << 62))
def test_a_choice_is_in_order_without_repeats(total: int, count: int, seed: int) -> None:
    names = [str(i) for i in range(total)]
    places = choose(names, count, seed)
    assert len(places) == min(count, total)
    assert places == sorted(set(places))
    assert set(places) <= set(range(total))
    assert set(places) - {total} <= set(choose(names, count + 1, seed))


def test_a_choice_is_the_same_for_ever() -> None:
    assert choose(map(str, range(100)), 5, 0) == CHOICE
    assert choose(map(str, range(100)), 5, 1) != CHOICE


CHOICE = [15, 44, 46, 87, 99]


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_arrays_are_chosen_with_their_labels(tmp_path: Path, kind: str) -> None:
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    labels = np.arange(20)
    np.savez(tmp_path / "d.npz", x=x, y=labels)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", labels)
    params: dict[str, Any] = {"kind": kind, "samples": 7, "seed": 3, "labels": True}
    if kind == "npz":
        files, more = {"npz": tmp_path / "d.npz"}, {"label_key": "y"}
    else:
        files = {"npy.x": tmp_path / "x.npy", "labels": tmp_path / "y.npy"}
        more = {"arrays": ["x"]}  # type: ignore[dict-item]
    samples = data.load({**params, **more}, files, [X], "test")
    places = choose(map(str, range(20)), 7, 3)
    assert samples.count == 7
    assert samples.labels is not None
    assert samples.labels.tolist() == places
    assert samples.arrays["x"].tolist() == x[places].tolist()


def made(folder: Path, **arrays: Any) -> dict[str, Path]:
    """What the stage `data` leaves, as its consumers name it."""
    names = sorted(arrays)
    (folder / "arrays.json").write_text(json.dumps({"inputs": names}))
    for index, name in enumerate(names):
        np.save(folder / f"array.{index}.npy", arrays[name])
    np.save(folder / "labels.npy", np.array([1, 0, 1]))
    return {path.name: path for path in folder.iterdir()}


def test_made_arrays_are_bound_by_name(tmp_path: Path) -> None:
    x, y = np.eye(3, 2, dtype=np.float32), np.array([[1], [2], [3]], np.float32)
    params = {"kind": "arrays", "labels": True}
    for inputs in ([X, Y], [Y, X]):
        samples = data.load(params, made(tmp_path, y=y, x=x), inputs, "test")
        assert samples.arrays["x"].tolist() == x.tolist()
        assert samples.arrays["y"].tolist() == y.tolist()
        assert samples.labels is not None
        assert samples.labels.tolist() == [1, 0, 1]


def test_made_arrays_for_the_only_input(tmp_path: Path) -> None:
    files = made(tmp_path, **{"": np.eye(3, 2, dtype=np.float32)})
    samples = data.load({"kind": "arrays", "labels": False}, files, [X], "test")
    assert samples.arrays["x"].tolist() == np.eye(3, 2).tolist()
    with pytest.raises(TaskError, match=r"the model has inputs \['x', 'y'\]; say by input: which"):
        data.load({"kind": "arrays", "labels": False}, files, [X, Y], "test")
    files = made(tmp_path, z=np.eye(3, 2, dtype=np.float32))
    with pytest.raises(TaskError, match=r"what is declared gives \['z'\], the inputs are \['x'\]"):
        data.load({"kind": "arrays", "labels": False}, files, [X], "test")


def test_every_part_of_a_large_array_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "_PART", 24)  # three samples
    x = np.random.default_rng(0).random((10, 2)).astype(np.float32)
    x[7, 1] = x[9, 0] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(TaskError, match=r"NaN or infinity in sample 7 \(2 of 10 samples\)"):
        data.load({"kind": "npy", "arrays": ["x"]}, {"npy.x": tmp_path / "x.npy"}, [X], "test")


def test_npy_files_stay_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(5, 2, dtype=np.float32))
    files = {"npy.x": tmp_path / "x.npy"}
    array = data.load({"kind": "npy", "arrays": ["x"]}, files, [X], "test").arrays["x"]
    assert isinstance(array.base, np.memmap)
    assert type(array) is np.ndarray


@given(st.sampled_from(["<f4", ">f4", "u1", "?", "<i8", "S3"]), st.integers(1, 12),
       st.lists(st.integers(0, 3), max_size=3))  # fmt: skip
def test_a_written_array_is_what_numpy_saves(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, count: int, shape: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("written")
    rng = np.random.default_rng(count)
    array = rng.integers(1, 2 if dtype == "?" else 100, (count, *shape)).astype(dtype)
    writer = Writer(folder / "a.npy", "x")
    for sample in array:
        writer.add(np.asarray(sample), "sample")
    told = writer.close()
    little = array if dtype == "S3" else array.astype(array.dtype.newbyteorder("<"))
    assert told["shape"] == [count, *shape]
    if dtype == "S3":
        assert np.load(folder / "a.npy").tolist() == array.tolist()
    else:
        np.save(folder / "b.npy", little)
        assert (folder / "a.npy").read_bytes() == (folder / "b.npy").read_bytes()


def test_samples_that_differ(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.npy", "x")
    writer.add(np.zeros((2, 2), np.float32), "sample 0")
    for other in (np.zeros((2, 3), np.float32), np.zeros((2, 2)), np.array(["a"])):
        with pytest.raises(TaskError, match=r"^sample 1: input 'x' is .*, in the samples before"):
            writer.add(other, "sample 1")
