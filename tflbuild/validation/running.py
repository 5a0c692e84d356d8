"""A test set in chunks: over processes, kept after a kill, in memory of one chunk a process.

A phase is one pass over the samples of one signature, cut into chunks by sizes alone: never by how
many processes there are, so that equal inputs give equal numbers on every machine. Of each chunk
one file of evidence is written and renamed into place, in the action's progress folder; an action
that begins again does not run those that are there.

The process of the action works itself, and further ones beside it, forked before it loads anything
that cannot be forked. They take chunks as they come. A further process works only while the build
leaves a core idle, and ends with the action, however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import json
import mmap
import os
import re
import shutil
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tflbuild import pyrun
from tflbuild.errors import TaskError, TflbuildError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tflbuild.stages.base import Request

    Array = NDArray[Any]

CHUNK_BYTES = 1 << 24  # of inputs and outputs of a chunk, where one unit is no larger
MOST = 256  # samples of a chunk, where one unit has no more
TOLD = 5.0  # seconds between two lines of progress
_POLL = 0.01  # seconds
_MAGIC = b"tflbuild evidence 1\n"
# Files in the progress folder, which the parent reads (`tflbuild.engine.progress`).
_DONE = "done"  # "<samples done> <samples>"
_TASK = "task"  # the name of the task


@dataclass(frozen=True)
class Evidence:
    """What one chunk says: plain numbers (JSON), and arrays."""

    told: Any = None
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunk:
    """Samples `start` to `stop`; those before it belong to earlier chunks."""

    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.start}-{self.stop}"


@dataclass(frozen=True)
class Phase:
    """One pass over samples. `work` runs a chunk; where the chunks cannot be run one without the
    other (`resumable` false), in order and in one process. `ends`: whether what a chunk says makes
    an end of the phase, since the samples have to be run in another way."""

    number: int
    chunks: Sequence[Chunk]
    work: Callable[[Chunk], Evidence]
    resumable: bool = True
    ends: Callable[[Evidence], bool] | None = None


def cut(
    count: int, sample_bytes: float, unit: int = 1, most: int = 0, most_bytes: int = 0
) -> list[Chunk]:
    """Chunks of `count` samples, each of whole units (fixed batches, sequences)."""
    fitting = int(min(most or MOST, (most_bytes or CHUNK_BYTES) // max(1, sample_bytes)))
    size = max(unit, fitting - fitting % unit)
    return [Chunk(start, min(count, start + size)) for start in range(0, count, size)]


# ---- evidence on disk --------------------------------------------------------------------------


def pack(evidence: Evidence) -> bytes:
    import numpy as np

    stream = io.BytesIO()
    head = json.dumps({"told": evidence.told, "arrays": list(evidence.arrays)}).encode()
    stream.write(struct.pack("<q", len(head)) + head)
    for array in evidence.arrays.values():
        np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
    payload = stream.getvalue()
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def unpack(data: bytes) -> Evidence | None:
    """None for what is damaged or cut short."""
    import numpy as np

    start = len(_MAGIC) + 32
    if data[: len(_MAGIC)] != _MAGIC:
        return None
    if hashlib.sha256(memoryview(data)[start:]).digest() != data[len(_MAGIC) : start]:
        return None
    (length,) = struct.unpack_from("<q", data, start)
    stream = io.BytesIO(data)
    stream.seek(start + 8)
    head = json.loads(stream.read(length))
    arrays = {name: np.lib.format.read_array(stream, allow_pickle=False) for name in head["arrays"]}
    return Evidence(head["told"], arrays)


# ---- an action's progress ----------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """What the build says of an action, in no key. `folder`: where evidence outlives a kill (None:
    nowhere); `files`: the user's own files that the action reads, as they stood when its key was
    made; `cores`: a file that says how many actions run, and how many more could."""

    folder: Path | None = None
    task: str = ""
    files: Mapping[str, Sequence[int]] = field(default_factory=dict)
    jobs: int = 1
    cores: Path | None = None

    @classmethod
    def of(cls, request: Request) -> Progress:
        given = request.progress
        return cls(
            Path(given["folder"]) if given.get("folder") else None,
            given.get("task", ""),
            given.get("files", {}),
            given.get("jobs", 1),
            Path(given["cores"]) if given.get("cores") else None,
        )

    def stamp(self) -> str:
        """Of the user's files: evidence of others, even with the same key, is not believed, since
        a file may have been edited and put back while an action read it."""
        text = json.dumps({name: list(seen) for name, seen in sorted(self.files.items())})
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def holds(self) -> bool:
        """The user's files are as they were when the key was made."""
        return all(_stat(path) == list(seen) for path, seen in self.files.items())

    def spare(self) -> int:
        """How many processes this action may have beside its own: a share of the cores that nobody
        wants, looked at again between chunks."""
        if self.cores is None:
            return self.jobs - 1
        try:
            running, ready = map(int, self.cores.read_text().split())
        except (OSError, ValueError):
            return 0
        return max(0, self.jobs - running - ready) // max(1, running)


def _stat(path: str) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


# ---- processes ---------------------------------------------------------------------------------


class _Board:
    """What the processes of one action see of each other: memory that they share."""

    _FORM = struct.Struct("<qdd")  # phase, seconds to open it, seconds that the rest will take

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self.write(-1, 0.0, 0.0)

    def write(self, phase: int, opening: float, left: float) -> None:
        self._FORM.pack_into(self._memory, 0, phase, opening, left)

    def read(self) -> tuple[int, float, float]:
        phase, opening, left = self._FORM.unpack_from(self._memory, 0)
        return phase, opening, left


class Crew:
    """The processes of one action, as one of them sees them."""

    def __init__(self, request: Request, resumable: bool = True) -> None:
        self.progress = Progress.of(request)
        self._scratch = request.out.parent / "chunks"
        self._scratch.mkdir()
        self._kept = self.progress.folder if resumable else None
        if "code" in request.params:  # a user's code, which shuts the workspace
            own = [self._scratch]
            if self._kept is not None:
                self._kept.mkdir(parents=True, exist_ok=True)
                own.append(self._kept)
            pyrun.allow(*own, *([self.progress.cores] if self.progress.cores else []))
        self._board = _Board()
        self._others: list[int] = []
        self._number = 0  # of this process; 0 is the action's own
        self._begun = self._spoken = self._counted = time.monotonic()
        self._at: dict[int, int] = {}  # by phase: the first chunk that may still be free
        self._parent = os.getpid()

    def __enter__(self) -> Crew:
        if self._kept is not None:
            for other in self._kept.glob("*/"):
                if other.name != self.progress.stamp():
                    shutil.rmtree(other, ignore_errors=True)
            for torn in self._kept.glob("*/*.tmp"):
                torn.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._end_others()

    # the further processes

    def fork(self, chunks: int, opened: Callable[[int], Phase]) -> None:
        """Have further processes for about so many chunks. `opened`: a phase by its number, in a
        process that has loaded nothing yet. To be called before this one loads what cannot be
        forked, and before the first phase."""
        wanted = min(self.progress.jobs, chunks // 2) - 1  # for a few it is not worth it
        sys.stdout.flush()
        sys.stderr.flush()
        for number in range(1, wanted + 1):
            pid = os.fork()
            if pid == 0:
                try:
                    self._become(number)
                    self._serve(opened)
                finally:  # whatever happens, never return into the action
                    os._exit(1)
            self._others.append(pid)

    def _become(self, number: int) -> None:
        die_with(self._parent)
        self._number = number
        self._others = []

    def _serve(self, opened: Callable[[int], Phase]) -> NoReturn:
        known, phase = -1, None
        while True:
            number, opening, left = self._board.read()
            due = number >= 0 and self._number <= self.progress.spare()
            if due and number != known and left / 2 > opening and _has_room():
                known, phase = number, None
                with self._told_errors(), pyrun.checked():
                    phase = opened(number)
            if phase is None or not due or number != known:
                time.sleep(_POLL)
                continue
            chunk = self._next(phase)
            if chunk is None:
                phase = None
                continue
            with self._told_errors(chunk), pyrun.checked():
                self._keep(phase, chunk, phase.work(chunk))

    @contextlib.contextmanager
    def _told_errors(self, chunk: Chunk | None = None) -> Iterator[None]:
        """An error is for the action's own process to raise; this one ends."""
        import traceback

        try:
            yield
        except BaseException as error:
            traceback.print_exc()
            text = " ".join(str(error).split())
            told = {"message": text, "key": getattr(error, "key", ""), "kind": "task"}
            if not isinstance(error, TflbuildError):
                told.update(kind="fault", message=f"{type(error).__name__}: {text[:500]}")
            if isinstance(error, MemoryError):
                told.update(kind="task", message="out of memory")
            place = chunk.start if chunk is not None else 0
            path = self._scratch / f"error.{place:012}.{self._number}"
            temporary = self._scratch / f".error.{self._number}"
            temporary.write_text(json.dumps(told))
            temporary.replace(path)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)

    def apart(self, request: Request) -> Request:
        """A request for this process alone: what it unpacks or writes has a place of its own."""
        out = request.out.parent / f"worker.{self._number}" / "out"
        out.mkdir(parents=True)
        return replace(request, out=out)

    def _watch(self) -> None:
        """In the action's own process: what became of the others. One that crashed is a crash of
        the action, told as if this process had."""
        for pid in list(self._others):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            self._others.remove(pid)
            code = os.waitstatus_to_exitcode(status)
            said = sorted(self._scratch.glob("error.*"))
            self._end_others()
            if said:
                told = json.loads(said[0].read_text())
                if told["kind"] == "fault":
                    raise RuntimeError(told["message"])
                raise TaskError(told["message"], key=told["key"])
            die_like(code)

    def _end_others(self) -> None:
        for pid in self._others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._others:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._others = []

    # chunks

    def run(self, phase: Phase) -> Iterable[Evidence] | None:
        """Run a phase, with the others; the evidence of its chunks in order, as often as it is
        asked for. None where one of them made an end of it."""
        if not phase.resumable:
            return self._in_order(phase)
        if len(phase.chunks) == 1:
            return self._alone(phase)
        if self._stopped(phase):
            return None
        there = [self._path(phase, chunk).exists() for chunk in phase.chunks]
        samples, before = phase.chunks[-1].stop, 0
        for done in compress(phase.chunks, there):
            before += done.stop - done.start
            self._claim(phase, done)
        if before:
            print(f"{before} of {samples} samples are done already", flush=True)
        opening = time.monotonic() - self._begun
        began, own = time.monotonic(), 0
        while (chunk := self._next(phase)) is not None:
            evidence = phase.work(chunk)
            self._keep(phase, chunk, evidence)
            own += 1
            self._watch()
            if self._stopped(phase):
                break
            pace = (time.monotonic() - began) / own
            left = len(phase.chunks) - self._place(phase, chunk) - 1
            self._board.write(phase.number, opening, left * pace)
            self._tell(phase, samples)
        while not self._stopped(phase) and self._missing(phase):
            self._watch()
            self._tell(phase, samples)
            time.sleep(_POLL)
        self._board.write(-1, 0.0, 0.0)
        if self._stopped(phase):
            return None
        self._count(phase, samples)
        return _Kept(self, phase)

    def _missing(self, phase: Phase) -> bool:
        return any(not self._path(phase, chunk).exists() for chunk in phase.chunks)

    def _alone(self, phase: Phase) -> Iterable[Evidence] | None:
        """One chunk: nothing is gained by a file."""
        evidence = phase.work(phase.chunks[0])
        return None if self._is_end(phase, evidence) else [evidence]

    def _in_order(self, phase: Phase) -> Iterable[Evidence]:
        """What goes on from chunk to chunk: from its beginning, for this action alone."""
        for chunk in phase.chunks:
            self._keep(phase, chunk, phase.work(chunk))
            if time.monotonic() - self._spoken >= TOLD:
                self._say(chunk.stop, phase.chunks[-1].stop)
        return _Kept(self, phase)

    def _is_end(self, phase: Phase, evidence: Evidence) -> bool:
        return phase.ends is not None and phase.ends(evidence)

    def _place(self, phase: Phase, chunk: Chunk) -> int:
        return chunk.start // max(1, phase.chunks[0].stop)

    def read(self, phase: Phase) -> Iterator[Evidence]:
        """What is kept of a phase that was run."""
        for chunk in phase.chunks:
            path = self._path(phase, chunk)
            evidence = unpack(path.read_bytes())
            if evidence is None:  # the machine went down while it was written
                print(f"the evidence of samples {chunk} is damaged: they are run again", flush=True)
                evidence = phase.work(chunk)
                self._keep(phase, chunk, evidence)
            yield evidence

    def _next(self, phase: Phase) -> Chunk | None:
        """A chunk that nobody else runs."""
        for place in range(self._at.get(phase.number, 0), len(phase.chunks)):
            self._at[phase.number] = place + 1
            if self._claim(phase, phase.chunks[place]):
                return phase.chunks[place]
        return None

    def _claim(self, phase: Phase, chunk: Chunk) -> bool:
        path = self._scratch / f"claim.{phase.number}.{chunk}"
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _folder(self, phase: Phase) -> Path:
        """Of one phase: another of the same action may be kept where this one is not."""
        if self._kept is None or not phase.resumable:
            return self._scratch
        folder = self._kept / self.progress.stamp()
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            (self._kept / _TASK).write_text(self.progress.task)
        return folder

    def _path(self, phase: Phase, chunk: Chunk) -> Path:
        own = self._scratch / f"{phase.number}.{chunk}"
        return own if own.exists() else self._folder(phase) / own.name

    def _stopped(self, phase: Phase) -> bool:
        name = f"{phase.number}.stopped"
        return (self._scratch / name).exists() or (self._folder(phase) / name).exists()

    def _keep(self, phase: Phase, chunk: Chunk, evidence: Evidence) -> None:
        folder = self._folder(phase)
        if not self.progress.holds():  # it may be of another content: for this action alone
            folder = self._scratch
        if self._is_end(phase, evidence):
            (folder / f"{phase.number}.stopped").touch()
            return
        path = folder / f"{phase.number}.{chunk}"
        temporary = folder / f"{path.name}.{self._number}.tmp"
        temporary.write_bytes(pack(evidence))
        temporary.replace(path)

    # telling

    def _tell(self, phase: Phase, samples: int) -> None:
        """A line now and then, and the count that a timeout is told with."""
        now = time.monotonic()
        if now - self._counted < TOLD / 5:
            return
        done = self._count(phase, samples)
        if now - self._spoken >= TOLD:
            self._say(done, samples)

    def _say(self, done: int, samples: int) -> None:
        self._spoken = time.monotonic()
        print(f"{done} of {samples} samples are done", flush=True)

    def _count(self, phase: Phase, samples: int) -> int:
        self._counted = time.monotonic()
        there = set(os.listdir(self._folder(phase)))
        done = sum(c.stop - c.start for c in phase.chunks if f"{phase.number}.{c}" in there)
        if self._kept is not None:
            (self._kept / _DONE).write_text(f"{done} {samples}")
        return done


def _has_room() -> bool:
    """Memory for one process more: as much as the action's own has, and as much again."""
    try:
        free = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
        own = Path(f"/proc/{os.getppid()}/statm").read_text().split()[1]
    except OSError:
        return True
    return free is None or int(free[1]) * 1024 > 2 * int(own) * mmap.PAGESIZE


@dataclass(frozen=True)
class _Kept:
    crew: Crew
    phase: Phase

    def __iter__(self) -> Iterator[Evidence]:
        return self.crew.read(self.phase)


def die_with(parent: int) -> None:
    """The kernel ends this process when `parent` ends."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def die_like(code: int) -> NoReturn:
    """End as a process of this action ended (`code`: of `os.waitstatus_to_exitcode`)."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
        time.sleep(1)
    os._exit(code if code > 0 else 1)
