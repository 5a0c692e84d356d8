"""A broken int8 file is stopped, its worst layer named, and what is proposed makes it pass."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from workspace_folder import WorkspaceFolder

from tflbuild import schemas
from tflbuild.engine.debug import Debugged, DebugOptions, Tried, debug, try_proposals
from tflbuild.errors import TaskError, UsageError

pytestmark = pytest.mark.convert

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/digits"
SCALES = {"cut": 0.3, "wide": 64.0, "lost": 0.01}
MANIFEST = """
version: 1
defaults:
  inputs: {image: {shape: [1, 8, 8, 1]}}
  data: {test: {npz: test.npz, labels: labels}}
  validate: {metrics: {accuracy: {min: 0.97, max_drop: 0.01}}}
models:
  cut:
    source: {format: keras, path: digits.keras}
    data: {calibration: {npz: cut.npz}}
    optimizations:
      int8: {quantize: int8}
      int16: {quantize: int16x8}
      strict: {quantize: int8, parity: {sqnr: 90}}
      edge: {quantizer: ai-edge, quantize: int8, io: int8}
  wide:
    source: {format: keras, path: digits.keras}
    data: {calibration: {npz: wide.npz}}
    optimizations: {int8: {quantize: int8, io: int8}}
  dim: {extends: cut}
  lost:
    source: {format: keras, path: digits.keras}
    data: {calibration: {npz: lost.npz}}
    optimizations: {int8: {quantize: int8}}
"""


@pytest.fixture
def broken(workspace: WorkspaceFolder) -> WorkspaceFolder:
    """Calibrated on images of another scale than those that come."""
    with np.load(EXAMPLE / "data/calibration.npz") as archive:
        images = archive["image"]
    workspace.write(
        MANIFEST,
        {"digits.keras": EXAMPLE / "models/digits.keras", "test.npz": EXAMPLE / "data/test.npz"}
        | {f"{n}.npz": {"image": images * np.float32(scale)} for n, scale in SCALES.items()},
    )  # fmt: skip
    return workspace


def asked(workspace: WorkspaceFolder, *selectors: str, **more: Any) -> list[Debugged]:
    options = DebugOptions(selectors, cwd=workspace.root, pool=workspace.pool, **more)
    return debug(workspace.root / "tflbuild.yaml", options, lambda event: None)


def tried(workspace: WorkspaceFolder, *selectors: str) -> list[Tried]:
    options = DebugOptions(selectors, cwd=workspace.root, pool=workspace.pool)
    return try_proposals(workspace.root / "tflbuild.yaml", options, lambda event: None)


def everything(root: Path) -> dict[str, Any]:
    """All that a build leaves for people, and what it knows of its tasks."""
    found: dict[str, Any] = {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("build", "dist") for path in (root / folder).rglob("*")
        if path.is_file() and path.name != "debug.json" and path.parent.name != "debug"
    }  # fmt: skip
    with sqlite3.connect(root / ".tflbuild/state.sqlite") as state:
        for table in ("tasks", "released", "beside"):
            found[table] = sorted(state.execute(f"SELECT * FROM {table}"))
    return found


def test_a_broken_file_passes_with_what_is_proposed(broken: WorkspaceFolder) -> None:
    names = ("cut:int8", "wide:int8")
    assert not broken.build(*names, until="validate", keep_going=True).ok
    before = everything(broken.root)
    found = {one.report["model"]: one for one in asked(broken, *names)}
    schema = Draft202012Validator(json.loads(schemas.text("debug")))
    for model, one in found.items():
        report = one.report
        assert one.exit_code == 1
        assert one.path == f"build/reports/{model}/int8/debug.json"
        assert json.loads((broken.root / one.path).read_text()) == report
        assert [e.message for e in schema.iter_errors(report)] == []
        assert report["blame"] == "quantization"
        (told,) = report["signatures"]
        assert told["samples"] == {"used": 64, "of": 450, "which": "evenly spaced"}
        worst = told["layers"][0]
        assert (worst["layer"], worst["op"], worst["cause"]) == (
            "digit",
            "FULLY_CONNECTED",
            "range",
        )
        assert worst["own_sqnr"] < 15
        by_name = {layer["layer"]: layer for layer in told["layers"]}
        assert by_name["flatten"]["own"] == "exact"  # a victim
        assert by_name["flatten"]["accumulated_sqnr"] < 10
        assert report["calibration"]["suspected"]
        assert report["calibration"]["on_test_data"]["passed"]
        assert report["proposal"]["passes"]
        assert set(report["proposal"]["settings"]) == {"keep_float"}
    saturated = [f.report["signatures"][0]["inputs"][0]["saturated"] for f in found.values()]
    assert saturated[0] > 0.3
    assert saturated[1] == 0
    for trial in tried(broken, *names):
        assert trial.exit_code == 0
        assert trial.after["passed"]
        assert not trial.before["passed"]
        assert trial.after["parity"][0]["sqnr"] > trial.before["parity"][0]["sqnr"] + 5
        assert trial.after["size"] > trial.before["size"]
    assert everything(broken.root) == before  # neither dist, nor a report, nor a task's outputs

    manifest = broken.root / "tflbuild.yaml"
    lines = manifest.read_text().splitlines()
    (child,) = asked(broken, "dim:int8")
    proposal, parents = child.report["proposal"], found["cut"].report["proposal"]
    assert proposal["yaml"] == parents["yaml"]
    assert proposal["inherited"] == parents["place"]
    assert lines[int(proposal["place"].split(":")[1]) - 1] == "  dim: {extends: cut}"

    for one in found.values():  # pasted, it passes, and is there already
        _, line, column = one.report["proposal"]["place"].split(":")
        at, start = int(line) - 1, int(column) - 1
        head, tail = lines[at][:start], lines[at][start:]
        rest = tail[tail.index("}") + 1 :]
        lines[at] = head + one.report["proposal"]["yaml"][0] + rest
    manifest.write_text("\n".join(lines) + "\n")
    built = broken.build(*names)
    assert built.ok
    outcomes = {task.task: task.outcome for task in built.tasks}
    for name in names:
        assert outcomes[f"convert:{name}"] == outcomes[f"validate:{name}"] == "restored"


def test_a_proposal_belongs_to_one_file(broken: WorkspaceFolder) -> None:
    with pytest.raises(UsageError, match="no proposal for wide:int8 yet; run: tflbuild validate"):
        tried(broken, "wide:int8")
    (found,) = asked(broken, "wide:int8", tries=1, samples=8)
    assert found.report["signatures"][0]["samples"]["used"] == 8
    assert len(found.report["tries"]) == 1
    assert len(tried(broken, "wide:int8")) == 1
    path = broken.root / "tflbuild.yaml"
    path.write_text(path.read_text().replace("npz: wide.npz", "npz: wide.npz, samples: 50"))
    with pytest.raises(UsageError, match=r"made for another file .* --debug wide:int8"):
        tried(broken, "wide:int8")
    (broken.root / found.path).write_text("[]")
    with pytest.raises(UsageError, match="cannot be read; run: tflbuild validate --debug"):
        tried(broken, "wide:int8")


def test_what_no_list_mends_is_said(broken: WorkspaceFolder) -> None:
    found = {one.task: one.report for one in asked(broken, "lost:int8", "cut:int16", tries=5)}
    lost = found["validate:lost:int8"]
    assert not lost["proposal"]["passes"]
    assert lost["tries"]
    assert lost["calibration"]["on_test_data"]["passed"]
    assert "prepare the calibration data" in lost["calibration"]["remedy"]
    wide = found["validate:cut:int16"]
    assert wide["proposal"] is None
    assert "with quantizer: ai-edge it does" in wide["refused"]
    assert not wide["tries"]
    (strict,) = asked(broken, "cut:strict")
    stops = strict.report["calibration"]["stops"]
    assert "90" in stops
    assert not strict.report["tries"]
    assert "a limit stops even a well calibrated file" in strict.report["refused"]
    with pytest.raises(UsageError, match="no proposal for cut:int16: quantize: int16x8"):
        tried(broken, "cut:int16")
    (broken.root / "cut.npz").write_bytes(b"no archive")
    with pytest.raises(TaskError, match="convert:cut:int8"):
        asked(broken, "cut:int8")


def test_an_integer_input_has_its_own_range(broken: WorkspaceFolder) -> None:
    pytest.importorskip("ai_edge_quantizer")
    (found,) = asked(broken, "cut:edge")
    settings = found.report["proposal"]["settings"]
    assert found.report["proposal"]["passes"]
    assert settings["io"] == "float32"  # keep_float alone cannot widen it
    (trial,) = tried(broken, "cut:edge")
    assert trial.exit_code == 0
