# ruff: noqa: E501  (a table: a case a line)
"""Files of one operator, made by hand, for every kernel of tflite-micro and many types.

`cases` names each by operator and `inputs>outputs`, as letters of `tflbuild.micro.ops`;
`single` makes the file. Shapes and options are the smallest that a kernel runs on.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as s

from tflbuild.micro.ops import LETTERS

sys.path.insert(0, str(Path(__file__).parents[1] / "tflite"))
from tflite_models import OP, OPTIONS, TYPE, Maker

_NUMPY = {
    "f": "<f4", "e": "<f2", "d": "<f8", "4": "u1", "b": "i1", "h": "<i2", "i": "<i4", "l": "<i8",
    "u": "u1", "I": "<u4", "L": "<u8", "B": "?",
}  # fmt: skip
_TYPES = {letter: getattr(TYPE, name.upper()) for name, letter in LETTERS.items()}
_QUANTIZED = "bhu4"
ALL = "fbhiluBe"


# Scale and zero point that a kernel insists on for its output, by operator and type.
_OUTPUTS = {
    "LOGISTIC b": (1 / 256, -128), "LOGISTIC h": (1 / 32768, 0), "TANH h": (1 / 32768, 0),
    "TANH b": (1 / 128, 0), "SOFTMAX b": (1 / 256, -128), "SOFTMAX h": (1 / 32768, 0),
    "LOG_SOFTMAX b": (16 / 256, 127), "QUANTIZE i": (0.25, 0),
}  # fmt: skip
_STEEP = {"SOFTMAX bh": (1 / 65536, -32768)}


def tensor(
    g: Any, name: str, shape: tuple[int, ...], letter: str, data: Any = None, needs: Any = None
) -> int:
    """A tensor; quantized types get a scale, biases that of input times weight."""
    fields: dict[str, Any] = {}
    if needs or letter in _QUANTIZED or (name == "bias" and letter != "f"):
        scale, zero = needs or (1 / 16 if name == "bias" else 0.25, 0)
        fields["quantization"] = s.QuantizationParametersT(
            scale=np.array([scale], "<f4"), zeroPoint=np.array([zero], "<i8")
        )
    raw = None
    if data is not None:
        values = np.broadcast_to(np.asarray(data), shape)
        raw = values.astype(_NUMPY[letter]).tobytes()
        if letter == "4":
            raw = bytes(-(-len(raw) // 2))
    return int(g.tensor(name, shape, _TYPES[letter], raw, **fields))


class Case:
    """`inputs`: (shape, letter or T, constant data or None); `outputs`: (shape, letter or T)."""

    def __init__(self, inputs: list[Any], outputs: list[Any], options: Any = None, **more: Any):
        self.inputs, self.outputs, self.options, self.more = inputs, outputs, options, more


def _unary(shape: tuple[int, ...] = (1, 4), options: Any = None, out: str = "T") -> Case:
    return Case([(shape, "T", None)], [(shape, out)], options)


def _binary(options: Any = None, out: str = "T") -> Case:
    return Case([((1, 4), "T", None), ((1, 4), "T", None)], [((1, 4), out)], options)


def _reduce() -> Case:
    return Case(
        [((1, 2, 2, 4), "T", None), ((2,), "i", [1, 2])],
        [((1, 4), "T")],
        s.ReducerOptionsT(keepDims=False),
    )


_POOL = s.Pool2DOptionsT(strideW=1, strideH=1, filterWidth=2, filterHeight=2, padding=1)
_IMAGE = (1, 4, 4, 2)
# Kernels whose types all follow one: T.
PLAIN: dict[str, Case] = {
    **{n: _unary() for n in ["ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOG", "LOGICAL_NOT", "LOGISTIC", "NEG", "RELU", "RELU6", "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE", "TANH", "ZEROS_LIKE"]},
    **{n: _binary(out="B") for n in ["EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"]},
    **{n: _binary() for n in ["FLOOR_DIV", "FLOOR_MOD", "LOGICAL_AND", "LOGICAL_OR", "MAXIMUM", "MINIMUM"]},
    "SQUARED_DIFFERENCE": _binary(), "ADD_N": _binary(),
    "ADD": _binary(s.AddOptionsT()), "SUB": _binary(s.SubOptionsT()),
    "MUL": _binary(s.MulOptionsT()), "DIV": _binary(s.DivOptionsT()),
    **{n: _reduce() for n in ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ALL"]},
    "ARG_MAX": Case([((1, 4), "T", None), ((1,), "i", [1])], [((1,), "i")], s.ArgMaxOptionsT(outputType=TYPE.INT32)),
    "ARG_MIN": Case([((1, 4), "T", None), ((1,), "i", [1])], [((1,), "i")], s.ArgMinOptionsT(outputType=TYPE.INT32)),
    "AVERAGE_POOL_2D": Case([(_IMAGE, "T", None)], [((1, 3, 3, 2), "T")], _POOL),
    "MAX_POOL_2D": Case([(_IMAGE, "T", None)], [((1, 3, 3, 2), "T")], _POOL),
    "L2_POOL_2D": Case([(_IMAGE, "T", None)], [((1, 3, 3, 2), "T")], _POOL),
    "BATCH_MATMUL": Case([((1, 2, 3), "T", None), ((1, 3, 2), "T", None)], [((1, 2, 2), "T")], s.BatchMatMulOptionsT()),
    "BATCH_TO_SPACE_ND": Case([((4, 2, 2, 1), "T", None), ((2,), "i", [2, 2]), ((2, 2), "i", 0)], [((1, 4, 4, 1), "T")]),
    "SPACE_TO_BATCH_ND": Case([((1, 4, 4, 1), "T", None), ((2,), "i", [2, 2]), ((2, 2), "i", 0)], [((4, 2, 2, 1), "T")]),
    "BROADCAST_ARGS": Case([((2,), "T", None), ((2,), "T", None)], [((2,), "T")]),
    "BROADCAST_TO": Case([((1, 4), "T", None), ((2,), "i", [3, 4])], [((3, 4), "T")]),
    "CONCATENATION": Case([((1, 4), "T", None)] * 2, [((1, 8), "T")], s.ConcatenationOptionsT(axis=1)),
    "CUMSUM": Case([((1, 4), "T", None), ((), "i", 1)], [((1, 4), "T")], s.CumsumOptionsT()),
    "DEPTH_TO_SPACE": Case([((1, 2, 2, 4), "T", None)], [((1, 4, 4, 1), "T")], s.DepthToSpaceOptionsT(blockSize=2)),
    "SPACE_TO_DEPTH": Case([((1, 4, 4, 1), "T", None)], [((1, 2, 2, 4), "T")], s.SpaceToDepthOptionsT(blockSize=2)),
    "DYNAMIC_UPDATE_SLICE": Case([((4,), "T", None), ((2,), "T", None), ((1,), "i", [1])], [((4,), "T")]),
    "EMBEDDING_LOOKUP": Case([((2,), "i", None), ((3, 4), "T", 1)], [((2, 4), "T")]),
    "EXPAND_DIMS": Case([((4,), "T", None), ((1,), "i", [0])], [((1, 4), "T")]),
    "FILL": Case([((2,), "i", [1, 4]), ((), "T", None)], [((1, 4), "T")]),
    "GATHER": Case([((3, 4), "T", None), ((2,), "i", [0, 1])], [((2, 4), "T")], s.GatherOptionsT(axis=0)),
    "GATHER_ND": Case([((3, 4), "T", None), ((2, 1), "i", 1)], [((2, 4), "T")]),
    "L2_NORMALIZATION": _unary(options=s.L2NormOptionsT()),
    "LEAKY_RELU": _unary(options=s.LeakyReluOptionsT(alpha=0.25)),
    "LOG_SOFTMAX": _unary(),
    "SOFTMAX": _unary(options=s.SoftmaxOptionsT(beta=1.0)),
    "MIRROR_PAD": Case([((1, 4), "T", None), ((2, 2), "i", [[0, 0], [1, 1]])], [((1, 6), "T")], s.MirrorPadOptionsT()),
    "PACK": Case([((4,), "T", None)] * 2, [((2, 4), "T")], s.PackOptionsT(valuesCount=2, axis=0)),
    "PAD": Case([((1, 4), "T", None), ((2, 2), "i", [[0, 0], [1, 1]])], [((1, 6), "T")]),
    "PADV2": Case([((1, 4), "T", None), ((2, 2), "i", [[0, 0], [1, 1]]), ((), "T", 0)], [((1, 6), "T")]),
    "RESHAPE": Case([((1, 4), "T", None), ((2,), "i", [2, 2])], [((2, 2), "T")], s.ReshapeOptionsT(newShape=np.array([2, 2], "<i4"))),
    "RESIZE_BILINEAR": Case([(_IMAGE, "T", None), ((2,), "i", [8, 8])], [((1, 8, 8, 2), "T")], s.ResizeBilinearOptionsT()),
    "RESIZE_NEAREST_NEIGHBOR": Case([(_IMAGE, "T", None), ((2,), "i", [8, 8])], [((1, 8, 8, 2), "T")], s.ResizeNearestNeighborOptionsT()),
    "REVERSE_V2": Case([((1, 4), "T", None), ((1,), "i", [1])], [((1, 4), "T")]),
    "SELECT_V2": Case([((1, 4), "B", None), ((1, 4), "T", None), ((1, 4), "T", None)], [((1, 4), "T")]),
    "SHAPE": Case([((1, 4), "T", None)], [((2,), "i")], s.ShapeOptionsT(outType=TYPE.INT32)),
    "SLICE": Case([((1, 4), "T", None), ((2,), "i", [0, 1]), ((2,), "i", [1, 2])], [((1, 2), "T")]),
    "SPLIT": Case([((), "i", 1), ((1, 4), "T", None)], [((1, 2), "T")] * 2, s.SplitOptionsT(numSplits=2)),
    "SPLIT_V": Case([((1, 4), "T", None), ((2,), "i", [1, 3]), ((), "i", 1)], [((1, 1), "T"), ((1, 3), "T")], s.SplitVOptionsT(numSplits=2)),
    "SQUEEZE": Case([((1, 4), "T", None)], [((4,), "T")], s.SqueezeOptionsT(squeezeDims=np.array([0], "<i4"))),
    "STRIDED_SLICE": Case([((1, 4), "T", None), ((2,), "i", [0, 1]), ((2,), "i", [1, 3]), ((2,), "i", 1)], [((1, 2), "T")], s.StridedSliceOptionsT()),
    "TRANSPOSE": Case([((2, 4), "T", None), ((2,), "i", [1, 0])], [((4, 2), "T")]),
    "UNPACK": Case([((2, 4), "T", None)], [((4,), "T")] * 2, s.UnpackOptionsT(num=2, axis=0)),
}  # fmt: skip

_CONV = s.Conv2DOptionsT(strideW=1, strideH=1, padding=1)
_DEPTHWISE = s.DepthwiseConv2DOptionsT(strideW=1, strideH=1, padding=1, depthMultiplier=1)


def _weighted(name: str, a: str, w: str, b: str, o: str) -> Case:
    bias = [((2,), b, 1)] if b != "-" else []
    if name == "CONV_2D":
        return Case([(_IMAGE, a, None), ((2, 2, 2, 2), w, 1), *bias], [((1, 3, 3, 2), o)], _CONV)
    if name == "DEPTHWISE_CONV_2D":
        return Case(
            [(_IMAGE, a, None), ((1, 2, 2, 2), w, 1), *bias], [((1, 3, 3, 2), o)], _DEPTHWISE
        )
    if name == "FULLY_CONNECTED":
        options = s.FullyConnectedOptionsT()
        return Case([((1, 4), a, None), ((2, 4), w, 1), *bias], [((1, 2), o)], options)
    options = s.TransposeConvOptionsT(strideW=1, strideH=1, padding=1)
    shape = ((4,), "i", [1, 4, 4, 2])
    image = ((1, 3, 3, 2), a, None)
    return Case([shape, ((2, 2, 2, 2), w, 1), image, *bias], [(_IMAGE, o)], options)


# fmt: off
def _mixed() -> Iterator[tuple[str, Case]]:
    for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"):
        for letters in (
            "ffff", "ff-f", "fbff", "feff", "eeee", "bbib", "bb-b", "b4ib", "hbih", "hblh", "hb-h",
            "hhlh", "uuiu", "bblb", "iiii",
        ):  # fmt: skip
            yield name, _weighted(name, *letters)
    for a in "fbhiuBe":
        for o in "fbhiuBe":
            if a != o or a in "bh":
                yield "QUANTIZE", Case([((1, 4), a, None)], [((1, 4), o)], s.QuantizeOptionsT())
    for a in "bhuief4":
        yield "DEQUANTIZE", Case([((1, 4), a, None)], [((1, 4), "f")], s.DequantizeOptionsT())
    for a in "fbhilIBue":
        for o in "fbhilIBue":
            yield "CAST", Case([((1, 4), a, None)], [((1, 4), o)], s.CastOptionsT())
    for a, b in ("ff", "bb", "hb", "hh", "fb", "ii"):
        yield "PRELU", Case([((1, 4), a, None), ((1, 4), b, 1)], [((1, 4), a)])
    for a, o in ("bh", "hb", "fb"):
        yield "SOFTMAX", Case([((1, 4), a, None)], [((1, 4), o)], s.SoftmaxOptionsT(beta=1.0))
    for table, o in ("ff", "bf", "bb", "fb", "hh"):
        yield "EMBEDDING_LOOKUP", Case([((2,), "i", None), ((3, 4), table, 1)], [((2, 4), o)])
    for index in "ilh":
        yield "GATHER", Case([((3, 4), "f", None), ((2,), index, [0, 1])], [((2, 4), "f")], s.GatherOptionsT(axis=0))
        yield "SLICE", Case([((1, 4), "f", None), ((2,), index, [0, 1]), ((2,), index, [1, 2])], [((1, 2), "f")])
        yield "PAD", Case([((1, 4), "f", None), ((2, 2), index, [[0, 0], [1, 1]])], [((1, 6), "f")])
        yield "FILL", Case([((2,), index, [1, 4]), ((), "f", None)], [((1, 4), "f")])
        yield "BROADCAST_TO", Case([((1, 4), "f", None), ((2,), index, [3, 4])], [((3, 4), "f")])
        yield "DYNAMIC_UPDATE_SLICE", Case([((4,), "f", None), ((2,), "f", None), ((1,), index, [1])], [((4,), "f")])
    for out in "il":
        yield "ARG_MAX", Case([((1, 4), "f", None), ((1,), "i", [1])], [((1,), out)], s.ArgMaxOptionsT(outputType=_TYPES[out]))
        yield "SHAPE", Case([((1, 4), "f", None)], [((2,), out)], s.ShapeOptionsT(outType=_TYPES[out]))
    # Inputs that must be constants, and are not.
    yield "PAD", Case([((1, 4), "f", None), ((2, 2), "i", None)], [((1, 6), "f")])
    yield "TRANSPOSE", Case([((2, 4), "f", None), ((2,), "i", None)], [((4, 2), "f")])
    yield "EXPAND_DIMS", Case([((4,), "f", None), ((1,), "i", None)], [((1, 4), "f")])
    yield "STRIDED_SLICE", Case([((1, 4), "f", None)] + [((2,), "i", None)] * 3, [((1, 2), "f")], s.StridedSliceOptionsT())
    yield "SPLIT", Case([((), "i", None), ((1, 4), "f", None)], [((1, 2), "f")] * 2, s.SplitOptionsT(numSplits=2))
    yield "RESIZE_BILINEAR", Case([(_IMAGE, "f", None), ((2,), "i", None)], [((1, 8, 8, 2), "f")], s.ResizeBilinearOptionsT())
    # Too many dimensions.
    deep = (1, 1, 1, 1, 2, 2)
    yield "TRANSPOSE", Case([(deep, "f", None), ((6,), "i", range(6))], [(deep, "f")])
    yield "STRIDED_SLICE", Case([(deep, "f", None), ((6,), "i", 0), ((6,), "i", deep), ((6,), "i", 1)], [(deep, "f")], s.StridedSliceOptionsT())
    yield "PAD", Case([(deep, "f", None), ((6, 2), "i", 0)], [(deep, "f")])
    # No kernel at all.
    for name in ("POW", "TILE", "GELU", "RANK", "FLOOR_DIV", "SELECT", "TOPK_V2", "SIGN"):
        yield name, _binary()
    yield "SELECT", Case([((1, 4), "B", None), ((1, 4), "f", None), ((1, 4), "f", None)], [((1, 4), "f")])

# fmt: on


def cases() -> Iterator[tuple[str, bytes]]:
    """(a name that says operator and types, the file); a name that was there gets a number."""
    seen: Counter[str] = Counter()
    plain = ((name, case, letter) for name, case in PLAIN.items() for letter in ALL)
    for name, case, letter in chain(plain, ((name, case, "f") for name, case in _mixed())):
        seen[title := f"{name} {_letters(case, letter)}"] += 1
        number = f" {seen[title]}" if seen[title] > 1 else ""
        yield title + number, single(name, case, letter)


def _letters(case: Case, letter: str) -> str:
    inputs = "".join(i[1].replace("T", letter) for i in case.inputs)
    return f"{inputs}>" + "".join(o[1].replace("T", letter) for o in case.outputs)


def single(name: str, case: Case, letter: str) -> bytes:
    """A file of one operator; inputs without data are the model's."""
    maker = Maker()
    g = maker.graph()
    inputs, free = [], []
    for i, (shape, kind, data) in enumerate(case.inputs):
        kind = kind.replace("T", letter)
        weight = i and data is not None and len(shape) == 1 and kind in "fil" and i > 1
        inputs.append(index := tensor(g, "bias" if weight else f"in{i}", shape, kind, data))
        if data is None:
            free.append(index)
    outputs, types = [], _letters(case, letter).replace(">", "")
    for i, (shape, kind) in enumerate(case.outputs):
        kind = kind.replace("T", letter)
        needs = _STEEP.get(f"{name} {types}") or _OUTPUTS.get(f"{name} {kind}")
        outputs.append(tensor(g, f"out{i}", shape, kind, needs=needs))
    g.op(getattr(OP, name), inputs, outputs, case.options)
    g.io(free, outputs)
    assert case.options is None or hasattr(OPTIONS, type(case.options).__name__[:-1])
    return maker.pack()
