"""Declared data that is not there: told of for all models at once, and in the way of none else."""

from __future__ import annotations

import pytest
from fake_workspace import Fake
from PIL import Image

from tflbuild import cli

PLACES = (
    "tflbuild.yaml:9:60: the folder pics/cat is none of the classes",
    "tflbuild.yaml:12:43: pics holds 1 images, fewer than samples: 9",
    "tflbuild.yaml:16:32: no file matches *.rec",
    "tflbuild.yaml:17:23: no image in none",
)
MANIFEST = """version: 1
project: {name: lists}
defaults: {optimizations: {float32: {}}}
models:
  good:
    source: {format: keras, path: models/m.keras}
  classes:
    source: {format: keras, path: models/m.keras}
    data: {test: {images: {folder: pics}, labels: folders, classes: [dog]}}
  samples:
    source: {format: keras, path: models/m.keras}
    data: {test: {images: {folder: pics}, samples: 9}}
  two:
    source: {format: keras, path: models/m.keras}
    data:
      calibration: {tfrecord: {files: "*.rec", features: {x: {shape: [2]}}}}
      test: {images: {folder: none}}
    optimizations: {int8: {quantize: int8}}
"""


@pytest.fixture
def wrong(empty: Fake) -> Fake:
    empty.write(MANIFEST)
    empty.model("m", 1)
    (empty.root / "pics/cat").mkdir(parents=True)
    (empty.root / "none").mkdir()
    Image.new("RGB", (2, 2)).save(empty.root / "pics/cat/0.png")
    return empty


@pytest.mark.parametrize("command", [["check"], ["build"], ["plan"], ["validate"], ["build", "-k"]])
def test_all_is_said_at_once(
    wrong: Fake, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    keeps = "-k" in command
    if keeps:  # nothing else to build
        command = [*command, "classes", "samples", "two"]
    assert cli.run(["-C", str(wrong.root), *command]) == 2
    said = capsys.readouterr()
    assert [line.removeprefix("tflbuild: ") for line in said.err.splitlines()] == list(PLACES)
    assert said.out == ""


def test_keep_going_builds_the_others(wrong: Fake) -> None:
    run = wrong.run("-k")
    assert (run.code, run.done["failed"]) == (2, 0)
    assert all(place in run.err for place in PLACES)
    assert list(wrong.dist()) == [
        "litert/SHA256SUMS", "litert/good-float32.tflite", "litert/index.json"
    ]  # fmt: skip
    assert wrong.run("-k").code == 2  # no record says that there is nothing to do


def test_clean_needs_no_data(wrong: Fake) -> None:
    wrong.run("-k")
    assert cli.run(["-C", str(wrong.root), "clean"]) == 0
    assert wrong.dist() == {}
