"""`data`: what a manifest may say of records and images, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from manifest_fixtures import Load

from tflbuild.errors import ManifestErrors
from tflbuild.graph import build_graph
from tflbuild.manifest.model import (
    ArrayRef,
    Code,
    Data,
    Feature,
    FileData,
    ImageData,
    Pixels,
    PythonData,
    RecordData,
)

HEAD = """version: 1
models:
  m:
    source: {format: keras, path: models/digits.keras}
    optimizations: {float32: {}}
    data: {test: {"""
FEATURES = "features: {x: {shape: [2]}}"


@pytest.fixture
def said(load: Load, tmp_path: Path) -> Any:
    """Loads a manifest that says something of `data.test`."""
    for name in ("data/a.tfrecord", "data/b.tfrecord", "data/l.csv", "pics/cat/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    (tmp_path / "made.py").write_text("def give():\n    yield [1.0]\n")

    def said(text: str) -> Data | None:
        (model,) = load(f"{HEAD}{text}}}}}\n").models
        return model.signatures[0].test

    return said


def test_records(said: Any) -> None:
    assert said(f"tfrecord: {{files: data/a.tfrecord, {FEATURES}}}") == RecordData(
        ("data/a.tfrecord",), (Feature("x", "x", (2,)),)
    )
    features = """{
        b/image: {input: x, image: {resize: 3, scale: 1/255}},
        a: {shape: [], dtype: string},
        c: {shape: [2, 3], raw: uint8, scale: 0.5, mean: 1, std: [1, 2, 3]},
    }"""
    found = said(
        f"tfrecord: {{files: ['data/*.tfrecord', data/a.tfrecord], compression: gzip,"
        f" features: {features}}}, samples: 5, seed: 0, labels: y"
    )
    assert found == RecordData(
        ("data/*.tfrecord", "data/a.tfrecord"),
        (
            Feature("a", "a", (), "string"),
            Feature("b/image", "x", image=Pixels(resize=3, scale=1 / 255)),
            Feature("c", "c", (2, 3), raw="uint8", scale=0.5, mean=(1.0,), std=(1.0, 2.0, 3.0)),
        ),
        "gzip", 5, 0, "y",
    )  # fmt: skip


def test_images(said: Any) -> None:
    assert said("images: {folder: pics}") == ImageData("pics")
    found = said(
        "images: {folder: pics, files: '*.png', input: x, color: bgr, resize: [8, 9], fit: crop,"
        " resize_method: nearest, crop: [4, 4], scale: 1/127.5, mean: [1, 2, 3], std: 2,"
        " layout: nchw}, samples: 1, seed: 3, labels: folders, classes: [dog, cat]"
    )
    assert found == ImageData(
        "pics", ("*.png",), "x",
        Pixels("bgr", (8, 9), "nearest", "crop", (4, 4), 1 / 127.5, (1.0, 2.0, 3.0), (2.0,),
               "float32", "nchw"),
        1, 3, "folders", ("dog", "cat"),
    )  # fmt: skip
    assert said("images: {folder: pics}, labels: data/l.csv") == ImageData(
        "pics", labels="data/l.csv"
    )
    signed = said("images: {folder: pics, mean: 128, dtype: int8}")
    assert signed.pixels.dtype == "int8"


def test_python(said: Any) -> None:
    found = said("python: made.py:give, args: {b: 2, a: [1]}, samples: 5, labels: pair")
    code = Code("made.py:give", ".")
    assert found == PythonData(code, '{"a": [1], "b": 2}', 5, "pair")


def test_a_seed_for_arrays(said: Any) -> None:
    assert said("npz: data/test.npz, labels: y, samples: 7, seed: 9") == FileData(
        npz="data/test.npz", samples=7, seed=9, labels=ArrayRef("data/test.npz", "y")
    )


WRONG = [
    ("seed: 1, npz: data/test.npz", "seed has no effect without samples"),
    ("npz: data/test.npz, images: {folder: pics}", "is one of npz, npy, tfrecord, images,"
     " python and random; got npz at tflbuild.yaml:6:19, images at"),
    ("random: {}, samples: 3", "with random data, write `random: {samples: …}`"),
    ("npz: data/test.npz, classes: [a]", "classes has no effect with npz"),
    ("tfrecord: {files: data/a.tfrecord}", "tfrecord has no `features`; write `tfrecord: {"),
    ("tfrecord: {features: {x: {shape: [2]}}}", "tfrecord has no `files`"),
    (f"tfrecord: {{files: data/c.tfrecord, {FEATURES}}}", "no such file: 'data/c.tfrecord'"),
    (f"tfrecord: {{files: ../x*, {FEATURES}}}", "leaves the workspace"),
    (f"tfrecord: {{files: data, {FEATURES}}}", "expected a file, but 'data' is a folder"),
    (f"tfrecord: {{files: [], {FEATURES}}}", "expected a path or glob, or a list of them"),
    ("tfrecord: {files: data/a.tfrecord, features: {}}", "a mapping of names of features"),
    ("tfrecord: {files: data/a.tfrecord, features: {x: {}}}", "feature 'x' has no shape; write"),
    ("tfrecord: {files: data/a.tfrecord, features: {x: {shape: [-1]}}}", "at least 0"),
    ("tfrecord: {files: data/a.tfrecord, features: {x: {shape: [1], dtype: floot32}}}",
     "did you mean 'float32'"),
    ("tfrecord: {files: data/a.tfrecord, features: {x: {image: {}, shape: [1]}}}",
     "shape has no effect with image"),
    ("tfrecord: {files: data/a.tfrecord, features: {x: {image: {}, scale: 2}}}",
     "scale has no effect beside image; write it in image:"),
    ("tfrecord: {files: data/a.tfrecord, features: {x: {shape: [1], dtype: string, raw: int8}}}",
     "raw has no effect with dtype: string"),
    ("tfrecord: {files: data/a.tfrecord, features: {x: {shape: [1], dtype: int8, scale: 0.5}}}",
     "scale gives fractions, and dtype is int8"),
    ("tfrecord: {files: data/a.tfrecord, features: {x: {shape: [1], input: y}, y: {shape: [1]}}}",
     "features 'x' and 'y' both are input 'y'"),
    ("python: made.py:nothing", "made.py has no function 'nothing'"),
    ("python: nowhere.py:give", "nowhere.py"),
    ("python: give", "expected package.module:function or path/to/file.py:function"),
    ("python: made.py:give, samples: 3, seed: 1", "seed has no effect with python: choose in the"),
    ("images: {folder: pics}, args: {a: 1}", "args has no effect with images"),
    ("python: made.py:give, classes: [a]", "classes has no effect with python"),
    ("images: {}", "images has no `folder`"),
    ("images: {folder: nowhere}", "no such folder: 'nowhere'"),
    ("images: {folder: ..}", "leaves the workspace"),
    ("images: {folder: data/x.npy}", "expected a folder, but 'data/x.npy' is a file"),
    ("images: {folder: pics}, classes: [cat]", "classes has no effect without labels"),
    ("images: {folder: pics}, labels: cats", "expected a .csv file, got 'cats'; or write"),
    ("images: {folder: pics, fit: crop}", "fit has no effect without resize"),
    ("images: {folder: pics, resize_method: box}", "resize_method has no effect without resize"),
    ("images: {folder: pics, resize: 4, fit: crop}", "fit has no effect with one number"),
    ("images: {folder: pics, resize: 4, crop: [5, 4]}", "crop is larger than the shorter side"),
    ("images: {folder: pics, resize: [4, 8], crop: [5, 4]}", "crop is larger than resize: [4, 8]"),
    ("images: {folder: pics, resize: [4]}", "expected [height, width], or a whole number"),
    ("images: {folder: pics, resize: 0}", "at least 1"),
    ("images: {folder: pics, layout: nhw}", "layout: nhw has no channels; it needs color: gray"),
    ("images: {folder: pics, mean: [1, 2]}", "mean has 2 numbers for 3 channels (color: rgb)"),
    ("images: {folder: pics, color: gray, std: [1, 2, 3]}", "std has 3 numbers for 1 channels"),
    ("images: {folder: pics, std: 0}", "std must not be 0"),
    ("images: {folder: pics, scale: 0}", "scale must not be 0"),
    ("images: {folder: pics, scale: 1/0}", "scale must not be 0"),
    ("images: {folder: pics, scale: a/b}", "expected a number, or a fraction such as 1/255"),
    ("images: {folder: pics, dtype: uint8, scale: 1/255}", "dtype: uint8 cannot hold 0.00392157"),
    ("images: {folder: pics, dtype: int8}", "dtype: int8 cannot hold 128, which scale, mean and"),
    ("images: {folder: pics, resise: 4}", "unknown key 'resise'; did you mean 'resize'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), WRONG, ids=[w[1][:40] for w in WRONG])
def test_wrong(said: Any, text: str, says: str) -> None:
    with pytest.raises(ManifestErrors) as caught:
        said(text)
    (line,) = str(caught.value).splitlines()
    assert says in line
    assert line.startswith("tflbuild.yaml:6:")


def test_the_graph_names_what_is_not_there(load: Load, tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    for text, column, says in (
        (f"tfrecord: {{files: 'data/*.rec', {FEATURES}}}", 30, "no file matches data/*.rec"),
        ("images: {folder: pics}", 28, "no image in pics"),
    ):
        workspace = load(f"{HEAD}{text}}}}}\n")
        with pytest.raises(Exception, match=r"\*|no") as caught:
            build_graph(workspace, workspace.models)
        assert str(caught.value) == f"tflbuild.yaml:6:{column}: {says}"


def test_wrong_test_data_is_not_missing_too(load: Load) -> None:
    text = f"{HEAD}tfrecord: {{files: data/cal.npz}}}}}}\n"
    with pytest.raises(ManifestErrors) as caught:
        load(f"{text}    validate: {{metrics: {{accuracy: {{min: 0.5}}}}}}\n")
    (line,) = str(caught.value).splitlines()
    assert "tfrecord has no `features`" in line
