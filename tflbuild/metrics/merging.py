"""Arrays that come in chunks, behind one another in files: never more than a chunk in memory."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tflbuild.limits import room_for
from tflbuild.metrics.base import Evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def merged_files(chunks: Iterable[Evidence], folder: Path) -> dict[str, Array]:
    """The chunks of each array as one, memory-mapped from a `.npy` file in `folder`, which is made.

    Text is put together in memory: its chunks may differ in length. Raises OSError.
    """
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, _File] = {}
    texts: dict[str, list[Array]] = {}
    try:
        for chunk in chunks:
            for name, array in chunk.items():
                if array.dtype.kind in "SUO":
                    texts.setdefault(name, []).append(array)
                else:
                    if name not in files:
                        files[name] = _File(folder / f"{len(files)}.npy", array)
                    files[name].add(array)
    finally:
        for file in files.values():
            file.close()
    found: dict[str, Array] = {n: np.concatenate(arrays) for n, arrays in texts.items()}
    for name, file in files.items():
        room_for(file.path)
        empty = not file.count or 0 in file.shape
        found[name] = np.load(file.path, mmap_mode=None if empty else "r", allow_pickle=False)
    return found


class _File:
    """A `.npy` file that grows. Written, not mapped: a full disk is then an error and no crash."""

    def __init__(self, path: Path, first: Array) -> None:
        self.path = path
        self.count = 0
        self.shape: tuple[int, ...] = first.shape[1:]
        self._dtype = first.dtype
        self._stream: IO[bytes] = path.open("wb")
        self._stream.write(self._header())

    def add(self, array: Array) -> None:
        assert array.shape[1:] == self.shape, (array.shape, self.shape)
        self._stream.write(array.astype(self._dtype, copy=False).tobytes())
        self.count += len(array)

    def close(self) -> None:
        self._stream.seek(0)
        self._stream.write(self._header())
        self._stream.close()

    def _header(self) -> bytes:
        """NumPy leaves room in it for any number of samples, so its length never changes."""
        import numpy as np

        buffer = io.BytesIO()
        described = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.count, *self.shape),
        }
        np.lib.format.write_array_header_1_0(buffer, described)
        return buffer.getvalue()
