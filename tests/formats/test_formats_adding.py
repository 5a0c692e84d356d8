"""Adding a format, as docs/CONTRIBUTING says: one module of under 60 lines, and it is there.

The children of a build are forked from zygotes that imported the table, so the new module is
imported by the parent and by the zygotes alike: in the product, that is the line in the table.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from workspace_folder import WorkspaceFolder

HERE = Path(__file__).parent
BUILD = """
import sys
sys.path.append(sys.argv[1])  # workers take over the module path
import matrix_format
from tflbuild.cli import run
from tflbuild.engine import zygote
zygote.ZYGOTES = {k: ("matrix_format", *names) for k, names in zygote.ZYGOTES.items()}
sys.exit(run(sys.argv[2:]))
"""
MANIFEST = """
version: 1
models:
  line:
    source: {format: matrix, path: line.npz}
    inputs: {x: {shape: [1, 40], dtype: float32}}
    data: {calibration: {npz: x.npz}}
    optimizations: {float32: {}, int8: {quantize: int8}, small: {quantize: dynamic_range}}
"""


def build(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BUILD, str(HERE), "-C", str(root), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.convert
def test_a_format_in_under_60_lines(workspace: WorkspaceFolder) -> None:
    assert len((HERE / "matrix_format.py").read_text().splitlines()) < 60
    draw = np.random.default_rng(0)
    w, b = draw.normal(0, 1, (40, 30)).astype("f"), draw.normal(0, 1, 30).astype("f")
    x = draw.normal(0, 1, (20, 40)).astype("f")
    workspace.write(MANIFEST, {"line.npz": {"w": w, "b": b}, "x.npz": {"x": x}})
    done = build(workspace.root, "build")
    assert done.returncode == 0, done.stdout + done.stderr
    files = workspace.dist()
    assert sorted(n for n in files if n.endswith(".tflite")) == [
        "litert/line-float32.tflite", "litert/line-int8.tflite", "litert/line-small.tflite",
    ]  # fmt: skip
    run = Interpreter(model_content=files["litert/line-float32.tflite"]).get_signature_runner()
    assert np.allclose(run(x=x[:1])["y"], x[:1] @ w + b, atol=1e-4)
    assert build(workspace.root, "build").stdout.startswith("0 ran, 16 up to date")
    workspace.write(files={"line.npz": {"w": w}})
    done = build(workspace.root, "build", "-k")
    assert done.returncode == 1
    assert "it is no .npz with the arrays w and b" in done.stdout + done.stderr
    workspace.write(MANIFEST.replace("format: matrix", "format: matrx"))
    assert "did you mean 'matrix'?" in build(workspace.root, "check").stderr
