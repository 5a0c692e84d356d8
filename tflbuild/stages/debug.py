"""debug: where a quantized file goes wrong, layer by layer. No task of a build; `tflbuild validate
--debug` asks for it.

Inputs: `model.tflite` (quantized), `float.tflite` (of evaluate), `interface.json`, test data.
Output: `layers.json`: by signature the inputs, the outputs and the layers with their errors. It
measures and does not judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tflbuild import data
from tflbuild.errors import TaskError
from tflbuild.kernels import Kernels
from tflbuild.limits import limit_action
from tflbuild.stages.base import Request

VERSION = 1
MODULES: tuple[str, ...] = ("numpy", "ai_edge_litert")
ZYGOTE = "lite"

SHOWN = 20  # names in a list of what could not be compared


def run(request: Request) -> None:
    from tflbuild.tflite.read import read_model

    limit_action(request.inputs.values())
    interface, kernels = request.read_json("interface.json"), Kernels.of(request)
    report: dict[str, Any] = {"signatures": [], "unrunnable": ""}
    for name, what in (("model.tflite", "the file"), ("float.tflite", "the float file")):
        model = read_model(request.inputs[name].read_bytes())
        problem = kernels.missing(model)
        if not problem and kernels.elsewhere(model):
            problem = (
                "its select TF ops run in the validator's Python, which keeps no inner tensors"
            )
        if problem:
            report["unrunnable"] = f"{what} does not run here: {problem}"
            break
    for index, signature in enumerate([] if report["unrunnable"] else interface["signatures"]):
        report["signatures"].append(_signature(request, kernels, index, signature))
    request.write_json("layers.json", report)


def _signature(
    request: Request, kernels: Kernels, index: int, signature: Mapping[str, Any]
) -> dict[str, Any]:
    from tflbuild.debugging.matching import match
    from tflbuild.debugging.measuring import Comparison, Whole, steps
    from tflbuild.debugging.naming import keep_name, shown_name

    params, name = request.params, signature["signature"]
    files = request.files(f"test.{index}")
    every = data.load(params["test"][index], files, signature["inputs"], "test")
    quantized = Whole(request.inputs["model.tflite"], name, kernels)
    reference = Whole(request.inputs["float.tflite"], name, kernels)
    sequence = params["sequences"][index]
    state = quantized.state or reference.state
    samples, which = chosen(every, signature["inputs"], params["samples"], in_order=state)
    matching = match(quantized.graph, reference.graph)
    comparison = Comparison(quantized, reference, matching)
    for begin, feed in steps(samples, signature["inputs"], sequence):
        if begin and state:
            quantized.begin()
            reference.begin()
        comparison.add(feed)
    found = comparison.told()
    for told, layer in zip(found["layers"], comparison.layers, strict=True):
        at = layer.reference
        graph = quantized.graph if at is None else reference.graph
        told["name"] = "" if at is None else keep_name(reference.model, reference.graph, at)
        own = shown_name(graph, layer.op if at is None else at)
        told["layer"] = own if told["name"] in ("", layer.op.name) else told["name"]
    return {
        "signature": name,
        "samples": {"used": samples.count, "of": every.count, "which": which},
        "representative": every.representative,
        "data": params["data"][index],
        "notes": _notes(quantized, comparison),
        **found,
    }


def chosen(
    samples: data.Samples, inputs: Any, wanted: int, *, in_order: bool
) -> tuple[data.Samples, str]:
    """Some of the samples, and which in words: evenly spaced ones, so that data sorted by class
    show more than one; the first ones where each depends on those before."""
    import numpy as np

    sizes = {spec["shape"][0] for spec in inputs if spec["shape"]} - {None}
    stacked = data.is_stacked(samples, inputs)
    batch = 1 if stacked or not sizes else min(sizes)
    count = min(samples.count, max(batch, wanted - wanted % batch))
    if count >= samples.count:
        return samples, "all"
    if in_order:
        taken, which = np.arange(count), "the first"
    else:
        taken, which = np.arange(count) * samples.count // count, "evenly spaced"
    arrays = {name: array[taken] for name, array in samples.arrays.items()}
    return replace(samples, arrays=arrays, count=count, labels=None), which


def _notes(quantized: Any, comparison: Any) -> list[str]:
    """What was left out, in words."""
    graph = quantized.graph
    notes = []
    lost = [layer for layer in comparison.layers if layer.reference is None]
    if lost:
        names = ", ".join(f"{x.op.name} {_tensor(graph, x.op)!r}" for x in lost[:SHOWN])
        notes.append(f"{len(lost)} operators match none of the float file: {names}")
    ordered = [i for i, how in comparison.matching.how.items() if how == "order"]
    if ordered:
        names = ", ".join(f"{graph.ops[i].name} {_tensor(graph, graph.ops[i])!r}"
                          for i in ordered[:SHOWN])  # fmt: skip
        notes.append(f"matched by their order, as their names differ: {names}")
    inner = [op for op in graph.ops if op.subgraphs]
    if inner:
        kinds = ", ".join(sorted({op.name for op in inner}))
        notes.append(
            f"the main subgraph alone was looked at: what {kinds} run is in other subgraphs"
        )
    alone = [x for x in comparison.layers if x.quantized and x.why and x.reference is not None]
    if alone:
        names = ", ".join(f"{x.op.name} {_tensor(graph, x.op)!r} ({x.why})" for x in alone[:SHOWN])
        notes.append(f"the own error of these is not known: {names}")
    return notes


def _tensor(graph: Any, op: Any) -> str:
    from tflbuild.tflite.effect import output_name

    return output_name(graph, op)


__all__ = ["MODULES", "VERSION", "ZYGOTE", "TaskError", "chosen", "run"]
