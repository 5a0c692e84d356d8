"""The converter's file in, the released file out.

The object API of the generated schema does the structure; it would copy every buffer three
times, and it ignores `force_align: 16`. So buffers are written by `AlignedBuffer`, straight
from the source into a builder that is large enough from the start.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from tflbuild.errors import TflbuildError

from .read import (
    ALIGNMENT,
    IDENTIFIER,
    MIN_RUNTIME,
    InvalidModel,
    TfliteModel,
    read_metadata,
    read_model,
)
from .signature import Interface, check_interfaces, tensor_names
from .versions import corrections, metadata_value

_LIMIT = 2**31 - 1  # bytes that a flatbuffer can address
_INLINE = _LIMIT - 2**26  # bytes of a file whose buffers surely fit into one, with its structure
_LATER = 2**63  # stands for an offset behind the flatbuffer that is known at the end only


class TooLarge(TflbuildError):
    """A model whose flatbuffer would pass 2 GB."""


def rewrite(
    data: bytes | bytearray | memoryview,
    *,
    interfaces: Sequence[Interface],
    metadata: Mapping[str, bytes] | None = None,
) -> bytearray:
    """Give a converted file its interface and its final layout.

    Its signatures are `interfaces` alone; inputs and outputs have their order and names (see
    `tensor_names`); every buffer starts at a multiple of 16 bytes; the versions of its operators
    and the metadata `min_runtime_version` are right (see `versions`). All else keeps its value;
    bytes that nothing in the file refers to are dropped. The same arguments give the same bytes.
    Takes about the file's size in memory beyond `data`.

    Args:
        data: the converter's file.
        interfaces: for the main subgraph and others that are entries: name each input and output.
        metadata: entries to add, or to replace by name.

    Raises:
        InvalidModel: `data` is not a sound file, or holds what this schema does not know.
        InterfaceError: an interface does not fit the file.
        TooLarge: the structure and its inline buffers would pass 2 GB.
    """
    source = memoryview(data).cast("B")
    model = read_model(source)
    check_interfaces(interfaces, model)
    try:
        root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(source))
        _refuse_unknown(root)
    except (struct.error, IndexError, ValueError, TypeError, OverflowError) as error:
        raise InvalidModel(f"malformed: {error}") from error
    _set_interfaces(root, interfaces)
    _set_versions(root, model)
    tail = _Tail(source)
    _place_buffers(root, model, source, tail)
    entries = dict(metadata or {})
    if (value := metadata_value(model)) is not None and not _says(model, source, value):
        entries.setdefault(MIN_RUNTIME, value)
    for name, content in sorted(entries.items()):
        _set_metadata(root, name, content)
    places = {b.place for b in root.buffers if isinstance(b, AlignedBuffer)}
    inline = sum(size for _, size in places)
    structure = max(0, model.size - sum(b.size for b in set(model.buffers)))
    # Python packs somewhat looser than C++; twice the structure is ample, and if it were not,
    # the builder would grow.
    room = inline + 2 * structure + 2 * ALIGNMENT * len(root.buffers) + 4096
    if inline + structure > _LIMIT:
        raise TooLarge(f"the model needs {inline + structure:,} bytes, a flatbuffer holds 2 GB")
    builder = flatbuffers.Builder(min(room, _LIMIT))
    try:
        builder.Finish(root.Pack(builder), IDENTIFIER)
    except flatbuffers.builder.BuilderSizeError as error:
        raise TooLarge("the model needs more than the 2 GB that a flatbuffer holds") from error
    packed: bytearray = builder.Bytes
    del packed[: builder.Head()]  # moves the start, copies nothing
    return tail.append_to(packed)


class AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer that is packed from a view of its source, at a multiple of 16 bytes."""

    def __init__(
        self, source: memoryview, written: dict[tuple[int, int], int], place: tuple[int, int]
    ) -> None:
        super().__init__()
        self.source, self._written, self.place = source, written, place

    def Pack(self, builder: Any) -> int:
        # Buffers that share their bytes in the source go on sharing them.
        vector = self._written.get(self.place)
        if vector is None:
            size = len(self.source)
            builder.StartVector(1, size, ALIGNMENT)
            head = builder.head - size
            # A view: assigning to a bytearray would make a copy of the source first.
            with memoryview(builder.Bytes) as room:
                room[head : builder.head] = self.source
            builder.head = head
            vector = self._written[self.place] = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


class _Tail:
    """Data behind the flatbuffer, where files over 2 GB keep them: offsets from file start."""

    def __init__(self, source: memoryview) -> None:
        self._source = source
        self._spans: list[tuple[int, int]] = []

    def add(self, offset: int, size: int) -> int:
        """Move these bytes; gives the mark to write as their offset for now."""
        self._spans.append((offset, size))
        return _LATER + len(self._spans) - 1

    def append_to(self, packed: bytearray) -> bytearray:
        """The whole file; `packed` holds marks where offsets belong."""
        if not self._spans:
            return packed
        starts, end = [], len(packed)
        for _, size in self._spans:
            starts.append(end := -(-end // ALIGNMENT) * ALIGNMENT)
            end += size
        root = schema.Model.GetRootAs(packed)
        tables = [root.Buffers(i)._tab for i in range(root.BuffersLength())]
        _patch(packed, tables, 6, starts)
        graphs = [root.Subgraphs(i) for i in range(root.SubgraphsLength())]
        ops = [g.Operators(i)._tab for g in graphs for i in range(g.OperatorsLength())]
        _patch(packed, ops, 22, starts)
        whole = bytearray(end)
        with memoryview(whole) as room:
            room[: len(packed)] = packed
            for start, (offset, size) in zip(starts, self._spans, strict=True):
                room[start : start + size] = self._source[offset : offset + size]
        return whole


def _patch(packed: bytearray, tables: list[Any], field: int, starts: list[int]) -> None:
    """Replace the marks in 64-bit field `field` (vtable offset) of some tables."""
    for table in tables:
        if offset := table.Offset(field):
            at = table.Pos + offset
            (mark,) = struct.unpack_from("<Q", packed, at)
            if mark >= _LATER:
                struct.pack_into("<Q", packed, at, starts[mark - _LATER])


def _place_buffers(root: Any, model: TfliteModel, source: memoryview, tail: _Tail) -> None:
    """Buffers become aligned views. Those behind the flatbuffer come into it, since not every
    runtime looks there (LiteRT for Microcontrollers computes garbage without a word); of a file
    that is too large for that they move to the tail."""
    written: dict[tuple[int, int], int] = {}
    whole = model.size <= _INLINE
    for i, (buffer, place) in enumerate(zip(root.buffers, model.buffers, strict=True)):
        inside = buffer.data is not None and len(buffer.data)
        if inside or (whole and buffer.offset > 1):
            view = source[place.offset : place.offset + place.size]
            root.buffers[i] = AlignedBuffer(view, written, (place.offset, place.size))
        elif buffer.offset > 1:
            buffer.offset = tail.add(buffer.offset, buffer.size)
    for graph in root.subgraphs:
        for op in graph.operators or []:
            if op.largeCustomOptionsOffset > 1:
                op.largeCustomOptionsOffset = tail.add(
                    op.largeCustomOptionsOffset, op.largeCustomOptionsSize
                )


def _set_interfaces(root: Any, interfaces: Sequence[Interface]) -> None:
    for interface in interfaces:
        graph = root.subgraphs[interface.subgraph]
        graph.inputs = [io.tensor for io in interface.inputs]
        graph.outputs = [io.tensor for io in interface.outputs]
        current = [(t.name or b"").decode("utf-8", "surrogateescape") for t in graph.tensors]
        names = tensor_names(interface, current)
        for tensor, old, new in zip(graph.tensors, current, names, strict=True):
            if new != old:
                tensor.name = new.encode("utf-8", "surrogateescape")
    root.signatureDefs = [
        schema.SignatureDefT(
            inputs=[schema.TensorMapT(io.name, io.tensor) for io in interface.inputs],
            outputs=[schema.TensorMapT(io.name, io.tensor) for io in interface.outputs],
            signatureKey=interface.signature,
            subgraphIndex=interface.subgraph,
        )
        for interface in interfaces
    ]


def _set_versions(root: Any, model: TfliteModel) -> None:
    """Operator codes ask for what their operations need, no less and no more."""
    right = corrections(model)
    for graph, raw in zip(model.subgraphs, root.subgraphs, strict=True):
        for op, operator in zip(graph.ops, raw.operators or [], strict=True):
            if (op.name, op.version) in right and op.kind == "builtin":
                code = root.operatorCodes[operator.opcodeIndex]
                code.version = right[op.name, op.version]


def _says(model: TfliteModel, source: memoryview, value: bytes) -> bool:
    """Whether the file's own minimum version is this already, byte for byte."""
    return read_metadata(source).get(MIN_RUNTIME) == value and model.metadata.count(MIN_RUNTIME) < 2


def _set_metadata(root: Any, name: str, content: bytes) -> None:
    """An entry with a buffer of its own; an earlier one of that name gives up its buffer."""
    entries = root.metadata = root.metadata or []
    entry = next((m for m in entries if m.name == name.encode()), None)
    used = {t.buffer for graph in root.subgraphs for t in graph.tensors or []}
    used |= {m.buffer for m in entries if m is not entry}
    if entry is None:
        entries.append(entry := schema.MetadataT(name, 0))
    if entry.buffer in used | {0}:
        entry.buffer = len(root.buffers)
        root.buffers.append(None)
    place = (-1 - entry.buffer, len(content))  # no place in the source
    root.buffers[entry.buffer] = AlignedBuffer(memoryview(content), {}, place)


_OPTIONS = frozenset(vars(schema.BuiltinOptions).values())
_OPTIONS2 = frozenset(vars(schema.BuiltinOptions2).values())
_DETAILS = frozenset(vars(schema.QuantizationDetails).values())


def _refuse_unknown(root: Any) -> None:
    """A union member of a newer schema unpacks to None and would be lost without a word."""
    for graph in root.subgraphs:
        for op in graph.operators or []:
            if op.builtinOptionsType not in _OPTIONS or op.builtinOptions2Type not in _OPTIONS2:
                raise InvalidModel("operator options of a type that this schema does not know")
        for tensor in graph.tensors or []:
            if tensor.quantization is not None and tensor.quantization.detailsType not in _DETAILS:
                raise InvalidModel("quantization details of a type that this schema does not know")
