"""Operator versions and runtimes: by hand-written facts, by a runtime, and on hostile files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tflite_models as make
from ai_edge_litert import schema_py_generated as s
from hypothesis import given, settings
from hypothesis import strategies as st
from version_cases import CASES

from tflbuild.stages.lower_file import version_warnings
from tflbuild.tflite import runtime_versions
from tflbuild.tflite.op_versions import RULES, needed
from tflbuild.tflite.read import InvalidModel, read_metadata, read_model
from tflbuild.tflite.runtime_table import LITERT_HAS_ALL_OF
from tflbuild.tflite.runtime_versions import (
    first_runtime,
    known_pairs,
    newest,
    parse,
    to_litert,
    to_tensorflow,
    versions_of,
)
from tflbuild.tflite.signature import Interface, IOTensor
from tflbuild.tflite.version_judge import too_new
from tflbuild.tflite.versions import corrections, describe, metadata_value
from tflbuild.tflite.write import rewrite

OP, TYPE = s.BuiltinOperator, s.TensorType
OPTIONS = {
    "CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "DepthwiseConv2D", "LSTM": "LSTM", "RNN": "RNN",
    "SVDF": "SVDF", "BATCH_MATMUL": "BatchMatMul", "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNN",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "BidirectionalSequenceLSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN": "BidirectionalSequenceRNN",
}  # fmt: skip
TENSOR = re.compile(
    r"(?P<type>\w+?)(/(?P<rank>\d)(x(?P<last>\d+))?)?(\*(?P<scales>\d))?(?P<sparse>!)?"
)


def cases() -> Iterator[tuple[str, str, int]]:
    """(operator, how it is used, version)"""
    for line in CASES.strip().splitlines():
        names, rest = line.split(": ")
        uses, version = rest.rsplit(" = ", 1)
        for name in names.split():
            for use in uses.split(" | "):
                yield name, use, int(version)


def tensor(graph: make.Graph, text: str) -> int:
    if text == "-":
        return -1
    found = TENSOR.fullmatch(text)
    assert found, text
    shape = [4] * int(found["rank"] or 0)
    if found["last"]:
        shape[-1] = int(found["last"])
    more: dict[str, Any] = {}
    if count := int(found["scales"] or 0):
        more["quantization"] = s.QuantizationParametersT(
            scale=np.full(count, 2.0, "<f4"), zeroPoint=np.zeros(count, "<i8")
        )
    if found["sparse"]:
        more["sparsity"] = s.SparsityParametersT(dimMetadata=[])
    name = f"t{len(graph.t.tensors)}"
    return graph.tensor(name, tuple(shape), getattr(TYPE, found["type"].upper()), **more)


def single(name: str, use: str = "float32", written: int = 1) -> make.Maker:
    """A model of one operator."""
    uses, _, settings_ = use.partition(" ; ")
    takes, _, gives = uses.partition(" -> ")
    maker = make.Maker()
    graph = maker.graph()
    inputs = [tensor(graph, text) for text in takes.split()]
    first = re.sub(r"[/!].*", "", takes.split()[0].split("*")[0])
    scaled = "*1" if "*1" in takes.split()[0] else ""
    outputs = [tensor(graph, text) for text in (gives or first + scaled).split()]
    options = None
    if settings_:
        title = OPTIONS.get(name) or name.title().replace("_", "")
        options = getattr(s, f"{title}OptionsT")()
        for setting in settings_.split():
            key, value = setting.split("=")
            assert hasattr(options, key), (name, key)
            setattr(options, key, type(getattr(options, key))(int(value)))
    graph.op(getattr(OP, name), inputs, outputs, options)
    maker.model.operatorCodes[0].version = written
    graph.io([i for i in inputs if i >= 0], outputs)
    return maker


@pytest.mark.parametrize(("name", "use", "version"), list(cases()))
def test_version_of_one_operator(name: str, use: str, version: int) -> None:
    model = read_model(single(name, use).pack())
    (op,) = model.subgraphs[0].ops
    need = needed(op, model.subgraphs[0])
    assert need.version == version, need
    assert bool(need.why) == (version > 1 and (name, version) != ("BROADCAST_TO", 2))


def test_every_rule_has_a_case() -> None:
    tried = {(name, version) for name, _, version in cases()}
    assert len(tried) > 300
    rules = {(name, version) for name, rules in RULES.items() for version, _ in rules}
    assert rules - tried == set()


def test_young_types_are_unknown_where_no_rule_is_about_them() -> None:
    for name, use, why in (
        ("CONV_2D", "float32/4 int4/4 float32", "int4 weights with float32 activations"),
        ("FULLY_CONNECTED", "float32 int4 float32", "int4 weights with float32 activations"),
        ("FULLY_CONNECTED", "int8 int4", "int4 tensors"),  # no bias: the rule says nothing of int4
        ("RESHAPE", "bfloat16", "bfloat16 tensors"),
    ):
        model = read_model(single(name, use, 3).pack())
        need = needed(model.subgraphs[0].ops[0], model.subgraphs[0])
        assert (need.version, need.why) == (None, why)
        found = describe(model)
        assert found["min_runtime"] == {"tensorflow": None, "litert": None}
        assert found["unknown"] == [{"op": name, "version": 3}]
        assert found["wrong"] == []  # what is not certain is not wrong
        (line,) = too_new(found, ("litert", "99"))
        assert f"{name} version 3 at 't" in line
        assert f": {why}; which runtime has it is unknown" in line


def test_operators_of_a_newer_schema_are_unknown() -> None:
    maker = single("ADD", "float32 float32", 2)
    maker.model.operatorCodes[0].builtinCode = 9999
    found = describe(read_model(maker.pack()))
    assert found["unknown"] == [{"op": "UNKNOWN_BUILTIN_9999", "version": 2}]
    assert found["wrong"] == []
    assert "newer than the schema" in found["needs"][0]["why"]


def codes_only(pairs: list[tuple[str, int]]) -> bytes:
    """A file that names operators and uses none: a runtime looks them up all the same."""
    maker = make.Maker()
    graph = maker.graph()
    graph.io([], [])
    for name, version in pairs:
        maker.code(getattr(OP, name), version=version)
    return maker.pack()


def test_table_is_what_the_runtime_has() -> None:
    """The installed LiteRT takes every pair of the table, and of no operator a version more."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    resolver = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def takes(pairs: list[tuple[str, int]]) -> bool:
        try:
            data = codes_only(pairs)
            interpreter.Interpreter(model_content=data, experimental_op_resolver_type=resolver)
        except ValueError as error:
            if "Didn't find op" not in str(error):
                raise
            return False
        return True

    assert takes(known_pairs())
    everything = {name for name in vars(OP) if not name.startswith("_")}
    everything -= {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
    more = [(name, max(versions_of(name), default=0) + 1) for name in sorted(everything)]
    assert [pair for pair in more if takes([pair])] == []
    assert not takes([("BROADCAST_TO", 1)])


def test_numberings() -> None:
    assert len(known_pairs()) == 440
    assert first_runtime("CONV_2D", 5) == "2.4.0"
    assert first_runtime("CONV_2D", 5, "litert") == "1.0.0"
    assert first_runtime("FULLY_CONNECTED", 12) == "2.17.0"
    assert first_runtime("FULLY_CONNECTED", 13, "litert") == "1.1.0"
    assert first_runtime("TILE", 1) == "1.10.1"
    for pair in (("CONV_2D", 9), ("CONV_2D", 0), ("NOBODY", 1), ("BROADCAST_TO", 1), ("LSTM", 5)):
        assert first_runtime(*pair) is first_runtime(*pair, numbering="litert") is None
    for numbering, version, tensorflow, litert in (
        ("tensorflow", "2.14", "2.14", "1.0.0"),
        ("tensorflow", "2.17.1", "2.17.1", "1.1.0"),
        ("tensorflow", "2.21", "2.21", "2.1.2"),
        ("tensorflow", "2.24", "2.24", None),
        ("litert", "1.2", "2.19.0", "1.2"),
        ("litert", "2.1.0", "2.20.0", "2.1.0"),
        ("litert", "2.3.0", "2.23.0", "2.3.0"),
        ("litert", "0.9", None, "0.9"),
        ("play-services", "16.4.0", None, None),
    ):
        assert to_tensorflow(numbering, version) == tensorflow, (numbering, version)
        assert to_litert(numbering, version) == litert, (numbering, version)
    with pytest.raises(ValueError, match=r"'play-services' is no numbering.*tensorflow, litert"):
        first_runtime("ADD", 1, "play-services")


def test_mapping_agrees_with_the_table() -> None:
    """A LiteRT release has all operators of the TensorFlow that it is said to have all of, and
    not all of the next one's."""
    tensorflow = {pair: parse(first_runtime(*pair) or "") for pair in known_pairs()}
    litert = {pair: parse(first_runtime(*pair, "litert") or "") for pair in known_pairs()}
    steps = [*LITERT_HAS_ALL_OF, ("9", "9")]
    for (release, has), (following, _) in pairwise(steps):
        missing = [tensorflow[p] for p, since in litert.items() if since > parse(release)]
        assert min(missing, default=parse("9")) > parse(has), release
        if following != "9":  # up to the next step something of the next version is missing
            assert any(litert[p] == parse(following) for p in tensorflow), following


def test_versions_compare_as_numbers() -> None:
    ordered = ["0.9", "1.5.0", "1.9.0", "1.10.0", "1.10.1", "1.14", "2", "2.0.1", "2.9", "2.14.0"]
    assert sorted(set(ordered), key=parse) == ordered
    assert newest(["2.9.0", "2.14.0", "1.15.0"]) == "2.14.0"
    assert parse("2.3") == parse("2.3.0") == parse("2.3.0.0")
    for wrong in ("", "2.", "v2.3", "2.3-rc1", "2..3", "٢.3", "2.3\n", "1" * 7, "1.2.3.4.5"):
        with pytest.raises(ValueError, match="is no version: write numbers with dots"):
            parse(wrong)


VERSIONS = st.lists(st.integers(0, 99), min_size=1, max_size=4)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_comparing_is_an_order(a: list[int], b: list[int], c: list[int]) -> None:
    x, y, z = (parse(".".join(map(str, parts))) for parts in (a, b, c))
    assert (x < y) + (y < x) + (x == y) == 1
    assert not (x < y < z) or x < z
    assert (x < y) == ([*a, 0, 0, 0][:4] < [*b, 0, 0, 0][:4])


@given(VERSIONS)
def test_mappings_are_monotone(parts: list[int]) -> None:
    version, later = ".".join(map(str, parts)), ".".join(map(str, [parts[0] + 1, *parts[1:]]))
    for numbering, mapping in (("litert", to_tensorflow), ("tensorflow", to_litert)):
        first, second = mapping(numbering, version), mapping(numbering, later)
        if first is not None and second is not None:
            assert parse(first) <= parse(second)


def quantized() -> make.Maker:
    """Two FULLY_CONNECTED of one operator code, one float and one int8, and a custom operator."""
    maker = make.Maker()
    graph = maker.graph()
    a, b = graph.tensor("a", (1, 4)), graph.tensor("plain/MatMul;plain/BiasAdd", (1, 4))
    w, bias = graph.weight("w", (4, 4)), graph.weight("bias", (4,))
    qa, qb = graph.tensor("qa", (1, 4), TYPE.INT8), graph.tensor("dense", (1, 4), TYPE.INT8)
    qw, qbias = graph.weight("qw", (4, 4), TYPE.INT8), graph.weight("qbias", (4,), TYPE.INT32)
    mine = graph.tensor("mine", (1, 4))
    graph.op(OP.FULLY_CONNECTED, [a, w, bias], [b], s.FullyConnectedOptionsT())
    graph.op(OP.FULLY_CONNECTED, [qa, qw, qbias], [qb], s.FullyConnectedOptionsT())
    graph.op(OP.CUSTOM, [b], [mine], custom="Mine")
    graph.t.operators[1].opcodeIndex = 0
    graph.io([a, qa], [mine, qb])
    maker.model.operatorCodes[2].version = 7
    return maker


FACE = Interface(
    "s", (IOTensor("x", 0), IOTensor("y", 4)), (IOTensor("out", 8), IOTensor("quantized", 5))
)


def test_description() -> None:
    maker = quantized()
    maker.metadata("min_runtime_version", b"1.5.0".ljust(16, b"\0"))
    assert describe(read_model(maker.pack())) == {
        "min_runtime": {"tensorflow": "1.14.0", "litert": "1.0.0"},
        "unknown": [],
        "needs": [
            {
                "op": "FULLY_CONNECTED", "version": 4, "since": "1.14.0", "count": 1,
                "why": "int8 activations and weights",
                "first": {"subgraph": 0, "op": 1, "layer": "dense"},
            },
            {
                "op": "FULLY_CONNECTED", "version": 1, "since": "1.5.0", "count": 1, "why": "",
                "first": {"subgraph": 0, "op": 0, "layer": "plain/MatMul;plain/BiasAdd"},
            },
        ],
        "written": "1.5.0",
        "wrong": [{"op": "FULLY_CONNECTED", "written": 1, "right": 4}],
    }  # fmt: skip


def test_released_files_are_right() -> None:
    """One code for two operations has the larger version; the custom operator keeps its own."""
    data = quantized().pack()
    out = rewrite(data, interfaces=(FACE,))
    after = read_model(out)
    assert [(op.name, op.version) for op in after.subgraphs[0].ops] == [
        ("FULLY_CONNECTED", 4), ("FULLY_CONNECTED", 4), ("Mine", 7),
    ]  # fmt: skip
    assert read_metadata(out) == {"min_runtime_version": b"1.14.0".ljust(16, b"\0")}
    found = describe(after)
    assert (found["wrong"], found["written"]) == ([], "1.14.0")
    assert rewrite(out, interfaces=(FACE,)) == out
    given_ = rewrite(data, interfaces=(FACE,), metadata={"min_runtime_version": b"mine"})
    assert read_metadata(given_) == {"min_runtime_version": b"mine"}


@pytest.mark.parametrize(
    ("name", "use", "written", "right", "minimum"),
    [
        ("ADD", "float32 float32", 1, 1, "1.5.0"),
        ("ADD", "float32 float32", 6, 1, "1.5.0"),  # too high: a runtime would refuse it in vain
        ("CONV_2D", "int8/4 int8/4 int32", 1, 3, "1.14.0"),
        # What the table of runtimes does not know stays, on either side.
        ("ADD", "float32 float32", 99, 99, None),
        ("DEQUANTIZE", "int8*1 -> float32", 4, 4, "2.2.0"),  # in the table, and no rule gives it
        ("LSTM", "int16 - int8", 1, 1, None),
        ("LSTM", "int16 - int8", 5, 5, None),
        ("STABLEHLO_CBRT", "float32", 1, 1, None),
    ],
)
def test_what_is_put_right(
    name: str, use: str, written: int, right: int, minimum: str | None
) -> None:
    maker = single(name, use, written)
    model = read_model(maker.pack())
    wrong = {} if right == written else {(name, written): right}
    assert corrections(model) == wrong
    before = describe(model)
    assert [(w["op"], w["written"]) for w in before["wrong"]] == list(wrong)
    if written > right or name == "DEQUANTIZE":
        assert before["min_runtime"]["tensorflow"] == first_runtime(name, written)
        assert "the file asks for it and needs only version" in before["needs"][0]["why"]
    graph = maker.model.subgraphs[0]
    face = Interface(
        "s",
        tuple(IOTensor(f"i{i}", int(t)) for i, t in enumerate(graph.inputs)),
        tuple(IOTensor(f"o{i}", int(t)) for i, t in enumerate(graph.outputs)),
    )
    after = read_model(rewrite(maker.pack(), interfaces=(face,)))
    assert after.subgraphs[0].ops[0].version == right
    assert describe(after)["min_runtime"]["tensorflow"] == minimum
    assert describe(after)["unknown"] == ([] if minimum else [{"op": name, "version": max(
        right, 5 if name == "LSTM" else 1)}])  # fmt: skip


@pytest.mark.parametrize(
    ("written", "kept"),
    [(b"", False), (b"1.5.0", False), (b"nonsense", False), (b"2.3.0", True), (b"1.14", True)],
)
def test_minimum_of_a_file_with_unknown_operators(written: bytes, kept: bool) -> None:
    """What is known is a floor: the file's own number stays where it is above it."""
    maker = quantized()
    graph = make.Graph(maker, maker.model.subgraphs[0], 0)
    graph.op(OP.STABLEHLO_CBRT, [0], [graph.tensor("root", (1, 4))])
    if written:
        maker.metadata("min_runtime_version", written)
    value = metadata_value(read_model(maker.pack()))
    assert value == (None if kept else b"1.14.0".ljust(16, b"\0"))


def test_an_adopted_file_is_told_of() -> None:
    assert version_warnings(read_model(quantized().pack())) == [
        "operators had versions that are not what they need, put right in what is released:"
        " FULLY_CONNECTED 1 to 4; the file needs TensorFlow 1.14.0 or LiteRT 1.0.0"
    ]
    assert version_warnings(read_model(single("ADD", "float32 float32").pack())) == []


def test_files_without_builtin_operators() -> None:
    maker = make.Maker()
    graph = maker.graph()
    graph.op(OP.CUSTOM, [graph.tensor("x", (1,))], [graph.tensor("y", (1,))], custom="FlexErf")
    model = read_model(maker.pack())
    found = describe(model)
    assert found["min_runtime"] == {"tensorflow": None, "litert": None}
    assert found["needs"] == found["unknown"] == found["wrong"] == []
    assert too_new(found, ("tensorflow", "1.5")) == []
    assert metadata_value(model) == bytes(16)  # as the converter writes it
    maker.metadata("min_runtime_version", bytes(16))
    assert describe(read_model(maker.pack()))["written"] is None


def test_messages() -> None:
    maker = single("FULLY_CONNECTED", "float32 int8/2*4 float32")
    found = describe(read_model(maker.pack()))
    setting = "experimental_disable_per_channel_quantization_for_dense_layers: true"
    for target, since, way in (
        (("tensorflow", "2.16"), "since TensorFlow 2.17.0", setting),
        (("tensorflow", "2.2"), "since TensorFlow 2.17.0", "quantize: int8"),
        (("tensorflow", "1.13"), "since TensorFlow 2.17.0", "quantize: none"),
    ):
        (line,) = too_new(found, target)
        assert line.startswith(
            "FULLY_CONNECTED version 12 at 't3': per-channel int8 weights, float32 activations; "
            + since
        )
        assert f"instead: {way}" in line.replace("converter: {", "")
    for target in (("tensorflow", "2.17"), ("tensorflow", "2.17.0"), ("litert", "1.0")):
        assert too_new(found, target) == []
    newer = describe(read_model(single("PAD", "bool/4").pack()))
    (line,) = too_new(newer, ("litert", "1.4.1"))
    assert line == "PAD version 5 at 't1': bool input; since LiteRT 2.0.2"
    with pytest.raises(ValueError, match="is no version"):
        too_new(found, ("tensorflow", "latest"))
    with pytest.raises(ValueError, match="is no numbering"):
        too_new(found, ("play-services", "16"))


def test_ways_out_depend_on_the_rest_of_the_file() -> None:
    """One scale for a weight is no way out beside a hybrid DEPTHWISE_CONV_2D: its kernel reads
    one for each channel."""
    conv = describe(read_model(single("CONV_2D", "float32/4 int8/4*4 float32").pack()))
    (alone,) = too_new(conv, ("tensorflow", "2.3"))
    assert "instead: per_channel: false" in alone
    depthwise = describe(
        read_model(single("DEPTHWISE_CONV_2D", "float32/4 int8/4*4 float32").pack())
    )
    both = {**conv, "needs": conv["needs"] + depthwise["needs"]}
    (beside,) = too_new(both, ("tensorflow", "2.3"))
    assert "instead: quantize: int8" in beside
    plain = describe(read_model(single("ADD", "int16 int16 ; potScaleInt16=0").pack()))
    assert "instead" not in too_new(plain, ("tensorflow", "2.3"))[0]  # not of a quantization


def judged(data: bytes) -> None:
    """All of it, for a file that may be anything."""
    model = read_model(data)
    found = describe(model)
    for target in (("tensorflow", "1.5"), ("litert", "1.0")):
        too_new(found, target)
    value = metadata_value(model)
    assert value is None or len(value) == 16
    corrections(model)


HOSTILE = [make.everything().pack(), quantized().pack(), single("MUL", "int8*1 int8*1").pack()]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(HOSTILE),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_hostile_files(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    with suppress(InvalidModel):
        judged(bytes(damaged))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(RULES)),
    st.lists(
        st.sampled_from(["-", "float32", "int8/2", "int8/2*4", "int4", "int16*1"]), max_size=4
    ),
    st.lists(st.sampled_from(["-", "float32", "int16*1"]), max_size=2),
)
def test_operators_with_anything_left_out(name: str, takes: list[str], gives: list[str]) -> None:
    """As few inputs and outputs as may be, of any type: no rule trips over it."""
    maker = make.Maker()
    graph = maker.graph()
    inputs, outputs = ([tensor(graph, text) for text in side] for side in (takes, gives))
    graph.op(getattr(OP, name), inputs, outputs)
    judged(maker.pack())


def test_operators_with_foreign_scales() -> None:
    """Scales of zero, infinity and NaN, and an axis that is not there."""
    for scale in (0.0, float("inf"), float("nan"), 1e-45, -1.0):
        for axis in (-1, 0, 99):
            maker = single("MUL", "int8*1 int8*1 -> int8*1")
            for one in maker.model.subgraphs[0].tensors:
                one.quantization.scale = np.array([scale] * 4, "<f4")
                one.quantization.zeroPoint = np.zeros(4, "<i8")
                one.quantization.quantizedDimension = axis
            judged(maker.pack())
            for name, use in (("QUANTIZE", "float32 -> int8/2*4"), ("DEQUANTIZE", "int8/2*4")):
                maker = single(name, use)
                for one in maker.model.subgraphs[0].tensors:
                    if one.quantization is not None:
                        one.quantization.quantizedDimension = axis
                judged(maker.pack())


def test_the_table_is_read_once() -> None:
    assert runtime_versions._tensorflow() is runtime_versions._tensorflow()
