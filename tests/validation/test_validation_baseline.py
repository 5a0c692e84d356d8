"""The stage `baseline`: what the float file gives; one that cannot be run fails nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_models import two_in_two_out

from tflbuild.errors import TaskError
from tflbuild.stages import baseline
from tflbuild.stages.base import Request
from tflbuild.validation.file import File

INTERFACE = {
    "signatures": [
        {
            "key": "serve",
            "signature": "serve",
            "inputs": [
                {"name": n, "dtype": "float32", "shape": [1, 4], "tensor": t}
                for n, t in (("left", "a"), ("right", "b"))
            ],
            "outputs": [
                {"name": n, "dtype": "float32", "shape": [1, size], "tensor": t}
                for n, t, size in (("score", "y", 3), ("sum", "x", 4))
            ],
        }
    ]
}
COUNT = 700


@pytest.fixture
def samples() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {n: random.normal(0, 1, (COUNT, 4)).astype(np.float32) for n in ("left", "right")}


def run(folder: Path, samples: dict[str, Any], prepare: Callable[[], None] = lambda: None) -> int:
    """The stage in a process of its own, as a worker runs it; its exit code."""
    out = folder / "scratch/out"
    out.mkdir(parents=True)
    np.savez(folder / "test.npz", **samples)
    (folder / "float.tflite").write_bytes(two_in_two_out().pack())
    (folder / "interface.json").write_text(json.dumps(INTERFACE))
    params = {"test": [{"kind": "npz", "samples": None}], "sequences": [None]}
    inputs = {"test.0.npz": folder / "test.npz", "float.tflite": folder / "float.tflite",
              "interface.json": folder / "interface.json"}  # fmt: skip
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            prepare()
            baseline.run(Request(params, inputs, out))
            code = 0
        except TaskError as error:
            (folder / "error").write_text(f"{error.key}: {error}")
            code = 7
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def told(folder: Path) -> Any:
    return json.loads((folder / "scratch/out/baseline.json").read_text())


def test_outputs_of_all_chunks_by_name(tmp_path: Path, samples: dict[str, Any]) -> None:
    assert run(tmp_path, samples) == 0
    assert told(tmp_path)["problem"] == ""
    (signature,) = told(tmp_path)["signatures"]
    entries = {entry["name"]: entry for entry in signature["outputs"]}
    assert (entries["score"]["shape"], entries["sum"]["shape"]) == ([COUNT, 3], [COUNT, 4])
    total = np.load(tmp_path / "scratch/out" / entries["sum"]["file"])
    assert (total == samples["left"] + samples["right"]).all()
    path = tmp_path / "again.npy"
    np.save(path, total)  # byte for byte what numpy writes of the whole
    assert path.read_bytes() == (tmp_path / "scratch/out" / entries["sum"]["file"]).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_is_a_reason_and_no_failure(
    tmp_path: Path, samples: dict[str, Any], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(File, "run", crash)
    assert run(tmp_path, samples) == 0
    name = signal.Signals(number).name
    assert told(tmp_path) == {
        "problem": f"the float file crashes the interpreter ({name})", "signatures": [],
    }  # fmt: skip
    assert os.listdir(tmp_path / "scratch/out") == ["baseline.json"]


def test_what_the_interpreter_refuses_is_a_reason(
    tmp_path: Path, samples: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise TaskError("the LiteRT interpreter failed: no")

    monkeypatch.setattr(File, "run", refuse)
    assert run(tmp_path, samples) == 0
    assert told(tmp_path)["problem"] == "the LiteRT interpreter failed: no"


def test_who_kills_it_does_not_make_a_result(
    tmp_path: Path, samples: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(File, "run", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    assert run(tmp_path, samples) == -signal.SIGKILL
    assert not (tmp_path / "scratch/out/baseline.json").exists()


def test_wrong_data_is_an_error_as_everywhere(tmp_path: Path, samples: dict[str, Any]) -> None:
    assert run(tmp_path, {**samples, "left": samples["left"][:, :3]}) == 7
    said = (tmp_path / "error").read_text()
    assert said.startswith("data.test: test data: "), said
