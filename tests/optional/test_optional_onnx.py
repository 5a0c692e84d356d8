"""`format: onnx`, by onnx2tf: runs where the extra is installed."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from workspace_folder import WorkspaceFolder

INSTALLED = find_spec("onnx2tf") is not None
needs_extra = pytest.mark.skipif(not INSTALLED, reason="pip install 'tflbuild[onnx]'")

MANIFEST = """
version: 1
models:
  net:
    source: {format: onnx, path: net.onnx}
    inputs: {image: {shape: [1, 4, 4, 4]}, the/scale: {shape: [1, 1]}}
    data: {calibration: {npz: net.npz}, test: {npz: net.npz}}
    optimizations: {float32: {}, int8: {quantize: int8, io: int8}, half: {quantize: float16}}
  ordered:
    source: {format: onnx, path: beside.onnx}
    inputs: {the/scale: {shape: [1, 1]}, image: {shape: [1, 4, 4, 4]}}
    outputs: ["features:0", probability]
    data: {test: {npz: net.npz}}
    optimizations: {float32: {}}
  signal:
    source: {format: onnx, path: signal.onnx}
    optimizations: {float32: {}}
  attention:
    source: {format: onnx, path: attention.onnx}
    optimizations: {float32: {}}
"""


def make(folder: Path) -> None:
    """A network whose images are as wide as they have channels, so that no shape tells a wrong
    turn; its first output is the last computed. `beside.onnx`: the weights in another file."""
    import onnx
    from onnx import TensorProto as Type
    from onnx import helper, numpy_helper

    draw = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(draw.normal(0, 0.4, shape).astype(np.float32), name)

    def value(name: str, *shape: object) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, Type.FLOAT, list(shape))

    def save(name: str, graph: onnx.GraphProto, **options: object) -> None:
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, folder / name, **options)

    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["features:0"]),
            helper.make_node("GlobalAveragePool", ["features:0"], ["g"]),
            helper.make_node("Flatten", ["g"], ["f"]),
            helper.make_node("Mul", ["f", "the/scale"], ["s"]),
            helper.make_node("MatMul", ["s", "l"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probability"], axis=-1),
        ],
        "net",
        [value("image", "N", 4, 4, 4), value("the/scale", "N", 1)],
        [value("probability", "N", 5), value("features:0", "N", 4, 4, 4)],
        [weight("w", 4, 4, 3, 3), weight("b", 4), weight("l", 4, 5)],
    )
    save("net.onnx", graph)
    save("beside.onnx", graph, save_as_external_data=True, location="weights.bin", size_threshold=0)
    save("signal.onnx", helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[2]),
            helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 1]),
            helper.make_node("Add", ["t", "b"], ["y"]),
        ],
        "signal", [value("x", 1, 3, 9)], [value("y", 1, 4, 2)],
        [weight("w", 2, 3, 3), weight("b", 2)],
    ))  # fmt: skip
    save("attention.onnx", helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "q"], ["xq"]),
            helper.make_node("Transpose", ["x"], ["xt"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["xq", "xt"], ["pairs"]),
            helper.make_node("Softmax", ["pairs"], ["weights"], axis=-1),
            helper.make_node("MatMul", ["weights", "x"], ["y"]),
            helper.make_node("ReduceMean", ["y"], ["mean"], axes=[1], keepdims=0),
        ],
        "attention", [value("x", 1, 6, 6)], [value("y", 1, 6, 6), value("mean", 1, 6)],
        [weight("q", 6, 6)],
    ))  # fmt: skip
    save("free.onnx", helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "free", [value("x", "N", "rows", 3)], [value("y", "N", "rows", 3)],
    ))  # fmt: skip
    image = draw.normal(0, 1, (16, 4, 4, 4)).astype(np.float32)
    scale = draw.uniform(0.5, 1, (16, 1)).astype(np.float32)
    np.savez(folder / "net.npz", **{"image": image, "the/scale": scale})


@needs_extra
@pytest.mark.convert
def test_a_model_is_released_with_its_names_and_its_layout(workspace: WorkspaceFolder) -> None:
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    make(workspace.root)
    workspace.write(MANIFEST)
    result = workspace.build(keep_going=True)
    failures = [(t.task, t.reason) for t in result.tasks if t.outcome == "failed"]
    failures += [(n, f.message) for n, v in result.gates.items() for f in v.failures]
    assert not failures
    files, data = workspace.dist(), np.load(workspace.root / "net.npz")
    session = onnxruntime.InferenceSession(workspace.root / "net.onnx")
    for name in ("net", "ordered"):
        runner = Interpreter(model_content=files[f"litert/{name}-float32.tflite"])
        signature = runner.get_signature_runner()
        for i in range(8):
            feed = {key: data[key][i : i + 1] for key in ("image", "the/scale")}
            probability, features = session.run(None, feed)
            found = signature(**feed)
            assert np.allclose(found["probability"], probability, atol=1e-5)
            assert np.allclose(found["features:0"], features, atol=1e-5)
    order = [entry["name"] for entry in runner.get_input_details()]
    assert order == ["serving_default_the/scale:0", "serving_default_image:0"]
    order = [entry["name"] for entry in runner.get_output_details()]
    assert order == ["serving_default_features:0:0", "serving_default_probability:0"]
    int8 = Interpreter(model_content=files["litert/net-int8.tflite"])
    assert {str(e["dtype"]) for e in int8.get_input_details()} == {"<class 'numpy.int8'>"}
    lowering = workspace.report("net/evaluate.json")["lowering"]
    assert lowering["loader"].startswith("onnx ")
    assert lowering["route"] == "frozen"
    assert workspace.build("net", force=True).ok
    assert workspace.dist() == files  # bit for bit, in other processes
    # The weights beside the file are part of the source.
    weights = workspace.root / "weights.bin"
    weights.write_bytes(weights.read_bytes()[::-1])
    assert "lower:ordered" in [t.task for t in workspace.build().tasks if t.outcome != "up_to_date"]


@needs_extra
@pytest.mark.convert
def test_what_a_model_cannot_be(workspace: WorkspaceFolder) -> None:
    from tflbuild.errors import TaskError
    from tflbuild.sources import onnx as source

    make(workspace.root)
    with (workspace.root / "weights.bin").open("r+b") as stream:
        stream.truncate(2**31)  # a hole: nothing is written
    with pytest.raises(TaskError, match=r"^the model has 2,147,48\d,\d{3} bytes, and a .tflite"):
        source.load(workspace.root / "beside.onnx", {"pins": {}})
    (workspace.root / "weights.bin").unlink()
    with pytest.raises(TaskError, match=r"lie in 'weights\.bin', which is not there"):
        source.load(workspace.root / "beside.onnx", {"pins": {}})
    cut = (workspace.root / "net.onnx").read_bytes()[:200]
    workspace.write(
        "version: 1\ndefaults: {optimizations: {float32: {}}}\nmodels:\n"
        "  free: {source: {format: onnx, path: free.onnx}}\n"
        "  junk: {source: {format: onnx, path: junk.onnx}}\n"
        "  void: {source: {format: onnx, path: void.onnx}}\n"
        "  cut: {source: {format: onnx, path: cut.onnx}}\n",
        {"junk.onnx": "<html>", "void.onnx": "", "cut.onnx": cut},
    )
    reasons = {t.task: t.reason for t in workspace.build(keep_going=True).tasks}
    assert re.search("dynamic dimensions.*under inputs:", reasons["lower:free"])
    for name in ("junk", "void", "cut"):
        assert "not a sound ONNX model" in reasons[f"lower:{name}"]
        assert "not a sound ONNX model" in reasons[f"reference:{name}"]
    assert not [r for r in reasons.values() if "\n" in r]


@pytest.mark.convert
@pytest.mark.skipif(INSTALLED, reason="the extra is installed")
def test_the_message_is_the_command_that_installs_it(workspace: WorkspaceFolder) -> None:
    workspace.write(
        "version: 1\nmodels:\n  m: {source: {format: onnx, path: m.onnx},"
        " optimizations: {float32: {}}}\n",
        {"m.onnx": b"\x08\x09"},
    )
    result = workspace.build(keep_going=True)
    for task in ("lower:m", "reference:m"):
        (reason,) = [t.reason for t in result.tasks if t.task == task]
        assert reason == (
            "tflbuild.yaml:3:16: format onnx needs onnx, which is not installed:"
            " pip install 'tflbuild[onnx]'"
        )
