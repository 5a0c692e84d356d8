"""Models of TensorFlow 1, made as its users made them: `make_tf1.py FOLDER`.

Frozen graphs beside what their session gave, and SavedModels by the builder of that time. Run in
a process of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
tf1.disable_v2_behavior()
MODELS: list[Callable[[Path], None]] = []
SERVE = "serve"


def model(make: Callable[[Path], None]) -> Callable[[Path], None]:
    MODELS.append(make)
    return make


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def network(image: Any, resource: bool) -> tuple[Any, Any]:
    """A small classifier in the style of TF-slim: names with slashes, ref variables."""
    with tf1.variable_scope("Net", use_resource=resource):
        kernel = tf1.get_variable("conv1/weights", initializer=normal(3, 3, 1, 8))
        bias = tf1.get_variable("conv1/biases", initializer=normal(8, seed=1))
        mean = tf1.get_variable("norm/moving_mean", initializer=normal(8, seed=2), trainable=False)
        dense = tf1.get_variable("Logits/weights", initializer=normal(8, 10, seed=3))
        x = tf1.nn.conv2d(image, kernel, [1, 2, 2, 1], "SAME", name="conv1/Conv2D")
        x = tf1.nn.relu6(tf1.nn.bias_add(x, bias), name="conv1/Relu6")
        ones = np.ones(8, np.float32)
        x, _, _ = tf1.nn.fused_batch_norm(
            x, ones, ones * 0.1, mean, np.abs(normal(8, seed=4)) + 0.5, is_training=False
        )
        pooled = tf1.reduce_mean(x, [1, 2], name="pool")
        logits = tf1.matmul(pooled, dense, name="Logits/MatMul")
        return tf1.nn.softmax(logits, name="Predictions/Softmax"), pooled


def started() -> Any:
    session = tf1.Session()
    session.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
    return session


def write(path: Path, graph: Any, text: bool = False) -> None:
    tf1.io.write_graph(graph, str(path.parent), path.name, as_text=text)


@model
def frozen(folder: Path) -> None:
    """`frozen.pb` and `.pbtxt` with what the session gave; `unfrozen.pb` before freezing."""
    image = tf1.placeholder(tf1.float32, [None, 8, 8, 1], name="input")
    scores, pooled = network(image, resource=False)
    tf1.train.Saver()  # its nodes are in the graph, as always
    with started() as session:
        data = normal(16, 8, 8, 1, seed=9)
        found = session.run([scores, pooled], {image: data})
        np.savez(folder / "session.npz", input=data, scores=found[0], pool=found[1])
        graph = session.graph.as_graph_def()
        write(folder / "unfrozen.pb", graph)
        ends = [scores.op.name, pooled.op.name]
        graph = tf1.graph_util.convert_variables_to_constants(session, graph, ends)
        write(folder / "frozen.pb", graph)
        write(folder / "frozen.pbtxt", graph, text=True)
        np.savez(folder / "labelled.npz", input=data, **{"Net/Logits/MatMul": data})


@model
def cut(folder: Path) -> None:
    """A graph behind a queue and a decoder: to be cut at `image`."""
    names = tf1.train.string_input_producer(["a"], name="names")
    raw = tf1.io.decode_raw(names.dequeue(name="next"), tf1.float32)
    image = tf1.reshape(raw, [1, 4], name="image")
    tf1.identity(tf1.matmul(image, tf1.constant(normal(4, 3))), name="result")
    write(folder / "pipeline.pb", tf1.get_default_graph().as_graph_def())


@model
def control_flow(folder: Path) -> None:
    """`tf.cond` as TensorFlow 1 wrote it, and the same with control flow v2."""
    for version, name in ((False, "switch.pb"), (True, "if.pb")):
        with tf1.Graph().as_default():
            (tf1.enable_control_flow_v2 if version else tf1.disable_control_flow_v2)()
            x = tf1.placeholder(tf1.float32, [1, 4], name="x")
            y = tf1.cond(tf1.reduce_sum(x) > 0, lambda x=x: x * 2.0, lambda x=x: x - 1.0)
            tf1.identity(y, name="y")
            write(folder / name, tf1.get_default_graph().as_graph_def())
    tf1.disable_control_flow_v2()
    with tf1.Graph().as_default():
        x = tf1.placeholder(tf1.float32, [1, 4], name="x")
        training = tf1.placeholder_with_default(False, [], name="training")
        y = tf1.cond(training, lambda: tf1.nn.dropout(x, rate=0.5), lambda: x * 3.0)
        tf1.identity(y, name="y")
        write(folder / "dropout.pb", tf1.get_default_graph().as_graph_def())
    with tf1.Graph().as_default():
        x = tf1.placeholder(tf1.float32, [1, 4], name="x")
        y = tf1.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 2.0), (0, x))[1]
        tf1.identity(y, name="y")
        write(folder / "loop.pb", tf1.get_default_graph().as_graph_def())


@model
def odd(folder: Path) -> None:
    """Graphs that cannot be: a table, an op of nobody, a cycle of names, two ends."""
    x = tf1.placeholder(tf1.string, [None], name="word")
    keys = tf1.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2], tf1.string, tf1.int64)
    table = tf1.lookup.StaticHashTable(keys, 0)
    tf1.identity(table.lookup(x), name="id")
    write(folder / "table.pb", tf1.get_default_graph().as_graph_def())
    with tf1.Graph().as_default() as graph:
        x = tf1.placeholder(tf1.float32, None, name="x")
        tf1.identity(x * 2.0, name="double")
        tf1.identity(x + tf1.placeholder(tf1.float32, None, name="z"), name="sum")
        write(folder / "two_ends.pb", graph.as_graph_def())
        strange = graph.as_graph_def()
        strange.node[1].op = "OpOfNobody"
        for node in strange.node:
            if node.name == "double":
                node.op = "OpOfNobody"
        write(folder / "strange.pb", strange)
        damaged = graph.as_graph_def()
        for node in damaged.node:
            if node.name == "double":
                node.input[0] = "gone"
        write(folder / "dangling.pb", damaged)


def builder(folder: Path, name: str) -> Any:
    return tf1.saved_model.builder.SavedModelBuilder(str(folder / name))


def signature(inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    info = tf1.saved_model.utils.build_tensor_info
    return tf1.saved_model.signature_def_utils.build_signature_def(
        {key: info(tensor) for key, tensor in inputs.items()},
        {key: info(tensor) for key, tensor in outputs.items()},
        tf1.saved_model.signature_constants.PREDICT_METHOD_NAME,
    )


def saved(folder: Path, name: str, resource: bool) -> None:
    image = tf1.placeholder(tf1.float32, [None, 8, 8, 1], name="input_node")
    scores, pooled = network(image, resource)
    with started() as session:
        made = builder(folder, name)
        made.add_meta_graph_and_variables(
            session,
            [SERVE],
            {
                "serving_default": signature({"image": image}, {"scores": scores, "pool": pooled}),
                "features": signature({"image": image}, {"pool": pooled}),
            },
        )
        made.save()
        data = normal(16, 8, 8, 1, seed=9)
        found = session.run([scores, pooled], {image: data})
        np.savez(folder / f"{name}.npz", image=data, scores=found[0], pool=found[1])


@model
def saved_ref(folder: Path) -> None:
    saved(folder, "ref", resource=False)


@model
def saved_resource(folder: Path) -> None:
    saved(folder, "resource", resource=True)


@model
def simple(folder: Path) -> None:
    """`simple_save`, with an optimizer's slots among the variables."""
    x = tf1.placeholder(tf1.float32, [None, 4], name="x")
    scores = tf1.matmul(x, tf1.get_variable("w", initializer=normal(4, 3)))
    tf1.train.AdamOptimizer().minimize(tf1.reduce_sum(scores**2))
    with started() as session:
        tf1.saved_model.simple_save(session, str(folder / "simple"), {"in": x}, {"out": scores})


@model
def table(folder: Path) -> None:
    """A vocabulary file as an asset, its table filled by the main op."""
    (folder / "vocabulary.txt").write_text("yes\nno\nmaybe\n")
    word = tf1.placeholder(tf1.string, [None], name="word")
    initializer = tf1.lookup.TextFileInitializer(
        str(folder / "vocabulary.txt"),
        tf1.string, tf1.lookup.TextFileIndex.WHOLE_LINE,
        tf1.int64, tf1.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    ids = tf1.lookup.StaticHashTable(initializer, -1).lookup(word)
    with started() as session:
        made = builder(folder, "vocabulary")
        made.add_meta_graph_and_variables(
            session, [SERVE], {"serving_default": signature({"word": word}, {"id": ids})},
            assets_collection=tf1.get_collection(tf1.GraphKeys.ASSET_FILEPATHS),
            main_op=tf1.tables_initializer(),
        )  # fmt: skip
        made.save()
    words = np.array(["yes", "maybe", "never", "no"])
    np.savez(folder / "words.npz", word=words, id=np.array([0, 2, -1, 1]))


@model
def constant_table(folder: Path) -> None:
    """A table of constants beside a ref variable."""
    word = tf1.placeholder(tf1.string, [None], name="word")
    keys = tf1.lookup.KeyValueTensorInitializer(["yes", "no"], [0, 1], tf1.string, tf1.int64)
    ids = tf1.lookup.StaticHashTable(keys, 2).lookup(word)
    rows = tf1.gather(tf1.get_variable("rows", initializer=normal(3, 4)), ids)
    with started() as session:
        made = builder(folder, "words")
        made.add_meta_graph_and_variables(
            session, [SERVE], {"serving_default": signature({"word": word}, {"row": rows})},
            main_op=tf1.tables_initializer(),
        )  # fmt: skip
        made.save()
        found = np.array(["yes", "no", "never", "yes"])
        np.savez(folder / "rows.npz", word=found, row=session.run(rows, {word: found}))


@model
def counter(folder: Path) -> None:
    """A signature that changes a variable by reference."""
    x = tf1.placeholder(tf1.float32, [1], name="x")
    count = tf1.get_variable("count", initializer=np.zeros(1, np.float32))
    y = tf1.assign_add(count, x)
    with started() as session:
        tf1.saved_model.simple_save(session, str(folder / "counter"), {"x": x}, {"y": y})


@model
def tags(folder: Path) -> None:
    """Two graphs: one for training, with two tags, and one to serve, that doubles as hub module:
    no signature of the usual name, and names that are not those of tensors."""
    made = builder(folder, "tags")
    for index, tag in enumerate((["train", "gpu"], [SERVE])):
        with tf1.Graph().as_default():
            x = tf1.placeholder(tf1.float32, [None, 4], name="hub_input/sentences")
            w = tf1.get_variable("w", initializer=normal(4, 2))
            y = tf1.matmul(x, w) * (2.0 if index else 1.0)
            with started() as session:
                found = {"default": signature({"images": x}, {"default": y})}
                if index:
                    made.add_meta_graph(tag, found)
                else:
                    made.add_meta_graph_and_variables(session, tag, found)
    made.save()


@model
def branch(folder: Path) -> None:
    """A SavedModel with control flow of TensorFlow 1: dropout behind a placeholder."""
    tf1.disable_control_flow_v2()
    x = tf1.placeholder(tf1.float32, [1, 4], name="x")
    training = tf1.placeholder_with_default(False, [], name="training")
    y = tf1.cond(training, lambda: tf1.nn.dropout(x, rate=0.5), lambda: x * 3.0)
    with started() as session:
        tf1.saved_model.simple_save(session, str(folder / "branch"), {"x": x}, {"y": y})


if __name__ == "__main__":
    place = Path(sys.argv[1])
    os.chdir(place)
    for make in MODELS:
        with tf1.Graph().as_default():
            make(place)
