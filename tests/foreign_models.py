"""Models with ops that are not builtin, validators that stand for TensorFlow's, and a compiler."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

NETWORK = '''
import numpy as np
import tensorflow as tf


class Net(tf.Module):
    """x of [1, 9]; `plain` is a matrix, `det` its determinant (select), `beta` needs Betainc, which
    neither TensorFlow Lite nor the Flex delegate has."""

    def __init__(self, *ops):
        super().__init__()
        self.ops = ops
        draw = np.random.default_rng(0)
        self.first = tf.Variable(draw.normal(0, 0.2, (9, 128)).astype(np.float32))
        self.second = tf.Variable(draw.normal(0, 0.2, (128, 9)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([1, 9], tf.float32, name="x")])
    def __call__(self, x):
        h = x @ self.first @ self.second
        found = {"plain": h}
        if "det" in self.ops:
            with tf.name_scope("volume"):
                found["det"] = tf.linalg.det(tf.reshape(h, [1, 3, 3]))
        if "beta" in self.ops:
            p = tf.sigmoid(h)
            with tf.name_scope("tail"):
                found["beta"] = tf.raw_ops.Betainc(a=p + 1.0, b=p + 1.0, x=p)
        return found


def plain():
    return Net()


def det():
    return Net("det")


def both():
    return Net("det", "beta")
'''

# What `tf.lite.Interpreter` is to the script that a validator runs. It knows the one model above:
# it computes both outputs with NumPy.
TENSORFLOW = """
import numpy as np

__version__ = "2.18.1"


class Interpreter:
    def __init__(self, model_path, num_threads, experimental_delegates=None):
        draw = np.random.default_rng(0)
        self.first = draw.normal(0, 0.2, (9, 128)).astype(np.float32)
        self.second = draw.normal(0, 0.2, (128, 9)).astype(np.float32)

    def get_signature_runner(self, key):
        assert key == "serving_default", key
        return self.run

    def run(self, x):
        plain = x @ self.first @ self.second
        if x[0, 0] > 1e6:
            raise RuntimeError("too large\\nfor me")
        return {"plain": plain, "det": np.linalg.det(plain.reshape(1, 3, 3)).astype(np.float32)}


class lite:
    Interpreter = Interpreter
"""


def write_validator(folder: Path, tensorflow: str = "2.18.1", broken: str = "") -> Path:
    """An environment whose TensorFlow is the module above; its interpreter. `broken`: a shell
    command that it runs instead."""
    (folder / "bin").mkdir(parents=True)
    packages = folder / "lib/python3.11/site-packages"
    for name, version in (("tensorflow", tensorflow), ("numpy", "1.26.4")):
        metadata = packages / f"{name}-{version}.dist-info/METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Name: {name}\nVersion: {version}\n")
    (packages / "tensorflow").mkdir()
    (packages / "tensorflow/__init__.py").write_text(TENSORFLOW)
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    python = folder / "bin/python"
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(packages)!r}); del sys.argv[0];"
        " runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    # Called as `python -I SCRIPT FOLDER`.
    run = broken or f'shift; exec "{sys.executable}" -I -c "{code}" "$@"'
    python.write_text(f"#!/bin/sh\n{run}\n")
    python.chmod(0o755)
    return python


def compile_library(source: Path, library: Path) -> None:
    """With the machine's C++ compiler, or that of the package ziglang (in the extra `test`), so
    that there always is one. (Not as `c++`, which would first compile a C++ library for minutes:
    the sources use C's alone.)"""
    compiler = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)
    command = [compiler] if compiler else [sys.executable, "-m", "ziglang", "cc"]
    if compiler is None:
        assert find_spec("ziglang"), "no C++ compiler: install g++, or pip install ziglang"
    options = ["-O2", "-fPIC", "-shared", str(source), "-o", str(library)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
