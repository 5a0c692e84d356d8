from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite_models as make
from hypothesis import given, settings
from hypothesis import strategies as st

from tflbuild.tflite.read import buffer_alignment_problems, read_metadata, read_model
from tflbuild.tflite.signature import (
    Interface,
    InterfaceError,
    IOTensor,
    interface_of,
    interfaces_of,
)
from tflbuild.tflite.write import rewrite

interpreter = pytest.importorskip("ai_edge_litert.interpreter")
PUBLISHED = Path(__file__).resolve().parents[3] / "shared/models/mlperf-tiny/published"


def face(key: str, inputs: dict[str, int], outputs: dict[str, int]) -> Interface:
    return Interface(
        key,
        tuple(IOTensor(k, i) for k, i in inputs.items()),
        tuple(IOTensor(k, i) for k, i in outputs.items()),
    )


def but_interface(root: Any) -> Any:
    """Plain values without what `rewrite` is asked to change."""
    del root["signatureDefs"]
    for graph in root["subgraphs"]:
        for tensor in {*(graph["inputs"] or ()), *(graph["outputs"] or ())}:
            del graph["tensors"][tensor]["name"]
        del graph["inputs"], graph["outputs"]
    return root


def run(data: bytes | bytearray, seed: int = 0) -> dict[str, np.ndarray]:
    """Outputs by signature key, for inputs that depend on their name alone."""
    runner = interpreter.Interpreter(model_content=bytes(data)).get_signature_runner()
    inputs = {}
    for name, detail in runner.get_input_details().items():
        rng = np.random.default_rng([seed, *name.encode()])
        values = rng.uniform(-1, 1, detail["shape"])
        scale = 100 if np.issubdtype(detail["dtype"], np.integer) else 1
        inputs[name] = (values * scale).astype(detail["dtype"])
    return dict(runner(**inputs))


@pytest.mark.parametrize("maker", [make.two_in_two_out, make.everything])
def test_all_else_stays(maker: Any) -> None:
    data = maker().pack()
    faces = interfaces_of(read_model(data))
    out = rewrite(data, interfaces=faces)
    assert but_interface(make.unpack(out)) == but_interface(make.unpack(data))
    assert not buffer_alignment_problems(out)
    assert rewrite(data, interfaces=faces) == out
    again = rewrite(out, interfaces=interfaces_of(read_model(out)))
    assert again == out


def test_several_signatures() -> None:
    data = make.everything().pack()
    before = read_model(data)
    first, body = interfaces_of(before)
    after = read_model(rewrite(data, interfaces=(first, body)))
    assert [s.key for s in after.signatures] == ["first", "body"]
    assert after.signatures[1] == before.signatures[1]
    graph = after.subgraphs[body.subgraph]
    assert [graph.tensors[i].name for i in graph.inputs] == [
        f"body_{io.name}:0" for io in body.inputs
    ]
    for wrong, message in (
        ((first, replace(body, signature="first")), "two interfaces are of signature 'first'"),
        ((first, replace(first, signature="again")), "two interfaces are of subgraph '0'"),
        ((body,), "no interface is of the main subgraph"),
        ((first, replace(body, subgraph=99)), "there is no subgraph 99"),
    ):
        with pytest.raises(InterfaceError, match=message):
            rewrite(data, interfaces=wrong)


def test_order_names_and_outputs() -> None:
    data = make.two_in_two_out().pack()
    out = rewrite(data, interfaces=(face("main", {"q": 1, "p": 0}, {"sum": 2, "p": 5}),))
    (main,) = read_model(out).subgraphs
    assert (main.inputs, main.outputs) == ((1, 0), (2, 5))
    assert [main.tensors[i].name for i in main.inputs] == ["main_q:0", "main_p:0"]
    assert [main.tensors[i].name for i in main.outputs] == ["main_sum:0", "main_p_out:0"]
    lite = interpreter.Interpreter(model_content=bytes(out))
    assert [d["index"] for d in lite.get_input_details()] == [1, 0]
    assert [d["name"] for d in lite.get_output_details()] == ["main_sum:0", "main_p_out:0"]
    same = rewrite(data, interfaces=(interface_of(read_model(data)),))
    for name, value in run(data).items():
        np.testing.assert_array_equal(run(same)[name], value)


def test_internal_names_give_way() -> None:
    maker = make.two_in_two_out()
    for tensor, name in ((3, b"s_left:0"), (4, b"s_left:0_1")):
        maker.model.subgraphs[0].tensors[tensor].name = name
    out = rewrite(maker.pack(), interfaces=(face("s", {"left": 0, "b": 1}, {"y": 5, "x": 2}),))
    names = [t.name for t in read_model(out).subgraphs[0].tensors]
    assert names == ["s_left:0", "s_b:0", "s_x:0", "s_left:0_2", "s_left:0_1", "s_y:0"]


def test_one_tensor_in_two_roles() -> None:
    maker = make.two_in_two_out()
    maker.model.subgraphs[0].outputs = [5, 0, 5]
    out = rewrite(
        maker.pack(),
        interfaces=(face("s", {"a": 0, "b": 1}, {"y": 5, "same": 0, "y2": 5}),),
    )
    (main,) = read_model(out).subgraphs
    assert main.outputs == (5, 0, 5)
    assert [main.tensors[i].name for i in (0, 1, 5)] == ["s_a:0", "s_b:0", "s_y:0"]
    values = run(out)
    np.testing.assert_array_equal(values["y"], values["y2"])
    assert values["same"].shape == (1, 4)


@pytest.mark.parametrize(
    ("interface", "message"),
    [
        (face("s", {"a": 0}, {"y": 5, "x": 2}), "input tensor 1 .'b'. has no name"),
        (face("s", {"a": 0, "b": 3}, {"y": 5, "x": 2}), "input 'b' is tensor 3"),
        (face("s", {"a": 0, "b": 1, "c": 0}, {"y": 5, "x": 2}), "same tensor"),
        (face("s", {"a": 0, "": 1}, {"y": 5, "x": 2}), "no name"),
        (face("", {"a": 0, "b": 1}, {"y": 5, "x": 2}), "needs a name"),
        (face("s", {"a": 0, "b": 1}, {"y": 5}), "output tensor 2"),
    ],
)
def test_wrong_interfaces(interface: Interface, message: str) -> None:
    with pytest.raises(InterfaceError, match=message):
        rewrite(make.two_in_two_out().pack(), interfaces=(interface,))


def test_metadata_is_added_and_replaced() -> None:
    data = make.two_in_two_out().pack()
    interface = interface_of(read_model(data))
    out = rewrite(data, interfaces=(interface,), metadata={"odd": b"new", "more": b"x" * 33})
    assert read_metadata(out) == {
        **read_metadata(data),
        "odd": b"new",
        "more": b"x" * 33,
    }
    assert len(read_model(out).buffers) == len(read_model(data).buffers) + 1
    assert not buffer_alignment_problems(out)


def test_data_behind_the_flatbuffer_moves_along() -> None:
    """The layout of files over 2 GB: weights at absolute offsets behind the flatbuffer."""
    maker = make.two_in_two_out()
    weight = maker.model.buffers[maker.model.subgraphs[0].tensors[3].buffer]
    raw, weight.data = weight.data.tobytes(), None
    weight.offset, weight.size = 2, len(raw)
    padded = -(-len(maker.pack()) // 16) * 16
    weight.offset = padded
    data = maker.pack().ljust(padded, b"\0") + raw
    inline = make.two_in_two_out().pack()
    out = rewrite(
        data, interfaces=(face("a_longer_name" * 9, {"left": 0, "right": 1}, {"y": 5, "x": 2}),)
    )
    model = read_model(out)
    place = model.buffers[model.subgraphs[0].tensors[3].buffer]
    assert bytes(out[place.offset : place.offset + place.size]) == raw
    assert place.offset != padded
    assert place.offset + place.size == len(out)
    assert not buffer_alignment_problems(out)
    np.testing.assert_array_equal(run(out)["y"], run(inline)["score"])


def test_shared_bytes_stay_shared() -> None:
    """Two Buffer tables over one vector: the file does not grow."""
    s = make.s

    class Shared(s.BufferT):  # type: ignore[misc,name-defined]
        vector: int | None = None

        def Pack(self, builder: Any) -> Any:
            Shared.vector = Shared.vector or builder.CreateNumpyVector(self.data)
            s.BufferStart(builder)
            s.BufferAddData(builder, Shared.vector)
            return s.BufferEnd(builder)

    maker = make.two_in_two_out()
    data = np.zeros(40_000, np.uint8)
    maker.model.buffers += [Shared(data), Shared(data), Shared(data)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(maker.model.Pack(builder), b"TFL3")
    source = bytes(builder.Output())
    out = rewrite(source, interfaces=(interface_of(read_model(source)),))
    assert len(source) < len(out) + 2000 < 50_000
    assert len({b.offset for b in read_model(out).buffers[-3:]}) == 1


@settings(max_examples=60, deadline=None)
@given(
    extra=st.binary(max_size=70),
    key=st.text(min_size=1, max_size=20).filter(lambda t: t.isprintable()),
    names=st.lists(st.text("ab:_0", min_size=1, max_size=4), min_size=4, max_size=4, unique=True),
    swap=st.booleans(),
)
def test_any_interface_any_alignment(extra: bytes, key: str, names: list[str], swap: bool) -> None:
    data = make.two_in_two_out(extra).pack()
    inputs = {names[0]: 0, names[1]: 1}
    outputs = {names[2]: 5, names[3]: 2}
    if swap:
        inputs, outputs = dict(reversed(inputs.items())), dict(reversed(outputs.items()))
    wanted = face(key, inputs, outputs)
    out = rewrite(data, interfaces=(wanted,))
    model = read_model(out)
    assert interface_of(model, key) == wanted
    assert not buffer_alignment_problems(out)
    assert but_interface(make.unpack(out)) == but_interface(make.unpack(data))
    tensors = [t.name for t in model.subgraphs[0].tensors]
    assert len(set(tensors)) == len(tensors)


def big(megabytes: int) -> bytes:
    maker = make.Maker()
    g = maker.graph()
    x = g.tensor("x", (1, 512))
    first = x
    for i in range(megabytes):  # 512 * 512 * 4 bytes each
        w = g.tensor(f"w{i}", (512, 512), data=np.full((512, 512), i, "<f4").tobytes())
        y = g.tensor(f"y{i}", (1, 512))
        g.op(make.OP.FULLY_CONNECTED, [x, w, -1], [y], make.s.FullyConnectedOptionsT())
        x = y
    g.io([first], [x])
    return maker.pack()


def test_time_and_memory() -> None:
    data = big(24)
    interface = face("s", {"x": 0}, {"y": read_model(data).subgraphs[0].outputs[0]})
    start = time.perf_counter()
    rewrite(data, interfaces=(interface,))
    seconds = time.perf_counter() - start
    tracemalloc.start()
    out = rewrite(data, interfaces=(interface,))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.1 * len(data)
    assert seconds < 0.5
    assert len(out) < 1.001 * len(data)


@pytest.mark.parametrize(
    "name",
    [
        "ad01_fp32",
        "ad01_int8",
        "kws_int8",
        "resnet8_fp32",
        "resnet8_int8",
        "vww96_fp32",
        "vww96_int8",
    ],
)
def test_published_files_run_the_same(name: str) -> None:
    data = make.read_or_skip(PUBLISHED / f"{name}.tflite")
    main = read_model(data).subgraphs[0]
    wanted = face("serving_default", {"x": main.inputs[0]}, {"y": main.outputs[0]})
    out = rewrite(data, interfaces=(wanted,))
    assert not buffer_alignment_problems(out)
    expected = but_interface(make.unpack(data))
    if "int8" in name:  # an old converter left the minimum of the float file
        (entry,) = [m for m in expected["metadata"] if m["name"] == b"min_runtime_version"]
        assert bytes(expected["buffers"][entry["buffer"]]["data"]) == b"1.5.0".ljust(16, b"\0")
        expected["buffers"][entry["buffer"]]["data"] = list(b"1.14.0".ljust(16, b"\0"))
    assert but_interface(make.unpack(out)) == expected
    before = interpreter.Interpreter(model_content=data)
    before.allocate_tensors()
    detail = before.get_input_details()[0]
    values = np.random.default_rng(0).uniform(-100, 100, detail["shape"]).astype(detail["dtype"])
    before.set_tensor(detail["index"], values)
    before.invoke()
    expected = before.get_tensor(before.get_output_details()[0]["index"])
    runner = interpreter.Interpreter(model_content=bytes(out)).get_signature_runner()
    np.testing.assert_array_equal(runner(x=values)["y"], expected)
