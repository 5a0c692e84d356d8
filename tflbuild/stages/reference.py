"""reference: the outputs of the source, run by its own framework, on the test inputs.

Outputs: `reference.json` (what the arrays are) and `output.<n>.npy`, little-endian, one for each
output in positional order, samples along the first axis. A wrong lowering cannot agree with
itself, because nothing here is lowered or converted.
"""

from __future__ import annotations

from typing import Any

from tflbuild import data
from tflbuild.errors import TaskError, one_line
from tflbuild.stages import lower
from tflbuild.stages.base import Request

VERSION = 2
MODULES: tuple[str, ...] = ("tensorflow", "numpy")
ZYGOTE = "tf"

BATCH = 64  # samples at once where each is computed by itself


def run(request: Request) -> None:
    import numpy as np
    import tensorflow as tf

    params = request.params
    loaded = lower.load_source(request)
    (signature,) = loaded.signatures
    inputs, outputs = lower.positional_order(signature, params)
    pinned = lower.pinned_specs(signature, params["pins"])
    described = [
        {"name": name, "dtype": pinned[name][1], "shape": list(pinned[name][0])} for name in inputs
    ]
    samples = data.load(params["test"], request.files("test"), described, "test")
    # The source itself is traced with its own shapes; only the data follows the pins.
    free = {spec.name: (spec.shape, spec.dtype) for spec in signature.inputs}
    function = lower.trace(signature, inputs, outputs, free)
    # Else one at a time, as the file is run: state advances by calls, and an output that does
    # not grow with the batch is one value for each call.
    apart = all(t.shape.rank and t.shape[0] is None for t in function.outputs)
    size = BATCH if apart and not lower.keeps_state(function) else 1
    collected: list[list[Any]] = [[] for _ in outputs]
    for batch in data.batches(samples, described, size):
        arguments = [tf.constant(batch[name], pinned[name][1]) for name in inputs]
        try:
            results = function(*arguments)
        except tf.errors.OpError as error:
            # What lies between is the place in a graph that nobody wrote.
            said = str(error.message).split("<stack traces unavailable>")[-1].split("[[")[0]
            text = one_line(said)
            raise TaskError(f"the source itself fails on the test data: {text}") from error
        for rows, tensor in zip(collected, results, strict=True):
            rows.append(tensor.numpy())
    stacked = data.is_stacked(samples, described)
    entries = []
    for index, (name, rows) in enumerate(zip(outputs, collected, strict=True)):
        array = join(rows, stacked)
        np.save(request.out / f"output.{index}.npy", canonical(array), allow_pickle=False)
        entries.append({"name": name, "dtype": str(array.dtype), "shape": list(array.shape)})
    request.write_json(
        "reference.json",
        {
            "outputs": entries,
            "samples": samples.count,
            "representative": samples.representative,
            "input_ranges": samples.ranges(),
            "warnings": samples.warnings,
        },
    )


def join(rows: list[Any], stacked: bool) -> Any:
    """All batches of one output as one array, samples along the first axis; strings as bytes."""
    import numpy as np

    rows = [np.asarray(row) for row in rows]
    shapes = {row.shape if stacked or not row.ndim else row.shape[1:] for row in rows}
    if len(shapes) > 1:
        raise TaskError(
            f"an output's shape depends on the sample ({sorted(shapes)[:3]}): pin the inputs'"
            " shapes so that it does not, or remove the output"
        )
    array = np.stack(rows) if stacked or not rows[0].ndim else np.concatenate(rows)
    return array.astype(np.bytes_) if array.dtype.kind in "OU" else array


def canonical(array: Any) -> Any:
    """Little-endian and C-contiguous, so that equal values are equal bytes."""
    import numpy as np

    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
