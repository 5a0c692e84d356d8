"""`format: tflite`: an existing file is measured, compared with itself and released."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hostile import crashing, mutated
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_models import TYPE, Maker, s, two_in_two_out
from workspace_folder import WorkspaceFolder

from tflbuild.errors import TaskError, TflbuildError
from tflbuild.sources import FORMATS, tflite
from tflbuild.sources.size import LIMIT
from tflbuild.tflite.read import read_model

HEAD = "version: 1\nmodels:\n"
ASKED = {"pins": {}, "input_order": [], "output_order": []}


def model(name: str, source: str = "", more: str = "") -> str:
    return (
        f"  {name}:\n    source: {{format: tflite, path: {name}.tflite{source}}}\n"
        f"    optimizations: {{asis: {{}}}}\n    {more}\n"
    )


def int8_file() -> bytes:
    """y = x, an int8 input of scale 0.5 that is dequantized and quantized again."""
    maker = Maker()
    graph = maker.graph()
    x = graph.tensor("x_int8", (1, 4), TYPE.INT8, scale=0.5)
    real = graph.tensor("real", (1, 4))
    y = graph.tensor("y_int8", (1, 4), TYPE.INT8, scale=0.5)
    graph.op(s.BuiltinOperator.DEQUANTIZE, [x], [real])
    graph.op(s.BuiltinOperator.QUANTIZE, [real], [y])
    graph.io([x], [y])
    return maker.pack()


def custom_file(code: str) -> bytes:
    maker = Maker()
    graph = maker.graph()
    x, y = graph.tensor("x", (1, 4)), graph.tensor("y", (1, 4))
    graph.op(s.BuiltinOperator.CUSTOM, [x], [y], custom=code)
    graph.io([x], [y])
    maker.signature("serve", {"x": x}, {"y": y})
    return maker.pack()


def signed(*keys: str) -> bytes:
    maker = two_in_two_out()
    inputs, outputs = maker.model.subgraphs[0].inputs, maker.model.subgraphs[0].outputs
    maker.model.signatureDefs = []
    for key in keys:
        maker.signature(
            key, dict(zip(("left", "right"), inputs, strict=True)),
            dict(zip(("product", "sum"), outputs, strict=True)),
        )  # fmt: skip
    return maker.pack()


def test_names_order_and_values_survive_without_tensorflow(workspace: WorkspaceFolder) -> None:
    maker = two_in_two_out()
    maker.model.signatureDefs = []  # as files of old have none
    x = np.random.default_rng(0).normal(0, 1, (6, 1, 4)).astype(np.float32)
    order = "inputs: {b: {shape: [1, 4]}, a: {dtype: float32}}\n    outputs: [x, y]"
    workspace.write(
        HEAD
        + model("unsigned", more=order + "\n    data: {test: {npz: data.npz}}")
        + model("signed", ", signature: one")
        + model("int8", more="data: {test: {npy: x.npy}}"),
        {
            "unsigned.tflite": maker.pack(),
            "signed.tflite": signed("one", "two"),
            "int8.tflite": int8_file(),
            "data.npz": {"a": x[:, 0], "b": x[::-1, 0]},
            "x.npy": np.array([[-64.0, 0.6, 1.0, 90.0]], np.float32),  # real numbers, one too far
        },
    )
    result = workspace.build()
    assert result.ok, result
    dist = workspace.dist()
    file = read_model(dist["litert/unsigned-asis.tflite"])
    (signature,), main = file.signatures, file.subgraphs[0]
    assert (signature.key, [n for n, _ in signature.inputs]) == ("serving_default", ["b", "a"])
    assert [main.tensors[i].name for i in main.inputs] == [
        "serving_default_b:0", "serving_default_a:0",
    ]  # fmt: skip
    assert [n for n, _ in signature.outputs] == ["x", "y"]
    before = Interpreter(model_content=maker.pack())
    before.allocate_tensors()
    places = {e["name"]: e["index"] for e in before.get_input_details()}
    for name in "ab":
        before.set_tensor(places[name], x[0] if name == "a" else x[1])
    before.invoke()
    expected = {e["name"]: before.get_tensor(e["index"]) for e in before.get_output_details()}
    after = Interpreter(model_content=dist["litert/unsigned-asis.tflite"]).get_signature_runner()
    found = after(a=x[0], b=x[1])
    assert all((found[name] == expected[name]).all() for name in "xy")
    assert [s.key for s in read_model(dist["litert/signed-asis.tflite"]).signatures] == ["one"]
    report = workspace.report("int8/asis/validate.json")["measured"]
    assert report["parity"][0]["equal"]
    assert report["parity"][0]["kind"] == "float"
    assert report["signatures"][0]["saturated"] == {"x_int8": 0.25}
    conversion = workspace.report("int8/asis/validate.json")["conversion"]
    assert (conversion["route"], conversion["entry"]) == ("tflite", "none")
    assert workspace.report("int8/evaluate.json")["lowering"]["loader"] == "ai_edge_litert"


def test_an_equal_model_in_other_bytes_builds_nothing_again(workspace: WorkspaceFolder) -> None:
    file = signed("one")
    workspace.write(HEAD + model("m"), {"m.tflite": file})
    assert workspace.build().ok
    workspace.write(files={"m.tflite": file + b"trailing bytes that nothing refers to"})
    ran = {t.task for t in workspace.build().tasks if t.outcome == "ran"}
    assert ran == {"lower:m", "reference:m"}


def test_needs_no_tensorflow(workspace: WorkspaceFolder) -> None:
    from tflbuild.engine.zygote import ZygotePool

    workspace.pool = ZygotePool(workspace.root.parent / "own")
    try:
        workspace.write(HEAD + model("m"), {"m.tflite": signed("one")})
        assert workspace.build().ok
        assert list(workspace.pool.zygotes) == ["lite"]
    finally:
        workspace.pool.close()


BAD = {
    "two": (signed("one", "two"), "", "has the signatures .*name those to ship"),
    "near": (signed("predict"), ", signature: predikt", "; did you mean .predict"),
    "none": (int8_file(), ", signature: serve", "has none at all; remove source.signature"),
    "short": (signed("one")[:200], "", "not a sound .tflite file"),
    "junk": (b"<html>404 Not Found</html>", "", "not a sound .tflite file"),
    "void": (b"", "", "not a sound .tflite file"),
}


def test_wrong_files_are_one_line(workspace: WorkspaceFolder) -> None:
    text = HEAD + "".join(model(name, source) for name, (_, source, _) in BAD.items())
    text += model("pinned", more="inputs: {x: {shape: [1, 4]}}")
    maker = Maker()
    graph = maker.graph()
    x = graph.tensor("x", (1, 4), shapeSignature=np.array([-1, 4], "<i4"))
    y = graph.tensor("y", (1, 4), shapeSignature=np.array([-1, 4], "<i4"))
    graph.op(s.BuiltinOperator.ABS, [x], [y])
    graph.io([x], [y])
    workspace.write(text, {f"{name}.tflite": data for name, (data, _, _) in BAD.items()})
    workspace.write(files={"pinned.tflite": maker.pack()})
    reasons = {t.task: t.reason for t in workspace.build(keep_going=True).tasks}
    for name, (_, _, says) in BAD.items():
        for stage in ("lower", "reference"):
            assert re.search(says, reasons[f"{stage}:{name}"]), reasons[f"{stage}:{name}"]
            assert "\n" not in reasons[f"{stage}:{name}"]
    assert re.search(
        r"^tflbuild.yaml:\d+:\d+: input 'x' of the file has .* \[\?, 4\], .*remove the pin",
        reasons["lower:pinned"],
    )


def test_hostile_files_are_one_line_with_the_place(workspace: WorkspaceFolder) -> None:
    files = {
        f"{index:02}{damage}": data
        for index, (damage, data) in enumerate([*mutated(7, 40), ("crash", crashing())])
    }
    workspace.write(
        HEAD + "".join(model(f"m{name}") for name in files),
        {f"m{name}.tflite": data for name, data in files.items()},
    )
    result = workspace.build(keep_going=True)
    assert result.exit_code == 1
    failed = {t.task: t.reason for t in result.tasks if t.outcome == "failed"}
    assert "it crashes the runtime (signal 11, SIGSEGV)" in failed["lower:m40crash"]
    assert failed["lower:m40crash"] == failed["reference:m40crash"]
    lowered = {task: reason for task, reason in failed.items() if task.startswith("lower:")}
    assert 20 < len(lowered) < 40
    for reason in failed.values():
        assert "\n" not in reason
        assert "Error:" not in reason  # of Python: a fault
    for reason in (reason for reason in lowered.values() if "not a sound" in reason):
        assert re.match(r"tflbuild.yaml:\d+:\d+: ", reason), reason


@pytest.mark.parametrize(("code", "kind"), [("FlexErf", "select"), ("Mine", "custom")])
def test_ops_that_no_target_takes_stop_at_evaluate(
    code: str, kind: str, workspace: WorkspaceFolder
) -> None:
    workspace.write(HEAD + model("m"), {"m.tflite": custom_file(code)})
    result = workspace.build(keep_going=True)
    (finding,) = result.gates["evaluate:m"].failures
    assert finding.check == f"ops.{kind}"
    assert re.search(rf"{code.removeprefix('Flex')}\)? at 'serve_y'", finding.message)
    reasons = {t.task: t.reason for t in result.tasks}
    assert "the LiteRT interpreter failed" in reasons["reference:m"]
    assert not workspace.dist()


def dense_file(dtype: int = TYPE.FLOAT32) -> bytes:
    """y = x @ W.T, with a weight that is large enough to be quantized."""
    maker = Maker()
    graph = maker.graph()
    x, y = graph.tensor("x", (1, 64)), graph.tensor("y", (1, 32))
    w = graph.weight("w", (32, 64), dtype)
    graph.op(s.BuiltinOperator.FULLY_CONNECTED, [x, w, -1], [y], s.FullyConnectedOptionsT())
    graph.io([x], [y])
    return maker.pack()


def test_a_float_file_is_quantized_again_without_tensorflow(workspace: WorkspaceFolder) -> None:
    optimizations = "{asis: {}, small: {quantize: dynamic_range}, int8: {quantize: int8, io: int8}}"
    data = "data: {calibration: {npy: x.npy}}"
    workspace.write(
        HEAD + model("m", more=data).replace("{asis: {}}", optimizations),
        {
            "m.tflite": dense_file(),
            "x.npy": np.random.default_rng(0).normal(0, 1, (32, 64)).astype(np.float32),
        },
    )
    result = workspace.build(keep_going=True)
    failures = [(t.task, t.reason) for t in result.tasks if t.outcome == "failed"]
    failures += [(n, f.message) for n, v in result.gates.items() for f in v.failures]
    assert not failures
    files = workspace.dist()
    sizes = {n: len(files[f"litert/m-{n}.tflite"]) for n in ("asis", "small", "int8")}
    assert sizes["small"] < sizes["asis"] / 2
    (entry,) = Interpreter(model_content=files["litert/m-int8.tflite"]).get_input_details()
    assert (entry["name"], entry["dtype"]) == ("serving_default_x:0", np.int8)


def test_a_quantized_file_is_not_quantized_again(workspace: WorkspaceFolder) -> None:
    manifest = HEAD + model("m").replace("asis: {}", "asis: {}, q: {quantize: dynamic_range}")
    workspace.write(manifest, {"m.tflite": dense_file(TYPE.INT8)})
    reasons = {t.task: t.reason for t in workspace.build(keep_going=True).tasks if t.reason}
    assert re.search(
        r"^tflbuild.yaml:5:\d+: the file is quantized already \(weight 'w' is int8\): release it",
        reasons["convert:m:q"],
    )
    assert "litert/m-asis.tflite" in workspace.dist()


def test_more_than_a_file_can_hold(workspace: WorkspaceFolder) -> None:
    """Refused in the parent, before a byte is hashed."""
    for name, form in (("m.tflite", "tflite"), ("m.pb", "frozen_graph")):
        workspace.write(
            f"version: 1\nmodels:\n  m: {{source: {{format: {form}, path: {name}}},"
            " optimizations: {a: {}}}\n"
        )
        with (workspace.root / name).open("wb") as stream:
            stream.truncate(LIMIT + 1)
        with pytest.raises(TflbuildError, match=r"^tflbuild.yaml:3:\d+: .*2,147,483,648 bytes"):
            workspace.build()
        with pytest.raises(TaskError, match=r"2,147,483,648 bytes, .* 2,147,483,647 \(2 GiB\)"):
            FORMATS[form].load(workspace.root / name, ASKED)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_is_a_reason_never_a_fault(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(FILES[data.draw(st.integers(0, len(FILES) - 1))])
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.tflite"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    said = ""
    try:
        tflite.load(path, ASKED)
    except TaskError as error:
        said = str(error)
    assert "\n" not in said


FILES = (signed("one"), signed("one", "two"), int8_file(), custom_file("Mine"))
