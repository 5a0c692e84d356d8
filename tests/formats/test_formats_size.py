"""Models above 2 GB are refused by what their files say of themselves, before they are read."""

from __future__ import annotations

import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import pytest
from workspace_folder import WorkspaceFolder

from tflbuild.sources import keras, onnx
from tflbuild.sources.size import LIMIT


def sparse_h5(path: Path, groups: dict[str, int]) -> Path:
    """An HDF5 file that declares arrays of so many bytes and stores none."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "3.12.0"
        for name, size in groups.items():
            file.create_dataset(name, (size // 4,), "float32")
    assert path.stat().st_size < 100_000
    return path


def test_keras_counts_weights_and_not_the_optimizer(tmp_path: Path) -> None:
    h5 = sparse_h5(
        tmp_path / "m.h5",
        {"model_weights/dense/kernel": 4000, "optimizer_weights/dense/m": 2 * LIMIT},
    )
    assert keras.weights_size(h5) == 4000
    inner = sparse_h5(tmp_path / "w.h5", {"layers/dense/vars/0": 4000, "optimizer/vars/0": LIMIT})
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "model.weights.h5")
        assert keras.weights_size(path) == 0  # not finished: no archive yet
    assert 4000 <= keras.weights_size(path) < 100_000
    with h5py.File(inner, "r") as file:
        assert keras._stored(file) == 4000


@pytest.mark.convert
def test_a_large_keras_file_is_refused_at_once(workspace: WorkspaceFolder) -> None:
    sparse_h5(workspace.root / "big.h5", {"model_weights/dense/kernel": LIMIT + 5})
    with zipfile.ZipFile(workspace.root / "big.keras", "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"x")
        archive.getinfo("model.weights.h5").file_size = LIMIT + 9  # what the index then says
    text = "version: 1\ndefaults: {optimizations: {a: {}}}\nmodels:\n"
    for name in ("h5", "keras"):
        text += f"  {name}: {{source: {{format: keras, path: big.{name}}}}}\n"
    workspace.write(text)
    reasons = {t.task: t.reason for t in workspace.build(keep_going=True).tasks}
    for name in ("h5", "keras"):
        for stage in ("lower", "reference"):
            assert reasons[f"{stage}:{name}"].startswith("its weights take 2,147,483,65"), reasons
            assert "make the model smaller" in reasons[f"{stage}:{name}"]


SCRIPT = """
import sys
from pathlib import Path
from tflbuild.errors import TaskError
from tflbuild.sources import saved_model, size
folder = Path(sys.argv[1])
for name in ("simple", "ref"):
    print(name, saved_model.weights_size(folder / name))
size.LIMIT = 600
try:
    saved_model.load(folder / "ref", {"pins": {}})
except TaskError as error:
    print(error)
"""


@pytest.mark.convert
def test_a_saved_model_counts_its_variables_by_their_index(tf1: Path) -> None:
    """Adam's slots of `simple` (2 × 48 bytes and two numbers) are left out."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tf1)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[:2] == ["simple 56", "ref 672"]
    assert lines[2].startswith("its weights take 672 bytes, and a .tflite file")


def test_onnx_counts_the_weights_beside_it(tmp_path: Path) -> None:
    from test_formats_wire import field

    entry = field(1, b"location") + field(2, b"sub/weights.bin")
    tensor = field(8, b"w") + field(13, entry) + field(9, b"")
    path = tmp_path / "m.onnx"
    path.write_bytes(field(7, field(5, tensor)))
    assert onnx.external_data(path) == ["sub/weights.bin"]
    started = time.monotonic()
    found, folders = onnx.files(path)
    assert [name for name, _ in found] == ["model.onnx", "weights/sub/weights.bin"]
    assert folders == []
    assert time.monotonic() - started < 60
