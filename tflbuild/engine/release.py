"""What the parent does itself: released files and the files of a runtime go into `dist/`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping

from tflbuild.custom_runtime import FOLDER
from tflbuild.engine import events
from tflbuild.engine.decide import RUN, UP_TO_DATE, Decider, Decision
from tflbuild.engine.dist import Dist
from tflbuild.engine.events import TaskDone
from tflbuild.engine.publish import move_away
from tflbuild.engine.state import Beside, Outputs, Released
from tflbuild.errors import TaskError
from tflbuild.stages.base import Request
from tflbuild.step import EMITTED, OP_LIST, STAGES, Step
from tflbuild.store.digest import file_digest
from tflbuild.store.local import DamagedBlob


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

    def bring(self, step: Step, decision: Decision) -> TaskDone | None:
        """Make the files where they are not known, and place them. Raises as those do."""
        started = time.monotonic()
        outputs = decision.outputs
        if outputs is None:
            outputs = self.make(step, decision)
        return self.place(step, decision, outputs, time.monotonic() - started)

    def finish(self, step: Step) -> tuple[TaskDone | None, str]:
        """The same at the end of a build, when no worker can be asked; with why it cannot be done,
        in which case the files are gone."""
        problem = "its inputs in the store are damaged: build again"
        for _ in range(2):
            try:
                decision = self.decider.decide(step)
                if not decision.inputs.keyed:
                    problem = f"no file of target {step.target} is released"
                elif decision.verdict == RUN and decision.inputs.sources:
                    problem = "a released file has to be read: build again"
                else:
                    return self.bring(step, decision), ""
                break
            except DamagedBlob as error:
                self.state.forget_blob(error.digest)
                self.store.discard(error.digest)
                self.decider.last = self.state.tasks()
            except TaskError as error:
                problem = str(error)
                break
        self.withdraw(step.name)
        return None, problem

    def place(
        self, step: Step, decision: Decision, outputs: Outputs, seconds: float = 0.0
    ) -> TaskDone | None:
        """Bring `dist/<target>/runtime/` in line and commit; None when nothing was to do. Raises
        TaskError and DamagedBlob."""
        folder = f"{self.folder}/{step.target}/{FOLDER}"
        wanted = {f"{folder}/{name}": digest for name, (digest, _) in outputs.items()}
        rows = self.own(step.name)
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
        self._forget(step.name, rows)
        self.beside.setdefault(step.name, []).extend(beside)
        self.decider.settle(step, decision.key, outputs)
        return TaskDone(step.name, outcome, seconds, why)

    def withdraw(self, task: str) -> None:
        """The files of a runtime describe what lies in `dist/`, or they are not there."""
        rows = self.own(task)
        self.dist.take_beside(rows)
        self._forget(task, rows)

    def own(self, task: str) -> list[Beside]:
        """The files of a runtime that are this build's to change. Those elsewhere belong to another
        root manifest in the same folder, as long as files of its own lie beside them."""
        used = {row.path.rpartition("/")[0] for row in self.released.values()}
        return [
            row
            for row in self.beside.get(task, [])
            if row.path.startswith(f"{self.folder}/")
            or row.path.rpartition(f"/{FOLDER}/")[0] not in used
        ]

    def _forget(self, task: str, rows: list[Beside]) -> None:
        self.beside[task] = [row for row in self.beside.get(task, []) if row not in rows]
