"""Models that no `.tflite` file can hold, refused before hours of work.

Sizes come from what lies on disk (headers, indexes, stat), so that nothing large is read.
"""

from __future__ import annotations

import os

from tflbuild.errors import TaskError

LIMIT = 2**31 - 1  # bytes that a flatbuffer can address, and a protocol buffer hold


def too_large(path: str, shown: str) -> str:
    """In the parent: the problem with a file that holds nothing but a model, or ""."""
    size = os.stat(path).st_size
    return "" if size <= LIMIT else _text(size, f"{shown} has")


def refuse_large(size: int, what: str) -> None:
    """TaskError where `what` ("its weights take") is more bytes than a file can hold."""
    if size > LIMIT:
        raise TaskError(_text(size, what))


def _text(size: int, what: str) -> str:
    return (
        f"{what} {size:,} bytes, and a .tflite file or a graph holds {LIMIT:,} (2 GiB) at most:"
        " make the model smaller, or split it into several"
    )
