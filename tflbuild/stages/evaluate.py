"""evaluate: what the model is made of and whether it can be converted, before it is converted.

One probing conversion allows select and custom ops, so that every op gets a class; a second one
with builtins alone runs only when its message is needed. Outputs: `evaluate.json`, and unless the
model is not convertible at all `float.tflite` and `calibration.json` (why int8 and int16x8
would crash or be wrong, if they would). docs/EVALUATION.md says what each number is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tflbuild.conversion import (
    ConverterProblem,
    Lowered,
    describe,
    first_line,
    make_converter,
    problems,
)
from tflbuild.evaluation.naming import Names, Place
from tflbuild.stages.base import ConversionFailed, Request
from tflbuild.stages.convert import finish, open_lowered

if TYPE_CHECKING:
    from tflbuild.tflite.read import TfliteModel

VERSION = 5
MODULES: tuple[str, ...] = ("tensorflow", "numpy", "flatbuffers", "ai_edge_litert")
ZYGOTE = "tf"


def run(request: Request) -> None:
    from tflbuild.evaluation.places import names_of
    from tflbuild.tflite.foreign import foreign_ops
    from tflbuild.tflite.read import read_model
    from tflbuild.tflite.recurrent import batch_advice, calibration

    lowered = open_lowered(request)
    raw, found = probe(lowered)
    if raw is None and lowered.frozen:
        raise ConversionFailed(describe(found, ""))  # the SavedModel route may still do it
    names = names_of(lowered, noted(request))
    report = empty(lowered.interface)
    if raw is None:
        report["verdict"] = "not convertible"
        report["not_builtin"] = unsupported(None, None, found, names)
    else:
        data = finish(lowered, raw)
        model = read_model(data)
        if any(op.kind != "builtin" for graph in model.subgraphs for op in graph.ops):
            other, found = probe(lowered, builtins_only=True)
            if other is not None:  # select ops were the converter's choice, not a need
                raw, data = other, finish(lowered, other)
                model = read_model(data)
        (request.out / "float.tflite").write_bytes(data)
        place_of = Places(read_model(raw), names)
        report["not_builtin"] = unsupported(model, place_of, found, names)
        report.update(measure(data, model, place_of))
        report["advice"] = batch_advice(
            list(report["ops"]["select"]),
            [entry for signature in lowered.signatures for entry in signature["inputs"]],
        )
        told = {**calibration(model), "foreign": foreign_ops(model)}
        request.write_json("calibration.json", told)
    report["problem"] = describe(found, "") if found else ""
    report["problems"] = [vars(problem) for problem in found]
    cut(report)
    request.write_json("evaluate.json", report)


def noted(request: Request) -> dict[str, Any]:
    """What `lower` noted of names; on a retry, what it noted in this process."""
    path = request.inputs.get("names.json")
    if request.retry:
        path = request.out.parent / "retry" / "names.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path and path.exists() else {}
    return found


def empty(interface: Any) -> dict[str, Any]:
    """What is known of a model that nobody has converted."""
    return {
        "verdict": "compatible",
        "problem": "",
        "problems": [],
        "ops": {"builtin": {}, "select": {}, "custom": {}},
        "not_builtin": [],
        "dynamic_inputs": [
            {"signature": signature["signature"], "name": entry["name"], "shape": entry["shape"]}
            for signature in interface["signatures"]
            for entry in signature["inputs"]
            if entry["shape"] is None or None in entry["shape"]
        ],
        "quantization_aware": interface["quantization_aware"],
        "advice": "",
    }


def probe(
    lowered: Lowered, builtins_only: bool = False
) -> tuple[bytes | None, list[ConverterProblem]]:
    """Convert to float; the bytes, or None and what the converter refused."""
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    try:
        converter = make_converter(lowered)
        if not builtins_only:
            converter.target_spec.supported_ops = {
                tf.lite.OpsSet.TFLITE_BUILTINS,
                tf.lite.OpsSet.SELECT_TF_OPS,
            }
            converter.allow_custom_ops = True
        return bytes(converter.convert()), []
    except ConverterError as error:
        found = problems(error)
        text = str(error)
    except MemoryError:
        raise
    except Exception as error:  # the converter and what it calls raise whatever they like
        found, text = [], str(error)
    return None, found or [ConverterProblem("unspecified", "", "", first_line(text))]


class Places:
    """Where each operator of the converter's file comes from, by the tensors that it writes.

    `model` has the converter's own tensor names, which those of the released file are not."""

    def __init__(self, model: TfliteModel, names: Names) -> None:
        self._model, self._names = model, names
        self.known: dict[tuple[int, int], Place] = {}

    def __call__(self, subgraph: int, op: int) -> Place:
        if (subgraph, op) not in self.known:
            graph = self._model.subgraphs[subgraph]
            outputs = [graph.tensors[i].name for i in graph.ops[op].outputs if i >= 0]
            self.known[subgraph, op] = self._names.place(outputs[0] if outputs else "")
        return self.known[subgraph, op]


def measure(data: bytes, model: TfliteModel, place_of: Places) -> dict[str, Any]:
    """Ops by class, data sizes (bytes), MACs, memory traffic, parameters, types, shapes, control
    flow and state of a float file, and the layers that cost most."""
    from tflbuild.delegates import table
    from tflbuild.micro import check
    from tflbuild.tflite import cost, layers, memory, versions

    def name_of(subgraph: int, op: int) -> str:
        return place_of(subgraph, op).name

    ops: dict[str, dict[str, int]] = {"builtin": {}, "select": {}, "custom": {}}
    for kind, counts in cost.op_counts(model).items():
        for name, count in counts.items():
            ops[op_class(kind, name)][name] = count
    if ops["custom"]:
        verdict = "needs custom ops"
    else:
        verdict = "needs select ops" if ops["select"] else "compatible"
    macs, sizes, shapes = cost.macs(model), cost.data_sizes(model), cost.dynamic_shapes(model)
    costs = layers.costs(model)
    traffic = costs.by_subgraph[macs.subgraph]
    rows, more = layers.table(model, costs, name_of)
    dynamic, count = layers.dynamic_tensors(model, name_of)
    return {
        "verdict": verdict,
        "ops": ops,
        "op_count": sum(sum(counts.values()) for counts in ops.values()),
        "params": cost.params(model),
        "macs": macs.total,
        "macs_signature": macs.signature,
        "macs_uncounted": macs.uncounted,
        "macs_assume_batch_1": macs.dynamic,
        "loops": macs.loops,
        "size": len(data),
        "weights_bytes": sizes.weights_bytes,
        "input_bytes": sizes.input_bytes,
        "output_bytes": sizes.output_bytes,
        "io_signature": sizes.signature,
        "traffic_bytes": costs.traffic,
        "traffic_signature": costs.signature,
        "macs_per_byte": round(macs.total / traffic, 4) if traffic else 0.0,
        "depth": costs.depth,
        "dtypes": layers.dtypes(model),
        "control_flow": layers.control_flow(model),
        "state": layers.state(model),
        "dynamic_tensors": shapes.inner,
        "dynamic": {"count": count, "first": dynamic},
        "subgraphs": len(model.subgraphs),
        "memory": memory.describe(model),
        "versions": versions.describe(model),
        "delegates": table.measure(model, data),
        "layers": rows,
        "layers_left_out": more,
        "micro": check.problems(model, before_conversion=True),
    }


def op_class(kind: str, name: str) -> str:
    """builtin, select or custom: a name that begins with Flex and that the Flex delegate does not
    have needs a kernel of the user's."""
    from tflbuild.tflite.flex_ops import is_flex_op

    return "custom" if kind == "select" and not is_flex_op(name) else kind


def unsupported(
    model: TfliteModel | None,
    place_of: Places | None,
    found: Sequence[ConverterProblem],
    names: Names,
) -> list[dict[str, Any]]:
    """Every op that is no builtin, with its class and place: those of the file, with what the
    converter said of them when it was asked for builtins alone, and what only it named."""
    said = {(problem.op.removeprefix("tf."), problem.node): problem for problem in found}
    codes = {name: problem.code for (name, _), problem in said.items()}
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for graph in model.subgraphs if model else ():
        for op in graph.ops:
            if op.kind == "builtin":
                continue
            assert place_of is not None
            kind, name = op_class(op.kind, op.name), op.name
            name = name.removeprefix("Flex") if op.kind == "select" else name
            place = place_of(graph.index, op.index)
            problem = said.pop((name, place.node), None)
            if problem and problem.function:
                place = names.place(place.node, problem.function)
                place_of.known[graph.index, op.index] = place
            used = [graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
            row = rows.setdefault(
                (kind, name, place.name),
                {
                    "op": name, "class": kind, "name": place.name, "node": place.node,
                    "function": place.function, "count": 0,
                    "dtypes": sorted({tensor.dtype for tensor in used}),
                    "rank": max((len(tensor.shape) for tensor in used), default=0),
                    "code": codes.get(name, ""),
                    "message": "",
                },
            )  # fmt: skip
            row["count"] += 1
    known = {name for _, name, _ in rows}
    for (name, node), problem in said.items():
        if model is not None and (name in known or not name):
            continue  # one that the file has under another name of its place
        place = names.place(node, problem.function)
        kind = "not convertible"
        if model is not None:
            kind = "custom" if problem.code == "needs-custom-ops" else "select"
        rows[kind, name, place.name or node] = {
            "op": name, "class": kind, "name": place.name, "node": place.node or node,
            "function": place.function, "count": 1, "dtypes": [], "rank": 0,
            "code": problem.code, "message": problem.message,
        }  # fmt: skip
    return [row for _, row in sorted(rows.items())]


def cut(report: dict[str, Any]) -> None:
    """No list grows with the model without bound: `report` keeps the first, and their number."""
    from tflbuild.tflite.layers import LIMIT

    for key in ("not_builtin", "problems"):
        report[f"{key}_count"] = len(report[key])
        del report[key][LIMIT:]
