"""Models for the table of docs/MATRIX.md: `make_matrix_models.py FOLDER`.

One small network (a convolution, a ReLU, a dense layer; more than 1,024 weights) in each format
that is a file, and the models that conversion has trouble with. What Python code makes in the
build itself (`matrix_nets.py`) is not here.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

IMAGE = (1, 8, 8, 1)


def weights(*shape: int, seed: int = 0) -> Any:
    scale = 1 / np.sqrt(np.prod(shape[:-1]))
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def keras_files(folder: Path) -> None:
    """Both Keras, .keras and .h5. Keras 3 refuses the DepthwiseConv2D of Keras 2's .h5."""
    import keras
    import tf_keras

    keras.utils.set_random_seed(0)
    tf_keras.utils.set_random_seed(0)

    def network(framework: Any, first: Any) -> Any:
        image = framework.Input(IMAGE[1:], batch_size=1, name="x")
        flat = framework.layers.Flatten()(first(image))
        return framework.Model(image, framework.layers.Dense(8, name="y")(flat))

    net = network(keras, keras.layers.Conv2D(8, 3, activation="relu"))
    net.save(folder / "keras3.keras")
    net.save(folder / "keras3.h5")
    network(tf_keras, tf_keras.layers.Conv2D(8, 3, activation="relu")).save(folder / "keras2.keras")
    depthwise = tf_keras.layers.DepthwiseConv2D(3, depth_multiplier=8, activation="relu")
    network(tf_keras, depthwise).save(folder / "keras2.h5")
    for framework, path in ((keras, "lstm3.keras"), (tf_keras, "lstm2.h5")):
        framework.utils.set_random_seed(0)
        steps = framework.Input((7, 3), name="x")
        net = framework.Model(
            steps, framework.layers.Dense(4, name="y")(framework.layers.LSTM(32)(steps))
        )
        net.save(folder / path)


def tensorflow_files(folder: Path) -> None:
    """SavedModels, a frozen graph, and .tflite files."""
    import tensorflow as tf

    kernel, dense, head = weights(3, 3, 1, 8), weights(512, 8), weights(48, 8, seed=1)
    fake = tf.quantization.fake_quant_with_min_max_args

    def spec(*shape: int) -> Any:
        return [tf.TensorSpec(shape, tf.float32, name="x")]

    def plain(x: Any) -> Any:
        y = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
        return {"y": tf.matmul(tf.reshape(y, (1, 512)), dense)}

    def trained(x: Any) -> Any:
        """What quantization-aware training leaves: FakeQuant around inputs, weights, results."""
        y = tf.nn.conv2d(fake(x, -1.0, 1.0), fake(kernel, -1.0, 1.0, 8, True), 1, "SAME")
        y = tf.reshape(fake(tf.nn.relu(y), 0.0, 3.0), (1, 512))
        return {"y": fake(tf.matmul(y, fake(dense, -0.2, 0.2, 8, True)), -3.0, 3.0)}

    for call in (plain, trained):
        module = tf.Module()
        module.call = tf.function(call, input_signature=spec(*IMAGE))
        tf.saved_model.save(module, str(folder / call.__name__), signatures=module.call)
    module = tf.Module()
    square = weights(48, 48)
    module.encode = tf.function(
        lambda x: {"y": tf.nn.relu(x @ square)}, input_signature=spec(1, 48)
    )
    module.decode = tf.function(
        lambda x: {"y": tf.nn.relu(x @ square) @ head}, input_signature=spec(1, 48)
    )
    both = {"encode": module.encode, "decode": module.decode}
    tf.saved_model.save(module, str(folder / "two"), signatures=both)

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, IMAGE, name="x")
        tf.identity(plain(x)["y"], name="y")
        tf.io.write_graph(graph.as_graph_def(), str(folder), "frozen.pb", as_text=False)

    for name in ("float.tflite", "int8.tflite"):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "plain"))
        if name.startswith("int8"):
            draw = np.random.default_rng(0).uniform(-1, 1, (20, *IMAGE)).astype(np.float32)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda draw=draw: ([row] for row in draw)
            converter.inference_input_type = converter.inference_output_type = tf.int8
        (folder / name).write_bytes(converter.convert())


def onnx_file(folder: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "kernel"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Flatten", ["r"], ["f"]),
            helper.make_node("Gemm", ["f", "dense"], ["y"]),
        ],
        "net", [value("x", 1, 1, 8, 8)], [value("y", 1, 8)],
        [numpy_helper.from_array(weights(3, 3, 1, 8).transpose(3, 2, 0, 1).copy(), "kernel"),
         numpy_helper.from_array(weights(512, 8), "dense")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "net.onnx")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    keras_files(folder)
    tensorflow_files(folder)
    if find_spec("onnx") is not None:
        onnx_file(folder)


if __name__ == "__main__":
    main()
