"""Files looked at, each in a worker of its own: what one does to its process harms nothing."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tflbuild.engine.workers import Ended, Workers
from tflbuild.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from tflbuild.loading import crashes
from tflbuild.manifest.model import Target
from tflbuild.verdict import Verdict

TIMEOUT = 300.0  # seconds that one file may take


@dataclass(frozen=True)
class Inspected:
    """What was found of one file: a measurement, or why there is none (`error`)."""

    file: str
    measured: dict[str, Any] | None = None
    verdict: Verdict | None = None  # where a target was named
    error: str = ""

    @property
    def exit_code(self) -> int:
        """0: it fits, or no target was named and nothing is wrong with it; 1: it does not, or
        LiteRT refuses a file of its own operators; 2: it cannot be read."""
        if self.measured is None:
            return EXIT_USAGE
        if self.verdict is None:
            return EXIT_FAILED if unsound(self.measured) else EXIT_OK
        fits = self.verdict.passed and not crashes(self.measured["problem"])
        return EXIT_OK if fits else EXIT_FAILED

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "measured": self.measured,
            "gate": None if self.verdict is None else self.verdict.as_json(),
            "error": self.error,
            "exit": self.exit_code,
        }


def unsound(measured: dict[str, Any]) -> bool:
    """LiteRT does not load it, and not because it holds operators of others."""
    foreign = measured["ops"]["select"] or measured["ops"]["custom"]
    return bool(measured["problem"]) and (not foreign or crashes(measured["problem"]))


def inspect(
    paths: Sequence[Path], target: Target | None = None, names: Sequence[str] = ()
) -> list[Inspected]:
    """Measure files, in their order, and judge them for a target. `names`: how to call them."""
    from tflbuild.gates import compat_gate

    found: dict[int, Inspected] = {}
    called = list(names) or [str(path) for path in paths]
    waiting = list(enumerate(paths))
    waiting.reverse()
    runtime = None if target is None else target.runtime
    with tempfile.TemporaryDirectory(prefix="tflbuild-inspect-") as folder:
        home = Path(folder)
        with Workers(home / "work", home / "logs") as workers:
            jobs: dict[int, int] = {}
            while waiting or jobs:
                while waiting and len(jobs) < (os.cpu_count() or 1):
                    index, path = waiting.pop()
                    request = {
                        "stage": "inspect",
                        "params": {"path": os.path.abspath(path), "runtime": runtime},
                        "inputs": {},
                        "timeout": TIMEOUT,
                    }
                    jobs[workers.submit(f"inspect-{index}", "lite", request).identity] = index
                for ended in workers.wait():
                    index = jobs.pop(ended.job.identity)
                    found[index] = _found(called[index], ended)
                    workers.forget(ended.job)
                if workers.interrupted:
                    raise KeyboardInterrupt
    if target is None:
        return [found[index] for index in range(len(paths))]
    return [
        one
        if one.measured is None
        else Inspected(one.file, one.measured, compat_gate(one.measured, target, None))
        for one in (found[index] for index in range(len(paths)))
    ]


def _found(name: str, ended: Ended) -> Inspected:
    if not ended.kind:
        report = ended.job.scratch / "out" / "inspect.json"
        return Inspected(name, json.loads(report.read_text()))
    if ended.kind in ("crash", "killed"):
        return Inspected(name, error=f"reading it failed: {ended.reason}")
    if ended.kind == "fault":
        return Inspected(
            name, error=f"a fault in tflbuild itself, please report it: {ended.reason}"
        )
    return Inspected(name, error=ended.reason)
