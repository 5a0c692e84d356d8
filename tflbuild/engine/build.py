"""One build from beginning to end: lock, record, graph, runner, publish, record again."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.engine.events import BuildDone, BuildStarted, Counts, Listener, Note
from tflbuild.engine.files import Stat
from tflbuild.engine.lock import workspace_lock
from tflbuild.engine.record import (
    Entry,
    ModelRecord,
    Record,
    common_entries,
    entry,
    hashed_entry,
    place,
    unchanged,
    variables_now,
)
from tflbuild.errors import ManifestErrors, UsageError

if TYPE_CHECKING:
    from tflbuild.engine.files import FileDigests
    from tflbuild.engine.runner import Result
    from tflbuild.engine.state import Beside, Released, State
    from tflbuild.engine.zygote import ZygotePool
    from tflbuild.graph import Graph
    from tflbuild.manifest.model import Workspace
    from tflbuild.step import Step

PRIVATE = ".tflbuild"

# A file's time stamp is that of the last tick of the kernel's clock: up to this much (ns) earlier
# than the moment it was written.
TICK = 100_000_000
# Faults of the place, not of tflbuild.
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


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
    judge: bool = False  # judge every selected gate again, for a report, though nothing changed


@dataclass(frozen=True)
class Outcome:
    """What a build came to. `result`, `graph` and `state` facts are None when nothing was done."""

    done: BuildDone
    result: Result | None = None
    graph: Graph | None = None
    released: Mapping[str, Any] = field(default_factory=dict)
    wrong: ManifestErrors | None = None  # with keep_going: of models that were left out
    selected: tuple[str, ...] = ()  # the tasks that the build aimed at
    clean: tuple[str, ...] = ()  # selected models that it did not look at: nothing of them changed

    @property
    def exit_code(self) -> int:
        if self.done.interrupted:
            return 130
        if self.wrong is not None:
            return self.wrong.exit_code
        return 1 if self.done.counts.failed or self.done.counts.skipped else 0


def build(manifest: Path, options: Options, listen: Listener) -> Outcome:
    """Build what `options` select in the workspace of `manifest`.

    Raises ManifestErrors and UsageError before anything is done (UsageError also later, when
    the workspace cannot be written); failures of tasks and gates are in the outcome.
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

    try:
        with _terminable(), workspace_lock(private / "lock", waiting):
            record = Record.load(private / "record.json")
            if not record.same_place():
                record = Record()
            elif _nothing_to_do(root, private, manifest, options, record):
                counts = Counts(up_to_date=sum(m.tasks for m in record.models.values()))
                done = BuildDone(counts, time.monotonic() - started)
                _refresh(private, record)
                listen(done)
                return Outcome(done)
            return _sound_state(manifest, root, private, options, listen, record, started)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise UsageError(f"the workspace cannot be written: {error}") from error


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM is like ^C wherever no workers run (who hold both back until a task's end)."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _nothing_to_do(
    root: Path, private: Path, manifest: Path, options: Options, record: Record
) -> bool:
    """The record shows that everything that is asked for is there."""
    if options.selectors or options.force or options.judge or options.until != "release":
        return False
    if (private / "work").exists():  # a build was killed: there is something to clear up
        return False
    base = str(root)
    return (
        record.same_manifests(base, manifest.name)
        and unchanged(base, record.outputs)
        and record.clean_models(base).issuperset(record.names)
    )


def _refresh(private: Path, record: Record) -> None:
    """Entries that were young when recorded and are not any more need no hash next time."""
    now, aged = time.time_ns(), False
    groups = [record.common, record.manifests, record.outputs]
    for entries in [*groups, *(model.entries for model in record.models.values())]:
        for old in entries:
            if len(old) > 1 and old[5] is not None and not Stat(*old[1:5]).young(now):
                old[5] = None
                aged = True
    if aged:
        (private / "work").mkdir()
        _write_record(private, record)
        (private / "work").rmdir()


def _write_record(private: Path, record: Record) -> None:
    """In the folder of work: what a kill leaves there, the next build clears up."""
    temporary = private / "work" / "record.json"
    temporary.write_bytes(record.dump())
    temporary.replace(private / "record.json")


def _sound_state(
    manifest: Path,
    root: Path,
    private: Path,
    options: Options,
    listen: Listener,
    record: Record,
    started: float,
) -> Outcome:
    """The slow way; once more without a state file that turns out to be damaged."""
    from sqlite3 import DatabaseError, OperationalError

    from tflbuild.engine.state import set_aside

    try:
        return _slow(manifest, root, private, options, listen, record, started)
    except OperationalError as error:  # locked, read-only, disk full
        raise UsageError(f"{private / 'state.sqlite'}: {error}") from error
    except DatabaseError as error:
        listen(Note(set_aside(private / "state.sqlite", error)))
        return _slow(manifest, root, private, options, listen, Record(), started)


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
    from tflbuild.engine.lying import Lying
    from tflbuild.engine.publish import adopt, publish, superfluous, withdraw
    from tflbuild.engine.runner import Folders, Runner
    from tflbuild.engine.state import State
    from tflbuild.engine.summary import blockers, summary_path, write_summary
    from tflbuild.engine.workers import Workers
    from tflbuild.graph import artifacts_of, build_graph, environments
    from tflbuild.lockfile import LOCK, digests_by_model
    from tflbuild.lockfile import read as read_lock
    from tflbuild.manifest.digest import section_digest, target_digest
    from tflbuild.manifest.load import load_workspace
    from tflbuild.manifest.problems import Problems
    from tflbuild.manifest.root import MANIFEST, stray_manifest
    from tflbuild.selectors import forced_tasks, select
    from tflbuild.store.local import Store
    from tflbuild.store.toolchain import Toolchain

    # What stood before anything was read: a change from now on is seen by the next build.
    fresh = Record(manifest=manifest.name, place=place(), common=common_entries())
    read_at = time.time_ns()
    lock_entry = entry(str(root), LOCK)
    workspace = load_workspace(manifest, options.cwd)
    locked = read_lock(root)
    stray = stray_manifest(workspace, options.cwd)
    if stray is not None and manifest.name == MANIFEST:
        listen(Note(stray))
    selection = select(workspace, options.selectors, options.until, options.cwd)
    folders = Folders(
        f"{workspace.build_dir}/reports", f"{workspace.build_dir}/logs", workspace.dist_dir,
        f"{workspace.build_dir}/generated",
    )  # fmt: skip
    releases = digests_by_model(locked)  # of another last release, a model is judged again
    sections = {
        model.name: f"{section_digest(model, workspace)} {folders} {releases.get(model.name, '')}"
        for model in workspace.models
    }
    artifacts = [artifact for model in workspace.models for artifact in artifacts_of(model)]
    shared = environments(workspace)  # whose tasks belong to no model
    for target, own in shared.items():
        digest = target_digest(workspace.targets[target], map(str, own))
        sections[f"runtime:{target}"] = f"{digest} {folders}"

    store = Store(private / "store")
    store.prepare()
    with closing(State.open(private / "state.sqlite")) as state:
        digests = FileDigests(root, state)
        if state.token() != record.token:  # it is not the state that the record speaks of
            record = Record()
        clean: set[str] = set()
        summary = [e for e in record.outputs if e[0] == summary_path(workspace)]
        written = bool(summary) and unchanged(str(root), summary)  # by us, and as it was
        if not options.force and options.until == "release":
            if written:  # its entries of clean models are kept
                clean = {
                    name
                    for name in record.clean_models(str(root))
                    if sections.get(name) == record.models[name].section
                }
        if options.judge:
            clean -= {*selection.models, *selection.tasks}  # also runtimes, which no model owns
        by_name = {model.name: model for model in workspace.models}
        work = [by_name[name] for name in selection.models if name not in clean]
        touched = {artifact.target for model in work for artifact in artifacts_of(model)}
        aims = [  # a runtime is as it was where no file of its target can change
            task for task in selection.tasks
            if task not in clean or task.partition(":")[2] in touched
        ]  # fmt: skip
        problems = Problems()
        graph = build_graph(workspace, work, problems if options.keep_going else None, aims)
        if not graph.steps:  # nothing to go on with
            problems.raise_any()
        selected = [name for name in aims if name in graph.steps]
        whole = not options.selectors and options.until == "release"
        forced = forced_tasks(selection, graph, selected) if options.force else frozenset()
        # Only now, when the state has been read whole: a damaged one begins anew.
        adopt(root, workspace.dist_dir, state)
        leaving = superfluous(state, artifacts, workspace.dist_dir) if whole else []
        lying = Lying(
            workspace.dist_dir, state, digests, frozenset(row.artifact for row in leaving)
        )
        decider = Decider(root, state, store, digests, Toolchain(), lying, forced)
        publish(root, workspace.dist_dir, state, store, digests)  # a killed build did not
        with Workers(private / "work", root / folders.logs, options.pool) as workers:
            runner = Runner(
                graph, decider, workers, folders, listen,
                options.jobs or os.cpu_count() or 1, options.keep_going, locked,
            )  # fmt: skip
            listen(BuildStarted(len(graph.needed(selected))))
            try:
                result = runner.run(selected)
            finally:
                digests.save()
                if whole:
                    tasks = {f"release:{artifact}" for artifact in artifacts}
                    tasks |= {f"runtime:{target}" for target in shared}
                    withdraw(
                        runner.releaser.dist,
                        artifacts,
                        tasks,
                        workspace.dist_dir,
                        lambda text: listen(Note(text)),
                    )
                fresh.outputs = [
                    entry(str(root), path)
                    for path in publish(root, workspace.dist_dir, state, store, digests)
                ]
                digests.save()
            released = state.released()
            summary_at = write_summary(workspace, graph, runner.result, state, store, written)
            fresh.outputs.append(entry(str(root), summary_at))
            if options.until == "release":
                fresh.names = list(sections)
                if manifests := _manifests(root, workspace, read_at):
                    fresh.manifests = [*manifests, lock_entry]
                fresh.models = {n: record.models[n] for n in clean if n not in graph.steps}
                fresh.models.update(
                    _models(root, workspace, graph, result, digests, sections, state)
                )
                fresh.token = state.new_token()
                _write_record(private, fresh)
                digests.save()
    counts = result.counts()
    counts.up_to_date += sum(
        record.models[name].tasks for name in clean
        if name in selection.models or (name in selection.tasks and name not in graph.steps)
    )  # fmt: skip
    stale = tuple(
        str(a) for model in work for a in artifacts_of(model)
        if str(a) in released and f"release:{a}" in selected
        and blockers(graph, result, graph.steps[f"release:{a}"])
    )  # fmt: skip
    done = BuildDone(
        counts, time.monotonic() - started, result.interrupted, len(graph.steps), stale
    )
    listen(done)
    untouched = tuple(name for name in selection.models if name in clean)
    return Outcome(done, result, graph, released, problems.errors(), tuple(selected), untouched)


def _manifests(root: Path, workspace: Workspace, read_at: int) -> list[Entry]:
    """The entries of all manifests; none when one may have changed since it was read."""
    entries = [entry(str(root), path) for path in sorted({*workspace.manifests, *workspace.listed})]
    late = any(len(e) == 1 or max(e[2], e[3]) >= read_at - TICK for e in entries)
    return [] if late else entries


def _models(
    root: Path,
    workspace: Workspace,
    graph: Graph,
    result: Result,
    digests: FileDigests,
    sections: Mapping[str, str],
    state: State,
) -> dict[str, ModelRecord]:
    """What was seen of the models that are wholly built and released, and of the tasks that
    belong to none."""
    by_owner: dict[str, list[Step]] = {}
    for step in graph.steps.values():
        by_owner.setdefault(step.owner.name if step.owner else step.name, []).append(step)
    released = state.released()
    beside: dict[str, list[Beside]] = {}
    for row in state.beside():
        beside.setdefault(row.task, []).append(row)
    models = {}
    for name, steps in by_owner.items():
        if all(result.passed(step.name) for step in steps):
            vouched: list[Released | Beside] = []
            for step in steps:
                vouched += [released[str(step.artifact)]] if step.stage == "release" else []
                vouched += beside.get(step.name, [])
            entries = _entries(root, workspace, steps, digests, vouched)
            if entries is not None:
                owner = steps[0].owner
                variables = variables_now(owner.variables if owner else ())
                models[name] = ModelRecord(sections[name], len(steps), entries, variables)
    return models


def _entries(
    root: Path,
    workspace: Workspace,
    steps: Iterable[Step],
    digests: FileDigests,
    vouched: Iterable[Released | Beside],
) -> list[Entry] | None:
    """The entries of one model, or of a task of none; None when its source is not what the graph
    was built from, or an output is not what the build left."""
    from tflbuild.engine.shown import shown_paths
    from tflbuild.errors import TaskError
    from tflbuild.graph import still_listed

    files: dict[str, Entry] = {}
    base = str(root)
    for step in steps:
        if step.stage in ("data", "lower", "generate", "validate"):
            for folder in step.folders:
                files[folder] = entry(base, folder)
            if not still_listed(root, step):
                return None
        if step.stage == "generate":
            for path in shown_paths(f"{workspace.build_dir}/generated", step.model.name):
                files[path] = entry(base, path)
        for path in step.files.values():
            seen = digests.seen(path)
            if seen is None:
                return None
            files[path] = hashed_entry(path, seen)
        if step.report is not None:
            path = f"{workspace.build_dir}/reports/{step.report}"
            files[path] = entry(base, path)
            if len(files[path]) == 1:  # gone already
                return None
    for row in vouched:
        try:
            if digests.digest(row.path) != row.sha256:
                return None
        except TaskError:
            return None
        seen = digests.seen(row.path)
        assert seen is not None
        files[row.path] = hashed_entry(row.path, seen)
    return [files[path] for path in sorted(files)]


__all__ = ["Options", "Outcome", "build"]
