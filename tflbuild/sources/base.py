"""The Protocol behind which each source format stands, and what a loaded source offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from tflbuild.errors import TaskError

Tensors = dict[str, Any]  # tensors by signature key

# What lower makes of a source (Format.LOWERED).
GRAPH = "graph"  # it traces `function`; TensorFlow's converter takes the graph
TFLITE = "tflite"  # `to_tflite` gives a file; nothing is traced


@dataclass(frozen=True)
class TensorSpec:
    """One input as the source declares it. `shape`: None for a dynamic dimension."""

    name: str
    shape: tuple[int | None, ...] | None  # None: unknown rank
    dtype: str


class RunState(Protocol):
    """What `Signature.run` keeps from call to call."""

    goes_on: bool  # `forget` leaves something that a call changes

    def forget(self) -> None:
        """State tensors begin anew; variables go on."""
        ...

    def reset(self) -> None:
        """All state is as it was when the source was loaded."""
        ...


@dataclass(frozen=True)
class Signature:
    """One computation that a source offers.

    `function` takes TensorFlow tensors by input name and gives them by output name; it may be
    traced. `inputs` and `outputs` are in the source's own positional order (sorted keys where it
    has none). `run` is there where the source's own framework is not TensorFlow: NumPy arrays in
    and out, by the same names; then the reference is what it gives, and `function` is only
    lowered.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    function: Callable[[Tensors], Tensors]
    run: Callable[[Tensors], Tensors] | None = None
    state: RunState | None = None  # of `run`, where calls may leave something behind


@dataclass(frozen=True)
class Loaded:
    """A source, loaded by its own framework, in a child.

    `signatures`: those to ship, in their order. `save` writes a SavedModel of traced functions
    by signature key (`keras` needs its own way); `keep_alive` holds what functions refer to
    weakly. `to_tflite` is there where LOWERED is TFLITE: it gives the bytes of a file for the
    pinned inputs of each signature, inputs and outputs in their order; then `function` and `save`
    are not called, and each signature has a `run`.
    """

    loader: str
    signatures: tuple[Signature, ...]
    save: Callable[[Mapping[str, Any], Path], None]
    keep_alive: Any = None
    warnings: tuple[str, ...] = ()  # for the report
    to_tflite: Callable[[Mapping[str, Sequence[TensorSpec]]], bytes] | None = None


def no_signature(name: str, known: Sequence[str]) -> TaskError:
    """The error for a signature that a source does not have."""
    near = get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return TaskError(
        f"no signature {name!r}; the source has {sorted(known)}{hint}: name one by"
        " source.signature, or several by source.signatures",
        key=f"source.signatures.{name}",
    )


class Format(Protocol):
    """One source format: one module in this package."""

    NAME: str
    MODULES: tuple[str, ...]  # what loading it imports, beyond TensorFlow and NumPy
    KEYS: tuple[str, ...]  # of `source`, beyond `format`; the first is required
    EXAMPLE: str  # a value of that key, for messages
    FOLDER: bool  # its `path` names a folder
    LOWERED: str  # GRAPH or TFLITE
    RUNS_ALONE: bool  # `load` and `Signature.run` need no TensorFlow

    def problem(self, path: str, shown: str) -> str:
        """In the parent: why what lies at `path` (there is something) is not of this format;
        "" when it may be. `shown` is how the manifest writes it, quoted."""
        ...

    def files(self, path: Path) -> tuple[Sequence[tuple[str, Path]], Sequence[Path]]:
        """In the parent, without TensorFlow: the files that make the source, as (name, path)
        sorted by name, and the folders whose listing says so."""
        ...

    def load(self, path: Path, params: Mapping[str, Any]) -> Loaded:
        """In a child. `params`: the keys of `source`; of the manifest's `inputs`, `pins` (by name:
        shape, dtype), `pins_of` (those by signature) and `input_order`; of `outputs`,
        `output_order`. Functions of the user's come from `pyrun`. Raises TaskError with a reason
        and a remedy."""
        ...
