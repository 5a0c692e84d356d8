"""Whatever `read_model` accepts gets figures and reasons, never an exception."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s
from delegate_files import IMAGE, One, T, conv, dense, ints, pool
from hypothesis import given, settings
from hypothesis import strategies as st
from tflite_models import OP, TYPE, Maker, everything, pack, two_in_two_out, variables

from tflbuild.delegates.coverage import coverage
from tflbuild.delegates.gpu_rules import CUSTOM_RULES, RULES
from tflbuild.delegates.judge import judge
from tflbuild.delegates.table import DELEGATES
from tflbuild.delegates.xnnpack_rules import RULES as XNNPACK_RULES
from tflbuild.tflite.read import InvalidModel, read_model


class Limits:
    min_ops = min_macs = 0.5
    max_partitions = 1

    def __init__(self, name: str) -> None:
        self.name = name


def look(data: bytes) -> bool:
    """All figures of a file; whether it could be read."""
    try:
        model = read_model(data)
    except InvalidModel:
        return False
    for name, delegate in DELEGATES.items():
        for graph in model.subgraphs:
            for given_data in (data, None):
                found = coverage(model, delegate, graph.index, data=given_data)
                assert json.loads(json.dumps(found, allow_nan=False)) == found
                assert 0 <= found["delegated"] <= found["ops"] == len(graph.ops)
                counted = sum(entry["count"] for entry in found["breaks"])
                assert counted == found["ops"] - found["delegated"]
                assert all(entry["why"] for entry in found["breaks"])
                assert all(isinstance(text, str) for text in judge(found, Limits(name)))
    return True


def files() -> Iterator[bytes]:
    yield everything().pack()
    yield two_in_two_out().pack()
    yield variables(initialized=True).pack()
    for one in (
        conv("int8", scales=(0.5,) * 4), conv("int8", depthwise=True), dense("float32", "int8"),
        pool("MAX_POOL_2D", "int8"),
        One("MEAN", (T(), ints(1, 2)), (T((1, 4)),), s.ReducerOptionsT()),
        One("PAD", (T(), ints(*[1] * 8, shape=(4, 2))), (T((3, 6, 6, 6)),)),
        One("STRIDED_SLICE", (T(), *(ints(1, 1, 1, 1),) * 3), (T(),), s.StridedSliceOptionsT()),
    ):  # fmt: skip
        yield one.pack()


FILES = list(files())


@pytest.mark.parametrize("at", range(len(FILES)))
def test_mutated_files(at: int) -> None:
    data, chance = FILES[at], random.Random(at)
    read = 0
    for _ in range(200):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 4))):
            changed[chance.randrange(8, len(changed))] = chance.choice((0, 1, 127, 128, 255))
        read += look(bytes(changed))
    assert look(data)
    assert read  # else this tests nothing


_ALL = sorted({*RULES, *XNNPACK_RULES, "DENSIFY", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})


@pytest.mark.parametrize("name", [*_ALL, *CUSTOM_RULES])
def test_operators_with_nothing(name: str) -> None:
    """Without inputs, outputs and options; with all of them left out; without shapes."""
    for inputs, outputs, rank in (
        ([], [], 4), ([-1] * 4, [-1] * 4, 4), ([0, -1, 0], [-1, 1], 4), ([0] * 4, [1], 0),
        ([0] * 2, [1], 1), ([0] * 5, [1] * 4, 4), ([0], [1], 9), ([2] * 4, [2], 1),
    ):  # fmt: skip
        for dtype in (TYPE.FLOAT32, TYPE.INT8, TYPE.INT32, TYPE.RESOURCE, TYPE.STRING):
            maker = Maker()
            graph = maker.graph()
            shape = (1,) * rank
            for label in ("x", "y"):
                graph.tensor(label, shape, dtype)
            graph.tensor("c", (2,), TYPE.INT32, [0, 0])
            code = getattr(OP, name, OP.CUSTOM)
            graph.op(code, inputs, outputs, custom=name if code == OP.CUSTOM else None)
            graph.io([], [])
            assert look(maker.pack())


shapes = st.lists(st.sampled_from([-1, 0, 1, 2, 3, 2**31 - 1]), max_size=7).map(tuple)
scales = st.lists(st.sampled_from([0.0, 1e-45, 0.5, -1.0, float("nan"), float("inf")]), max_size=4)

tensors = st.tuples(shapes, st.integers(0, 17), scales, st.booleans())


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(_ALL),
    tensors=st.lists(tensors, min_size=1, max_size=4),
    inputs=st.lists(st.integers(-1, 3), max_size=5),
    outputs=st.lists(st.integers(-1, 3), max_size=5),
    version=st.integers(0, 12),
)  # fmt: skip
def test_operators_with_nonsense(
    name: str, tensors: list[Any], inputs: list[int], outputs: list[int], version: int
) -> None:
    maker = Maker()
    graph = maker.graph()
    for shape, dtype, values, empty in tensors:
        zeros = [0] * (0 if empty else len(values))
        graph.tensor(
            "t", shape, dtype,
            quantization=s.QuantizationParametersT(
                scale=np.array(values, "<f4"), zeroPoint=np.array(zeros, "<i8"),
                quantizedDimension=len(values),
            ),
        )  # fmt: skip
    last = len(tensors) - 1
    graph.op(getattr(OP, name), [min(i, last) for i in inputs], [min(i, last) for i in outputs])
    maker.model.operatorCodes[-1].version = version
    graph.io([], [])
    assert look(pack(maker.model))


def test_many_operators_in_turns() -> None:
    """10,000 operators that alternate: 5,000 partitions. (Minutes, if each set visits them all.)"""
    maker = Maker()
    graph = maker.graph()
    last = first = graph.tensor("x", IMAGE)
    for at in range(10_000):
        result = graph.tensor("y", IMAGE)
        graph.op(OP.SIGN if at % 2 else OP.ABS, [last], [result])
        last = result
    maker.model.operatorCodes[2:] = []
    for at, op in enumerate(maker.model.subgraphs[0].operators):
        op.opcodeIndex = at % 2
    graph.io([first], [last])
    model = read_model(maker.pack())
    found = coverage(model, DELEGATES["xnnpack"])
    assert found["partitions"] == 5_000
