"""`format: pytorch`, by litert-torch: runs where the extra is installed."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from workspace_folder import WorkspaceFolder

INSTALLED = find_spec("torch") is not None and find_spec("litert_torch") is not None
needs_extra = pytest.mark.skipif(not INSTALLED, reason="pip install 'tflbuild[pytorch]'")

MANIFEST = """
version: 1
defaults: {optimizations: {float32: {}}}
models:
  net:
    source: {format: pytorch, path: net.pt2}
    data: {test: {npz: net.npz}, calibration: {npz: net.npz}}
    optimizations: {float32: {}, int8: {quantize: int8, io: int8}}
  ordered:
    source: {format: pytorch, path: net.pt2}
    inputs: {scale: {shape: [1, 1]}, image: {shape: [1, 3, 8, 8]}}
    outputs: [probability, logits]
  plain:
    source: {format: pytorch, path: plain.pt2}
    inputs: {x: {shape: [1, 4]}}
    outputs: [left, right]
  nameless: {source: {format: pytorch, path: plain.pt2}, inputs: {x: {shape: [1, 4]}}}
  code:
    source: {format: pytorch, python: "code/nets.py:make", args: {width: 5}}
    inputs: {x: {shape: [2, 3]}}
    depends: [code/rows.txt]
  pair: {source: {format: pytorch, python: "code/nets.py:pair"}}
  tokens: {source: {format: pytorch, path: tokens.pt2}, data: {test: {npz: tokens.npz}}}
"""


CODE = """
from pathlib import Path
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.line, self.drop = nn.Linear(3, width), nn.Dropout(0.5)
    def forward(self, x):
        return self.drop(self.line(x))

def make(width):
    (Path(__file__).parent / "rows.txt").read_text()
    return Net(width)

def pair():
    return Net(4), (torch.ones(1, 3),)

def wrong():
    return 3

def none():
    return Net(4)

def slow():
    raise RuntimeError("no network here")
"""


def make(folder: Path) -> None:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.line = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 4)
            self.norm = nn.BatchNorm2d(8)

        def forward(self, image, scale):  # type: ignore[no-untyped-def]
            x = torch.relu(self.norm(self.conv(image))).mean((2, 3)) * scale
            return {"logits": self.line(x), "probability": torch.softmax(self.line(x), -1)}

    class Plain(nn.Module):
        def forward(self, x):  # type: ignore[no-untyped-def]
            return x * 2, x.sum(1)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Embedding(50, 6)

        def forward(self, ids):  # type: ignore[no-untyped-def]
            return self.rows(ids).mean(1)

    torch.manual_seed(0)
    image, scale = torch.randn(8, 3, 8, 8), torch.rand(8, 1)
    net = Net().eval()
    torch.export.save(torch.export.export(net, (image[:1], scale[:1])), folder / "net.pt2")
    with torch.no_grad():
        found = net(image, scale)
    np.savez(
        folder / "net.npz", image=image, scale=scale,
        **{f"expected_{name}": tensor for name, tensor in found.items()},
    )  # fmt: skip
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Plain(), (torch.ones(2, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "plain.pt2")
    ids = torch.randint(0, 50, (8, 1, 5))
    torch.export.save(torch.export.export(Tokens().eval(), (ids[0],)), folder / "tokens.pt2")
    np.savez(folder / "tokens.npz", ids=ids)


@needs_extra
@pytest.mark.convert
def test_a_program_is_released_with_its_names(workspace: WorkspaceFolder) -> None:
    from ai_edge_litert.interpreter import Interpreter

    make(workspace.root)
    workspace.write(MANIFEST, {"code/nets.py": CODE, "code/rows.txt": "1"})
    result = workspace.build(keep_going=True)
    failures = [(t.task, t.reason) for t in result.tasks if t.outcome == "failed"]
    failures += [(n, f.message) for n, v in result.gates.items() for f in v.failures]
    assert not failures
    assert list(workspace.pool.zygotes) == ["lite"]  # no TensorFlow
    files, data = workspace.dist(), np.load(workspace.root / "net.npz")
    for name in ("net", "ordered"):
        runner = Interpreter(model_content=files[f"litert/{name}-float32.tflite"])
        signature = runner.get_signature_runner()
        for i in range(8):
            found = signature(image=data["image"][i : i + 1], scale=data["scale"][i : i + 1])
            for key in ("logits", "probability"):
                assert np.allclose(found[key], data[f"expected_{key}"][i : i + 1], atol=1e-5)
    order = [entry["name"] for entry in runner.get_input_details()]
    assert order == ["serving_default_scale:0", "serving_default_image:0"]
    order = [entry["name"] for entry in runner.get_output_details()]
    assert order == ["serving_default_probability:0", "serving_default_logits:0"]
    int8 = Interpreter(model_content=files["litert/net-int8.tflite"])
    assert {e["dtype"] for e in int8.get_input_details()} == {np.int8}
    plain = Interpreter(model_content=files["litert/plain-float32.tflite"]).get_signature_runner()
    assert {k: v.tolist() for k, v in plain(x=np.ones((1, 4), np.float32)).items()} == {
        "left": [[2, 2, 2, 2]], "right": [4],
    }  # fmt: skip
    assert workspace.report("net/evaluate.json")["lowering"]["route"] == "tflite"
    assert workspace.build("net", "pair", force=True).ok
    assert workspace.dist() == files  # bit for bit, in other processes
    workspace.write(files={"code/nets.py": CODE + "# another comment\n"})
    ran = {t.task for t in workspace.build().tasks if t.outcome == "ran"}
    assert {"lower:pair", "lower:code"} <= ran
    assert not [task for task in ran if task.startswith(("lower:net", "convert"))]


@needs_extra
@pytest.mark.convert
def test_what_a_program_cannot_be(workspace: WorkspaceFolder) -> None:
    make(workspace.root)
    workspace.write(
        "version: 1\ndefaults: {optimizations: {float32: {}}}\nmodels:\n"
        "  free: {source: {format: pytorch, path: plain.pt2}}\n"
        "  junk: {source: {format: pytorch, path: junk.pt2}}\n"
        "  names: {source: {format: pytorch, path: plain.pt2}, outputs: [one]}\n"
        "  cut: {source: {format: pytorch, path: cut.pt2}}\n"
        '  wrong: {source: {format: pytorch, python: "code/nets.py:wrong"}}\n'
        '  none: {source: {format: pytorch, python: "code/nets.py:none"}}\n'
        '  slow: {source: {format: pytorch, python: "code/nets.py:slow"}}\n',
        {
            "code/nets.py": CODE,
            "junk.pt2": "PK",
            "cut.pt2": (workspace.root / "net.pt2").read_bytes()[:900],
        },
    )
    reasons = {t.task: t.reason for t in workspace.build(keep_going=True).tasks}
    assert re.search(r"'x' has dynamic dim.*pin them, inputs: \{x: ", reasons["lower:free"])
    assert "not a .pt2 file" in reasons["lower:junk"]
    assert "not a .pt2 file" in reasons["reference:cut"]
    assert re.search(r"^tflbuild.yaml:6:\d+: outputs: the module gives 2", reasons["lower:names"])
    assert re.search(
        r"yaml:8:\d+: the function gives int, expected a torch", reasons["lower:wrong"]
    )
    assert re.search(r"yaml:9:\d+: the shapes of the inputs \['x'\] are", reasons["lower:none"])
    assert "no network here" in reasons["lower:slow"]
    assert not [r for r in reasons.values() if "\n" in r]


@pytest.mark.skipif(INSTALLED, reason="the extra is installed")
def test_the_message_is_the_command_that_installs_it(workspace: WorkspaceFolder) -> None:
    workspace.write(
        "version: 1\nmodels:\n  m: {source: {format: pytorch, path: m.pt2},"
        " optimizations: {float32: {}}}\n",
        {"m.pt2": b"PK"},
    )
    result = workspace.build(keep_going=True)
    for task in ("lower:m", "reference:m"):
        (reason,) = [t.reason for t in result.tasks if t.task == task]
        assert reason == (
            "tflbuild.yaml:3:16: format pytorch needs torch, which is not installed:"
            " pip install 'tflbuild[pytorch]'"
        )


RECURRENT = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.line = getattr(nn, kind)(3, 32, batch_first=True), nn.Linear(32, 4)
    def forward(self, x):
        return {"y": self.line(self.rnn(x)[0][:, -1])}

def make(kind):
    torch.manual_seed(0)
    return Net(kind), (torch.zeros(1, 7, 3),)
"""


@needs_extra
@pytest.mark.convert
def test_recurrent_layers_are_released_in_every_type(workspace: WorkspaceFolder) -> None:
    """litert-torch unrolls them: there is no loop that a calibration could fail on."""
    from tflbuild.tflite.read import read_model

    text = (
        "version: 1\ndefaults:\n  data: {calibration: {npz: x.npz}, test: {npz: x.npz}}\n"
        "  optimizations: {float32: {}, half: {quantize: float16}, int8: {quantize: int8},\n"
        "                  int16x8: {quantize: int16x8}}\nmodels:\n"
    )
    kinds = ("LSTM", "GRU", "RNN")
    for kind in kinds:
        text += f"  {kind}: {{source: {{format: pytorch, python: nets:make, args: [{kind}]}}}}\n"
    x = np.random.default_rng(0).uniform(-1, 1, (40, 7, 3)).astype("float32")
    workspace.write(text, {"nets.py": RECURRENT, "x.npz": {"x": x}})
    result = workspace.build(keep_going=True)
    assert {t.task: t.reason for t in result.tasks if t.outcome == "failed"} == {}
    assert [name for name, v in result.gates.items() if not v.passed] == []
    assert len(result.released) == 4 * len(kinds)
    for path in (workspace.root / "dist").rglob("*-int8.tflite"):
        names = [op.name for graph in read_model(path.read_bytes()).subgraphs for op in graph.ops]
        assert "WHILE" not in names
