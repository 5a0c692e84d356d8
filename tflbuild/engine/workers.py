"""Running actions: zygotes started when first needed, one slot for each job, one event loop.

The parent stays single-threaded: a `selectors` loop over the zygotes' sockets and a pipe that
signals write to.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tflbuild.engine.protocol import Message
from tflbuild.engine.zygote import ZygoteDied, ZygotePool, ZygoteProcess

MAX_DEATHS = 3  # of one kind of zygote in a build


@dataclass
class Job:
    """One action in a worker."""

    identity: int
    task: str
    zygote: str
    request: dict[str, Any]
    scratch: Path


@dataclass(frozen=True)
class Ended:
    """How an action ended: outputs (name → digest, bytes, in `job.scratch / "out"`) or a reason.

    `kind`: "" success; "task" an error in the inputs; "converter" the converter refused;
    "crash", "timeout", "killed" the worker did not end by itself; "corrupt" an input from the
    store is damaged (`digest`); "fault" an exception nobody expected.
    """

    job: Job
    kind: str
    reason: str = ""
    digest: str = ""
    key: str = ""  # of the manifest, where what it says is wrong
    outputs: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    seconds: float = 0.0
    max_rss: int = 0


class Workers:
    def __init__(self, work: Path, logs: Path, pool: ZygotePool | None = None) -> None:
        self.work = work  # scratch folders; the same file system as the store
        self.logs = logs
        self.running: dict[int, Job] = {}
        self.interrupted = False
        self._own_pool = pool is None
        self._pool = pool or ZygotePool(work / "zygotes")
        self._watched: dict[str, ZygoteProcess] = {}
        self._deaths: dict[str, int] = {}
        self._ended: list[Ended] = []  # ends known before the next wait
        self._count = 0
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Workers:
        clear(self.work)  # of a build that was killed
        self.work.mkdir(parents=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        self._wake = os.pipe()
        for descriptor in self._wake:
            os.set_blocking(descriptor, False)
        self._selector.register(self._wake[0], selectors.EVENT_READ, None)
        self._handlers: dict[int, Any] = {}
        try:  # signals can be handled in the main thread alone
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._interrupt)
            self._wakeup = signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        except ValueError:
            self._wakeup = -1
        return self

    def __exit__(self, *_: object) -> None:
        if self._own_pool or self.running:
            self.end_all()
        if self._handlers:
            signal.set_wakeup_fd(self._wakeup)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        self._selector.close()
        for descriptor in self._wake:
            os.close(descriptor)
        clear(self.work)

    def _interrupt(self, number: int, frame: object) -> None:
        self.interrupted = True

    def end_all(self) -> None:
        """End every zygote with everything below it."""
        for kind in list(self._pool.zygotes):
            self._drop(kind)
        self.running.clear()

    def _drop(self, kind: str) -> None:
        watched = self._watched.pop(kind, None)
        if watched is not None:
            self._selector.unregister(watched)
        self._pool.drop(kind)

    def submit(self, task: str, zygote: str, request: dict[str, Any]) -> Job:
        """Start an action; `wait` tells how it ended."""
        self._count += 1
        scratch = self.work / str(self._count)
        scratch.mkdir()
        log = self.logs / f"{task}.log"
        job = Job(self._count, task, zygote, request, scratch)
        job.request = {
            **request,
            "id": job.identity,
            "scratch": str(scratch),
            "log": str(log),
        }
        self.running[job.identity] = job
        self._send(job)
        return job

    def _send(self, job: Job) -> None:
        try:
            self._zygote(job.zygote).submit(job.request)
        except ZygoteDied as error:
            self._died(job.zygote, str(error))
        except OSError as error:
            self._died(job.zygote, f"the {job.zygote} worker cannot be started: {error}")

    def _zygote(self, kind: str) -> ZygoteProcess:
        if kind not in self._watched:
            if self._deaths.get(kind, 0) >= MAX_DEATHS:
                raise ZygoteDied(f"the {kind} worker died {MAX_DEATHS} times")
            zygote = self._pool.get(kind)
            self._watched[kind] = zygote
            self._selector.register(zygote, selectors.EVENT_READ, zygote)
        return self._watched[kind]

    def _died(self, kind: str, reason: str) -> None:
        """A zygote is gone, and with it its children: their jobs have failed."""
        self._deaths[kind] = self._deaths.get(kind, 0) + 1
        self._drop(kind)
        for job in [job for job in self.running.values() if job.zygote == kind]:
            del self.running[job.identity]
            self._ended.append(Ended(job, "crash", reason))

    def wait(self) -> list[Ended]:
        """Block until an action ends or a signal arrives; whatever ended."""
        timeout = 0 if self._ended else None
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                os.read(self._wake[0], 4096)
                continue
            zygote: ZygoteProcess = key.data
            if self._watched.get(zygote.kind) is not zygote:
                continue  # replaced meanwhile
            try:
                messages = zygote.receive()
            except ZygoteDied as error:
                self._died(zygote.kind, str(error))
                continue
            for message in messages:
                self._message(zygote, message)
        ended, self._ended = self._ended, []
        return ended

    def _message(self, zygote: ZygoteProcess, message: Message) -> None:
        if "unsafe" in message:
            # A thread or an eager context appeared in it: a fresh one takes its place.
            self._deaths[zygote.kind] = self._deaths.get(zygote.kind, 0) + 1
            mine = [job for job in self.running.values() if job.zygote == zygote.kind]
            self._drop(zygote.kind)
            for job in mine:
                shutil.rmtree(job.scratch, ignore_errors=True)
                job.scratch.mkdir()
                self._send(job)
            return
        known = self.running.pop(message["id"], None)
        if known is not None:  # None: of an interrupted build that shared this zygote
            self._ended.append(read_end(known, message))

    def forget(self, job: Job) -> None:
        """Drop a job's scratch folder."""
        shutil.rmtree(job.scratch, ignore_errors=True)


def clear(folder: Path) -> None:
    """Remove a folder in which killed processes may be writing their last. Raises OSError."""
    for _ in range(100):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            if not folder.exists():
                return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            time.sleep(0.02)


def read_end(job: Job, message: Message) -> Ended:
    """The end of an action from the zygote's message and the child's result file."""
    seconds, max_rss, status = message["seconds"], message["max_rss"], message["exit"]
    if message["timed_out"]:
        limit = job.request["timeout"]
        return Ended(job, "timeout", f"exceeded its timeout of {limit:g} s", seconds=seconds)
    if status < 0:
        name = signal.Signals(-status).name
        if -status == signal.SIGKILL:
            reason = f"the worker was killed ({name}); out of memory?"
            return Ended(job, "killed", reason, seconds=seconds, max_rss=max_rss)
        return Ended(job, "crash", f"the worker crashed ({name})", seconds=seconds)
    try:
        result = json.loads((job.scratch / "result.json").read_text())
    except (OSError, ValueError):
        reason = f"the worker ended with status {status} and no result"
        return Ended(job, "crash", reason, seconds=seconds)
    if "error" in result:
        error = result["error"]
        return Ended(
            job,
            error["kind"],
            error["message"],
            error.get("digest", ""),
            error.get("key", ""),
            seconds=seconds,
        )
    outputs = {name: (digest, size) for name, (digest, size) in result["outputs"].items()}
    return Ended(job, "", outputs=outputs, seconds=seconds, max_rss=max_rss)
