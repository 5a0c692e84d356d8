"""The Protocol behind which each source format stands, and what a loaded source offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Tensors = dict[str, Any]  # tensors by signature key


@dataclass(frozen=True)
class TensorSpec:
    """One input as the source declares it. `shape`: None for a dynamic dimension."""

    name: str
    shape: tuple[int | None, ...] | None  # None: unknown rank
    dtype: str


@dataclass(frozen=True)
class Loaded:
    """A source, loaded by its own framework, in a child.

    `function` takes TensorFlow tensors by input name and gives them by output name; it may be
    traced. `inputs` and `outputs` are in the source's own positional order (sorted keys where it
    has none). `save` writes a SavedModel of the given traced function (`keras` needs its own
    way); `keep_alive` holds what the function refers to weakly.
    """

    loader: str
    signature: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    function: Callable[[Tensors], Tensors]
    save: Callable[[Any, str, Path], None]
    keep_alive: Any = None


class Format(Protocol):
    """One source format: one module in this package."""

    NAME: str
    MODULES: tuple[str, ...]  # what loading it imports, beyond TensorFlow and NumPy

    def files(self, path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
        """In the parent, without TensorFlow: the files that make the source, as (name, path)
        sorted by name, and the folders whose listing says so."""
        ...

    def load(self, path: Path, params: Mapping[str, Any]) -> Loaded:
        """In a child. Raises TaskError with a reason and a remedy."""
        ...
