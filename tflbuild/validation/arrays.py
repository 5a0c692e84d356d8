"""A `.npz` archive of a user's, read within bounds: it may be anything."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tflbuild.errors import TaskError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

MAX_BYTES = 256 << 20  # of all arrays together
MAX_ARRAYS = 1000
_SUFFIX = ".npy"


def read_npz(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Array]:
    """The arrays of an archive by name, in native byte order.

    Nothing is allocated that the archive does not hold: sizes are checked before, and an array
    that claims to be larger than its bytes is refused. Raises TaskError, of one line.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _arrays(archive, max_bytes)
    except TaskError:
        raise
    except OSError as error:
        raise TaskError(f"it cannot be read: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        with path.open("rb") as stream:
            start = stream.read(6)
        if start.startswith(b"\x93NUMPY"):
            raise TaskError("it is one array (.npy); save arrays by name: numpy.savez") from error
        if start.startswith(b"PK"):
            raise TaskError(f"it is damaged: {one_line(error, 200)}") from error
        raise TaskError("it is no .npz archive; write it with numpy.savez") from error
    except Exception as error:  # zlib, lzma, encryption, a table of contents that lies
        raise TaskError(f"it is damaged: {one_line(error, 200)}") from error


def _arrays(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, Array]:
    members = archive.infolist()
    if len(members) > MAX_ARRAYS:
        raise TaskError(f"it holds {len(members)} files; {MAX_ARRAYS} arrays are the most")
    whole = sum(member.file_size for member in members)
    if whole > max_bytes:
        raise TaskError(
            f"its arrays take {whole >> 20:,} MiB, and {max_bytes >> 20} MiB are the most;"
            " record fewer samples"
        )
    arrays: dict[str, Array] = {}
    for member in members:
        if not member.filename.endswith(_SUFFIX):
            raise TaskError(f"{_shown(member.filename)} in it is no array; use numpy.savez")
        name = member.filename.removesuffix(_SUFFIX)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # LZMA takes the memory that a stream asks for.
            raise TaskError(f"array {_shown(name)} is not compressed as numpy does it")
        if name in arrays:
            raise TaskError(f"it holds {_shown(name)} twice")
        try:
            with archive.open(member) as stream:
                arrays[name] = _array(stream, member.file_size)
        except TaskError as error:
            raise TaskError(f"array {_shown(name)} {error}") from error
        except Exception as error:
            reason = one_line(error, 200)
            raise TaskError(f"array {_shown(name)} is damaged: {reason}") from error
    return arrays


def _array(stream: IO[bytes], size: int) -> Array:
    """An array of the form that numpy.save writes (NEP 1), from a stream of `size` bytes."""
    import numpy as np

    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:  # 3.0 is for names of fields alone
        raise TaskError("is no array of plain numbers or text")
    if dtype.hasobject:
        raise TaskError("holds Python objects; save plain numbers")
    if dtype.kind not in "biufcSU":
        raise TaskError(f"is of type {one_line(str(dtype), 60)}; save plain numbers or text")
    count = 1
    for axis in shape:
        if axis < 0:
            raise TaskError("has a negative size")
        count *= axis
    if count and not dtype.itemsize:
        raise TaskError("has values of no size")
    wanted = count * dtype.itemsize
    if stream.tell() + wanted != size:
        raise TaskError(f"is damaged: {wanted:,} bytes are named, {size - stream.tell():,} there")
    data = stream.read(wanted)
    if len(data) != wanted:
        raise TaskError("is cut short")
    flat = np.frombuffer(data, dtype) if wanted else np.empty(count, dtype)
    order: Any = "F" if fortran else "C"
    array = flat.reshape(shape, order=order)
    # (ascontiguousarray would make a scalar a vector)
    return np.asarray(array.astype(dtype.newbyteorder("=")), order="C")


def _shown(name: str) -> str:
    return repr(one_line(name, 80))
