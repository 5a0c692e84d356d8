"""Frozen graphs and SavedModels of TensorFlow 1: what they gave in a session, the files give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from workspace_folder import WorkspaceFolder

pytestmark = pytest.mark.convert


@dataclass(frozen=True)
class Good:
    """`data`: an archive that holds inputs and, as the session gave them, outputs by name.
    `names`: what those are called in the archive, where they have other names there."""

    source: str
    data: str = ""
    more: str = ""
    names: tuple[tuple[str, str], ...] = ()


SOFTMAX = "Net/Predictions/Softmax"
SESSION = ((SOFTMAX, "scores"), ("Net/pool:0", "pool"))
GOOD = {
    "frozen": Good(
        "frozen_graph, path: m/frozen.pb", "session.npz", names=SESSION,
        more=f'inputs: {{input: {{shape: [1, 8, 8, 1]}}}}\n    outputs: ["Net/pool:0", {SOFTMAX}]',
    ),
    "text": Good(
        "frozen_graph, path: m/frozen.pbtxt", "session.npz", names=SESSION,
        more=f'outputs: ["Net/pool:0", {SOFTMAX}]',
    ),
    "guessed": Good("frozen_graph, path: m/frozen.pb", "session.npz", names=SESSION[:1]),
    "cut": Good(
        "frozen_graph, path: m/pipeline.pb", more="inputs: {image: {}}\n    outputs: [result]"
    ),
    "functions": Good("frozen_graph, path: m/if.pb"),
    "settled": Good("frozen_graph, path: m/dropout.pb"),
    "ref": Good("saved_model, path: m/ref", "ref.npz"),
    "features": Good("saved_model, path: m/ref, signature: features", "ref.npz"),
    "resource": Good("saved_model, path: m/resource", "resource.npz"),
    "keyword": Good("saved_model, path: m/simple"),
    "vocabulary": Good("saved_model, path: m/vocabulary", "words.npz"),
    "words": Good("saved_model, path: m/words", "rows.npz"),
    "hub": Good("saved_model, path: m/tags, signature: default"),
    "train": Good("saved_model, path: m/tags, signature: default, tags: [gpu, train]"),
    "branch": Good("saved_model, path: m/branch"),
}  # fmt: skip
BAD = {
    "nearest": (
        "m/frozen.pb}, outputs: [Net/Logits/MatMull]",
        r"^tflbuild.yaml:\d+:\d+: outputs: the graph has no node .*nobody reads"
        r" 'Net/Predictions/Softmax'; did you mean 'Net/Logits/MatMul'\?$",
    ),
    "input": (
        "m/frozen.pb}, inputs: {imput: {dtype: float32}}",
        r"^tflbuild.yaml:\d+:\d+: inputs: .*placeholders are 'input'; did you mean 'input'\?$",
    ),
    "unfrozen": ("m/unfrozen.pb}, outputs: [Net/pool]", "not frozen: variable .*freeze it with"),
    "pipeline": ("m/pipeline.pb}, outputs: [result]", "need no placeholder: name the tensors"),
    "queue": (
        "m/pipeline.pb}, inputs: {image/shape: {}}, outputs: [result]",
        r"read from an input pipeline \(\w+ '\w+'\); name the tensor behind it under inputs:",
    ),
    "switch": ("m/switch.pb}, outputs: [y]", r"TensorFlow 1 \(Switch .*enable_control_flow_v2"),
    "loop": ("m/loop.pb}, outputs: [y]", r"control flow of TensorFlow 1 \((Exit|Enter)"),
    "table": ("m/table.pb}, outputs: [id]", "a table .*format: saved_model"),
    "two": ("m/two_ends.pb}", r"name them, `outputs: \[NODE\]`; nobody reads 'double', 'sum'$"),
    "unfed": (
        "m/two_ends.pb}, inputs: {x: {shape: [2]}}, outputs: [sum]",
        "need the placeholders 'z' too: name them under inputs:$",
    ),
    "rank": ("m/two_ends.pb}, outputs: [double]", "'x' has no known rank: pin it"),
    "strange": ("m/strange.pb}, outputs: [double]", "no op 'OpOfNobody' .*library of custom ops"),
    "dangling": ("m/dangling.pb}, outputs: [double]", "damaged: it has no node 'gone'"),
    "cut_short": ("m/short.pb}", "not a GraphDef, or it is damaged"),
    "empty": ("m/empty.pb}", "has no nodes"),
    "not_text": ("m/binary.pbtxt}", "not a GraphDef, or it is damaged"),
    "index": (
        "m/frozen.pb}, outputs: ['Net/pool:7']",
        "Invalid return output 7 of node 'Net/pool'",
    ),
}


def test_what_the_session_gave(tf1: Path, workspace: WorkspaceFolder) -> None:
    text = "version: 1\ndefaults: {optimizations: {float32: {}}}\nmodels:\n"
    for name, case in GOOD.items():
        text += f"  {name}:\n    source: {{format: {case.source}}}\n    {case.more}\n"
        if case.data and name not in ("frozen", "text", "guessed"):
            text += f"    data: {{test: {{npz: m/{case.data}}}}}\n"
    text = text.replace("inputs: {image: {}}", "inputs: {image: {shape: [1, 4]}}")
    workspace.write(text, {"m": tf1})
    result = workspace.build(keep_going=True)
    failures = [(t.task, t.reason) for t in result.tasks if t.outcome == "failed"]
    failures += [(n, f.message) for n, v in result.gates.items() for f in v.failures]
    assert not failures
    for name, case in GOOD.items():
        file = workspace.root / f"dist/litert/{name}-float32.tflite"
        runner = Interpreter(str(file)).get_signature_runner()
        if not case.data:
            continue
        archive, renamed = np.load(tf1 / case.data), dict(case.names)
        found = [
            runner(**{key: archive[key][i : i + 1] for key in runner.get_input_details()})
            for i in range(len(archive["image" if "image" in archive else archive.files[0]]))
        ]
        for key in runner.get_output_details():
            expected = archive[renamed.get(key, key)]
            ours = np.concatenate([one[key] for one in found])
            assert np.allclose(ours, expected, atol=1e-5), (name, key)
    loaders = {n: workspace.report(f"{n}/evaluate.json")["lowering"]["loader"] for n in GOOD}
    assert loaders["ref"] == loaders["keyword"] == "tf.compat.v1.saved_model"
    assert loaders["resource"] == loaders["branch"] == "tf.saved_model"


def test_order_and_names_of_a_graph(tf1: Path, workspace: WorkspaceFolder) -> None:
    """Text and binary are one model: what the second needs is there."""
    model = f'inputs: {{input: {{shape: [1, 8, 8, 1]}}}}, outputs: ["Net/pool:0", {SOFTMAX}]'
    workspace.write(
        "version: 1\ndefaults: {optimizations: {float32: {}}}\nmodels:\n"
        f"  binary: {{source: {{format: frozen_graph, path: m/frozen.pb}}, {model}}}\n"
        f"  text: {{source: {{format: frozen_graph, path: m/frozen.pbtxt}}, {model}}}\n",
        {"m": tf1},
    )
    assert workspace.build().ok
    files = workspace.dist()
    assert files["litert/binary-float32.tflite"] == files["litert/text-float32.tflite"]
    runner = Interpreter(model_content=files["litert/text-float32.tflite"])
    outputs = [entry["name"] for entry in runner.get_output_details()]
    assert [name.partition("_default_")[2] for name in outputs] == ["Net/pool:0:0", f"{SOFTMAX}:0"]


def test_what_a_graph_cannot_be_is_one_line(tf1: Path, workspace: WorkspaceFolder) -> None:
    text = "version: 1\ndefaults: {optimizations: {float32: {}}}\nmodels:\n"
    for name, (section, _) in BAD.items():
        section = section.replace("image/shape: {}", "image/shape: {shape: [2], dtype: int32}")
        text += f"  {name}: {{source: {{format: frozen_graph, path: {section}}}\n"
    text += "  counter: {source: {format: saved_model, path: m/counter}}\n"
    short = (tf1 / "frozen.pb").read_bytes()[:1000]
    workspace.write(text, {"m": tf1})
    workspace.write(
        files={"m/short.pb": short, "m/empty.pb": b"", "m/binary.pbtxt": b"\xff\x00node {"}
    )
    result = workspace.build(keep_going=True)
    reasons = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    for name, (_, says) in BAD.items():
        assert re.search(says, reasons[f"lower:{name}"]), reasons[f"lower:{name}"]
        assert "\n" not in reasons[f"lower:{name}"]
    assert "changes a variable or a table (AssignAdd" in reasons["lower:counter"]
    assert not [r for r in reasons.values() if "Traceback" in r]
