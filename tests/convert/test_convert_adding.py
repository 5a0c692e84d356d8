"""docs/CONTRIBUTING.md, "Adding an optimization": what goes into files is put there in memory."""

from pathlib import Path

import pytest
from workspace_folder import WorkspaceFolder

from tflbuild import optimizations, parity_gate
from tflbuild.engine import zygote
from tflbuild.manifest import schema
from tflbuild.tflite.read import read_metadata

MODULE = """
from tflbuild.optimizations import QUANTIZATIONS, float16
NAME, CALIBRATES, IO, TRAINED_RANGES = "fast_half", False, ("float32",), False
QUANTIZERS = {"tensorflow": ()}

def configure(converter, settings, calibration):
    import tensorflow as tf
    float16.configure(converter, settings, calibration)
    converter.target_spec._experimental_supported_accumulation_type = tf.float16

QUANTIZATIONS[NAME] = __import__("sys").modules[__name__]  # its line in the table
"""
MANIFEST = """
version: 1
models:
  small:
    source: {format: saved_model, path: small}
    optimizations: {fast: {quantize: fast_half}}
"""


@pytest.mark.convert
def test_added(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fast_half.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)  # workers take over the module path
    added = __import__("fast_half")
    del optimizations.QUANTIZATIONS["fast_half"]  # it is to be gone after this test
    monkeypatch.setitem(optimizations.QUANTIZATIONS, "fast_half", added)
    monkeypatch.setitem(parity_gate.PARITY, "fast_half", parity_gate.PARITY["float16"])
    workers = {**zygote.ZYGOTES, "tf": (*zygote.ZYGOTES["tf"], "fast_half")}
    monkeypatch.setattr(zygote, "ZYGOTES", workers)
    part = schema.load_schema()["properties"]["models"]["additionalProperties"]
    for key in ("optimizations", "", "quantize"):
        part = part["properties"][key] if key else part["additionalProperties"]
    monkeypatch.setitem(part, "enum", [*part["enum"], "fast_half"])
    schema._accept.cache_clear()  # compiled from the schema
    pool = zygote.ZygotePool(tmp_path / "pool")
    (tmp_path / "workspace").mkdir()
    folder = WorkspaceFolder(tmp_path / "workspace", pool)
    try:
        folder.write(MANIFEST, {"small": models / "small"})
        assert folder.build().ok
    finally:
        pool.close()
        schema._accept.cache_clear()
    released = folder.dist()["litert/small-fast.tflite"]
    assert "reduced_precision_support" in read_metadata(released)
