"""The proof of each remedy: a computation with the op, and the same without it.

`bad` must come out with the op that the remedy is for, as a select or custom op (or not at all);
`good`, where there is one, must convert to builtin ops alone and give the same numbers on the
same inputs. `remedies_child.py` runs them all in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

raw = tf.raw_ops
Inputs = Sequence[Any]


@dataclass(frozen=True)
class Case:
    """`op`: as TensorFlow calls it. `inputs`: arrays to trace with and to run on. `exact`: the
    good way computes the same, within `tolerance` (absolute); else it only has to convert."""

    op: str
    inputs: Inputs
    bad: Callable[..., Any]
    good: Callable[..., Any] | None = None
    tolerance: float = 1e-4
    exact: bool = True


def floats(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


X = floats(2, 6)
POSITIVE = floats(2, 6, low=0.2, high=3.0)
ABOVE_1 = floats(2, 6, low=1.1, high=4.0)
UNIT = floats(2, 6, low=0.05, high=0.95)
M2 = floats(1, 2, 2) + 2 * np.eye(2, dtype=np.float32)
M3 = floats(1, 3, 3) + 3 * np.eye(3, dtype=np.float32)
SPD = np.array([[[4.0, 1.0], [1.0, 3.0]]], np.float32)
V2 = floats(1, 2, 1)
IMAGE = floats(1, 8, 8, 3, low=0.0)
WAVE = floats(1, 16)
IDS = np.array([3, 1, 0, 2, 1, 3], np.int32)
COMPLEX = (floats(1, 8) + 1j * floats(1, 8, seed=1)).astype(np.complex64)
KEYS = np.array([2, 0, 1, 2], np.int64)
VALUES = np.array([0.5, 1.5, 2.5], np.float32)
WORDS = np.array([b"Some words", b"go here"])


def det3(m: Any) -> Any:
    a, b, c = m[:, 0, 0], m[:, 0, 1], m[:, 0, 2]
    d, e, f = m[:, 1, 0], m[:, 1, 1], m[:, 1, 2]
    g, h, i = m[:, 2, 0], m[:, 2, 1], m[:, 2, 2]
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def inverse2(m: Any) -> Any:
    a, b, c, d = m[:, 0, 0], m[:, 0, 1], m[:, 1, 0], m[:, 1, 1]
    rows = tf.stack([tf.stack([d, -b], -1), tf.stack([-c, a], -1)], -2)
    return rows / (a * d - b * c)[:, None, None]


def cholesky2(m: Any) -> Any:
    a = tf.sqrt(m[:, 0, 0])
    b = m[:, 1, 0] / a
    c = tf.sqrt(m[:, 1, 1] - b * b)
    return tf.stack([tf.stack([a, tf.zeros_like(a)], -1), tf.stack([b, c], -1)], -2)


def forward2(m: Any, v: Any) -> Any:
    x = v[:, 0] / m[:, 0, 0, None]
    y = (v[:, 1] - m[:, 1, 0, None] * x) / m[:, 1, 1, None]
    return tf.stack([x, y], 1)


def erf(x: Any) -> Any:  # Abramowitz and Stegun 7.1.26: error below 1.5e-7
    t = 1.0 / (1.0 + 0.3275911 * tf.abs(x))
    p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
         + 0.254829592) * t  # fmt: skip
    return tf.sign(x) * (1.0 - p * tf.exp(-x * x))


def erfinv(x: Any) -> Any:  # Winitzki's formula: relative error below 4e-3
    a = 0.147
    log = tf.math.log(1.0 - x * x)
    half = 2.0 / (np.pi * a) + log / 2.0
    return tf.sign(x) * tf.sqrt(tf.sqrt(half * half - log / a) - half)


def lgamma(x: Any) -> Any:  # Stirling's series after shifting the argument up by 6
    shift = x * (x + 1.0) * (x + 2.0) * (x + 3.0) * (x + 4.0) * (x + 5.0)
    z = x + 6.0
    series = 1.0 / (12.0 * z) - 1.0 / (360.0 * z * z * z)
    return (z - 0.5) * tf.math.log(z) - z + 0.9189385332 + series - tf.math.log(shift)


def digamma(x: Any) -> Any:
    steps = sum((1.0 / (x + float(k)) for k in range(6)), tf.zeros_like(x))
    z = x + 6.0
    return tf.math.log(z) - 0.5 / z - 1.0 / (12.0 * z * z) + 1.0 / (120.0 * z**4.0) - steps


def looked_up(x: Any) -> Any:
    table = raw.HashTableV2(key_dtype=tf.int64, value_dtype=tf.float32)
    filled = raw.LookupTableImportV2(
        table_handle=table, keys=tf.range(3, dtype=tf.int64), values=tf.constant(VALUES)
    )
    with tf.control_dependencies([filled] if filled is not None else []):
        return raw.LookupTableFindV2(table_handle=table, keys=x, default_value=-1.0)


def dft(n: int) -> tuple[Any, Any]:
    angle = -2.0 * np.pi * np.outer(np.arange(n), np.arange(n)) / n
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def real_dft(x: Any, n: int) -> Any:
    c, s = dft(n)
    keep = n // 2 + 1
    return tf.stack([tf.matmul(x, c[:, :keep]), tf.matmul(x, s[:, :keep])], -1)


def irfft16(re: Any, im: Any) -> Any:
    n, k = np.arange(16), np.arange(9)
    weight = np.where((k == 0) | (k == 8), 1.0, 2.0)[:, None] / 16.0
    angle = 2.0 * np.pi * np.outer(k, n) / 16.0
    return tf.matmul(re, (weight * np.cos(angle)).astype(np.float32)) - tf.matmul(
        im, (weight * np.sin(angle)).astype(np.float32)
    )


def parts(z: Any) -> Any:
    return tf.stack([tf.math.real(z), tf.math.imag(z)], -1)


def complex_dft(z: Any) -> Any:
    c, s = dft(8)
    re, im = tf.math.real(z), tf.math.imag(z)
    return tf.stack([tf.matmul(re, c) - tf.matmul(im, s), tf.matmul(re, s) + tf.matmul(im, c)], -1)


def complex_inverse(z: Any) -> Any:
    c, s = dft(8)
    re, im = tf.math.real(z), tf.math.imag(z)
    whole = [tf.matmul(re, c) + tf.matmul(im, s), tf.matmul(im, c) - tf.matmul(re, s)]
    return tf.stack(whole, -1) / 8.0


def rgb_to_hsv(x: Any) -> Any:
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    high, low = tf.reduce_max(x, -1), tf.reduce_min(x, -1)
    span = high - low
    safe = tf.where(span > 0.0, span, tf.ones_like(span))
    hue = tf.where(
        tf.equal(high, r), (g - b) / safe,
        tf.where(tf.equal(high, g), 2.0 + (b - r) / safe, 4.0 + (r - g) / safe),
    )  # fmt: skip
    hue = tf.where(span > 0.0, hue / 6.0, tf.zeros_like(hue))
    hue = hue - tf.floor(hue)
    saturation = tf.where(high > 0.0, span / tf.maximum(high, 1e-9), tf.zeros_like(high))
    return tf.stack([hue, saturation, high], -1)


def hsv_to_rgb(x: Any) -> Any:
    h, s, v = x[..., 0:1], x[..., 1:2], x[..., 2:3]
    k = tf.constant([5.0, 3.0, 1.0]) + h * 6.0
    k = k - 6.0 * tf.floor(k / 6.0)
    return v - v * s * tf.maximum(0.0, tf.minimum(1.0, tf.minimum(k, 4.0 - k)))


def saturate(x: Any) -> Any:
    grey = tf.reduce_max(x, -1, keepdims=True)
    return tf.clip_by_value(grey + (x - grey) * 0.5, 0.0, 1.0)


def contrast(x: Any) -> Any:
    mean = tf.reduce_mean(x, [1, 2], keepdims=True)
    return (x - mean) * 1.5 + mean


def patches(x: Any) -> Any:
    return tf.nn.space_to_depth(x, 2)


def pool3(x: Any) -> Any:
    n, d, h, w, c = x.shape
    y = tf.nn.max_pool2d(tf.reshape(x, [n * d, h, w, c]), 2, 2, "VALID")
    y = tf.reshape(y, [n, d, (h // 2) * (w // 2), c])
    y = tf.nn.max_pool2d(y, [2, 1], [2, 1], "VALID")
    return tf.reshape(y, [n, d // 2, h // 2, w // 2, c])


def mean3(x: Any) -> Any:
    n, d, h, w, c = x.shape
    y = tf.nn.avg_pool2d(tf.reshape(x, [n * d, h, w, c]), 2, 2, "VALID")
    y = tf.reshape(y, [n, d, (h // 2) * (w // 2), c])
    y = tf.nn.avg_pool2d(y, [2, 1], [2, 1], "VALID")
    return tf.reshape(y, [n, d // 2, h // 2, w // 2, c])


BOXES = np.array([[0.1, 0.1, 0.5, 0.5], [0.12, 0.1, 0.52, 0.5], [0.6, 0.6, 0.9, 0.9]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7], np.float32)
VOLUME = floats(1, 4, 4, 4, 2)
LABELS = np.array([1, 4], np.int32)
EDGES = [-0.5, 0.0, 0.5]
SORTED = np.array([[-0.6, -0.1, 0.3, 0.7]], np.float32)

CASES: Sequence[Case] = (
    # linear algebra
    Case("MatrixDeterminant", [M3], tf.linalg.det, det3),
    Case("MatrixInverse", [M2], tf.linalg.inv, inverse2),
    Case("MatrixSolve", [M2, V2], tf.linalg.solve, lambda m, v: tf.matmul(inverse2(m), v)),
    Case(
        "MatrixSolve",
        [V2],
        lambda v: tf.linalg.solve(M2, v),
        lambda v: tf.matmul(np.linalg.inv(M2), v),
    ),
    Case(
        "MatrixInverse",
        [M2, V2],
        lambda m, v: tf.matmul(tf.linalg.inv(m), v),
        lambda m, v: tf.matmul(inverse2(m), v),
    ),
    Case("Cholesky", [SPD], tf.linalg.cholesky, cholesky2),
    Case(
        "MatrixTriangularSolve", [M2, V2], lambda m, v: tf.linalg.triangular_solve(m, v), forward2
    ),
    Case(
        "LogMatrixDeterminant",
        [SPD],
        lambda m: tf.linalg.slogdet(m)[1],
        lambda m: tf.math.log(tf.abs(m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0])),
    ),
    Case("Svd", [M3], lambda m: tf.linalg.svd(m, compute_uv=False)),
    Case("Qr", [M3], lambda m: tf.linalg.qr(m)[1]),
    Case("SelfAdjointEigV2", [SPD], lambda m: tf.linalg.eigvalsh(m)),
    Case("MatrixSquareRoot", [SPD], tf.linalg.sqrtm),
    Case("Lu", [M3], lambda m: tf.linalg.lu(m)[0]),
    Case(
        "Cross",
        [floats(2, 3), floats(2, 3, seed=1)],
        tf.linalg.cross,
        lambda a, b: tf.stack(
            [
                a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
                a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
                a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
            ],
            -1,
        ),
    ),
    Case(
        "MatrixDiagPartV3",
        [M3],
        tf.linalg.diag_part,
        lambda m: tf.reduce_sum(m * np.eye(3, dtype=np.float32), -1),
    ),
    # mathematics
    Case("Betainc", [POSITIVE, ABOVE_1, UNIT], tf.math.betainc),
    Case("Erf", [X], tf.math.erf, erf),
    Case("Erfc", [X], tf.math.erfc, lambda x: 1.0 - erf(x)),
    Case("Erfinv", [UNIT], tf.math.erfinv, erfinv, tolerance=2e-2),
    Case(
        "Ndtri", [UNIT], tf.math.ndtri, lambda x: 1.41421356 * erfinv(2.0 * x - 1.0), tolerance=2e-2
    ),
    Case("Digamma", [POSITIVE], tf.math.digamma, digamma),
    Case("Igamma", [POSITIVE, ABOVE_1], tf.math.igamma),
    Case("Igammac", [POSITIVE, ABOVE_1], tf.math.igammac),
    Case("Zeta", [ABOVE_1, POSITIVE], tf.math.zeta),
    Case("Polygamma", [ABOVE_1, POSITIVE], tf.math.polygamma),
    Case("BesselI0e", [X], tf.math.bessel_i0e),
    Case("Tan", [X], tf.tan, lambda x: tf.sin(x) / tf.cos(x)),
    Case("Sinh", [X], tf.sinh, lambda x: (tf.exp(x) - tf.exp(-x)) / 2.0),
    Case("Cosh", [X], tf.cosh, lambda x: (tf.exp(x) + tf.exp(-x)) / 2.0),
    Case(
        "Asinh", [X], tf.asinh, lambda x: tf.sign(x) * tf.math.log(tf.abs(x) + tf.sqrt(x * x + 1.0))
    ),
    Case("Acosh", [ABOVE_1], tf.acosh, lambda x: tf.math.log(x + tf.sqrt(x * x - 1.0))),
    Case("Atanh", [UNIT], tf.atanh, lambda x: 0.5 * tf.math.log((1.0 + x) / (1.0 - x))),
    Case("Atan", [X], tf.atan, lambda x: tf.atan2(x, tf.ones_like(x))),
    Case("Asin", [X], tf.asin, lambda x: tf.atan2(x, tf.sqrt(1.0 - x * x))),
    Case("Acos", [X], tf.acos, lambda x: tf.atan2(tf.sqrt(1.0 - x * x), x)),
    Case("NextAfter", [X, POSITIVE], tf.math.nextafter),
    Case(
        "ApproximateEqual",
        [X, X],
        lambda x, y: raw.ApproximateEqual(x=x, y=y, tolerance=1e-3),
        lambda x, y: tf.abs(x - y) < 1e-3,
    ),
    Case(
        "TruncateMod",
        [X, POSITIVE],
        lambda x, y: raw.TruncateMod(x=x, y=y),
        lambda x, y: tf.sign(x) * tf.math.floormod(tf.abs(x), y),
    ),
    Case(
        "Cumprod",
        [POSITIVE],
        lambda x: tf.math.cumprod(x, 1),
        lambda x: tf.exp(tf.cumsum(tf.math.log(x), 1)),
        tolerance=1e-2,
    ),
    Case(
        "CumulativeLogsumexp",
        [X],
        lambda x: tf.math.cumulative_logsumexp(x, 1),
        lambda x: tf.math.log(tf.cumsum(tf.exp(x), 1)),
    ),
    Case("BitwiseAnd", [IDS, IDS], tf.bitwise.bitwise_and),
    Case("BitwiseOr", [IDS, IDS], tf.bitwise.bitwise_or),
    Case("LeftShift", [IDS], lambda x: tf.bitwise.left_shift(x, 3), lambda x: x * 8),
    Case("Invert", [IDS], tf.bitwise.invert, lambda x: -x - 1),
    Case("PopulationCount", [IDS], lambda x: raw.PopulationCount(x=x)),
    # spectra and complex numbers
    Case("FFT", [COMPLEX], lambda z: parts(tf.signal.fft(z)), complex_dft),
    Case("IFFT", [COMPLEX], lambda z: parts(tf.signal.ifft(z)), complex_inverse),
    Case(
        "FFT2D",
        [floats(1, 8, 8)],
        lambda x: parts(tf.signal.fft2d(tf.cast(x, tf.complex64))[..., :5]),
        lambda x: parts(tf.signal.rfft2d(x)),
    ),
    Case(
        "IRFFT",
        [floats(1, 9), floats(1, 9, seed=2) * np.array([0] + [1] * 7 + [0], np.float32)],
        lambda re, im: tf.signal.irfft(tf.complex(re, im)),
        irfft16,
    ),
    Case(
        "Complex",
        [X, X],
        lambda a, b: parts(tf.complex(a, b) * tf.complex(a, b)),
        lambda a, b: tf.stack([a * a - b * b, 2.0 * a * b], -1),
    ),
    Case("Angle", [COMPLEX], tf.math.angle, lambda z: tf.atan2(tf.math.imag(z), tf.math.real(z))),
    Case(
        "Conj",
        [COMPLEX],
        lambda z: parts(tf.math.conj(z)),
        lambda z: tf.stack([tf.math.real(z), -tf.math.imag(z)], -1),
    ),
    # images
    Case("RGBToHSV", [IMAGE], tf.image.rgb_to_hsv, rgb_to_hsv),
    Case("HSVToRGB", [IMAGE], tf.image.hsv_to_rgb, hsv_to_rgb),
    Case("AdjustContrastv2", [IMAGE], lambda x: tf.image.adjust_contrast(x, 1.5), contrast),
    Case("AdjustSaturation", [IMAGE], lambda x: tf.image.adjust_saturation(x, 0.5), saturate),
    Case(
        "AdjustHue",
        [IMAGE],
        lambda x: tf.image.adjust_hue(x, 0.1),
        lambda x: hsv_to_rgb(rgb_to_hsv(x) + np.array([0.1, 0.0, 0.0], np.float32)),
    ),
    Case(
        "ExtractImagePatches",
        [IMAGE],
        lambda x: tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
        patches,
    ),
    Case(
        "CropAndResize",
        [IMAGE],
        lambda x: tf.image.crop_and_resize(x, [[0.0, 0.0, 3 / 7, 3 / 7]], [0], [8, 8]),
        lambda x: tf.compat.v1.image.resize_bilinear(x[:, :4, :4], [8, 8], align_corners=True),
    ),
    Case(
        "ResizeBicubic",
        [IMAGE],
        lambda x: tf.image.resize(x, [16, 16], "bicubic"),
        lambda x: tf.image.resize(x, [16, 16], "bilinear"),
        exact=False,
    ),
    Case(
        "ResizeArea",
        [IMAGE],
        lambda x: tf.image.resize(x, [4, 4], "area"),
        lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"),
    ),
    Case(
        "ScaleAndTranslate",
        [IMAGE],
        lambda x: tf.image.resize(x, [16, 16], antialias=True),
        lambda x: tf.image.resize(x, [16, 16]),
    ),
    Case(
        "ImageProjectiveTransformV3",
        [IMAGE],
        lambda x: raw.ImageProjectiveTransformV3(
            images=x,
            transforms=[[1.0, 0, 1, 0, 1, 0, 0, 0]],
            output_shape=[8, 8],
            fill_value=0.0,
            interpolation="NEAREST",
        ),
    ),
    Case(
        "DrawBoundingBoxesV2",
        [IMAGE],
        lambda x: tf.image.draw_bounding_boxes(x, [[[0.1, 0.1, 0.9, 0.9]]], [[1.0, 0, 0]]),
    ),
    Case(
        "NonMaxSuppressionV2",
        [BOXES, SCORES],
        lambda b, s: raw.NonMaxSuppressionV2(
            boxes=b, scores=s, max_output_size=3, iou_threshold=0.5
        ),
        lambda b, s: raw.NonMaxSuppressionV5(
            boxes=b,
            scores=s,
            max_output_size=3,
            iou_threshold=0.5,
            score_threshold=float("-inf"),
            soft_nms_sigma=0.0,
            pad_to_max_output_size=True,
        )[0],
        exact=False,
    ),
    Case(
        "CombinedNonMaxSuppression",
        [BOXES, SCORES],
        lambda b, s: tf.image.combined_non_max_suppression(
            b[None, :, None], s[None, :, None], 3, 3
        )[0],
        lambda b, s: raw.NonMaxSuppressionV4(
            boxes=b,
            scores=s,
            max_output_size=3,
            iou_threshold=0.5,
            score_threshold=float("-inf"),
            pad_to_max_output_size=True,
        )[0],
        exact=False,
    ),
    Case("DecodeJpeg", [np.array(b"x")], lambda x: tf.cast(tf.io.decode_jpeg(x), tf.float32)),
    Case("DecodePng", [np.array(b"x")], lambda x: tf.cast(tf.io.decode_png(x), tf.float32)),
    Case(
        "DecodeImage",
        [np.array(b"x")],
        lambda x: tf.cast(raw.DecodeImage(contents=x, channels=3), tf.float32),
    ),
    # pooling
    Case("MaxPool3D", [VOLUME], lambda x: tf.nn.max_pool3d(x, 2, 2, "VALID"), pool3),
    Case("AvgPool3D", [VOLUME], lambda x: tf.nn.avg_pool3d(x, 2, 2, "VALID"), mean3),
    Case(
        "MaxPoolWithArgmax",
        [IMAGE],
        lambda x: tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")[0],
        lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
    ),
    Case(
        "Dilation2D",
        [IMAGE],
        lambda x: tf.nn.dilation2d(
            x, tf.zeros([2, 2, 3]), [1, 1, 1, 1], "VALID", "NHWC", [1, 1, 1, 1]
        ),
        lambda x: tf.nn.max_pool2d(x, 2, 1, "VALID"),
    ),
    Case(
        "FractionalMaxPool",
        [IMAGE],
        lambda x: tf.nn.fractional_max_pool(x, 2.0, seed=1)[0],
        lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
        exact=False,
    ),
    # sorting, counting, moving
    Case(
        "DenseBincount",
        [IDS],
        lambda x: tf.math.bincount(x, minlength=4, maxlength=4),
        lambda x: tf.reduce_sum(tf.one_hot(x, 4, dtype=tf.int32), 0),
    ),
    Case(
        "Bincount",
        [IDS],
        lambda x: raw.Bincount(arr=x, size=4, weights=tf.constant([], tf.int32)),
        lambda x: tf.reduce_sum(tf.one_hot(x, 4, dtype=tf.int32), 0),
    ),
    Case(
        "LowerBound",
        [SORTED, floats(1, 3)],
        lambda s, v: tf.searchsorted(s, v, side="left"),
        lambda s, v: tf.reduce_sum(tf.cast(s[:, None, :] < v[:, :, None], tf.int32), -1),
    ),
    Case(
        "UpperBound",
        [SORTED, floats(1, 3)],
        lambda s, v: tf.searchsorted(s, v, side="right"),
        lambda s, v: tf.reduce_sum(tf.cast(s[:, None, :] <= v[:, :, None], tf.int32), -1),
    ),
    Case(
        "NthElement",
        [X],
        lambda x: raw.NthElement(input=x, n=1),
        lambda x: -tf.math.top_k(-x, 2)[0][:, 1],
    ),
    Case(
        "InTopKV2",
        [X, LABELS],
        lambda x, y: tf.math.in_top_k(y, x, 2),
        lambda x, y: tf.reduce_any(tf.equal(tf.math.top_k(x, 2)[1], y[:, None]), -1),
    ),
    Case("UniqueV2", [IDS], lambda x: raw.UniqueV2(x=x, axis=[0])[0], lambda x: tf.unique(x)[0]),
    Case(
        "UniqueWithCounts", [IDS], lambda x: tf.unique_with_counts(x)[0], lambda x: tf.unique(x)[0]
    ),
    Case(
        "ListDiff",
        [IDS, LABELS],
        lambda x, y: (
            tf.sets.difference(x[None], y[None]).values if False else raw.ListDiff(x=x, y=y)[0]
        ),
    ),
    Case(
        "TensorScatterSub",
        [floats(6)],
        lambda x: tf.tensor_scatter_nd_sub(x, [[1], [3]], [9.0, 8.0]),
        lambda x: x - tf.scatter_nd([[1], [3]], [9.0, 8.0], [6]),
    ),
    Case(
        "SegmentMean",
        [floats(4, 2)],
        lambda x: tf.math.segment_mean(x, [0, 0, 1, 1]),
        lambda x: (
            tf.math.segment_sum(x, [0, 0, 1, 1])
            / tf.math.segment_sum(tf.ones_like(x), [0, 0, 1, 1])
        ),
    ),
    Case(
        "SegmentMax",
        [floats(4, 2)],
        lambda x: tf.math.segment_max(x, [0, 0, 1, 1]),
        lambda x: tf.math.unsorted_segment_max(x, [0, 0, 1, 1], 2),
    ),
    Case(
        "SparseSegmentMean",
        [floats(4, 2)],
        lambda x: tf.sparse.segment_mean(x, [0, 1, 2], [0, 0, 1]),
        lambda x: (
            tf.math.segment_sum(tf.gather(x, [0, 1, 2]), [0, 0, 1])
            / np.array([[2.0], [1.0]], np.float32)
        ),
    ),
    Case(
        "SparseTensorDenseMatMul",
        [floats(3, 2)],
        lambda x: tf.sparse.sparse_dense_matmul(
            tf.sparse.from_dense(np.eye(3, dtype=np.float32)), x
        ),
        lambda x: tf.matmul(tf.eye(3), x),
    ),
    Case(
        "EnsureShape",
        [X],
        lambda x: tf.ensure_shape(tf.boolean_mask(x, x > -9.0), [12]),
        lambda x: tf.reshape(tf.boolean_mask(x, x > -9.0), [12]),
    ),
    # random numbers
    Case(
        "StatelessRandomGetKeyCounter",
        [X],
        lambda x: x + tf.random.stateless_truncated_normal([2, 6], [1, 2]),
    ),
    Case(
        "StatelessRandomUniformV2",
        [X],
        lambda x: x + tf.random.stateless_uniform([2, 6], [1, 2]),
        lambda x: x + tf.random.uniform([2, 6]),
        exact=False,
    ),
    Case(
        "StatelessRandomNormalV2",
        [X],
        lambda x: x + tf.random.stateless_normal([2, 6], [1, 2]),
        lambda x: x + tf.random.normal([2, 6]),
        exact=False,
    ),
    Case("TruncatedNormal", [X], lambda x: x + tf.random.truncated_normal([2, 6])),
    Case("RandomUniformInt", [IDS], lambda x: x + tf.random.uniform([6], 0, 9, tf.int32)),
    Case("RandomShuffle", [X], tf.random.shuffle, lambda x: tf.gather(x, [1, 0]), exact=False),
    Case(
        "StatelessRandomGammaV3", [POSITIVE], lambda x: tf.random.stateless_gamma([2, 6], [1, 2], x)
    ),
    Case("RandomGamma", [POSITIVE], lambda x: tf.random.gamma([1], x)),
    # text
    Case("StringLower", [WORDS], tf.strings.lower),
    Case("StringSplitV2", [WORDS], lambda x: tf.strings.split(x).values),
    Case("StringToHashBucketFast", [WORDS], lambda x: tf.strings.to_hash_bucket_fast(x, 9)),
    Case("StringToNumber", [WORDS], tf.strings.to_number),
    Case("StaticRegexReplace", [WORDS], lambda x: tf.strings.regex_replace(x, "a", "b")),
    Case("StringJoin", [WORDS], lambda x: tf.strings.join([x, x])),
    Case("StringLength", [WORDS], tf.strings.length),
    Case("Substr", [WORDS], lambda x: tf.strings.substr(x, 0, 1)),
    Case("AsString", [X], tf.strings.as_string),
    Case(
        "UnicodeDecodeWithOffsets",
        [WORDS],
        lambda x: tf.strings.unicode_decode_with_offsets(x, "UTF-8")[0].values,
    ),
    Case(
        "ParseExampleV2",
        [WORDS],
        lambda x: tf.io.parse_example(x, {"a": tf.io.FixedLenFeature([1], tf.float32)})["a"],
    ),
    Case("HashTableV2", [KEYS], looked_up, lambda x: tf.gather(VALUES, x)),
    Case("LookupTableFindV2", [KEYS], looked_up, lambda x: tf.gather(VALUES, x)),
    Case("DecodeRaw", [WORDS], lambda x: tf.io.decode_raw(x, tf.float32)),
    # what is for debugging or training
    Case("CheckNumericsV2", [X], lambda x: raw.CheckNumericsV2(tensor=x, message="m"), lambda x: x),
    Case(
        "PyFunc",
        [X],
        lambda x: tf.ensure_shape(tf.numpy_function(lambda v: v, [x], tf.float32), [2, 6]),
    ),
    Case(
        "EagerPyFunc",
        [X],
        lambda x: tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), [2, 6]),
    ),
    Case(
        "CTCGreedyDecoder",
        [floats(4, 1, 3)],
        lambda x: tf.nn.ctc_greedy_decoder(x, [4])[0][0].values,
    ),
    Case(
        "CTCBeamSearchDecoder",
        [floats(4, 1, 3)],
        lambda x: tf.nn.ctc_beam_search_decoder(x, [4])[0][0].values,
    ),
)


# Builtins in float32: what becomes of them in another type. Each takes a tensor of (1, 4, 4, 2).
TYPED: dict[str, Callable[[Any], Any]] = {
    "AddV2": lambda x: x + x * x,
    "Sub": lambda x: x - x * x,
    "Mul": lambda x: x * x,
    "RealDiv": lambda x: x / (x * x),
    "Maximum": lambda x: tf.maximum(x, x * x),
    "Minimum": lambda x: tf.minimum(x, x * x),
    "MatMul": lambda x: tf.matmul(tf.reshape(x, (4, 8)), tf.ones((8, 3), x.dtype)),
    "BatchMatMulV2": lambda x: tf.matmul(x, tf.transpose(x, (0, 1, 3, 2))),
    "Conv2D": lambda x: tf.nn.conv2d(x, tf.ones((2, 2, 2, 3), x.dtype), 1, "SAME"),
    "DepthwiseConv2dNative": lambda x: tf.nn.depthwise_conv2d(
        x, tf.ones((2, 2, 2, 1), x.dtype), [1, 1, 1, 1], "SAME"
    ),
    "MaxPool": lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
    "AvgPool": lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"),
    "Relu": tf.nn.relu,
    "Relu6": tf.nn.relu6,
    "LeakyRelu": lambda x: tf.nn.leaky_relu(x),
    "Elu": tf.nn.elu,
    "Softmax": tf.nn.softmax,
    "LogSoftmax": tf.nn.log_softmax,
    "Tanh": tf.tanh,
    "Sigmoid": tf.sigmoid,
    "Exp": tf.exp,
    "Log": tf.math.log,
    "Sqrt": tf.sqrt,
    "Rsqrt": tf.math.rsqrt,
    "Square": tf.square,
    "SquaredDifference": lambda x: tf.math.squared_difference(x, x * x),
    "Pow": lambda x: tf.pow(x, x),
    "Floor": tf.floor,
    "Ceil": tf.math.ceil,
    "Round": tf.round,
    "Abs": tf.abs,
    "Neg": lambda x: -x,
    "Sin": tf.sin,
    "Cos": tf.cos,
    "Mean": lambda x: tf.reduce_mean(x, [1, 2]),
    "Sum": lambda x: tf.reduce_sum(x, [1, 2]),
    "Max": lambda x: tf.reduce_max(x, [1, 2]),
    "Min": lambda x: tf.reduce_min(x, [1, 2]),
    "Prod": lambda x: tf.reduce_prod(x, [1, 2]),
    "ConcatV2": lambda x: tf.concat([x, x], -1),
    "Pack": lambda x: tf.stack([x, x]),
    "Pad": lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]),
    "MirrorPad": lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"),
    "Transpose": lambda x: tf.transpose(x, (0, 2, 1, 3)),
    "Tile": lambda x: tf.tile(x, (1, 2, 1, 1)),
    "ResizeBilinear": lambda x: tf.compat.v1.image.resize_bilinear(x, (8, 8)),
    "ResizeNearestNeighbor": lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, (8, 8)),
    "BiasAdd": lambda x: tf.nn.bias_add(x, tf.ones(2, x.dtype)),
    "Equal": lambda x: tf.equal(x, x * x),
    "Less": lambda x: x < x * x,
    "Greater": lambda x: x > x * x,
    "SelectV2": lambda x: tf.where(x > x * x, x, x * x),
    "GatherV2": lambda x: tf.gather(x, [0, 1], axis=1),
    "GatherNd": lambda x: tf.gather_nd(x, [[0, 1]]),
    "StridedSlice": lambda x: x[:, 1:3],
    "Split": lambda x: tf.split(x, 2, 1)[0],
    "SpaceToDepth": lambda x: tf.nn.space_to_depth(x, 2),
    "DepthToSpace": lambda x: tf.nn.depth_to_space(tf.concat([x, x], -1), 2),
    "ArgMax": lambda x: tf.argmax(x, -1),
    "ArgMin": lambda x: tf.argmin(x, -1),
    "TopKV2": lambda x: tf.math.top_k(x, 1)[0],
    "FloorDiv": lambda x: x // x,
    "FloorMod": lambda x: x % (x * x),
    "Cumsum": lambda x: tf.cumsum(x, 1),
    "ReverseV2": lambda x: tf.reverse(x, [1]),
    "Conv3D": lambda x: tf.nn.conv3d(
        tf.reshape(x, (1, 2, 2, 4, 2)), tf.ones((1, 1, 1, 2, 2), x.dtype), [1] * 5, "SAME"
    ),
    "Conv2DBackpropInput": lambda x: tf.nn.conv2d_transpose(
        x, tf.ones((2, 2, 3, 2), x.dtype), (1, 8, 8, 3), 2
    ),
    "UnsortedSegmentMax": lambda x: tf.math.unsorted_segment_max(
        tf.reshape(x, (4, 8)), [0, 0, 1, 1], 2
    ),
    "SegmentSum": lambda x: tf.math.segment_sum(tf.reshape(x, (4, 8)), [0, 0, 1, 1]),
    "ScatterNd": lambda x: tf.scatter_nd([[1], [3]], tf.reshape(x, (-1,))[:2], [6]),
    "Unique": lambda x: tf.unique(tf.reshape(x, (-1,)))[0],
    "BroadcastTo": lambda x: tf.broadcast_to(x, (3, 4, 4, 2)),
    "AddN": lambda x: tf.add_n([x, x * x, x]),
}

# The same with shapes and settings that their builtins do not take.
SHAPED: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "Transpose": (lambda x: tf.transpose(x, (6, 5, 4, 3, 2, 1, 0)), (2,) * 7),
    "Pad": (lambda x: tf.pad(x, [[1, 1]] * 6), (2,) * 6),
    "BatchMatMulV2": (lambda x: tf.matmul(x, x), (2,) * 6),
    "BroadcastTo": (lambda x: tf.broadcast_to(x, (2,) * 9), (1,) * 9),
    "MaxPool": (
        lambda x: tf.nn.max_pool2d(x, 2, 2, [[0, 0], [1, 1], [1, 1], [0, 0]]),
        (1, 4, 4, 3),
    ),
}
