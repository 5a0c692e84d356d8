"""The proof of each remedy of `tflbuild.micro.check`: a computation with the op, and the same in
the way that the remedy says.

`bad` must come out with the op (None: TensorFlow's converter makes it no more, only older files
have it); of `good` tflite-micro must take everything. `micro_remedies_child.py` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

layers = keras.layers


@dataclass(frozen=True)
class Case:
    """`inputs`: arrays to trace with and to run on. Both ways give the same within `tolerance`
    (None: they are other models). `int8`: the good way runs quantized too. `dynamic`: the batch is
    not known (of `bad`)."""

    op: str
    inputs: Sequence[Any]
    bad: Callable[..., Any] | None
    good: Callable[..., Any]
    tolerance: float | None = 1e-5
    int8: bool = True
    dynamic: bool = False


def floats(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


X, Y = floats(1, 6, low=-2.0, high=2.0), floats(1, 6, seed=1)
POSITIVE = floats(1, 6, low=0.2, high=3.0)
IDS, MORE = np.array([[3, 1, 0, 2]], np.int32), np.array([[1, 2, 0, 3]], np.int32)
SERIES = floats(1, 4, 3)
IMAGE, VOLUME, WAVE = floats(1, 4, 4, 2), floats(1, 4, 4, 4, 2), floats(1, 16)
WEIGHTS = floats(2, 2, 2, 2, 3)

EMBEDDING = layers.Embedding(10, 3)
EMBEDDING.build(IDS.shape)


def masked(x: Any, y: Any) -> Any:
    c = tf.cast(x > y, x.dtype)
    return c * x + (1 - c) * y


def masked_scalar(x: Any) -> Any:
    c = tf.cast(x > 1, x.dtype)
    return c * x + (1 - c) * 1


def convolution_3d(x: Any) -> Any:
    slices = tf.unstack(x, axis=1)
    conv = lambda at, k: tf.nn.conv2d(slices[at], WEIGHTS[k], 1, "VALID")  # noqa: E731
    return tf.stack([conv(at, 0) + conv(at + 1, 1) for at in range(3)], 1)


def dft() -> tuple[Any, Any]:
    angle = -2.0 * np.pi * np.outer(np.arange(16), np.arange(9)) / 16
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def spectrum(x: Any) -> Any:
    z = tf.signal.rfft(x)
    return tf.stack([tf.math.real(z), tf.math.imag(z)], -1)


def both_ways() -> Any:
    layer = layers.Bidirectional(layers.LSTM(5, unroll=True))
    layer.build(SERIES.shape)
    return layer


def any_way(x: Any) -> Any:
    return tf.logical_not(tf.reduce_all(tf.logical_not(x > 0.5), 1))


LSTM, RNN = layers.LSTM(5, unroll=True), layers.SimpleRNN(5, unroll=True)
LSTM.build(SERIES.shape)
RNN.build(SERIES.shape)

CASES: Sequence[Case] = (
    Case("BIDIRECTIONAL_SEQUENCE_LSTM", [SERIES], None, both_ways()),
    Case("CONV_3D", [VOLUME], lambda x: tf.nn.conv3d(x, WEIGHTS, [1] * 5, "VALID"), convolution_3d),
    Case("GELU", [X], tf.nn.gelu, tf.nn.relu, None),
    Case("GELU", [X], tf.nn.gelu, lambda x: x * tf.sigmoid(1.702 * x), 0.03),
    Case("LSTM", [SERIES], None, LSTM),
    Case(
        "ONE_HOT",
        [IDS],
        lambda x: tf.one_hot(x, 5),
        lambda x: tf.gather(np.eye(5, dtype=np.float32), x),
    ),
    Case("POW", [X], lambda x: tf.pow(x, 3.0), lambda x: x * x * x),
    Case(
        "POW",
        [POSITIVE],
        lambda x: tf.pow(x, 2.5),
        lambda x: tf.exp(2.5 * tf.math.log(x)),
        1e-4,
        int8=False,
    ),
    Case(
        "RANGE",
        [np.int32(6), X],
        lambda n, x: tf.cast(tf.range(n), tf.float32) + x,
        lambda n, x: tf.cast(tf.range(6), tf.float32) + x,
    ),
    Case("REDUCE_ANY", [X], lambda x: tf.reduce_any(x > 0.5, 1), any_way),
    Case(
        "REDUCE_PROD",
        [X],
        lambda x: tf.reduce_prod(x[:, :3], 1),
        lambda x: x[:, 0] * x[:, 1] * x[:, 2],
    ),
    Case("RELU_0_TO_1", [X], None, lambda x: tf.minimum(tf.nn.relu(x), 1.0)),
    *(
        Case("RELU_N1_TO_1", [X], bad, lambda x: 1 - tf.nn.relu(2 - tf.nn.relu(x + 1)))
        for bad in (
            lambda x: tf.clip_by_value(x, -1.0, 1.0),
            lambda x: tf.maximum(tf.minimum(x, 1.0), -1.0),
            lambda x: tf.minimum(tf.maximum(x, -1.0), 1.0),
        )
    ),
    Case(
        "RFFT2D",
        [WAVE],
        spectrum,
        lambda x: tf.stack([tf.matmul(x, part) for part in dft()], -1),
        1e-4,
    ),
    Case("SELECT", [X, Y], lambda x, y: tf.where(x > y, x, y), masked),
    Case("SELECT", [IDS, MORE], lambda x, y: tf.where(x > y, x, y), masked),
    Case("SELECT", [IDS], EMBEDDING, lambda x: tf.gather(EMBEDDING.embeddings, x)),
    Case("SELECT_V2", [IDS], lambda x: tf.where(x > 1, x, 1), masked_scalar),
    Case(
        "SELECT_V2",
        [IDS],
        EMBEDDING,
        lambda x: tf.gather(EMBEDDING.embeddings, x),
        dynamic=True,
    ),
    Case(
        "TILE",
        [X],
        lambda x: tf.tile(x, (1, 3)),
        lambda x: tf.concat([x, x, x], 1),
    ),
    Case(
        "TILE",
        [X],
        lambda x: tf.tile(x[:, None], (1, 3, 1)),
        lambda x: tf.broadcast_to(x[:, None], (1, 3, 6)),
    ),
    Case(
        "TILE",
        [IMAGE],
        layers.UpSampling2D(),
        lambda x: tf.image.resize(x, (8, 8), method="nearest"),
    ),
    Case("TOPK_V2", [X], lambda x: tf.math.top_k(x, 1)[0][:, 0], lambda x: tf.reduce_max(x, 1)),
    Case(
        "TOPK_V2",
        [X],
        lambda x: tf.math.top_k(x, 1)[1][:, 0],
        lambda x: tf.argmax(x, 1, output_type=tf.int32),
    ),
    Case("UNIDIRECTIONAL_SEQUENCE_RNN", [SERIES], None, RNN),
    # types, and dimensions
    Case(
        "ARG_MAX",
        [X],
        lambda x: tf.argmax(x, 1),
        lambda x: tf.argmax(x, 1, output_type=tf.int32),
    ),
    Case(
        "ADD",
        [IDS],
        lambda x: tf.cast(x, tf.int64) + MORE.astype(np.int64),
        lambda x: x + MORE,
    ),
    Case(
        "STRIDED_SLICE",
        [VOLUME],
        lambda x: x[:, 1:3],
        lambda x: tf.reshape(tf.reshape(x, (1, 4, 16, 2))[:, 1:3], (1, 2, 4, 4, 2)),
    ),
)


# What a quantization decides, one computation each: int16x8 has fewer kernels than int8, and some
# operators have none but those of float32.
QUANTIZED: dict[str, Callable[[Any], Any]] = {
    "dense": lambda x: tf.nn.relu(tf.matmul(tf.reshape(x, (1, 32)), floats(32, 256))),
    "largest": lambda x: tf.reduce_max(x, (1, 2)),
    "root": lambda x: tf.sqrt(x * x),
}
