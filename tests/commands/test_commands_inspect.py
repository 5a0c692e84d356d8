"""`tflbuild inspect`, also of files that are damaged, hostile, or no files at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hostile import SOUND, crashing, labelled, mutated
from jsonschema import Draft202012Validator

from tflbuild import cli, schemas

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tflite"))
import tflite_models as make


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The real command, in a process of its own; one that hangs fails."""
    return subprocess.run(
        [sys.executable, "-m", "tflbuild", "inspect", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=cwd,
    )


def looked_at(*arguments: str, cwd: Path | None = None) -> tuple[int, Any]:
    """The exit code and the document of `--format json`, which its schema describes."""
    done = run(*arguments, "--format", "json", cwd=cwd)
    assert "Traceback" not in done.stderr
    value = json.loads(done.stdout)
    validator = Draft202012Validator(json.loads(schemas.text("inspect")))
    assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(value)] == []
    return done.returncode, value


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.tflite"
    path.write_bytes(labelled())
    return path


def foreign(custom: str) -> bytes:
    """A file with an operator that is not LiteRT's own."""
    maker = make.Maker()
    graph = maker.graph()
    x, y = graph.tensor("x", (1, 4)), graph.tensor("y", (1, 4))
    graph.op(make.OP.CUSTOM, [x], [y], custom=custom)
    graph.io([x], [y])
    return maker.pack()


def test_says_what_a_file_holds(sound: Path) -> None:
    done = run(str(sound))
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "hand made", "y = (a + b) W", "Apache-2.0", "labels.txt (6 B)", "labels in labels.txt",
        "signature serve", "1×4", "float32", "(x − 0.5) / 2", "FULLY_CONNECTED", "loads it",
    ):  # fmt: skip
        assert words in done.stdout, words


def test_as_json(sound: Path) -> None:
    code, value = looked_at(str(sound))
    (file,) = value["files"]
    assert (code, value["target"], file["gate"], file["error"]) == (0, None, None, "")
    measured = file["measured"]
    assert measured["size"] == sound.stat().st_size
    assert measured["ops"]["builtin"] == {"ADD": 1, "FULLY_CONNECTED": 1}
    assert measured["macs"]["total"] == 12
    assert measured["notes"]["packed"] == {"labels.txt": 6}
    assert measured["notes"]["inputs"][0]["mean"] == [0.5]


def test_needs_no_manifest_for_a_runtime(sound: Path, tmp_path: Path) -> None:
    done = run(str(sound), "--target", "litert", cwd=tmp_path)
    assert done.returncode == 0
    assert "fits litert" in done.stdout


def test_a_file_that_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "det.tflite").write_bytes(foreign("FlexMatrixDeterminant"))
    code, value = looked_at("det.tflite", "--target", "litert", cwd=tmp_path)
    assert code == 1
    assert not value["files"][0]["gate"]["passed"]
    assert "FlexMatrixDeterminant" in json.dumps(value["files"][0]["gate"])
    done = run("det.tflite", "--target", "litert", cwd=tmp_path)
    assert "does not fit litert" in done.stdout
    # To be asked what it holds, it need not run here; it is said what it would need.
    done = run("det.tflite", cwd=tmp_path)
    assert done.returncode == 0
    assert "does not load it: its select TF ops FlexMatrixDeterminant need" in done.stdout


def test_the_margin_of_a_target_of_the_manifest(sound: Path, tmp_path: Path) -> None:
    manifest = "version: 1\ntargets: {{phone: {{runtime: litert, max_size: {}}}}}\nmodels: {{}}\n"
    (tmp_path / "tflbuild.yaml").write_text(manifest.format("5KB"))
    done = run("sound.tflite", "--target", "phone", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fits phone (litert)" in done.stdout
    assert "of 5,000 B" in done.stdout
    (tmp_path / "tflbuild.yaml").write_text(manifest.format("100"))
    done = run("sound.tflite", "--target", "phone", cwd=tmp_path)
    assert done.returncode == 1
    assert "does not fit phone" in done.stdout
    assert "NO  size" in done.stdout


def test_an_unknown_target(sound: Path, tmp_path: Path) -> None:
    done = run(str(sound), "--target", "litret", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'litert'" in done.stderr
    (tmp_path / "tflbuild.yaml").write_text("version: 1\nmodels: {}\n")
    assert "no target 'phone'" in run(str(sound), "--target", "phone", cwd=tmp_path).stderr


def test_several_files_are_one_table(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "crash.tflite").write_bytes(crashing())
    done = run("sound.tflite", "crash.tflite", "none.tflite", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "tflbuild: crash.tflite: it crashes the runtime (signal 11, SIGSEGV)",
        "tflbuild: none.tflite: there is no such file",
    ]
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "file", "sound.tflite", "crash.tflite",
    ]  # fmt: skip


def test_quiet_says_only_what_is_wrong(sound: Path, tmp_path: Path) -> None:
    assert run("-q", str(sound)).stdout == ""
    (tmp_path / "crash.tflite").write_bytes(crashing())
    done = run("-q", "crash.tflite", "--target", "litert", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1


def test_two_hundred_damaged_files(tmp_path: Path) -> None:
    names = []
    files = [*mutated(2026, 199), ("split", crashing())]
    for index, (damage, data) in enumerate(files):
        path = tmp_path / f"{index:03}-{damage}.tflite"
        path.write_bytes(data)
        names.append(path.name)
    code, value = looked_at(*names, cwd=tmp_path)
    assert code == 2
    assert [file["file"] for file in value["files"]] == names
    exits = [file["exit"] for file in value["files"]]
    assert {*exits} == {0, 1, 2}
    crashes = 0
    for file in value["files"]:
        reason = file["error"] if file["measured"] is None else file["measured"]["problem"]
        assert "fault in tflbuild" not in reason
        assert "\n" not in reason
        assert bool(reason) or file["exit"] == 0, file["file"]
        crashes += "crashes the runtime" in reason
    assert crashes  # it is real


def no_files(folder: Path) -> dict[str, str]:
    """What somebody might name that is no file of a model, with words of the answer."""
    (folder / "empty").touch()
    (folder / "text").write_text("<html>404 Not Found</html>")
    with zipfile.ZipFile(folder / "zip", "w") as archive:
        archive.writestr("model.tflite", SOUND[0])
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nothing")
    (folder / "device").symlink_to("/dev/zero")
    (folder / "locked").write_bytes(b"TFL3")
    (folder / "locked").chmod(0)
    (folder / "claims").write_bytes(b"\x1c\0\0\0TFL3" + b"\xff" * 64)
    with (folder / "holes").open("wb") as stream:
        stream.truncate(3 << 30)
    return {
        "empty": "0 bytes",
        "text": "not a TensorFlow Lite file",
        "zip": "not a TensorFlow Lite file",
        "folder": "is a folder",
        "fifo": "not a regular file",
        "loop": "cannot be opened",
        "dangling": "no such file",
        "device": "not a regular file",
        "locked": "cannot be opened" if os.geteuid() else "not a TensorFlow Lite file",
        "claims": "malformed",
        "holes": "has 3,221,225,472 bytes",
        "text/below": "cannot be opened",
        "nothing\x1b[31m": "no such file",
    }


def test_what_is_no_file_of_a_model(tmp_path: Path) -> None:
    expected = no_files(tmp_path)
    code, value = looked_at(*expected, cwd=tmp_path)
    assert code == 2
    for file, words in zip(value["files"], expected.values(), strict=True):
        assert (file["exit"], file["measured"]) == (2, None), file
        assert words in file["error"], file
    done = run("fifo", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tflbuild: fifo: is not a regular file\n"


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["inspect"]) == 2
    assert "FILE" in capsys.readouterr().err
