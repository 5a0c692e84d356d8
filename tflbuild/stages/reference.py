"""reference: the outputs of the source, run by its own framework, on the test inputs.

Outputs: `reference.json` (what the arrays are) and `output.<n>.npy`, little-endian, one for each
output in positional order, samples along the first axis. A wrong lowering cannot agree with
itself, because nothing here is lowered or converted.
"""

from __future__ import annotations

from typing import Any

from tflbuild import data
from tflbuild.stages import lower
from tflbuild.stages.base import Request

VERSION = 1
MODULES: tuple[str, ...] = ("tensorflow", "numpy")
ZYGOTE = "tf"

BATCH = 64  # samples at once where the batch dimension is dynamic


def run(request: Request) -> None:
    import numpy as np
    import tensorflow as tf

    params = request.params
    loaded = lower.load_source(request)
    inputs, outputs = lower.positional_order(loaded, params)
    pinned = lower.pinned_specs(loaded, params["pins"])
    described = [
        {"name": name, "dtype": pinned[name][1], "shape": list(pinned[name][0])}
        for name in inputs
    ]
    samples = data.load(params["test"], request.files("test"), described, "test")
    # The source itself is traced with its own shapes; only the data follows the pins.
    free = {spec.name: (spec.shape, spec.dtype) for spec in loaded.inputs}
    function = lower.trace(loaded, inputs, outputs, free)
    collected: list[list[Any]] = [[] for _ in outputs]
    for batch in data.batches(samples, described, BATCH):
        arguments = [tf.constant(batch[name]) for name in inputs]
        for rows, tensor in zip(collected, function(*arguments), strict=True):
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
    """All batches of one output as one array, samples along the first axis."""
    import numpy as np

    if stacked or rows[0].ndim == 0:
        return np.stack(rows)
    return np.concatenate(rows)


def canonical(array: Any) -> Any:
    """Little-endian and C-contiguous, so that equal values are equal bytes."""
    import numpy as np

    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
