"""A `.tflite` file as the frozen values of `model.py`.

`read_model` reads the structure only (buffers stay where they are in the file), checks every
index and size, and raises `InvalidModel` for anything that a runtime could stumble over.
Field numbers are those of `tensorflow/compiler/mlir/lite/schema/schema.fbs`; the checks follow
`interpreter_builder.cc` of the same tree. Nothing here imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping

from ai_edge_litert import schema_py_generated as schema

from .flat import Flat, InvalidModel, Table
from .model import (
    BITS,
    Buffer,
    Kind,
    Op,
    Options,
    Quantization,
    Signature,
    Subgraph,
    Tensor,
    TfliteModel,
    element_count,
    entries,
)

__all__ = [
    "BITS",
    "Buffer",
    "InvalidModel",
    "Kind",
    "Op",
    "Quantization",
    "Signature",
    "Subgraph",
    "Tensor",
    "TfliteModel",
    "buffer_alignment_problems",
    "element_count",
    "entries",
    "read_metadata",
    "read_model",
]

IDENTIFIER = b"TFL3"
ALIGNMENT = 16  # bytes; `force_align: 16` of Buffer.data in schema.fbs
MIN_RUNTIME = "min_runtime_version"  # the metadata entry
_MAX_TEXT = 64  # bytes of it that are read; the converter writes 16
_MAX_NESTING = 64  # of subgraphs that call each other
_MAX_RANK = 64  # kernels take 8 at the most


def _names(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if not k.startswith("_")}


_DTYPES = {code: name.lower() for code, name in _names(schema.TensorType).items()}
_OP_NAMES = _names(schema.BuiltinOperator)
_CUSTOM: int = schema.BuiltinOperator.CUSTOM
# Where the options of an operator that runs other subgraphs name them.
_CALLS: dict[str, tuple[str, ...]] = {
    "CALL": ("subgraph",),
    "CALL_ONCE": ("initSubgraphIndex",),
    "IF": ("thenSubgraphIndex", "elseSubgraphIndex"),
    "WHILE": ("condSubgraphIndex", "bodySubgraphIndex"),
    "STABLEHLO_CASE": ("branchSubgraphIndices",),
    "STABLEHLO_COMPOSITE": ("decompositionSubgraphIndex",),
    "STABLEHLO_CUSTOM_CALL": ("calledComputations",),
    "STABLEHLO_REDUCE": ("bodySubgraphIndex",),
    "STABLEHLO_REDUCE_WINDOW": ("bodySubgraphIndex",),
    "STABLEHLO_SCATTER": ("updateComputationSubgraphIndex",),
    "STABLEHLO_SORT": ("comparatorSubgraphIndex",),
    "STABLEHLO_WHILE": ("condSubgraphIndex", "bodySubgraphIndex"),
}


def read_model(data: bytes | bytearray | memoryview) -> TfliteModel:
    """Read a `.tflite` file.

    Args:
        data: the whole file; buffers are not copied.

    Raises:
        InvalidModel: malformed, truncated or inconsistent; never any other error.
    """
    flat = Flat(data, IDENTIFIER)
    root = flat.root()
    if (version := root.number(0, "I")) != 3:
        raise InvalidModel(f"schema version {version}, the runtimes read version 3")
    buffers = tuple(_buffer(table, flat.size, i) for i, table in enumerate(root.tables(4)))
    external = {t.number(0, "I"): t.number(3, "Q") for t in root.tables(9)}
    codes = [_op_code(table, i) for i, table in enumerate(root.tables(1))]
    subgraphs = tuple(
        _subgraph(flat, table, i, buffers, external, codes)
        for i, table in enumerate(root.tables(2))
    )
    if not subgraphs:
        raise InvalidModel("the model has no subgraph")
    _check_calls(subgraphs)
    metadata: list[str] = []
    own = None
    for table in root.tables(6):
        name = table.string(0) or ""
        index = _check(table.number(1, "I"), len(buffers), "buffer", f"metadata '{name}'")
        if name == MIN_RUNTIME and name not in metadata:
            own = _text(flat, buffers[index])
        metadata.append(name)
    return TfliteModel(
        version=version,
        description=root.string(3) or "",
        subgraphs=subgraphs,
        signatures=tuple(_signature(table, subgraphs) for table in root.tables(7)),
        metadata=tuple(metadata),
        size=flat.size,
        buffers=buffers,
        min_runtime_version=own,
    )


def read_metadata(data: bytes | bytearray | memoryview) -> dict[str, bytes]:
    """The metadata entries by name; of a repeated name the last. Raises InvalidModel."""
    flat = Flat(data, IDENTIFIER)
    root = flat.root()
    buffers, found = root.tables(4), {}
    for table in root.tables(6):
        name, index = table.string(0) or "", table.number(1, "I")
        _check(index, len(buffers), "buffer", f"metadata '{name}'")
        buffer = _buffer(buffers[index], flat.size, index)
        found[name] = bytes(flat.data[buffer.offset : buffer.offset + buffer.size])
    return found


def buffer_alignment_problems(data: bytes | bytearray | memoryview) -> list[str]:
    """A line for each buffer whose data do not start at a multiple of 16 bytes of the file.

    Source: `force_align: 16` in schema.fbs; kernels read int64 biases and SIMD weights in place.
    """
    return [
        f"buffer {i} ({buffer.size} bytes) starts at byte {buffer.offset}, "
        f"{buffer.offset % ALIGNMENT} past a multiple of {ALIGNMENT}"
        for i, buffer in enumerate(read_model(data).buffers)
        if buffer.size and buffer.offset % ALIGNMENT
    ]


def _check(index: int, count: int, what: str, where: str) -> int:
    if not 0 <= index < count:
        raise InvalidModel(f"{where} refers to {what} {index}, the file has {count}")
    return index


def _text(flat: Flat, buffer: Buffer) -> str | None:
    """A short text with zeros behind it, None if there is none. Other bytes are shown escaped."""
    start = buffer.offset
    content = bytes(flat.data[start : start + min(buffer.size, _MAX_TEXT)])
    return content.split(b"\0")[0].decode("ascii", "backslashreplace") or None


def _buffer(table: Table, size: int, index: int) -> Buffer:
    start, length = table.span(0, 1) or (0, 0)
    behind = length == 0 and table.number(1, "Q") > 1
    if behind:  # beyond the flatbuffer: files over 2 GB
        start, length = table.number(1, "Q"), table.number(2, "Q")
        if start + length > size:
            raise InvalidModel(
                f"truncated: buffer {index} needs bytes {start} to {start + length}, "
                f"the file has {size}"
            )
    return Buffer(start, length, behind) if length else Buffer(0, 0)


def _op_code(table: Table, index: int) -> tuple[str, Kind, int, int]:
    """(name, kind, builtin code, version); the wider of two fields holds codes above 127."""
    code = max(table.number(0, "b"), table.number(3, "i"))
    version = table.number(2, "i", 1)
    if code != _CUSTOM:
        return _OP_NAMES.get(code, f"UNKNOWN_BUILTIN_{code}"), "builtin", code, version
    if not (name := table.string(1)):
        raise InvalidModel(f"operator code {index} is custom and has no name")
    return name, "select" if name.startswith("Flex") else "custom", code, version


def _subgraph(
    flat: Flat,
    table: Table,
    index: int,
    buffers: tuple[Buffer, ...],
    external: Mapping[int, int],
    codes: list[tuple[str, Kind, int, int]],
) -> Subgraph:
    where = f"subgraph {index}"
    tensors = tuple(
        _tensor(t, i, f"{where}, tensor {i}", buffers, external)
        for i, t in enumerate(table.tables(0))
    )
    inputs, outputs = table.numbers(1, "i") or (), table.numbers(2, "i") or ()
    for i in inputs + outputs:
        _check(i, len(tensors), "tensor", f"{where}, inputs and outputs")
    ops = []
    for i, t in enumerate(table.tables(3)):
        ops.append(op := _op(flat, t, i, codes, where))
        for used in op.inputs + op.outputs + (t.numbers(8, "i") or ()):
            if used != -1:
                _check(used, len(tensors), "tensor", f"{where}, operator {i} ({op.name})")
    return Subgraph(index, table.string(4) or "", tensors, inputs, outputs, tuple(ops))


def _tensor(
    table: Table, index: int, where: str, buffers: tuple[Buffer, ...], external: Mapping[int, int]
) -> Tensor:
    dtype = _DTYPES.get(code := table.number(1, "b"))
    if dtype is None:
        raise InvalidModel(f"{where} has the unknown type {code}")
    shape = table.numbers(0, "i") or ()
    signature = table.numbers(7, "i")
    for sizes in (shape, signature or ()):
        if len(sizes) > _MAX_RANK or min(sizes, default=0) < -1:
            raise InvalidModel(f"{where} has the shape {list(sizes)[:_MAX_RANK]}")
    buffer = _check(table.number(2, "I"), len(buffers), "buffer", where)
    size = buffers[buffer].size
    sparsity = table.table(6)  # a sparse tensor stores only some of its elements
    if size and sparsity is None and (bits := BITS.get(dtype, 0)) >= 8:
        needed = element_count(shape) * bits // 8
        if size != needed:
            raise InvalidModel(
                f"{where} has {size} bytes of data, {dtype} {list(shape)} needs {needed}"
            )
    _ = table.tables(9), sparsity and sparsity.tables(2)  # paid for: `rewrite` unpacks them
    outside = table.number(10, "I")
    if outside:
        if outside not in external:
            raise InvalidModel(f"{where} refers to the external buffer {outside}, there is none")
        size = size or external[outside]
    return Tensor(
        index=index,
        name=table.string(3) or "",
        shape=shape,
        shape_signature=signature if signature is not None else shape,
        dtype=dtype,
        buffer=buffer,
        data_size=size,
        is_variable=bool(table.number(5, "?")),
        quantization=_quantization(table.table(4)),
        external_buffer=outside,
        sparse=sparsity is not None,
    )


def _quantization(table: Table | None) -> Quantization | None:
    if table is None:
        return None
    _ = table.span(0, 4), table.span(1, 4)  # min and max: paid for, not kept
    scale = table.numbers(2, "f") or ()
    if not scale and not table.number(4, "B"):  # min and max alone quantize nothing
        return None
    return Quantization(scale, table.numbers(3, "q") or (), table.number(6, "i"))


def _op(
    flat: Flat, table: Table, index: int, codes: list[tuple[str, Kind, int, int]], where: str
) -> Op:
    where = f"{where}, operator {index}"
    name, kind, code, version = codes[
        _check(table.number(0, "I"), len(codes), "operator code", where)
    ]
    options: Options | None = None
    for slot, creator in ((3, schema.BuiltinOptionsCreator), (11, schema.BuiltinOptions2Creator)):
        if options is None and (found := table.table(slot + 1)) is not None:
            options = Options(flat.data, creator, table.number(slot, "B"), found.pos)
    start, length = table.span(5, 1) or (0, 0)
    if length == 0 and table.number(9, "Q") > 1:  # beyond the flatbuffer: files over 2 GB
        start, length = table.number(9, "Q"), table.number(10, "Q")
        if start + length > flat.size:
            raise InvalidModel(f"truncated: {where} has its options at byte {start}")
    subgraphs: list[int] = []
    if names := _CALLS.get(name):
        values = options.read() if options else {}
        for value in (values.get(n) for n in names):
            if value is None and name != "STABLEHLO_CUSTOM_CALL":
                raise InvalidModel(f"{where} ({name}) does not say which subgraph it runs")
            subgraphs += value if isinstance(value, tuple) else () if value is None else (value,)
    return Op(
        index=index,
        name=name,
        kind=kind,
        code=code,
        version=version,
        inputs=table.numbers(1, "i") or (),
        outputs=table.numbers(2, "i") or (),
        subgraphs=tuple(subgraphs),
        _options=options,
        _custom=flat.data[start : start + length] if length else None,
    )


def _signature(table: Table, subgraphs: tuple[Subgraph, ...]) -> Signature:
    key = table.string(2) or ""
    where = f"signature '{key}'"
    index = _check(table.number(4, "I"), len(subgraphs), "subgraph", where)
    count = len(subgraphs[index].tensors)

    def pairs(slot: int) -> tuple[tuple[str, int], ...]:
        return tuple(
            (t.string(0) or "", _check(t.number(1, "I"), count, "tensor", where))
            for t in table.tables(slot)
        )

    return Signature(key, index, pairs(0), pairs(1))


def _check_calls(subgraphs: tuple[Subgraph, ...]) -> None:
    """Every subgraph that is run exists, and none runs itself, so that walks over calls end."""
    calls: list[set[int]] = []
    for graph in subgraphs:
        called = [(op, i) for op in graph.ops for i in op.subgraphs]
        for op, i in called:
            _check(i, len(subgraphs), "subgraph", f"operator {op.index} ({op.name})")
        calls.append({i for _, i in called})
    # Peel off subgraphs all of whose callees are gone; each round is one level of nesting.
    left = set(range(len(subgraphs)))
    for _ in range(_MAX_NESTING):
        if not (leaves := {i for i in left if not calls[i] & left}):
            break
        left -= leaves
    if left:
        raise InvalidModel(
            f"subgraphs {sorted(left)[:5]} run themselves or nest deeper than {_MAX_NESTING}"
        )
