from __future__ import annotations

import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite_models as make
from ai_edge_litert import schema_py_generated as s
from hypothesis import given, settings
from hypothesis import strategies as st

from tflbuild.errors import TflbuildError
from tflbuild.tflite import checks, cost, digest, version_judge, versions
from tflbuild.tflite.read import (
    InvalidModel,
    buffer_alignment_problems,
    read_metadata,
    read_model,
)
from tflbuild.tflite.signature import interface_of
from tflbuild.tflite.write import rewrite

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/models/mlperf-tiny/published"
SMALL = make.two_in_two_out().pack()
RICH = make.everything().pack()


def use(data: bytes) -> None:
    """All that can be asked of a file; raises what the package raises."""
    model = read_model(data)
    digest.describe(model)
    version_judge.too_new(versions.describe(model), ("tensorflow", "1.5"))
    checks.weightless_variables(model)
    for quantize in ("none", "float16", "dynamic_range", "int8", "qat"):
        checks.quantization_effect(model, quantize)
        checks.quantization_problems(model, quantize)
    for graph in model.subgraphs:
        for op in graph.ops:
            _ = op.options, op.custom_options
    buffer_alignment_problems(data)
    read_metadata(data)
    rewrite(data, interfaces=(interface_of(model),))


def test_reads_a_small_file() -> None:
    model = read_model(memoryview(SMALL))
    (main,) = model.subgraphs
    assert (model.version, model.description, model.size) == (3, "by hand", len(SMALL))
    assert model.metadata == ("odd", "min_runtime_version")
    assert model.min_runtime_version == "1.5.0"
    assert [op.name for op in main.ops] == ["ADD", "FULLY_CONNECTED"]
    assert main.ops[1].inputs == (2, 3, 4)
    assert main.ops[1].options["weightsFormat"] == 0
    w = main.tensors[3]
    assert (w.name, w.shape, w.shape_signature, w.dtype) == ("w", (3, 4), (3, 4), "float32")
    assert w.data_size == 48
    assert w.is_constant
    (signature,) = model.signatures
    assert signature.inputs == (("left", 0), ("right", 1))
    assert read_metadata(SMALL)["min_runtime_version"] == b"1.5.0".ljust(16, b"\0")


def test_reads_a_rich_file() -> None:
    model = read_model(RICH)
    main = model.subgraphs[0]
    by_name = {t.name: t for t in main.tensors}
    assert {op.kind for g in model.subgraphs for op in g.ops} == {"builtin", "select", "custom"}
    (loop,) = [op for op in main.ops if op.name == "WHILE"]
    assert loop.subgraphs == (2, 3)
    (flex,) = [op for op in main.ops if op.kind == "select"]
    assert (flex.name, flex.inputs[1], flex.custom_options) == ("FlexErf", -1, b"")
    assert model.subgraphs[2].ops[0].custom_options == bytes(range(5))
    hlo = next(op for op in main.ops if op.name.startswith("STABLEHLO"))
    assert hlo.options == {"broadcastDimensions": (0,)}
    assert by_name["outside"].data_size == 16
    assert by_name["k"].is_variable
    assert by_name["blocks"].dtype == "int4"
    assert by_name["sparse"].quantization is not None
    assert by_name["sparse"].quantization.scale == (0.5,)
    assert model.subgraphs[3].tensors[0].shape_signature == (-1,)
    assert [g.name for g in model.subgraphs] == ["main", "init", "cond", "body"]


def test_imports_no_tensorflow() -> None:
    code = (
        "import sys, tflbuild.tflite.checks, tflbuild.tflite.digest, tflbuild.tflite.write;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_alignment_is_seen() -> None:
    problems = buffer_alignment_problems(SMALL)
    assert problems
    assert "past a multiple of 16" in problems[0]


def _broken(change: Callable[[Any], None], maker: Callable[[], make.Maker]) -> bytes:
    built = maker()
    change(built.model)
    return built.pack()


BROKEN: dict[str, tuple[Callable[[Any], None], str]] = {
    "buffer": (lambda m: setattr(m.subgraphs[0].tensors[3], "buffer", 99), "buffer 99"),
    "tensor": (
        lambda m: setattr(m.subgraphs[0].operators[0], "inputs", np.array([0, 77], "<i4")),
        "tensor 77",
    ),
    "negative": (
        lambda m: setattr(m.subgraphs[0].operators[0], "inputs", np.array([0, -2], "<i4")),
        "tensor -2",
    ),
    "input": (lambda m: setattr(m.subgraphs[0], "inputs", [0, -1]), "tensor -1"),
    "opcode": (lambda m: setattr(m.subgraphs[0].operators[0], "opcodeIndex", 9), "code 9"),
    "signature": (lambda m: setattr(m.signatureDefs[0], "subgraphIndex", 4), "subgraph 4"),
    "key": (lambda m: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 44), "tensor 44"),
    "metadata": (lambda m: setattr(m.metadata[0], "buffer", 50), "metadata 'odd'"),
    "version": (lambda m: setattr(m, "version", 2), "schema version 2"),
    "type": (lambda m: setattr(m.subgraphs[0].tensors[0], "type", 99), "unknown type 99"),
    "shape": (
        lambda m: setattr(m.subgraphs[0].tensors[3], "shape", np.array([3, 5], "<i4")),
        "48 bytes of data, float32 [3, 5] needs 60",
    ),
    "rank": (
        lambda m: setattr(m.subgraphs[0].tensors[0], "shape", np.ones(999, "<i4")),
        "has the shape",
    ),
    "empty": (lambda m: setattr(m, "subgraphs", []), "no subgraph"),
    "custom": (
        lambda m: setattr(m.operatorCodes[0], "builtinCode", make.OP.CUSTOM),
        "has no name",
    ),
    "outside": (lambda m: setattr(m.subgraphs[0].tensors[0], "externalBuffer", 3), "external"),
    "beyond": (
        lambda m: (setattr(m.buffers[1], "data", None), setattr(m.buffers[1], "offset", 2**40)),
        "truncated",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_index_is_checked(name: str) -> None:
    change, message = BROKEN[name]
    with pytest.raises(InvalidModel) as error:
        read_model(_broken(change, make.two_in_two_out))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("index", [0, 9])
def test_subgraphs_that_run_themselves_or_nothing(index: int) -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].operators[1].builtinOptions.initSubgraphIndex = index

    with pytest.raises(InvalidModel, match=r"run themselves|subgraph 9"):
        read_model(_broken(change, lambda: make.variables(initialized=True)))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0" * 100, b"PK\3\4" * 30, b"\x10\0\0\0TFL3"])
def test_other_files(data: bytes) -> None:
    with pytest.raises(InvalidModel):
        read_model(data)


@pytest.mark.parametrize("data", [SMALL, RICH], ids=["small", "rich"])
def test_every_truncation(data: bytes) -> None:
    for end in range(0, len(data), 3):
        with pytest.raises(TflbuildError):  # a later cut may leave a file without its signature
            use(data[:end])


@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_every_word_overwritten(value: int) -> None:
    for at in range(0, len(RICH) - 3, 4):
        data = bytearray(RICH)
        struct.pack_into("<I", data, at, value)
        start = time.perf_counter()
        try:
            use(bytes(data))
        except TflbuildError as error:
            assert "\n" not in str(error)  # noqa: PT017
        assert time.perf_counter() - start < 5


@settings(max_examples=300, deadline=5000)
@given(
    data=st.sampled_from([SMALL, RICH]),
    edits=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=8)), max_size=6),
    cut=st.integers(0, 64),
)
def test_mutations_raise_nothing_else(
    data: bytes, edits: list[tuple[int, bytes]], cut: int
) -> None:
    changed = bytearray(data)
    for at, new in edits:
        at %= len(changed)
        changed[at : at + len(new)] = new
    try:
        use(bytes(changed[: len(changed) - cut]))
    except TflbuildError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_amplification_is_refused() -> None:
    """100,000 references to one subgraph of 2,000 tensors: 430 kB that claim 200 million."""
    builder = flatbuffers.Builder(1024)
    graph = s.SubGraphT(tensors=[s.TensorT() for _ in range(2000)]).Pack(builder)
    s.ModelStartSubgraphsVector(builder, 100_000)
    for _ in range(100_000):
        builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    buffer = s.BufferT().Pack(builder)
    s.ModelStartBuffersVector(builder, 1)
    builder.PrependUOffsetTRelative(buffer)
    buffers = builder.EndVector()
    s.ModelStart(builder)
    s.ModelAddVersion(builder, 3)
    s.ModelAddSubgraphs(builder, graphs)
    s.ModelAddBuffers(builder, buffers)
    builder.Finish(s.ModelEnd(builder), b"TFL3")
    start = time.perf_counter()
    with pytest.raises(InvalidModel, match="claims far more"):
        read_model(bytes(builder.Output()))
    assert time.perf_counter() - start < 10


def test_published_files() -> None:
    names = ["ad01_fp32", "ad01_int8", "kws_int8", "resnet8_fp32", "resnet8_int8", "vww96_int8"]
    for name in names:
        model = read_model(make.read_or_skip(PUBLISHED / f"{name}.tflite"))
        assert model.metadata == ("min_runtime_version",)
        assert not checks.weightless_variables(model)
        assert cost.op_counts(model)["custom"] == {}
