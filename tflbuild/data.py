"""Calibration and test data in a child: read, checked before use, cut into what a model takes.

An array's first axis counts samples. For an input of rank r, an array of rank r holds the batch
axis too (a fixed batch of B takes B samples at once); an array of rank r + 1 is stacked: it holds
one complete input for each sample.
"""

from __future__ import annotations

import json
import mmap
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.datasets import large
from tflbuild.datasets.choose import choose
from tflbuild.errors import TaskError, one_line
from tflbuild.limits import room_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Labels = Array | Mapping[str, Array]

Spec = Mapping[str, Any]  # an entry of interface.json: name, dtype, shape

OUTLIERS = 20  # a range this many times that of 99.8 % of the values is worth a warning

_OBJECTS = "Object arrays"  # how NumPy begins when it refuses one
_NO_OBJECTS = "holds Python objects; save plain numbers"


_PART = 1 << 26  # bytes looked at at once

FEW = 10  # calibration samples below which ranges are a guess


@dataclass(frozen=True)
class Samples:
    """Checked data for all inputs of a model, by input name."""

    arrays: dict[str, Array]
    count: int
    representative: bool  # False: declared random data
    labels: Labels | None = None  # an array, or several by name, samples along the first axis
    warnings: list[str] = field(default_factory=list)
    places: Sequence[int] | None = None  # of the samples in what was declared; None: the first ones

    def ranges(self) -> dict[str, list[float]]:
        """Smallest and largest value of each input."""
        return {
            name: list(_extremes(array))
            for name, array in self.arrays.items()
            if array.size and array.dtype.kind in "fiub"
        }

    def part(self, start: int, stop: int) -> Samples:
        """Some of the samples, with their labels: views, not copies."""
        labels: Any = self.labels
        if isinstance(labels, Mapping):
            labels = {name: array[start:stop] for name, array in labels.items()}
        elif labels is not None:
            labels = labels[start:stop]
        arrays = {name: array[start:stop] for name, array in self.arrays.items()}
        return replace(self, arrays=arrays, count=stop - start, labels=labels, places=None)

    def sample_bytes(self) -> float:
        """Of the inputs of one sample."""
        return sum(array.nbytes for array in self.arrays.values()) / max(1, self.count)

    def release(self) -> None:
        """Pages of files that are in memory are given back: they are read again where they are
        asked for again."""
        for array in self.arrays.values():
            release(array)


def load(
    params: Mapping[str, Any],
    files: Mapping[str, Path],
    inputs: Sequence[Spec],
    what: str,
    checked: bool = False,
) -> Samples:
    """Read declared data for `inputs`. `what` ("calibration", "test") prefixes messages;
    `checked`: their values were looked at before, by another process of the action.

    Raises TaskError when the count, the shape, the dtype or the values cannot be right; its `key`
    is relative to the data's section, see `declared`.
    """
    if params["kind"] == "random":
        return _random(params, inputs)
    arrays = _read(params, files, inputs, what)
    for spec in inputs:
        _check(arrays[spec["name"]], spec, what)
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise TaskError(f"{what} data: inputs differ in their number of samples: {counts}")
    count = next(iter(counts.values()))
    wanted = params.get("samples")
    if count == 0:
        raise TaskError(f"{what} data holds no sample")
    if wanted is not None and wanted > count:
        raise TaskError(
            f"{what} data holds {count} samples, fewer than samples: {wanted}", key="samples"
        )
    labels: Labels | None = None
    if params.get("labels"):
        try:
            labels = _labels(params, files, count, what)
        except TaskError as error:
            error.key = "labels"
            raise
    places = None
    if wanted is not None:
        seed = params.get("seed")
        taken: Any = slice(wanted)
        if seed is not None:
            taken = places = choose(map(str, range(count)), wanted, seed)
        count = wanted
        arrays = {name: large.taken(array, taken) for name, array in arrays.items()}
        if isinstance(labels, Mapping):
            labels = {name: array[taken] for name, array in labels.items()}
        elif labels is not None:
            labels = labels[taken]
    if what == "calibration":
        # The converter takes raw bytes: in the machine's own order. `batches` does it for tests.
        arrays = {n: a.astype(a.dtype.newbyteorder("="), copy=False) for n, a in arrays.items()}
    warnings = [] if checked else _check_values(arrays, what)
    if what == "calibration" and count < FEW:
        warnings.append(f"calibration data holds {count} samples; {FEW} or more tell the ranges")
    return Samples(arrays, count, True, labels, warnings, places)


def _check_values(arrays: Mapping[str, Array], what: str) -> list[str]:
    """Warnings; TaskError where values cannot be meant."""

    floats = {
        name: array for name, array in arrays.items() if array.dtype.kind == "f" and array.size
    }
    for name, array in floats.items():
        bad = _not_finite(array)
        if len(bad):
            raise TaskError(
                f"{what} data: input {name!r} has NaN or infinity in sample {int(bad[0])}"
                f" ({len(bad)} of {len(array)} samples)"
            )
    warnings = []
    constant = [n for n, array in floats.items() if array.size > 1 and _is_constant(array)]
    if constant:
        value = float(arrays[constant[0]].flat[0])
        message = f"{what} data: input {constant[0]!r} is constant ({value:g} everywhere)"
        if what == "calibration" or len(constant) == len(arrays):
            raise TaskError(message + "; its range says nothing about the model")
        warnings.append(message)
    if what == "calibration":
        for name, array in floats.items():
            warnings += _outliers(name, array)
    return warnings


def _not_finite(array: Array) -> Array:
    """The samples with NaN or infinity, looked at a part at a time: an array may be as large as
    its file, and is not in memory before it is needed."""
    import numpy as np

    return np.concatenate([
        start + np.flatnonzero(~np.isfinite(part.reshape(len(part), -1)).all(axis=1))
        for start, part in _parts(array)
    ])  # fmt: skip


def _parts(array: Array) -> Iterator[tuple[int, Array]]:
    """A large array bit by bit, and where each begins; none of it stays in memory."""
    step = max(1, _PART // max(1, array[0].nbytes))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]
        if len(array) > step:
            release(array)


def _extremes(array: Array) -> tuple[float, float]:
    parts = [(part.min(), part.max()) for _, part in _parts(array)]
    return float(min(low for low, _ in parts)), float(max(high for _, high in parts))


def _is_constant(array: Array) -> bool:
    first = array.flat[0]
    return all(bool((part == first).all()) for _, part in _parts(array))


def release(array: Array) -> None:
    """Give back the pages of a file that an array shows. Nothing happens to other arrays."""
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    if base is not None and not base.closed and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _outliers(name: str, array: Array) -> list[str]:
    """A few far values widen a range, until the 256 steps of int8 miss all the others."""
    import numpy as np

    low, high = _extremes(array)
    if high - low > float(np.finfo(np.float32).max):
        raise TaskError(
            f"calibration data: input {name!r} reaches from {low:g} to {high:g}, which no"
            " quantization can hold"
        )
    values = array.ravel()[:: -(-array.size // 1_000_000)]
    inner = np.quantile(values, [0.001, 0.999])
    common = float(inner[1] - inner[0])
    if values.size < 1000 or common * OUTLIERS >= high - low:
        return []
    return [
        f"calibration data: input {name!r} reaches from {low:g} to {high:g}, but 99.8 % of its"
        f" values lie between {inner[0]:g} and {inner[1]:g}: quantization serves the outliers"
    ]


def batches(samples: Samples, inputs: Sequence[Spec], size: int) -> Iterator[dict[str, Array]]:
    """The samples as complete inputs, each once: `size` at a time where every batch dimension
    is dynamic, by the fixed batch where one is not, one by one where an input is stacked.

    Raises TaskError when they do not fill the fixed batches.
    """
    import numpy as np

    step, stacked = _step(samples, inputs, size)
    for start in range(0, samples.count, step):
        batch = {}
        for name, one in stacked.items():
            array = samples.arrays[name]
            part = array[start] if one else array[start : start + step]
            # In the machine's own order; ascontiguousarray would make a scalar a vector.
            part = np.asarray(part, array.dtype.newbyteorder("="), order="C")
            batch[name] = part if part.flags.aligned else part.copy()
        yield batch


def step_of(samples: Samples, inputs: Sequence[Spec], size: int) -> int:
    """How many samples `batches` takes at once. Raises TaskError as it does."""
    return _step(samples, inputs, size)[0]


def _step(samples: Samples, inputs: Sequence[Spec], size: int) -> tuple[int, Mapping[str, bool]]:
    stacked = {
        spec["name"]: samples.arrays[spec["name"]].ndim == len(spec["shape"]) + 1 for spec in inputs
    }
    fixed = {
        spec["shape"][0]
        for spec in inputs
        if not stacked[spec["name"]] and spec["shape"][0] is not None
    }
    if any(stacked.values()):
        step, wrong = 1, fixed - {1}
    else:
        step, wrong = min(fixed, default=size), set(sorted(fixed)[1:])
    if wrong:
        raise TaskError(
            f"the inputs take different numbers of samples at once ({sorted(fixed)}): give each"
            " sample its complete input, by one axis more in front"
        )
    if step < 1 or (fixed and samples.count % step):
        whole = samples.count - samples.count % step if step else 0
        raise TaskError(
            f"{samples.count} samples do not fill batches of {step}, the model's fixed batch size"
            + (f"; take the first {whole} by samples: {whole}" if whole else "")
        )
    return step, stacked


def count_of(path: Path) -> int:
    """About how many samples a file of arrays holds, from its headers: 0 where nobody can tell."""
    import numpy as np

    try:
        if not zipfile.is_zipfile(path):
            return len(np.load(path, mmap_mode="r", allow_pickle=False))
        with zipfile.ZipFile(path) as archive:
            return max((_rows(archive, name) for name in archive.namelist()), default=0)
    except Exception:  # who reads it says what is wrong
        return 0


def _rows(archive: zipfile.ZipFile, name: str) -> int:
    import numpy as np

    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            return 0
        shape, _, _ = np.lib.format.read_array_header_1_0(stream)
        return int(shape[0]) if shape else 0


def is_stacked(samples: Samples, inputs: Sequence[Spec]) -> bool:
    """True when each call takes one sample (an input has no batch axis that counts samples)."""
    return any(samples.arrays[spec["name"]].ndim == len(spec["shape"]) + 1 for spec in inputs)


def _read(
    params: Mapping[str, Any], files: Mapping[str, Path], inputs: Sequence[Spec], what: str
) -> dict[str, Array]:
    names = [spec["name"] for spec in inputs]
    if params["kind"] == "npz":
        shown = files["npz"].name
        archive = _open(files["npz"], what)
        if not hasattr(archive, "files"):
            raise TaskError(f"{what} data: {shown} is one array; declare it as npy:")
        for name in names:
            if name not in archive.files:
                near = [file for file in archive.files if file.lower() == name.lower()]
                near = near or get_close_matches(name, archive.files, 1)
                hint = f"; did you mean to rename {near[0]!r}?" if near else ""
                raise TaskError(
                    f"{what} data: {shown} has no array {name!r} (it has"
                    f" {sorted(archive.files)}); arrays are bound by input name{hint}"
                )
        return {name: _member(archive, name, what, shown) for name in names}
    if params["kind"] == "arrays":  # what the stage `data` made
        made = json.loads(files["arrays.json"].read_text())["inputs"]
        paths = {name: files[f"array.{index}.npy"] for index, name in enumerate(made)}
        says, remedy = (
            "what is declared gives",
            "say by input: which it is for, and give data for each",
        )
    else:
        paths = {name: files[f"npy.{name}"] for name in params["arrays"]}
        says, remedy = "npy names", "give npy: a file for each"
    listed = sorted(paths)
    if "" in listed and len(names) != 1:
        raise TaskError(f"{what} data: the model has inputs {names}; {remedy}")
    unknown = sorted(set(listed) - set(names) - {""})
    missing = [] if "" in listed else sorted(set(names) - set(listed))
    if unknown or missing:
        near = [m for name in unknown for m in get_close_matches(name, missing, 1)]
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"{what} data: {says} {listed}, the inputs are {names}{hint}")
    arrays = {}
    for name in names:
        path = paths["" if "" in listed else name]
        array = _open(path, what)
        if hasattr(array, "files"):
            raise TaskError(f"{what} data: {path.name} is an archive; declare it as npz:")
        arrays[name] = array
    return arrays


def _open(path: Path, what: str) -> Any:
    import numpy as np

    try:
        room_for(path)
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.asarray(loaded) if isinstance(loaded, np.ndarray) else loaded
    except OSError as error:
        raise TaskError(
            f"{what} data: {path.name} cannot be read: {error.strerror or error}"
        ) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if "Python objects" in str(error) or _OBJECTS in str(error):
            raise TaskError(f"{what} data: {path.name} {_NO_OBJECTS}") from error
        with path.open("rb") as stream:
            start = stream.read(6)
        if start.startswith((b"\x93NUMPY", b"PK")):
            raise TaskError(
                f"{what} data: {path.name} is damaged: {one_line(error, 200)}"
            ) from error
        # NumPy's own words recommend to load it as a pickle, which runs what it holds.
        raise TaskError(
            f"{what} data: {path.name} is not a NumPy file; write it with numpy.save (.npy) or"
            " numpy.savez (.npz)"
        ) from error


def _member(archive: Any, name: str, what: str, shown: str) -> Array:
    try:
        array: Any = large.member(archive, name)
    except TaskError as error:
        raise TaskError(f"{what} data: {shown}: {error}") from error
    except Exception as error:  # zlib, zip, pickle refused, a header that lies
        if _OBJECTS in str(error):
            raise TaskError(f"{what} data: {shown}: array {name!r} {_NO_OBJECTS}") from error
        reason = one_line(error, 200)
        raise TaskError(f"{what} data: {shown}: array {name!r} is damaged: {reason}") from error
    if isinstance(array, bytes):  # what NumPy gives for a member that is something else
        raise TaskError(f"{what} data: {shown}: {name!r} is not an array")
    result: Array = array
    return result


def _labels(params: Mapping[str, Any], files: Mapping[str, Path], count: int, what: str) -> Labels:
    """What is declared as labels, of any kind: whether a metric can use it, that metric says."""
    several: Mapping[str, str | None] | None = params.get("label_keys")
    if params["kind"] == "arrays":
        if "labels.npy" in files:
            return _label_array(_open(files["labels.npy"], what), "", count, what)
        names = json.loads(files["arrays.json"].read_text())["labels"]
        return {
            name: _label_array(_open(files[f"label.{index}.npy"], what), name, count, what)
            for index, name in enumerate(names)
        }
    if several is None:
        found = _label_member(params.get("label_key"), "", files, what)
        return _label_array(found, "", count, what)
    return {
        name: _label_array(_label_member(key, name, files, what), name, count, what)
        for name, key in several.items()
    }


def _label_member(key: str | None, name: str, files: Mapping[str, Path], what: str) -> Array:
    """An array of the .npz, or the .npy file of labels."""
    if key is None:
        path = files[f"labels.{name}" if name else "labels"]
        array = _open(path, what)
        if hasattr(array, "files"):
            raise TaskError(f"{what} data: labels: {path.name} is an archive; give a .npy file")
        found: Array = array
        return found
    archive = _open(files["npz"], what)
    if key not in archive.files:
        raise TaskError(
            f"{what} data: labels: {files['npz'].name} has no array {key!r}"
            f" (it has {sorted(archive.files)})"
        )
    return _member(archive, key, what, files["npz"].name)


def _label_array(array: Array, name: str, count: int, what: str) -> Array:
    """Labels as they are, in the machine's byte order; one whole number a sample is int64 (N,)."""
    import numpy as np

    shown = f"labels {name!r}" if name else "labels"
    if array.dtype.kind not in "iubfSU" or not array.ndim:
        raise TaskError(
            f"{what} data: {shown} must be numbers or text, samples along the first axis, not"
            f" {array.dtype} of shape {list(array.shape)}"
        )
    if len(array) != count:
        raise TaskError(f"{what} data: {len(array)} {shown} for {count} samples")
    if array.dtype.kind in "iub" and array.size == count:
        if array.dtype.kind == "u" and int(array.max(initial=0)) > np.iinfo(np.int64).max:
            raise TaskError(f"{what} data: {shown} hold {array.max()}, which is no class number")
        return array.reshape(-1).astype(np.int64)
    native: Array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape for people: `[?, 12]`."""
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def _check(array: Array, spec: Spec, what: str) -> None:
    name, shape, dtype = spec["name"], spec["shape"], spec["dtype"]
    given = "string" if array.dtype.kind in "SU" else str(array.dtype.newbyteorder("="))
    if given != dtype:
        remedy = "" if dtype == "string" else f"; save it with .astype({dtype!r})"
        raise TaskError(
            f"{what} data: input {name!r} is {array.dtype}, the model takes {dtype}{remedy}"
        )
    batched = array.ndim == len(shape)
    wanted = shape[1:] if batched else shape
    sample = array.shape[1:]
    fits = (
        array.ndim > 0
        and len(sample) == len(wanted)
        and all(want is None or have == want for have, want in zip(sample, wanted, strict=True))
    )
    if not fits:
        raise TaskError(
            f"{what} data: input {name!r} has shape {list(array.shape)}; the model takes"
            f" {shape_text(shape)}, samples along the first axis"
        )


def _random(params: Mapping[str, Any], inputs: Sequence[Spec]) -> Samples:
    import numpy as np

    generator = np.random.default_rng(params["seed"])
    count, low, high = params["samples"], params["low"], params["high"]
    # Inputs that agree on a batch size share the samples' axis; others get complete inputs.
    fixed = {spec["shape"][0] for spec in inputs if spec["shape"]} - {None}
    stacked = len(fixed) > 1 or not all(spec["shape"] for spec in inputs)
    if fixed and not stacked:
        batch = max(1, *fixed)
        count = -(-count // batch) * batch  # whole batches
    arrays: dict[str, Array] = {}
    for spec in inputs:
        name, shape = spec["name"], spec["shape"]
        if any(size is None for size in shape[1:]):
            raise TaskError(
                f"random data: input {name!r} has dynamic dimensions {shape_text(shape)};"
                " pin them under inputs: or declare real data"
            )
        full = (count, *(size or 1 for size in shape[:1]), *shape[1:]) if stacked else (
            count, *shape[1:]
        )  # fmt: skip
        if spec["dtype"] in ("string", "complex64", "complex128"):
            raise TaskError(f"random data: input {name!r} is {spec['dtype']}; declare real data")
        dtype = np.dtype(spec["dtype"])
        if dtype.kind == "f":
            arrays[name] = generator.uniform(low, high, full).astype(dtype)
        elif dtype.kind == "b":
            arrays[name] = generator.integers(0, 2, full).astype(dtype)
        else:
            limits: Any = np.iinfo(spec["dtype"])
            first, last = int(np.ceil(low)), max(int(np.ceil(high)) - 1, int(np.ceil(low)))
            if not limits.min <= first <= last <= limits.max:
                raise TaskError(
                    f"random data: low: {low:g} and high: {high:g} leave the range of input"
                    f" {name!r} ({spec['dtype']})"
                )
            arrays[name] = generator.integers(first, last, full, dtype, endpoint=True)
    return Samples(arrays, count, False)
