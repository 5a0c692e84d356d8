"""What to do about an op that has no builtin: what to write in its place, so that it converts.

Every entry is proven by TensorFlow's converter (tests/convert/test_convert_remedies.py): the op
does come out as a select or custom op, and where another computation is named, that one converts
to builtin ops alone and gives the same numbers. An op that is not here has no known replacement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Remedy:
    """`call`: how people write the op. `text`: what to do instead."""

    call: str
    text: str


# Op = how people write it; below it what to do instead.
_TABLE = """
# linear algebra
MatrixDeterminant = tf.linalg.det
    write out the formula for small fixed sizes (2×2: a*d - b*c; 3×3: Sarrus' rule)
LogMatrixDeterminant = tf.linalg.slogdet
    write out the determinant for small fixed sizes, and take tf.math.log of tf.abs
MatrixInverse = tf.linalg.inv
    write out the formula for small fixed sizes (2×2: [[d, -b], [-c, a]] / (a*d - b*c)); of a
    constant matrix, store the inverse
MatrixSolve = tf.linalg.solve
    multiply by the inverse, written out for small fixed sizes; of a constant matrix, stored
Cholesky = tf.linalg.cholesky
    write out its rows for small fixed sizes (tf.sqrt, products and divisions)
MatrixTriangularSolve = tf.linalg.triangular_solve
    write out the substitution row by row for small fixed sizes
Svd = tf.linalg.svd
    compute it in the app, and make its result an input
Qr = tf.linalg.qr
    compute it in the app, and make its result an input
SelfAdjointEigV2 = tf.linalg.eigh
    compute it in the app, and make its result an input
MatrixSquareRoot = tf.linalg.sqrtm
    compute it in the app, and make its result an input
Lu = tf.linalg.lu
    compute it in the app, and make its result an input
Cross = tf.linalg.cross
    write out a[1]*b[2] - a[2]*b[1], … with tf.stack
MatrixDiagPartV3 = tf.linalg.diag_part
    tf.reduce_sum(m * tf.eye(n), -1)
# mathematics
Betainc = tf.math.betainc
    compute it in the app, and make its result an input
Erf = tf.math.erf
    write a formula with tf.exp (Abramowitz and Stegun 7.1.26: error below 1e-6)
Erfc = tf.math.erfc
    1 - erf, by a formula with tf.exp (Abramowitz and Stegun 7.1.26: error below 1e-6)
Erfinv = tf.math.erfinv
    Winitzki's formula with tf.math.log and tf.sqrt (error below 0.5 %)
Ndtri = tf.math.ndtri
    1.41421356 * erfinv(2*x - 1), erfinv by Winitzki's formula (error below 0.5 %)
Digamma = tf.math.digamma
    its series with tf.math.log, after shifting the argument up by 6 (for x > 0)
Igamma = tf.math.igamma
    compute it in the app, and make its result an input
Igammac = tf.math.igammac
    compute it in the app, and make its result an input
Zeta = tf.math.zeta
    compute it in the app, and make its result an input
Polygamma = tf.math.polygamma
    compute it in the app, and make its result an input
BesselI0e = tf.math.bessel_i0e
    compute it in the app, and make its result an input
Tan = tf.tan
    tf.sin(x) / tf.cos(x)
Sinh = tf.sinh
    (tf.exp(x) - tf.exp(-x)) / 2
Cosh = tf.cosh
    (tf.exp(x) + tf.exp(-x)) / 2
Asinh = tf.asinh
    tf.sign(x) * tf.math.log(tf.abs(x) + tf.sqrt(x*x + 1))
Acosh = tf.acosh
    tf.math.log(x + tf.sqrt(x*x - 1))
Atanh = tf.atanh
    0.5 * tf.math.log((1 + x) / (1 - x))
Atan = tf.atan
    tf.atan2(x, tf.ones_like(x))
Asin = tf.asin
    tf.atan2(x, tf.sqrt(1 - x*x))
Acos = tf.acos
    tf.atan2(tf.sqrt(1 - x*x), x)
NextAfter = tf.math.nextafter
    compute it in the app, and make its result an input
ApproximateEqual = tf.raw_ops.ApproximateEqual
    tf.abs(x - y) < tolerance
TruncateMod = tf.truncatemod
    tf.sign(x) * tf.math.floormod(tf.abs(x), y), for y > 0
Cumprod = tf.math.cumprod
    of positive numbers, tf.exp(tf.cumsum(tf.math.log(x)))
CumulativeLogsumexp = tf.math.cumulative_logsumexp
    tf.math.log(tf.cumsum(tf.exp(x))), less the largest x where it is large
BitwiseAnd = tf.bitwise.bitwise_and
    compute it in the app, and make its result an input
BitwiseOr = tf.bitwise.bitwise_or
    compute it in the app, and make its result an input
LeftShift = tf.bitwise.left_shift
    by a constant: multiply by a power of two
Invert = tf.bitwise.invert
    of signed integers, -x - 1
PopulationCount = tf.raw_ops.PopulationCount
    compute it in the app, and make its result an input
# spectra and complex numbers
FFT = tf.signal.fft
    for a fixed length, tf.matmul of the real and imaginary parts with constant cosines and
    sines; of real input whose length is a power of two, tf.signal.rfft (builtin)
IFFT = tf.signal.ifft
    for a fixed length, tf.matmul of the real and imaginary parts with constant cosines and
    sines
FFT2D = tf.signal.fft2d
    of real input whose sizes are powers of two, tf.signal.rfft2d (builtin)
IRFFT = tf.signal.irfft
    for a fixed length, tf.matmul of the real and imaginary parts with constant cosines and
    sines
Complex = tf.complex
    carry real and imaginary parts as two float tensors
Angle = tf.math.angle
    tf.atan2(tf.math.imag(z), tf.math.real(z))
Conj = tf.math.conj
    negate the imaginary part: carry both parts as float tensors
# images
RGBToHSV = tf.image.rgb_to_hsv
    write it with tf.reduce_max, tf.reduce_min and tf.where, or convert in the app
HSVToRGB = tf.image.hsv_to_rgb
    v - v*s*max(0, min(1, k, 4 - k)), k = (n + 6*h) mod 6 for n = 5, 3, 1; or convert in the
    app
AdjustContrastv2 = tf.image.adjust_contrast
    (x - mean) * factor + mean, mean by tf.reduce_mean over height and width
AdjustSaturation = tf.image.adjust_saturation
    grey + (x - grey) * factor, grey by tf.reduce_max over channels; clip to 0…1
AdjustHue = tf.image.adjust_hue
    write out the ways to HSV and back with tf.reduce_max, tf.where and tf.floor, or adjust in
    the app
ExtractImagePatches = tf.image.extract_patches
    of patches that do not overlap, tf.nn.space_to_depth
CropAndResize = tf.image.crop_and_resize
    of a fixed box, slice and tf.compat.v1.image.resize_bilinear(…, align_corners=True)
ResizeBicubic = tf.image.resize(…, 'bicubic')
    method='bilinear' (other values)
ResizeArea = tf.image.resize(…, 'area')
    of an integer factor, tf.nn.avg_pool2d
ScaleAndTranslate = tf.image.resize(…, antialias=True)
    antialias=False (where it enlarges, the same values)
ImageProjectiveTransformV3 = tf.raw_ops.ImageProjectiveTransformV3
    compute it in the app, and make its result an input
DrawBoundingBoxesV2 = tf.image.draw_bounding_boxes
    draw in the app
NonMaxSuppressionV2 = tf.raw_ops.NonMaxSuppressionV2
    tf.raw_ops.NonMaxSuppressionV4 or V5 with pad_to_max_output_size=True (builtin)
CombinedNonMaxSuppression = tf.image.combined_non_max_suppression
    class by class, tf.raw_ops.NonMaxSuppressionV4 with pad_to_max_output_size=True (builtin)
DecodeJpeg = tf.io.decode_jpeg
    decode in the app: give the model the numbers
DecodePng = tf.io.decode_png
    decode in the app: give the model the numbers
DecodeImage = tf.io.decode_image
    decode in the app: give the model the numbers
# pooling
MaxPool3D = tf.nn.max_pool3d
    tf.nn.max_pool2d over height and width, then over depth, with tf.reshape between
AvgPool3D = tf.nn.avg_pool3d
    tf.nn.avg_pool2d over height and width, then over depth, with tf.reshape between
MaxPoolWithArgmax = tf.nn.max_pool_with_argmax
    tf.nn.max_pool2d, where the indices are not needed
Dilation2D = tf.nn.dilation2d
    with a filter of zeros, tf.nn.max_pool2d
FractionalMaxPool = tf.nn.fractional_max_pool
    tf.nn.max_pool2d with a fixed stride (other values)
# sorting, counting, moving
DenseBincount = tf.math.bincount
    tf.reduce_sum(tf.one_hot(x, size, dtype=tf.int32), 0)
Bincount = tf.raw_ops.Bincount
    tf.reduce_sum(tf.one_hot(x, size, dtype=tf.int32), 0)
LowerBound = tf.searchsorted
    count smaller values: tf.reduce_sum(tf.cast(sorted < value, tf.int32), -1)
UpperBound = tf.searchsorted(…, side='right')
    count values up to it: tf.reduce_sum(tf.cast(sorted <= value, tf.int32), -1)
NthElement = tf.raw_ops.NthElement
    the last of -tf.math.top_k(-x, n + 1)[0]
InTopKV2 = tf.math.in_top_k
    tf.reduce_any(tf.equal(tf.math.top_k(x, k)[1], target[:, None]), -1)
UniqueV2 = tf.raw_ops.UniqueV2
    of a vector, tf.unique (builtin)
UniqueWithCounts = tf.unique_with_counts
    tf.unique (builtin), where the counts are not needed
ListDiff = tf.raw_ops.ListDiff
    compute it in the app, and make its result an input
TensorScatterSub = tf.tensor_scatter_nd_sub
    x - tf.scatter_nd(indices, updates, shape)
SegmentMean = tf.math.segment_mean
    tf.math.segment_sum divided by segment_sum of tf.ones_like
SegmentMax = tf.math.segment_max
    tf.math.unsorted_segment_max with the number of segments
SparseSegmentMean = tf.sparse.segment_mean
    tf.gather, tf.math.segment_sum, and divide by the counts
SparseTensorDenseMatMul = tf.sparse.sparse_dense_matmul
    tf.matmul with the matrix dense
# random numbers
StatelessRandomUniformV2 = tf.random.stateless_uniform
    make the random numbers an input, drawn in the app; or tf.random.uniform (builtin)
StatelessRandomNormalV2 = tf.random.stateless_normal
    make the random numbers an input, drawn in the app; or tf.random.normal (builtin)
StatelessRandomGetKeyCounter = tf.random.stateless_…
    make the random numbers an input, drawn in the app
TruncatedNormal = tf.random.truncated_normal
    make the random numbers an input, drawn in the app
RandomUniformInt = tf.random.uniform of integers
    make the random numbers an input, drawn in the app
RandomShuffle = tf.random.shuffle
    make a random permutation an input, and tf.gather by it
StatelessRandomGammaV3 = tf.random.stateless_gamma
    make the random numbers an input, drawn in the app
RandomGamma = tf.random.gamma
    make the random numbers an input, drawn in the app
# text and serialized data
StringLower = tf.strings.lower
    handle text in the app: give the model numbers
StringSplitV2 = tf.strings.split
    handle text in the app: give the model numbers
StringToHashBucketFast = tf.strings.to_hash_bucket_fast
    handle text in the app: give the model numbers
StringToNumber = tf.strings.to_number
    handle text in the app: give the model numbers
StaticRegexReplace = tf.strings.regex_replace
    handle text in the app: give the model numbers
StringJoin = tf.strings.join
    handle text in the app: give the model numbers
StringLength = tf.strings.length
    handle text in the app: give the model numbers
Substr = tf.strings.substr
    handle text in the app: give the model numbers
AsString = tf.strings.as_string
    handle text in the app: give the model numbers
UnicodeDecodeWithOffsets = tf.strings.unicode_decode_with_offsets
    handle text in the app: give the model numbers
ParseExampleV2 = tf.io.parse_example
    parse in the app: give the model the features as inputs
DecodeRaw = tf.io.decode_raw
    decode in the app: give the model the numbers
HashTableV2 = tf.lookup.StaticHashTable
    of dense integer keys, tf.gather from a constant of the values; else look up in the app
LookupTableFindV2 = tf.lookup.StaticHashTable.lookup
    of dense integer keys, tf.gather from a constant of the values; else look up in the app
# what is for debugging or training
CheckNumericsV2 = tf.debugging.enable_check_numerics
    remove it from the model that ships
PyFunc = tf.numpy_function
    Python code runs on no device: write it in TensorFlow ops, or do it in the app
EagerPyFunc = tf.py_function
    Python code runs on no device: write it in TensorFlow ops, or do it in the app
EnsureShape = tf.ensure_shape
    tf.reshape to the shape
CTCGreedyDecoder = tf.nn.ctc_greedy_decoder
    end the model before it and decode in the app
CTCBeamSearchDecoder = tf.nn.ctc_beam_search_decoder
    end the model before it and decode in the app
"""


# The same for functions of JAX: what TensorFlow's converter does not read of StableHLO. `lapack_…`
# is a call of that routine (tests/convert/test_convert_jax_remedies.py).
_JAX_TABLE = """
chlo.erf = jax.scipy.special.erf
    1 - jax.scipy.special.erfc(x), which converts
chlo.top_k = jax.lax.top_k
    the largest: jnp.max and jnp.argmax; of more, mask what was taken with jnp.where and repeat
chlo.sinh = jnp.sinh
    (jnp.exp(x) - jnp.exp(-x)) / 2
chlo.cosh = jnp.cosh
    (jnp.exp(x) + jnp.exp(-x)) / 2
chlo.asinh = jnp.arcsinh
    jnp.sign(x) * jnp.log(jnp.abs(x) + jnp.sqrt(x*x + 1))
chlo.acosh = jnp.arccosh
    jnp.log(x + jnp.sqrt(x*x - 1))
chlo.atanh = jnp.arctanh
    0.5 * jnp.log((1 + x) / (1 - x))
chlo.asin = jnp.arcsin
    jnp.arctan2(x, jnp.sqrt(1 - x*x))
chlo.acos = jnp.arccos
    jnp.arctan2(jnp.sqrt(1 - x*x), x)
stablehlo.fft = jnp.fft.fft
    for a fixed length, products with constant cosines and sines; of real input whose length is a
    power of two, jnp.fft.rfft (builtin)
stablehlo.sort = jnp.sort
    of short axes, count for each value the smaller ones (all pairs compared) and place it by
    jax.nn.one_hot; else sort in the app
lapack_potrf = jnp.linalg.cholesky
    write out its rows for small fixed sizes (jnp.sqrt, products and divisions)
lapack_getrf = jnp.linalg.inv, solve or det
    write out the formula for small fixed sizes (2×2: a*d - b*c); of a constant matrix, store the
    inverse
lapack_trsm = jax.scipy.linalg.solve_triangular
    write out the substitution row by row for small fixed sizes
lapack_geqrf = jnp.linalg.qr
    compute it in the app, and make its result an input
lapack_gesdd = jnp.linalg.svd
    compute it in the app, and make its result an input
lapack_syevd = jnp.linalg.eigh
    compute it in the app, and make its result an input
"""


def _read(table: str) -> dict[str, Remedy]:
    found: dict[str, Remedy] = {}
    op = ""
    for line in table.splitlines():
        if line.startswith("    "):
            known = found[op]
            found[op] = Remedy(known.call, f"{known.text} {line.strip()}".strip())
        elif line and not line.startswith("#"):
            op, _, call = line.partition(" = ")
            found[op] = Remedy(call, "")
    return found


REMEDIES: Mapping[str, Remedy] = _read(_TABLE)
JAX_REMEDIES: Mapping[str, Remedy] = _read(_JAX_TABLE)
_ALL = {**REMEDIES, **JAX_REMEDIES}

# Ops that are builtins in float32 (proven by the same test), so that another type is the reason.
BUILTIN_IN_FLOAT32_NAMES = """
    Abs AddN AddV2 ArgMax ArgMin AvgPool BatchMatMulV2 BiasAdd BroadcastTo Ceil ConcatV2
    Conv2D Conv2DBackpropInput Conv3D Cos Cumsum DepthToSpace DepthwiseConv2dNative Elu Equal
    Exp Floor FloorDiv FloorMod GatherNd GatherV2 Greater LeakyRelu Less Log LogSoftmax
    MatMul Max MaxPool Maximum Mean Min Minimum MirrorPad Mul Neg Pack Pad Pow Prod RealDiv Relu
    Relu6 ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt ScatterNd
    SegmentSum SelectV2 Sigmoid Sin Softmax SpaceToDepth Split Sqrt Square SquaredDifference
    StridedSlice Sub Sum Tanh Tile TopKV2 Transpose Unique UnsortedSegmentMax
"""
BUILTIN_IN_FLOAT32 = frozenset(BUILTIN_IN_FLOAT32_NAMES.split())
# Types in which all of these become select ops.
_WIDE = ("float64", "float16", "bfloat16")
_OTHER = ("int8", "int16", "int64", "uint8", "uint16", "uint32", "uint64", "int32", "bool")

_CODES = {
    "control-flow-v1": "loops and branches of TensorFlow 1 that could not be brought into the form"
    " of TensorFlow 2: export the model again with tf.compat.v1.enable_control_flow_v2()",
    "stateful-partitioned-call": "a call of a function that the converter could not inline",
}


def type_problem(op: str, dtypes: Sequence[str]) -> str:
    """Where an op has a builtin and its type is the reason that it is not taken; else ""."""
    if op not in BUILTIN_IN_FLOAT32:
        return ""
    wrong = [dtype for dtype in dtypes if dtype in _WIDE]
    wrong = wrong or [dtype for dtype in dtypes if dtype in _OTHER and dtype != "bool"]
    return wrong[0] if wrong and "float32" not in dtypes else ""


def shape_problem(row: Mapping[str, Any]) -> bool:
    """Whether an op has a builtin that takes its types, so that shapes or settings are the reason:
    `Transpose` of more than 6 dimensions, `MaxPool` with explicit padding."""
    return (
        row["op"] in BUILTIN_IN_FLOAT32
        and {*row["dtypes"]} >= {"float32"}
        and not type_problem(row["op"], row["dtypes"])
    )


def call_of(op: str) -> str:
    """How people write an op, "" where that is not known."""
    return _ALL[op].call if op in _ALL else ""


def remedy(row: Mapping[str, Any]) -> str:
    """What to do about an entry of `not_builtin` (evaluate.json); "" where nothing is known."""
    if wrong := type_problem(row["op"], row["dtypes"]):
        exact = "" if "float" in wrong else " (exact up to 2^24)"
        return f"a builtin takes float32, not {wrong}: tf.cast to tf.float32 before it{exact}"
    if row["op"] in _ALL:
        return _ALL[row["op"]].text
    return _CODES.get(row["code"], "")
