"""Computed operator versions and minimum runtimes against what TensorFlow's converter writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from child_script import script
from convert_catalog import MLPERF, mlperf_manifest

import tflbuild
from tflbuild.graph import lowering_inputs
from tflbuild.tflite.read import read_model
from tflbuild.tflite.runtime_versions import parse
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
