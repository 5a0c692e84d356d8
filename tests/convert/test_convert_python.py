"""Models that code creates: every kind of thing that it may return, and what it may not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from workspace_folder import WorkspaceFolder

pytestmark = pytest.mark.convert

NETS = """
import collections, keras, numpy as np, tensorflow as tf, tf_keras

def weights(seed=0):
    return np.random.default_rng(seed).normal(size=(4, 3)).astype("float32")

X = tf.TensorSpec([1, 4], tf.float32, name="x")

class Net(tf.Module):
    def __init__(self, seed=0):
        super().__init__()
        self.w = tf.Variable(weights(seed))

    @tf.function(input_signature=[X])
    def __call__(self, x):
        return {"y": x @ self.w}

class Several(Net):
    @tf.function(input_signature=[X])
    def twice(self, x):
        return x @ self.w * 2

    @tf.function
    def unsigned(self, x):
        return x

def module(seed=0): return Net(seed)
def several(): return Several()

def function():
    w = tf.Variable(weights())
    @tf.function(input_signature=[X])
    def net(x):
        return x @ w
    return net

def concrete():  # nobody else keeps the variable
    return function().get_concrete_function()

def mapping():
    return {"first": concrete(), "second": function()}

def listed():
    return [function(), module().__call__]

def unsigned():
    w = tf.Variable(weights())
    @tf.function
    def net(x, scale=1.0):
        return x @ w * scale
    return net

def plain():
    return lambda x: x @ tf.constant(weights())

def keras3():
    i = keras.Input((4,), name="x")
    model = keras.Sequential([i, keras.layers.Dense(3, use_bias=False, name="y")])
    model.layers[0].set_weights([weights()])
    return model

def keras2():
    model = tf_keras.Sequential([tf_keras.layers.Dense(3, use_bias=False, input_shape=(4,))])
    model.layers[0].set_weights([weights()])
    return model

def drawn():  # at random: both tasks must draw alike
    net = module()
    net.w.assign(tf.random.normal([4, 3]) + np.random.normal() + keras.random.normal(()))
    return net

def structured():
    Pair = collections.namedtuple("Pair", "low high")
    @tf.function(input_signature=[{"b": X, "a": tf.TensorSpec([1, 4], tf.int32)},
                                  tf.TensorSpec([1, 4], tf.float32)])
    def net(both, last):
        a = tf.cast(both["a"], tf.float32)
        return Pair(a - both["b"], [last, {"z": a + last}])
    return net

def control():  # the SavedModel route, with a variable
    w = tf.Variable(weights())
    @tf.function(input_signature=[X])
    def net(x):
        if tf.reduce_sum(x) > 0.0:
            return {"y": x @ w}
        return {"y": -(x @ w)}
    return net

def rubbish(): return 5
def nothing(): return None
def empty(): return {}
def mixed(): return {"a": function(), "b": 3}
def bare(): return tf.Module()
def ragged():
    spec = tf.RaggedTensorSpec([None, None], tf.float32)
    return tf.function(lambda x: x.to_tensor(), input_signature=[spec])
def broken():
    @tf.function(input_signature=[X])
    def net(x):
        return tf.matmul(x, x)
    return net
"""
KINDS = ("module", "function", "concrete", "plain", "unsigned", "keras3", "keras2", "drawn",
         "control", "structured")  # fmt: skip
PINS = "    inputs: {x: {shape: [1, 4], dtype: float32}}\n"


def manifest(names: Mapping[str, str]) -> str:
    """A model for each name; its value: more lines, or keys of the source in braces."""
    text = "version: 1\nmodels:\n"
    for name, more in names.items():
        keys, lines = (more, "") if more.startswith(",") else ("", more)
        text += (
            f"  {name}:\n    source: {{format: concrete_function, python: 'nets:{name}'{keys}}}\n"
            f"    data: {{test: {{npz: data.npz}}}}\n    optimizations: {{f: {{}}}}\n{lines}"
        )
    return text


def run(file: Path, **inputs: Any) -> dict[str, np.ndarray]:
    interpreter = Interpreter(str(file))
    (name,) = interpreter.get_signature_list()
    result: dict[str, np.ndarray] = interpreter.get_signature_runner(name)(**inputs)
    return result


def test_every_kind_of_return_is_lowered_as_it_is(workspace: WorkspaceFolder) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 1, 4)).astype("float32")
    a = rng.integers(-5, 5, (6, 1, 4)).astype("int32")
    more = {"unsigned": PINS, "plain": PINS, "keras2": PINS.replace("x:", "dense_input:"),
            "keras3": PINS, "structured": ""}  # fmt: skip
    workspace.write(
        manifest({kind: more.get(kind, "") for kind in KINDS}),
        {"nets.py": NETS, "data.npz": {"x": x, "dense_input": x, "both_a": a, "last": x,
                                       "both_b": x}},
    )  # fmt: skip
    result = workspace.build(keep_going=True)
    assert {t.task: t.reason for t in result.tasks if t.outcome == "failed"} == {}
    assert result.ok

    wanted = x[0] @ np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    for kind in KINDS:
        file = result.released[f"{kind}:f@litert"].path
        report = workspace.report(f"{kind}/f/validate.json")
        assert report["gate"]["passed"]
        if kind in ("drawn", "structured"):
            continue
        name = "dense_input" if kind == "keras2" else "x"
        (output,) = run(file, **{name: x[0]}).values()
        np.testing.assert_allclose(output, wanted, atol=1e-5)
    route = {k: workspace.report(f"{k}/evaluate.json")["lowering"]["route"] for k in KINDS}
    assert route.pop("control") == "saved_model"
    assert set(route.values()) == {"frozen"}

    file = result.released["structured:f@litert"].path
    names = [entry["name"] for entry in Interpreter(str(file)).get_input_details()]
    given = run(file, both_a=a[0], x=x[0], last=x[0] * 2)
    assert set(given) == {"low", "high_0", "high_1_z"}, names
    np.testing.assert_allclose(given["low"], a[0] - x[0], atol=1e-6)
    np.testing.assert_allclose(given["high_1_z"], a[0] + x[0] * 2, atol=1e-6)

    # Other code for the same graph: lowered again, and nothing converted.
    workspace.write(files={"nets.py": "# a comment\n" + NETS})
    again = [task for task in workspace.build().ran() if ":control" not in task]
    assert {task.partition(":")[0] for task in again} == {"lower", "reference"}


def test_arguments_and_chosen_signatures(workspace: WorkspaceFolder) -> None:
    x = np.random.default_rng(1).normal(size=(3, 1, 4)).astype("float32")
    names = {"module": ", args: [3]", "several": ", signature: twice",
             "mapping": ", signature: second"}  # fmt: skip
    workspace.write(manifest(names), {"nets.py": NETS, "data.npz": {"x": x}})
    result = workspace.build()
    assert result.ok, [t.reason for t in result.tasks]
    base = [np.random.default_rng(seed).normal(size=(4, 3)).astype("float32") for seed in (0, 3)]
    for name, wanted in (("module", x[0] @ base[1]), ("several", x[0] @ base[0] * 2),
                         ("mapping", x[0] @ base[0])):  # fmt: skip
        file = result.released[f"{name}:f@litert"].path
        (output,) = run(file, x=x[0]).values()
        np.testing.assert_allclose(output, wanted, atol=1e-5)
    assert list(Interpreter(str(file)).get_signature_list()) == ["second"]


WRONG = {
    "rubbish": ("", "or a Keras model, got int"),
    "nothing": ("", "got NoneType"),
    "empty": ("", "got an empty dict"),
    "mixed": ("", "among several, 'b' is a int"),
    "bare": ("", "has no tf.function with an input_signature"),
    "ragged": ("", "takes a RaggedTensor: give it plain tensors"),
    "unsigned": ("", "no input_signature: give it one, or pin shape and dtype"),
    "broken": ("", ""),
    "module": (", signature: other", "no signature 'other'; the "),
    "several": (", args: [1, 2]", "takes 0 positional arguments but 2 were given"),
}


def test_what_cannot_be_lowered_is_one_line_each(workspace: WorkspaceFolder) -> None:
    x = np.zeros((1, 1, 4), "float32")
    workspace.write(
        manifest({name: more for name, (more, _) in WRONG.items()}),
        {"nets.py": NETS, "data.npz": {"x": x}},
    )
    result = workspace.build(keep_going=True)
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    for name, (_, said) in WRONG.items():
        for stage in ("lower", "reference"):
            reason = reasons[f"{stage}:{name}"]
            if name == "broken":
                line = 1 + NETS.split("\n").index("        return tf.matmul(x, x)")
                said = f"nets.py:{line}: ValueError: "
            assert said in reason
            assert reason.startswith("tflbuild.yaml:")
            assert "\n" not in reason
            assert ".tflbuild" not in reason


def test_module_named_like_an_installed_one(workspace: WorkspaceFolder) -> None:
    workspace.write(
        manifest({"make": ""}).replace("nets:", "net:"),
        {"net.py": "import numpy\ndef make(): ...\n", "numpy.py": "",
         "data.npz": {"x": np.zeros((1, 1, 4), "float32")}},
    )  # fmt: skip
    result = workspace.build(keep_going=True)
    reason = next(t.reason for t in result.tasks if t.task == "lower:make")
    assert "numpy.py: 'numpy' is the name of an installed package; rename it" in reason


LAYERS = """
import keras, tf_keras
class Twice(keras.layers.Layer):
    def call(self, x):
        return x * 2.0
class Twice2(tf_keras.layers.Layer):
    def call(self, x):
        return x * 2.0
def objects(): return {"Twice": Twice}
def objects2(): return {"Twice2": Twice2}
def wrong(): return [Twice]
"""
WRITE = """
import keras, sys, tf_keras
from layers import *
i = keras.Input((4,), name="x")
m = keras.Model(i, Twice(name="y")(keras.layers.Dense(3)(i)))
m.save("m.keras"), m.save("m.h5")
i = tf_keras.Input((4,), name="x")
tf_keras.Model(i, Twice2(name="y")(tf_keras.layers.Dense(3)(i))).save("m2.h5")
"""


def test_custom_layers(workspace: WorkspaceFolder) -> None:
    import subprocess
    import sys

    workspace.write(files={"layers.py": LAYERS, "write.py": WRITE})
    subprocess.run([sys.executable, "write.py"], cwd=workspace.root, check=True,
                   capture_output=True)  # fmt: skip
    head = """
version: 1
defaults:
  inputs: {x: {shape: [1, 4]}}
  optimizations: {f: {}}
models:
  native: {source: {format: keras, path: m.keras}, custom_objects: 'layers:objects'}
  h5: {source: {format: keras, path: m.h5}, custom_objects: 'layers.py:objects'}
  keras2: {source: {format: keras, path: m2.h5}, custom_objects: 'layers:objects2'}
"""
    workspace.write(head)
    result = workspace.build(keep_going=True)
    assert result.ok, [t.reason for t in result.tasks if t.reason]
    wrong = head + (
        "  without: {source: {format: keras, path: m.keras}}\n"
        "  kind: {source: {format: keras, path: m.keras}, custom_objects: 'layers:wrong'}\n"
    )
    workspace.write(wrong)
    result = workspace.build(keep_going=True)
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    assert "write `custom_objects: module:function`" in reasons["lower:without"]
    assert "'Twice': the class" in reasons["lower:without"]
    assert "expected a mapping of names to classes or functions, got list" in reasons["lower:kind"]

    workspace.write(head, {"layers.py": LAYERS.replace("x * 2.0", "x * 3.0")})
    assert {"lower:h5", "lower:keras2", "lower:native"} <= set(workspace.build().ran())
    record = json.loads((workspace.root / ".tflbuild/record.json").read_text())
    assert set(record["names"]) == {"native", "h5", "keras2"}
