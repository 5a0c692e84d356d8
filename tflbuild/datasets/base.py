"""The Protocol behind which each kind of data stands that is not arrays yet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from tflbuild.manifest.model import Model


class Sample(NamedTuple):
    """One sample: an array for each input by name ("" for the only one), without a batch axis; its
    label, or several by name."""

    where: str  # for messages: "record 3 of data/a.tfrecord"
    inputs: Mapping[str, Any]
    label: Any = None  # a class number, an array, text, or a dict of those


@dataclass(frozen=True)
class Listing:
    """What samples are made of, as the parent finds it."""

    files: Mapping[str, str]  # keyed name → path relative to the root
    params: Mapping[str, Any]  # what else decides the result
    folders: tuple[str, ...] = ()  # whose listing found the files
    modules: tuple[str, ...] = ()  # whose versions enter the key
    request: Mapping[str, Any] = field(default_factory=dict)  # for the child alone, in no key


class WrongData(Exception):
    """In the parent: what is declared is not there. `key` is relative to the data's section."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class Kind(Protocol):
    """One kind of data: one module in this package."""

    NAME: str

    def listing(self, root: Path, model: Model, data: Any) -> Listing:
        """In the parent, without NumPy. Raises WrongData and OSError."""
        ...

    def paths(self, root: Path, model: Model, data: Any) -> list[str]:
        """In the parent: the files and folders that a person may call its own."""
        ...

    def samples(
        self, params: Mapping[str, Any], files: Mapping[str, Path], told: dict[str, Any]
    ) -> Iterator[Sample]:
        """In a child: the samples in order. `files` has the keyed names; what a person may want
        to know goes into `told`. Raises TaskError, its `key` relative to the data's section."""
        ...


def inside(root: Path, path: str, key: str) -> str:
    """An absolute path below the root, relative to it. Raises WrongData when it leads out, or is
    none that a line of text can hold."""
    relative = "." if path == str(root) else path.removeprefix(str(root) + os.sep)
    if not relative.isprintable():  # a newline, or bytes that are not UTF-8
        raise WrongData(f"{relative!a}: rename it, to characters that can be shown", key)
    real = os.path.realpath(path)
    if real != str(root) and not real.startswith(str(root) + os.sep):
        raise WrongData(f"{relative} is a symbolic link that leaves the workspace", key)
    return relative
