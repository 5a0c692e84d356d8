"""Select TF ops: which conversions take them, and what runs the files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from foreign_models import NETWORK, write_validator
from workspace_folder import WorkspaceFolder

from tflbuild.api import BuildResult
from tflbuild.engine.zygote import ZygotePool
from tflbuild.tflite.read import read_model

pytestmark = pytest.mark.convert

MANIFEST = """
version: 1
targets:
  allowed: {{runtime: select-tf-ops, unvalidated: allow}}
  strict: {{runtime: select-tf-ops}}
  python: {{runtime: select-tf-ops, validator: {validator}}}
  mine: {{runtime: custom-ops, ops: {{Other: {{}}}}}}
defaults:
  data: {{calibration: {{npz: x.npz}}, test: {{npz: x.npz}}}}
models:
  det:
    source: {{format: concrete_function, python: "net:det"}}
    optimizations:
      allowed: {{targets: [allowed]}}
      strict: {{targets: [strict]}}
      run: {{targets: [python]}}
      half: {{targets: [python], quantize: float16}}
      int8: {{targets: [allowed], quantize: int8}}
      edge: {{targets: [allowed], quantize: int8, quantizer: ai-edge}}
      mine: {{targets: [mine]}}
      mixed: {{targets: [litert, allowed]}}
      two: {{targets: [allowed, strict]}}
  plain:
    source: {{format: concrete_function, python: "net:plain"}}
    optimizations:
      float32: {{targets: [strict]}}
      int8: {{targets: [strict], quantize: int8, io: int8}}
      int16: {{targets: [strict], quantize: int16x8}}
  both:
    source: {{format: concrete_function, python: "net:both"}}
    optimizations: {{one: {{targets: [litert, allowed]}}}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pool: ZygotePool) -> WorkspaceFolder:
    folder = tmp_path_factory.mktemp("select")
    python = write_validator(folder / "tf218")
    (folder / "workspace").mkdir()
    place = WorkspaceFolder(folder / "workspace", pool)
    x = np.random.default_rng(1).normal(0, 1, (12, 9)).astype(np.float32)
    manifest = MANIFEST.format(validator=python)
    place.write(manifest, {"net.py": NETWORK, "x.npz": {"x": x}})
    return place


@pytest.fixture(scope="module")
def built(place: WorkspaceFolder) -> BuildResult:
    return place.build(keep_going=True)


def reason(built: BuildResult, task: str) -> str:
    found = next(t for t in built.tasks if t.task == task)
    assert found.outcome == "failed"
    return found.reason or ""


def test_released(place: WorkspaceFolder, built: BuildResult) -> None:
    assert sorted(built.released) == [
        "det:allowed@allowed", "det:half@python", "det:mixed@allowed", "det:run@python",
        "det:two@allowed",
        "plain:float32@strict", "plain:int16@strict", "plain:int8@strict",
    ]  # fmt: skip
    model = read_model(place.dist()["allowed/det-allowed.tflite"])
    assert [op.name for op in model.subgraphs[0].ops if op.kind == "select"] == [
        "FlexMatrixDeterminant"
    ]
    # One without any is validated like every other, and says so.
    report = place.report("plain/int8+select/validate.json")
    assert report["measured"]["runner"] == "LiteRT"
    assert report["conversion"]["foreign"] == {"select": [], "custom": []}
    assert report["gate"]["findings"] == []


def test_a_validator_gives_the_same_numbers(place: WorkspaceFolder, built: BuildResult) -> None:
    measured = place.report("det/run+select/validate.json")["measured"]
    assert measured["runner"] == "TensorFlow 2.18.1 (validator)"
    assert measured["unvalidated"] == ""
    assert {p["output"] for p in measured["parity"]} == {"plain", "det"}
    assert all(p["sqnr"] is None or p["sqnr"] > 100 for p in measured["parity"])
    compat = place.report("det/run@python/compat.json")["measured"]
    assert not compat["loads"]
    assert "Flex delegate" in compat["not_loaded"]


def test_without_one_it_takes_an_allowance(place: WorkspaceFolder, built: BuildResult) -> None:
    allowed = place.report("det/allowed+select/validate.json")
    assert allowed["measured"]["runner"] == "nothing"
    assert allowed["measured"]["parity"] == []
    (finding,) = allowed["gate"]["findings"]
    assert finding["level"] == "warn"
    assert finding["message"].startswith("not validated: its select TF ops FlexMatrixDeterminant")
    (failure,) = built.gates["validate:det:strict+select"].failures
    for way in ("target strict", "`flex_library`", "`validator`", "`unvalidated: allow`"):
        assert way in failure.message


def test_what_calibration_cannot_do(built: BuildResult) -> None:
    told = reason(built, "convert:det:int8+select")
    assert "FlexMatrixDeterminant at 'volume/MatrixDeterminant'" in told
    assert "dynamic_range, float16 or none" in told
    assert "FlexMatrixDeterminant" in reason(built, "convert:det:edge+select")


def test_an_unknown_op_is_no_custom_op(built: BuildResult) -> None:
    told = reason(built, "convert:det:mine+custom")
    assert "target mine: tf.linalg.det (MatrixDeterminant) at 'volume': no builtin" in told
    assert "select_ops: true" in told
    assert re.match(r"tflbuild.yaml:\d+:\d+: ", told)


def test_a_conversion_that_serves_no_target_is_not_tried(
    place: WorkspaceFolder, built: BuildResult
) -> None:
    """Another target takes the model, so that the model itself passes."""
    told = reason(built, "convert:det:mixed")
    assert "target litert: tf.linalg.det (MatrixDeterminant) at 'volume': no builtin" in told
    assert told.endswith("or take litert out of the targets")
    assert built.outcome("release:det:mixed@allowed") == "ran"
    again = place.build("det:mixed", keep_going=True)
    assert [t.task for t in again.tasks if t.outcome == "failed"] == ["convert:det:mixed"]
    assert not [t.task for t in again.tasks if t.outcome == "ran"]


def test_each_target_says_whether_it_takes_a_file_that_nothing_ran(
    place: WorkspaceFolder, built: BuildResult
) -> None:
    assert built.outcome("release:det:two@allowed") == "ran"
    told = reason(built, "release:det:two@strict")
    assert "not validated: " in told
    assert "give target strict `flex_library`" in told
    assert "det-two.tflite" in [p.name for p in (place.root / "dist/allowed").iterdir()]
    assert not (place.root / "dist/strict/det-two.tflite").exists()
    alone = place.build("det:two@allowed")
    assert alone.ok


def test_each_target_says_what_stops_it(built: BuildResult) -> None:
    told = [f.message for f in built.gates["evaluate:both"].failures]
    select = [message for message in told if message.startswith("target allowed")]
    assert len(select) == 1
    assert "Betainc" in select[0]
    lite = " ".join(message for message in told if message.startswith("target litert"))
    assert "MatrixDeterminant" in lite
    assert "Betainc" in lite
    assert "(Betainc) at 'tail'" in lite


def test_another_version_there_runs_again(place: WorkspaceFolder, built: BuildResult) -> None:
    again = place.build("det:run")
    assert not [t.task for t in again.tasks if t.outcome != "up-to-date"]
    packages = place.root.parent / "tf218/lib/python3.11/site-packages"
    (packages / "tensorflow-2.18.1.dist-info").rename(packages / "tensorflow-2.17.0.dist-info")
    (packages / "tensorflow-2.17.0.dist-info/METADATA").write_text("Version: 2.17.0\n")
    again = place.build("det:run")
    assert [t.task for t in again.tasks if t.outcome == "ran"] == ["validate:det:run+select"]


def test_a_validator_that_fails(place: WorkspaceFolder, tmp_path: Path) -> None:
    manifest = (place.root / "tflbuild.yaml").read_text()
    before = str(place.root.parent / "tf218/bin/python")
    x = np.linspace(2e6, 1e7, 12 * 9, dtype=np.float32).reshape(12, 9)
    cases = {
        "says": ("", "says: too large for me"),
        "dies": ("kill -9 $$", "was ended by signal 9"),
        "talks": ("echo no such module >&2; exit 3", "failed with exit code 3: no such module"),
    }
    for name, (broken, said) in cases.items():
        python = write_validator(tmp_path / name, broken=broken)
        place.write(manifest.replace(before, str(python)), {"x.npz": {"x": x}})
        told = reason(place.build("det:run"), "validate:det:run+select")
        assert told.startswith(f"the validator ({python}) {said}")
        assert "\n" not in told
