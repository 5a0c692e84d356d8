"""JAX functions: where parameters and inputs come from, names, dtypes, dynamic shapes, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from workspace_folder import WorkspaceFolder

pytestmark = pytest.mark.convert

NETS = """
import collections, dataclasses
from pathlib import Path
import jax, jax.numpy as jnp

def dense(params, x):
    return jax.nn.relu(x @ params["a"]["w"] + params["a"]["b"]) @ params["c"]

def scaled(params, x, scale=1.0):
    return {"z": dense(params, x) * scale, "b": dense(params, x)}

def init(seed, dtype="float32"):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {"a": {"w": jax.random.normal(keys[0], (4, 8)).astype(dtype),
                  "b": jax.random.normal(keys[1], (8,)).astype(dtype)},
            "c": jax.random.normal(keys[2], (8, 3)).astype(dtype)}

def by_name(params, **inputs):
    return dense(params, inputs["image"]) + inputs["bias"]

def one_mapping(params, batch):
    return dense(params, batch["image"]) + batch["bias"]

@dataclasses.dataclass
class Plain:
    last: jax.Array
    first: jax.Array

Pair = collections.namedtuple("Pair", "low high")

def outputs(params, x):
    y = dense(params, x)
    return Plain(last=y, first=[Pair(y.min(1), y.max(1)), {"q": (y * 2,)}])

def embedded(params, ids):
    return jnp.take(params["table"], ids, axis=0).sum(1)

def factory(seed):
    return dense, init(seed), {"x": jnp.zeros((1, 4))}

def closed(seed):
    params = init(seed)
    return lambda image: dense(params, image)

def linen():
    import flax.linen as nn
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.relu(nn.LayerNorm()(nn.Dense(8)(x))))
    net, x = Net(), jnp.ones((1, 4))
    return net.apply, net.init(jax.random.key(0), x), x

def nnx():
    from flax import nnx
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.one = nnx.Linear(4, 8, rngs=rngs)
            self.two = nnx.Linear(8, 3, rngs=rngs)
        def __call__(self, x):
            return self.two(nnx.relu(self.one(x)))
    return Net(nnx.Rngs(0))

def rubbish(): return 5
def text(params, x): return "hm"
def broken(params, x): return x @ params["c"]
def wide(params, x): return x
def shapes(params, x):
    return x.reshape(4) if x.shape[0] == 1 else jnp.zeros(x.shape[0] // 0)
"""
X = "inputs: {x: {shape: [1, 4], dtype: float32}}"
TWO = "inputs: {bias: {shape: [1, 3], dtype: float32}, image: {shape: [1, 4], dtype: float32}}"
NPZ = ", params: {npz: params.npz}"
MODELS = {
    "npz": ("dense", NPZ, X),
    "bound": ("scaled", NPZ + ", args: {scale: 2.0}", X),
    "made": ("dense", ", params: {python: 'nets:init', args: [5]}", X),
    "bfloat16": ("dense", ", params: {npz: bfloat16.npz}", X),
    "by_name": ("by_name", NPZ, TWO),
    "one_mapping": ("one_mapping", NPZ, TWO),
    "outputs": ("outputs", NPZ, X),
    "embedded": ("embedded", ", params: {npz: table.npz}",
                 "inputs: {ids: {shape: [1, 5], dtype: int32}}"),
    "factory": ("factory", ", args: [5]", ""),
    "closed": ("closed", ", args: {seed: 5}", X.replace("x:", "image:")),
    "linen": ("linen", "", X),
    "nnx": ("nnx", "", X),
    "dynamic": ("scaled", NPZ, X.replace("[1,", "[null,")),
}  # fmt: skip


def manifest(models: dict[str, tuple[str, str, str]], quantize: bool = True) -> str:
    more = "    q: {quantize: int8}\n"
    data = "  data: {test: {npz: data.npz}"
    text = "version: 1\ndefaults:\n" + data
    text += ", calibration: {npz: data.npz}}\n" if quantize else "}\n"
    text += f"  optimizations:\n    f: {{}}\n{more if quantize else ''}models:\n"
    for name, (function, keys, inputs) in models.items():
        text += (
            f"  {name}:\n    source: {{format: jax, python: 'nets:{function}'{keys}}}\n"
            f"    timeout: 5m\n" + (f"    {inputs}\n" if inputs else "")
        )
    return text


@pytest.fixture
def nets(workspace: WorkspaceFolder) -> WorkspaceFolder:
    import ml_dtypes

    rng = np.random.default_rng(0)
    params = {"a/w": rng.normal(size=(4, 8)), "a/b": rng.normal(size=8),
              "c": rng.normal(size=(8, 3))}  # fmt: skip
    params = {name: array.astype("float32") for name, array in params.items()}
    x = rng.normal(size=(12, 1, 4)).astype("float32")
    data = {"x": x, "image": x, "bias": x[..., :3] * 3,
            "ids": rng.integers(0, 50, (12, 1, 5)).astype("int32")}  # fmt: skip
    workspace.write(files={
        "nets.py": NETS, "params.npz": params, "data.npz": data,
        "bfloat16.npz": {n: a.astype(ml_dtypes.bfloat16) for n, a in params.items()},
        "table.npz": {"table": rng.normal(size=(50, 16)).astype("float32")},
    })  # fmt: skip
    return workspace


def run(file: Path, **inputs: Any) -> dict[str, np.ndarray]:
    interpreter = Interpreter(str(file))
    result: dict[str, np.ndarray] = interpreter.get_signature_runner("serving_default")(**inputs)
    return result


def test_every_way_to_give_parameters_and_inputs(nets: WorkspaceFolder) -> None:
    nets.write(manifest(MODELS))
    result = nets.build(keep_going=True)
    assert {t.task: t.reason for t in result.tasks if t.outcome == "failed"} == {}
    missed = {task: [f.message for f in verdict.failures]
              for task, verdict in result.gates.items() if not verdict.passed}  # fmt: skip
    assert missed == {}
    assert len(result.released) == 2 * len(MODELS)

    def file(name: str) -> Path:
        return result.released[f"{name}:f@litert"].path

    with np.load(nets.root / "params.npz") as p, np.load(nets.root / "data.npz") as data:
        x, bias, ids = data["x"][0], data["bias"][0], data["ids"][0]
        wanted = np.maximum(x @ p["a/w"] + p["a/b"], 0) @ p["c"]
    for name, inputs, expected in (
        ("npz", {"x": x}, {"output_0": wanted}),
        ("bound", {"x": x}, {"z": wanted * 2, "b": wanted}),
        ("by_name", {"image": x, "bias": bias}, {"output_0": wanted + bias}),
        ("one_mapping", {"image": x, "bias": bias}, {"output_0": wanted + bias}),
        ("outputs", {"x": x}, {"last": wanted, "first_0_low": wanted.min(1),
                               "first_0_high": wanted.max(1), "first_1_q_0": wanted * 2}),
        ("dynamic", {"x": x}, {"z": wanted, "b": wanted}),
    ):  # fmt: skip
        given = run(file(name), **inputs)
        assert set(given) == set(expected)
        for key, array in expected.items():
            np.testing.assert_allclose(given[key], array, atol=1e-4)
    with np.load(nets.root / "table.npz") as table:
        (given,) = run(file("embedded"), ids=ids).values()
        np.testing.assert_allclose(given, table["table"][ids].sum(1), atol=1e-5)

    interface = nets.report("bound/f/validate.json")["measured"]["parity"]
    assert [entry["output"] for entry in interface] == ["z", "b"]  # the function's own order
    shape = Interpreter(str(file("dynamic"))).get_input_details()[0]["shape_signature"]
    assert list(shape) == [-1, 4]
    (warning,) = nets.report("dynamic/evaluate.json")["gate"]["findings"]
    assert "many more operations" in warning["message"]
    assert nets.report("npz/evaluate.json")["lowering"]["loader"].startswith("jax ")

    # Other lines, same functions: lowered again, and nothing converted. Nor is anything of this
    # machine in what was lowered.
    nets.write(files={"nets.py": "# a comment\n\n" + NETS})
    few = ("npz", "dynamic", "linen")
    again = {task.partition(":")[0] for task in nets.build(*few).ran()}
    assert again == {"lower", "reference"}
    for blob in (nets.root / ".tflbuild/store").rglob("*"):
        if blob.is_file():
            assert b"nets.py" not in blob.read_bytes()

    with np.load(nets.root / "params.npz") as p:
        changed = {name: p[name] * 2 for name in p.files}
    nets.write(files={"params.npz": changed})
    lowered = [t for t in nets.build(*few).ran() if t.startswith("lower:")]
    assert lowered == ["lower:dynamic", "lower:npz"]


WRONG = {
    "rubbish": ("rubbish", "", X, "expected (function, params) or (function, params, example"),
    "forward": ("dense", "", X, "is it the forward function, add `params: {npz: FILE}`"),
    "renamed": ("dense", NPZ, X.replace("x:", "xx:"), "takes no 'xx'; its argument is 'x'"),
    "text": ("text", NPZ, X, "gives a str, not arrays"),
    "broken": ("broken", NPZ, X, "nets.py:62: TypeError"),
    "no_inputs": ("dense", NPZ, "", "the inputs of the function (x) are not known"),
    "no_dtype": ("dense", NPZ, "inputs: {x: {shape: [1, 4]}}", "inputs.x has no dtype"),
    "no_shape": ("dense", NPZ, "inputs: {x: {dtype: float32}}", "inputs.x has no shape"),
    "wide": ("wide", NPZ, "inputs: {x: {shape: [1], dtype: int64}}", "JAX computes in 32 bits"),
    "strings": ("wide", NPZ, "inputs: {x: {shape: [1], dtype: string}}", "JAX has no strings"),
    "other": ("scaled", NPZ, TWO.replace("image", "x"), "takes no 'bias'; its arguments are"),
    "no_npz": ("dense", ", params: {npz: text.npz}", X, "not a readable .npz archive"),
    "both": ("dense", ", params: {npz: both.npz}", X, "is an array and holds others"),
    "args": ("scaled", NPZ + ", args: {factor: 2}", X, "unexpected keyword argument 'factor'"),
    "dynamic": ("shapes", NPZ, X.replace("[1,", "[null,"), "nets.py:65: "),
}


def test_what_cannot_be_lowered_is_one_line_each(nets: WorkspaceFolder) -> None:
    nets.write(
        manifest({name: value[:3] for name, value in WRONG.items()}, quantize=False),
        {"text.npz": "no archive", "both.npz": {"a": np.zeros(1), "a/b": np.zeros(1)}},
    )
    result = nets.build(keep_going=True)
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    for name, (function, _, _, said) in WRONG.items():
        if said.startswith("nets.py:"):
            lines = NETS.split("\n")
            start = next(i for i, text in enumerate(lines) if f"def {function}(" in text)
            inside = start + (1 if function in ("dense", "shapes") else 0)
            said = f"nets.py:{inside + 1}: "
        reason = reasons[f"lower:{name}"]
        assert said in reason, name
        assert reason.startswith("tflbuild.yaml:")
        assert "\n" not in reason
        assert ".tflbuild" not in reason
        assert reasons[f"reference:{name}"] == reason


def test_without_jax_the_message_is_the_command(
    workspace: WorkspaceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.write(
        manifest({"m": ("net", "", X)}, quantize=False),
        {"nets.py": "def net(): ...\n", "jax/__init__.py": "raise ImportError('none')\n",
         "data.npz": {"x": np.zeros((1, 4), "float32")}},
    )  # fmt: skip
    import sys

    from tflbuild.sources import jax as source

    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(Exception, match=r"pip install 'tflbuild\[jax\]'"):
        source.load(workspace.root, {})


def test_names_in_an_archive_are_the_nesting(tmp_path: Path) -> None:
    from tflbuild.errors import TaskError
    from tflbuild.sources.jax import read_npz

    one = np.arange(3.0)
    for names, wanted in (
        (("a.b", "a.c", "d"), {"a": {"b": 0, "c": 1}, "d": 2}),
        (("a/b.c", "a/d", "e.f"), {"a": {"b.c": 0, "d": 1}, "e.f": 2}),
        (("a", "b"), {"a": 0, "b": 1}),
    ):
        np.savez(tmp_path / "p.npz", **{name: one[i] for i, name in enumerate(names)})
        assert read_npz(tmp_path / "p.npz") == wanted
    for bad in ({"a": one, "a/b": one}, {"a/b": one, "a": one}, {"a/b": one, "a/b/c": one}):
        np.savez(tmp_path / "p.npz", **bad)
        with pytest.raises(TaskError, match="is an array and holds others"):
            read_npz(tmp_path / "p.npz")
    np.savez(tmp_path / "p.npz", a=np.array([{}], object))
    with pytest.raises(TaskError, match=r"not a readable \.npz"):
        read_npz(tmp_path / "p.npz")


LOOPS = """
import jax, jax.numpy as jnp, numpy as np
from jax import lax

def params():
    draw = np.random.default_rng(0)
    shapes = {"u": (32, 32), "v": (3, 32), "o": (32, 4)}
    return {n: (draw.normal(size=s) / s[0] ** 0.5).astype("float32") for n, s in shapes.items()}

def rnn(unroll, outputs):
    def net(params, x):
        def step(state, row):
            state = jnp.tanh(state @ params["u"] + row @ params["v"])
            return state, state
        last, all = lax.scan(step, jnp.zeros((1, 32)), x.swapaxes(0, 1), unroll=unroll)
        return (last if outputs == "last" else all) @ params["o"]
    return net, params()

def turns(params, y):
    return lax.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.tanh(c[1] @ params["u"])), (0, y))[1]

def passes_on(params, y):
    return lax.fori_loop(0, 3, lambda i, c: jnp.tanh(c @ params["u"] + y), y)

def until(params, y):
    return lax.while_loop(lambda c: c.sum() < 3, lambda c: jnp.abs(c @ params["u"]) + 1, y)
"""
STEPS = "inputs: {x: {shape: [1, 7, 3], dtype: float32}}"
ROW = "inputs: {y: {shape: [1, 32], dtype: float32}}"
LOOPING = {  # the loop at …: what int8 and int16x8 say of it; "" where they are released
    "scan": ("rnn, args: [1, last]", STEPS, "carries a value", "carries a value"),
    "each": ("rnn, args: [1, all]", STEPS, "carries a value", "carries a value"),
    "unrolled": ("rnn, args: [7, last]", STEPS, "", ""),
    "passes_on": ("passes_on, params: {python: 'loops:params'}", ROW, "carries a value",
                  "carries a value"),
    "turns": ("turns, params: {python: 'loops:params'}", ROW, "", "16-bit quantizer fails"),
    "until": ("until, params: {python: 'loops:params'}", ROW, "", "16-bit quantizer fails"),
}  # fmt: skip


def test_loops_are_told_before_they_crash(workspace: WorkspaceFolder) -> None:
    rng = np.random.default_rng(0)
    arrays = {"x": rng.uniform(-1, 1, (40, 7, 3)), "y": rng.uniform(-1, 1, (40, 32))}
    text = "version: 1\nmodels:\n"
    for name, (source, inputs, *_) in LOOPING.items():
        key = "x" if inputs == STEPS else "y"
        text += (
            f"  {name}:\n    source: {{format: jax, python: loops:{source}}}\n    {inputs}\n"
            f"    data: {{calibration: {{npy: {key}.npy}}, test: {{npy: {key}.npy}}}}\n"
            "    optimizations: {half: {quantize: float16}, int8: {quantize: int8},"
            " int16x8: {quantize: int16x8}}\n"
        )
    workspace.write(
        text, {"loops.py": LOOPS, **{f"{k}.npy": a.astype("float32") for k, a in arrays.items()}}
    )
    result = workspace.build(keep_going=True)
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    for name, (_, _, *said) in LOOPING.items():
        assert f"{name}:half@litert" in result.released
        for quantize, words in zip(("int8", "int16x8"), said, strict=True):
            assert (f"{name}:{quantize}@litert" in result.released) == (not words), (name, quantize)
            if words:
                reason = reasons.pop(f"convert:{name}:{quantize}")
                assert f"quantize: {quantize} cannot convert it: " in reason
                assert words in reason
                assert "lax.scan(..., unroll=STEPS)" in reason
                assert "dynamic_range or float16" in reason
                assert "\n" not in reason
                log = workspace.root / f"build/logs/convert:{name}:{quantize}.log"
                assert "Fatal" not in log.read_text()
    assert reasons == {}


def test_examples_by_keyword_and_names_that_meet() -> None:
    from tflbuild.sources.jax import _inputs

    zeros, ones = np.zeros((1, 4), "f4"), np.ones((1, 4), "f4")

    def keywords(params: Any, *, x: Any, y: Any) -> Any:
        return x - y

    made = _inputs(keywords, True, {"y": ones, "x": zeros}, {})
    assert [spec.name for spec in made.specs] == ["y", "x"]
    args, named = made.bind([ones, zeros])
    assert (list(args), sorted(named)) == ([], ["x", "y"])
    assert named["y"] is ones

    made = _inputs(lambda params, d: d, True, ({"a": {"b": zeros}, "a_b": ones},), {})
    names = [spec.name for spec in made.specs]
    assert len(set(names)) == 2, names
    (given,), _ = made.bind([zeros, ones])
    assert given["a"]["b"] is zeros
