"""Pairs of files by hand: a float one, and the same quantized, with what is wrong in one place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as s

sys.path.insert(0, str(Path(__file__).parents[1] / "tflite"))
from tflite_models import OP, TYPE, Graph, Maker

WEIGHTS = np.float32([[1, -2, 3, -1], [2, 1, -1, 0.5], [-1, 1, 2, 2]])


def float_file() -> bytes:
    """out = sigmoid(reshape(dense(x))); dense is (1, 3), out (3,)."""
    maker = Maker()
    g = maker.graph()
    x, w = g.tensor("x", (1, 4)), g.tensor("net/dense_1/MatMul", (3, 4), data=WEIGHTS)
    shape = g.tensor("arith.constant", (1,), TYPE.INT32, [3])
    y, flat = g.tensor("net/dense_1/BiasAdd", (1, 3)), g.tensor("net/flat_1/Reshape", (3,))
    out = g.tensor("serve_out:0", (3,))
    g.op(OP.FULLY_CONNECTED, [x, w, -1], [y], s.FullyConnectedOptionsT())
    g.op(OP.RESHAPE, [y, shape], [flat], s.ReshapeOptionsT())
    g.op(OP.LOGISTIC, [flat], [out])
    g.io([x], [out])
    maker.signature("serve", {"x": x}, {"out": out})
    return maker.pack()


def quantized_file(
    dense: float = 0.1, entering: float = 0.02, weight: float = 3 / 127, names: bool = True
) -> bytes:
    """The same in int8 between float ends. `dense`, `entering`, `weight`: the scales of the dense
    layer's output, of the input and of the weights; without `names` all inner tensors have others.
    """
    maker = Maker()
    g = maker.graph()
    own = "" if names else "other"

    def q(name: str, shape: tuple[int, ...], scale: float, zero: int = 0, data: Any = None) -> int:
        return g.tensor(own + name, shape, TYPE.INT8, data, quantization=s.QuantizationParametersT(
            scale=np.float32([scale]), zeroPoint=np.int64([zero])))  # fmt: skip

    x, xq = g.tensor("serve_x:0", (1, 4)), q("tfl.quantize", (1, 4), entering)
    steps = np.clip(np.round(WEIGHTS / weight), -127, 127)
    w = q("net/dense_1/MatMul", (3, 4), weight, data=steps)
    shape = g.tensor("arith.constant", (1,), TYPE.INT32, [3])
    y, flat = q("net/dense_1/BiasAdd1", (1, 3), dense), q("net/flat_1/Reshape", (3,), dense)
    z, out = q("out_01", (3,), 1 / 256, -128), g.tensor("serve_out:0", (3,))
    g.op(OP.QUANTIZE, [x], [xq], s.QuantizeOptionsT())
    g.op(OP.FULLY_CONNECTED, [xq, w, -1], [y], s.FullyConnectedOptionsT())
    g.op(OP.RESHAPE, [y, shape], [flat], s.ReshapeOptionsT())
    g.op(OP.LOGISTIC, [flat], [z])
    g.op(OP.DEQUANTIZE, [z], [out], s.DequantizeOptionsT())
    g.io([x], [out])
    maker.signature("serve", {"x": x}, {"out": out})
    return maker.pack()


def half_file() -> bytes:
    """The float file with float16 weights that a DEQUANTIZE widens."""
    maker = Maker()
    g = maker.graph()
    x, w = g.tensor("x", (1, 4)), g.tensor("narrow", (3, 4), TYPE.FLOAT16, WEIGHTS / 3)
    wide, shape = g.tensor("wide", (3, 4)), g.tensor("arith.constant", (1,), TYPE.INT32, [3])
    y, flat = g.tensor("net/dense_1/BiasAdd", (1, 3)), g.tensor("net/flat_1/Reshape", (3,))
    out = g.tensor("serve_out:0", (3,))
    g.op(OP.DEQUANTIZE, [w], [wide], s.DequantizeOptionsT())
    g.op(OP.FULLY_CONNECTED, [x, wide, -1], [y], s.FullyConnectedOptionsT())
    g.op(OP.RESHAPE, [y, shape], [flat], s.ReshapeOptionsT())
    g.op(OP.LOGISTIC, [flat], [out])
    g.io([x], [out])
    maker.signature("serve", {"x": x}, {"out": out})
    return maker.pack()


def samples(scale: float = 1.0, count: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.uniform(-1, 1, (count, 1, 4)) * scale).astype("float32")


__all__ = ["OP", "Graph", "Maker", "float_file", "half_file", "quantized_file", "samples"]
