"""Chunks over processes: the same evidence however many there are, kept after a kill, and nothing
that was done is done again."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tflbuild.errors import TaskError
from tflbuild.stages.base import Request
from tflbuild.validation import running
from tflbuild.validation.running import Chunk, Crew, Evidence, Phase, cut, pack, unpack

CHUNKS = cut(40, 1, most=4)


def request(scratch: Path, jobs: int = 1, kept: Path | None = None, **more: Any) -> Request:
    out = scratch / "out"
    out.mkdir(parents=True)
    progress = {"jobs": jobs, "folder": str(kept) if kept else "", "task": "validate:m:o", **more}
    return Request({}, {}, out, progress=progress)


def squares(chunk: Chunk) -> Evidence:
    numbers = np.arange(chunk.start, chunk.stop)
    return Evidence({"sum": int(numbers.sum())}, {"squares": numbers**2})


def evidence_of(
    own: Request, work: Callable[[Chunk], Evidence] = squares, **options: Any
) -> list[Any]:
    """All of it, by a crew of its own."""

    def opened(number: int) -> Phase:
        return Phase(number, CHUNKS, work, **options)

    with Crew(own) as crew:
        crew.fork(len(CHUNKS), opened)
        found = crew.run(opened(0))
        return [(e.told, {n: a.tolist() for n, a in e.arrays.items()}) for e in found or ()]


def test_chunks_are_whole_units_and_bounded() -> None:
    assert cut(10, 1) == [Chunk(0, 10)]
    assert [c.stop for c in cut(600, 1)] == [256, 512, 600]
    assert [c.stop for c in cut(600, 1, unit=100)] == [200, 400, 600]
    assert len(cut(100, running.CHUNK_BYTES // 10)) == 10
    assert [c.stop for c in cut(3, 10 * running.CHUNK_BYTES)] == [1, 2, 3]  # one at least
    assert [c.stop for c in cut(130, running.CHUNK_BYTES, unit=64)] == [64, 128, 130]


def test_evidence_is_told_from_what_is_damaged() -> None:
    data = pack(squares(Chunk(2, 5)))
    found = unpack(data)
    assert found is not None
    assert (found.told, found.arrays["squares"].tolist()) == ({"sum": 9}, [4, 9, 16])
    assert unpack(b"") is None
    for place in (0, 30, len(data) // 2, len(data) - 1):
        assert unpack(data[:place]) is None
        assert unpack(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]) is None


@pytest.mark.parametrize("jobs", [1, 2, 3, 16])
def test_any_number_of_processes_gives_the_same(tmp_path: Path, jobs: int) -> None:
    expected = [
        (squares(c).told, {"squares": squares(c).arrays["squares"].tolist()}) for c in CHUNKS
    ]
    assert evidence_of(request(tmp_path / "a", jobs)) == expected

    def slow(chunk: Chunk) -> Evidence:  # so that others take part
        time.sleep(0.02)
        return squares(chunk)

    marked = request(tmp_path / "b", jobs)
    assert evidence_of(marked, slow) == expected
    assert not os.listdir(marked.out)


def beside_another(pids: Path, chunk: Chunk) -> None:
    """Marks this process, and waits until another one is marked: on a busy machine that may take
    longer than all chunks do. Others join when the time of the first chunk is known."""
    pids.mkdir(exist_ok=True)
    (pids / str(os.getpid())).touch()
    if chunk.start == 0:
        time.sleep(0.1)
        return
    until = time.monotonic() + 20
    while len(os.listdir(pids)) < 2 and time.monotonic() < until:
        time.sleep(0.002)


def test_others_take_part(tmp_path: Path) -> None:
    def who(chunk: Chunk) -> Evidence:
        beside_another(tmp_path / "pids", chunk)
        return Evidence(os.getpid())

    pids = {told for told, _ in evidence_of(request(tmp_path, 3), who)}
    assert os.getpid() in pids
    assert len(pids) > 1


def test_only_while_nobody_else_wants_the_cores(tmp_path: Path) -> None:
    cores = tmp_path / "cores"
    cores.write_text(f"{2:9} {5:9}\n")

    def who(chunk: Chunk) -> Evidence:
        time.sleep(0.01)
        return Evidence(os.getpid())

    own = request(tmp_path / "a", 3, cores=str(cores))
    assert {told for told, _ in evidence_of(own, who)} == {os.getpid()}
    for text, spare in (("1 0", 7), ("2 0", 3), ("2 4", 1), ("8 0", 0), ("", 0)):
        cores.write_text(text)
        assert running.Progress(jobs=8, cores=cores).spare() == spare


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    kept, ran = tmp_path / "kept", []

    def until(stop: int) -> Callable[[Chunk], Evidence]:
        def work(chunk: Chunk) -> Evidence:
            if chunk.start >= stop:
                raise TaskError("here it ends")
            ran.append(chunk.start)
            return squares(chunk)

        return work

    with pytest.raises(TaskError, match="here it ends"):
        evidence_of(request(tmp_path / "a", kept=kept), until(20))
    assert ran == [0, 4, 8, 12, 16]
    ran.clear()
    expected = evidence_of(request(tmp_path / "whole"))
    assert evidence_of(request(tmp_path / "b", kept=kept), until(99)) == expected
    assert ran == [20, 24, 28, 32, 36]
    ran.clear()
    (place,) = kept.glob("*/0.8-12")
    place.write_bytes(place.read_bytes()[:-3])  # the machine went down
    torn = place.with_name("0.16-20.1.tmp")
    torn.write_bytes(b"half")
    assert evidence_of(request(tmp_path / "c", kept=kept), until(99)) == expected
    assert ran == [8]
    assert not torn.exists()
    assert (kept / "task").read_text() == "validate:m:o"
    assert (kept / "done").read_text() == "40 40"


def test_evidence_of_a_file_that_was_edited_is_not_believed(tmp_path: Path) -> None:
    kept, data = tmp_path / "kept", tmp_path / "data.npy"
    data.write_bytes(b"one")
    ran = []

    def files() -> dict[str, list[int]]:
        seen = data.stat()
        return {str(data): [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]}

    def work(chunk: Chunk) -> Evidence:
        ran.append(chunk.start)
        if chunk.start == 20:
            data.write_bytes(b"other")
        return squares(chunk)

    expected = evidence_of(request(tmp_path / "whole"))
    own = request(tmp_path / "a", kept=kept, files=files())
    assert evidence_of(own, work) == expected
    assert len(list(kept.glob("*/0.*"))) == 5  # of what was read before the edit
    ran.clear()
    evidence_of(request(tmp_path / "b", kept=kept, files=files()), work)
    assert len(ran) == 10


def test_one_chunk_leaves_no_file(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with Crew(request(tmp_path / "a", 4, kept)) as crew:
        crew.fork(1, lambda number: Phase(number, [], squares))
        found = crew.run(Phase(0, [Chunk(0, 3)], squares))
        assert found is not None
        assert [e.told for e in found] == [{"sum": 3}]
    assert not kept.exists()


def test_what_goes_on_from_chunk_to_chunk_runs_in_order_from_its_beginning(tmp_path: Path) -> None:
    kept, ran = tmp_path / "kept", []

    def work(chunk: Chunk) -> Evidence:
        ran.append((chunk.start, os.getpid()))
        return squares(chunk)

    for scratch in ("a", "b"):
        ran.clear()
        evidence_of(request(tmp_path / scratch, 3, kept), work, resumable=False)
        assert ran == [(chunk.start, os.getpid()) for chunk in CHUNKS]
    assert not kept.exists()


@pytest.mark.parametrize("in_order", [0, 1])
def test_signatures_that_go_on_and_others_stand_beside_each_other(
    tmp_path: Path, in_order: int
) -> None:
    """Chunks of one signature are kept, where those of another have to run in order."""
    expected = evidence_of(request(tmp_path / "whole"))

    def work(number: int) -> Callable[[Chunk], Evidence]:
        def slow(chunk: Chunk) -> Evidence:
            time.sleep(0.02 * number)  # the second one is worth a further process
            return squares(chunk)

        return slow

    def opened(number: int) -> Phase:
        return Phase(number, CHUNKS, work(number), resumable=number != in_order)

    kept = tmp_path / "kept"
    with Crew(request(tmp_path / "both", 3, kept)) as crew:
        crew.fork(len(CHUNKS), opened)
        found = [crew.run(opened(number)) for number in (0, 1)]
        for evidence in (*found, *found):  # as often as it is asked for
            told = [(e.told, {n: a.tolist() for n, a in e.arrays.items()}) for e in evidence or ()]
            assert told == expected
    names = {path.name.split(".")[0] for path in kept.glob("*/*")}
    assert names == {str(1 - in_order)}


def test_an_end_of_the_phase_is_kept_as_well(tmp_path: Path) -> None:
    kept, ran = tmp_path / "kept", []

    def work(chunk: Chunk) -> Evidence:
        ran.append(chunk.start)
        return Evidence("coupled" if chunk.start == 8 else "")

    options: dict[str, Any] = {"ends": lambda evidence: evidence.told == "coupled"}
    assert evidence_of(request(tmp_path / "a", kept=kept), work, **options) == []
    assert ran == [0, 4, 8]
    assert evidence_of(request(tmp_path / "b", kept=kept), work, **options) == []
    assert ran == [0, 4, 8]


def in_child(act: Callable[[], None]) -> int:
    """A process of its own; its exit code, or minus its signal."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            act()
            code = 0
        except TaskError as error:
            print(error, error.key, flush=True)
            code = 7
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_others(own: int, act: Callable[[], None], pids: Path) -> Callable[[Chunk], Evidence]:
    def work(chunk: Chunk) -> Evidence:
        beside_another(pids, chunk)
        if os.getpid() != own:
            act()
        return squares(chunk)

    return work


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_of_one_is_a_crash_of_the_action(tmp_path: Path, number: int) -> None:
    def act() -> None:
        crash = in_others(os.getpid(), lambda: os.kill(os.getpid(), number), tmp_path / "pids")
        evidence_of(request(tmp_path, 2), crash)

    assert in_child(act) == -number


def test_an_error_of_one_is_an_error_of_the_action(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise TaskError("sample 3 is wrong", key="data.test")

    def act() -> None:
        evidence_of(request(tmp_path, 2), in_others(os.getpid(), fail, tmp_path / "pids"))

    assert in_child(act) == 7
    assert "sample 3 is wrong data.test" in capfd.readouterr().out


def test_kill_9_of_the_action_leaves_nobody(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()

    def mark(chunk: Chunk) -> Evidence:
        beside_another(pids, chunk)
        time.sleep(0.05)
        return squares(chunk)

    pid = os.fork()
    if pid == 0:
        try:
            evidence_of(request(tmp_path / "a", 3), mark)
        finally:
            os._exit(1)
    until = time.monotonic() + 30
    while len(os.listdir(pids)) < 2 and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    left = [int(name) for name in os.listdir(pids) if int(name) != pid]
    assert left
    while any(alive(one) for one in left):
        assert time.monotonic() < until
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_evidence_is_json_and_arrays_alone(tmp_path: Path) -> None:
    words = np.array([b"a", b"bcd"])
    found = unpack(pack(Evidence([1, None], {"words": words, "none": np.zeros((0, 3))})))
    assert found is not None
    assert found.arrays["words"].tolist() == [b"a", b"bcd"]
    assert found.arrays["none"].shape == (0, 3)
    assert json.dumps(found.told) == "[1, null]"
