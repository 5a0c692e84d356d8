"""Errors about data say where the manifest declares it, as what, and of which signature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tflbuild import data
from tflbuild.data_errors import declared
from tflbuild.errors import Position, TaskError
from tflbuild.manifest.model import FileData, Model, RandomData, Shipped, Source
from tflbuild.model_data import parity_uses

X = {"name": "feat", "dtype": "float32", "shape": [None, 2]}


def wrong(tmp_path: Path, found: str, signature: str | None, **params: object) -> TaskError:
    np.savez(tmp_path / "a.npz", feet=np.ones((3, 2), "f"), feat=np.eye(2, dtype="f"))
    np.savez(tmp_path / "b.npz", feet=np.ones((3, 2), "f"))
    files = {"npz": tmp_path / ("a.npz" if params else "b.npz")}
    with pytest.raises(TaskError) as caught, declared("test", found, signature):
        data.load({"kind": "npz", **params}, files, [X], "test")
    return caught.value


def test_the_section_and_the_signature_are_named(tmp_path: Path) -> None:
    error = wrong(tmp_path, "test", None)
    assert str(error).startswith("test data: b.npz has no array 'feat'")
    assert error.key == "data.test"
    error = wrong(tmp_path, "calibration", "enc")
    assert str(error).startswith("signature 'enc': calibration data: b.npz has no array 'feat'")
    assert error.key == "data.signatures.enc.calibration"
    assert wrong(tmp_path, "test", None, samples=9).key == "data.test.samples"
    assert wrong(tmp_path, "test", None, labels=True, label_key="z").key == "data.test.labels"


def test_the_nearest_input_is_suggested(tmp_path: Path) -> None:
    np.save(tmp_path / "array.0.npy", np.eye(2, dtype="f"))
    (tmp_path / "arrays.json").write_text('{"inputs": ["feet"]}')
    files = {name: tmp_path / name for name in ("arrays.json", "array.0.npy")}
    with pytest.raises(TaskError, match=r"the inputs are \['feat'\]; did you mean 'feat'\?"):
        data.load({"kind": "arrays"}, files, [X], "test")


def test_parity_names_what_is_declared() -> None:
    some = FileData(npz="a.npz")
    signatures = (
        Shipped("a", calibration=some), Shipped("b", calibration=some, test=some), Shipped("c"),
        Shipped("d", calibration=RandomData()),
    )  # fmt: skip
    model = Model("m", Source("keras"), (), (), signatures)
    assert parity_uses(model) == ["calibration", "test", "test", "calibration"]


def test_positions_of_data_with_and_without_signatures() -> None:
    own, common = Position("f", 1, 1), Position("f", 2, 2)
    model = Model(
        "m", Source("keras"), (), (), (Shipped("a"),), position=Position("f", 9, 9),
        positions={"data.signatures.a.test": own, "data.calibration": common},
    )  # fmt: skip
    assert model.position_of("data.test") == own
    assert model.position_of("data.signatures.a.calibration") == common
