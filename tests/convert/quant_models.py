"""Makes the models of `make_quant_models.py` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


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
