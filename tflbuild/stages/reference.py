"""reference: the outputs of the source, run by its own framework, on the test inputs.

Outputs: `reference.json` (what the arrays are) and `output.<n>.npy`, little-endian, one for each
output of each signature in positional order, samples along the first axis. A wrong lowering
cannot agree with itself, because nothing here is lowered or converted. The samples are run in
chunks, over processes (`tflbuild.validation.running`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tflbuild import data
from tflbuild.data_errors import declared, found_in
from tflbuild.errors import TaskError, one_line
from tflbuild.sources.base import Signature
from tflbuild.stages import lower
from tflbuild.stages.base import Request

if TYPE_CHECKING:
    from tflbuild.validation.running import Phase

VERSION = 5
MODULES: tuple[str, ...] = ("tensorflow", "numpy")
ZYGOTE = "tf"

BATCH = 64  # samples at once where each is computed by itself


def run(request: Request) -> None:
    from tflbuild.validation.comparing import save_outputs
    from tflbuild.validation.running import Crew

    own = _Run(request)
    described: list[dict[str, Any]] = []
    count = 0
    with Crew(request) as crew:
        # Before anything is loaded; how many chunks there will be is not known yet.
        crew.fork(own.most_chunks(), lambda number: _Run(crew.apart(request)).phase(number))
        own.load()
        for index, source in enumerate(own.sources):
            with own.declared(index):
                samples = own.samples(index)
                chunks = crew.run(own.phase(2 * index)) if source.batch > 1 else None
                if chunks is None:  # one by one, as the file runs them
                    chunks = crew.run(own.phase(2 * index + 1))
                assert chunks is not None
                scratch = request.out.parent / f"outputs.{index}"
                arrays = (chunk.arrays for chunk in chunks)
                entries = save_outputs(request.out, scratch, arrays, count)
            count += len(entries)
            described.append({
                "signature": source.name,
                "outputs": entries,
                "samples": samples.count,
                "representative": samples.representative,
                "input_ranges": samples.ranges(),
                "warnings": samples.warnings,
            })  # fmt: skip
            samples.release()
    request.write_json("reference.json", {"signatures": described})


class _Run:
    """The source with its data, in one process."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._params = request.params
        self._loaded: dict[int, data.Samples] = {}
        self.sources: list[Source] = []

    def most_chunks(self) -> int:
        """About how many chunks the largest signature has, from what lies there."""
        from tflbuild.validation import running

        most = 1
        for index, params in enumerate(self._params["test"]):
            files = self._request.files(f"test.{index}").values()
            there = max(map(data.count_of, files), default=0)
            count = (params or {}).get("samples") or there
            size = sum(path.stat().st_size for path in files) * min(1.0, count / max(1, there))
            most = max(most, int(size / running.CHUNK_BYTES), -(-count // running.MOST))
        return most

    def load(self) -> None:
        loaded = lower.load_source(self._request)
        # All are made before the first one runs: they may share state, and each begins anew.
        self.sources = [
            Source(signature, self._params["signatures"][i], self._params["sequences"][i])
            for i, signature in enumerate(loaded.signatures)
        ]
        if any(source.keeps_state for source in self.sources):
            for source in self.sources:
                source.begin_as_it_is()

    def declared(self, index: int) -> contextlib.AbstractContextManager[None]:
        several = self.sources[index].name if len(self.sources) > 1 else None
        return declared("test", found_in(self._params, index), several)

    def samples(self, index: int, checked: bool = False) -> data.Samples:
        if index not in self._loaded:
            files = self._request.files(f"test.{index}")
            self._loaded[index] = data.load(
                self._params["test"][index], files, self.sources[index].specs, "test", checked
            )
        return self._loaded[index]

    def phase(self, number: int) -> Phase:
        """Of signature `number // 2`: even numbers in batches, odd ones sample by sample."""
        if not self.sources:  # a further process
            self.load()
        index, alone = divmod(number, 2)
        with self.declared(index):
            return self.sources[index].phase(number, self.samples(index, checked=True), bool(alone))


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
        self.goes_on = False  # what `run` keeps may go on from call to call
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
                self.goes_on = signature.state.goes_on
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

    @property
    def cuttable(self) -> bool:
        """Whether some of the samples can be run without those before them."""
        if self.sequence is not None:
            return bool(self.sequence["reset"] == "each")
        return not (self.keeps_state or self.goes_on)

    def phase(self, number: int, samples: data.Samples, alone: bool) -> Phase:
        """Raises TaskError when the samples do not fill batches or sequences."""
        from tflbuild.validation.comparing import unit_of
        from tflbuild.validation.running import Chunk, Evidence, Phase, cut

        size = 1 if alone else self.batch
        step, unit = unit_of(samples, self.specs, self.sequence, size)
        check_whole(self.sequence, -(-samples.count // step))
        stacked = data.is_stacked(samples, self.specs)
        needed = samples.sample_bytes() + self._output_bytes(samples, step, size)

        def work(chunk: Chunk) -> Evidence:
            part = samples.part(chunk.start, chunk.stop)
            try:
                rows = self._rows(part, size, chunk.start // step)
            except Coupled:
                return Evidence("coupled")
            samples.release()
            return Evidence(None, {name: join(own, stacked) for name, own in rows.items()})

        return Phase(
            number, cut(samples.count, needed, unit), work, self.cuttable,
            lambda evidence: evidence.told == "coupled",
        )  # fmt: skip

    def _output_bytes(self, samples: data.Samples, step: int, size: int) -> float:
        """Of one sample: of the first call, which is made again when its turn comes."""
        import numpy as np

        if not self.cuttable or samples.count <= step:
            return 0.0
        first = samples.part(0, min(step, samples.count))
        self.reset()
        results = self._call(next(data.batches(first, self.specs, size)))
        return sum(np.asarray(array).nbytes for array in results.values()) / first.count

    def _rows(self, samples: data.Samples, size: int, first: int) -> dict[str, list[Any]]:
        """Rows of each output, a row for each call; `first`: calls of earlier chunks."""
        collected: dict[str, list[Any]] = {name: [] for name in self.outputs}
        for step, batch in enumerate(data.batches(samples, self.specs, size), first):
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
        raise shape_depends(shapes)
    array = np.stack(rows) if stacked or not rows[0].ndim else np.concatenate(rows)
    return array.astype(np.bytes_) if array.dtype.kind in "OU" else array


def shape_depends(shapes: Iterable[tuple[int, ...]]) -> TaskError:
    return TaskError(
        f"an output's shape depends on the sample ({sorted(shapes)[:3]}): pin the inputs'"
        " shapes so that it does not, or remove the output"
    )


def canonical(array: Any) -> Any:
    """Little-endian and C-contiguous, so that equal values are equal bytes."""
    import numpy as np

    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
