"""The models of `make_quant_models.py`, made in their own process, and what was built of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from workspace_folder import WorkspaceFolder

from tflbuild.api import BuildResult
from tflbuild.tflite.read import TfliteModel, read_model

Built = tuple[WorkspaceFolder, BuildResult]


def make(folder: Path) -> Path:
    script = Path(__file__).with_name("make_quant_models.py")
    environment = {
        "PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2",
        "HOME": str(folder), "PYTHONPATH": ":".join(sys.path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def file_of(built: Built, name: str) -> TfliteModel:
    """A released file, as `MODEL-OPTIMIZATION`."""
    folder, result = built
    task = name.replace("-", ":", 1)
    reasons = {t.task: t.reason for t in result.tasks if t.reason and task in t.task}
    assert f"litert/{name}.tflite" in folder.dist(), reasons
    return read_model(folder.dist()[f"litert/{name}.tflite"])
