"""Arrays that are not read into memory: members of an `.npz` archive, and rows chosen of a file.

What is small is read as NumPy does. A member that is stored as it is gets mapped where it lies; a
compressed one is written out once, as `.npy` in the scratch folder, and mapped there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tflbuild.errors import TaskError
from tflbuild.limits import room_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

LARGE = 1 << 26  # bytes from which on an array is not read into memory
_PART = 1 << 22
_LOCAL = 30  # bytes of a local file header, before the name (APPNOTE.TXT 4.3.7)


def member(archive: Any, name: str) -> Any:
    """What `archive[name]` of `numpy.load` gives. Raises whatever it raises: zipfile.BadZipFile,
    zlib.error, ValueError, OSError; TaskError where there is no room to write it out."""
    import numpy as np

    found = _entry(archive, name)
    if found is None or found.file_size < LARGE:
        return archive[name]
    if found.compress_type == zipfile.ZIP_STORED and found.flag_bits & 1 == 0:
        return _stored(archive, found)
    path = _scratch(f"{archive.zip.filename}/{found.filename}/{found.CRC}")
    if not path.exists():
        if shutil.disk_usage(path.parent).free < found.file_size:
            raise TaskError(
                f"array {name!r} takes {found.file_size} bytes, more than the disk has left"
            )
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with archive.zip.open(found) as packed, temporary.open("wb") as stream:
            shutil.copyfileobj(packed, stream, _PART)
        temporary.replace(path)
    room_for(path)
    return _plain(np.load(path, mmap_mode="r", allow_pickle=False))


def taken(array: Array, places: Any) -> Array:
    """Rows of an array: a view for a slice; for a list a copy, of a large one on disk."""
    import numpy as np

    if isinstance(places, slice) or array[:1].nbytes * len(places) < LARGE:
        part: Array = array[places]
        return part
    mapped = _memmap(array)
    if mapped is None:  # it is in memory already
        return array[places]  # type: ignore[no-any-return]
    seen = f"{mapped.filename} {mapped.offset}"
    path = _scratch(f"{seen} {array.dtype} {array.shape} {places}")
    if not path.exists():
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        shape = (len(places), *array.shape[1:])
        with temporary.open("wb") as stream:
            _header(stream, array.dtype, shape)
            for place in places:
                stream.write(np.ascontiguousarray(array[place]).tobytes())
        temporary.replace(path)
    room_for(path)
    return _plain(np.load(path, mmap_mode="r", allow_pickle=False))


def _entry(archive: Any, name: str) -> zipfile.ZipInfo | None:
    for filename in (f"{name}.npy", name):
        if filename in archive.zip.NameToInfo:
            found: zipfile.ZipInfo = archive.zip.NameToInfo[filename]
            return found
    return None


def _stored(archive: Any, entry: zipfile.ZipInfo) -> Array:
    import numpy as np

    with Path(archive.zip.filename).open("rb") as stream:
        stream.seek(entry.header_offset)
        local = stream.read(_LOCAL)
        if len(local) < _LOCAL or local[:4] != b"PK\3\4":
            raise zipfile.BadZipFile("a local header is damaged")
        name, extra = struct.unpack("<HH", local[26:30])
        begin = entry.header_offset + _LOCAL + name + extra
        stream.seek(begin)
        checksum, left = 0, entry.file_size
        while left:
            part = stream.read(min(_PART, left))
            if not part:
                raise zipfile.BadZipFile("a member is cut short")
            checksum, left = zlib.crc32(part, checksum), left - len(part)
        if checksum != entry.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {entry.filename!r}")
        stream.seek(begin)
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            return archive[entry.filename]  # type: ignore[no-any-return]
        shape, fortran, dtype = read(stream)
        if dtype.hasobject:
            return archive[entry.filename]  # type: ignore[no-any-return]
        offset = stream.tell()
    size = dtype.itemsize
    for length in shape:
        size *= length
    if offset + size > begin + entry.file_size:
        raise ValueError("the header says more than the member holds")
    room_for(Path(archive.zip.filename))
    mapped = np.memmap(
        archive.zip.filename, dtype, "r", offset, shape, order="F" if fortran else "C"
    )
    return _plain(mapped)


def _plain(mapped: Any) -> Array:
    import numpy as np

    array: Array = np.asarray(mapped)
    return array


def _memmap(array: Array) -> Any:
    import numpy as np

    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    return base


def _header(stream: IO[bytes], dtype: Any, shape: tuple[int, ...]) -> None:
    import numpy as np

    described = {
        "descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape,
    }  # fmt: skip
    np.lib.format.write_array_header_1_0(stream, described)


def _scratch(text: str) -> Path:
    """A file of this action's own; the same for all its processes."""
    name = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"{name}.npy"
