"""XNNPACK's figures are the interpreter's, and the GPU takes whole models, on what we convert."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from convert_catalog import MLPERF
from workspace_folder import WorkspaceFolder

from tflbuild.delegates.coverage import coverage
from tflbuild.delegates.judge import judge
from tflbuild.delegates.table import DELEGATES
from tflbuild.delegates.xnnpack import observed
from tflbuild.engine.zygote import ZygotePool
from tflbuild.tflite.read import TfliteModel, read_model

pytestmark = pytest.mark.convert

DIGITS = Path(__file__).resolve().parents[2] / "examples/digits"
MANIFEST = """
version: 1
defaults:
  optimizations:
    float32: {}
    dynamic: {quantize: dynamic_range}
    half: {quantize: float16}
    int8: {quantize: int8, io: int8}
models:
"""
SHAPES = {"kws": "49, 10, 1", "resnet8": "32, 32, 3", "vww96": "96, 96, 3", "ad01": "640"}


@dataclass(frozen=True)
class Limits:
    name: str
    min_ops: None = None
    min_macs: None = None
    max_partitions: None = None


def manifest() -> str:
    text = MANIFEST + (
        "  digits:\n"
        "    source: {format: keras, path: digits/models/digits.keras}\n"
        "    inputs: {image: {shape: [1, 8, 8, 1]}}\n"
        "    data: {calibration: {npz: digits/data/calibration.npz, samples: 20},"
        " test: {random: {samples: 4}}}\n"
    )
    for name, shape in SHAPES.items() if MLPERF.is_dir() else ():
        path = "kws" if name == "kws" else f"{name}.h5"
        form = "saved_model" if name == "kws" else "keras"
        random = "{random: {samples: 4}}"
        text += (
            f"  {name}:\n"
            f"    source: {{format: {form}, path: mlperf/{path}}}\n"
            f"    inputs: {{input_1: {{shape: [1, {shape}]}}}}\n"
            f"    data: {{calibration: {random}, test: {random}}}\n"
        )
    return text


@pytest.fixture(scope="module")
def built(pool: ZygotePool, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file, by name: model-optimization. Gates do not matter here: the data are random."""
    folder = WorkspaceFolder(tmp_path_factory.mktemp("delegates"), pool)
    files: dict[str, Path] = {"digits": DIGITS}
    if MLPERF.is_dir():
        files |= {f"mlperf/{path.name}": path for path in MLPERF.iterdir()}
    folder.write(manifest(), files)
    result = folder.build(keep_going=True)
    assert not [(t.task, t.reason) for t in result.tasks if t.outcome == "failed"]
    return {
        Path(path).stem: data for path, data in folder.dist().items() if path.endswith(".tflite")
    }


def both(data: bytes) -> tuple[TfliteModel, dict[str, int]]:
    """The model, and XNNPACK's figures after they were compared with the interpreter's."""
    model = read_model(data)
    found = coverage(model, DELEGATES["xnnpack"], data=data)
    seen = observed(data, model)
    assert seen is not None
    keys = ("ops", "delegated", "partitions")
    assert {key: found[key] for key in keys} == {key: seen[key] for key in keys}
    return model, found


def test_xnnpack_is_what_the_interpreter_does(built: dict[str, bytes]) -> None:
    assert len(built) == (4 if not MLPERF.is_dir() else 20)
    whole = []
    for name, data in built.items():
        _, found = both(data)
        if found["delegated"] == found["ops"]:
            whole.append(name)
    assert {f"digits-{kind}" for kind in ("float32", "dynamic", "half")} <= set(whole)
    assert "digits-int8" not in whole  # int8 SOFTMAX stays


def test_the_gpu(built: dict[str, bytes]) -> None:
    """Whole models, but for dynamic range with scales by channel (version 12)."""
    for name, data in built.items():
        found = coverage(read_model(data), DELEGATES["gpu"], data=data)
        assert found["blocked"] is None, name
        if name in ("digits-dynamic", "ad01-dynamic"):
            (entry,) = found["breaks"]
            assert entry["op"] == "FULLY_CONNECTED"
            assert "float16 and int8 files are taken" in entry["why"]
        else:
            assert (found["partitions"], found["breaks"]) == (1, []), name
            assert judge(found, Limits("gpu")) == []
