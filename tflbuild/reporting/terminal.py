"""A build on a terminal: a progress line while it runs, a table at the end; plain lines elsewhere.

The one class that writes for people. Results go to standard output, the rest to standard error.
"""

from __future__ import annotations

import sys

from tflbuild.engine import events
from tflbuild.engine.build import Outcome
from tflbuild.engine.events import (
    BuildDone,
    BuildStarted,
    Event,
    GateDone,
    Note,
    TaskDone,
    TaskStarted,
)
from tflbuild.verdict import Table


class Terminal:
    def __init__(self, quiet: bool = False, explain: bool = False) -> None:
        self.quiet = quiet
        self.explain = explain
        self.live = sys.stderr.isatty() and not quiet
        self.running: dict[str, None] = {}
        self.finished = 0
        self.total = 0
        self._shown = False
        self._unrepresentative: dict[str, None] = {}
        self._said: set[str] = set()  # reasons of failures

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def __call__(self, event: Event) -> None:
        if isinstance(event, BuildStarted):
            self.total = event.tasks
        elif isinstance(event, TaskStarted):
            self.running[event.task] = None
        elif isinstance(event, TaskDone):
            self.running.pop(event.task, None)
            self.finished += 1
            self._task(event)
        elif isinstance(event, GateDone):
            self._gate(event)
        elif isinstance(event, Note):
            self._line(event.message, always=True)
        self._progress()

    def _task(self, event: TaskDone) -> None:
        if event.outcome == events.FAILED:
            self._said.add(event.reason)
            log = f" (log: {event.log})" if event.log else ""
            self._line(f"failed    {event.task}: {event.reason}{log}", always=True)
        elif event.outcome == events.SKIPPED:
            if self.explain:
                self._line(f"skipped   {event.task}: {event.reason}")
        elif not self.live or self.explain:
            seconds = f" {event.seconds:.1f} s" if event.outcome == events.RAN else ""
            why = f"  because {'; '.join(event.why)}" if self.explain and event.why else ""
            self._line(f"{event.outcome:<9} {event.task}{seconds}{why}")

    def _gate(self, event: GateDone) -> None:
        told: set[tuple[str, str]] = set()  # what a model misses, its file may in the same words
        for finding in event.verdict.findings:
            words = (finding.level, finding.message)
            if words in told:
                continue
            told.add(words)
            if finding.level == "fail":
                self._said.add(finding.message)
                self._line(f"gate      {event.task}: {finding.message}", always=True)
            elif finding.check == "data":  # said once, for all of them
                self._unrepresentative[event.task] = None
            else:
                self._line(f"warning   {event.task}: {finding.message}")
        for table in event.verdict.tables:
            self._table(table)

    def _table(self, table: Table) -> None:
        if self.quiet and not table.failed:
            return
        from tflbuild.reporting.interfaces import of_table

        self._line(f"  {table.title}:", always=table.failed)
        for line in of_table(table, _width()):
            self._line(line, always=table.failed)

    def _line(self, text: str, always: bool = False) -> None:
        if self.quiet and not always:
            return
        self._clear()
        print(text, file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False

    def _progress(self) -> None:
        if not self.live or not self.running:
            return
        names = ", ".join(self.running)
        waiting = " (loading TensorFlow takes some seconds)" if not self.finished else ""
        text = f"[{self.finished} of at most {self.total}] {names}{waiting}"
        width = _width() - 1
        print("\r\x1b[K" + text[:width], end="", file=sys.stderr, flush=True)
        self._shown = True

    def summary(self, outcome: Outcome, until: str) -> None:
        """The final table and the last line."""
        if self.quiet:
            return
        if self._unrepresentative:
            number = len(self._unrepresentative)
            tasks = f"{number} files were" if number > 1 else "1 file was"
            self._line(
                f"warning   {tasks} calibrated or validated on random data, which is not"
                " representative"
            )
        if outcome.result is not None and outcome.graph is not None:
            from tflbuild.reporting.tables import print_tables

            print_tables(outcome, until, self.explain, self._said)
        print(last_line(outcome.done))


def last_line(done: BuildDone) -> str:
    counts = done.counts
    parts = [f"{counts.ran} ran"]
    for number, name in (
        (counts.restored, "restored"),
        (counts.up_to_date, "up to date"),
        (counts.failed, "failed"),
        (counts.skipped, "skipped"),
    ):
        if number:
            parts.append(f"{number} {name}")
    text = f"{', '.join(parts)} in {done.seconds:.1f} s"
    if done.interrupted:
        text = f"interrupted: {text}"
    if done.stale:
        text += f"; the released file is stale for {', '.join(done.stale)}"
    return text


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


__all__ = ["Terminal", "last_line"]
