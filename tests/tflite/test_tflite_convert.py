"""Files as the converter makes them: every kind is read, rewritten, and runs as before."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tflite_models as make
from test_tflite_write import but_interface, run

from tflbuild.tflite.checks import quantization_problems, weightless_variables
from tflbuild.tflite.cost import macs, op_counts
from tflbuild.tflite.read import buffer_alignment_problems, read_model
from tflbuild.tflite.signature import Interface, interface_of
from tflbuild.tflite.write import rewrite

pytestmark = pytest.mark.convert


def convolutions(tf: Any) -> Any:
    rng = np.random.default_rng(0)
    w2, w3 = rng.normal(size=(3, 3, 4, 8)), rng.normal(size=(2, 2, 2, 1, 3))
    wt, wd = rng.normal(size=(2, 2, 6, 8)), rng.normal(size=(3, 3, 4, 2))
    c = lambda v: tf.constant(v, tf.float32)  # noqa: E731

    def model(image: Any, cube: Any) -> Any:
        a = tf.nn.conv2d(image, c(w2), 1, "SAME")
        t = tf.nn.conv2d_transpose(a, c(wt), (1, 16, 16, 6), 2)
        d = tf.nn.depthwise_conv2d(image, c(wd), (1, 1, 1, 1), "SAME")
        q = tf.nn.conv3d(cube, c(w3), (1, 1, 1, 1, 1), "SAME")
        return {"z_up": t, "depth": d, "cube": q, "image": image + 1.0}

    spec = (tf.TensorSpec((1, 8, 8, 4)), tf.TensorSpec((1, 4, 4, 4, 1)))
    return tf.function(model, input_signature=spec), tf.Module()


def lstm(tf: Any) -> Any:
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    model = tf_keras.Sequential(
        [tf_keras.layers.LSTM(5, input_shape=(7, 3)), tf_keras.layers.Dense(2)]
    )
    call = tf.function(
        lambda x: {"y": model(x)}, input_signature=[tf.TensorSpec((1, 7, 3), name="x")]
    )
    return call, model


def loop(tf: Any) -> Any:
    w = tf.constant(np.eye(4) * 0.5, tf.float32)

    def model(x: Any, n: Any) -> Any:
        _, y = tf.while_loop(lambda i, _: i < n, lambda i, v: (i + 1, v @ w), (0, x))
        return {"y": y}

    return tf.function(
        model, input_signature=(tf.TensorSpec((1, 4)), tf.TensorSpec((), tf.int32))
    ), tf.Module()


def variable(tf: Any) -> Any:
    module = tf.Module()
    module.v = tf.Variable([1.0, 2.0, 3.0, 4.0])

    @tf.function(input_signature=[tf.TensorSpec((4,), name="x")])
    def call(x: Any) -> Any:
        module.v.assign_add(x)
        return {"y": module.v + x}

    module.call = call
    return call, module


def build(tf: Any, which: Callable[[Any], Any], quantize: str) -> bytes:
    call, owner = which(tf)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [call.get_concrete_function()], owner
    )
    if which is variable:
        converter.experimental_enable_resource_variables = True
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        specs = call.get_concrete_function().structured_input_signature[0]
        rng = np.random.default_rng(1)
        converter.representative_dataset = lambda: (
            {spec.name: rng.normal(size=spec.shape).astype("f4") for spec in specs}
            for _ in range(8)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


@pytest.fixture(scope="module")
def tf() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow")


CASES = [
    (convolutions, "none", "float32"),
    (convolutions, "float16", "float32"),
    (convolutions, "int8", "int8"),
    (lstm, "none", "float32"),
    (loop, "none", "float32"),
    (variable, "none", "float32"),
]


@pytest.mark.parametrize(
    ("which", "quantize", "io"), CASES, ids=lambda v: getattr(v, "__name__", v)
)
def test_converted_files(tf: Any, which: Callable[[Any], Any], quantize: str, io: str) -> None:
    data = build(tf, which, quantize)
    model = read_model(data)
    before = interface_of(model)
    wanted = Interface(
        "served", before.inputs[::-1], tuple(sorted(before.outputs, key=lambda o: o.name))
    )
    out = rewrite(data, interfaces=(wanted,))
    after = read_model(out)
    assert interface_of(after) == wanted
    assert not buffer_alignment_problems(out)
    assert but_interface(make.unpack(out)) == but_interface(make.unpack(data))
    assert not weightless_variables(after)
    if which is not variable:  # an update of state is no compute operator
        assert quantization_problems(after, quantize, io) == []
    expected, values = run(data), run(out)
    assert expected.keys() == values.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(values[name], value)


def test_macs_of_converted_files(tf: Any) -> None:
    conv = read_model(build(tf, convolutions, "none"))
    up, depth, cube = 64 * 8 * 6 * 4, 64 * 8 * 9, 64 * 3 * 8
    assert macs(conv).total == 64 * 8 * 36 + up + depth + cube
    rnn = read_model(build(tf, lstm, "none"))
    assert op_counts(rnn)["builtin"]["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
    assert macs(rnn).total == 7 * 4 * 5 * (5 + 3) + 5 * 2
    repeated = macs(read_model(build(tf, loop, "none")))
    assert (repeated.total, repeated.loops) == (16, 1)
