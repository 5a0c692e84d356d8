"""The command line without TensorFlow: verbs, common options, exit codes, messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tflbuild import cli
from tflbuild.engine.build import Options
from tflbuild.errors import UsageError

MANIFEST = """
version: 1
models:
  kws:
    source: {format: keras, path: models/kws.h5}
    data: {calibration: {random: {seed: 0, samples: 4}}}
    optimizations:
      float32: {}
      int8: {quantize: int8, io: int8}
  vision:
    source: {format: saved_model, path: models/vision}
    optimizations: {float32: {}}
"""

# What a command that converts nothing may not import.
HEAVY = ("tensorflow", "keras", "ai_edge_litert", "numpy")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models/vision/variables").mkdir(parents=True)
    (tmp_path / "models/kws.h5").write_bytes(b"\x89HDF\r\n\x1a\nnot really")
    (tmp_path / "models/vision/saved_model.pb").write_bytes(b"pb")
    (tmp_path / "tflbuild.yaml").write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return cli.run(arguments)


def test_check_counts_what_the_manifests_declare(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check") == 0
    assert capsys.readouterr().out == "1 manifest, 2 models, 3 artifacts: no error\n"


def test_check_as_json_names_every_artifact(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--format", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["artifacts"] == ["kws:float32@litert", "kws:int8@litert", "vision:float32@litert"]


def test_plan_names_what_a_task_waits_for_once(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A task may read several outputs of another."""
    assert run("plan", "--format", "json") == 0
    waiting = [t["why"] for t in json.loads(capsys.readouterr().out)["tasks"] if t["why"]]
    assert ["on lower:kws"] in waiting
    assert [why for why in waiting if len(set(why)) < len(why)] == []


@pytest.mark.parametrize("place", ["before", "after"])
def test_common_options_stand_before_or_after_the_verb(
    place: str, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    options = ["-C", str(root / "models"), "--format", "json"]
    line = [*options, "check"] if place == "before" else ["check", *options]
    assert run(*line) == 0
    assert json.loads(capsys.readouterr().out)["root"] == str(root)


def test_a_manifest_error_is_one_line_with_its_place_and_exit_2(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "tflbuild.yaml").write_text(MANIFEST.replace("models:\n", "modles:\n", 1))
    assert run("check") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tflbuild: tflbuild.yaml:3:1: unknown key 'modles'")
    assert "did you mean 'models'?" in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["bulid"], "did you mean 'build'?"),
        (["build", "kwz"], "did you mean kws"),
        (["kws"], "no command 'kws'; there are "),
        (["-v", "kws"], "(to build a model: tflbuild -v build kws)"),
        (["-q", "kws"], "(to build a model: tflbuild -q build kws)"),
        (["build", "kws:in8"], "kws:int8"),
        (["plan", "nothing-of-the-kind"], "the models are kws, vision"),
        (["-f", "other.yaml", "check"], "other.yaml"),
        (["-C", "nowhere", "check"], "nowhere"),
        (["build", "-j", "0"], "0 is not in the range"),
        (["why"], "Missing argument"),
        (["log", "convert:kws:int8"], "it has not run here"),
        (["log", "kws"], "is no task"),
        (["schema", "nope"], "no schema 'nope'"),
        (["check", "--format", "xml"], "xml"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(
    line: list[str], said: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*line) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("tflbuild: ")
    assert "Traceback" not in error


def test_no_manifest_anywhere_says_where_it_looked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run("check") == 2
    assert "tflbuild.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ([], []),
        (["-k"], ["build", "-k"]),
        (["-C", "x", "-j4"], ["build", "-C", "x", "-j4"]),
        (["--format", "json", "-n"], ["build", "--format", "json", "-n"]),
        (["--version"], ["--version"]),
        (["-q", "plan", "-v"], ["-q", "plan", "-v"]),
    ],
)
def test_a_line_without_a_verb_builds(line: list[str], meant: list[str]) -> None:
    assert cli.with_verb(line) == meant


def test_plan_of_a_new_workspace_runs_what_it_can_key_and_waits_for_the_rest(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan", "kws:int8", "--format", "json") == 0
    tasks = {task["task"]: task for task in json.loads(capsys.readouterr().out)["tasks"]}
    assert {name: task["action"] for name, task in tasks.items()} == {
        "lower:kws": "run",
        "reference:kws": "run",
        "evaluate:kws": "depends",
        "baseline:kws": "depends",
        "convert:kws:int8": "depends",
        "validate:kws:int8": "depends",
        "compat:kws:int8@litert": "depends",
        "release:kws:int8@litert": "depends",
    }
    assert tasks["convert:kws:int8"]["why"] == ["on lower:kws", "on evaluate:kws"]
    assert not (root / ".tflbuild").exists(), "plan writes nothing"


def test_a_dry_run_prints_the_plan(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-n") == 0
    out = capsys.readouterr().out
    assert "run        lower:kws  not built before" in out
    assert not (root / ".tflbuild").exists()


def test_why_of_a_task_that_was_never_built(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("why", "lower:vision") == 0
    assert capsys.readouterr().out == "lower:vision: run\n  not built before\n"


def test_graph_tells_data_from_gates(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("graph", "vision") == 0
    out = capsys.readouterr().out
    assert '"lower:vision" -> "convert:vision:float32";' in out
    assert '"evaluate:vision" -> "convert:vision:float32" [style=dashed];' in out
    assert "kws" not in out


def test_schema_is_the_manifests(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].endswith("2020-12/schema")
    assert "models" in schema["properties"]


def test_a_fault_of_ours_leaves_a_log_and_exits_3(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tflbuild.manifest.load

    def broken(*_: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(tflbuild.manifest.load, "load_workspace", broken)
    assert run("check") == 3
    error = capsys.readouterr().err
    assert "a fault in tflbuild itself: RuntimeError: no such luck" in error
    log = Path(error[error.index("report it with ") + len("report it with ") :].rstrip(")\n"))
    text = log.read_text()
    log.unlink()
    assert "tflbuild 0." in text
    assert "Traceback" in text


@pytest.mark.parametrize("line", [["--help"], ["build", "--help"], ["--version"]])
def test_help_and_version_exit_0(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*line) == 0
    assert "tflbuild" in capsys.readouterr().out


@pytest.mark.parametrize("line", [["check"], ["plan"], ["graph"], ["why", "kws"], ["--help"]])
def test_commands_that_convert_nothing_import_nothing_heavy(line: list[str], root: Path) -> None:
    """TensorFlow and the like are made unimportable."""
    trap = root / "trap"
    trap.mkdir()
    for name in HEAVY:
        (trap / f"{name}.py").write_text(f"raise ImportError('{name} was imported')")
    done = subprocess.run(
        [sys.executable, "-m", "tflbuild", *line],
        env={**os.environ, "PYTHONPATH": str(trap)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_plan_works_on_a_tree_that_cannot_be_written(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (root, root / "models"):
        path.chmod(0o555)
    try:
        assert run("plan") == 0
    finally:
        for path in (root, root / "models"):
            path.chmod(0o755)


def test_clean_removes_what_tflbuild_made_and_nothing_else(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = root / "dist/litert/mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep me")
    (root / "build/reports").mkdir(parents=True)
    (root / "build/reports/summary.json").write_text("{}")
    assert run("clean") == 0
    assert mine.read_text() == "keep me"
    assert not (root / "build").exists()


def test_clean_leaves_what_others_put_into_the_build_folder(root: Path) -> None:
    others = [root / "build/logs/cmake.log", root / "build/reports/tests/index.html"]
    ours = [root / "build/logs/lower:kws.log", root / "build/reports/kws/evaluate.json"]
    for path in (*others, *ours):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert run("clean") == 0
    assert [path.exists() for path in others] == [True, True]
    assert [path.exists() for path in ours] == [False, False]
    assert not (root / "build/reports/kws").exists()


def test_a_manifest_that_takes_no_part_is_said(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "nested").mkdir()
    (root / "nested/tflbuild.yaml").write_text("version: 1\n")
    assert run("-C", "nested", "check") == 0
    assert "warning: nested/tflbuild.yaml takes no part" in capsys.readouterr().err
    assert run("-C", "models", "check") == 0
    assert capsys.readouterr().err == ""


def test_graph_of_one_artifact_holds_what_it_needs_alone(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("graph", "kws:int8", "--format", "json") == 0
    tasks = [task["task"] for task in json.loads(capsys.readouterr().out)["tasks"]]
    assert len(tasks) == 8
    assert not any("float32" in task for task in tasks)


@pytest.mark.parametrize(
    ("arguments", "goes_on"),
    [
        (("evaluate",), True),  # its table is the result, of all models
        (("evaluate", "-k"), True),
        (("build",), False),
        (("build", "-k"), True),
        (("validate",), False),
    ],
)
def test_what_goes_on_after_a_failure(
    arguments: tuple[str, ...], goes_on: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def build(manifest: Path, options: Options, listener: object) -> object:
        found.append(options.keep_going)
        raise UsageError("enough")

    monkeypatch.setattr("tflbuild.reporting.files.build", build)
    assert run(*arguments) == 2
    assert found == [goes_on]


def test_a_blocked_task_tells_its_first_reason() -> None:
    from tflbuild.commands.plan import _why
    from tflbuild.engine.plan import Planned

    many = Planned("release:m:o@t", "blocked", ("by the gate of x: " + "no, " * 90, "b", "c"))
    assert _why(many, verbose=True).endswith("; b; c")
    assert _why(many, verbose=False).endswith("no … (+2 more)")
    assert len(_why(many, verbose=False)) < 220
    assert _why(Planned("lower:m", "run", ("a", "b")), verbose=False) == "a; b"
