"""The digits network of ../digits, written in TensorFlow: a model that code creates.

`digits` runs in a worker of tflbuild and gives a tf.Module; its function with an input signature
is what the files hold. The weights are those that ../digits/train.py found.
"""

from __future__ import annotations

from pathlib import Path

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


def digits() -> Digits:
    """What the manifest names."""
    return Digits()
