"""The lowered graph tells the computation, not how the source is wrapped: a SavedModel loaded and
saved again, which puts one more function around its model, ends where the first one did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from convert_catalog import MLPERF
from workspace_folder import WorkspaceFolder

from tflbuild import frozen
from tflbuild.engine.state import State

pytestmark = pytest.mark.convert
AGAIN = ["digits_exported", "multi_saved", "passed", "twins", "unused", "mean", "embedding"]
EXPORT = """
import json, sys
import tensorflow as tf
import tf_keras  # registers what Keras-2 SavedModels hold
for source, folder in json.loads(sys.argv[1]):
    model = tf.saved_model.load(source)
    tf.saved_model.save(model, folder, signatures=model.signatures)
"""


def save_again(*pairs: tuple[Path, Path]) -> None:
    """Load each source and save it to the other folder, in a process of its own."""
    asked = json.dumps([[str(source), str(folder)] for source, folder in pairs])
    done = subprocess.run(
        [sys.executable, "-c", EXPORT, asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def manifest(names: list[str]) -> str:
    text = (
        "version: 1\n"
        "defaults: {optimizations: {float32: {}}, data: {test: {random: {samples: 8, high: 50}}}}\n"
        "models:\n"
    )
    for name in names:
        text += f"  {name}: {{source: {{format: saved_model, path: models/{name}}}}}\n"
    return text


def lowered(folder: WorkspaceFolder) -> dict[str, Any]:
    """What each lowering put out: file name to digest."""
    state = State.read_only(folder.root / ".tflbuild/state.sqlite")
    rows = state.tasks()
    state.close()
    return {
        task: {name: entry[0] for name, entry in row.outputs.items()}
        for task, row in rows.items()
        if task.startswith("lower:")
    }


def test_saved_again_only_lower_and_reference_run(
    workspace: WorkspaceFolder, models: Path, tmp_path: Path
) -> None:
    """Once again, and once more: the function nesting grows each time."""
    sources = {name: models / name for name in AGAIN}
    if MLPERF.is_dir():
        sources["kws"] = MLPERF / "kws"
    workspace.write(manifest(list(sources)), {f"models/{n}": p for n, p in sources.items()})
    assert workspace.build(keep_going=True).ok
    first, dist = lowered(workspace), workspace.dist()
    assert all("lowered.pb" in outputs for outputs in first.values())
    for turn in ("second", "third"):
        again = {name: tmp_path / turn / name for name in sources}
        save_again(*[(sources[name], again[name]) for name in sources])
        for name, folder in again.items():
            (workspace.root / "models" / name).rename(tmp_path / f"{turn}-{name}-before")
            workspace.write(files={f"models/{name}": folder})
        result = workspace.build(keep_going=True)
        assert result.ok
        assert lowered(workspace) == first
        assert result.ran() == sorted(f"{s}:{n}" for s in ("lower", "reference") for n in sources)
        assert {p: b for p, b in workspace.dist().items() if p.endswith(".tflite")} == {
            p: b for p, b in dist.items() if p.endswith(".tflite")
        }
        sources = again


def test_every_form_of_one_keras_model_gives_one_graph(
    workspace: WorkspaceFolder, models: Path
) -> None:
    """Saved as a file, by `export`, and by `tf.saved_model.save`. The names of inputs and outputs
    are the form's own; those of the two files are equal."""
    names = ["digits.keras", "digits.h5", "digits_exported", "digits_trap"]
    text = "version: 1\ndefaults: {optimizations: {float32: {}}}\nmodels:\n"
    for index, name in enumerate(names):
        form = "keras" if "." in name else "saved_model"
        text += f"  m{index}: {{source: {{format: {form}, path: {name}}}}}\n"
    workspace.write(text, {name: models / name for name in names})
    tasks = [f"lower:m{index}" for index in range(len(names))]
    assert workspace.build(*tasks).ok
    outputs = lowered(workspace)
    assert len({outputs[task]["lowered.pb"] for task in tasks}) == 1
    assert outputs["lower:m0"]["interface.json"] == outputs["lower:m1"]["interface.json"]


def test_names_stay_those_of_the_layers() -> None:
    call = "StatefulPartitionedCall/StatefulPartitionedCall_3/"
    assert frozen.unwrapped_name(f"{call}net/dense/MatMul") == "net/dense/MatMul"
    assert frozen.unwrapped_name("net/PartitionedCall/x") == "net/PartitionedCall/x"
    once, twice = f"{call}_hidden", f"PartitionedCall/{call}_hidden"
    assert frozen.unwrapped_name(once) == frozen.unwrapped_name(twice) == "PartitionedCall/_hidden"
    assert frozen.unwrapped_name("StatefulPartitionedCall") == "StatefulPartitionedCall"


def test_nodes_that_claim_one_name_are_numbered() -> None:
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    for name, op, inputs in (
        ("in_0", "Placeholder", []),
        ("PartitionedCall/in_0", "Relu", ["in_0"]),
        ("PartitionedCall/x/Neg", "Neg", ["PartitionedCall/in_0", "^6"]),
        ("x/Neg", "Neg", ["in_0"]),
        ("6", "Const", []),
        ("Func/PartitionedCall/input/_1", "Identity", ["6"]),
        ("two", "AddN", ["x/Neg", "PartitionedCall/x/Neg:0", "Func/PartitionedCall/input/_1"]),
        ("Identity", "Identity", ["two"]),
        ("unneeded", "Neg", ["in_0"]),
    ):
        graph.node.add(name=name, op=op).input.extend(inputs)
    nodes, ins, outs = frozen.unwrap(list(graph.node), ["in_0:0"], ["Identity:0"])
    assert {node.name: list(node.input) for node in nodes} == {
        "in_0": [],
        "in_0_1": ["in_0"],
        "x/Neg": ["in_0"],
        "x/Neg_1": ["in_0_1"],
        "two/operand_2": [],
        "two": ["x/Neg", "x/Neg_1", "two/operand_2"],
        "out_0": ["two"],
    }
    assert (ins, outs) == (["in_0:0"], ["out_0:0"])
