"""The TensorFlow Lite converter behind one function: a lowered form and settings in, bytes out.

Runs in a child of the `tf` zygote. Which of the converter's entries is used depends on the
lowered form (DESIGN section 6): the v1 frozen-graph entry where it is exact (2 to 3 times
faster), V2 for graphs of quantization-aware training (v1 quietly makes a float simulation of
them), the SavedModel entry for everything that cannot be frozen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tflbuild.errors import TaskError, TflbuildError
from tflbuild.evaluation.naming import jax_scope, of_chain
from tflbuild.stages.base import ConversionFailed
from tflbuild.tflite.kinds import CUSTOM, SELECT

# The documented meaning of ConverterErrorData.error_code (converter_error_data.proto).
ERROR_CODES = {
    0: "unspecified",
    1: "needs-select-ops",
    2: "needs-custom-ops",
    3: "control-flow-v1",
    4: "stateful-partitioned-call",
    200: "not-gpu-compatible",
}


@dataclass(frozen=True)
class ConverterProblem:
    """One operation that the converter refused."""

    code: str
    op: str  # "tf.Betainc"
    node: str  # the graph's node, "" when unknown
    message: str
    function: str = ""  # the tf.function of the user's that holds it, "" when unknown


@dataclass(frozen=True)
class Lowered:
    """What `lower` left: a frozen graph file or a SavedModel folder, and the interface."""

    path: Path
    interface: Mapping[str, Any]

    @property
    def signatures(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.interface["signatures"]
        return found

    @property
    def frozen(self) -> bool:
        return self.path.suffix == ".pb"

    @property
    def entry(self) -> str:
        """Which entry of the converter takes it."""
        if not self.frozen:
            return "saved_model"
        return "v2" if self.interface["quantization_aware"] else "v1"


def make_converter(lowered: Lowered) -> Any:
    """A converter for the lowered form, with metadata that would differ per run left out."""
    import tensorflow as tf

    if not lowered.frozen:
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(lowered.path), signature_keys=[s["key"] for s in lowered.signatures]
        )
        # A table or a variable of the source needs its initializer in the file.
        converter.experimental_enable_resource_variables = True
    elif lowered.entry == "v2":
        converter = _from_concrete_function(lowered)
    else:
        graph = read_graph(lowered.path)
        (interface,) = lowered.signatures
        converter = tf.compat.v1.lite.TFLiteConverter(
            graph,
            None,
            None,
            [
                (entry["tensor"].split(":")[0], [-1 if d is None else d for d in entry["shape"]])
                for entry in interface["inputs"]
            ],
            [entry["tensor"].split(":")[0] for entry in interface["outputs"]],
        )
    converter.exclude_conversion_metadata = True  # two object-API passes over the whole file
    return converter


def allow(converter: Any, profile: str, calibrated: bool) -> None:
    """The classes of ops that a profile takes, after everything else is set: to the sets of builtin
    ops that an optimization asks for, select TF ops are added. Not where the model is calibrated:
    it holds none then (`check_kernels`), and the set would let int16x8 leave in float what has no
    such kernel, in silence."""
    if profile in SELECT and not calibrated:
        import tensorflow as tf

        chosen = converter.target_spec.supported_ops
        converter.target_spec.supported_ops = {*chosen, tf.lite.OpsSet.SELECT_TF_OPS}
    if profile in CUSTOM:
        converter.allow_custom_ops = True


def layers(lowered: Lowered) -> dict[str, list[str]]:
    """Where the source has each op of TensorFlow, by node names; {} where it was not frozen."""
    found: dict[str, list[str]] = {}
    if lowered.frozen:
        for node in read_graph(lowered.path).node:
            found.setdefault(node.op, []).append(node.name)
    return found


def read_graph(path: Path) -> Any:
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    graph.ParseFromString(path.read_bytes())
    return graph


def _from_concrete_function(lowered: Lowered) -> Any:
    import tensorflow as tf

    graph = read_graph(lowered.path)
    (interface,) = lowered.signatures
    wrapped = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(graph, name=""), [])
    inputs = [wrapped.graph.get_tensor_by_name(e["tensor"]) for e in interface["inputs"]]
    outputs = [wrapped.graph.get_tensor_by_name(e["tensor"]) for e in interface["outputs"]]
    pruned = wrapped.prune(inputs, outputs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([pruned])
    converter._keep_alive = (wrapped, pruned)
    return converter


def run_converter(converter: Any) -> bytes:
    """Convert. Raises ConversionFailed, naming every operation that the converter refused."""
    from tensorflow.lite.python.convert_phase import ConverterError

    try:
        result: bytes = converter.convert()
    except ConverterError as error:
        raise ConversionFailed(describe(problems(error), str(error))) from error
    except (TflbuildError, MemoryError):  # from the calibration data
        raise
    except Exception as error:  # the converter and what it calls raise whatever they like
        raise ConversionFailed(f"the converter refused: {first_line(str(error))}") from error
    return bytes(result)


def problems(error: Any) -> list[ConverterProblem]:
    """The converter's own structured errors: all failing operations, no text parsed. Only where
    it has none (operations of StableHLO), what its diagnostics say."""
    found = []
    for data in getattr(error, "errors", []):
        node, function = of_chain([call.name for call in data.location.call if call.name])
        found.append(
            ConverterProblem(
                code=ERROR_CODES.get(data.error_code, f"code {data.error_code}"),
                op=data.operator.name,
                node=node,
                message=first_line(data.error_message),
                function=function,
            )
        )
    unique = dict.fromkeys(found or diagnostics(str(error)))
    return sorted(unique, key=lambda p: (p.op, p.node, p.code))


_DIAGNOSTIC = re.compile(
    r"(?:error: loc\((?P<place>.*?)\): |(?P<file>[^/\s:]+:\d+:\d+): error: )"
    r"(?P<text>'(?P<op>[a-z_]+\.\w+)' op .*)"
)
_QUOTED = re.compile(r'"([^"]*)"')


def diagnostics(text: str) -> list[ConverterProblem]:
    """What MLIR says of operations that it cannot take, and where: of JAX the innermost scope."""
    found = []
    for line in text.splitlines():
        if (match := _DIAGNOSTIC.search(line[:4000])) is None:
            continue
        names = _QUOTED.findall(match["place"] or "")
        scopes = [jax_scope(name) for name in names if "jit(" in name]
        node = scopes[0] if scopes else match["file"] or of_chain(names)[0]
        # Its serialized form is a dialect of its own: vhlo.sort_v1 is stablehlo.sort.
        op = re.sub(r"^vhlo\.(\w+?)(_op)?_v\d+$", r"stablehlo.\1", match["op"])
        found.append(ConverterProblem("unspecified", op, node, first_line(match["text"])))
    return found


def describe(found: list[ConverterProblem], text: str) -> str:
    """One line for a person."""
    if not found:
        return f"the converter refused: {first_line(text)}"
    parts = []
    for problem in found[:5]:
        where = f" at {problem.node!r}" if problem.node else ""
        parts.append(f"{problem.op or problem.message}{where} ({problem.code})")
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"the converter refused {', '.join(parts)}{more}"


def first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:300] if lines else "no reason given"


def bind(
    lowered: Lowered, data: bytes, interface_type: Callable[..., Any], io_type: Any
) -> tuple[Any, ...]:
    """The interfaces of a converted file: each signature key with its tensor index.

    On the SavedModel route the file's own signature says which tensor is which; on the frozen
    routes the converter keeps the positional order that it was given. Raises TaskError when a
    tensor of the source is not in the file.
    """
    from tflbuild.tflite.read import read_model

    model = read_model(data)
    interfaces = []
    for wanted in lowered.signatures:
        subgraph, pairs = _pairs(model, wanted, lowered.frozen)
        result = {}
        for side, bound in pairs.items():
            index = dict(bound)
            missing = [e["name"] for e in wanted[side] if e["name"] not in index]
            if missing or len(index) != len(wanted[side]):
                raise TaskError(
                    f"the converted file lost {side}: expected"
                    f" {[e['name'] for e in wanted[side]]}, it has {sorted(index)}"
                )
            result[side] = tuple(io_type(e["name"], index[e["name"]]) for e in wanted[side])
        name = wanted["signature"]
        interfaces.append(interface_type(name, result["inputs"], result["outputs"], subgraph))
    return tuple(interfaces)


def _pairs(
    model: Any, wanted: Mapping[str, Any], frozen: bool
) -> tuple[int, dict[str, list[tuple[str, int]]]]:
    """The subgraph of a signature, and the source's names with their tensors."""
    if frozen:
        main = model.subgraphs[0]
        return 0, {
            side: list(zip([e["name"] for e in wanted[side]], tensors, strict=False))
            for side, tensors in (("inputs", main.inputs), ("outputs", main.outputs))
        }
    signature = next((s for s in model.signatures if s.key == wanted["key"]), None)
    if signature is None:
        raise TaskError(f"the converted file has no signature {wanted['signature']!r}")
    return signature.subgraph, {
        side: [(names.get(key, key), index) for key, index in bound]
        for side, bound in (("inputs", signature.inputs), ("outputs", signature.outputs))
        for names in [{entry["tensor"]: entry["name"] for entry in wanted[side]}]
    }


def give_ranks(raw: bytes, lowered: Lowered, interfaces: Sequence[Any]) -> bytes:
    """The converter leaves what a hash table gives without a rank, which reads like a scalar:
    such outputs get the source's shape. Other files are returned as they are."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    file = schema.Model.GetRootAs(raw)
    missing = {}
    for wanted, interface in zip(lowered.signatures, interfaces, strict=True):
        shapes = {e["name"]: e["shape"] for e in wanted["outputs"] if e["shape"]}
        view = file.Subgraphs(interface.subgraph)
        missing.update({
            (interface.subgraph, io.tensor): shapes[io.name]
            for io in interface.outputs
            if io.name in shapes
            and not view.Tensors(io.tensor).ShapeLength()
            and not view.Tensors(io.tensor).HasRank()
        })  # fmt: skip
    if not missing:
        return raw
    model = schema.ModelT.InitFromObj(file)
    for (subgraph, index), shape in missing.items():
        tensor = model.subgraphs[subgraph].tensors[index]
        tensor.shape = [1 if size is None else size for size in shape]
        tensor.shapeSignature = [-1 if size is None else size for size in shape]
        tensor.hasRank = True
    builder = flatbuffers.Builder(len(raw) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
