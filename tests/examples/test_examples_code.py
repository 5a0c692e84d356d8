"""The digits network as code: the examples release what the trained network does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from workspace_folder import WorkspaceFolder

from tflbuild.tflite.read import read_model

pytestmark = pytest.mark.convert

REPOSITORY = Path(__file__).resolve().parents[2]
OPTIMIZATIONS = ("float32", "dynamic", "half", "int8", "int16")
WEIGHTS = "examples/digits/models/weights.npz"


@pytest.mark.parametrize(
    ("example", "model"),
    [
        ("digits_function", "digits-function"),
        ("digits_jax", "digits-jax"),
        ("digits_flax", "digits-flax"),
    ],
)
def test_example_is_released_in_every_optimization(
    example: str, model: str, workspace: WorkspaceFolder
) -> None:
    root = (REPOSITORY / "tflbuild.yaml").read_text()
    if example not in root:
        root = root.replace("include: [", f"include: [examples/{example}/tflbuild.yaml, ")
    workspace.write(root, {"examples": REPOSITORY / "examples"})
    result = workspace.build(model)
    assert result.ok, [t.reason for t in result.tasks if t.reason]
    assert sorted(result.released) == sorted(
        [f"{model}:{o}@litert" for o in OPTIMIZATIONS]
        + [f"{model}:{o}@sensor" for o in ("float32", "int8")]
    )
    sizes = {o: result.released[f"{model}:{o}@litert"].size for o in OPTIMIZATIONS}
    assert sizes["half"] < 0.7 * sizes["float32"]
    assert max(sizes["dynamic"], sizes["int8"], sizes["int16"]) < 0.5 * sizes["float32"]
    for optimization in OPTIMIZATIONS:
        report = workspace.report(f"{model}/{optimization}/validate.json")
        assert report["gate"]["passed"]  # accuracy 0.97 at least
        assert [entry["output"] for entry in report["measured"]["parity"]] == ["digit"]
    assert workspace.build(model).ran() == []

    # Its weights are an input, though no import names them.
    with np.load(REPOSITORY / WEIGHTS) as arrays:
        zeroed = {name: arrays[name] * 0 for name in arrays.files}
    workspace.write(files={WEIGHTS: zeroed})
    result = workspace.build(model)
    assert f"lower:{model}" in result.ran()
    assert result.exit_code == 1  # and the accuracy gate stops what became of the model


def test_trained_ranges_are_taken_from_the_graph(workspace: WorkspaceFolder) -> None:
    root = (REPOSITORY / "tflbuild.yaml").read_text()
    workspace.write(root, {"examples": REPOSITORY / "examples"})
    result = workspace.build("digits-trained")
    assert result.ok, [t.reason for t in result.tasks if t.reason]
    assert sorted(result.released) == [
        "digits-trained:int8@litert", "digits-trained:int8@sensor",
    ]  # fmt: skip
    main = read_model(workspace.dist()["litert/digits-trained-int8.tflite"]).subgraphs[0]
    (image,) = [main.tensors[i] for i in main.inputs]
    assert image.quantization is not None
    assert image.quantization.scale[0] == pytest.approx(1 / 255)  # 0 to 1, as the graph says
    ops = {op.name for op in main.ops}
    assert "DEQUANTIZE" not in ops


def test_weights_in_code_are_those_of_the_keras_file() -> None:
    import h5py

    stored: dict[str, np.ndarray] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            layer, kind = name.split("/")[0], name.rpartition("/")[2].partition(":")[0]
            stored[f"{layer}/{kind}"] = item[()]

    with h5py.File(REPOSITORY / "examples/digits/models/digits.h5") as file:
        file["model_weights"].visititems(visit)
    with np.load(REPOSITORY / WEIGHTS) as arrays:
        assert sorted(arrays.files) == sorted(stored)
        for name in arrays.files:
            np.testing.assert_array_equal(arrays[name], stored[name])
