"""Errors that a person can act on, and the exit code that each one means."""

from __future__ import annotations

from dataclasses import dataclass

EXIT_OK = 0
EXIT_FAILED = 1  # a task failed or a gate did not pass
EXIT_USAGE = 2  # wrong usage or manifest
EXIT_FAULT = 3  # a fault in tflbuild itself
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, order=True)
class Position:
    """A place in a manifest; `file` is relative to the current folder or the root, 1-based."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class TflbuildError(Exception):
    """Base of every expected error: one line, no traceback."""

    exit_code = EXIT_FAILED


class UsageError(TflbuildError):
    """Wrong command line, or a workspace that cannot be used."""

    exit_code = EXIT_USAGE


class ManifestError(UsageError):
    """A manifest that says something wrong, with the place where it says it."""

    def __init__(self, message: str, position: Position | None = None) -> None:
        super().__init__(f"{position}: {message}" if position else message)
        self.message = message
        self.position = position


class ManifestErrors(UsageError):
    """Several manifest errors, a line each, in the order of their positions."""

    def __init__(self, errors: list[ManifestError]) -> None:
        super().__init__("\n".join(str(e) for e in errors))
        self.errors = errors


class TaskError(TflbuildError):
    """A task that failed for a reason in its inputs (not a fault of tflbuild).

    `key`: the dotted key of the model's manifest section that says the wrong thing, if one does.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def one_line(error: BaseException | str, limit: int = 400) -> str:
    """An error's text on one line; of a long one the beginning and the end, where causes stand.
    Control characters, which a stranger's file may hold, are shown as one sign each."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(str(error).split()))
    if len(text) <= limit:
        return text
    head = limit // 3
    return f"{text[:head]} … {text[-(limit - head) :]}"
