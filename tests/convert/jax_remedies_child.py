"""What the converter makes of the cases of `jax_remedy_cases.py`: `jax_remedies_child.py OUT.json`.

OUT gets a list of {op, bad, good, error}: what stops each function ([] for nothing), and the
largest difference of the numbers that the good file gives, run by LiteRT, from those of JAX.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from jax.experimental import jax2tf
from jax_remedy_cases import CASES

from tflbuild.conversion import Lowered
from tflbuild.sources.jax import _leave_out_places
from tflbuild.stages.evaluate import probe, unread_modules
from tflbuild.tflite import cost
from tflbuild.tflite.read import read_model


def converted(function: Callable[[Any], Any], x: Any) -> tuple[bytes | None, list[list[str]]]:
    """The file and what stops it, with places: as the stage does it."""

    def named(value: Any) -> Any:
        with jax.named_scope("head"):
            return function(value)

    traced = tf.function(
        jax2tf.convert(named, with_gradient=False),
        input_signature=[tf.TensorSpec(x.shape, tf.float32)],
        autograph=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(tf.Module(), folder, signatures={"serve": traced})
        lowered = Lowered(Path(folder), {"signatures": [{"key": "serve"}]})
        raw, found = probe(lowered)
        if raw is not None and (told := unread_modules(lowered, raw)):
            return None, [[problem.op, problem.node] for problem in told]
        return raw, [[problem.op, problem.node] for problem in found]


def foreign(data: bytes) -> list[list[str]]:
    counts = cost.op_counts(read_model(data))
    return [[name, kind] for kind, names in counts.items() if kind != "builtin" for name in names]


def main() -> None:
    _leave_out_places()
    results = []
    for case in CASES:
        raw, stops = converted(case.bad, case.x)
        result: dict[str, Any] = {"op": case.op, "bad": stops, "converts": raw is not None}
        if case.good is not None:
            raw, stops = converted(case.good, case.x)
            result["good"] = stops
            if raw is not None:
                result["good"] += foreign(raw)
                interpreter = Interpreter(model_content=raw)
                runner = interpreter.get_signature_runner("serve")
                (name,) = runner.get_input_details()
                (output,) = runner(**{name: case.x}).values()
                wanted = np.asarray(case.bad(case.x))
                assert wanted.shape == output.shape, (case.op, wanted.shape, output.shape)
                result["error"] = [float(np.max(np.abs(wanted - output))), case.tolerance]
        results.append(result)
    Path(sys.argv[1]).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
