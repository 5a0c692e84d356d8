"""The values that a `.tflite` file is read into; `read.py` makes them."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from flatbuffers.table import Table as RawTable

from .flat import InvalidModel

Kind = Literal["builtin", "select", "custom"]

# Bits of one element. Types without a fixed width (string, resource, variant) are not here.
_WIDTHS = {
    2: "int2",
    4: "int4 uint4",
    8: "bool int8 uint8 float8_e4m3fn float8_e5m2",
    16: "int16 uint16 float16 bfloat16",
    32: "int32 uint32 float32",
    64: "int64 uint64 float64 complex64",
    128: "complex128",
}
BITS = {name: bits for bits, names in _WIDTHS.items() for name in names.split()}


@dataclass(frozen=True)
class Quantization:
    """real = scale * (stored - zero_point). Per axis `axis` when there are several scales.

    `scale` is empty where the scales lie in another tensor (blockwise quantization).
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int


@dataclass(frozen=True)
class Tensor:
    """One tensor. `shape_signature` equals `shape` unless the file gives one; -1 is dynamic.

    `buffer` 0 means no data; `data_size` is bytes of constant data, 0 if there is none.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    dtype: str
    buffer: int
    data_size: int
    is_variable: bool
    quantization: Quantization | None
    external_buffer: int = 0  # id of data in another file; 0: none
    sparse: bool = False  # only some of its elements are stored

    @property
    def is_constant(self) -> bool:
        """Whether its values are part of the model."""
        return self.data_size > 0

    @property
    def elements(self) -> int:
        """Number of elements; dynamic dimensions count as 1."""
        return element_count(self.shape)


@dataclass(frozen=True)
class Op:
    """One operator.

    `name`: the builtin's name, or the custom code; `kind` "select" is a custom code that starts
    with "Flex". `inputs` and `outputs` are tensor indexes, -1 where an optional one is left out.
    `subgraphs`: the subgraphs that it runs, in the order of its options.
    """

    index: int
    name: str
    kind: Kind
    code: int
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: tuple[int, ...] = ()
    _options: Options | None = field(default=None, compare=False, repr=False)
    _custom: memoryview | None = field(default=None, compare=False, repr=False)

    @property
    def options(self) -> Mapping[str, Any]:
        """The builtin options by schema name ("strideW"); empty if there are none.

        Read at each access; numbers, bools, strings and tuples. Raises InvalidModel.
        """
        return self._options.read() if self._options else {}

    @property
    def custom_options(self) -> bytes:
        """The custom options, as they are."""
        return bytes(self._custom) if self._custom is not None else b""


@dataclass(frozen=True)
class Subgraph:
    """One subgraph; `inputs` and `outputs` are tensor indexes in positional order."""

    index: int
    name: str
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ops: tuple[Op, ...]


@dataclass(frozen=True)
class Signature:
    """A SignatureDef: (name, tensor index) pairs, in the order of the file."""

    key: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Buffer:
    """Where a buffer's data lie in the file, in bytes; size 0: empty.

    `behind`: not in the flatbuffer but after it, where `Buffer.offset` says.
    """

    offset: int
    size: int
    behind: bool = False


@dataclass(frozen=True)
class TfliteModel:
    """What a file holds. Keeps the file's bytes alive through the operators' options."""

    version: int
    description: str
    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...]
    metadata: tuple[str, ...]
    size: int
    buffers: tuple[Buffer, ...] = ()
    min_runtime_version: str | None = None  # what the file says of itself, None: nothing


class Options:
    """Builtin options, unpacked by the generated classes when somebody asks."""

    def __init__(self, data: memoryview, creator: Any, kind: int, pos: int) -> None:
        self._data, self._creator, self._kind, self._pos = data, creator, kind, pos

    def read(self) -> dict[str, Any]:
        try:
            found = self._creator(self._kind, RawTable(self._data, self._pos))
            values = vars(found) if found is not None else {}
            return {name: _plain(value) for name, value in values.items()}
        except (struct.error, IndexError, ValueError, TypeError, OverflowError) as error:
            raise InvalidModel(f"malformed operator options at byte {self._pos}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def entries(model: TfliteModel) -> list[tuple[str, int]]:
    """(signature key, subgraph) of all that an application can run, each subgraph once.

    Several signatures of one subgraph are one entry, with the first one's key. The main subgraph
    is there in any case: `Invoke` runs it, with or without a signature; its key is then "". A
    file with just one entry has nothing to tell apart: its key is "", too.
    """
    keys: dict[int, str] = {}
    for signature in model.signatures:
        keys.setdefault(signature.subgraph, signature.key)
    keys.setdefault(0, "")
    return [("" if len(keys) == 1 else key, subgraph) for subgraph, key in keys.items()]


def element_count(shape: Sequence[int]) -> int:
    """Number of elements; negative (dynamic) dimensions count as 1."""
    return math.prod(1 if size < 0 else size for size in shape)
