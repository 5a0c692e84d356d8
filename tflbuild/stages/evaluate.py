"""evaluate: what the model is made of and whether it can be converted, before it is converted.

One probing conversion allows select and custom ops, so that every op gets a class; a second one
with builtins alone runs only when its message is needed. Outputs: `evaluate.json`, and unless the
model is not convertible at all `float.tflite` and `calibration.json` (why int8 and int16x8
would crash or be wrong, if they would).
"""

from __future__ import annotations

from typing import Any

from tflbuild.conversion import (
    ConverterProblem,
    Lowered,
    describe,
    first_line,
    make_converter,
    problems,
)
from tflbuild.stages.base import ConversionFailed, Request
from tflbuild.stages.convert import finish, open_lowered

VERSION = 4
MODULES: tuple[str, ...] = ("tensorflow", "numpy", "flatbuffers", "ai_edge_litert")
ZYGOTE = "tf"


def run(request: Request) -> None:
    from tflbuild.tflite.foreign import foreign_ops
    from tflbuild.tflite.read import read_model
    from tflbuild.tflite.recurrent import batch_advice, calibration

    lowered = open_lowered(request)
    raw, found = probe(lowered)
    if raw is None and lowered.frozen:
        raise ConversionFailed(describe(found, ""))  # the SavedModel route may still do it
    report: dict[str, Any] = {
        "verdict": "not convertible",
        "problem": "",
        "problems": [],
        "ops": {"builtin": {}, "select": {}, "custom": {}},
        "dynamic_inputs": [
            {"signature": signature["signature"], "name": entry["name"], "shape": entry["shape"]}
            for signature in lowered.interface["signatures"]
            for entry in signature["inputs"]
            if entry["shape"] is None or None in entry["shape"]
        ],
        "quantization_aware": lowered.interface["quantization_aware"],
        "advice": "",
    }
    if raw is None:
        report["problem"] = describe(found, "")
        report["problems"] = [vars(problem) for problem in found]
    else:
        data = finish(lowered, raw)
        (request.out / "float.tflite").write_bytes(data)
        report.update(measure(data))
        report["advice"] = batch_advice(
            list(report["ops"]["select"]),
            [entry for signature in lowered.signatures for entry in signature["inputs"]],
        )
        model = read_model(data)
        told = {**calibration(model), "foreign": foreign_ops(model)}
        request.write_json("calibration.json", told)
        if report["verdict"] != "compatible":
            _, found = probe(lowered, builtins_only=True)
            report["problem"] = describe(found, "") if found else ""
            report["problems"] = [vars(problem) for problem in found]
    request.write_json("evaluate.json", report)


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


def measure(data: bytes) -> dict[str, Any]:
    """Ops by class, data sizes (bytes), MACs, parameters and dynamic shapes of a float file."""
    from tflbuild.tflite import cost
    from tflbuild.tflite.read import read_model

    model = read_model(data)
    ops = {kind: dict(counts) for kind, counts in cost.op_counts(model).items()}
    if ops["custom"]:
        verdict = "needs custom ops"
    else:
        verdict = "needs select ops" if ops["select"] else "compatible"
    macs, sizes, dynamic = cost.macs(model), cost.data_sizes(model), cost.dynamic_shapes(model)
    return {
        "verdict": verdict,
        "ops": ops,
        "op_count": sum(sum(counts.values()) for counts in ops.values()),
        "params": cost.params(model),
        "macs": macs.total,
        "macs_uncounted": macs.uncounted,
        "macs_assume_batch_1": macs.dynamic,
        "loops": macs.loops,
        "size": len(data),
        "weights_bytes": sizes.weights_bytes,
        "input_bytes": sizes.input_bytes,
        "output_bytes": sizes.output_bytes,
        "dynamic_tensors": dynamic.inner,
        "subgraphs": len(model.subgraphs),
    }
