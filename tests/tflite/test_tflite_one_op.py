"""One operator cut out of a file computes what it computes there."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hostile import mutated
from tflite_models import OP, TYPE, Maker, everything, two_in_two_out

from tflbuild.tflite.one_op import NotAlone, inputs_of, one_op, outputs_of
from tflbuild.tflite.read import InvalidModel, buffer_alignment_problems, read_model


def runs_alike(data: bytes, feed: dict[int, np.ndarray]) -> int:
    """Every operator alone gives what it gives in its file; how many there are."""
    model = read_model(data)
    graph = model.subgraphs[0]
    whole = Interpreter(
        model_content=data,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    whole.allocate_tensors()
    for index, value in feed.items():
        whole.set_tensor(index, value)
    whole.invoke()
    for op in graph.ops:
        cut = one_op(data, 0, op.index, model)
        assert buffer_alignment_problems(cut) == []
        alone = Interpreter(
            model_content=cut,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        alone.allocate_tensors()
        ins, outs = alone.get_input_details(), alone.get_output_details()
        for detail, index in zip(ins, inputs_of(graph, op), strict=True):
            alone.set_tensor(detail["index"], whole.get_tensor(index))
        alone.invoke()
        for detail, index in zip(outs, outputs_of(op), strict=True):
            assert detail["name"] == graph.tensors[index].name
            assert (alone.get_tensor(detail["index"]) == whole.get_tensor(index)).all()
    return len(graph.ops)


def test_each_operator_alone() -> None:
    maker = two_in_two_out()
    a, b = np.float32([[1, 2, 3, 4]]), np.float32([[4, 3, 2, 1.5]])
    assert runs_alike(maker.pack(), {0: a, 1: b}) == 2


def test_quantized_with_a_tensor_used_twice_and_one_left_out() -> None:
    maker = Maker()
    g = maker.graph()
    x = g.tensor("x", (1, 4), TYPE.INT8, scale=0.5)
    y = g.tensor("y", (1, 4), TYPE.INT8, scale=1.0)
    w, z = g.weight("w", (3, 4), TYPE.INT8), g.tensor("z", (1, 3), TYPE.INT8, scale=2.0)
    g.op(OP.ADD, [x, x], [y], s.AddOptionsT())
    g.op(OP.FULLY_CONNECTED, [y, w, -1], [z], s.FullyConnectedOptionsT())
    g.io([x], [z])
    data = maker.pack()
    assert runs_alike(data, {x: np.int8([[3, -4, 5, 100]])}) == 2
    graph = read_model(data).subgraphs[0]
    assert inputs_of(graph, graph.ops[0]) == [x]
    cut = read_model(one_op(data, 0, 1))
    assert cut.subgraphs[0].ops[0].inputs[2] == -1
    assert [t.name for t in cut.subgraphs[0].tensors] == ["y", "w", "z"]
    assert cut.subgraphs[0].tensors[1].quantization == graph.tensors[w].quantization


def test_what_cannot_be_alone() -> None:
    data = everything().pack()
    model = read_model(data)
    said = {}
    for graph in model.subgraphs:
        for op in graph.ops:
            try:
                read_model(one_op(data, graph.index, op.index, model))
            except NotAlone as error:
                said[op.name] = str(error)
    assert set(said) == {"VAR_HANDLE", "ASSIGN_VARIABLE", "READ_VARIABLE", "CALL_ONCE", "WHILE"}
    assert said["WHILE"] == "WHILE runs other subgraphs"
    assert "works on handles (resource 'handle')" in said["READ_VARIABLE"]
    with pytest.raises(IndexError):
        one_op(data, 0, 99, model)


def test_blockwise_scales_come_along() -> None:
    maker = Maker()
    g = maker.graph()
    x, y = g.tensor("x", (1, 64)), g.tensor("y", (1, 2))
    scales = g.tensor("scales", (2, 2), TYPE.FLOAT16, np.ones(4))
    blocks = s.QuantizationParametersT(
        detailsType=s.QuantizationDetails.BlockwiseQuantization,
        details=s.BlockwiseQuantizationT(scales=scales, zeroPoints=-1, blockSize=32),
    )
    w = g.tensor("w", (2, 64), TYPE.INT4, bytes(64), quantization=blocks)
    g.op(OP.FULLY_CONNECTED, [x, w, -1], [y], s.FullyConnectedOptionsT())
    g.io([x], [y])
    cut = one_op(maker.pack(), 0, 0)
    names = [t.name for t in read_model(cut).subgraphs[0].tensors]
    assert names == ["x", "w", "scales", "y"]
    found = s.ModelT.InitFromObj(s.Model.GetRootAs(cut)).subgraphs[0].tensors[1].quantization
    assert (found.details.scales, found.details.zeroPoints) == (2, -1)


def test_hostile_files_are_refused_in_one_way() -> None:
    for _, data in mutated(11, 400):
        try:
            model = read_model(data)
        except InvalidModel:
            continue
        for graph in model.subgraphs:
            for op in graph.ops:
                with suppress(InvalidModel, NotAlone):
                    one_op(data, graph.index, op.index, model)
