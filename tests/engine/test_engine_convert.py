"""The engine with the real stages, on models of two layers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from workspace_folder import WorkspaceFolder

from tflbuild.api import BuildResult

pytestmark = pytest.mark.convert

MANIFEST = """
version: 1
project: {name: tiny}
defaults:
  data: {calibration: {random: {samples: 8, low: -1}}}
  optimizations: {float32: {}, int8: {quantize: int8, io: int8}}
models:
  keras3: {source: {format: keras, path: models/net.keras}}
  legacy: {source: {format: keras, path: models/net.h5}}
  saved: {source: {format: saved_model, path: models/net}}
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    script = Path(__file__).with_name("make_tiny.py")
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    return folder


def made_anew(result: BuildResult) -> int:
    """How many tasks were not up to date: equal actions of two models may run once."""
    return result.done.counts.ran + result.done.counts.restored


@pytest.fixture(scope="module")
def first(tiny: Path, pool: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built workspace, which the tests copy."""
    root = tmp_path_factory.mktemp("first")
    made = WorkspaceFolder(root, pool)  # type: ignore[arg-type]
    names = ("net.keras", "net.h5", "net")
    made.write(MANIFEST, {f"models/{name}": tiny / name for name in names})
    result = made.build()
    assert result.ok, [(t.task, t.reason) for t in result.tasks if t.reason]
    assert made_anew(result) == 36
    return root


@pytest.fixture
def built(first: Path, workspace: WorkspaceFolder) -> WorkspaceFolder:
    """Another place and other inodes: by digests, everything is up to date."""
    shutil.copytree(first, workspace.root, dirs_exist_ok=True)
    assert workspace.build().done.counts.ran == 0
    assert workspace.build().done.reached_graph == 0
    return workspace


def replace(workspace: WorkspaceFolder, old: str, new: Path) -> BuildResult:
    path = workspace.root / "models" / old
    if path.is_dir():
        shutil.rmtree(path)
    workspace.write(files={f"models/{old}": new})
    return workspace.build()


@pytest.mark.parametrize(
    ("model", "old", "new"),
    [("keras3", "net.keras", "again.keras"), ("saved", "net", "again")],
)
def test_reexport(built: WorkspaceFolder, tiny: Path, model: str, old: str, new: str) -> None:
    before = built.dist()
    result = replace(built, old, tiny / new)
    assert result.ran() == [f"lower:{model}", f"reference:{model}"]
    assert built.dist() == before


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_one_weight(built: WorkspaceFolder, tiny: Path, suffix: str) -> None:
    before = built.dist()
    result = replace(built, f"net.{suffix}", tiny / f"changed.{suffix}")
    model = "keras3" if suffix == "keras" else "legacy"
    assert result.ok
    assert len(result.ran()) == 12
    assert {name.split(":")[1] for name in result.ran()} == {model}
    changed = {name for name, content in built.dist().items() if before[name] != content}
    assert changed == {
        "litert/SHA256SUMS", "litert/index.json", f"litert/{model}-float32.tflite",
        f"litert/{model}-int8.tflite",
    }  # fmt: skip
    # And back again: everything is known.
    assert {name.split(":")[0] for name in replace(
        built, f"net.{suffix}", tiny / f"net.{suffix}").ran()} == {"release"}  # fmt: skip
    assert built.dist() == before


def test_forced_convert(built: WorkspaceFolder) -> None:
    assert built.build("convert:saved:int8", force=True).ran() == ["convert:saved:int8"]
    assert built.build().done.counts.ran == 0


def test_fresh_bytes_are_the_same_bytes(built: WorkspaceFolder) -> None:
    before = built.dist()
    shutil.rmtree(built.root / ".tflbuild")
    shutil.rmtree(built.root / "dist")
    assert made_anew(built.build()) == 36
    assert built.dist() == before


def test_without_tensorflow(built: WorkspaceFolder, tmp_path: Path) -> None:
    (tmp_path / "broken/tensorflow").mkdir(parents=True)
    (tmp_path / "broken/tensorflow/__init__.py").write_text("raise ImportError('not here')")
    (built.root / "dist/litert/saved-int8.tflite").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "tflbuild", "-C", built.root, "--format", "json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "broken")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"ran": 0, "restored": 1' in done.stdout


def test_a_broken_file_is_a_failed_task(built: WorkspaceFolder) -> None:
    before = built.dist()
    for name in ("net.keras", "net.h5", "net/saved_model.pb"):
        path = built.root / "models" / name
        path.write_bytes(path.read_bytes()[:100])
    result = built.build(keep_going=True)
    failed = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    assert sorted(failed) == [
        f"{stage}:{model}" for stage in ("lower", "reference")
        for model in ("keras3", "legacy", "saved")
    ]  # fmt: skip
    assert all(len(reason.splitlines()) == 1 for reason in failed.values())
    assert built.dist() == before
    assert len(result.done.stale) == 6


def test_the_api_names_the_released_files_also_after_a_build_of_nothing(
    built: WorkspaceFolder,
) -> None:
    for _ in range(2):
        result = built.build()
    assert result.done.reached_graph == 0
    assert len(result.released) == 6
    file = result.released["keras3:int8@litert"]
    assert file.path == built.root / "dist/litert/keras3-int8.tflite"
    assert file.path.stat().st_size == file.size
