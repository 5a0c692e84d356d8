"""What the converter makes of every case of `remedy_cases.py`: `remedies_child.py OUT.json`.

All in one process that shares nothing with the tests' workers. OUT gets a list of {op, bad, good,
error, shapes} (classes and names of what is no builtin; the largest difference of the numbers), and
under `types` and `shapes` what becomes of float32 builtins in other types and shapes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from remedy_cases import CASES, SHAPED, TYPED

from tflbuild.tflite import cost
from tflbuild.tflite.read import read_model


def foreign(function: Callable[..., Any], specs: Sequence[Any]) -> dict[str, list[str]]:
    """The ops that are no builtins, by class."""
    traced = tf.function(function, input_signature=specs, autograph=False)
    concrete = traced.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], traced)
    converter.target_spec.supported_ops = {
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    }
    converter.allow_custom_ops = True
    counts = cost.op_counts(read_model(converter.convert()))
    return {kind: list(names) for kind, names in counts.items() if kind != "builtin" and names}


def spec(array: Any) -> Any:
    return tf.TensorSpec(np.shape(array), tf.constant(array).dtype)


def main() -> None:
    found: dict[str, Any] = {"cases": [], "types": {}, "shapes": {}}
    for case in CASES:
        specs = [spec(array) for array in case.inputs]
        result: dict[str, Any] = {"op": case.op, "bad": foreign(case.bad, specs)}
        if case.good is not None:
            result["good"] = foreign(case.good, specs)
            if case.exact:
                tensors = [tf.constant(array) for array in case.inputs]
                bad, good = case.bad(*tensors), case.good(*tensors)
                result["shapes"] = [list(bad.shape), list(good.shape)]
                gap = np.abs(np.asarray(bad, np.float64) - np.asarray(good, np.float64))
                result["error"] = [float(np.max(gap)), case.tolerance]
        found["cases"].append(result)
    for op, function in TYPED.items():
        for dtype in ("float32", "float64", "float16"):
            kinds = foreign(function, [tf.TensorSpec((1, 4, 4, 2), dtype)])
            found["types"].setdefault(op, {})[dtype] = [
                name for names in kinds.values() for name in names
            ]
    for op, (function, shape) in SHAPED.items():
        kinds = foreign(function, [tf.TensorSpec(shape, tf.float32)])
        found["shapes"][op] = kinds.get("select", [])
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
