"""Recurrent layers: what the converter makes of them, and where it would fail.

Measured with TensorFlow 2.21 on LSTM, GRU and SimpleRNN of Keras 2 and 3 and on loops made by
hand: a float value that a loop carries through every turn unchanged (a recurrent layer reads
its whole input so) ends the calibration of a full-integer quantization by SIGSEGV; loops without
such a value calibrate. A batch that is dynamic where the layer was traced leaves list ops that
have no builtin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .cost import FLOATS
from .read import TfliteModel


def calibration_problem(model: TfliteModel) -> str:
    """Why full-integer calibration of a float file would crash; "" when it would not."""
    for graph in model.subgraphs:
        for op in graph.ops:
            if op.name != "WHILE":
                continue
            body = model.subgraphs[op.subgraphs[1]]
            for position, (before, after) in enumerate(
                zip(body.inputs, body.outputs, strict=False)
            ):
                tensor = body.tensors[before]
                if before == after and tensor.dtype in FLOATS:
                    name = graph.tensors[op.outputs[position]].name
                    return (
                        f"the loop at {name!r} carries a value through every turn unchanged, as"
                        " recurrent layers do, and the converter's calibration crashes on it: use"
                        " unroll=True in the layer (about 6 times the file), an LSTM of Keras 2"
                        " with a static batch (it becomes one fused op), or quantize:"
                        " dynamic_range or float16"
                    )
    return ""


def batch_advice(select_ops: Sequence[str], inputs: Sequence[Mapping[str, Any]]) -> str:
    """What to do about list ops that a recurrent layer left; "" where there are none.

    Args:
        select_ops: names of the select ops in the file.
        inputs: every input of the source: `name` and `shape`.
    """
    if not any(name.startswith("FlexTensorList") for name in select_ops):
        return ""
    for entry in inputs:
        shape = entry["shape"]
        if shape and shape[0] is None:
            pinned = [1, *(size or "N" for size in shape[1:])]
            return (
                "a recurrent layer with a dynamic batch needs them: pin the batch,"
                f" inputs: {{{entry['name']}: {{shape: {pinned}}}}}".replace("'N'", "N")
            )
    return (
        "a recurrent layer was traced with a dynamic batch, and a pin comes too late for it: pin"
        " the batch where the model is exported (model.export drops it: give TensorSpecs), or"
        " build the .keras or .h5 file with `inputs`, or use unroll=True in the layer"
    )
