"""Make the models of these tests: `make_models.py FOLDER`.

Run in a process of its own, so that TensorFlow is imported once and not into the tests. Every
model is small and its weights are drawn with a seed, or solved for where a test needs a model
that is right.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from sklearn.datasets import load_digits

Spec = tf.TensorSpec
MODELS: dict[str, Callable[[Path], None]] = {}


def model(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Register a maker: it writes the model named like it."""
    MODELS[make.__name__] = make
    return make


def save(path: Path, call: Any, *specs: Spec, **tracked: Any) -> None:
    """A SavedModel whose signature is `call`; `tracked` keeps what it refers to."""
    module = tf.Module()
    for name, value in tracked.items():
        setattr(module, name, value)
    function = tf.function(call, input_signature=list(specs))
    tf.saved_model.save(module, str(path), signatures={"serving_default": function})


def weights(*shape: int, seed: int = 0) -> Any:
    scale = 1 / np.sqrt(np.prod(shape[:-1]))
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


@model
def digits(folder: Path) -> None:
    """Random convolutions and a read-out solved by least squares: some 97 % on held-out digits.
    As .keras, .h5, by `export`, and by `tf.saved_model.save`, which is the trap."""
    keras.utils.set_random_seed(1)
    features = [
        keras.Input((8, 8, 1), name="image"),
        keras.layers.Conv2D(12, 3, activation="relu", name="first"),
        keras.layers.Conv2D(24, 3, activation="relu", name="second"),
        keras.layers.Flatten(name="flat"),
    ]
    net = keras.Sequential([*features, keras.layers.Dense(10, name="scores")])
    data = load_digits()
    images = (data.images[..., None] / 16).astype(np.float32)
    labels = data.target.astype(np.int64)
    train, test = slice(0, 1200), slice(1200, None)
    flat = keras.Model(net.inputs, net.get_layer("flat").output)
    x = flat.predict(images, verbose=0)
    x = np.hstack([x, np.ones((len(x), 1))])
    targets = np.eye(10)[labels[train]]
    solved = np.linalg.solve(x[train].T @ x[train] + np.eye(x.shape[1]), x[train].T @ targets)
    net.get_layer("scores").set_weights([solved[:-1], solved[-1]])
    net.save(folder / "digits.keras")
    net.save(folder / "digits.h5")
    net.export(folder / "digits_exported", verbose=False)
    net.export(folder / "digits_again", verbose=False)
    tf.saved_model.save(net, str(folder / "digits_trap"))
    np.savez(folder / "words.npz", word=np.array(["yes", "no", "x", "maybe"] * 2))
    np.savez(folder / "calibration.npz", image=images[train][:100], inputs=images[train][:100])
    np.savez(folder / "test.npz", image=images[test], labels=labels[test])


@model
def keras2(folder: Path) -> None:
    """Two .h5 files of Keras 2: Keras 3 refuses the DepthwiseConv2D of the first."""
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    refused = tf_keras.Sequential(
        [
            layers.InputLayer((8, 8, 3), name="image"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax", name="classes"),
        ]
    )
    refused.save(folder / "keras2_refused.h5")
    taken = tf_keras.Sequential(
        [layers.InputLayer((6,), name="x"), layers.Dense(5, "relu"), layers.Dense(2, name="y")]
    )
    taken.save(folder / "keras2_taken.h5")
    taken.save(folder / "keras2_taken.keras")


@model
def lstm(folder: Path) -> None:
    """A Keras-2 LSTM: its SavedModel holds a fused function that the converter recognises."""
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    net = tf_keras.Sequential(
        [layers.InputLayer((7, 3), name="steps"), layers.LSTM(5), layers.Dense(2, name="y")]
    )
    net.save(folder / "lstm")
    net.save(folder / "lstm.h5")


@model
def lstm3(folder: Path) -> None:
    """A Keras 3 LSTM: a loop, traced from the file."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    net = keras.Sequential(
        [keras.Input((7, 3), name="steps"), layers.LSTM(5), layers.Dense(2, name="y")]
    )
    net.save(folder / "lstm3.keras")
    tf.saved_model.save(net, str(folder / "lstm3_trap"))


@model
def recurrent(folder: Path) -> None:
    """Recurrent layers of both Keras, as files and as SavedModels exported with a dynamic batch."""
    for framework, suffix in ((keras, "3.keras"), (tf_keras, "2.h5")):
        layers = framework.layers
        for name, layer in (
            ("gru", layers.GRU(32)),
            ("unrolled", layers.LSTM(32, unroll=True)),
        ):
            steps = framework.Input((7, 3), name="steps")
            net = framework.Model(steps, layers.Dense(4, name="y")(layer(steps)))
            net.save(folder / f"{name}{suffix}")
        step = framework.Input((1, 3), batch_size=1, name="step")
        kept = layers.LSTM(32, stateful=True)(step)
        framework.Model(step, layers.Dense(4, name="y")(kept)).save(folder / f"stateful{suffix}")
    steps = tf_keras.Input((7, 3), name="steps")
    tf_keras.Model(steps, tf_keras.layers.GRU(32)(steps)).save(folder / "gru_exported")


@model
def loops(folder: Path) -> None:
    """Loops made by hand: one with a value that every turn passes on, one without."""
    w = tf.Variable(weights(32, 32))

    def passes_on(x: Any) -> Any:
        return {"y": tf.while_loop(
            lambda i, y: i < 3, lambda i, y: (i + 1, tf.nn.relu(y @ w + x)), [0, 2.0 * x]
        )[1]}  # fmt: skip

    def turns(x: Any) -> Any:
        return {"y": tf.while_loop(
            lambda i, y: i < 3, lambda i, y: (i + 1, tf.nn.relu(y @ w)), [0, x]
        )[1]}  # fmt: skip

    save(folder / "passes_on", passes_on, Spec((1, 32), name="x"), w=w)
    save(folder / "turns", turns, Spec((1, 32), name="x"), w=w)


@model
def cond(folder: Path) -> None:
    w, v = tf.Variable(weights(4, 6)), tf.Variable(weights(4, 6, seed=1))

    def call(x: Any) -> Any:
        return {"y": tf.cond(tf.reduce_sum(x) > 2.0, lambda: x @ w, lambda: x @ v)}

    save(folder / "cond", call, Spec((1, 4), name="x"), w=w, v=v)


@model
def table(folder: Path) -> None:
    keys = tf.constant(["yes", "no", "maybe"])
    init = tf.lookup.KeyValueTensorInitializer(keys, tf.constant([7, 8, 9], tf.int64))
    words = tf.lookup.StaticHashTable(init, -1)
    save(
        folder / "table",
        lambda word: {"id": words.lookup(word)},
        Spec((4,), tf.string, name="word"),
        words=words,
    )


@model
def counter(folder: Path) -> None:
    """Counts its calls: state that the file must carry."""
    count, w = tf.Variable(10.0), tf.Variable(weights(3, 4))

    def call(x: Any) -> Any:
        count.assign_add(1.0)
        return {"y": x @ w + count}

    save(folder / "counter", call, Spec((None, 3), name="x"), count=count, w=w)


@model
def speech(folder: Path) -> None:
    """Two signatures that share a weight; three inputs, named in another order than they sort."""
    module = tf.Module()
    module.shared = tf.Variable(weights(48, 48))
    module.head = tf.Variable(weights(48, 5, seed=1))

    def encode(wave: Any, gain: Any, bias: Any) -> Any:
        return {"code": tf.nn.relu((wave * gain + bias) @ module.shared), "gained": wave * gain}

    def decode(code: Any) -> Any:
        return {"scores": tf.nn.softmax(tf.nn.relu(code @ module.shared) @ module.head)}

    row = (1, 48)
    functions = {
        "encode": tf.function(
            encode, input_signature=[Spec(row, name=n) for n in ("wave", "gain", "bias")]
        ),
        "decode": tf.function(decode, input_signature=[Spec(row, name="code")]),
        "abandoned": tf.function(lambda x: {"y": x}, input_signature=[Spec(row, name="x")]),
    }
    tf.saved_model.save(module, str(folder / "speech"), signatures=functions)


@model
def smoother(folder: Path) -> None:
    """Keeps half of what it has seen: state that begins at nought."""
    kept, w = tf.Variable(tf.zeros((1, 32))), tf.Variable(weights(32, 32))

    def call(x: Any) -> Any:
        kept.assign(0.5 * kept + x)
        return {"y": kept @ w}

    save(folder / "smoother", call, Spec((1, 32), name="x"), kept=kept, w=w)


@model
def store(folder: Path) -> None:
    """Two signatures that share what they keep, and a model whose samples hang together."""
    module = tf.Module()
    module.kept, module.w = tf.Variable(tf.ones((1, 8))), tf.Variable(weights(8, 8))

    def put(x: Any) -> Any:
        module.kept.assign(x)
        return {"put": x @ module.w}

    row = [Spec((1, 8), name="x")]
    functions = {
        "put": tf.function(put, input_signature=row),
        "get": tf.function(lambda x: {"got": (x + module.kept) @ module.w}, input_signature=row),
    }
    tf.saved_model.save(module, str(folder / "store"), signatures=functions)

    def centred(x: Any) -> Any:
        return {"y": (x - tf.reduce_mean(x, axis=0)) @ module.w}

    def decided(x: Any) -> Any:
        way = tf.cond(tf.reduce_sum(x) > 0, lambda: x @ module.w, lambda: x)
        return {"y": way}

    save(folder / "centred", centred, Spec((None, 8), name="x"), w=module.w)
    save(folder / "decided", decided, Spec((None, 8), name="x"), w=module.w)


@model
def qat(folder: Path) -> None:
    """Quantization-aware: FakeQuant on weights and activations, two inputs in another order
    than their names."""
    fake = tf.quantization.fake_quant_with_min_max_vars
    w, v = tf.Variable(weights(3, 3, 2, 8)), tf.Variable(weights(8, 4, seed=1))

    def call(z: Any, a: Any) -> Any:
        z, a = fake(z, -1.0, 1.0), fake(a, -1.0, 1.0)
        x = tf.concat([z, a], -1)
        x = tf.nn.conv2d(x, fake(w, -1.0, 1.0, 8, True), 1, "SAME")
        x = fake(tf.nn.relu(x), 0.0, 3.0)
        pooled = fake(tf.reduce_mean(x, [1, 2]), 0.0, 3.0)
        y = fake(pooled @ fake(v, -1.5, 1.5, 8, True), -2.0, 2.0)
        return {"scores": y, "pooled": pooled}

    image = (1, 6, 6, 1)
    save(folder / "qat", call, Spec(image, name="z"), Spec(image, name="a"), w=w, v=v)


@model
def half_trained(folder: Path) -> None:
    """One signature is quantization-aware, the other, in the same SavedModel, is not."""
    fake = tf.quantization.fake_quant_with_min_max_vars
    module = tf.Module()
    module.w = tf.Variable(weights(40, 40))

    def trained(x: Any) -> Any:
        return {"y": fake(fake(x, -1.0, 1.0) @ fake(module.w, -1.0, 1.0), -3.0, 3.0)}

    row = [Spec((1, 40), name="x")]
    functions = {
        "trained": tf.function(trained, input_signature=row),
        "plain": tf.function(lambda x: {"y": x @ module.w}, input_signature=row),
        "more": tf.function(lambda x: {"z": tf.nn.relu(x @ module.w)}, input_signature=row),
    }
    tf.saved_model.save(module, str(folder / "half_trained"), signatures=functions)


@model
def multi(folder: Path) -> None:
    """Inputs and outputs whose sorted order is not the source's, of different shapes."""
    first = keras.Input((3,), name="zeta")
    second = keras.Input((5,), name="alpha")
    dense = keras.layers.Dense(4, name="mid")(first)
    other = keras.layers.Dense(2, name="omega")(second)
    joined = keras.layers.Concatenate(name="beta")([dense, other])
    keras.utils.set_random_seed(0)
    keras.Model([first, second], [other, joined]).save(folder / "multi.keras")
    save(
        folder / "multi_saved",
        lambda zeta, alpha: {"omega": zeta * 2.0, "beta": alpha - zeta[:, :1], "m": zeta[:, 0]},
        Spec((None, 3), name="zeta"),
        Spec((None, 5), name="alpha"),
    )
    structure = keras.Model({"q": first, "b": second}, {"y": other, "c": joined})
    structure.save(folder / "multi_dict.keras")
    nested = keras.Model({"q": [first, second]}, {"y": [other, joined]})
    nested.save(folder / "multi_nested.keras")
    twice = keras.Model(first, [dense, dense])
    twice.save(folder / "multi_twice.keras")


@model
def signatures(folder: Path) -> None:
    """Two signatures, and a second meta graph with tags of its own."""
    from tensorflow.python.saved_model import loader_impl

    module = tf.Module()
    module.w = tf.Variable(weights(4, 2))
    spec = [Spec((None, 4), name="x")]
    functions = {
        "double": tf.function(lambda x: {"y": 2 * x}, input_signature=spec),
        "project": tf.function(lambda x: {"y": x @ module.w}, input_signature=spec),
    }
    path = folder / "signatures"
    tf.saved_model.save(module, str(path), signatures=functions)
    proto = loader_impl.parse_saved_model(str(path))
    del proto.meta_graphs[0].meta_info_def.tags[:]
    proto.meta_graphs[0].meta_info_def.tags.extend(["serve", "edge"])
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())


@model
def odd_interfaces(folder: Path) -> None:
    x, y = Spec((None, 4), name="x"), Spec((None, 2), name="y")
    save(folder / "unused", lambda x, y: {"out": tf.nn.relu(x)}, x, y)
    save(folder / "passed", lambda x, y: {"same": x, "sum": x[:, :2] + y}, x, y)

    def twins(x: Any) -> Any:
        result = tf.nn.relu(x)
        return {"one": result, "two": result}

    save(folder / "twins", twins, x)
    save(
        folder / "scalar",
        lambda x, by: {"scaled": x * by, "by": by + 1.0},
        x,
        Spec((), name="by"),
    )
    save(folder / "mean", lambda x: {"mean": tf.reduce_mean(x), "n": tf.constant([1.0, 2.0])}, x)
    save(folder / "logic", lambda x: {"big": x > 0.5, "at": tf.argmax(x, 1)}, x)
    save(folder / "no_inputs", lambda: {"y": tf.constant([1.0])})
    save(folder / "empty_output", lambda x: {"none": x[:, :0], "all": x * 2.0}, x)
    save(folder / "no_rank", lambda x: {"y": tf.nn.relu(x)}, Spec(None, name="x"))
    save(folder / "constant", lambda x: {"y": tf.zeros_like(x)}, x)
    save(folder / "bfloat", lambda x: {"y": x + x}, Spec((None, 4), tf.bfloat16, name="x"))
    save(folder / "nan", lambda x: {"y": tf.math.log(x - 5.0)}, x)


@model
def weird(folder: Path) -> None:
    """TensorFlow 1 SavedModels, whose keys may be anything. TensorFlow 2 cannot load the second,
    two of whose names are equal once it has cleaned them; a session of TensorFlow 1 can."""
    v1 = tf.compat.v1
    info = v1.saved_model.build_tensor_info
    for path, names in {
        "weird": ["a:b", "größe/x", "_under", "z z"],
        "weird_twice": ["a:b", "a b", "c", "d"],
    }.items():
        with v1.Graph().as_default(), v1.Session() as session:
            inputs = {name: v1.placeholder(tf.float32, (None, 4)) for name in names}
            p, q, r, s = inputs.values()
            outputs = {"out:0": p - q, "out 0": q - r, "größe": r - s, "a:b": s * 2.0}
            signature = v1.saved_model.build_signature_def(
                {name: info(tensor) for name, tensor in inputs.items()},
                {name: info(tensor) for name, tensor in outputs.items()},
            )
            builder = v1.saved_model.Builder(str(folder / path))
            builder.add_meta_graph_and_variables(session, ["serve"], {"serving größe": signature})
            builder.save()


@model
def embedding(folder: Path) -> None:
    rows = tf.Variable(weights(50, 8))
    save(
        folder / "embedding",
        lambda ids: {"vector": tf.reduce_sum(tf.gather(rows, ids), 1)},
        Spec((None, 6), tf.int32, name="ids"),
        rows=rows,
    )


@model
def dynamic(folder: Path) -> None:
    """An inner dimension that the manifest pins."""
    w = tf.Variable(weights(3, 2))
    save(
        folder / "dynamic",
        lambda x: {"y": tf.reduce_max(tf.nn.conv1d(x, w[None], 1, "VALID"), 1)},
        Spec((None, None, 3), name="x"),
        w=w,
    )
    layers = [keras.Input((None, 3), name="x"), keras.layers.Conv1D(2, 3)]
    keras.Sequential(layers).save(folder / "dynamic.keras")


@model
def unsupported(folder: Path) -> None:
    x = Spec((1, 3, 3), name="x")
    save(folder / "det", lambda x: {"y": tf.linalg.det(x + tf.eye(3), name="my_det")}, x)
    save(
        folder / "betainc",
        lambda x: {"y": tf.raw_ops.Betainc(a=x + 1.0, b=x + 2.0, x=x, name="my_beta")},
        x,
    )


@model
def small(folder: Path) -> None:
    """All weights below the 1,024 elements that dynamic range quantization needs."""
    w = tf.Variable(weights(4, 3))
    save(folder / "small", lambda x: {"y": x @ w}, Spec((None, 4), name="x"), w=w)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        MODELS[name](folder)


if __name__ == "__main__":
    main()
