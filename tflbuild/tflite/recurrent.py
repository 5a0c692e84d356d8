"""Recurrent layers: what the converter makes of them, and where it would fail.

Measured with TensorFlow 2.21 on LSTM, GRU and SimpleRNN of Keras 2 and 3, `scan` and `while_loop`
of JAX, and on loops made by hand:

- a float value that a loop carries through every turn unchanged (a recurrent layer reads its whole
  input so) ends the calibration of a full-integer quantization by SIGSEGV; loops without such a
  value calibrate;
- the quantizer of int16x8 fails on every loop or writes a file that is not sound, makes of a fused
  LSTM one that the interpreter refuses, and quantizes twice what two signatures share (6 dB);
- the int8 of a fused LSTM is noise from about 16 units on (-10 dB), and sound by
  ai-edge-quantizer (24 dB), whose calibration in turn reads no tensor inside a loop.

A batch that is dynamic where the layer was traced leaves list ops that have no builtin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .cost import FLOATS
from .read import Op, Subgraph, TfliteModel
from .weights import MIN_ELEMENTS, weights_by_subgraph, weights_of

FUSED = frozenset({"UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "LSTM"})
_UNROLL = (
    "unroll it (unroll=True in a layer of Keras, lax.scan(..., unroll=STEPS) in JAX; about 6 times"
    " the file)"
)


def _float(model: TfliteModel) -> str:
    """The ways that need no calibration, without those that would quantize nothing."""
    large = any(weight.tensor.elements >= MIN_ELEMENTS for weight in weights_of(model))
    return "quantize: " + ("dynamic_range or float16" if large else "float16")


def instead(model: TfliteModel, quantizer: str) -> str:
    """What to write where a model has no weight that could be quantized alone."""
    if quantizer == "tensorflow":
        if calibration_problem(model):
            return "quantize: float16 or none (int8 cannot calibrate the model's loop)"
        if any(op.name in FUSED for graph in model.subgraphs for op in graph.ops):
            return "quantizer: ai-edge, or quantize: float16 or none"
    elif quantizer_advice(model):
        return "quantize: float16 or none (int8 cannot calibrate the model's loop)"
    return "quantize: int8, float16 or none"


def loops(model: TfliteModel) -> list[tuple[Subgraph, Op]]:
    """The WHILE operators, with the subgraph that holds them."""
    return [(graph, op) for graph in model.subgraphs for op in graph.ops if op.name == "WHILE"]


def calibration_problem(model: TfliteModel) -> str:
    """Why full-integer calibration of a float file would crash; "" when it would not."""
    for graph, op in loops(model):
        body = model.subgraphs[op.subgraphs[1]]
        for position, (before, after) in enumerate(zip(body.inputs, body.outputs, strict=False)):
            if before == after and body.tensors[before].dtype in FLOATS:
                name = graph.tensors[op.outputs[position]].name
                return (
                    f"the loop at {name!r} carries a value through every turn unchanged, as"
                    " recurrent layers do, and the converter's calibration crashes on it:"
                    f" {_UNROLL}, take an LSTM of Keras 2 with a static batch (it becomes one fused"
                    f" op) and quantizer: ai-edge, or {_float(model)}"
                )
    return ""


def first_loop(model: TfliteModel) -> str | None:
    """What a file calls its first loop, by its first output; None without loops."""
    for graph, op in loops(model):
        return graph.tensors[op.outputs[0]].name if op.outputs else ""
    return None


def calibration(model: TfliteModel) -> dict[str, str]:
    """By `quantize`: why TensorFlow's calibration and quantization would fail; "" where not."""
    crash = calibration_problem(model)
    return {"int8": crash, "int16x8": crash or int16_problem(model)}


def int16_problem(model: TfliteModel) -> str:
    """Why TensorFlow's int16x8 of a float file would fail or be wrong; "" where it would not."""
    if (name := first_loop(model)) is not None:
        return (
            f"TensorFlow's 16-bit quantizer fails on loops, such as the one at {name!r}:"
            f" {_UNROLL}, or {_float(model)}"
        )
    for graph in model.subgraphs:
        for op in graph.ops:
            if op.name in FUSED:
                return (
                    f"TensorFlow's 16-bit quantizer makes a fused LSTM ({op.name}) that no"
                    " interpreter runs: write quantizer: ai-edge"
                )
    for name, graphs in weights_by_subgraph(model).values():
        if len(graphs) > 1:
            return (
                f"the weight {name!r} is shared by {len(graphs)} subgraphs, and TensorFlow's 16-bit"
                " quantizer quantizes it twice: write quantizer: ai-edge, or one model for each"
                " signature"
            )
    return ""


def lstm_warning(model: TfliteModel, quantize: str) -> str:
    """What to know of a file that TensorFlow quantized; "" where there is nothing."""
    if quantize == "int8" and any(op.name in FUSED for g in model.subgraphs for op in g.ops):
        return (
            "TensorFlow's int8 of a fused LSTM is often noise, from about 16 units on: if the SQNR"
            " is low, write quantizer: ai-edge"
        )
    return ""


def quantizer_advice(model: TfliteModel) -> str:
    """What to do where ai-edge-quantizer cannot calibrate a file; "" where nothing is known."""
    if (name := first_loop(model)) is not None:
        return (
            f"quantizer: ai-edge cannot calibrate the loop at {name!r}, whose inner tensors it does"
            f" not see: {_UNROLL}, or quantize: weight_only, dynamic_range or float16"
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
