"""One signature of a file on its test data, chunk by chunk, beside what others gave for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild import data
from tflbuild.errors import TaskError
from tflbuild.limits import room_for
from tflbuild.metrics.merging import merged_files
from tflbuild.stages.reference import canonical, shape_depends
from tflbuild.validation.file import File
from tflbuild.validation.parity import partial
from tflbuild.validation.running import CHUNK_BYTES, MOST, Chunk, Evidence, Phase, cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tflbuild.stages.base import Request

    Array = NDArray[Any]

# A validator is a Python that imports TensorFlow, once for a chunk.
ELSEWHERE_MOST, ELSEWHERE_BYTES = 16 * MOST, 4 * CHUNK_BYTES


def outputs_of(request: Request, entries: Sequence[Mapping[str, Any]], prefix: str = "") -> Any:
    """Outputs that an earlier stage kept, by name, memory-mapped. `entries`: as reference.json
    and baseline.json have them."""
    import numpy as np

    found = {}
    for entry in entries:
        path = request.inputs[prefix + entry["file"]]
        room_for(path)
        found[entry["name"]] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    return found


def unit_of(
    samples: data.Samples, inputs: Sequence[Any], sequence: Mapping[str, Any] | None, size: int = 1
) -> tuple[int, int]:
    """How many samples a call takes, and how many a chunk consists of: whole calls, and whole
    sequences where each begins anew. Raises TaskError."""
    step = data.step_of(samples, inputs, size)
    each = sequence is not None and sequence["reset"] == "each"
    return step, step * (sequence["length"] if sequence is not None and each else 1)


def file_chunks(
    file: File, samples: data.Samples, output_bytes: float, unit: int
) -> Sequence[Chunk]:
    """`output_bytes`: of all samples together."""
    needed = samples.sample_bytes() + output_bytes / max(1, samples.count)
    if not file.elsewhere:
        return cut(samples.count, needed, unit)
    if not file.cuttable:  # its state is that of one process
        return [Chunk(0, samples.count)]
    return cut(samples.count, needed, unit, ELSEWHERE_MOST, ELSEWHERE_BYTES)


def save_outputs(
    out: Path, scratch: Path, chunks: Iterable[Mapping[str, Array]], first: int
) -> list[dict[str, Any]]:
    """Outputs of all samples as `output.<n>.npy`, from `first` on, in memory of one chunk; what
    they are. `scratch`: a new folder on the same disk. Raises TaskError, OSError."""
    import numpy as np

    entries: list[dict[str, Any]] = []
    for name, array in merged_files(_alike(chunks), scratch).items():
        path = out / f"output.{first + len(entries)}.npy"
        if isinstance(array, np.memmap):
            Path(str(array.filename)).replace(path)
        else:
            np.save(path, canonical(array), allow_pickle=False)
        described = {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)}
        entries.append({**described, "file": path.name})
    return entries


def _alike(chunks: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for chunk in chunks:
        for name, array in chunk.items():
            shape = shapes.setdefault(name, array.shape[1:])
            if shape != array.shape[1:]:
                raise shape_depends({shape, array.shape[1:]})
        yield {name: canonical(array) for name, array in chunk.items()}


@dataclass(frozen=True)
class Comparison:
    """One signature, before anything is run. `source`, `other` (the float file; None: there is
    none to compare with): outputs by name, of all samples. `top_k` by output. `measure`: what the
    metrics need of some samples, by side ("source", "float", "file") and number of the metric."""

    number: int
    interface: Mapping[str, Any]
    samples: data.Samples
    sequence: Mapping[str, Any] | None
    source: Mapping[str, Array]
    other: Mapping[str, Array] | None
    top_k: Mapping[str, Sequence[int]]
    measure: Callable[[str, Mapping[str, Array], Any], dict[str, Array]]

    def chunks(self) -> int:
        """About how many there are, before the file is opened. Raises TaskError."""
        _, unit = unit_of(self.samples, self.interface["inputs"], self.sequence)
        return len(cut(self.samples.count, self._bytes(), unit))

    def _bytes(self) -> float:
        shown = sum(array.nbytes for array in self.source.values())
        return self.samples.sample_bytes() + shown / max(1, self.samples.count)

    def phase(self, opened: Callable[[], File]) -> Phase:
        """In the process that runs it: opens the file. Raises TaskError."""
        file = opened()
        step, unit = unit_of(self.samples, self.interface["inputs"], self.sequence)
        shown = sum(array.nbytes for array in self.source.values())
        chunks = file_chunks(file, self.samples, shown, unit)

        def work(chunk: Chunk) -> Evidence:
            return self._work(file, chunk, step)

        return Phase(self.number, chunks, work, resumable=file.cuttable)

    def _work(self, file: File, chunk: Chunk, step: int) -> Evidence:
        part = self.samples.part(chunk.start, chunk.stop)
        outputs = file.run(part, chunk.start // step)
        told: dict[str, Any] = {"parity": {}, "float": {}, "quantization": {}}
        sides: dict[str, dict[str, Array]] = {"source": {}, "file": outputs}
        if self.other is not None:
            sides["float"] = {}
        for name, whole in self.source.items():
            got = outputs[name]
            source = self._rows(whole, chunk, step)
            if source is None or source.shape != got.shape:
                rows = len(got) * self.samples.count // part.count
                raise TaskError(
                    f"output {name!r} has shape {[rows, *got.shape[1:]]} over all samples, the"
                    f" source's has {list(whole.shape)}"
                )
            sides["source"][name] = source
            pair = (chunk.start, part.count, self.top_k.get(name, ()))
            told["parity"][name] = partial(source, got, *pair)
            if self.other is not None:
                between = self._rows(self.other[name], chunk, step)
                assert between is not None  # of the source's shape
                sides["float"][name] = between
                told["float"][name] = partial(source, between, *pair)
                told["quantization"][name] = partial(between, got, *pair)
        told["saturated"] = file.saturated(part)
        arrays = {
            f"{side}.{name}": array
            for side, own in sides.items()
            for name, array in self.measure(side, own, part.labels).items()
        }
        self.samples.release()
        for array in (*self.source.values(), *(self.other or {}).values()):
            data.release(array)
        return Evidence(told, arrays)

    def _rows(self, whole: Array, chunk: Chunk, step: int) -> Array | None:
        """A chunk's rows of an output of all samples; None where its rows do not follow calls."""
        calls = self.samples.count // step
        if not whole.ndim or len(whole) % calls:
            return None
        rows = len(whole) // calls
        found: Array = whole[chunk.start // step * rows : -(-chunk.stop // step) * rows]
        return found


def opener(
    path: Path, signature: Mapping[str, Any], sequence: Any, kernels: Any, scratch: Path
) -> Callable[[], File]:
    """`scratch`: a new folder, beside which each process has its own."""

    def opened() -> File:
        own = scratch.with_name(f"{scratch.name}.{os.getpid()}")
        return File(path, signature, sequence, kernels, own)

    return opened
