"""Is a task up to date, and if not, why? The one decision that `build`, `plan` and `why` share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tflbuild.engine.files import FileDigests
from tflbuild.engine.lying import Lying
from tflbuild.engine.state import Outputs, State, TaskRow
from tflbuild.manifest.model import ImageData
from tflbuild.stages.generate import INPUT
from tflbuild.stages.runtime import MODEL, OPS
from tflbuild.step import OP_LIST, STAGES, UNSTABLE, Port, Step
from tflbuild.store.keys import Action, Change, compare
from tflbuild.store.local import Store
from tflbuild.store.toolchain import Toolchain

UP_TO_DATE = "up-to-date"
RESTORE = "restore"
RUN = "run"

MANY = 20  # differences that are named where a task runs: a folder of images has thousands

# Last bits of these depend on the CPU; lowered graphs and .tflite files do not.
CPU_BOUND = frozenset({"reference", "baseline", "validate", "benchmark", "debug"})


@dataclass(frozen=True)
class Inputs:
    """A step's inputs, resolved: digests for the key, and where the bytes are."""

    keyed: Mapping[str, str]
    blobs: Mapping[str, str]  # input name → digest in the store
    sources: Mapping[str, str]  # input name → path under the root


@dataclass(frozen=True)
class Decision:
    verdict: str  # UP_TO_DATE, RESTORE or RUN
    action: Action
    key: str
    inputs: Inputs
    outputs: Outputs | None  # known for UP_TO_DATE and RESTORE
    why: tuple[str, ...] = ()


class Decider:
    """Keys and verdicts for steps whose producers are settled (`rows` holds those)."""

    def __init__(
        self,
        root: Path,
        state: State,
        store: Store,
        digests: FileDigests,
        toolchain: Toolchain,
        lying: Lying,
        forced: frozenset[str] = frozenset(),
    ) -> None:
        self.root = root
        self.state = state
        self.store = store
        self.digests = digests
        self.toolchain = toolchain
        self.lying = lying
        self.forced = forced
        self.last = state.tasks()
        self.rows: dict[str, TaskRow] = {}  # tasks settled in this build

    def inputs(self, step: Step) -> Inputs:
        """Raises TaskError when a source file is gone or unreadable."""
        if step.stage == "runtime":
            return self._needs(step)
        keyed = {name: self.digests.digest(path) for name, path in step.files.items()}
        blobs: dict[str, str] = {}
        for port in step.ports:
            row = self.rows[port.task]
            for name, (digest, _) in row.outputs.items():
                if (known := port.name_of(name)) is not None:
                    blobs[known] = digest
                    keyed[known] = f"by action {row.key}" if name in UNSTABLE else digest
        return Inputs(keyed, blobs, dict(step.files))

    def _needs(self, step: Step) -> Inputs:
        """What describes the files that lie in `dist/<target>/` now: those that this build
        released, those that it left alone, and those whose renewal failed. The release of each
        keeps its operators; where nobody knows them any more, the file is read."""
        assert step.target is not None
        keyed: dict[str, str] = {}
        blobs: dict[str, str] = {}
        sources: dict[str, str] = {}
        for row in self.lying.of(step.target):
            file = row.path.rpartition("/")[2]
            release = self.last.get(f"release:{row.artifact}")
            if release is not None and OP_LIST in release.outputs:
                keyed[OPS + file] = blobs[OPS + file] = release.outputs[OP_LIST][0]
            else:
                keyed[MODEL + file] = row.sha256
                sources[MODEL + file] = row.path
        return Inputs(keyed, blobs, sources)

    def action(self, step: Step, inputs: Inputs) -> Action:
        stage = STAGES.get(step.does)
        if stage is None:  # release: done by the parent, with no toolchain
            return Action(step.stage, 1, step.params, inputs.keyed, {})
        return Action(
            step.does,
            stage.VERSION,
            step.params,
            inputs.keyed,
            self.toolchain.of(step.tools, cpu=step.stage in CPU_BOUND),
        )

    def decide(self, step: Step) -> Decision:
        inputs = self.inputs(step)
        action = self.action(step, inputs)
        key = action.key()
        last = self.last.get(step.name)
        if step.name in self.forced:
            return Decision(RUN, action, key, inputs, None, ("forced",))
        if last is not None and last.key == key:
            return Decision(UP_TO_DATE, action, key, inputs, last.outputs)
        why = self.why(step, action)
        known = self.state.action(key)
        if known is not None and all(self.store.has(digest) for digest, _ in known.values()):
            return Decision(RESTORE, action, key, inputs, known, why)
        return Decision(RUN, action, key, inputs, None, why)

    def why(self, step: Step, action: Action) -> tuple[str, ...]:
        """The parts of the key that differ from the last success."""
        changes = self.changes(step, action)
        if changes is None:
            return ("not built before",)
        shown = tuple(str(change) for change in changes[:MANY])
        more = len(changes) - len(shown)
        return (*shown, f"{more} more differences") if more else shown

    def changes(self, step: Step, action: Action) -> list[Change] | None:
        """The differing parts as values; None for a task that was never built."""
        parts = self.state.parts(step.name)
        if parts is None:
            return None
        return [
            replace(change, name=_input_name(step, change.part.removeprefix("inputs.")))
            for change in compare(parts, action.parts())
        ]

    def settle(self, step: Step, key: str, outputs: Outputs) -> None:
        """From now on consumers of this step read these outputs."""
        row = TaskRow(step.name, key, outputs)
        self.rows[step.name] = row
        self.last[step.name] = row


def _input_name(step: Step, name: str) -> str:
    """What a person calls an input: the path of a file, or whose output it is."""
    if name in step.files:
        return step.files[name]
    if step.stage == "runtime":
        return f"the list of operators of {name.partition('/')[2]}"
    if name.startswith("source/"):  # a file that has gone
        return f"{step.model.source.path}/{name.removeprefix('source/')}"
    if step.data is not None and not name.startswith("python/"):
        own = name.partition("/")[2]
        # Images are known by their path below the folder: one that came is shown with it.
        return f"{step.data.folder}/{own}" if own and isinstance(step.data, ImageData) else own
    if name.startswith("python/"):
        return name.removeprefix("python/")
    if name.startswith(INPUT):  # of a command
        return name.removeprefix(INPUT)
    for port in step.ports:
        output = name.removeprefix(port.prefix)
        if port.name_of(output) == name:
            return f"{output} of {port.task}"
    return name


def retry_inputs(
    store: Store, rows: Mapping[str, TaskRow], ports: Iterable[Port]
) -> dict[str, tuple[str, str | None]]:
    """What a retried conversion opens beyond its key: the source that a task made."""
    return {
        name: (str(store.path(digest)), digest)
        for port in ports
        for name, (digest, _) in rows[port.task].outputs.items()
        if any(fnmatchcase(name, pattern) for pattern in port.outputs)
    }


def request_inputs(
    root: Path, store: Store, inputs: Inputs, extra: Mapping[str, Any]
) -> dict[str, tuple[str, str | None]]:
    """What a child opens: (absolute path, digest to check or None for the user's own files)."""
    result: dict[str, tuple[str, str | None]] = {
        name: (str(root / path), None)
        for name, path in inputs.sources.items()
        if not name.startswith("source/")
    }
    result.update(
        {name: (str(store.path(digest)), digest) for name, digest in inputs.blobs.items()}
    )
    result.update({name: (str(root / path), None) for name, path in extra.items()})
    return result
