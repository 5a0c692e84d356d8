"""Run a file under the package `tflite-micro` (extra `micro`) and read what its arena takes.

The interpreter does not verify a file, so all of it happens in a process of its own: a crash there
is a finding here. Beside it, the same inputs go through LiteRT's reference kernels.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..tflite.memory import plan
from ..tflite.read import read_model

PACKAGE = "tflite_micro"
MOST_BYTES = 256 << 20  # of tensors and of an arena: no microcontroller has that
_FIELDS: dict[str, Any] = {
    "version": None,
    "arena_bytes": None,
    "head_bytes": None,
    "tail_bytes": None,
    "smallest_arena_bytes": None,
    "parts": {},
    "outputs": [],
    "problem": None,
    "reference_problem": None,
    "unmeasured": None,
}
_DEVICE_ONLY = "ethos-u"


def available() -> bool:
    """Whether the extra is installed; nothing is imported."""
    return find_spec(PACKAGE) is not None


def measure(
    data: bytes, samples: int = 4, *, seed: int = 0, timeout: float = 600.0
) -> dict[str, Any]:
    """What tflite-micro says of a file, as JSON-able values; sizes in bytes of a 64-bit host.

    `arena_bytes` is what its allocator reports as used, `head_bytes` (tensors and scratch buffers)
    and `tail_bytes` (what lives as long as the interpreter) of it; `parts`: the tail by kind.
    `smallest_arena_bytes`: the smallest array, in steps of 16, in which it starts: planning may
    need more for a moment than stays in use. `outputs`: {name, dtype, equal, differ (share of
    elements), largest_steps (integers) or largest_error (floats; None: not a number on one side)}
    against LiteRT's reference kernels. `problem`: why it does not run, None if it does;
    `reference_problem`: why LiteRT does not, so that `outputs` says nothing. `unmeasured`: why it
    was not run although that is no fault of the file.

    Args:
        samples: how many seeded inputs: integers of 8 and 16 bits over their whole range, floats
            from -1 to 1, other integers 0 and 1 (they may be indexes).
        timeout: seconds.

    Raises:
        InvalidModel: the file is malformed.
        ModuleNotFoundError: the extra is not installed.
    """
    if not available():
        raise ModuleNotFoundError(
            "the package tflite-micro is not installed; run: pip install --pre 'tflbuild[micro]'"
        )
    needed = plan(model := read_model(data))
    if (size := needed.peak + needed.persistent) > MOST_BYTES:
        return {**_FIELDS, "problem": f"its tensors need {size:,} bytes, more than any device has"}
    if not model.subgraphs[0].ops:
        return {**_FIELDS, "problem": "it has no operators"}
    if any(op.name == _DEVICE_ONLY for graph in model.subgraphs for op in graph.ops):
        return {**_FIELDS, "unmeasured": "it is compiled for an Ethos-U, and runs only there"}
    with tempfile.TemporaryDirectory(prefix="tflbuild-micro-") as folder:
        return _in_child(Path(folder), data, needed.peak, samples, seed, timeout)


def _in_child(
    folder: Path, data: bytes, peak: int, samples: int, seed: int, timeout: float
) -> dict[str, Any]:
    (folder / "model.tflite").write_bytes(data)
    command = [sys.executable, "-m", "tflbuild.micro.child", "model.tflite", "found.jsonl"]
    command += [str(peak), str(samples), str(seed)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with (folder / "printed").open("wb") as printed:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        try:
            code: int | None = child.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if child.returncode is None:
                child.kill()
                child.wait()
    found, where = dict(_FIELDS), "it started"
    lines = folder / "found.jsonl"
    for line in lines.read_text().splitlines() if lines.exists() else []:
        step = json.loads(line)
        where = step.pop("step", where)
        found.update(step)
    if code == 0:
        return found
    printed_text = (folder / "printed").read_text(errors="replace")
    key = "reference_problem" if where.startswith("LiteRT") else "problem"
    found[key] = f"{_ending(code, timeout)} while {where}{_last_line(printed_text)}"
    return found


def _ending(code: int | None, timeout: float) -> str:
    if code is None:
        return f"no end after {timeout:g} s"
    if code < 0:
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"
    return f"ended with code {code}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" ({lines[-1][:300]})" if lines else ""
