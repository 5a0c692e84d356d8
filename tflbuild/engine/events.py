"""What a build says while it runs, as values. One class alone writes them somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tflbuild.verdict import Verdict

RAN = "ran"
RESTORED = "restored"
FAILED = "failed"
SKIPPED = "skipped"
UP_TO_DATE = "up-to-date"


@dataclass(frozen=True)
class BuildStarted:
    """How many tasks the graph of this build has (for progress displays)."""

    tasks: int


@dataclass(frozen=True)
class TaskStarted:
    """A worker has an action (for progress displays)."""

    task: str


@dataclass(frozen=True)
class TaskDone:
    """A task that was not up to date came to its end; sent after its commit."""

    task: str
    outcome: str  # RAN, RESTORED, FAILED or SKIPPED
    seconds: float = 0.0
    why: tuple[str, ...] = ()
    reason: str = ""  # of a failure, or of a skip
    log: str = ""  # path of the action's log, relative to the root
    max_rss: int = 0  # bytes

    def as_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "event": "task",
            "task": self.task,
            "outcome": self.outcome,
            "seconds": round(self.seconds, 3),
            "why": list(self.why),
        }
        if self.reason:
            result["reason"] = self.reason
        if self.log:
            result["log"] = self.log
        if self.max_rss:
            result["max_rss"] = self.max_rss
        return result


@dataclass(frozen=True)
class GateDone:
    """A gate that did not pass, or that warns."""

    task: str
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        return {"event": "gate", "task": self.task, **self.verdict.as_json()}


@dataclass(frozen=True)
class Measured:
    """What a task with a gate measured, whether it ran now or before (for evaluate, validate)."""

    task: str
    measured: Mapping[str, Any]
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        gate = self.verdict.as_json()
        return {"event": "measured", "task": self.task, "measured": self.measured, "gate": gate}


@dataclass(frozen=True)
class Note:
    """Something a person should know that belongs to no task."""

    message: str

    def as_json(self) -> dict[str, Any]:
        return {"event": "note", "message": self.message}


@dataclass
class Counts:
    ran: int = 0
    restored: int = 0
    up_to_date: int = 0
    failed: int = 0
    skipped: int = 0

    def count(self, outcome: str) -> None:
        name = outcome.replace("-", "_")
        setattr(self, name, getattr(self, name) + 1)


@dataclass(frozen=True)
class BuildDone:
    """The last event of every build."""

    counts: Counts
    seconds: float
    interrupted: bool = False
    reached_graph: int = 0  # tasks that were given to doit
    stale: tuple[str, ...] = field(default=())  # released files whose renewal failed

    def as_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "event": "build",
            "ran": self.counts.ran,
            "restored": self.counts.restored,
            "up_to_date": self.counts.up_to_date,
            "failed": self.counts.failed,
            "skipped": self.counts.skipped,
            "seconds": round(self.seconds, 3),
            "reached_graph": self.reached_graph,
        }
        if self.interrupted:
            result["interrupted"] = True
        if self.stale:
            result["stale"] = list(self.stale)
        return result


Event = BuildStarted | TaskStarted | TaskDone | GateDone | Measured | Note | BuildDone


class Listener(Protocol):
    """Whoever shows a build: a terminal, JSON lines, a test."""

    def __call__(self, event: Event) -> None: ...
