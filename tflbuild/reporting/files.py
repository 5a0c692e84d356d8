"""The files of `--junit` and `--summary`: tried before any work, written whatever became of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tflbuild.engine.build import Options, Outcome, build
from tflbuild.engine.events import Event, Listener, TaskDone
from tflbuild.errors import ManifestErrors, UsageError, one_line


@dataclass(frozen=True)
class Wanted:
    """The reports that are asked for."""

    junit: Path | None = None
    summary: Path | None = None

    @property
    def paths(self) -> list[tuple[str, Path]]:
        asked = (("--junit", self.junit), ("--summary", self.summary))
        return [(option, path) for option, path in asked if path is not None]


@dataclass
class Heard:
    """Passes events on, and keeps what the reports need of them."""

    listen: Listener
    logs: dict[str, str] = field(default_factory=dict)  # task → path of its log, under the root

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskDone) and event.log:
            self.logs[event.task] = event.log
        self.listen(event)


@dataclass(frozen=True)
class Broken:
    """A build that came to no outcome: a line for each thing that was wrong."""

    kind: str  # "manifest", "interrupted", "fault"
    lines: tuple[str, ...]


def build_reported(manifest: Path, options: Options, listen: Listener, wanted: Wanted) -> Outcome:
    """`build`, and the reports of it, also where it fails, raises or is interrupted.

    Raises UsageError before any work for a path that cannot be written, besides what `build`
    raises.
    """
    if not wanted.paths:
        return build(manifest, options, listen)
    if wanted.junit and wanted.summary and _real(wanted.junit) == _real(wanted.summary):
        raise UsageError(f"--junit and --summary: both are {wanted.junit}; give each its own file")
    for option, path in wanted.paths:
        prepare(option, path)
        _spare(option, path, manifest)
    for _, path in wanted.paths:
        _drop_earlier(_real(path))
    heard = Heard(listen)
    try:
        outcome = build(manifest, replace(options, judge=True), heard)
    except BaseException as error:
        with contextlib.suppress(OSError):  # what is wrong already is what matters
            _write(wanted, _broken(error), heard.logs, manifest, options)
        raise
    try:
        _write(wanted, outcome, heard.logs, manifest, options)
    except OSError as error:
        raise UsageError(f"a report cannot be written: {error}") from error
    return outcome


def _spare(option: str, path: Path, manifest: Path) -> None:
    """Raises UsageError for what the build itself reads: a slip would cost the manifest."""
    from tflbuild.lockfile import LOCK  # not on the path of a build with nothing to do

    for own in (manifest, manifest.parent / LOCK):
        if _real(path) == Path(os.path.realpath(own)):
            raise UsageError(f"{option}: {path} is what the build reads; name another file")


def _drop_earlier(path: Path) -> None:
    """A build that is killed writes nothing: a CI is not to find another one's green report."""
    with contextlib.suppress(OSError):
        if stat.S_ISREG(path.lstat().st_mode):
            with path.open("rb") as stream:
                start = stream.read(200)
            if start.startswith(b"### tflbuild") or b'<testsuites name="tflbuild"' in start:
                path.unlink()


def _broken(error: BaseException) -> Broken:
    if isinstance(error, ManifestErrors):
        return Broken("manifest", tuple(one_line(str(each)) for each in error.errors))
    if isinstance(error, KeyboardInterrupt):
        return Broken("interrupted", ("interrupted",))
    kind = "usage" if isinstance(error, UsageError) else "fault"
    said = one_line(error) or type(error).__name__
    return Broken(kind, (said if kind == "usage" else f"{type(error).__name__}: {said}",))


def _write(
    wanted: Wanted,
    outcome: Outcome | Broken,
    logs: Mapping[str, str],
    manifest: Path,
    options: Options,
) -> None:
    """Both, also where one of them cannot be written. Raises OSError."""
    root = Path(os.path.realpath(manifest.parent))
    with contextlib.ExitStack() as stack:
        if wanted.summary is not None:
            from tflbuild.reporting.summary_md import summary

            content = summary(outcome, root, options.until).encode()
            stack.callback(write, wanted.summary, content)
        if wanted.junit is not None:
            from tflbuild.reporting.junit import junit

            stack.callback(write, wanted.junit, junit(outcome, root, logs))


def prepare(option: str, path: Path) -> None:
    """Make the folder of a report, and try whether it can be written. Raises UsageError."""
    try:
        target = _real(path)
        if target.is_dir():
            raise UsageError(f"{option}: {path} is a folder; name a file in it")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if _special(target):
            return
        temporary = _temporary(target)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666))
        temporary.unlink()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{option}: {path} cannot be written: {why}") from error


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; through a link, what it leads to. Raises OSError."""
    target = _real(path)
    if _special(target):  # a pipe, /dev/stdout
        with target.open("wb") as stream:
            stream.write(content)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    try:
        # Not by tempfile, whose files nobody else may read: a CI's agent may be another user.
        with temporary.open("wb") as stream:
            stream.write(content)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _real(path: Path) -> Path:
    """What a link leads to; /dev/stdout itself, since what it leads to may have no name."""
    return path if _special(path) and not path.is_dir() else Path(os.path.realpath(path))


def _special(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
