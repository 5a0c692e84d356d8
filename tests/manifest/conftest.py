"""A workspace on disk from texts; models and data are empty files, since nothing opens them."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifest_fixtures import Load, Write

from tflbuild.manifest.load import load_workspace

FILES = (
    "models/kws/saved_model.pb",
    "models/empty/readme.txt",
    "models/digits.keras",
    "models/old.h5",
    "models/m.tflite",
    "models/m.pth",
    "data/cal.npz",
    "data/test.npz",
    "data/x.npy",
    "data/y.npy",
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the root manifest (and others by path) beside dummy models; gives its path."""

    def write(root: str | bytes, **others: str) -> Path:
        for name in FILES:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        for name, text in {"tflbuild.yaml": root, **others}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / "tflbuild.yaml"

    return write


@pytest.fixture
def load(write: Write) -> Load:
    """Writes like `write`, and loads the workspace."""
    return lambda root, **others: load_workspace(write(root, **others))
