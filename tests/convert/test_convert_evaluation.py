"""What evaluate says of real models of every format: classes, places, costs and verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workspace_folder import WorkspaceFolder

from tflbuild.api import BuildResult
from tflbuild.engine.zygote import ZygotePool
from tflbuild.evaluation import runtimes

pytestmark = pytest.mark.convert

NETS = """
import tensorflow as tf

def layered(keras):
    class Det(keras.layers.Layer):
        def call(self, x):
            return tf.linalg.det(x)[:, None]

    class Beta(keras.layers.Layer):
        def call(self, x):
            return tf.raw_ops.Betainc(a=x + 1.0, b=x + 2.0, x=x)

    image = keras.Input((9,), batch_size=1, name="image")
    x = keras.layers.Dense(9, activation="relu", name="dense")(image)
    x = keras.layers.Dense(9, activation="relu", name="dense_1")(x)
    x = keras.layers.Reshape((3, 3), name="to_matrix")(x)
    x = Beta(name="beta_head")(Det(name="determinant")(x))
    return keras.Model(image, keras.layers.Dense(4, activation="softmax", name="scores")(x))

def keras3():
    import keras
    return layered(keras)

def keras2():
    import tf_keras
    return layered(tf_keras)

def inner():
    import keras
    image = keras.Input((9,), batch_size=1, name="image")
    whole = keras.layers.Dense(2, name="top")(layered(keras)(image))
    return keras.Model(image, whole, name="outer")

def functions():
    @tf.function
    def feature(x):
        return tf.linalg.det(x)

    @tf.function(input_signature=[tf.TensorSpec((1, 3, 3), tf.float32, name="x")])
    def model(x):
        with tf.name_scope("encoder"):
            y = tf.matmul(x, tf.ones((3, 3)))
        d = feature(y) + 0.5
        return tf.raw_ops.Betainc(a=d + 1.0, b=d + 2.0, x=d, name="my_beta")

    return model

def loop():
    @tf.function(input_signature=[tf.TensorSpec((3, 3), tf.float32, name="x")])
    def model(x):
        def body(i, a):
            with tf.name_scope("turn"):
                return i + 1, a * tf.linalg.det(a)
        return tf.while_loop(lambda i, a: i < 3, body, (tf.constant(0), x))[1]

    return model

def pool64():
    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 1), tf.float64, name="x")])
    def model(x):
        with tf.name_scope("pooling"):
            return tf.nn.max_pool2d(x, 2, 2, "VALID")

    return model

def sorting():
    import jax

    def model(x):
        with jax.named_scope("ranking"):
            return jax.numpy.sort(x)

    return model

def unread():
    import jax

    def model(x):
        with jax.named_scope("norm"):
            x = jax.numpy.linalg.inv(x)
        with jax.named_scope("act"):
            return jax.scipy.special.erf(x)

    return model
"""
PLACES = {
    "keras3": {("MatrixDeterminant", "select", "determinant"), ("Betainc", "custom", "beta_head")},
    "keras2": {("MatrixDeterminant", "select", "determinant"), ("Betainc", "custom", "beta_head")},
    "inner": {
        ("MatrixDeterminant", "select", "functional/determinant"),
        ("Betainc", "custom", "functional/beta_head"),
    },
    "functions": {
        ("MatrixDeterminant", "select", "feature()"),
        ("Betainc", "custom", "my_beta in model()"),
    },
    "loop": {("MatrixDeterminant", "select", "while/turn in model()")},
    "pool64": {("MaxPool", "select", "pooling in model()")},
    "sorting": {("stablehlo.sort", "not convertible", "ranking/sort")},
    "unread": {
        ("chlo.erf", "not convertible", "act/erf"),
        ("lapack_getrf", "not convertible", "norm/inv"),
        ("lapack_trsm", "not convertible", "norm/inv"),
    },
}
SAVED = {"digits_exported": "saved_model", "keras2_refused.h5": "keras", "lstm": "saved_model"}

Built = tuple[WorkspaceFolder, BuildResult]


@pytest.fixture(scope="module")
def evaluated(models: Path, pool: ZygotePool, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = WorkspaceFolder(tmp_path_factory.mktemp("evaluated"), pool)
    text = "version: 1\ndefaults:\n  optimizations: {float32: {}}\n"
    text += "  data: {test: {random: {samples: 4}}}\nmodels:\n"
    for name in PLACES:
        form = "jax" if name in ("sorting", "unread") else "concrete_function"
        text += f"  {name}:\n    source: {{format: {form}, python: 'nets:{name}'}}\n"
        if form == "jax":
            text += "    inputs: {x: {shape: [3, 3], dtype: float32}}\n"
    for path, form in SAVED.items():
        name = path.partition(".")[0]
        text += f"  {name}:\n    source: {{format: {form}, path: models/{path}}}\n"
    text += "    inputs: {steps: {shape: [1, 7, 3]}}\n"
    folder.write(text, {"nets.py": NETS, **{f"models/{p}": models / p for p in SAVED}})
    return folder, folder.build(keep_going=True, until="evaluate")


def measured(built: Built, name: str) -> Any:
    return built[0].report(f"{name}/evaluate.json")["measured"]


@pytest.mark.parametrize("name", PLACES)
def test_each_op_that_is_no_builtin_has_a_place(evaluated: Built, name: str) -> None:
    rows = measured(evaluated, name)["not_builtin"]

    assert {(r["op"], r["class"], runtimes.where(r)) for r in rows} == PLACES[name]
    for r in rows:
        assert "PartitionedCall" not in r["name"] + r["node"]


def layers(built: Built, name: str) -> dict[str, Any]:
    rows = measured(built, name)["layers"]
    return {layer["name"]: layer for layer in reversed(rows)}  # of several the dearest


@pytest.mark.parametrize("name", ["keras3", "keras2"])
def test_the_table_has_the_names_of_layers(evaluated: Built, name: str) -> None:
    found = layers(evaluated, name)

    assert set(found) == {"dense", "dense_1", "to_matrix", "determinant", "beta_head", "scores"}
    assert found["dense"]["macs"] == found["dense_1"]["macs"] == 81
    assert found["dense"]["traffic_bytes"] == 4 * (9 + 81 + 9)
    assert measured(evaluated, name)["depth"] >= 7


def test_names_survive_other_sources(evaluated: Built) -> None:
    assert {"first", "second", "scores"} <= set(layers(evaluated, "digits_exported"))
    assert {"depthwise", "classes"} <= set(layers(evaluated, "keras2_refused"))
    fused = layers(evaluated, "lstm")  # an op that the converter makes of a function has no name
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in fused[""]["ops"]
    assert any(name.endswith("y") for name in fused)


def test_control_flow_is_counted(evaluated: Built) -> None:
    assert measured(evaluated, "loop")["control_flow"] == {"WHILE": 1}
    assert measured(evaluated, "keras3")["control_flow"] == {}


def test_litert_says_what_stops_the_model_and_what_would_take_it(evaluated: Built) -> None:
    _, result = evaluated
    messages = [f.message for f in result.gates["evaluate:keras3"].failures]

    assert any(
        "tf.linalg.det (MatrixDeterminant) at 'determinant'" in m and "would take it" in m
        for m in messages
    )
    assert any(
        "tf.math.betainc (Betainc) at 'beta_head'" in m and "would not take it" in m
        for m in messages
    )
    (pool,) = [f.message for f in result.gates["evaluate:pool64"].failures]
    assert "MaxPool of float64 at 'pooling'" in pool
    assert "tf.cast to tf.float32" in pool
    (jax,) = [f.message for f in result.gates["evaluate:sorting"].failures]
    assert "jnp.sort (stablehlo.sort) at 'ranking/sort': of short axes" in jax
    (unread,) = [f.message for f in result.gates["evaluate:unread"].failures]
    assert "jax.scipy.special.erf (chlo.erf) at 'act/erf': 1 - jax.scipy.special.erfc(x)" in unread
    facts = measured(evaluated, "unread")
    assert runtimes.also(runtimes.verdicts(facts), ["litert"]) == []
    assert facts["ops"]["custom"] == {}


def test_a_plain_model_could_ship_elsewhere(evaluated: Built) -> None:
    facts = measured(evaluated, "digits_exported")

    assert runtimes.also(runtimes.verdicts(facts), ["litert"])[0] == "play-services"
    assert facts["not_builtin"] == []
    assert facts["traffic_bytes"] > facts["weights_bytes"]
