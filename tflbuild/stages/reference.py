"""reference: the outputs of the source, run by its own framework, on the test inputs.

Outputs: `reference.json` (what the arrays are) and `output.<n>.npy`, little-endian, one for each
output of each signature in positional order, samples along the first axis. A wrong lowering
cannot agree with itself, because nothing here is lowered or converted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from tflbuild import data
from tflbuild.data_errors import declared, found_in
from tflbuild.errors import TaskError, one_line
from tflbuild.sources.base import Signature
from tflbuild.stages import lower
from tflbuild.stages.base import Request

VERSION = 4
MODULES: tuple[str, ...] = ("tensorflow", "numpy")
ZYGOTE = "tf"

BATCH = 64  # samples at once where each is computed by itself


def run(request: Request) -> None:
    import numpy as np

    params = request.params
    loaded = lower.load_source(request)
    # All are made before the first one runs: they may share state, and each begins anew.
    sources = [
        Source(signature, params["signatures"][index], params["sequences"][index])
        for index, signature in enumerate(loaded.signatures)
    ]
    if any(source.keeps_state for source in sources):
        for source in sources:
            source.begin_as_it_is()
    described: list[dict[str, Any]] = []
    count = 0
    for index, source in enumerate(sources):
        files, specs = request.files(f"test.{index}"), source.specs
        several = source.name if len(sources) > 1 else None
        with declared("test", found_in(params, index), several):
            samples = data.load(params["test"][index], files, specs, "test")
        stacked = data.is_stacked(samples, specs)
        with declared("test", found_in(params, index), several):
            collected = source.run(samples)
        entries = []
        for name, rows in collected.items():
            array = join(rows, stacked)
            np.save(request.out / f"output.{count}.npy", canonical(array), allow_pickle=False)
            entry = {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)}
            entries.append({**entry, "file": f"output.{count}.npy"})
            count += 1
        described.append({
            "signature": source.name,
            "outputs": entries,
            "samples": samples.count,
            "representative": samples.representative,
            "input_ranges": samples.ranges(),
            "warnings": samples.warnings,
        })  # fmt: skip
    request.write_json("reference.json", {"signatures": described})


class Coupled(Exception):
    """What a batch gives is not what its samples give one by one."""


class Source:
    """One signature of the source, run by its own framework."""

    def __init__(
        self,
        signature: Signature,
        settings: Mapping[str, Any],
        sequence: Mapping[str, Any] | None,
    ) -> None:
        self.name = signature.name
        self.sequence = sequence
        self.batch = 1
        self.reset: Callable[[], None] = lambda: None
        self.forget: Callable[[], None] = lambda: None
        self.keeps_state = False
        self._traced: Any = None
        inputs, self.outputs = lower.positional_order(signature, settings)
        pinned = lower.pinned_specs(signature, settings)
        self.specs = [
            {"name": n, "dtype": pinned[n][1], "shape": list(pinned[n][0])} for n in inputs
        ]
        if signature.run is not None:
            self._call = own_call(signature.run, pinned)
            if signature.state is not None:
                self.reset, self.forget = signature.state.reset, signature.state.forget
            return
        # The source itself is traced with its own shapes; only the data follows the pins.
        free = {spec.name: (spec.shape, spec.dtype) for spec in signature.inputs}
        traced = lower.trace(signature, inputs, self.outputs, free)
        self._call = traced_call(traced, inputs, self.outputs, pinned)
        self._traced, self.keeps_state = traced, lower.keeps_state(traced)
        if sequence is None and not self.keeps_state and lower.takes_batches(traced):
            self.batch = BATCH

    def begin_as_it_is(self) -> None:
        """What variables hold now is what each sequence begins with."""
        if self._traced is not None:
            self.reset = restorer(self._traced)

    def run(self, samples: data.Samples) -> dict[str, list[Any]]:
        """Rows of each output, a row for each call."""
        if self.batch > 1:
            with contextlib.suppress(Coupled):
                return self._rows(samples, self.batch)
        rows = self._rows(samples, 1)
        check_whole(self.sequence, len(next(iter(rows.values()))))
        return rows

    def _rows(self, samples: data.Samples, size: int) -> dict[str, list[Any]]:
        collected: dict[str, list[Any]] = {name: [] for name in self.outputs}
        for step, batch in enumerate(data.batches(samples, self.specs, size)):
            if step == 0 or begins(self.sequence, step):
                self.reset()
            elif self.sequence is None:
                self.forget()
            result = self._call(batch)
            if size > 1:
                self._check_alone(batch, result, step)
            for name, rows in collected.items():
                rows.append(result[name])
        return collected

    def _check_alone(self, batch: Mapping[str, Any], result: dict[str, Any], step: int) -> None:
        """A sample of each batch is run alone too, as the file runs it. Raises Coupled."""
        import numpy as np

        count = len(next(iter(batch.values())))
        at = slice(step % count, step % count + 1)
        alone = self._call({name: array[at] for name, array in batch.items()})
        for name, whole in result.items():
            one, same = whole[at], alone[name]
            if one.dtype.kind not in "fc":
                equal = bool((one == same).all())
            else:
                room = 1e-4 * float(np.max(np.abs(whole), initial=0.0))
                equal = np.allclose(one, same, rtol=1e-3, atol=room, equal_nan=True)
            if not equal:
                raise Coupled


def begins(sequence: Mapping[str, Any] | None, step: int) -> bool:
    """Whether a call is the first of a sequence, so that all state begins anew."""
    return sequence is not None and sequence["reset"] == "each" and step % sequence["length"] == 0


def check_whole(sequence: Mapping[str, Any] | None, calls: int) -> None:
    """Raises TaskError when the last sequence is cut short."""
    length = 1 if sequence is None or sequence["reset"] != "each" else sequence["length"]
    if calls % length:
        raise TaskError(
            f"{calls} samples are no whole sequences of {length}; take the first"
            f" {calls - calls % length} by `samples`, or change the length",
            key="validate.sequence.length",
        )


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
