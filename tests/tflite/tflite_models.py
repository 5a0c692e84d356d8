"""Small `.tflite` files made by hand, for tests without TensorFlow."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s

OP, TYPE, OPTIONS = s.BuiltinOperator, s.TensorType, s.BuiltinOptions
_NUMPY = {TYPE.FLOAT32: "<f4", TYPE.INT32: "<i4", TYPE.INT8: "i1", TYPE.FLOAT16: "<f2"}


class Maker:
    """Collects subgraphs, tensors and operators; `pack` gives the file."""

    def __init__(self) -> None:
        self.model = s.ModelT(
            version=3,
            operatorCodes=[],
            subgraphs=[],
            description=b"by hand",
            buffers=[s.BufferT()],
            metadata=[],
            signatureDefs=[],
        )

    def buffer(self, data: bytes | None) -> int:
        self.model.buffers.append(
            s.BufferT(data=None if data is None else np.frombuffer(data, np.uint8))
        )
        return len(self.model.buffers) - 1

    def graph(self, name: str = "main") -> Graph:
        graph = s.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[], name=name.encode())
        self.model.subgraphs.append(graph)
        return Graph(self, graph, len(self.model.subgraphs) - 1)

    def code(self, builtin: int, custom: str | None = None, version: int = 1) -> int:
        self.model.operatorCodes.append(
            s.OperatorCodeT(
                deprecatedBuiltinCode=min(builtin, 127),
                customCode=custom.encode() if custom else None,
                version=version,
                builtinCode=builtin,
            )
        )
        return len(self.model.operatorCodes) - 1

    def signature(
        self, key: str, inputs: dict[str, int], outputs: dict[str, int], subgraph: int = 0
    ) -> None:
        self.model.signatureDefs.append(
            s.SignatureDefT(
                inputs=[s.TensorMapT(k.encode(), i) for k, i in inputs.items()],
                outputs=[s.TensorMapT(k.encode(), i) for k, i in outputs.items()],
                signatureKey=key.encode(),
                subgraphIndex=subgraph,
            )
        )

    def metadata(self, name: str, data: bytes) -> None:
        self.model.metadata.append(s.MetadataT(name.encode(), self.buffer(data)))

    def pack(self) -> bytes:
        return pack(self.model)


class Graph:
    def __init__(self, maker: Maker, graph: Any, index: int) -> None:
        self.maker, self.t, self.index = maker, graph, index

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: int = TYPE.FLOAT32,
        data: Any = None,
        scale: float | None = None,
        **fields: Any,
    ) -> int:
        buffer = 0
        if data is not None:
            raw = data if isinstance(data, bytes) else np.asarray(data, _NUMPY[dtype]).tobytes()
            buffer = self.maker.buffer(raw)
        if scale is not None:
            fields["quantization"] = s.QuantizationParametersT(
                scale=np.array([scale], "<f4"), zeroPoint=np.array([0], "<i8")
            )
        fields.setdefault("buffer", buffer)
        self.t.tensors.append(
            s.TensorT(shape=np.array(shape, "<i4"), type=dtype, name=name.encode(), **fields)
        )
        return len(self.t.tensors) - 1

    def weight(self, name: str, shape: tuple[int, ...], dtype: int = TYPE.FLOAT32) -> int:
        size = int(np.prod(shape))
        data = np.arange(size) % 7 - 3
        return self.tensor(name, shape, dtype, data, None if dtype == TYPE.FLOAT32 else 0.5)

    def op(
        self,
        builtin: int,
        inputs: list[int],
        outputs: list[int],
        options: Any = None,
        *,
        custom: str | None = None,
        **fields: Any,
    ) -> Any:
        kind = 0
        if options is not None:
            kind = getattr(OPTIONS, type(options).__name__[:-1])
        op = s.OperatorT(
            opcodeIndex=self.maker.code(builtin, custom),
            inputs=np.array(inputs, "<i4"),
            outputs=np.array(outputs, "<i4"),
            builtinOptionsType=kind,
            builtinOptions=options,
            **fields,
        )
        self.t.operators.append(op)
        return op

    def io(self, inputs: list[int], outputs: list[int]) -> None:
        self.t.inputs, self.t.outputs = inputs, outputs


def pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpack(data: bytes | bytearray) -> Any:
    """The whole file as plain values, to compare field for field."""
    return plain(s.ModelT.InitFromObj(s.Model.GetRootAs(data)))


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [plain(v) for v in value]
    if hasattr(value, "__dict__"):
        return {
            "class": type(value).__name__,
            **{k: plain(v) for k, v in vars(value).items()},
        }
    return value


def two_in_two_out(extra: bytes = b"\x05") -> Maker:
    """y = (a + b) @ W.T + bias (1, 3), x = a + b (1, 4). Runs. Inputs a, b; outputs y, x.

    `extra` is an odd-sized metadata entry that spoils the alignment of what follows.
    """
    maker = Maker()
    g = maker.graph()
    maker.metadata("odd", extra)
    a, b = g.tensor("a", (1, 4)), g.tensor("b", (1, 4))
    x = g.tensor("x", (1, 4))
    w, bias = g.weight("w", (3, 4)), g.weight("bias", (3,))
    y = g.tensor("y", (1, 3))
    g.op(OP.ADD, [a, b], [x], s.AddOptionsT())
    g.op(OP.FULLY_CONNECTED, [x, w, bias], [y], s.FullyConnectedOptionsT())
    g.io([a, b], [y, x])
    maker.signature("serve", {"left": a, "right": b}, {"score": y, "sum": x})
    maker.metadata("min_runtime_version", b"1.5.0".ljust(16, b"\0"))
    return maker


def variables(*, initialized: bool, container: str = "") -> Maker:
    """READ_VARIABLE of 'v' in the main graph; CALL_ONCE assigns it when asked."""
    maker = Maker()
    main, init = maker.graph(), maker.graph("init")
    handle = s.VarHandleOptionsT(container=container.encode(), sharedName=b"v")
    for g in (main, init):
        g.tensor("handle", (), TYPE.RESOURCE)
        g.op(OP.VAR_HANDLE, [], [0], handle)
    value = init.weight("value", (4,))
    if initialized:
        init.op(OP.ASSIGN_VARIABLE, [0, value], [], s.AssignVariableOptionsT())
    main.op(OP.CALL_ONCE, [], [], s.CallOnceOptionsT(initSubgraphIndex=1))
    out = main.tensor("out", (4,))
    main.op(OP.READ_VARIABLE, [0], [out], s.ReadVariableOptionsT())
    x, y = main.tensor("x", (4,)), main.tensor("y", (4,))
    main.op(OP.ADD, [out, x], [y], s.AddOptionsT())
    main.io([x], [y])
    return maker


def everything() -> Maker:
    """One of each: control flow, StableHLO options, sparsity, quantization details, variants,
    variable tensors, custom and select operators, external buffers, shared and empty buffers."""
    maker = variables(initialized=True)
    m, main = maker.model, Graph(maker, maker.model.subgraphs[0], 0)
    cond, body = maker.graph("cond"), maker.graph("body")
    for g, dtype in ((cond, TYPE.BOOL), (body, TYPE.FLOAT32)):
        g.tensor("i", (4,), shapeSignature=np.array([-1], "<i4"))
        g.tensor("o", (4,) if g is body else (), dtype)
        g.io([0], [1])
    body.op(OP.ABS, [0], [1], s.AbsOptionsT())
    cond.op(OP.CUSTOM, [0], [1], custom="Mine", customOptions=np.arange(5, dtype=np.uint8))
    x, y = main.t.inputs[0], main.t.outputs[0]
    z, k = main.tensor("z", (4,)), main.tensor("k", (4,), isVariable=True, hasRank=True)
    main.op(
        OP.WHILE, [x], [z], s.WhileOptionsT(condSubgraphIndex=2, bodySubgraphIndex=3)
    ).debugMetadataIndex = 3
    main.op(
        OP.CUSTOM,
        [z, -1, k],
        [],
        custom="FlexErf",
        customOptions=np.array([], np.uint8),
        mutatingVariableInputs=np.array([False, True]),
        intermediates=np.array([z], "<i4"),
    )
    main.op(
        OP.STABLEHLO_BROADCAST_IN_DIM,
        [z],
        [k],
        builtinOptions2Type=s.BuiltinOptions2.StablehloBroadcastInDimOptions,
        builtinOptions2=s.StablehloBroadcastInDimOptionsT(broadcastDimensions=np.array([0], "<i8")),
    )
    dims = [
        s.DimensionMetadataT(format=0, denseSize=4),
        s.DimensionMetadataT(
            format=1,
            arraySegmentsType=s.SparseIndexVector.Uint8Vector,
            arraySegments=s.Uint8VectorT(values=np.array([0, 2], np.uint8)),
            arrayIndicesType=s.SparseIndexVector.Int32Vector,
            arrayIndices=s.Int32VectorT(values=np.array([1, 3], "<i4")),
        ),
    ]
    sparse = s.SparsityParametersT(
        traversalOrder=np.array([0, 1], "<i4"), blockMap=np.array([], "<i4"), dimMetadata=dims
    )
    main.tensor("sparse", (4, 4), TYPE.INT8, b"\1\2", scale=0.5, sparsity=sparse)
    details = s.QuantizationParametersT(
        detailsType=s.QuantizationDetails.BlockwiseQuantization,
        details=s.BlockwiseQuantizationT(scales=1, zeroPoints=-1, blockSize=32),
        min=np.array([-1.5], "<f4"),
        max=np.array([2.5], "<f4"),
        quantizedDimension=1,
    )
    main.tensor("blocks", (2, 3), TYPE.INT4, b"\1\2\3", quantization=details)
    main.tensor(
        "variant", (), TYPE.VARIANT, variantTensors=[s.VariantSubTypeT(np.array([2], "<i4"), 0)]
    )
    m.externalBufferGroups = [s.ExternalBufferGroupT(name=b"weights.bin")]
    m.externalBuffers = [s.ExternalBufferT(id=7, group=0, offset=64, length=16, packing=b"p")]
    main.tensor("outside", (4,), externalBuffer=7)
    shared = maker.buffer(bytes(range(16)))
    for name in ("one", "two"):
        main.tensor(name, (4,), buffer=shared)
    m.buffers += [s.BufferT(data=np.array([], np.uint8)), s.BufferT(data=None)]
    m.metadataBuffer = np.array([1, 2], "<i4")
    maker.metadata("min_runtime_version", b"2.6.0")
    maker.signature("first", {"in": x}, {"out": y})
    maker.signature("body", {"i": 0}, {"o": 1}, subgraph=3)
    main.t.debugMetadataIndex = 2
    return maker


def recurrent(op: int, slots: dict[int, tuple[int, ...]], shape: tuple[int, ...]) -> Maker:
    """One recurrent operator: `slots` maps input slots to constant shapes, the rest left out."""
    maker = Maker()
    g = maker.graph()
    inputs = [g.tensor("x", shape), *[-1] * max(slots)]
    for slot, weight in slots.items():
        inputs[slot] = g.weight(f"w{slot}", weight)
    out = g.tensor("y", shape)
    g.op(op, inputs, [out])
    g.io([inputs[0]], [out])
    return maker


def read_or_skip(path: Any) -> bytes:
    """A real file, or a skip that says what is missing."""
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    return bytes(path.read_bytes())
