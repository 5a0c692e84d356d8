"""Landlock: what the code of a user can read, by whatever library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tflbuild import confine

PROGRAM = """
import os, shutil, subprocess, sys
from tflbuild.confine import confine
root, outside = sys.argv[1:]
assert confine(root, [root + "/scratch", root + "/one.txt"])
def can(path):
    return subprocess.run(["cat", path], capture_output=True).returncode == 0
assert can(root + "/one.txt")
assert not can(root + "/two.txt")
assert not can(root + "/folder/three.txt")
assert can(outside)
os.makedirs(root + "/scratch/a")
with open(root + "/scratch/a/new", "w") as stream:
    stream.write("x")
os.rename(root + "/scratch/a/new", root + "/scratch/new")
assert can(root + "/scratch/new")
try:
    os.listdir(root)
except PermissionError:
    print("good")
"""


@pytest.mark.skipif(not confine.available(), reason="no Landlock")
def test_only_what_is_allowed_is_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "scratch").mkdir()
    for name in ("one.txt", "two.txt", "folder/three.txt", "../outside.txt"):
        (root / name).write_text("1")
    (tmp_path / "back").symlink_to(root)  # a link beside the root opens no way into it
    real = tmp_path.resolve()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(real / "root"), str(real / "outside.txt")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "good\n", done.stderr
