"""What the check says of every case of `micro_remedy_cases.py` as the converter makes it:
`micro_remedies_child.py OUT.json`.

OUT gets {cases: [{op, bad, good, int8, gap}], quantized: {name: {quantize: …}}}; what is said is a
list of [op, why, remedy], `gap` the largest difference of the two ways and what it may be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from micro_remedy_cases import CASES, IMAGE, QUANTIZED
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tflbuild.micro.check import problems
from tflbuild.tflite.read import read_model

BUILTINS = tf.lite.OpsSet.TFLITE_BUILTINS
INT8 = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
INT16X8 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def said(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    quantize: str = "none",
    dynamic: bool = False,
) -> list[list[str]]:
    specs = [
        tf.TensorSpec((None, *np.shape(a)[1:]) if dynamic else np.shape(a), np.asarray(a).dtype)
        for a in inputs
    ]
    traced = tf.function(lambda *a: function(*a), input_signature=specs, autograph=False)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])

    def samples() -> Iterator[list[Any]]:
        yield [np.asarray(a) for a in inputs]

    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize in ("int8", "int16x8"):
        converter.representative_dataset = samples
        kinds = [INT8 if quantize == "int8" else INT16X8, BUILTINS]
        converter.target_spec.supported_ops = kinds
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return [[p["op"], p["why"], p["remedy"]] for p in problems(read_model(converter.convert()))]


def main() -> None:
    cases = []
    for case in CASES:
        found: dict[str, Any] = {"op": case.op, "good": said(case.good, case.inputs)}
        if case.int8:
            found["int8"] = said(case.good, case.inputs, "int8")
        if case.bad is not None:
            found["bad"] = said(case.bad, case.inputs, dynamic=case.dynamic)
            if case.tolerance is not None:
                one, other = (np.asarray(f(*case.inputs), float) for f in (case.bad, case.good))
                assert one.shape == other.shape, case
                found["gap"] = [float(np.max(np.abs(one - other))), case.tolerance]
        cases.append(found)
    kinds = ("none", "int8", "int16x8", "float16", "dynamic_range")
    quantized = {
        name: {kind: said(function, [IMAGE], kind) for kind in kinds}
        for name, function in QUANTIZED.items()
    }
    Path(sys.argv[1]).write_text(json.dumps({"cases": cases, "quantized": quantized}))


if __name__ == "__main__":
    main()
