"""reference: the outputs of the source, run by its own framework, on the test inputs.

Outputs: `reference.json` (what the arrays are) and `output.<n>.npy`, little-endian, one for each
output in positional order, samples along the first axis. A wrong lowering cannot agree with
itself, because nothing here is lowered or converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tflbuild import data
from tflbuild.errors import TaskError, one_line
from tflbuild.sources.base import Signature
from tflbuild.stages import lower
from tflbuild.stages.base import Request

VERSION = 2
MODULES: tuple[str, ...] = ("tensorflow", "numpy")
ZYGOTE = "tf"

BATCH = 64  # samples at once where each is computed by itself


def run(request: Request) -> None:
    import numpy as np

    params = request.params
    loaded = lower.load_source(request)
    (signature,) = loaded.signatures
    inputs, outputs = lower.positional_order(signature, params)
    pinned = lower.pinned_specs(signature, params["pins"])
    described = [
        {"name": name, "dtype": pinned[name][1], "shape": list(pinned[name][0])} for name in inputs
    ]
    samples = data.load(params["test"], request.files("test"), described, "test")
    compute, size = computing(signature, inputs, outputs, pinned)
    collected: list[list[Any]] = [[] for _ in outputs]
    for batch in data.batches(samples, described, size):
        for rows, array in zip(collected, compute(batch), strict=True):
            rows.append(array)
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


def computing(
    signature: Signature,
    inputs: Sequence[str],
    outputs: Sequence[str],
    pinned: Mapping[str, tuple[Any, str]],
) -> tuple[Callable[[Mapping[str, Any]], list[Any]], int]:
    """How the source's own framework computes a batch, and how many samples at once."""
    import numpy as np
    import tensorflow as tf

    if signature.run is not None:
        run = signature.run

        def own(batch: Mapping[str, Any]) -> list[Any]:
            result = run({name: np.asarray(batch[name], pinned[name][1]) for name in inputs})
            return [result[name] for name in outputs]

        return own, 1

    # The source itself is traced with its own shapes; only the data follows the pins.
    free = {spec.name: (spec.shape, spec.dtype) for spec in signature.inputs}
    function = lower.trace(signature, list(inputs), list(outputs), free)
    # Else one at a time, as the file is run: state advances by calls, and an output that does
    # not grow with the batch is one value for each call.
    apart = all(t.shape.rank and t.shape[0] is None for t in function.outputs)

    def traced(batch: Mapping[str, Any]) -> list[Any]:
        arguments = [tf.constant(batch[name], pinned[name][1]) for name in inputs]
        try:
            return [tensor.numpy() for tensor in function(*arguments)]
        except tf.errors.OpError as error:
            # What lies between is the place in a graph that nobody wrote.
            said = str(error.message).split("<stack traces unavailable>")[-1].split("[[")[0]
            text = one_line(said)
            raise TaskError(f"the source itself fails on the test data: {text}") from error

    return traced, BATCH if apart and not lower.keeps_state(function) else 1


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
