"""One build from beginning to end: lock, record, graph, runner, publish, record again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.engine.events import BuildDone, Counts, Listener, Note
from tflbuild.engine.lock import workspace_lock
from tflbuild.engine.record import (
    ModelRecord,
    Record,
    common_entries,
    entry,
    hashed_entry,
    place,
)
from tflbuild.errors import UsageError

if TYPE_CHECKING:
    from tflbuild.engine.files import FileDigests
    from tflbuild.engine.runner import Result
    from tflbuild.engine.zygote import ZygotePool
    from tflbuild.graph import Graph
    from tflbuild.manifest.model import Workspace
    from tflbuild.selectors import Selection

PRIVATE = ".tflbuild"


@dataclass(frozen=True)
class Options:
    """What a build was asked for."""

    selectors: tuple[str, ...] = ()
    until: str = "release"  # or "validate", "evaluate": up to that stage and its gate
    jobs: int = 0  # 0: one for each core
    keep_going: bool = False
    force: bool = False
    cwd: Path = field(default_factory=Path.cwd)
    pool: ZygotePool | None = None  # workers kept from an earlier build


@dataclass(frozen=True)
class Outcome:
    """What a build came to. `result`, `graph` and `state` facts are None when nothing was done."""

    done: BuildDone
    result: Result | None = None
    graph: Graph | None = None
    released: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        if self.done.interrupted:
            return 130
        return 1 if self.done.counts.failed or self.done.counts.skipped else 0


def build(manifest: Path, options: Options, listen: Listener) -> Outcome:
    """Build what `options` select in the workspace of `manifest`.

    Raises ManifestErrors and UsageError before anything is done; failures of tasks and gates
    are in the outcome.
    """
    if sys.platform != "linux":
        raise UsageError(
            f"building is supported on Linux alone for now, not on {sys.platform}; check, plan,"
            " graph and schema work here"
        )
    started = time.monotonic()
    root = Path(os.path.realpath(manifest.parent))
    private = root / PRIVATE

    def waiting(holder: str) -> None:
        listen(Note(f"waiting for the lock of this workspace, held by {holder}"))

    with workspace_lock(private / "lock", waiting):
        record = Record.load(private / "record.json")
        placed = record.same_place()
        plain = not options.selectors and not options.force and options.until == "release"
        if placed and plain and record.same_manifests(str(root)):
            clean = record.clean_models(str(root))
            if clean.issuperset(record.names) and _outputs_hold(root, record):
                counts = Counts(up_to_date=sum(m.tasks for m in record.models.values()))
                done = BuildDone(counts, time.monotonic() - started)
                _refresh(private, record, root)
                listen(done)
                return Outcome(done)
        return _slow(manifest, root, private, options, listen, record if placed else Record(),
                     started)  # fmt: skip


def _outputs_hold(root: Path, record: Record) -> bool:
    from tflbuild.engine.record import unchanged

    return unchanged(str(root), record.outputs)


def _refresh(private: Path, record: Record, root: Path) -> None:
    """Entries that were young when recorded and are not any more need no hash next time."""
    young = False
    groups = [("/", record.common), (str(root), record.manifests), (str(root), record.outputs)]
    groups += [(str(root), model.entries) for model in record.models.values()]
    for base, entries in groups:
        for index, old in enumerate(entries):
            if len(old) > 1 and old[5] is not None:
                new = entry(base, old[0])
                if new[:5] == old[:5]:
                    entries[index] = new
                    young = True
    if young:
        _write_record(private, record)


def _write_record(private: Path, record: Record) -> None:
    temporary = private / "record.json.tmp"
    temporary.write_bytes(record.dump())
    temporary.replace(private / "record.json")


def _slow(
    manifest: Path,
    root: Path,
    private: Path,
    options: Options,
    listen: Listener,
    record: Record,
    started: float,
) -> Outcome:
    """Parse, decide by digests, run what must run."""
    from tflbuild.engine.decide import Decider
    from tflbuild.engine.files import FileDigests
    from tflbuild.engine.publish import publish, withdraw
    from tflbuild.engine.runner import Folders, Runner
    from tflbuild.engine.state import State
    from tflbuild.engine.summary import write_summary
    from tflbuild.engine.workers import Workers
    from tflbuild.graph import artifacts_of, build_graph
    from tflbuild.manifest.load import load_workspace, section_digest
    from tflbuild.selectors import select
    from tflbuild.store.local import Store
    from tflbuild.store.toolchain import Toolchain

    read_at = time.time_ns()
    workspace = load_workspace(manifest, options.cwd)
    selection = select(workspace, options.selectors, options.until, options.cwd)
    sections = {model.name: section_digest(model, workspace) for model in workspace.models}
    clean: set[str] = set()
    if not options.force and options.until == "release":
        clean = {
            name
            for name in record.clean_models(str(root))
            if sections.get(name) == record.models[name].section
        }
    by_name = {model.name: model for model in workspace.models}
    work = [by_name[name] for name in selection.models if name not in clean]
    graph = build_graph(workspace, work)
    selected = [name for name in selection.tasks if name in graph.steps]

    store = Store(private / "store")
    store.prepare()
    state, note = State.open(private / "state.sqlite")
    if note:
        listen(Note(note))
    with closing(state):
        digests = FileDigests(root, state)
        forced = _forced(options, selection, graph, selected)
        decider = Decider(root, state, store, digests, Toolchain(), forced)
        folders = Folders(
            f"{workspace.build_dir}/reports", f"{workspace.build_dir}/logs", workspace.dist_dir
        )
        with Workers(private / "work", root / folders.logs, options.pool) as workers:
            runner = Runner(
                graph, decider, workers, folders, listen,
                options.jobs or os.cpu_count() or 1, options.keep_going,
            )  # fmt: skip
            try:
                result = runner.run(selected)
            finally:
                digests.save()
                if not options.selectors and options.until == "release":
                    wanted = [a for model in workspace.models for a in artifacts_of(model)]
                    withdraw(root, state, digests, wanted, lambda text: listen(Note(text)))
                indexes = publish(root, workspace.dist_dir, state, store)
                digests.save()
        released = state.released()
        summary = write_summary(workspace, graph, runner.result, state, store)
        if options.until == "release":
            _record(
                private, root, record, workspace, graph, result, digests, sections, clean,
                [*indexes, summary], read_at,
            )  # fmt: skip
    counts = result.counts()
    counts.up_to_date += sum(
        record.models[name].tasks for name in clean if name in selection.models
    )
    stale = tuple(
        str(a) for model in work for a in artifacts_of(model)
        if str(a) in released and f"release:{a}" in selected
        and not result.passed(f"release:{a}")
    )  # fmt: skip
    done = BuildDone(
        counts, time.monotonic() - started, result.interrupted, len(graph.steps), stale
    )
    listen(done)
    return Outcome(done, result, graph, released)


def _forced(
    options: Options, selection: Selection, graph: Graph, selected: Iterable[str]
) -> frozenset[str]:
    """`-B`: the tasks that were named, or else everything that the selected tasks need."""
    if not options.force:
        return frozenset()
    if selection.named and selection.named == frozenset(selected):
        return selection.named
    forced: set[str] = set()
    queue = list(selected)
    while queue:
        name = queue.pop()
        if name not in forced:
            forced.add(name)
            queue += graph.steps[name].depends
    return frozenset(forced)


def _record(
    private: Path,
    root: Path,
    record: Record,
    workspace: Workspace,
    graph: Graph,
    result: Result,
    digests: FileDigests,
    sections: Mapping[str, str],
    clean: set[str],
    outputs: list[str],
    read_at: int,
) -> None:
    """Write down what was seen, so that the next build of nothing need not look again."""
    models = {name: record.models[name] for name in clean}
    by_model: dict[str, list[Any]] = {}
    for step in graph.steps.values():
        by_model.setdefault(step.model.name, []).append(step)
    for name, steps in by_model.items():
        if all(result.passed(step.name) for step in steps):
            entries = _entries(root, workspace, steps, digests)
            if entries is not None:
                models[name] = ModelRecord(sections[name], len(steps), entries)
    manifests = [
        entry(str(root), path) for path in sorted({*workspace.manifests, *workspace.listed})
    ]
    # One that changed since it was read must be read again.
    fresh = [e for e in manifests if len(e) == 1 or max(e[2], e[3]) >= read_at]
    _write_record(
        private,
        Record(
            place(),
            common_entries(),
            [] if fresh else manifests,
            [entry(str(root), path) for path in sorted(outputs)],
            [model.name for model in workspace.models],
            models,
        ),
    )


def _entries(
    root: Path, workspace: Workspace, steps: Iterable[Any], digests: FileDigests
) -> list[Any] | None:
    """The entries of one model; None when its source is not what the graph was built from."""
    from tflbuild.graph import lowering_inputs

    files: dict[str, Any] = {}
    base = str(root)
    for step in steps:
        if step.stage == "lower":
            for folder in step.folders:
                files[folder] = entry(base, folder)
            if lowering_inputs(root, step.model).files != step.files:
                return None
        for path in step.files.values():
            seen = digests.seen(path)
            if seen is None:
                return None
            files[path] = hashed_entry(path, seen)
        if step.report is not None:
            path = f"{workspace.build_dir}/reports/{step.report}"
            files[path] = entry(base, path)
        if step.stage == "release":
            path = f"{workspace.dist_dir}/{step.artifact.file}"
            files[path] = entry(base, path)
    return [files[path] for path in sorted(files)]


__all__ = ["Options", "Outcome", "build"]

