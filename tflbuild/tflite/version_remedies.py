"""What to do where an operator is too new for a target: the way to a version that is older.

Each way says what it leads to, so that it is offered only where that is old enough. Keys are those
of the manifest (docs/MANIFEST.md); `tests/convert/test_convert_versions.py` tries them.
"""

from __future__ import annotations

from collections.abc import Collection

from .runtime_versions import Version, first_runtime, parse

Pair = tuple[str, int]
_Way = tuple[str, Pair]  # what to write or do, and the operator version that comes of it

_PER_TENSOR = "per_channel: false (quantizer: ai-edge: granularity: tensorwise)"
_DENSE_PER_TENSOR = (
    "converter: {experimental_disable_per_channel_quantization_for_dense_layers: true}"
    " (quantizer: ai-edge: a rule {op: FULLY_CONNECTED, quantize: dynamic_range,"
    " granularity: tensorwise})"
)
_FLOAT16: _Way = ("quantize: float16", ("DEQUANTIZE", 3))
_NONE = "quantize: none"
_INT8 = "quantize: int8"
_STATE = "give the state to the model as an input and take it back as an output"

# Not per_channel: false: with float activations the kernels up to LiteRT 2.3 read a scale for each
# channel where there is one, and give garbage.
_NO_HYBRID_DEPTHWISE: tuple[_Way, ...] = (
    (_INT8, ("DEPTHWISE_CONV_2D", 3)),
    _FLOAT16,
    (_NONE, ("DEPTHWISE_CONV_2D", 1)),
)
WAYS: dict[Pair, tuple[_Way, ...]] = {
    ("BATCH_MATMUL", 4): ((_INT8, ("BATCH_MATMUL", 2)), _FLOAT16, (_NONE, ("BATCH_MATMUL", 1))),
    ("CONV_2D", 5): (
        (_PER_TENSOR, ("CONV_2D", 2)),
        (_INT8, ("CONV_2D", 3)),
        _FLOAT16,
        (_NONE, ("CONV_2D", 1)),
    ),
    ("CONV_2D", 6): (("split the input and convolve each group on its own", ("CONV_2D", 3)),),
    ("DEPTHWISE_CONV_2D", 4): _NO_HYBRID_DEPTHWISE,
    ("DEPTHWISE_CONV_2D", 6): _NO_HYBRID_DEPTHWISE,
    ("FULLY_CONNECTED", 9): (
        (_INT8, ("FULLY_CONNECTED", 4)),
        _FLOAT16,
        (_NONE, ("FULLY_CONNECTED", 1)),
    ),
    ("FULLY_CONNECTED", 12): (
        (_DENSE_PER_TENSOR, ("FULLY_CONNECTED", 9)),
        (_INT8, ("FULLY_CONNECTED", 4)),
        _FLOAT16,
        (_NONE, ("FULLY_CONNECTED", 1)),
    ),
    ("ASSIGN_VARIABLE", 1): ((_STATE, ("ADD", 1)),),
    ("READ_VARIABLE", 1): ((_STATE, ("ADD", 1)),),
    ("VAR_HANDLE", 1): ((_STATE, ("ADD", 1)),),
}
# int16 activations have int8 ones for an alternative: the version that the operator has with them.
_INT16 = {
    "ABS": 2, "ADD": 2, "AVERAGE_POOL_2D": 2, "BATCH_MATMUL": 2, "BATCH_TO_SPACE_ND": 2,
    "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "DEQUANTIZE": 2, "FULLY_CONNECTED": 4,
    "GATHER": 2, "LEAKY_RELU": 1, "LOGISTIC": 2, "MAXIMUM": 2, "MAX_POOL_2D": 2, "MEAN": 2,
    "MINIMUM": 2, "MIRROR_PAD": 2, "MUL": 2, "PACK": 2, "PAD": 2, "PADV2": 2, "QUANTIZE": 1,
    "REDUCE_MAX": 2, "REDUCE_MIN": 2, "RELU": 2, "RELU6": 2, "RESIZE_BILINEAR": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2, "RSQRT": 2, "SLICE": 2, "SOFTMAX": 2, "SPACE_TO_BATCH_ND": 2,
    "SPLIT": 2, "SUB": 2, "TANH": 2, "TRANSPOSE": 2, "TRANSPOSE_CONV": 3, "UNPACK": 2,
}  # fmt: skip
_SMALL = ("int4", "int2", "uint4")


def remedy(
    op: str,
    version: int,
    why: str,
    others: Collection[Pair],
    target: tuple[str, Version],
) -> str:
    """The first way that leads to what the target's runtime has, "" where none is known.

    `why` is the reason that `op_versions.needed` gives, `others` all that the file has, `target`
    the numbering and the version of the oldest runtime.
    """
    numbering, limit = target
    depthwise = any(("DEPTHWISE_CONV_2D", hybrid) in others for hybrid in (4, 6))
    ways = list(WAYS.get((op, version), ()))
    if op in _INT16 and ("int16 activations" in why or op == "QUANTIZE"):
        ways.append((_INT8, (op, _INT16[op])))
    if why.startswith(_SMALL):
        ways.append(("weights of 8 bits (weights: int8)", (op, 1)))
    for text, pair in ways:
        if text == _PER_TENSOR and depthwise:
            continue
        since = first_runtime(*pair, numbering=numbering)
        if since is not None and parse(since) <= limit:
            return text
    return ""
