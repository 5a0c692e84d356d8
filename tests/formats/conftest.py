"""Models of TensorFlow 1, made once a session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tf1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make_tf1.py` fills."""
    folder = tmp_path_factory.mktemp("tf1")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("make_tf1.py")), str(folder)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder
