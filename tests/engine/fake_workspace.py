"""A workspace whose stages take milliseconds (see fake_stages), and its processes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from workspace_folder import WorkspaceFolder

MANIFEST = """
version: 1
project: {name: fake}
defaults:
  data: {calibration: {random: {samples: 4}}}
  optimizations: {float32: {}, int8: {quantize: int8}}
models:
  a: {source: {format: keras, path: models/a.keras}}
  b: {source: {format: keras, path: models/b.keras}}
"""


class Fake(WorkspaceFolder):
    """A workspace with fake stages."""

    def model(self, name: str, value: Any, **more: Any) -> Path:
        """(Re)write a source file."""
        path = f"models/{name}.keras"
        self.write(files={path: json.dumps({"value": value, **more})})
        return self.root / path

    def start(
        self, *arguments: str, before: Sequence[str] = (), **options: Any
    ) -> subprocess.Popen[str]:
        """The command line in a process of its own, with its own workers."""
        script = str(Path(__file__).with_name("fake_build.py"))
        return subprocess.Popen(
            [*before, sys.executable, script, "build", "-C", str(self.root), "--format", "json",
             *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
        )  # fmt: skip

    def run(self, *arguments: str, **options: Any) -> Run:
        return Run(self.start(*arguments, **options))

    def index(self, target: str = "litert", dist: str = "dist") -> list[str]:
        """The files that the index lists, each checked against what lies there."""
        folder = self.root / dist / target
        index = json.loads((folder / "index.json").read_text())
        entries = index["artifacts"]
        beside = [e for entry in entries for e in entry.get("emitted", ())]
        listed = sorted([*entries, *beside, *index.get("runtime", ())], key=lambda e: e["file"])
        for entry in listed:
            content = (folder / entry["file"]).read_bytes()
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (
                entry["sha256"], entry["size"],
            )  # fmt: skip
        sums = "".join(f"{e['sha256']}  {e['file']}\n" for e in listed)
        assert (folder / "SHA256SUMS").read_text() == sums
        return [entry["file"] for entry in entries]

    def summary(self) -> dict[str, Any]:
        return self.report("summary.json")["artifacts"]

    def leftovers(self) -> list[str]:
        """Temporary files, scratch folders: nothing of the kind outlives a build."""
        private = self.root / ".tflbuild"
        stray = [private / "work", *(private / "store/tmp").glob("*"), *private.glob("*.tmp")]
        stray += (self.root / "dist").rglob(".*")
        return [str(path) for path in stray if path.exists()]


class Run:
    """A finished command line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.out, self.err = process.communicate(timeout=120)
        self.code = process.returncode
        lines = [line for line in self.out.splitlines() if line.endswith("}")]
        self.events = [json.loads(line) for line in lines]

    def tasks(self, *outcomes: str) -> list[str]:
        return sorted(
            e["task"] for e in self.events if e["event"] == "task" and e["outcome"] in outcomes
        )

    @property
    def done(self) -> dict[str, Any]:
        assert self.events, self.err
        assert self.events[-1]["event"] == "build", self.err
        last: dict[str, Any] = self.events[-1]
        return last


def workers_of(root: Path) -> list[int]:
    """Living processes that work for a workspace: its path is in their command line or folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            folder = os.readlink(entry / "cwd")
        except OSError:
            continue
        if folder.startswith(str(root) + "/"):
            found.append(int(entry.name))
    return found


def gone(root: Path, seconds: float = 10) -> list[int]:
    """Workers that are still there after a time."""
    until = time.monotonic() + seconds
    while (left := workers_of(root)) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def wait_for(true: Callable[[], Any], seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)
    return value
