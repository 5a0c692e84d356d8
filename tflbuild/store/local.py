"""The local store: content-addressed blobs under `.tflbuild/store/`.

A blob is written under a temporary name and renamed, so it is whole or absent; its digest is
checked at every read (children check theirs, `copy_out` checks what it copies).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path

FICLONE = 0x40049409  # linux/fs.h: share the blocks of a file, copied when one of them changes
_CHUNK = 1 << 20


class DamagedBlob(Exception):
    """A blob is gone, or is not what its name says."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"blob {digest} is damaged or missing")
        self.digest = digest


class Store:
    def __init__(self, folder: Path) -> None:
        self.blobs = folder / "blobs"
        self.temporary = folder / "tmp"

    def prepare(self) -> None:
        """Make the folders and drop what an interrupted build left half written."""
        self.blobs.mkdir(parents=True, exist_ok=True)
        if self.temporary.exists():
            shutil.rmtree(self.temporary)
        self.temporary.mkdir(parents=True)

    def path(self, digest: str) -> Path:
        return self.blobs / digest[:2] / digest

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def adopt(self, source: Path, digest: str) -> None:
        """Move a finished file of the same file system into the store."""
        target = self.path(digest)
        if target.exists():  # the newer copy is known to be sound, the older may not be
            target.chmod(0o644)
        target.parent.mkdir(exist_ok=True)
        source.chmod(0o444)
        source.replace(target)

    def discard(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def read(self, digest: str) -> bytes:
        """A small blob's content. Raises DamagedBlob."""
        try:
            content = self.path(digest).read_bytes()
        except OSError as error:
            raise DamagedBlob(digest) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise DamagedBlob(digest)
        return content

    def copy_out(self, digest: str, target: Path, durable: bool = False) -> None:
        """Put a copy (a reflink where the file system can) at `target`, atomically.

        Never a hard link: an edit through one name would change both. `durable` waits for the
        disk. Raises DamagedBlob; the target is then as it was.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.temporary / f"out-{os.getpid()}-{digest[:16]}"
        try:
            self._copy(digest, temporary, durable)
            temporary.chmod(0o644)
            _rename(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def _copy(self, digest: str, temporary: Path, durable: bool) -> None:
        checksum = hashlib.sha256()
        try:
            with self.path(digest).open("rb") as source, temporary.open("wb") as copy:
                cloned = _clone(source.fileno(), copy.fileno())
                while chunk := source.read(_CHUNK):
                    checksum.update(chunk)
                    if not cloned:
                        copy.write(chunk)
                if durable:
                    copy.flush()
                    os.fsync(copy.fileno())
        except FileNotFoundError as error:
            raise DamagedBlob(digest) from error
        if checksum.hexdigest() != digest:
            raise DamagedBlob(digest)

    def write(self, path: Path, content: bytes, durable: bool = False) -> bool:
        """Write a file atomically unless it already holds `content`; True when written.

        The temporary file lies in the store, so no folder of the user's ever holds a part.
        """
        with contextlib.suppress(OSError):
            if path.read_bytes() == content:
                return False
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.temporary / f"write-{os.getpid()}"
        try:
            with temporary.open("wb") as stream:
                stream.write(content)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            _rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return True


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # Another file system is mounted there: copy beside it, then rename.
        beside = target.with_name(f".tflbuild-{target.name}")
        shutil.copyfile(temporary, beside)
        beside.replace(target)


def _clone(source: int, target: int) -> bool:
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.ioctl(target, FICLONE, source)
        return True
    return False
