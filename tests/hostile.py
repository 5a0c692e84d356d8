"""Files that are damaged or meant to do damage, made from sound ones; the same for a seed."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as s

sys.path.insert(0, str(Path(__file__).parent / "tflite"))
import tflite_models as make

from tflbuild.tflite import metadata
from tflbuild.tflite.read import read_model
from tflbuild.tflite.signature import interface_of
from tflbuild.tflite.write import rewrite

EDGES = (0, 1, 2, -1, -2, 4, 8, 16, 255, 65_536, 2**30, 2**31 - 1, -(2**31))


def labelled() -> bytes:
    """A file with TFLite Metadata and a label file behind it."""
    data = make.two_in_two_out().pack()
    interface = interface_of(read_model(data))
    notes = metadata.ModelNotes(
        [
            metadata.TensorNotes("left", "one", (0.5,), (2.0,), (0.0,), (1.0,)),
            metadata.TensorNotes("right"),
        ],
        [metadata.TensorNotes("score", labels="labels.txt"), metadata.TensorNotes("sum")],
        "hand made", "y = (a + b) W", "1", "nobody", "Apache-2.0",
    )  # fmt: skip
    entries = {metadata.ENTRY: metadata.pack(notes)}
    written = bytes(rewrite(data, interfaces=[interface], metadata=entries))
    return metadata.with_files(written, {"labels.txt": b"a\nb\nc\n"})


def crashing() -> bytes:
    """SPLIT into no pieces: the XNNPACK delegate of LiteRT 2 reads the first of them all the same,
    before the kernel's own check."""
    maker = make.Maker()
    graph = maker.graph()
    axis = graph.tensor("axis", (), make.TYPE.INT32, [0])
    x, y = graph.tensor("x", (4, 4)), graph.tensor("y", (2, 4))
    graph.op(make.OP.SPLIT, [axis, x], [y], s.SplitOptionsT(numSplits=0))
    graph.io([x], [y])
    maker.signature("serve", {"x": x}, {"y": y})
    return maker.pack()


SOUND = (
    make.two_in_two_out().pack(),
    make.everything().pack(),
    make.variables(initialized=True).pack(),
    make.recurrent(make.OP.SVDF, {1: (4, 4), 2: (4, 2), 3: (4,)}, (1, 4)).pack(),
    labelled(),
)


def flips(r: random.Random, data: bytearray) -> None:
    """Bits."""
    for _ in range(r.randint(1, 8)):
        data[r.randrange(len(data))] ^= 1 << r.randrange(8)


def truncation(r: random.Random, data: bytearray) -> None:
    del data[r.randrange(len(data)) :]


def growth(r: random.Random, data: bytearray) -> None:
    at = r.randrange(len(data))
    data[at:at] = r.randbytes(r.choice((1, 2, 3, 4, 16, 1000)))


def offsets(r: random.Random, data: bytearray) -> None:
    """Numbers of 32 bits become extreme ones: offsets, lengths, shapes, indexes."""
    for _ in range(r.randint(1, 4)):
        struct.pack_into("<i", data, r.randrange(len(data) - 4) & ~3, r.choice(EDGES))


def claims(r: random.Random, data: bytearray) -> None:
    """A number becomes a claim of 2 GB or more."""
    struct.pack_into("<I", data, r.randrange(len(data) - 4) & ~3, r.randrange(2**31, 2**32))


def vtables(r: random.Random, data: bytearray) -> None:
    """Numbers of 16 bits: where a table has its fields, and how long it is."""
    for _ in range(r.randint(1, 4)):
        value = r.choice((0, 1, 2, 4, 6, 8, 12, 0x7FFF, 0xFFFF))
        struct.pack_into("<H", data, r.randrange(len(data) - 2) & ~1, value)


def loops(r: random.Random, data: bytearray) -> None:
    """An offset that leads to itself, or back to the root: tables within themselves."""
    at = r.randrange(8, len(data) - 4) & ~3
    (root,) = struct.unpack_from("<I", data)
    struct.pack_into("<i", data, at, r.choice((0, 4, -4, root - at)))


def swaps(r: random.Random, data: bytearray) -> None:
    """Two pieces change places."""
    size = r.choice((4, 8, 16, 64))
    a, b = (r.randrange(len(data) - size) & ~3 for _ in range(2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


BYTES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    flips, truncation, growth, offsets, claims, vtables, loops, swaps,
)  # fmt: skip


def structure(r: random.Random, m: Any) -> None:
    """A file that is a sound flatbuffer and says what no converter says."""
    graph = r.choice(m.subgraphs)
    op = r.choice(graph.operators) if graph.operators else None
    tensor = r.choice(graph.tensors)
    anywhere = [-1, *range(len(graph.tensors))]
    kind = r.randrange(13)
    if kind == 0 and op is not None:
        op.inputs = np.array(list(op.inputs)[: r.randrange(3)], "<i4")
    elif kind == 1 and op is not None:
        op.inputs = np.array(r.choices(anywhere, k=r.randrange(1, 6)), "<i4")
    elif kind == 2 and op is not None:
        op.outputs = np.array(r.choices(anywhere, k=r.randrange(3)), "<i4")
    elif kind == 3:
        code = r.choice(m.operatorCodes)
        code.builtinCode = r.randrange(210)
        code.deprecatedBuiltinCode = min(127, code.builtinCode)
    elif kind == 4 and op is not None:
        op.builtinOptions, op.builtinOptionsType = None, 0
    elif kind == 5:
        tensor.shape = np.array(r.choices(EDGES, k=r.randrange(1, 6)), "<i4")  # huge shapes
        tensor.buffer = 0
    elif kind == 6:
        tensor.type = r.randrange(22)
    elif kind == 7:
        tensor.quantization = s.QuantizationParametersT(
            scale=np.array(r.choices((0.0, 1.0, -1.0, np.inf, np.nan), k=r.randrange(1, 4)), "<f4"),
            zeroPoint=np.array(r.choices((0, 2**62, -(2**62)), k=r.randrange(4)), "<i8"),
            quantizedDimension=r.choice(EDGES),
        )
    elif kind == 8:
        tensor.buffer = r.randrange(len(m.buffers))  # of another's size
    elif kind == 9:
        tensor.isVariable = not tensor.isVariable
    elif kind == 10:
        calls = s.CallOnceOptionsT(initSubgraphIndex=r.randrange(len(m.subgraphs)))
        make.Graph(_Codes(m), graph, 0).op(make.OP.CALL_ONCE, [], [], calls)  # perhaps a cycle
    elif kind == 11:
        buffer = r.choice(m.buffers)
        buffer.offset, buffer.size = r.choice((2, 2**31, 2**63)), r.choice((1, 2**31, 2**63))
        buffer.data = None
    else:
        graph.inputs, graph.outputs = [tensor_index(r, graph)], [tensor_index(r, graph)]


def tensor_index(r: random.Random, graph: Any) -> int:
    return r.randrange(len(graph.tensors))


class _Codes(make.Maker):
    def __init__(self, model: Any) -> None:
        self.model = model


def mutated(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """So many files: the name of the damage, and the bytes; every third is a sound flatbuffer."""
    r = random.Random(seed)
    for index in range(count):
        base = r.choice(SOUND)
        if index % 3:
            damage = BYTES[index % len(BYTES)]
            data = bytearray(base)
            damage(r, data)
            yield damage.__name__, bytes(data)
            continue
        model = s.ModelT.InitFromObj(s.Model.GetRootAs(base))
        for _ in range(r.randint(1, 2)):
            structure(r, model)
        yield "structure", make.pack(model)
