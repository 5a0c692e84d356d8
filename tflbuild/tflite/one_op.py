"""One operator of a file as a file of its own, to be run alone.

What it reads that is not constant becomes the inputs, in the order of the operator, each once;
what it writes, the outputs. Constants, types, quantization, options and the operator's version are
those of the file. There are no signatures and no metadata. Costs the operator's own bytes, not
the file's: cutting every operator out of a file is linear in its size.
"""

from __future__ import annotations

import struct
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from tflbuild.errors import TflbuildError

from .read import IDENTIFIER, InvalidModel, Op, Subgraph, TfliteModel, read_model
from .write import AlignedBuffer

_HANDLES = frozenset({"resource", "variant"})


class NotAlone(TflbuildError):
    """An operator that cannot run without the rest of its file."""


def one_op(
    data: bytes | bytearray | memoryview,
    subgraph: int,
    op_index: int,
    model: TfliteModel | None = None,
) -> bytes:
    """A `.tflite` file that holds one operator of another.

    Args:
        data: the whole file.
        subgraph: the index of the subgraph that holds the operator.
        op_index: the operator's index there.
        model: what `read_model` read from `data`, for callers that cut out many.

    Raises:
        InvalidModel: `data` is not a sound file.
        NotAlone: the operator runs other subgraphs, reads or writes handles (of variables and
            tables), or its data lie in another file.
        IndexError: there is no such operator.
    """
    source = memoryview(data).cast("B")
    model = model or read_model(source)
    graph = model.subgraphs[subgraph]
    op = graph.ops[op_index]
    _refuse(graph, op)
    try:
        return _cut(source, model, graph, op)
    except (struct.error, IndexError, ValueError, TypeError, OverflowError) as error:
        raise InvalidModel(f"malformed: {error}") from error


def inputs_of(graph: Subgraph, op: Op) -> list[int]:
    """The tensors of `graph` that are inputs of `one_op`'s file, in its order."""
    return [
        index
        for index in dict.fromkeys(op.inputs)
        if index >= 0
        and not graph.tensors[index].is_constant
        and not graph.tensors[index].is_variable
    ]


def outputs_of(op: Op) -> list[int]:
    """The tensors that are outputs of `one_op`'s file, in its order."""
    return [index for index in dict.fromkeys(op.outputs) if index >= 0]


def _refuse(graph: Subgraph, op: Op) -> None:
    """Raises NotAlone."""
    if op.subgraphs:
        raise NotAlone(f"{op.name} runs other subgraphs")
    for index in (*op.inputs, *op.outputs):
        if index < 0:
            continue
        tensor = graph.tensors[index]
        if tensor.dtype in _HANDLES:
            raise NotAlone(f"{op.name} works on handles ({tensor.dtype} {tensor.name!r})")
        if tensor.external_buffer:
            raise NotAlone(f"the data of {tensor.name!r} lie in another file")


def _cut(source: memoryview, model: TfliteModel, graph: Subgraph, op: Op) -> bytes:
    root = schema.Model.GetRootAs(source)
    tables = root.Subgraphs(graph.index)
    cut = schema.OperatorT.InitFromObj(tables.Operators(op.index))
    if cut.largeCustomOptionsOffset > 1:
        raise NotAlone(f"the options of {op.name} lie behind the flatbuffer")
    cut.debugMetadataIndex = -1
    kept = _Tensors(tables, source, model)
    for field in ("inputs", "outputs", "intermediates"):
        listed = getattr(cut, field)
        if listed is not None:
            setattr(cut, field, [kept.take(int(index)) for index in listed])
    code = schema.OperatorCodeT.InitFromObj(
        root.OperatorCodes(tables.Operators(op.index).OpcodeIndex())
    )
    cut.opcodeIndex = 0
    alone = schema.SubGraphT(
        tensors=kept.tensors,
        inputs=[kept.take(index) for index in inputs_of(graph, op)],
        outputs=[kept.take(index) for index in outputs_of(op)],
        operators=[cut],
        name=b"main",
        debugMetadataIndex=-1,
    )
    whole = schema.ModelT(
        version=3, operatorCodes=[code], subgraphs=[alone], description=b"",
        buffers=kept.buffers, metadata=[], signatureDefs=[],
    )  # fmt: skip
    inline = sum(b.place[1] for b in kept.buffers if isinstance(b, AlignedBuffer))
    builder = flatbuffers.Builder(inline + 64 * len(kept.buffers) + 8192)
    builder.Finish(whole.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class _Tensors:
    """The tensors that one operator uses, numbered anew, with their buffers."""

    def __init__(self, tables: Any, source: memoryview, model: TfliteModel) -> None:
        self._tables, self._source, self._model = tables, source, model
        self._numbers: dict[int, int] = {}
        self._written: dict[tuple[int, int], int] = {}
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]

    def take(self, index: int) -> int:
        """The new number of a tensor; -1, for one that is left out, stays what it is."""
        if index < 0:
            return -1
        if index in self._numbers:
            return self._numbers[index]
        if index >= self._tables.TensorsLength():  # of intermediates, which nobody checked
            raise IndexError(f"no tensor {index}")
        tensor = schema.TensorT.InitFromObj(self._tables.Tensors(index))
        number = self._numbers[index] = len(self.tensors)
        self.tensors.append(tensor)
        place = self._model.buffers[tensor.buffer]
        tensor.buffer = 0
        if place.size:
            view = self._source[place.offset : place.offset + place.size]
            tensor.buffer = len(self.buffers)
            self.buffers.append(AlignedBuffer(view, self._written, (place.offset, place.size)))
        blocks = getattr(tensor.quantization, "details", None)
        if isinstance(blocks, schema.BlockwiseQuantizationT):  # its scales are tensors
            blocks.scales, blocks.zeroPoints = (
                self.take(blocks.scales),
                self.take(blocks.zeroPoints),
            )
        return number
