"""`metadata`: what released files say of themselves."""

from __future__ import annotations

import pytest
from manifest_fixtures import Load, Write

from tflbuild.errors import ManifestErrors
from tflbuild.graph import build_graph
from tflbuild.manifest.load import load_workspace
from tflbuild.manifest.model import Metadata, TensorMetadata

HEAD = """version: 1
defaults: {metadata: {license: MIT, author: me}}
models:
  m:
    source: {format: tflite, path: models/m.tflite}
    optimizations: {a: {}}
    metadata: """


def test_over_defaults(load: Load) -> None:
    text = """{name: M, license: Apache-2.0, inputs: {x: {normalization: {mean: 1, std: [2, 3]}}},
      outputs: {y: {labels: models/kws/saved_model.pb, range: {min: 0, max: 1}}}}\n"""
    (model,) = load(HEAD + text).models
    assert model.metadata == Metadata(
        name="M",
        license="Apache-2.0",
        author="me",
        inputs=(TensorMetadata("x", mean=(1.0,), std=(2.0, 3.0)),),
        outputs=(TensorMetadata("y", low=(0.0,), high=(1.0,), labels="models/kws/saved_model.pb"),),
    )
    (model,) = load(HEAD + "null\n").models
    assert model.metadata is None


def test_it_is_in_the_key_of_conversions_alone(load: Load) -> None:
    workspace = load(HEAD + "{outputs: {y: {labels: models/old.h5}}}\n")
    steps = build_graph(workspace, workspace.models).steps
    said = {name for name, step in steps.items() if "metadata" in step.params}
    assert said == {"convert:m:a"}
    step = steps["convert:m:a"]
    assert dict(step.files) == {"labels.0": "models/old.h5"}
    assert step.params["metadata"]["outputs"] == [
        {"name": "y", "labels": "old.h5", "file": "labels.0"}
    ]


WRONG = {
    "unknown": ("{licence: MIT}", "7:16", "did you mean 'license'"),
    "a number": ("{version: 1.0}", "7:25", "a text; write a number in quotes"),
    "labels of an input": ("{inputs: {x: {labels: a.txt}}}", "7:29", "unknown key 'labels'"),
    "no file": ("{outputs: {y: {labels: a.txt}}}", "7:38", "no such file: 'a.txt'"),
    "nothing": ("{inputs: {x: {}}}", "7:25", "says nothing of 'x'"),
    "std 0": ("{inputs: {x: {normalization: {std: 0}}}}", "7:50", "std must not be 0"),
    "no number": ("{inputs: {x: {normalization: {}}}}", "7:44", "give mean or std"),
    "lengths": (
        "{inputs: {x: {normalization: {mean: [1, 2], std: [1, 2, 3]}}}}", "7:64",
        "mean has 2 numbers, std has 3",
    ),
    "half a range": ("{inputs: {x: {range: {min: 0}}}}", "7:36", "give min and max"),
    "upside down": ("{inputs: {x: {range: {min: [0, 5], max: 4}}}}", "7:42", "min is above max"),
    "too large": ("{inputs: {x: {range: {min: 0, max: 1e39}}}}", "7:50", "a float32"),
    "colors": ("{inputs: {x: {image: cmyk}}}", "7:36", "expected"),
    "one name": (
        "{outputs: {y: {labels: models/m.tflite}, z: {labels: models/kws/m.tflite}}}", "7:68",
        "two label files are called 'm.tflite'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong(case: str, write: Write) -> None:
    text, place, says = WRONG[case]
    manifest = write(HEAD + text + "\n", **{"models/kws/m.tflite": ""})
    with pytest.raises(ManifestErrors) as caught:
        load_workspace(manifest)
    (error,) = caught.value.errors
    assert says in str(error)
    assert f"tflbuild.yaml:{place}: " in str(error)


def test_defaults_that_say_nothing(write: Write) -> None:
    text = "version: 1\nmodels:\n  m:\n    source: {format: tflite, path: models/m.tflite}\n"
    with pytest.raises(ManifestErrors, match="`metadata` says nothing"):
        load_workspace(write(text + "    optimizations: {a: {}}\n    metadata: {}\n"))
