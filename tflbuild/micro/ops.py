"""The operators of TensorFlow Lite for Microcontrollers, as data.

Sources (tensorflow/tflite-micro, 2026-08): the names of the `Add…` methods and the custom names are
those of `tensorflow/lite/micro/micro_mutable_op_resolver.h`; the types are what Prepare and Eval of
the reference kernels, `tensorflow/lite/micro/kernels/*.cc`, take. An optimized kernel (CMSIS-NN,
Ethos-U, Xtensa, ARC) may take less, or more. `tests/micro/test_micro_kernels.py` compares every
rule with what the package `tflite-micro` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

# One letter a type, so that a rule for all inputs and outputs fits in a line.
LETTERS = {
    "float32": "f",
    "float16": "e",
    "float64": "d",
    "int4": "4",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "l",
    "uint8": "u",
    "uint32": "I",
    "uint64": "L",
    "bool": "B",
    "string": "s",
    "resource": "r",
}
OTHER = "x"  # any other type
ABSENT = "-"  # an optional input that is left out


@dataclass(frozen=True)
class Kernel:
    """What a kernel takes.

    `add`: the resolver's method. `types`: a regular expression over the types of the inputs, `>`,
    those of the outputs, as LETTERS; "" where the kernel looks at none. `constant`: input slots
    that must be part of the model. `rank`: the most dimensions of its first input (of input
    `rank_of`); 0: any.
    """

    add: str
    types: str = ""
    constant: tuple[int, ...] = ()
    rank: int = 0
    rank_of: int = 0

    def takes(self, letters: str) -> bool:
        """Whether it runs on these types, `inputs>outputs`."""
        return not self.types or _compiled(self.types).fullmatch(letters) is not None


@cache
def _compiled(types: str) -> re.Pattern[str]:
    return re.compile(types)


_FLOAT = "f>f"
_FLOAT_INT8 = r"([fb])>\1"
_FLOAT_INT8_INT16 = r"([fbh])>\1"
_COMPARE = r"([fibl])\1>B"
_EQUAL = r"([fiblB])\1>B"
_ARITHMETIC = r"([fibh])\1>\1"
_REDUCE = r"([fbh])i>\1"
_REDUCE_FLOAT_INT8 = r"([fb])i>\1"
_CONVOLUTION = r"ff[f-]?>f|b[b4][i-]?>b|hb"

BUILTIN: dict[str, Kernel] = {
    "ABS": Kernel("AddAbs", _FLOAT_INT8_INT16),
    "ADD": Kernel("AddAdd", _ARITHMETIC),
    "ADD_N": Kernel("AddAddN", r"([fb])\1*>\1"),
    "ARG_MAX": Kernel("AddArgMax", "[fb]i>i"),
    "ARG_MIN": Kernel("AddArgMin", "[fb]i>i"),
    "ASSIGN_VARIABLE": Kernel("AddAssignVariable", "[ri].>"),
    "AVERAGE_POOL_2D": Kernel("AddAveragePool2D", _FLOAT_INT8_INT16),
    "BATCH_MATMUL": Kernel("AddBatchMatMul", r"([fbh])\1>\1"),
    "BATCH_TO_SPACE_ND": Kernel("AddBatchToSpaceNd", r"([fb])ii>\1", rank=4),
    "BROADCAST_ARGS": Kernel("AddBroadcastArgs", r"([il])\1>\1"),
    "BROADCAST_TO": Kernel("AddBroadcastTo", r"([^s])[il]>\1", (1,), rank=5),
    "CALL_ONCE": Kernel("AddCallOnce"),
    "CAST": Kernel("AddCast", "[bhiIfB]>[bhiIfB]"),
    "CEIL": Kernel("AddCeil", _FLOAT),
    "CONCATENATION": Kernel("AddConcatenation", r"([fbhilB])\1*>\1", rank=6),
    "CONV_2D": Kernel("AddConv2D", _CONVOLUTION + "[il-]?>h"),
    "COS": Kernel("AddCos", _FLOAT),
    "CUMSUM": Kernel("AddCumSum", _REDUCE_FLOAT_INT8),
    "DEPTHWISE_CONV_2D": Kernel("AddDepthwiseConv2D", _CONVOLUTION + "[l-]?>h"),
    "DEPTH_TO_SPACE": Kernel("AddDepthToSpace", _FLOAT_INT8),
    "DEQUANTIZE": Kernel("AddDequantize", "[bhu]>f"),
    "DIV": Kernel("AddDiv", r"([fib])\1>\1"),
    "DYNAMIC_UPDATE_SLICE": Kernel("AddDynamicUpdateSlice", r"([fbhi])\1[il]>\1", rank=6),
    "ELU": Kernel("AddElu", _FLOAT_INT8),
    "EMBEDDING_LOOKUP": Kernel("AddEmbeddingLookup", "if>f|ib>[fb]"),
    "EQUAL": Kernel("AddEqual", _EQUAL),
    "EXP": Kernel("AddExp", _FLOAT),
    "EXPAND_DIMS": Kernel("AddExpandDims", r"([fbh])i>\1", (1,)),
    "FILL": Kernel("AddFill", r"[bhil]([fib])>\1", (0,)),
    "FLOOR": Kernel("AddFloor", _FLOAT),
    "FLOOR_DIV": Kernel("AddFloorDiv", "ff>f"),
    "FLOOR_MOD": Kernel("AddFloorMod", "ff>f"),
    "FULLY_CONNECTED": Kernel("AddFullyConnected", _CONVOLUTION + "[il-]?>h"),
    "GATHER": Kernel("AddGather", r"([fb])i>\1"),
    "GATHER_ND": Kernel("AddGatherNd", r"([fb])i>\1"),
    "GREATER": Kernel("AddGreater", r"([fiblh])\1>B"),
    "GREATER_EQUAL": Kernel("AddGreaterEqual", _COMPARE),
    "HARD_SWISH": Kernel("AddHardSwish", _FLOAT_INT8),
    "IF": Kernel("AddIf", "B.*>.*"),
    "L2_NORMALIZATION": Kernel("AddL2Normalization", _FLOAT_INT8, rank=4),
    "L2_POOL_2D": Kernel("AddL2Pool2D", _FLOAT),
    "LEAKY_RELU": Kernel("AddLeakyRelu", _FLOAT_INT8_INT16),
    "LESS": Kernel("AddLess", _COMPARE),
    "LESS_EQUAL": Kernel("AddLessEqual", _COMPARE),
    "LOG": Kernel("AddLog", _FLOAT),
    "LOGICAL_AND": Kernel("AddLogicalAnd", "BB>B"),
    "LOGICAL_NOT": Kernel("AddLogicalNot", "B>B"),
    "LOGICAL_OR": Kernel("AddLogicalOr", "BB>B"),
    "LOGISTIC": Kernel("AddLogistic", _FLOAT_INT8_INT16),
    "LOG_SOFTMAX": Kernel("AddLogSoftmax", _FLOAT_INT8),
    "MAXIMUM": Kernel("AddMaximum", r"([fbhil])\1>\1"),
    "MAX_POOL_2D": Kernel("AddMaxPool2D", _FLOAT_INT8_INT16),
    "MEAN": Kernel("AddMean", _REDUCE),
    "MINIMUM": Kernel("AddMinimum", r"([fbhil])\1>\1"),
    "MIRROR_PAD": Kernel("AddMirrorPad", r"([fb])[il]>\1"),
    "MUL": Kernel("AddMul", _ARITHMETIC),
    "NEG": Kernel("AddNeg", _FLOAT),
    "NOT_EQUAL": Kernel("AddNotEqual", _EQUAL),
    "PACK": Kernel("AddPack", r"([fbhil])\1*>\1"),
    "PAD": Kernel("AddPad", r"([fbhi])i>\1", (1,), rank=5),
    "PADV2": Kernel("AddPadV2", r"([fbhi])i\1>\1", (1,), rank=5),
    "PRELU": Kernel("AddPrelu", "ff>f|bb>b|hb>h"),
    "QUANTIZE": Kernel("AddQuantize", "f>[bh]|i>[bh]|h>[bhi]|b>[buhi]|u>b"),
    "READ_VARIABLE": Kernel("AddReadVariable", "r>."),
    "REDUCE_ALL": Kernel("AddReduceAll", "Bi>B"),
    "REDUCE_MAX": Kernel("AddReduceMax", _REDUCE_FLOAT_INT8),
    "REDUCE_MIN": Kernel("AddReduceMin", _REDUCE_FLOAT_INT8),
    "RELU": Kernel("AddRelu", _FLOAT_INT8_INT16),
    "RELU6": Kernel("AddRelu6", _FLOAT_INT8_INT16),
    "RESHAPE": Kernel("AddReshape", r"([^s])i?>\1"),
    "RESIZE_BILINEAR": Kernel("AddResizeBilinear", _REDUCE_FLOAT_INT8, (1,)),
    "RESIZE_NEAREST_NEIGHBOR": Kernel("AddResizeNearestNeighbor", _REDUCE, (1,)),
    "REVERSE_V2": Kernel("AddReverseV2", r"([ifubhlB])i>\1", rank=6),
    "ROUND": Kernel("AddRound", _FLOAT),
    "RSQRT": Kernel("AddRsqrt", _FLOAT_INT8_INT16),
    "SELECT_V2": Kernel("AddSelectV2", r"B([fbh])\1>\1"),
    "SHAPE": Kernel("AddShape", ".>i"),
    "SIN": Kernel("AddSin", _FLOAT),
    "SLICE": Kernel("AddSlice", r"([fibhB])([il])\2>\1", rank=5),
    "SOFTMAX": Kernel("AddSoftmax", "f>f|b>[bh]|h>h"),
    "SPACE_TO_BATCH_ND": Kernel("AddSpaceToBatchNd", r"([fb])ii>\1", rank=4),
    "SPACE_TO_DEPTH": Kernel("AddSpaceToDepth", _FLOAT_INT8),
    "SPLIT": Kernel("AddSplit", r"i([fbhi])>\1+", (0,), rank_of=1),
    "SPLIT_V": Kernel("AddSplitV", r"([fbhi])ii>\1+", (2,)),
    "SQRT": Kernel("AddSqrt", _FLOAT),
    "SQUARE": Kernel("AddSquare", _FLOAT),
    "SQUARED_DIFFERENCE": Kernel("AddSquaredDifference", _ARITHMETIC),
    "SQUEEZE": Kernel("AddSqueeze", r"([^s])>\1"),
    "STRIDED_SLICE": Kernel("AddStridedSlice", r"([fbhiB])iii>\1", (1, 2, 3), rank=4),
    "SUB": Kernel("AddSub", _ARITHMETIC),
    "SUM": Kernel("AddSum", _REDUCE),
    "SVDF": Kernel("AddSvdf", "fff[f-]f>f|bb([hb])[i-][hb]>b"),
    "TANH": Kernel("AddTanh", _FLOAT_INT8_INT16),
    "TRANSPOSE": Kernel("AddTranspose", r"([fbh])i>\1", (1,), rank=5),
    "TRANSPOSE_CONV": Kernel(
        "AddTransposeConv", "iff[f-]?>f|ibb[i-]?>b|ibh[hl-]?>h", rank=4, rank_of=2
    ),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Kernel(
        "AddUnidirectionalSequenceLSTM", "f[f-]+>f|([bh])b.*>\\1"
    ),
    "UNPACK": Kernel("AddUnpack", r"([fibh])>\1+"),
    "VAR_HANDLE": Kernel("AddVarHandle", ">r"),
    "WHILE": Kernel("AddWhile"),
    "ZEROS_LIKE": Kernel("AddZerosLike", r"([libf])>\1"),
}

# By custom name. Their options are a map of settings; nobody but the kernel looks into them.
CUSTOM: dict[str, Kernel] = {
    "CIRCULAR_BUFFER": Kernel("AddCircularBuffer", "b>b"),
    "SignalDelay": Kernel("AddDelay", "h>h"),
    "SignalEnergy": Kernel("AddEnergy", "h>I"),
    "SignalFftAutoScale": Kernel("AddFftAutoScale", "h>hi"),
    "SignalFilterBank": Kernel("AddFilterBank", "Ihhhhh>L"),
    "SignalFilterBankLog": Kernel("AddFilterBankLog", "I>h"),
    "SignalFilterBankSpectralSubtraction": Kernel("AddFilterBankSpectralSubtraction", "I>II"),
    "SignalFilterBankSquareRoot": Kernel("AddFilterBankSquareRoot", "Li>I"),
    "SignalFramer": Kernel("AddFramer", "h>hB"),
    "SignalIrfft": Kernel("AddIrfft", r"([fhi])>\1"),
    "SignalOverlapAdd": Kernel("AddOverlapAdd", r"([fh])>\1"),
    "SignalPCAN": Kernel("AddPCAN", "IIh>I"),
    "SignalRfft": Kernel("AddRfft", r"([fhi])>\1"),
    "SignalStacker": Kernel("AddStacker", "h>hB"),
    "SignalWindow": Kernel("AddWindow", "hh>h"),
    "TFLM_DECODE": Kernel("AddDecode"),
    "TFLite_Detection_PostProcess": Kernel("AddDetectionPostprocess", "[fb][fb][fb]>ffff"),
    "ethos-u": Kernel("AddEthosU"),
}


def kernel(name: str, kind: str) -> Kernel | None:
    """The kernel of an operator (`Op.name`, `Op.kind`); None if there is none."""
    return (BUILTIN if kind == "builtin" else CUSTOM).get(name)
