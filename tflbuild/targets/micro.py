"""`micro`: LiteRT for Microcontrollers, with the kernels that an application adds to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tflbuild.manifest.model import Optimization, Target
from tflbuild.targets import ops
from tflbuild.tflite.layer_names import shown_layer
from tflbuild.verdict import FAIL, WARN, Finding

NAME = "micro"
SHOWN = 5  # problems that are told one by one
# Steps of an output that rounding in other kernels does not explain: 1/16 of the range of its type.
FAR = {"int8": 16, "uint8": 16, "int16": 4096}


def profile(target: Target) -> str:
    return "builtin"


def judge_evaluation(measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
    return list(ops.model_findings(measured, NAME))


def judge_file(measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
    found = list(ops.file_findings(measured))
    micro = measured["micro"]
    for problem in micro["problems"][:SHOWN]:
        place = f" at {shown_layer(problem['layer'])!r}" if problem["layer"] else ""
        remedy = f"; {problem['remedy']}" if problem["remedy"] else ""
        text = f"{problem['op'] or 'the file'}{place}: {problem['why']}{remedy}"
        found.append(Finding(FAIL, "micro.kernels", text))
    if (more := len(micro["problems"]) - SHOWN) > 0:
        found.append(Finding(FAIL, "micro.kernels", f"and {more} more of that kind"))
    ran = micro["run"]
    if ran is None:
        if not micro["problems"]:
            found.append(
                Finding(
                    WARN,
                    "micro.run",
                    "the arena is estimated and the file was not run: install the extra that runs"
                    " it, pip install 'tflbuild[micro]'",
                )
            )
        return found
    if ran["problem"]:
        found.append(Finding(FAIL, "micro.run", f"tflite-micro refuses it: {ran['problem']}"))
    if ran["unmeasured"]:
        found.append(Finding(WARN, "micro.run", f"it was not run: {ran['unmeasured']}"))
    return [*found, *_differences(ran["outputs"])]


def _differences(outputs: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Outputs of tflite-micro beside those of LiteRT's reference kernels, for the same inputs."""
    for output in outputs:
        if output["equal"]:
            continue
        name, steps = output["name"], output.get("largest_steps")
        if steps is None:
            error = output.get("largest_error")
            told = "NaN or infinity on one side" if error is None else f"{error:.3g} apart"
            level = FAIL if error is None else WARN
        else:
            told = f"{steps} quantization steps apart at most"
            level = FAIL if steps > FAR.get(output["dtype"], 0) else WARN
        yield Finding(
            level,
            "micro.outputs",
            f"output {name!r} of tflite-micro and of LiteRT are {told}, on seeded random inputs",
        )


def judge_floats(measured: Mapping[str, Any], optimization: Optimization) -> Sequence[Finding]:
    """An integer model for a microcontroller holds no float operators, unless it may."""
    floats = measured["float_ops"]
    settings = optimization.settings
    if optimization.quantize != "int8" or settings.get("float_ops") == "allow":
        return []
    if settings.get("keep_float"):  # a person has chosen them
        return []
    if optimization.io == "float32":  # the casts at its edges are what was asked for
        floats = {name: n for name, n in floats.items() if name not in ("QUANTIZE", "DEQUANTIZE")}
    if not floats:
        return []
    names = ", ".join(f"{name} (×{count})" for name, count in sorted(floats.items()))
    return [
        Finding(
            FAIL,
            "float_ops",
            f"operators that stayed float: {names}; write float_ops: allow"
            " for this optimization to ship them all the same",
        )
    ]
