"""A model with an op of its own: SoftClip, whose kernel is soft_clip.cc.

The function under `experimental_implements` says to TensorFlow what the op computes, so that the
model can be trained and tested; in the `.tflite` file it becomes one custom op of that name.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


@tf.function(
    experimental_implements='name: "SoftClip" attr { key: "tfl_fusable_op" value { b: true } }'
)
def soft_clip(x: tf.Tensor) -> tf.Tensor:
    return x / (1.0 + tf.abs(x))


class Network(tf.Module):
    """Two dense layers with SoftClip between them. (Its weights are drawn, not trained.)"""

    def __init__(self) -> None:
        super().__init__()
        draw = np.random.default_rng(0)
        self.first = tf.Variable(draw.normal(0, 0.3, (16, 64)).astype(np.float32))
        self.second = tf.Variable(draw.normal(0, 0.3, (64, 32)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([1, 16], tf.float32, name="x")])
    def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": soft_clip(x @ self.first) @ self.second}


def network() -> Network:
    """What the manifest names."""
    return Network()
