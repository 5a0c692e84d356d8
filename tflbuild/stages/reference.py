"""reference: the outputs of the source, run by its own framework, on the test inputs.

Outputs: `reference.json` (what the arrays are) and `output.<n>.npy`, little-endian, one for each
output of each signature in positional order, samples along the first axis. A wrong lowering
cannot agree with itself, because nothing here is lowered or converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tflbuild import data
from tflbuild.declared import declared, found_in
from tflbuild.errors import TaskError, one_line
from tflbuild.sources.base import Signature
from tflbuild.stages import lower
from tflbuild.stages.base import Request

VERSION = 3
MODULES: tuple[str, ...] = ("tensorflow", "numpy")
ZYGOTE = "tf"

BATCH = 64  # samples at once where each is computed by itself


def run(request: Request) -> None:
    import numpy as np

    params = request.params
    loaded = lower.load_source(request)
    described: list[dict[str, Any]] = []
    count = 0
    for index, signature in enumerate(loaded.signatures):
        settings = params["signatures"][index]
        inputs, outputs = lower.positional_order(signature, settings)
        pinned = lower.pinned_specs(signature, settings)
        specs = [{"name": n, "dtype": pinned[n][1], "shape": list(pinned[n][0])} for n in inputs]
        several = signature.name if len(loaded.signatures) > 1 else None
        files = request.files(f"test.{index}")
        with declared("test", found_in(params, index), several):
            samples = data.load(params["test"][index], files, specs, "test")
        source = Source(signature, inputs, outputs, pinned, params["sequences"][index])
        stacked = data.is_stacked(samples, specs)
        with declared("test", found_in(params, index), several):
            collected = source.run(samples, specs)
        entries = []
        for name, rows in collected.items():
            array = join(rows, stacked)
            np.save(request.out / f"output.{count}.npy", canonical(array), allow_pickle=False)
            entry = {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)}
            entries.append({**entry, "file": f"output.{count}.npy"})
            count += 1
        described.append({
            "signature": signature.name,
            "outputs": entries,
            "samples": samples.count,
            "representative": samples.representative,
            "input_ranges": samples.ranges(),
            "warnings": samples.warnings,
        })  # fmt: skip
    request.write_json("reference.json", {"signatures": described})


class Source:
    """One signature of the source, run by its own framework."""

    def __init__(
        self,
        signature: Signature,
        inputs: list[str],
        outputs: list[str],
        pinned: Mapping[str, tuple[Any, str]],
        sequence: Mapping[str, Any] | None,
    ) -> None:
        self.outputs = outputs
        self.sequence = sequence
        self.batch = 1
        self.reset: Callable[[], None] = lambda: None
        if signature.run is not None:
            self._call = own_call(signature.run, pinned)
            return
        # The source itself is traced with its own shapes; only the data follows the pins.
        free = {spec.name: (spec.shape, spec.dtype) for spec in signature.inputs}
        traced = lower.trace(signature, inputs, outputs, free)
        # Else one at a time, as the file is run: state advances by calls, and an output that
        # does not grow with the batch is one value for each call.
        state = lower.keeps_state(traced)
        if all(t.shape.rank and t.shape[0] is None for t in traced.outputs) and not state:
            self.batch = BATCH
        if sequence is not None:
            self.batch = 1
            if state and sequence["reset"] == "each":
                self.reset = restorer(traced)
        self._call = traced_call(traced, inputs, outputs, pinned)

    def run(self, samples: data.Samples, specs: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Rows of each output, a row for each call."""
        collected: dict[str, list[Any]] = {name: [] for name in self.outputs}
        for step, batch in enumerate(data.batches(samples, specs, self.batch)):
            if begins(self.sequence, step):
                self.reset()
            result = self._call(batch)
            for name, rows in collected.items():
                rows.append(result[name])
        return collected


def begins(sequence: Mapping[str, Any] | None, step: int) -> bool:
    """Whether a call is the first of a sequence, so that all state begins anew."""
    return sequence is not None and sequence["reset"] == "each" and step % sequence["length"] == 0


def restorer(traced: Any) -> Callable[[], None]:
    """Gives every variable the value that it has now."""
    saved = [(variable, variable.numpy()) for variable in traced.variables]

    def restore() -> None:
        for variable, value in saved:
            variable.assign(value)

    return restore


def own_call(
    run: Callable[[dict[str, Any]], dict[str, Any]], pinned: Mapping[str, tuple[Any, str]]
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What a framework other than TensorFlow computes, over NumPy arrays by name."""
    import numpy as np

    def call(batch: Mapping[str, Any]) -> dict[str, Any]:
        return run({name: np.asarray(array, pinned[name][1]) for name, array in batch.items()})

    return call


def traced_call(
    traced: Any, inputs: list[str], outputs: list[str], pinned: Mapping[str, tuple[Any, str]]
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A traced function over NumPy arrays by name."""
    import tensorflow as tf

    def call(batch: Mapping[str, Any]) -> dict[str, Any]:
        arguments = [tf.constant(batch[name], pinned[name][1]) for name in inputs]
        try:
            results = traced(*arguments)
        except tf.errors.OpError as error:
            # What lies between is the place in a graph that nobody wrote.
            said = str(error.message).split("<stack traces unavailable>")[-1].split("[[")[0]
            text = one_line(said)
            raise TaskError(f"the source itself fails on the test data: {text}") from error
        return {name: tensor.numpy() for name, tensor in zip(outputs, results, strict=True)}

    return call


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
