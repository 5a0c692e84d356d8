"""What a build looks like to a person."""

from __future__ import annotations

import pytest

from tflbuild.engine.events import BuildDone, Counts, GateDone, Note, TaskDone, TaskStarted
from tflbuild.reporting.jsonlines import JsonLines
from tflbuild.reporting.terminal import Terminal, last_line
from tflbuild.verdict import Finding, Verdict

RAN = TaskDone("convert:kws:int8", "ran", 0.25, ("data.npz changed",))
FAILED = TaskDone("lower:kws", "failed", 0.1, (), "no such file", "build/logs/lower:kws.log")
SKIPPED = TaskDone("release:kws:int8@litert", "skipped", reason="needs lower:kws")
MISSED = GateDone("validate:kws:int8", Verdict((Finding("fail", "parity.sqnr", "too low"),)))
RANDOM = GateDone("validate:kws:int8", Verdict((Finding("warn", "data", "random data"),)))


def lines(terminal: Terminal, capsys: pytest.CaptureFixture[str], *events: object) -> list[str]:
    with terminal:
        for event in events:
            terminal(event)  # type: ignore[arg-type]
    captured = capsys.readouterr()
    assert captured.out == "", "results alone go to standard output"
    return captured.err.splitlines()


def test_plain_lines_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines(Terminal(), capsys, TaskStarted("convert:kws:int8"), RAN, FAILED, SKIPPED, MISSED)
    assert shown == [
        "ran       convert:kws:int8 0.2 s",
        "failed    lower:kws: no such file (log: build/logs/lower:kws.log)",
        "gate      validate:kws:int8: too low",
    ]
    assert not any("\x1b" in line for line in shown)


def test_quiet_says_what_went_wrong_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines(Terminal(quiet=True), capsys, RAN, FAILED, MISSED, RANDOM)
    assert [line.split()[0] for line in shown] == ["failed", "gate"]


def test_explain_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines(Terminal(explain=True), capsys, RAN, SKIPPED)
    assert shown[0].endswith("because data.npz changed")
    assert shown[1].startswith("skipped   release:kws:int8@litert: needs lower:kws")


def test_equal_words_of_a_gate_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = [Finding("fail", check, "too many") for check in ("macs", "evaluate.macs", "macs")]
    event = GateDone("compat:kws:int8@phone", Verdict((*found, Finding("fail", "size", "large"))))
    assert [line.rpartition(": ")[2] for line in lines(Terminal(), capsys, event)] == [
        "too many", "large",
    ]  # fmt: skip


def test_random_data_is_said_once_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    assert lines(terminal, capsys, *[RANDOM] * 16) == []


def test_json_lines_leave_out_progress(capsys: pytest.CaptureFixture[str]) -> None:
    listener = JsonLines()
    for event in (TaskStarted("lower:kws"), RAN, Note("hello")):
        listener(event)
    out = capsys.readouterr().out.splitlines()
    assert out == [
        '{"event": "task", "task": "convert:kws:int8", "outcome": "ran", "seconds": 0.25,'
        ' "why": ["data.npz changed"]}',
        '{"event": "note", "message": "hello"}',
    ]


def test_the_last_line_counts_and_names_what_is_stale() -> None:
    done = BuildDone(Counts(3, 0, 80, 1, 2), 3.14, stale=("kws:int8@litert",))
    assert last_line(done) == (
        "3 ran, 80 up to date, 1 failed, 2 skipped in 3.1 s;"
        " the released file is stale for kws:int8@litert"
    )
