"""Archives: our own, whose bytes tell nothing but their content, and those of strangers.

`pack` and `unpack` are for tars that tasks hand on. `extract` reads a tar or zip that came from
somewhere: whatever in it could reach out of the folder, or fill the disk, is refused.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

from tflbuild.errors import TaskError, one_line

MAX_MEMBERS = 100_000
MAX_RECORD = 16 << 20  # bytes: of a tar's header with its names, of a zip's list of members
_CHUNK = 1 << 20


class ArchiveError(Exception):
    """An archive that is damaged or does something that it must not; a clause that says what."""


# our own


def pack(folder: Path, names: Iterable[str], archive: Path) -> None:
    """A tar of files and folders below `folder`: sorted, without owners, times and modes, so that
    equal content is equal bytes. Raises ArchiveError for what is neither file nor folder."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, path in sorted(_walk(folder, names)):
            info = tarfile.TarInfo(name)
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif stat.S_ISREG(mode):
                info.size, info.mode = path.stat().st_size, 0o644
                with path.open("rb") as stream:
                    tar.addfile(info, stream)
            else:
                raise ArchiveError(f"{name} is neither a file nor a folder (a link, a socket)")


def _walk(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    for name in names:
        top = folder / name
        if name != ".":
            yield name, top
        if top.is_dir() and not top.is_symlink():
            for at, folders, files in os.walk(top):
                for entry in (*folders, *files):
                    path = Path(at) / entry
                    yield path.relative_to(folder).as_posix(), path


def unpack(archive: Path, folder: Path, member: str = ".") -> Path:
    """Put a member of one of our tars into `folder`, which must not exist; its path there. A file
    brings what lies beside it and below, which it may refer to (weights of their own); `.` is all.
    Raises TaskError, with the nearest names, when there is no such member."""
    folder.mkdir()
    with tarfile.open(archive) as tar:
        infos = {info.name: info for info in tar}
        known = infos.get(member)
        if member != "." and known is None:
            near = get_close_matches(member, list(infos)[:1000], 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is {_some(infos)}"
            raise TaskError(f"there is no {member!r} in it; {hint}", key="source.path")
        top = member if known is None or known.isdir() else posixpath.dirname(member) or "."
        within = "" if top == "." else top + "/"
        for name, info in infos.items():
            path = folder / name
            if name != top and not name.startswith(within):
                continue
            if info.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = tar.extractfile(info)
            assert stream is not None
            with path.open("xb") as copy:
                shutil.copyfileobj(stream, copy, _CHUNK)
    (folder / top).mkdir(parents=True, exist_ok=True)  # also of an archive that holds nothing
    return folder / member


def _some(names: Iterable[str]) -> str:
    top = sorted({name.partition("/")[0] for name in names})
    return ", ".join(repr(name) for name in top[:5]) + (", …" if len(top) > 5 else "") or "nothing"


# of strangers


@dataclass(frozen=True)
class Entry:
    """A member: its name as written, its kind (d, f or what it is called), its size in bytes."""

    name: str
    kind: str
    size: int


class Bounded:
    """A file that gives no more at once than an archive's own records need: Python's readers hold
    a header whole in memory, of whatever size it says that it is."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > MAX_RECORD:
            raise ArchiveError(f"it has a record of {size:,} bytes")
        data = self.stream.read(MAX_RECORD + 1 if size < 0 else size)
        if len(data) > MAX_RECORD:
            raise ArchiveError("it has an endless record")
        return data


def _opened(path: Path) -> Any:
    """The bytes of a tar that may be compressed."""
    with path.open("rb") as stream:
        magic = stream.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if magic.startswith(b"BZh"):
        return bz2.open(path)
    if magic.startswith(b"\xfd7zXZ"):
        return lzma.open(path)
    return path.open("rb")


def is_archive(path: Path) -> bool:
    """Whether a file is a tar (compressed or not) or a zip."""
    if zipfile.is_zipfile(path):
        return True
    try:
        with _opened(path) as file:
            stream: Any = Bounded(file)
            tarfile.open(fileobj=stream, mode="r:").close()
            return True
    except Exception:  # not one, in whatever words
        return False


def extract(archive: Path, folder: Path, limit: int) -> None:
    """Unpack an archive into `folder`, which must not exist: files and folders, nothing else, of
    `limit` bytes at most altogether. Raises ArchiveError."""
    folder.mkdir()
    try:
        stream: Any  # they ask for less of a file than their types do
        if zipfile.is_zipfile(archive):
            with archive.open("rb") as file:
                stream = Bounded(file)
                with zipfile.ZipFile(stream) as source:
                    _write(_zip_members(source), folder, limit)
        else:
            with _opened(archive) as file:
                stream = Bounded(file)
                with tarfile.open(fileobj=stream, mode="r:") as tar:
                    _write(_tar_members(tar), folder, limit)
    except (ArchiveError, MemoryError):
        raise
    except Exception as error:  # the readers have many words for what is damaged
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ArchiveError(f"it cannot be unpacked: {one_line(said, 200)}") from error


Members = Iterator[tuple[Entry, IO[bytes] | None]]


def _zip_members(source: zipfile.ZipFile) -> Members:
    infos = source.infolist()
    if len(infos) > MAX_MEMBERS:
        raise ArchiveError(f"it has more than {MAX_MEMBERS:,} members")
    for info in infos:
        kind = _kind(info.external_attr >> 16, "d" if info.is_dir() else "f")
        entry = Entry(info.filename, kind, info.file_size)
        if kind == "f":
            with source.open(info) as stream:
                yield entry, stream
        else:
            yield entry, None


def _kind(mode: int, usual: str) -> str:
    """What a zip made on Unix says that a member is."""
    if stat.S_ISLNK(mode):
        return "symbolic link"
    known = not stat.S_IFMT(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return usual if known else "special file"


def _tar_members(tar: tarfile.TarFile) -> Members:
    while (info := tar.next()) is not None:
        if info.isdir():
            yield Entry(info.name, "d", 0), None
        elif info.isreg() and not info.issparse():
            stream = tar.extractfile(info)
            assert stream is not None
            with closing(stream):
                yield Entry(info.name, "f", info.size), stream
        else:
            link = "symbolic link" if info.issym() else "hard link" if info.islnk() else ""
            yield Entry(info.name, link or "special file", 0), None


def _write(members: Members, folder: Path, limit: int) -> None:
    total = count = 0
    for entry, stream in members:
        count += 1
        if count > MAX_MEMBERS:
            raise ArchiveError(f"it has more than {MAX_MEMBERS:,} members")
        path = folder / _safe(entry)
        if entry.kind == "d":
            path.mkdir(parents=True, exist_ok=True)
            continue
        assert stream is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as copy:
                while chunk := stream.read(_CHUNK):
                    total += len(chunk)
                    if total > limit:
                        raise ArchiveError(
                            f"it unpacks to more than {limit:,} bytes; if that is right, raise"
                            " source.max_size"
                        )
                    copy.write(chunk)
        except FileExistsError as error:
            raise ArchiveError(f"it holds {entry.name!r} twice") from error


def _safe(entry: Entry) -> str:
    """The name of a member below the folder that it is unpacked to."""
    name = entry.name
    if entry.kind not in ("d", "f"):
        raise ArchiveError(f"its member {name!r} is a {entry.kind}, which is not unpacked")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or "\\" in name or ".." in parts or "\0" in name:
        raise ArchiveError(f"its member {name!r} leads out of the archive")
    if any(len(os.fsencode(part)) > 255 for part in parts) or len(name) > 2000:
        raise ArchiveError("it has a member whose name is too long")
    return "/".join(parts) or "."
