"""Two files against each other, in workers: what one does to its process harms nothing."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tflbuild.engine.workers import Ended, Workers
from tflbuild.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from tflbuild.trial import SEED, SIZES

TIMEOUT = 1800.0  # seconds that reading, or running one file, may take
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Outputs:
    """Both files run on the same inputs. `reason`: why they were not, or not both."""

    reason: str = ""
    crash: str = ""  # the name of a file that does not survive it, and how it ended
    samples: int = 0
    data: str = ""  # "random (seed 0)", or a file
    agreement: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Compared:
    """What was found. `error`: why nothing was: one of them cannot be read."""

    names: tuple[str, str]
    identical: bool = False
    digests: tuple[str, str] = ("", "")  # SHA-256
    sizes: tuple[int, int] = (0, 0)
    told: dict[str, Any] = field(default_factory=dict)  # of `comparison.compare`; {} if identical
    outputs: Outputs | None = None
    error: str = ""

    @property
    def differences(self) -> list[dict[str, Any]]:
        return self.told["interface"]["differences"] if self.told else []

    def exit_code(self, exact: bool = False) -> int:
        """0: the same interface; 1: another one, or (exact) other bytes; 2: one of them cannot be
        read, or kills the runtime."""
        if self.error or (self.outputs is not None and self.outputs.crash):
            return EXIT_USAGE
        if self.identical:
            return EXIT_OK
        return EXIT_FAILED if exact or self.differences else EXIT_OK

    def as_json(self, exact: bool) -> dict[str, Any]:
        value: dict[str, Any] = {
            side: {"file": name, "sha256": digest or None, "size": size if digest else None}
            for side, name, digest, size in zip(
                ("old", "new"), self.names, self.digests, self.sizes, strict=True
            )
        }
        value |= {"identical": self.identical, "error": self.error, "exit": self.exit_code(exact)}
        keys = ("interface", "ops", "versions", "min_runtime", "weights", "metadata", "description")
        value |= {key: self.told.get(key) for key in keys}
        value["outputs"] = None if self.outputs is None else {
            "samples": self.outputs.samples, "data": self.outputs.data,
            "reason": self.outputs.reason or self.outputs.crash,
            "agreement": list(self.outputs.agreement),
        }  # fmt: skip
        return value


def diff(paths: tuple[Path, Path], names: tuple[str, str], data: Path | None = None) -> Compared:
    """Compare two files. `names`: what to call them; `data`: an .npz with inputs, else random."""
    if digest := identical(*paths):
        size = paths[0].stat().st_size
        return Compared(names, True, (digest, digest), (size, size))
    with tempfile.TemporaryDirectory(prefix="tflbuild-diff-") as folder:
        home = Path(folder)
        with Workers(home / "work", home / "logs") as workers:
            return _Diff(workers, paths, names, data).run()


def identical(old: Path, new: Path) -> str:
    """SHA-256 of two files of the same bytes; "" where they are not, or cannot be read."""
    try:
        found = [os.stat(path) for path in (old, new)]
        if not all(stat.S_ISREG(one.st_mode) for one in found):
            return ""  # a pipe would block
        if found[0].st_size != found[1].st_size:
            return ""
        digest = hashlib.sha256()
        with old.open("rb") as one, new.open("rb") as other:
            while chunk := one.read(_CHUNK):
                if chunk != other.read(_CHUNK):
                    return ""
                digest.update(chunk)
        return digest.hexdigest()
    except (OSError, ValueError):
        return ""


class _Diff:
    def __init__(
        self, workers: Workers, paths: tuple[Path, Path], names: tuple[str, str], data: Path | None
    ) -> None:
        self.workers = workers
        self.sides = dict(zip(("old", "new"), (os.path.abspath(p) for p in paths), strict=True))
        self.names = names
        self.data = data

    def run(self) -> Compared:
        for size in SIZES:
            ended, folder = self._compare(size)
            if ended.kind:
                return Compared(self.names, error=_reason(ended))
            told = json.loads((folder / "compare.json").read_text())
            if told["incomparable"]:
                outputs = Outputs(f"the interfaces differ: {told['incomparable']}")
                break
            plan = json.loads((folder / "plan.json").read_text())
            outputs = self._outputs(plan, folder)
            # A shape that the app sets: the least one may be too small for the model.
            if not outputs.reason or not told["open"] or self.data:
                break
        return Compared(
            self.names,
            digests=(told["old"]["sha256"], told["new"]["sha256"]),
            sizes=(told["old"]["size"], told["new"]["size"]),
            told=told,
            outputs=outputs,
        )

    def _compare(self, size: int) -> tuple[Ended, Path]:
        params = {
            "do": "compare", **self.sides, "names": dict(zip(("old", "new"), self.names,
                                                             strict=True)),
            "data": None if self.data is None else os.path.abspath(self.data), "size": size,
        }  # fmt: skip
        (ended,) = self._all([params])
        return ended, ended.job.scratch / "out"

    def _outputs(self, plan: dict[str, Any], inputs: Path) -> Outputs:
        both = self._all([
            {"do": "run", "path": path, "side": side, "plan": plan, "inputs": str(inputs)}
            for side, path in self.sides.items()
        ])  # fmt: skip
        for name, ended in zip(self.names, both, strict=True):
            if ended.kind in ("crash", "killed"):
                return Outputs(crash=f"{name}: it crashes the runtime: {ended.reason}")
        for name, ended in zip(self.names, both, strict=True):
            if ended.kind:
                return Outputs(reason=f"{name}: {_reason(ended)}")
        folders = {side: str(one.job.scratch / "out")
                   for side, one in zip(("old", "new"), both, strict=True)}  # fmt: skip
        (ended,) = self._all([{"do": "agree", "plan": plan, **folders}])
        if ended.kind:
            return Outputs(reason=_reason(ended))
        agreement = json.loads((ended.job.scratch / "out" / "agree.json").read_text())
        data = f"random (seed {SEED})" if self.data is None else self.data.name
        if plan["ignored"]:
            data += f" without {', '.join(plan['ignored'])}"
        return Outputs("", "", plan["samples"], data, tuple(agreement))

    def _all(self, requests: list[dict[str, Any]]) -> list[Ended]:
        """Actions side by side, each in a process of its own; in their order."""
        jobs = {}
        for index, params in enumerate(requests):
            request = {"stage": "diff", "params": params, "inputs": {}, "timeout": TIMEOUT}
            jobs[self.workers.submit(f"{params['do']}-{index}", "lite", request).identity] = index
        found: dict[int, Ended] = {}
        while len(found) < len(requests):
            for ended in self.workers.wait():
                found[jobs[ended.job.identity]] = ended
            if self.workers.interrupted:
                raise KeyboardInterrupt
        return [found[index] for index in range(len(requests))]


def _reason(ended: Ended) -> str:
    if ended.kind in ("crash", "killed"):
        return f"reading them failed: {ended.reason}"
    if ended.kind == "fault":
        return f"a fault in tflbuild itself, please report it: {ended.reason}"
    return ended.reason
