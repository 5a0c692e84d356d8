"""Files of one operator, made by hand, for the tests of delegates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as s
from tflite_models import OP, TYPE, Graph, Maker

_NAMES = "float32 float16 int64 int32 int16 int8 uint8 bool"
DTYPES = {name: getattr(TYPE, name.upper()) for name in _NAMES.split()}
_WIDTHS = {"float32": 4, "float16": 2, "int64": 8, "int32": 4, "int16": 2}
_QUANTIZED = frozenset({"int8", "uint8", "int16"})
IMAGE = (1, 4, 4, 4)


@dataclass(frozen=True)
class T:
    """A tensor: `values` for an integer constant, `constant` for one of zeros. `scales`: None for
    the default (one scale for quantized types), () for none."""

    shape: tuple[int, ...] = IMAGE
    dtype: str = "float32"
    constant: bool = False
    values: tuple[int, ...] | None = None
    scales: tuple[float, ...] | None = None
    zero: int = 0
    axis: int = 0
    signature: tuple[int, ...] | None = None
    name: str = ""
    variable: bool = False

    def add(self, graph: Graph, position: int) -> int:
        """The index of the tensor in a graph."""
        fields: dict[str, Any] = {}
        scales = self.scales
        if scales is None:
            scales = (0.5,) if self.dtype in _QUANTIZED else ()
        if scales:
            fields["quantization"] = s.QuantizationParametersT(
                scale=np.array(scales, "<f4"),
                zeroPoint=np.array([self.zero] * len(scales), "<i8"),
                quantizedDimension=self.axis,
            )
        if self.signature is not None:
            fields["shapeSignature"] = np.array(self.signature, "<i4")
        data: bytes | None = None
        if self.values is not None:
            width = "<i8" if self.dtype == "int64" else "<i4"
            data = np.array(self.values, width).tobytes()
        elif self.constant:
            data = bytes(_WIDTHS.get(self.dtype, 1) * int(np.prod(self.shape, dtype=int)))
        return graph.tensor(
            self.name or f"t{position}",
            self.shape,
            DTYPES[self.dtype],
            data,
            isVariable=self.variable,
            **fields,
        )


def ints(*values: int, dtype: str = "int32", shape: tuple[int, ...] | None = None) -> T:
    """A constant list of integers."""
    return T(shape if shape is not None else (len(values),), dtype, values=values)


@dataclass(frozen=True)
class One:
    """One operator: its name, inputs (None: left out), outputs and options."""

    op: str
    inputs: tuple[T | None, ...]
    outputs: tuple[T, ...] = (T(),)
    options: Any = None
    version: int = 1
    custom: bool = False
    fields: dict[str, Any] = field(default_factory=dict)

    def add(self, maker: Maker, graph: Graph) -> tuple[list[int], list[int]]:
        """Adds it to a graph; the tensors that it reads and that are no constants, and those that
        it writes."""
        base = len(graph.t.tensors)
        inputs = [t.add(graph, base + at) if t else -1 for at, t in enumerate(self.inputs)]
        outputs = [t.add(graph, base + 100 + at) for at, t in enumerate(self.outputs)]
        code = OP.CUSTOM if self.custom else getattr(OP, self.op)
        name = self.op if self.custom else None
        graph.op(code, inputs, outputs, self.options, custom=name, **self.fields)
        maker.model.operatorCodes[-1].version = self.version
        free = [
            index
            for index, t in zip(inputs, self.inputs, strict=True)
            if t and t.values is None and not t.constant and not t.variable
        ]
        return free, outputs

    def pack(self) -> bytes:
        """The file."""
        maker = Maker()
        graph = maker.graph()
        graph.io(*self.add(maker, graph))
        return maker.pack()


def conv(
    dtype: str = "float32",
    weights: str | None = None,
    *,
    depthwise: bool = False,
    scales: tuple[float, ...] | None = None,
    axis: int = 0,
    bias: bool = True,
    constant: bool = True,
    activation: int = 0,
    stride: int = 1,
    version: int = 1,
    source: T | None = None,
) -> One:
    """CONV_2D or DEPTHWISE_CONV_2D of 3x3 over IMAGE."""
    shape = (1, 3, 3, 4) if depthwise else (4, 3, 3, 4)
    quantized = dtype in _QUANTIZED
    filters = T(shape, weights or dtype, constant, scales=scales, axis=axis)
    sums = tuple(0.5 * scale for scale in scales or (0.5,)) if quantized else ()
    added = T((4,), "int32" if quantized else "float32", True, scales=sums)
    kind = s.DepthwiseConv2DOptionsT if depthwise else s.Conv2DOptionsT
    options = kind(
        strideW=stride, strideH=stride, dilationWFactor=1, dilationHFactor=1,
        fusedActivationFunction=activation,
    )  # fmt: skip
    if depthwise:
        options.depthMultiplier = 1
    side = 4 // stride if stride else 4
    return One(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        (source or T(dtype=dtype), filters, *((added,) if bias else ())),
        (T((1, side, side, 4), dtype),),
        options,
        version,
    )


def dense(
    dtype: str = "float32",
    weights: str | None = None,
    *,
    scales: tuple[float, ...] | None = None,
    zero: int = 0,
    constant: bool = True,
    bias: bool = True,
    version: int = 1,
    shuffled: bool = False,
) -> One:
    """FULLY_CONNECTED of 4 to 3."""
    quantized = dtype in _QUANTIZED
    filters = T((3, 4), weights or dtype, constant, scales=scales, zero=zero)
    added = T((3,), "int32" if quantized else "float32", True, scales=(0.25,) if quantized else ())
    return One(
        "FULLY_CONNECTED",
        (T((2, 4), dtype), filters, *((added,) if bias else ())),
        (T((2, 3), dtype),),
        s.FullyConnectedOptionsT(weightsFormat=int(shuffled)),
        version,
    )


def pool(name: str, dtype: str = "float32", *, window: int = 2, stride: int = 2) -> One:
    """AVERAGE_POOL_2D or MAX_POOL_2D over IMAGE."""
    side = -(-4 // stride)
    return One(
        name,
        (T(dtype=dtype),),
        (T((1, side, side, 4), dtype),),
        s.Pool2DOptionsT(strideW=stride, strideH=stride, filterWidth=window, filterHeight=window),
    )


def arg_max(dtype: str = "int32") -> One:
    """ARG_MAX over the channels of IMAGE."""
    options = s.ArgMaxOptionsT(outputType=DTYPES[dtype])
    result = T((1, 4, 4), dtype, name="classes")
    return One("ARG_MAX", (T(), ints(3, shape=())), (result,), options)


def chain(*names: str, dtype: str = "float32") -> bytes:
    """Operators of one input after the other, over a tensor of IMAGE."""
    maker = Maker()
    graph = maker.graph()
    first = last = graph.tensor("x", IMAGE, DTYPES[dtype])
    for at, name in enumerate(names):
        result = graph.tensor(f"y{at}", IMAGE, DTYPES[dtype])
        graph.op(getattr(OP, name), [last], [result])
        last = result
    graph.io([first], [last])
    return maker.pack()
