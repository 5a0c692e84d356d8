"""Real conversions on records and images: the same bytes as with the same samples in arrays."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import example, records
from jsonschema import Draft202012Validator
from PIL import Image
from workspace_folder import WorkspaceFolder

from tflbuild import schemas

pytestmark = pytest.mark.convert

DIGITS = Path(__file__).parents[2] / "examples/digits"
MANIFEST = """
version: 1
defaults:
  source: {format: keras, path: digits.keras}
  optimizations: {int8: {quantize: int8, io: int8}}
  validate: {metrics: {accuracy: {min: 0.9}}}
models:
  arrays:
    data: {calibration: {npz: c.npz}, test: {npz: t.npz, labels: labels}}
  stored:
    data:
      calibration: {tfrecord: {files: c.rec, features: {pixels: {shape: [8, 8, 1],
                                                                 input: image}}}}
      test: {tfrecord: {files: t*.rec, features: {
               png: {input: image, image: {color: gray, scale: 1/16}}}}, labels: digit}
  images:
    data:
      calibration: {images: {folder: calibration, color: gray, scale: 1/16}}
      test: {images: {folder: test, color: gray, scale: 1/16}, labels: folders}
"""


@pytest.fixture
def digits(workspace: WorkspaceFolder) -> WorkspaceFolder:
    """The example's data, as arrays, as records and as images; all in one order."""
    calibration = np.load(DIGITS / "data/calibration.npz")["image"]
    with np.load(DIGITS / "data/test.npz") as test:
        order = np.argsort(test["labels"], kind="stable")  # that of folders by class
        images, labels = test["image"][order], test["labels"][order]
    files: dict[str, Any] = {"digits.keras": DIGITS / "models/digits.keras"}
    files["c.npz"] = {"image": calibration}
    files["t.npz"] = {"image": images, "labels": labels}
    files["c.rec"] = records([example({"pixels": row.ravel().tolist()}) for row in calibration])
    stored = [example({"png": [png(x)], "digit": [int(y)]})
              for x, y in zip(images, labels, strict=True)]  # fmt: skip
    files["t1.rec"], files["t2.rec"] = records(stored[:50], "gzip"), records(stored[50:])
    for index, image in enumerate(calibration):
        files[f"calibration/{index:04}.png"] = png(image)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        files[f"test/{label}/{index:04}.png"] = png(image)
    workspace.write(MANIFEST, files)
    return workspace


def png(image: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray((image[:, :, 0] * 16).round().astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def test_the_same_samples_give_the_same_file(digits: WorkspaceFolder) -> None:
    result = digits.build()
    assert result.ok, [task.reason for task in result.tasks]
    files = {name: digits.dist()[f"litert/{name}-int8.tflite"] for name in
             ("arrays", "stored", "images")}  # fmt: skip
    assert len(set(files.values())) == 1
    measured = {name: digits.report(f"{name}/int8/validate.json")["measured"] for name in files}
    (numbers,) = {str((m["parity"], m["metrics"])) for m in measured.values()}
    assert "0.98" in numbers


def test_only_what_changed_runs(digits: WorkspaceFolder) -> None:
    assert digits.build("stored").ok
    (digits.root / "c.rec").write_bytes(
        records([example({"other": [1], "pixels": row.ravel().tolist()})
                 for row in np.load(DIGITS / "data/calibration.npz")["image"]], "zlib")
    )  # fmt: skip
    result = digits.build("stored")
    assert result.ok
    assert result.ran() == ["data:stored:calibration"]
    assert digits.build("images").ok
    (digits.root / "calibration/new.png").write_bytes(png(np.ones((8, 8, 1))))
    result = digits.build("images")
    assert {"data:images:calibration", "convert:images:int8"} <= set(result.ran())
    assert not {"data:images:test", "lower:images", "reference:images"} & set(result.ran())


def test_three_inputs_in_another_order(workspace: WorkspaceFolder) -> None:
    """Bound by name everywhere: in the source, the data, and the file."""
    import keras

    wave, gain, bias = (keras.Input((4,), name=name) for name in ("wave", "gain", "bias"))
    product = keras.layers.Multiply()([wave, gain])
    mixed = keras.layers.Subtract(name="mixed")([product, bias])
    dense = keras.layers.Dense(32, name="dense")(mixed)
    path = workspace.root / "net.keras"
    keras.Model([wave, gain, bias], [dense, mixed]).save(path)
    rng = np.random.default_rng(0)
    arrays = {name: rng.uniform(-1, 1, (30, 4)).astype(np.float32) * factor
              for name, factor in (("wave", 1), ("gain", 3), ("bias", 9))}  # fmt: skip
    rows = [{name: array[i].tolist() for name, array in arrays.items()} for i in range(30)]
    shape = "{shape: [4]}"
    kinds = {
        "a_npz": "npz: d.npz",
        "b_npy": "npy: {bias: bias.npy, wave: wave.npy, gain: gain.npy}",
        "c_rec": f"tfrecord: {{files: d.rec, features: {{gain: {shape}, bias: {shape},"
                 " w: {shape: [4], input: wave}}}",
    }  # fmt: skip
    models = "".join(
        f"  {name}: {{data: {{calibration: {{{kind}}}, test: {{{kind}}}}}}}\n"
        for name, kind in kinds.items()
    )
    stored = [example({"w": row["wave"], "bias": row["bias"], "gain": row["gain"]}) for row in rows]
    workspace.write(
        "version: 1\ndefaults:\n  source: {format: keras, path: net.keras}\n"
        "  inputs: {gain: {dtype: float32}, bias: {dtype: float32}, wave: {dtype: float32}}\n"
        "  optimizations: {float: {}, int8: {quantize: int8, io: int8}}\n"
        f"models:\n{models}",
        {"d.npz": arrays, "d.rec": records(stored),
         **{f"{name}.npy": array for name, array in arrays.items()}},
    )  # fmt: skip
    result = workspace.build()
    assert result.ok, [task.reason for task in result.tasks]
    dist = workspace.dist()
    for optimization in ("float", "int8"):
        files = {dist[f"litert/{name}-{optimization}.tflite"] for name in kinds}
        assert len(files) == 1
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=dist["litert/c_rec-float.tflite"])
    interpreter.allocate_tensors()
    names = [d["name"] for d in interpreter.get_input_details()]
    assert [name.rpartition("_")[2].partition(":")[0] for name in names] == ["gain", "bias", "wave"]
    runner = interpreter.get_signature_runner()
    out = runner(**{name: array[:1] for name, array in arrays.items()})["mixed"]
    expected = arrays["wave"][:1] * arrays["gain"][:1] - arrays["bias"][:1]
    assert np.allclose(out, expected, atol=1e-6)


def test_what_no_input_takes(digits: WorkspaceFolder) -> None:
    manifest = MANIFEST.replace("input: image}}}}", "input: img}}}}")
    digits.write(manifest)
    result = digits.build("stored", keep_going=True)
    reasons = {task.task: task.reason for task in result.tasks if task.outcome == "failed"}
    assert reasons == {
        "convert:stored:int8": "tflbuild.yaml:12:7: calibration data: what is declared gives"
        " ['img'], the inputs are ['image']; did you mean 'image'?"
    }


def test_a_function_gives_the_same_file_also_by_tensorflow(digits: WorkspaceFolder) -> None:
    code = """
import numpy as np
from pathlib import Path

HERE = Path(__file__).parent

def arrays():
    for row in np.load(HERE / "c.npz")["image"]:
        yield {"image": row}

def dataset(name):
    import tensorflow as tf
    test = np.load(HERE / name)
    return tf.data.Dataset.from_tensor_slices((test["image"], test["labels"]))
"""
    head = MANIFEST.split("  stored:")[0]
    own = """
  coded:
    data:
      calibration: {python: give.py:arrays}
      test: {python: give.py:dataset, args: [t.npz], labels: pair}
    depends: [c.npz, t.npz]
"""
    digits.write(head + own, {"give.py": code})
    result = digits.build()
    assert result.ok, [task.reason for task in result.tasks]
    dist = digits.dist()
    assert dist["litert/coded-int8.tflite"] == dist["litert/arrays-int8.tflite"]
    reports = [digits.report(f"{name}/int8/validate.json") for name in ("arrays", "coded")]
    measured, same = (report["measured"] for report in reports)
    assert measured["metrics"] == same["metrics"] != []
    (read,) = reports[1].pop("data").values()
    assert (read["kind"], read["samples"]) == ("python", measured["metrics"][0]["samples"])


@pytest.mark.parametrize("name", ["stored", "images"])
def test_what_was_read_is_as_its_schema_says(digits: WorkspaceFolder, name: str) -> None:
    assert digits.build(name).ok
    read = digits.report(f"{name}/int8/validate.json")["data"]
    assert list(read) == [f"data:{name}:test"]
    schema = json.loads(schemas.text("validate"))["properties"]["data"]
    Draft202012Validator(schema).validate(read)
