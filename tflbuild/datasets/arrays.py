"""Samples written to `.npy` files one after the other, in memory of one sample.

The files are what `numpy.save` makes of the whole array: equal samples are equal bytes. They are
written, not memory-mapped: a full disk is then an error and not a crash.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tflbuild.errors import TaskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

LARGEST_TEXT = 1 << 31  # bytes of an array of strings, which is put together in memory


class Writer:
    """One array, samples along its first axis."""

    def __init__(self, path: Path, name: str, kind: str = "input") -> None:
        """`name`, `kind`: what it holds, for messages."""
        self.path = path
        self.name = name
        self._kind = kind
        self.count = 0
        self._stream: IO[bytes] | None = None
        self._first: tuple[Any, tuple[int, ...]] | None = None  # dtype and shape of a sample
        self._texts: list[Array] = []

    def add(self, sample: Array, where: str) -> None:
        """Raises TaskError when the sample is not like those before it."""
        text = sample.dtype.kind in "OSU"
        kind = "string" if text else sample.dtype.newbyteorder("<")
        if self._first is None:
            self._first = (kind, sample.shape)
            if not text:
                self._stream = self.path.open("wb")
                self._stream.write(self._header())
        elif self._first != (kind, sample.shape):
            first, shape = self._first
            raise TaskError(
                f"{where}: {self._shown()} is {kind} of shape {list(sample.shape)}, in the samples"
                f" before it {first} of shape {list(shape)}"
            )
        self.count += 1
        if text:
            self._texts.append(sample)
        else:
            assert self._stream is not None
            self._stream.write(sample.astype(kind, copy=False).tobytes())

    def close(self) -> dict[str, Any]:
        """The finished file; what it holds."""
        assert self._first is not None
        kind, shape = self._first
        if self._stream is not None:
            self._stream.seek(0)
            self._stream.write(self._header())
            self._stream.close()
        else:
            self._save_texts(shape)
        return {"dtype": str(kind), "shape": [self.count, *shape]}

    def _header(self) -> bytes:
        """NumPy leaves room in it for any number of samples, so its length never changes."""
        import numpy as np

        assert self._first is not None
        kind, shape = self._first
        buffer = io.BytesIO()
        described = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(kind)),
            "fortran_order": False,
            "shape": (self.count, *shape),
        }
        np.lib.format.write_array_header_1_0(buffer, described)
        return buffer.getvalue()

    def _save_texts(self, shape: tuple[int, ...]) -> None:
        """As bytes of one length, as `.npy` holds strings."""
        import numpy as np

        texts = [as_bytes(text) for sample in self._texts for text in sample.ravel().tolist()]
        longest = max([1, *map(len, texts)])
        if longest * len(texts) > LARGEST_TEXT:
            raise TaskError(
                f"{self._shown()}: {len(texts)} strings of up to {longest} bytes make more than"
                f" {LARGEST_TEXT} bytes: take fewer by samples:"
            )
        if any(text.endswith(b"\0") for text in texts):
            raise TaskError(f"{self._shown()}: a string ends with a zero byte, which .npy loses")
        array = np.array(texts, f"S{longest}").reshape(self.count, *shape)
        np.save(self.path, array, allow_pickle=False)

    def _shown(self) -> str:
        return f"{self._kind} {self.name!r}" if self.name else f"the {self._kind}"


def as_bytes(text: Any) -> bytes:
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        return text.encode()
    raise TaskError(f"expected strings, got {type(text).__name__}")
