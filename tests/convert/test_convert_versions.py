"""Computed operator versions and minimum runtimes against what TensorFlow's converter writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from child_script import script
from convert_catalog import MLPERF, mlperf_manifest
from workspace_folder import WorkspaceFolder

import tflbuild
from tflbuild.engine.zygote import ZygotePool
from tflbuild.graph import lowering_inputs
from tflbuild.tflite.read import read_model
from tflbuild.tflite.runtime_versions import parse
from tflbuild.tflite.version_judge import too_new
from tflbuild.tflite.versions import describe

pytestmark = pytest.mark.convert

REPOSITORY = Path(__file__).resolve().parents[2]
EVERY = ["none", "dynamic_range", "float16", "int8", "int16x8"]
# The converter writes an empty table of quantization for every tensor, and takes plain int16 for
# quantized by it: the versions it writes are of kernels that cannot do this.
PLAIN_INT16 = {
    "float-abs_int16": ("ABS", 3, 4),
    "float-add_int16": ("ADD", 1, 5),
    "float-mul_int16": ("MUL", 4, 7),
}


def described(path: Path) -> dict[str, Any]:
    return describe(read_model(path.read_bytes()))


def is_right(found: dict[str, Any]) -> bool:
    """Whether the file says itself what we compute."""
    minimum = found["min_runtime"]["tensorflow"]
    return not found["wrong"] and not found["unknown"] and found["written"] == minimum


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    script("version_zoo.py", folder)
    assert (folder / "failed.txt").read_text() == ""
    return folder


def test_versions_of_operators_are_those_of_the_converter(zoo: Path) -> None:
    """A file for each operator and way to use it, in each quantization."""
    pairs, different = set(), {}
    for path in sorted(zoo.glob("*.tflite")):
        if path.name.startswith("int16x8"):
            continue
        found = described(path)
        if is_right(found):
            pairs |= {(need["op"], need["version"]) for need in found["needs"]}
        else:
            different[path.stem] = found
    assert set(different) == set(PLAIN_INT16), different
    for name, (op, written, right) in PLAIN_INT16.items():
        assert different[name]["wrong"] == [{"op": op, "written": written, "right": right}]
    assert len(pairs) >= 200  # 221 with TensorFlow 2.21


def test_int16x8_of_the_converter_is_wrong(zoo: Path) -> None:
    """Its old quantizer gives int16 operators the versions of int8 ones, and leaves the metadata
    of the float file."""
    found = {path.stem: described(path) for path in sorted(zoo.glob("int16x8-*.tflite"))}
    conv = found["int16x8-conv"]
    assert conv["written"] == "1.5.0"
    assert conv["min_runtime"]["tensorflow"] == "2.3.0"
    assert {"op": "CONV_2D", "written": 3, "right": 4} in conv["wrong"]
    assert not any(its["unknown"] for its in found.values())


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converter's files and the released ones, of the examples and of MLPerf Tiny."""
    folder = tmp_path_factory.mktemp("raw")
    cases: dict[str, Any] = {}
    roots = [(REPOSITORY, REPOSITORY)]  # where the manifest is, and where the files are
    if MLPERF.is_dir():
        roots.append((folder / "mlperf", MLPERF))
        for path in MLPERF.iterdir():  # only to be looked at
            stub = folder / "mlperf" / path.name
            stub = stub / "saved_model.pb" if path.is_dir() else stub
            stub.parent.mkdir(exist_ok=True, parents=True)
            stub.touch()
        (folder / "mlperf/tflbuild.yaml").write_text(mlperf_manifest())
    for place, root in roots:
        for model in tflbuild.load(place).models:
            if model.source.format == "jax":  # an extra, and JAX's own converter is the same
                continue
            source = lowering_inputs(place.resolve(), model)
            trained = any(o.quantize == "qat" for o in model.optimizations)
            cases[model.name] = {
                "params": dict(source.params),
                "inputs": {r: str(root / p) for r, p in source.request["inputs"].items()},
                "quantize": ["qat"] if trained else EVERY,
            }
    (folder / "cases.json").write_text(json.dumps(cases))
    out = folder / "out"
    out.mkdir()
    script("version_raw.py", folder / "cases.json", out)
    made = {path.name for path in out.glob("*.raw.tflite")}
    assert made == {f"{n}-{q}.raw.tflite" for n, case in cases.items() for q in case["quantize"]}
    return out


def test_files_of_examples_and_mlperf(raw: Path) -> None:
    """What the converter wrote is what we compute, but for int16x8; what is released is right."""
    for path in sorted(raw.glob("*.raw.tflite")):
        converted = described(path)
        released = described(raw / path.name.replace(".raw", ""))
        assert is_right(released), path.name
        assert released["min_runtime"] == converted["min_runtime"], path.name
        if "int16x8" in path.name:
            minimum = parse(converted["min_runtime"]["tensorflow"])
            assert converted["wrong"], path.name
            assert parse(converted["written"]) < parse("2") < minimum <= parse("2.4"), path.name
        else:
            assert is_right(converted), path.name


NET = """
import numpy as np
import tensorflow as tf

RNG = np.random.default_rng(0)
KERNEL, WIDE, DENSE = (
    tf.constant(RNG.normal(size=shape), tf.float32)
    for shape in ((3, 3, 4, 32), (3, 3, 32, 1), (128, 64))
)


@tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 4], tf.float32, name="x")])
def net(x):
    y = tf.nn.relu(tf.nn.conv2d(x, KERNEL, 2, "SAME"))
    y = tf.nn.depthwise_conv2d(y, WIDE, (1, 1, 1, 1), "SAME")
    return {"y": tf.nn.softmax(tf.matmul(tf.reshape(y, [1, 128]), DENSE) + 0.1)}


def model():
    return net
"""
MANIFEST = """
version: 1
models:
  net:
    source: {format: concrete_function, python: "net.py:model"}
    data: {calibration: {npz: x.npz}, test: {npz: x.npz}}
    validate: {parity: {sqnr: 3}}
    optimizations:
      float32: {}
      dynamic: {quantize: dynamic_range}
      dense:
        quantize: dynamic_range
        converter: {experimental_disable_per_channel_quantization_for_dense_layers: true}
      tensor: {quantize: dynamic_range, per_channel: false}
      int16: {quantize: int16x8}
      int8: {quantize: int8}
      ai_int8: {quantizer: ai-edge, quantize: int8}
      ai_dynamic: {quantizer: ai-edge, quantize: dynamic_range}
      ai_tensor:
        quantizer: ai-edge
        recipe:
          - {quantize: dynamic_range}
          - {op: FULLY_CONNECTED, quantize: dynamic_range, granularity: tensorwise}
"""


@pytest.fixture(scope="module")
def released(pool: ZygotePool, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of one model, by optimization."""
    folder = WorkspaceFolder(tmp_path_factory.mktemp("net"), pool)
    x = np.random.default_rng(0).normal(size=(20, 4, 4, 4)).astype("float32")
    folder.write(MANIFEST, {"net.py": NET, "x.npz": {"x": x}})
    result = folder.build(keep_going=True)
    assert result.ok, [
        *((t.task, t.reason) for t in result.tasks if t.reason),
        *(f.message for found in result.gates.values() for f in found.failures),
    ]
    return {Path(p).stem.removeprefix("net-"): d for p, d in folder.dist().items() if ".tfl" in p}


def versions(data: bytes) -> dict[str, int]:
    """The operator codes of a file as they are."""
    return {op.name: op.version for op in read_model(data).subgraphs[0].ops}


def test_every_released_file_says_what_it_needs(released: dict[str, bytes]) -> None:
    assert len(released) == 9
    for name, data in released.items():
        assert is_right(describe(read_model(data))), name


def test_remedies_lead_to_what_they_say(released: dict[str, bytes]) -> None:
    """Each message offers a setting, and the file made with that setting has no such message."""
    dense = "experimental_disable_per_channel_quantization_for_dense_layers: true"
    offers = [
        ("dynamic", "2.14", "FULLY_CONNECTED version 12", dense, "dense"),
        ("dense", "2.3", "CONV_2D version 5", "per_channel: false", "tensor"),
        ("int16", "2.2", "CONV_2D version 4", "instead: quantize: int8", "int8"),
        (
            "ai_dynamic",
            "2.14",
            "FULLY_CONNECTED version 12",
            "granularity: tensorwise",
            "ai_tensor",
        ),
    ]
    for name, oldest, operator, way, other in offers:
        target = ("tensorflow", oldest)
        told = too_new(describe(read_model(released[name])), target)
        (line,) = [line for line in told if line.startswith(operator)]
        assert way in line, line
        after = too_new(describe(read_model(released[other])), target)
        assert not [line for line in after if line.startswith(operator.split()[0])], after


def test_requantized_by_ai_edge(released: dict[str, bytes], tmp_path: Path) -> None:
    """The package leaves versions and metadata of the float file; tflbuild puts them right."""
    from ai_edge_quantizer import quantizer, recipe

    (tmp_path / "float.tflite").write_bytes(released["float32"])
    package = quantizer.Quantizer(str(tmp_path / "float.tflite"))
    package.load_quantization_recipe(recipe.static_wi8_ai8())
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype("float32")
    calibrated = package.calibrate({"serving_default": [{"x": x}] * 4})
    left = describe(read_model(bytes(package.quantize(calibrated).quantized_model)))
    assert left["written"] == "1.5.0"
    assert left["min_runtime"] == {"tensorflow": "1.14.0", "litert": "1.0.0"}
    wrong = {entry["op"]: (entry["written"], entry["right"]) for entry in left["wrong"]}
    assert wrong["CONV_2D"] == (1, 3)
    assert wrong["FULLY_CONNECTED"] == (1, 4)

    ours = describe(read_model(released["ai_int8"]))
    assert (ours["written"], ours["wrong"]) == ("1.14.0", [])
    codes = versions(released["ai_int8"])
    assert {name: codes[name] for name in wrong} == {n: right for n, (_, right) in wrong.items()}
    dynamic = describe(read_model(released["ai_dynamic"]))
    assert dynamic["written"] == dynamic["min_runtime"]["tensorflow"] == "2.17.0"
