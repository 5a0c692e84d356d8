"""Arrays that are not read into memory: the same values, the same errors."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tflbuild import data
from tflbuild.datasets import large
from tflbuild.errors import TaskError

SPECS = [{"name": "x", "dtype": "float32", "shape": [1, 5]}]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything is large, and the scratch folder is a test's own."""
    monkeypatch.setattr(large, "LARGE", 1)
    monkeypatch.setattr(data, "_PART", 64)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))


@pytest.fixture
def x() -> Any:
    return np.random.default_rng(0).normal(0, 1, (40, 5)).astype(np.float32)


def load(path: Path, **params: Any) -> data.Samples:
    kind = "npz" if path.suffix == ".npz" else "npy"
    names = {"npz": {"npz": path}, "npy": {"npy.x": path}}[kind]
    own = {"kind": kind, "samples": None, "arrays": ["x"], **params}
    return data.load(own, names, SPECS, "test")


def saved(tmp_path: Path, how: str, x: Any) -> Path:
    path = tmp_path / ("x.npy" if how == "npy" else "x.npz")
    if how == "npy":
        np.save(path, x)
    else:
        (np.savez if how == "stored" else np.savez_compressed)(path, x=x, labels=np.arange(len(x)))
    return path


@pytest.mark.parametrize("how", ["npy", "stored", "packed"])
def test_values_are_the_same_and_mapped(tmp_path: Path, how: str, x: Any) -> None:
    samples = load(saved(tmp_path, how, x))
    assert large._memmap(samples.arrays["x"]) is not None
    rows = [batch["x"] for batch in data.batches(samples, SPECS, 1)]
    assert (np.concatenate(rows) == x).all()
    assert all(row.flags.aligned for row in rows)
    samples.release()
    assert (samples.arrays["x"] == x).all()
    assert samples.ranges() == {"x": [float(x.min()), float(x.max())]}
    part = samples.part(7, 9)
    assert (part.count, part.arrays["x"].tolist()) == (2, x[7:9].tolist())


@pytest.mark.parametrize("how", ["npy", "stored", "packed"])
def test_a_choice_is_written_out(tmp_path: Path, how: str, x: Any) -> None:
    path = saved(tmp_path, how, x)
    labels = {} if how == "npy" else {"labels": True, "label_key": "labels"}
    for _ in range(2):  # another process of the action finds it there
        samples = load(path, samples=10, seed=3, **labels)
        assert samples.places is not None
        assert len(set(samples.places)) == 10
        assert (samples.arrays["x"] == x[list(samples.places)]).all()
        assert large._memmap(samples.arrays["x"]) is not None
        if labels:
            assert isinstance(samples.labels, np.ndarray)
            assert samples.labels.tolist() == list(samples.places)
    assert load(path, samples=10).places is None


@pytest.mark.parametrize("how", ["npy", "stored", "packed"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_cannot_be_meant(tmp_path: Path, how: str, value: float, x: Any) -> None:
    x[33, 2] = x[35, 1] = value
    with pytest.raises(TaskError, match=r"'x' has NaN or infinity in sample 33 \(2 of 40"):
        load(saved(tmp_path, how, x))
    x[:] = 4
    with pytest.raises(TaskError, match=r"'x' is constant \(4 everywhere\)"):
        load(saved(tmp_path, how, x))


@pytest.mark.parametrize("how", ["stored", "packed"])
def test_a_damaged_member(tmp_path: Path, how: str, x: Any) -> None:
    path = saved(tmp_path, how, x)
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("x.npy")
        middle = entry.header_offset + 60 + entry.compress_size // 2
    content = bytearray(path.read_bytes())
    content[middle] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(TaskError, match=r"test data: x\.npz: array 'x' is damaged"):
        load(path)


def test_the_order_of_bytes_and_axes(tmp_path: Path, x: Any) -> None:
    for form in (x.astype(">f4"), np.asfortranarray(x)):
        for how in ("npy", "stored"):
            samples = load(saved(tmp_path, how, form))
            rows = [batch["x"] for batch in data.batches(samples, SPECS, 1)]
            assert (np.concatenate(rows) == x).all()
            assert {row.dtype for row in rows} == {np.dtype("=f4")}
            assert all(row.flags.c_contiguous for row in rows)


def test_how_many_samples_a_file_holds(tmp_path: Path, x: Any) -> None:
    assert data.count_of(saved(tmp_path, "npy", x)) == 40
    assert data.count_of(saved(tmp_path, "packed", x)) == 40
    (tmp_path / "text.npz").write_text("no")
    assert data.count_of(tmp_path / "text.npz") == 0
