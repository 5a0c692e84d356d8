"""A script of this folder in a process of its own, on this checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def script(name: str, *arguments: Path, seed: str = "0") -> None:
    """Run a script of this folder in a process of its own."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONHASHSEED": seed,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "HOME": str(arguments[0].parent),
        "PYTHONPATH": str(HERE.parents[1]),
    }
    done = subprocess.run(
        [sys.executable, str(HERE / name), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
