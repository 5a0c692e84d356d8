"""The runner: doit's graph, our state.

doit's `TaskControl` says which task is ready; this decides what each needs, hands actions to
workers, commits each success before it is told, and judges the gates. doit's own runners save
nothing before they finish, so none of them is used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from doit.control import TaskControl
from doit.task import Task

from tflbuild.custom_runtime import KINDS as CUSTOM_RUNTIMES
from tflbuild.engine import events
from tflbuild.engine.advice import crash_advice
from tflbuild.engine.decide import (
    RESTORE,
    RUN,
    Decider,
    Decision,
    request_inputs,
    retry_inputs,
)
from tflbuild.engine.events import (
    Counts,
    GateDone,
    Listener,
    Measured,
    TaskDone,
    TaskStarted,
)
from tflbuild.engine.files import Seen
from tflbuild.engine.judge import Judge, targets_of
from tflbuild.engine.progress import Progress
from tflbuild.engine.release import Releaser
from tflbuild.engine.shown import show
from tflbuild.engine.state import Outputs
from tflbuild.engine.workers import Ended, Job, Workers
from tflbuild.errors import TaskError, TflbuildError
from tflbuild.graph import Graph, environment_step, environments, still_listed
from tflbuild.lockfile import Locked
from tflbuild.step import STAGES, Step
from tflbuild.store.local import DamagedBlob
from tflbuild.verdict import Verdict, printable

MAX_ATTEMPTS = 3  # of an action whose input files change while it runs
MAX_PASSES = 8  # over the graph, when blobs turn out to be damaged


@dataclass
class Folders:
    """Where a build puts things, relative to the root."""

    reports: str
    logs: str
    dist: str
    generated: str = "build/generated"


@dataclass
class Pending:
    """A task that must run, waiting for a slot or running."""

    node: Any  # doit's ExecNode
    step: Step
    decision: Decision
    seen: Mapping[str, Seen | None]  # its input files, as they stood when that was decided
    retry: bool = False
    attempts: int = 1
    first_failure: str = ""


@dataclass
class Result:
    """What the runner found out, task by task."""

    outcomes: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    measured: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # bytes of each converted file, by task
    files: dict[str, str] = field(default_factory=dict)  # its SHA-256, by task
    # Before conversion: model → target → what that target alone says.
    fits: Mapping[str, Mapping[str, Verdict]] = field(default_factory=dict)
    interrupted: bool = False

    def passed(self, task: str) -> bool:
        """The task is built and its gate, if it has one, passed."""
        good = (events.RAN, events.RESTORED, events.UP_TO_DATE)
        return self.outcomes.get(task) in good and (
            task not in self.verdicts or self.verdicts[task].passed
        )

    def counts(self) -> Counts:
        counts = Counts()
        for task, outcome in self.outcomes.items():
            counts.count(outcome)
            if task in self.verdicts and not self.verdicts[task].passed:
                counts.failed += 1
        return counts


def doit_tasks(graph: Graph) -> list[Task]:
    """The graph as doit's own tasks."""
    return [
        Task(step.name, None, task_dep=step.depends, meta={"step": step})
        for step in graph.steps.values()
    ]


class Runner:
    def __init__(
        self,
        graph: Graph,
        decider: Decider,
        workers: Workers,
        folders: Folders,
        listen: Listener,
        jobs: int,
        keep_going: bool,
        locked: Mapping[str, Locked],
    ) -> None:
        """`locked`: the last release."""
        self.graph = graph
        self.decider = decider
        self.root = decider.root
        self.store = decider.store
        self.state = decider.state
        self.workers = workers
        self.progress = Progress(decider.root, workers.work, jobs)
        self.folders = folders
        self.listen = listen
        self.jobs = jobs
        self.keep_going = keep_going
        self.result = Result()
        self.pending: deque[Pending] = deque()
        self.running: dict[int, Pending] = {}
        self.settled: deque[Any] = deque()  # nodes that doit has not been told about
        self.made: dict[str, Outputs] = {}  # by key: what ran in this build
        self.lost: set[str] = set()  # digests of damaged blobs
        self.postponed: set[str] = set()  # tasks that wait for those
        self.judge = Judge(graph.workspace, decider, locked)
        self.result.fits = self.judge.evaluations
        self.releaser = Releaser(decider, folders.dist)
        self.used: dict[tuple[str, str], str] = {}  # (model, file) → digest that went into it
        self.mixed: dict[str, str] = {}  # model → a file that two of its tasks saw differently
        self.stopping = False

    def run(self, selected: Iterable[str]) -> Result:
        """Build the selected tasks and what they need."""
        names = list(selected)
        for _ in range(MAX_PASSES):
            self._pass(names)
            if not self.lost or self.result.interrupted:
                break
            # A damaged blob: forget who made it, and walk the graph again. What was built
            # meanwhile is up to date.
            for digest in self.lost:
                self.state.forget_blob(digest)
                self.store.discard(digest)
            self.made.clear()
            self.lost.clear()
            self.postponed.clear()
            self.decider.last = self.state.tasks()
        for task in sorted(self.postponed):
            if self.graph.steps[task].stage == "runtime":
                continue  # for the end, below
            self._fail(task, "its inputs in the store are damaged again and again")
        self._finish_runtimes(names)
        return self.result

    # one walk over the graph

    def _pass(self, names: list[str]) -> None:
        self.settled.clear()  # of an earlier pass
        control = TaskControl(doit_tasks(self.graph))
        control.selected_tasks = names
        generator = control.task_dispatcher().generator
        exhausted = False
        while True:
            while not (self.stopping or exhausted or self.workers.interrupted):
                try:
                    node = generator.send(self.settled.popleft() if self.settled else None)
                except StopIteration:  # nobody waits for what still runs
                    exhausted = True
                    break
                if node != "hold on":
                    self._visit(node)
                elif not self.settled:
                    break
            if self.workers.interrupted:
                self.result.interrupted = True
                self.workers.end_all()
                self.running.clear()
                self.pending.clear()
                return
            while len(self.running) < self.jobs and not self.stopping and (ready := self._next()):
                self._start(ready)
            self.progress.tell_cores(len(self.running), len(self.pending))
            if self.running:
                for ended in self.workers.wait():
                    self._ended(self.running.pop(ended.job.identity), ended)
            elif self.stopping:
                self._skip_rest(names)
                return
            elif exhausted and not self.pending:
                return

    def _skip_rest(self, names: list[str]) -> None:
        """Another task failed: tell of everything that is not started for it."""
        self.pending.clear()
        for name in self.graph.needed(names):
            waits = self.graph.steps[name].stage == "runtime"  # for the end of the build
            if name not in self.result.outcomes and name not in self.postponed and not waits:
                self._skip(name, "not started: another task failed (use -k to go on)")

    def _visit(self, node: Any) -> None:
        step: Step = node.task.meta["step"]
        if self.result.outcomes.get(step.name) == events.FAILED:  # in an earlier pass
            self._settle(node, ok=False)
            return
        failed = [bad.task.name for bad in node.bad_deps]
        # What failed left an older file in dist, or none: a runtime is built for what lies there.
        if step.stage == "runtime" and not any(name in self.postponed for name in failed):
            failed = []
        if failed:
            node.run_status = "failure"
            self.settled.append(node)
            if any(name in self.postponed for name in failed):
                self.postponed.add(step.name)
            else:
                self._skip(step.name, f"needs {', '.join(sorted(failed))}")
            return
        try:
            if step.stage == "release":
                self._release(node, step)
                return
            if step.stage == "runtime":
                self._runtime(node, step)
                return
            if step.stage == "convert" and (refused := self.judge.refused(step)):
                raise TaskError(refused)
            decision = self.decider.decide(step)
        except TaskError as error:
            self._fail(step.name, str(error))
            self._settle(node, ok=False)
            return
        self._decided(node, step, decision)

    def _decided(self, node: Any, step: Step, decision: Decision) -> None:
        if decision.verdict == RUN:
            self.pending.append(self._pending(node, step, decision))
            return
        assert decision.outputs is not None
        try:
            verdict = self._judge(step, decision.outputs)
        except DamagedBlob as error:
            if error.digest not in {digest for digest, _ in decision.outputs.values()}:
                self._lose(node, step, error.digest)  # another task's output
                return
            self.state.forget_blob(error.digest)
            self.store.discard(error.digest)
            why = ("its output in the store is damaged or missing",)
            again = Decision(RUN, decision.action, decision.key, decision.inputs, None, why)
            self.pending.append(self._pending(node, step, again))
            return
        self._settle_outputs(step, decision, decision.outputs)
        if decision.verdict == RESTORE:
            self.state.commit(
                step.name, decision.key, decision.action.parts(), decision.outputs,
                list(decision.why), 0.0, 0,
            )  # fmt: skip
            self._done(TaskDone(step.name, events.RESTORED, why=decision.why))
        else:
            self.result.outcomes.setdefault(step.name, events.UP_TO_DATE)
        self._settle(node, self._tell(step.name, verdict))

    def _settle_outputs(self, step: Step, decision: Decision, outputs: Outputs) -> None:
        if "model.tflite" in outputs:
            self.result.files[step.name], self.result.sizes[step.name] = outputs["model.tflite"]
        self.decider.settle(step, decision.key, outputs)
        for name, path in step.files.items():
            digest = decision.inputs.keyed[name]
            if self.used.setdefault((step.model.name, path), digest) != digest:
                self.mixed[step.model.name] = path

    def _pending(self, node: Any, step: Step, decision: Decision, attempts: int = 1) -> Pending:
        node.run_status = "run"
        seen = {path: self.decider.digests.seen(path) for path in step.files.values()}
        return Pending(node, step, decision, seen, attempts=attempts)

    # running

    def _next(self) -> Pending | None:
        """The next task to start. Equal actions run once: the second waits for the first and
        takes its outputs."""
        if any(pending.step.alone for pending in self.running.values()):
            return None
        busy = {pending.decision.key for pending in self.running.values()}
        while True:
            free = (
                i for i, p in enumerate(self.pending)
                if p.decision.key not in busy and not p.step.alone
            )  # fmt: skip
            index = next(free, None)
            if index is None and self.pending and not self.running:
                index = 0  # what has to be alone, when there is nothing else left to start
            if index is None:
                return None
            pending = self.pending[index]
            del self.pending[index]
            made = self.made.get(pending.decision.key)
            if made is None or pending.step.name in self.decider.forced:
                return pending
            decision = replace(pending.decision, verdict=RESTORE, outputs=made)
            self._decided(pending.node, pending.step, decision)

    def _start(self, pending: Pending) -> None:
        step, decision = pending.step, pending.decision
        params = dict(decision.action.params)
        params.update(step.request.get("params", {}))
        inputs = request_inputs(
            self.root, self.store, decision.inputs, step.request.get("inputs", {})
        )
        if pending.retry:
            params.update(step.request["retry"])
            ports = step.request.get("retry_ports", ())
            inputs.update(retry_inputs(self.store, self.decider.rows, ports))
        job = self.workers.submit(
            step.name,
            STAGES[step.does].ZYGOTE,
            {
                "stage": step.does,
                "params": params,
                "inputs": inputs,
                "timeout": step.timeout,
                "env": step.request.get("retry_env" if pending.retry else "env", {}),
                "retry": pending.retry,
                "last": self.judge.last_interfaces(step),
                **self.progress.request(
                    step.stage, step.name, decision.key, pending.seen,
                    begin_anew=step.name in self.decider.forced and pending.attempts == 1,
                ),
            },
        )  # fmt: skip
        self.running[job.identity] = pending
        self.listen(TaskStarted(step.name))

    def _ended(self, pending: Pending, ended: Ended) -> None:
        try:
            self._handle_end(pending, ended)
        finally:
            self.workers.forget(ended.job)

    def _handle_end(self, pending: Pending, ended: Ended) -> None:
        step = pending.step
        if ended.kind == "corrupt":
            self._lose(pending.node, step, ended.digest)
            return
        if self._inputs_changed(pending):
            return
        if not ended.kind:
            self._commit(pending, ended.job, ended)
            return
        frozen = "lowered.pb" in pending.decision.inputs.blobs
        if "retry" in step.request and frozen and not pending.retry:
            if ended.kind in ("converter", "crash"):
                pending.retry = True
                pending.first_failure = ended.reason
                self.pending.appendleft(pending)
                return
        reason = ended.reason
        if ended.key == "source.path" and reason.startswith("it is not "):
            # The action knows it by another name.
            reason = f"{step.model.source.path}: {reason}" if step.model.source.path else reason
        if ended.key:
            reason = f"{step.position_of(ended.key)}: {reason}"
        if pending.first_failure and pending.first_failure != reason:
            reason = f"{reason} (by way of a SavedModel; frozen: {pending.first_failure})"
        if ended.kind == "crash":
            reason += crash_advice(step)
        if ended.kind in ("crash", "timeout", "killed"):
            reason += self.progress.goes_on(pending.decision.key)
        self._fail(step.name, reason, ended.seconds, self._log(step.name), pending.decision.why)
        self._settle(pending.node, ok=False)

    def _inputs_changed(self, pending: Pending) -> bool:
        """An input edited while its action ran: the result belongs to neither content."""
        step, digests = pending.step, self.decider.digests
        try:
            # What a retry reads beyond its key, and what no digest can tell.
            if pending.retry and self._source_changed(step):
                raise TaskError("its source changed while it ran: build again")
            if step.folders and not still_listed(self.root, step):
                raise TaskError("files came to or went from its source while it ran: build again")
            if all(digests.unchanged(path, seen) for path, seen in pending.seen.items()):
                return False
            if pending.attempts >= MAX_ATTEMPTS:
                raise TaskError("its input files change while it runs, again and again")
            decision = self.decider.decide(step)
        except (TflbuildError, OSError) as error:  # also a link that leads out by now
            self._fail(step.name, str(error))
            self._settle(pending.node, ok=False)
            return True
        if decision.verdict == RUN:  # also when the content is the old one again: which was read?
            attempts = pending.attempts + 1
            self.pending.appendleft(self._pending(pending.node, step, decision, attempts))
        else:
            self._decided(pending.node, step, decision)
        return True

    def _source_changed(self, step: Step) -> bool:
        source = self.graph.steps[f"lower:{step.model.name}"]
        return any(
            self.decider.digests.digest(path) != self.used.get((step.model.name, path))
            for path in source.files.values()
        )

    def _commit(self, pending: Pending, job: Job, ended: Ended) -> None:
        step, decision = pending.step, pending.decision
        outputs: Outputs = dict(ended.outputs)
        for name, (digest, _) in outputs.items():
            self.store.adopt(job.scratch / "out" / name, digest)
        if step.stage == "runtime":
            self._placed(pending, outputs, ended.seconds)
            return
        self.state.commit(
            step.name, decision.key, decision.action.parts(), outputs, list(decision.why),
            ended.seconds, ended.max_rss,
        )  # fmt: skip
        self.progress.forget(step.stage, decision.key)
        self.made[decision.key] = outputs
        self._settle_outputs(step, decision, outputs)
        self._done(
            TaskDone(
                step.name, events.RAN, ended.seconds, decision.why,
                log=self._log(step.name), max_rss=ended.max_rss,
            )
        )  # fmt: skip
        try:
            verdict = self._judge(step, outputs)
        except DamagedBlob as error:  # another task's output; or just written, already gone
            self._lose(pending.node, step, error.digest)
            return
        self._settle(pending.node, self._tell(step.name, verdict))

    def _placed(self, pending: Pending, outputs: Outputs, seconds: float) -> None:
        """A runtime's files, of a worker that opened a model for them."""
        step = pending.step
        try:
            done = self.releaser.place(step, pending.decision, outputs, seconds)
        except DamagedBlob as error:
            self._lose(pending.node, step, error.digest)
        except TaskError as error:
            self.releaser.withdraw(step.name)
            self._fail(step.name, str(error))
            self._settle(pending.node, ok=False)
        else:
            self._ended_here(pending.node, step, done)

    # gates and reports

    def _judge(self, step: Step, outputs: Outputs) -> Verdict | None:
        """Measurement against manifest, and the report for people. Raises DamagedBlob."""
        if step.stage == "generate":
            show(self.root / self.folders.generated, self.store, step.model.name, outputs)
        judgement = self.judge(step, outputs)
        if judgement is None:
            return None
        self.result.measured[step.name] = judgement.measured
        self.listen(Measured(step.name, judgement.measured, judgement.verdict))
        if step.report is not None:
            path = self.root / self.folders.reports / step.report
            self.store.write(path, judgement.report)
        return judgement.verdict

    def _tell(self, task: str, verdict: Verdict | None) -> bool:
        if verdict is None:
            return True
        self.result.verdicts[task] = verdict
        if verdict.findings:
            self.listen(GateDone(task, verdict))
        if not verdict.passed and not self.keep_going:
            self.stopping = True
        return verdict.passed

    # what the parent does itself

    def _release(self, node: Any, step: Step) -> None:
        if step.model.name in self.mixed:
            changed = self.mixed[step.model.name]
            raise TaskError(f"{changed} changed during this build: build again")
        if refused := self.judge.unvalidated(step):
            raise TaskError(f"{targets_of(step)}: {refused}")
        try:
            self._ended_here(node, step, self.releaser.release(step))
        except DamagedBlob as error:
            self._lose(node, step, error.digest)

    def _runtime(self, node: Any, step: Step) -> None:
        """What builds a target's runtime, from the files that lie there now, whatever became of
        the releases before it."""
        try:
            decision = self.decider.decide(step)
            if not decision.inputs.keyed:
                self.releaser.withdraw(step.name)
                self._skip(step.name, f"no file of target {step.target} is released")
                self._settle(node, ok=False)
            elif decision.verdict == RUN and decision.inputs.sources:
                self.pending.append(self._pending(node, step, decision))
            else:
                self._ended_here(node, step, self.releaser.bring(step, decision))
        except DamagedBlob as error:
            self._lose(node, step, error.digest)
        except TaskError as error:
            self.releaser.withdraw(step.name)
            self._fail(step.name, str(error))
            self._settle(node, ok=False)

    def _ended_here(self, node: Any, step: Step, done: TaskDone | None) -> None:
        if done is None:
            self.result.outcomes.setdefault(step.name, events.UP_TO_DATE)
        else:
            self._done(done)
        self._settle(node, ok=True)

    def _finish_runtimes(self, names: list[str]) -> None:
        """What describes `dist/` is in line with it after every build: also one that stopped or was
        interrupted before it came to that, and where a file went whose target nobody selected."""
        workspace = self.graph.workspace
        shared = environments(workspace)
        if not shared and not self.releaser.beside:
            return
        needed = set(self.graph.needed(names))
        for task in list(self.releaser.beside):
            stage, _, target = task.partition(":")
            declared = workspace.targets.get(target) if stage == "runtime" else None
            if declared is not None and declared.runtime not in CUSTOM_RUNTIMES:
                self.releaser.withdraw(task)
        for target in shared:
            step = environment_step(workspace, target, {})
            selected = step.name in needed
            if selected and step.name in self.result.outcomes:
                continue
            if not selected and not self.releaser.own(step.name):
                continue
            done, problem = self.releaser.finish(step)
            if done is not None:
                self._done(done)
            elif problem and selected:
                self._skip(step.name, problem)
            elif problem:  # nobody asked for it
                self.listen(events.Note(f"{step.name}: {problem}; its files are removed"))
            elif selected:
                self.result.outcomes[step.name] = events.UP_TO_DATE

    # telling

    def _lose(self, node: Any, step: Step, digest: str) -> None:
        """A blob is damaged: another pass makes it again, and then this step."""
        self.lost.add(digest)
        self.postponed.add(step.name)
        self._settle(node, ok=False)

    def _log(self, task: str) -> str:
        path = Path(self.folders.logs) / f"{task}.log"
        return path.as_posix()

    def _settle(self, node: Any, ok: bool) -> None:
        node.run_status = "successful" if ok else "failure"
        self.settled.append(node)

    def _done(self, event: TaskDone) -> None:
        self.result.outcomes[event.task] = event.outcome
        self.result.seconds[event.task] = event.seconds
        if event.reason:
            self.result.reasons[event.task] = event.reason
        self.listen(event)

    def _fail(
        self,
        task: str,
        reason: str,
        seconds: float = 0.0,
        log: str = "",
        why: tuple[str, ...] = (),
    ) -> None:
        self._done(TaskDone(task, events.FAILED, seconds, why, printable(reason), log))
        if not self.keep_going:
            self.stopping = True

    def _skip(self, task: str, reason: str) -> None:
        self._done(TaskDone(task, events.SKIPPED, reason=reason))
