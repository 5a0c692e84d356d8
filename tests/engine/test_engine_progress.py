"""What an action has done so far, as the parent sees it: folders by key, and who may use a core."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tflbuild.engine.files import Seen, Stat
from tflbuild.engine.progress import STAGES, WEEK, Progress
from tflbuild.validation import running


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / ".tflbuild/work"
    folder.mkdir(parents=True)
    return folder


def left_by_a_kill(tmp_path: Path, key: str, task: str, done: str = "256 1000") -> Path:
    folder = tmp_path / ".tflbuild/progress" / key
    (folder / "stamp").mkdir(parents=True)
    (folder / "stamp/0.0-256").write_bytes(b"evidence")
    (folder / "task").write_text(task)
    (folder / "done").write_text(done)
    return folder


def test_what_a_child_is_told(tmp_path: Path, work: Path) -> None:
    seen: dict[str, Seen | None] = {"data.npz": (Stat(3, 4, 5, 6), 7, "digest"), "gone": None}
    progress = Progress(tmp_path, work, 4)
    told = progress.request("validate", "validate:m:o", "k" * 64, seen, begin_anew=False)
    assert told == {
        "progress": {
            "folder": str(tmp_path / ".tflbuild/progress" / ("k" * 64)),
            "task": "validate:m:o",
            "files": {str(tmp_path / "data.npz"): [3, 4, 5, 6]},
            "jobs": 4,
            "cores": str(work / "cores"),
        }
    }
    for stage in ("lower", "convert", "compat"):
        assert progress.request(stage, f"{stage}:m", "k", seen, begin_anew=False) == {}
    assert not (tmp_path / ".tflbuild/progress").exists(), "the child makes it"


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_another_key_of_the_task_ends_what_was_left(tmp_path: Path, work: Path, stage: str) -> None:
    mine, old = left_by_a_kill(tmp_path, "new", "t"), left_by_a_kill(tmp_path, "old", "t")
    other = left_by_a_kill(tmp_path, "other", "another task")
    progress = Progress(tmp_path, work, 1)
    progress.request(stage, "t", "new", {}, begin_anew=False)
    assert (mine.exists(), old.exists(), other.exists()) == (True, False, True)
    progress.request(stage, "t", "new", {}, begin_anew=True)
    assert (mine.exists(), other.exists()) == (False, True)


def test_done_and_old_folders_go(tmp_path: Path, work: Path) -> None:
    mine, old = left_by_a_kill(tmp_path, "a", "t"), left_by_a_kill(tmp_path, "b", "u")
    past = time.time() - WEEK - 60
    os.utime(old, (past, past))
    progress = Progress(tmp_path, work, 1)
    assert (mine.exists(), old.exists()) == (True, False)
    progress.forget("convert", "a")
    assert mine.exists()
    progress.forget("validate", "a")
    assert not mine.parent.exists()


def test_how_far_it_came(tmp_path: Path, work: Path) -> None:
    left_by_a_kill(tmp_path, "a", "t")
    left_by_a_kill(tmp_path, "b", "t", "0 1000")
    left_by_a_kill(tmp_path, "c", "t", "damaged")
    progress = Progress(tmp_path, work, 1)
    assert progress.goes_on("a") == (
        "; 256 of 1000 samples are done: building again goes on from there"
    )
    assert [progress.goes_on(key) for key in "bcd"] == ["", "", ""]
    (progress.folder / "a" / "done").write_text("1000 1000")
    assert progress.goes_on("a").startswith("; all 1000 samples were run")


def test_the_cores_that_nobody_wants(tmp_path: Path, work: Path) -> None:
    progress, child = Progress(tmp_path, work, 8), running.Progress(jobs=8, cores=work / "cores")
    assert child.spare() == 0  # before anything is said
    for counts, spare in (((1, 0), 7), ((2, 1), 2), ((12, 100), 0), ((1, 3), 4)):
        progress.tell_cores(*counts)
        assert child.spare() == spare
