"""Models for the tests of optimizations: `make_quant_models.py FOLDER`, all SavedModels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

RANDOM = np.random.default_rng(0)


def weights(*shape: int) -> Any:
    return tf.constant((RANDOM.normal(size=shape) / np.sqrt(shape[0])).astype("float32"))


def save(folder: Path, function: Any, **inputs: tuple[int, ...]) -> None:
    module = tf.Module()
    specs = [tf.TensorSpec(shape, tf.float32, name=name) for name, shape in inputs.items()]
    module.f = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(folder), signatures=module.f)


def main() -> None:
    folder = Path(sys.argv[1])
    kernel, dense, last = weights(3, 3, 1, 16), weights(1024, 64), weights(64, 8)

    def trig(x: Any) -> Any:
        """Two layers that quantize, with SIN and FLOOR, which have no int8 kernel, between."""
        with tf.name_scope("first"):
            y = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
            y = tf.matmul(tf.reshape(y, (1, 1024)), dense)
        with tf.name_scope("wave"):
            y = tf.sin(y) + tf.floor(y)
        with tf.name_scope("second"):
            return {"y": tf.matmul(y, last)}

    save(folder / "trig", trig, x=(1, 8, 8, 1))

    def plain(x: Any) -> Any:
        with tf.name_scope("first"):
            y = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
        with tf.name_scope("second"):
            return {"y": tf.matmul(tf.reshape(y, (1, 1024)), dense)}

    save(folder / "plain", plain, x=(1, 8, 8, 1))

    keep = np.repeat(RANDOM.random((1024 // 16, 64)) > 0.85, 16, axis=0)
    pruned = tf.constant(np.where(keep, RANDOM.normal(size=(1024, 64)) / 8, 0).astype("float32"))
    save(folder / "pruned", lambda x: {"y": tf.matmul(x, pruned)}, x=(1, 1024))
    half = np.where(RANDOM.random((1024, 64)) > 0.5, RANDOM.normal(size=(1024, 64)) / 8, 0)
    loose = tf.constant(half.astype("float32"))
    save(folder / "loose", lambda x: {"y": tf.matmul(x, loose)}, x=(1, 1024))

    def trained(x: Any) -> Any:
        """What quantization-aware training leaves: FakeQuant around inputs, weights, results."""
        fake = tf.quantization.fake_quant_with_min_max_args
        w = fake(dense, -0.15, 0.15, narrow_range=True)
        return {"y": fake(tf.matmul(fake(x, -3.0, 3.0), w), -4.0, 4.0)}

    save(folder / "trained", trained, x=(1, 1024))

    def dead(x: Any) -> Any:
        y = tf.nn.relu(tf.matmul(x, dense) - 1e6)
        return {"y": tf.matmul(y, last) + tf.reduce_sum(x)}

    save(folder / "dead", dead, x=(1, 1024))
    save(folder / "dead_end", lambda x: {"y": tf.nn.relu(tf.matmul(x, dense) - 1e6)}, x=(1, 1024))

    module = tf.Module()
    wide, row = weights(64, 64), tf.TensorSpec
    module.prefill = tf.function(
        lambda x: {"y": tf.matmul(tf.nn.relu(tf.matmul(x, wide)), last)},
        input_signature=[row((1, 64), tf.float32, name="x")],
    )
    module.decode = tf.function(
        lambda z: {"w": tf.matmul(z, last)}, input_signature=[row((1, 64), tf.float32, name="z")]
    )
    both = {"prefill": module.prefill, "decode": module.decode}
    tf.saved_model.save(module, str(folder / "two"), signatures=both)


if __name__ == "__main__":
    main()
