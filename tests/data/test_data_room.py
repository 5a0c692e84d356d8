"""Test data may be larger than the memory that an action is given: they are mapped, not read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CHILD = """
import sys
from pathlib import Path
from tflbuild import data
from tflbuild.limits import limit_memory
import numpy
kind, path = sys.argv[1], Path(sys.argv[2])
limit_memory(96 << 20)  # of which looking at a part of the data takes some
params = {"kind": kind, "arrays": [""], "samples": None}
files = {"npz": path, "npy.": path}
specs = [{"name": "x", "dtype": "int8", "shape": [None, 1 << 20]}]
for _ in range(2):  # once more than there would be room for by itself
    samples = data.load(params, files, specs, "test")
    assert samples.arrays["x"][99, 5] == 99
try:
    bytearray(1 << 30)
except MemoryError:
    print("limited still")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
@pytest.mark.parametrize("form", ["npy", "stored", "packed"])
def test_data_beyond_the_limit_of_memory(form: str, tmp_path: Path) -> None:
    rows = np.repeat(np.arange(128, dtype=np.int8)[:, None], 1 << 20, axis=1)
    path = tmp_path / ("x.npy" if form == "npy" else "x.npz")
    if form == "npy":
        np.save(path, rows)
    else:
        (np.savez if form == "stored" else np.savez_compressed)(path, x=rows)
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", CHILD, "npy" if form == "npy" else "npz", str(path)],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert (run.returncode, run.stdout.strip()) == (0, "limited still"), run.stderr
