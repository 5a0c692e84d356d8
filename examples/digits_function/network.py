"""The digits network of ../digits, written in TensorFlow: a model that code creates.

`digits` runs in a worker of tflbuild and gives a tf.Module; its function with an input signature
is what the files hold. The weights are those that ../digits/train.py found.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

# Not found from the import closure, so the manifest declares it: `depends`.
WEIGHTS = Path(__file__).resolve().parents[1] / "digits/models/weights.npz"


class Digits(tf.Module):
    """Two convolutions, a pooling layer, one dense layer; images of 8 × 8 pixels, 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        with np.load(WEIGHTS) as arrays:
            self.weights = {name: tf.Variable(arrays[name], name=name) for name in arrays.files}

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")])
    def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        weights = self.weights
        x = tf.nn.conv2d(image, weights["strokes/kernel"], 1, "SAME") + weights["strokes/bias"]
        x = tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID")
        x = tf.nn.conv2d(x, weights["shapes/kernel"], 1, "SAME") + weights["shapes/bias"]
        x = tf.reshape(tf.nn.relu(x), [-1, 4 * 4 * 32])
        return {"digit": tf.nn.softmax(x @ weights["digit/kernel"] + weights["digit/bias"])}


class Trained(Digits):
    """The same network as quantization-aware training leaves it: each weight and activation goes
    through FakeQuant with a range of its own. (Here the ranges were measured, not learned.)"""

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")])
    def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = fake_quant(image, 0.0, 1.0)
        x = fake_quant(tf.nn.relu(self._layer(tf.nn.conv2d, x, "strokes", 1, "SAME")), 0.0, 2.0)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        x = fake_quant(tf.nn.relu(self._layer(tf.nn.conv2d, x, "shapes", 1, "SAME")), 0.0, 4.0)
        x = tf.reshape(x, [-1, 4 * 4 * 32])
        x = fake_quant(self._layer(tf.matmul, x, "digit"), -32.0, 32.0)
        return {"digit": tf.nn.softmax(x)}

    def _layer(
        self, op: Callable[..., tf.Tensor], x: tf.Tensor, name: str, *more: Any
    ) -> tf.Tensor:
        kernel = self.weights[f"{name}/kernel"]
        # Weights have a symmetric range: their zero point is zero.
        kernel = fake_quant(kernel, -0.8, 0.8, narrow_range=True)
        return op(x, kernel, *more) + self.weights[f"{name}/bias"]


fake_quant = tf.quantization.fake_quant_with_min_max_vars


def digits() -> Digits:
    """What the manifest names."""
    return Digits()


def digits_trained() -> Trained:
    """The one with trained ranges, for `quantize: qat`."""
    return Trained()
