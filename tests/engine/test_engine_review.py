"""What a reviewer found: files of others, links that lead out, plans that lied, silent skips."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from fake_workspace import Fake

from tflbuild import cli
from tflbuild.engine.judge import far_ranges, scaled_wrongly
from tflbuild.errors import TflbuildError
from tflbuild.manifest.load import load_workspace

MANIFEST = """
version: 1
models:
  a: {source: {format: keras, path: models/a.keras}, optimizations: {f: {}}}
  b: {source: {format: keras, path: models/b.keras}, optimizations: {f: {}}}
"""


@pytest.fixture
def two(empty: Fake) -> Fake:
    empty.write(MANIFEST)
    empty.model("a", 1)
    empty.model("b", 2)
    return empty


def test_a_file_that_tflbuild_never_released_is_not_overwritten(two: Fake) -> None:
    two.write(files={"dist/litert/a-f.tflite": "mine"})
    result = two.build(keep_going=True)
    assert not result.ok
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    assert list(reasons) == ["release:a:f@litert"]
    assert "move it away" in reasons["release:a:f@litert"]
    assert (two.root / "dist/litert/a-f.tflite").read_text() == "mine"


def test_a_released_file_is_known_by_the_index_when_the_state_is_gone(two: Fake) -> None:
    assert two.build().ok
    import shutil

    shutil.rmtree(two.root / ".tflbuild")
    two.model("a", 5)
    assert two.build().ok


def test_all_that_was_not_started_is_told(two: Fake) -> None:
    (two.root / "models/a.keras").write_text("not json")
    result = two.build(jobs=1)
    told = {t.task for t in result.tasks}
    counts = result.done.counts
    assert counts.failed >= 1
    assert counts.ran + counts.failed + counts.skipped + counts.up_to_date == 14 == len(told)


def test_a_dry_run_with_force_says_that_everything_runs(
    two: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert two.build().ok
    assert cli.run(["-C", str(two.root), "build", "-n", "-B"]) == 0
    assert "up-to-date" not in capsys.readouterr().out


@pytest.mark.parametrize("where", ["outside", "circle"])
def test_links_in_a_saved_model_stay_inside(where: str, empty: Fake, tmp_path: Path) -> None:
    empty.write(
        "version: 1\nmodels: {s: {source: {format: saved_model, path: s},"
        " optimizations: {f: {}}}}\n",
        {"s/saved_model.pb": '{"value": 1}'},
    )
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "x").write_text("x")
    os.symlink(outside if where == "outside" else ".", empty.root / "s/link")
    with pytest.raises(TflbuildError, match="symbolic link") as caught:
        empty.build()
    assert caught.value.exit_code == 2


def test_dist_may_not_lead_out(two: Fake, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (two.root / "dist").symlink_to(tmp_path / "out")
    with pytest.raises(TflbuildError, match="leaves the workspace"):
        two.build()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  a: {source", "  summary.json: {source", "cannot be named"),
        ("version: 1\n", "version: 1\ntargets: {LITERT: {runtime: litert}}\n", "case alone"),
    ],
)
def test_names_that_would_collide(old: str, new: str, said: str, two: Fake) -> None:
    two.write(MANIFEST.replace(old, new, 1))
    with pytest.raises(TflbuildError, match=said):
        load_workspace(two.root / "tflbuild.yaml", two.root)


def test_scales_that_differ_are_said() -> None:
    calibration = [{"ranges": {"x": [0.0, 255.0], "y": [0.0, 1.0]}}]
    found = far_ranges(calibration, [{"input_ranges": {"x": [0.0, 1.0], "y": [0.0, 2.0]}}])
    assert len(found) == 1
    assert "'x' was calibrated on 0 to 255 and tested on 0 to 1" in found[0]
    assert far_ranges(None, [{"input_ranges": {"x": [0.0, 1.0]}}]) == []


def test_scales_that_differ_are_the_likely_cause_of_a_miss() -> None:
    tested = [{"input_ranges": {"x": [0.0, 1.0], "y": [0.0, 1.0]}}] * 2
    calibrations = [{"ranges": {"x": [0.0, 0.1], "y": [0, 1]}}, {"ranges": {"x": [0, 1]}}]
    assert scaled_wrongly(calibrations, tested) == [
        "likely cause: calibration data, 0 to 0.1 against 0 to 1 in the test data", "",
    ]  # fmt: skip
    both = [{"ranges": {"x": [0.0, 0.1], "y": [0, 255]}}]
    assert scaled_wrongly(both, tested)[0].endswith(
        "data, input 'x' 0 to 0.1 against 0 to 1 in the test data, input 'y' 0 to 255 against"
        " 0 to 1 in the test data"
    )
    assert scaled_wrongly(None, tested) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [(["verify"], "'verify' is not there yet"), (["build", "--locked"], "--locked is not there")],
)
def test_what_is_planned_is_refused_by_name(
    line: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(line) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "forged",
    [
        {"model": "../../models/mine"},
        {"optimization": "../f"},
        {"sha256": "../../x"},
        {"size": "many"},
        {"size": True},
        {"model": 7},
        {"model": ["a"]},
    ],
)
def test_a_forged_index_cannot_make_us_remove_files(forged: dict[str, object], two: Fake) -> None:
    """With the state gone, the index is believed; but not what we cannot have written."""
    mine = two.write(files={"models/mine-f.tflite": "mine"}) / "models/mine-f.tflite"
    digest = hashlib.sha256(b"mine").hexdigest()
    entry = {"model": "gone", "optimization": "f", "sha256": digest, "size": 4, **forged}
    index = {"version": 1, "target": "litert", "artifacts": [entry]}
    two.write(files={"dist/litert/index.json": json.dumps(index)})
    assert two.build().ok
    assert mine.read_text() == "mine"
    assert sorted(two.index()) == ["a-f.tflite", "b-f.tflite"]
