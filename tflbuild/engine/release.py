"""What the parent does itself: released files and the files of a runtime go into `dist/`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping

from tflbuild.custom_runtime import FOLDER
from tflbuild.engine import events
from tflbuild.engine.decide import UP_TO_DATE, Decider, Decision
from tflbuild.engine.dist import Dist
from tflbuild.engine.events import TaskDone
from tflbuild.engine.publish import move_away
from tflbuild.engine.state import Beside, Outputs, Released
from tflbuild.stages.base import Request
from tflbuild.step import EMITTED, OP_LIST, STAGES, Step
from tflbuild.store.digest import file_digest


class Releaser:
    """Does the tasks `release` and `runtime`, each committed with the files it vouches for."""

    def __init__(self, decider: Decider, folder: str) -> None:
        self.decider = decider
        self.root = decider.root
        self.store = decider.store
        self.state = decider.state
        self.folder = folder  # dist, relative to the root
        self.dist = Dist(self.root, self.store, self.state, decider.digests)
        self.released = self.state.released()
        self.beside: dict[str, list[Beside]] = {}
        for row in self.state.beside():
            self.beside.setdefault(row.task, []).append(row)

    def release(self, step: Step) -> TaskDone | None:
        """None when the files lie there already. Raises TaskError and DamagedBlob."""
        inputs = self.decider.inputs(step)
        action = self.decider.action(step, inputs)
        key, artifact = action.key(), step.artifact
        digest = inputs.keyed["model.tflite"]
        path = f"{self.folder}/{artifact.file}"
        emitted = {
            f"{self.folder}/{artifact.target}/{name.removeprefix(EMITTED)}": value
            for name, value in inputs.keyed.items()
            if name.startswith(EMITTED)
        }
        wanted = {**emitted, path: digest}
        last, vouched = self.decider.last.get(step.name), self.released.get(str(artifact))
        forced, rows = step.name in self.decider.forced, self.beside.get(step.name, [])
        outputs = self._kept(step)
        same = (
            last is not None
            and last.key == key
            and vouched is not None
            and vouched.path == path
            and {row.path: row.sha256 for row in rows} == emitted
        )
        wrong = self.dist.wrong(wanted)
        if same and not wrong and not forced:
            self.decider.settle(step, key, outputs)
            return None
        own = [path] if vouched is not None else []
        self.dist.check(wanted, [*own, *(row.path for row in rows)])
        why: tuple[str, ...] = (wrong,)
        if not same:
            why = self.decider.why(step, action) or (f"{path} was not released",)
        if forced:
            why = ("forced",)
        started = time.monotonic()
        self.dist.put(wanted, again=not same or forced)
        self.dist.take_beside(rows, keep=emitted)
        if vouched is not None and vouched.path != path:
            move_away(self.root, vouched, self.decider.digests)
        size = (self.root / path).stat().st_size
        released = Released(str(artifact), artifact.target, path, digest, size)
        seconds = time.monotonic() - started
        beside = self._rows(step, emitted)
        self.state.commit(
            step.name, key, action.parts(), outputs, list(why), seconds, 0, released, beside
        )
        self.released[str(artifact)] = released
        self.beside[step.name] = beside
        self.decider.settle(step, key, outputs)
        outcome = events.RESTORED if same and not forced else events.RAN
        return TaskDone(step.name, outcome, seconds, why)

    def _kept(self, step: Step) -> Outputs:
        """The operators of the file: who describes `dist/` later asks for those of the file that
        lies there, which may be an older one than compat last saw."""
        return {
            name: self.decider.rows[port.task].outputs[name]
            for port in step.ports
            for name in port.outputs
            if name == OP_LIST
        }

    def _rows(self, step: Step, files: Mapping[str, str]) -> list[Beside]:
        assert step.target is not None
        return [
            Beside(path, step.target, step.name, digest, (self.root / path).stat().st_size)
            for path, digest in sorted(files.items())
        ]

    # the files of a runtime

    def make(self, step: Step, decision: Decision) -> Outputs:
        """Run the stage in this process. Raises DamagedBlob and TaskError."""
        for digest in decision.inputs.blobs.values():
            self.store.read(digest)  # whole
        paths = {name: self.store.path(d) for name, d in decision.inputs.blobs.items()}
        out = self.store.temporary / "runtime"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        STAGES[step.does].run(Request(decision.action.params, paths, out))
        outputs: Outputs = {}
        for file in sorted(out.iterdir()):
            digest, size = file_digest(file), file.stat().st_size
            self.store.adopt(file, digest)
            outputs[file.name] = (digest, size)
        out.rmdir()
        return outputs

    def place(
        self, step: Step, decision: Decision, outputs: Outputs, seconds: float = 0.0
    ) -> TaskDone | None:
        """Bring `dist/<target>/runtime/` in line and commit; None when nothing was to do. Raises
        TaskError and DamagedBlob."""
        folder = f"{self.folder}/{step.target}/{FOLDER}"
        wanted = {f"{folder}/{name}": digest for name, (digest, _) in outputs.items()}
        rows = self.beside.get(step.name, [])
        why, outcome = decision.why, events.RAN if decision.outputs is None else events.RESTORED
        if decision.verdict == UP_TO_DATE:
            wrong = self.dist.wrong(wanted)
            if not wrong and {row.path: row.sha256 for row in rows} == wanted:
                self.decider.settle(step, decision.key, outputs)
                return None
            why = (wrong or f"{folder} was not released",)
        self.dist.check(wanted, [row.path for row in rows])
        started = time.monotonic()
        self.dist.put(wanted)
        self.dist.take_beside(rows, keep=wanted)
        beside = self._rows(step, wanted)
        seconds += time.monotonic() - started
        self.state.commit(
            step.name, decision.key, decision.action.parts(), outputs, list(why), seconds, 0,
            beside=beside,
        )  # fmt: skip
        self.beside[step.name] = beside
        self.decider.settle(step, decision.key, outputs)
        return TaskDone(step.name, outcome, seconds, why)

    def withdraw(self, task: str) -> None:
        """The files of a runtime describe what lies in `dist/`, or they are not there."""
        self.dist.take_beside(self.beside.pop(task, []))
