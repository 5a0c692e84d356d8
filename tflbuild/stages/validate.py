"""validate: run the converted file on the test inputs and measure it against the source.

Output: `validate.json`: per output the parity numbers, pooled over all samples; the metrics of
the source and of the file; what ran it; its interface. It measures and does not judge: limits are
the gate's. A file whose kernels are nowhere here is not run, and `unvalidated` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tflbuild import data
from tflbuild.errors import TaskError
from tflbuild.kernels import Kernels
from tflbuild.limits import limit_action
from tflbuild.stages.base import Request
from tflbuild.validation import golden
from tflbuild.validation.file import File
from tflbuild.validation.parity import parity_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

VERSION = 5
MODULES: tuple[str, ...] = ("numpy", "ai_edge_litert")
ZYGOTE = "lite"

SATURATED = 0.01  # share of an input's test values outside its quantized range worth a warning


def run(request: Request) -> None:
    from tflbuild.tflite.interface import of_model
    from tflbuild.tflite.read import read_model

    limit_action(request.inputs.values())
    params = request.params
    interface, reference = request.read_json("interface.json"), request.read_json("reference.json")
    path, kernels = request.inputs["model.tflite"], Kernels.of(request)
    model = read_model(path.read_bytes())
    report: dict[str, Any] = {
        "signatures": [], "parity": [], "metrics": [], "golden": [],
        "state_tensors": 0, "warnings": [],
        "runner": kernels.runner(model), "unvalidated": kernels.missing(model),
        "interface": of_model(model),
    }  # fmt: skip
    for index, signature in enumerate(interface["signatures"]):
        name = signature["signature"]
        files = request.files(f"test.{index}")
        samples = data.load(params["test"][index], files, signature["inputs"], "test")
        described = {
            "signature": name,
            "samples": samples.count,
            "representative": samples.representative,
            "data": params["signatures"][index]["data"],
            "saturated": {},
        }
        report["signatures"].append(described)
        report["warnings"] += samples.warnings
        if report["unvalidated"]:
            continue
        scratch = request.out.parent / f"elsewhere.{index}"
        file = File(path, signature, params["sequences"][index], kernels, scratch)
        outputs, expected = file.run(samples), _expected(request, reference["signatures"][index])
        for output, source in expected.items():
            if source.shape != outputs[output].shape:
                raise TaskError(
                    f"output {output!r} has shape {list(outputs[output].shape)} over all"
                    f" samples, the source's has {list(source.shape)}"
                )
            numbers = parity_numbers(source, outputs[output])
            report["parity"].append({"signature": name, "output": output, **numbers})
        for metric in params["signatures"][index]["metrics"]:
            value = accuracy(metric, samples, expected, outputs)
            report["metrics"].append({"signature": name, "name": metric["name"], **value})
        described["saturated"] = saturated = file.saturated(samples)
        report["state_tensors"] += file.state_tensors
        report["warnings"] += _warnings(saturated, file)
    if not report["unvalidated"]:
        report["golden"] = golden.measure(request, interface, kernels)
    request.write_json("validate.json", report)


def _expected(request: Request, reference: Mapping[str, Any]) -> dict[str, Array]:
    """The source's outputs by name."""
    import numpy as np

    return {
        entry["name"]: np.load(request.inputs[entry["file"]], allow_pickle=False)
        for entry in reference["outputs"]
    }


def _warnings(saturated: Mapping[str, float], file: File) -> list[str]:
    found = [
        f"{share:.1%} of the test values of input {name!r} lie outside the range that the file's"
        " quantized input can hold: they saturate; calibrate on data that reaches as far"
        for name, share in saturated.items()
        if share > SATURATED
    ]
    if file.state_tensors and file.sequence is None:
        found.append(
            f"the file keeps {file.state_tensors} state tensors from call to call, where the"
            " source begins anew: call reset_all_variables() (C++: ResetVariableTensors) between"
            " calls; validate.sequence tells how state is to be tested"
        )
    return found


def accuracy(
    metric: Mapping[str, Any],
    samples: data.Samples,
    source: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> dict[str, Any]:
    """Share of samples whose class (arg max; one value: above 0.5) equals the label.

    Raises TaskError when labels or outputs do not allow it.
    """
    if samples.labels is None:
        raise TaskError("accuracy needs labels: data.test.labels")
    name = metric["output"]
    if name is None:
        if len(outputs) != 1:
            raise TaskError(
                f"accuracy: the model has outputs {sorted(outputs)}; name one:"
                " metrics.accuracy.output"
            )
        name = next(iter(outputs))
    if name not in outputs:
        raise TaskError(
            f"accuracy: no output {name!r}; the model has {sorted(outputs)}",
            key="validate.metrics.accuracy.output",
        )
    classes = outputs[name].reshape(len(outputs[name]), -1).shape[1]
    highest, lowest = int(samples.labels.max()), int(samples.labels.min())
    if lowest < 0 or highest >= max(classes, 2):
        raise TaskError(
            f"accuracy: labels reach from {lowest} to {highest}, output {name!r} has"
            f" {max(classes, 2)} classes"
        )
    if len(outputs[name]) != len(samples.labels):
        raise TaskError(
            f"accuracy: output {name!r} gives {len(outputs[name])} rows for"
            f" {len(samples.labels)} labels"
        )
    return {
        "output": name,
        "source": _share(source[name], samples.labels),
        "file": _share(outputs[name], samples.labels),
        "samples": len(samples.labels),
    }


def _share(scores: Array, labels: Array) -> float:
    flat = scores.reshape(len(scores), -1)
    classes: Array = flat[:, 0] > 0.5
    if flat.shape[1] > 1:
        classes = flat.argmax(axis=1)
    return float((classes == labels).mean())
