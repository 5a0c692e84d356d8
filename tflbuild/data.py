"""Calibration and test data in a child: read, checked before use, cut into what a model takes.

An array's first axis counts samples. For an input of rank r, an array of rank r holds the batch
axis too (a fixed batch of B takes B samples at once); an array of rank r + 1 holds one complete
input for each sample.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Spec = Mapping[str, Any]  # an entry of interface.json: name, dtype, shape


@dataclass(frozen=True)
class Samples:
    """Checked data for all inputs of a model, by input name."""

    arrays: dict[str, Array]
    count: int
    representative: bool  # False: declared random data
    labels: Array | None = None
    warnings: list[str] = field(default_factory=list)

    def ranges(self) -> dict[str, list[float]]:
        """Smallest and largest value of each input."""
        return {
            name: [float(array.min()), float(array.max())]
            for name, array in self.arrays.items()
            if array.size and array.dtype.kind in "fiub"
        }


def load(
    params: Mapping[str, Any], files: Mapping[str, Path], inputs: Sequence[Spec], what: str
) -> Samples:
    """Read declared data for `inputs`. `what` ("calibration", "test") prefixes messages.

    Raises TaskError when the count, the shape, the dtype or the values cannot be right.
    """
    import numpy as np

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
        raise TaskError(f"{what} data holds {count} samples, fewer than samples: {wanted}")
    labels = None
    if params.get("labels"):
        labels = _labels(params.get("label_key"), files, what)
        if len(labels) != count:
            raise TaskError(f"{what} data: {len(labels)} labels for {count} samples")
    if wanted is not None:
        count = wanted
        arrays = {name: array[:count] for name, array in arrays.items()}
        labels = None if labels is None else labels[:count]
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(np.argwhere(~np.isfinite(array))[0][0])
            raise TaskError(f"{what} data: input {name!r} has NaN or infinity in sample {bad}")
    constant = [
        name
        for name, array in arrays.items()
        if array.dtype.kind == "f" and array.size > 1 and array.min() == array.max()
    ]
    warnings = []
    if constant:
        value = float(arrays[constant[0]].flat[0])
        message = f"{what} data: input {constant[0]!r} is constant ({value:g} everywhere)"
        if what == "calibration" or len(constant) == len(arrays):
            raise TaskError(message + "; its range says nothing about the model")
        warnings.append(message)
    return Samples(arrays, count, True, labels, warnings)


def batches(samples: Samples, inputs: Sequence[Spec], size: int) -> Iterator[dict[str, Array]]:
    """The samples as complete inputs: `size` at a time where the batch dimension is dynamic,
    the fixed batch where it is not. Raises TaskError when a fixed batch does not divide them."""
    import numpy as np

    for start, stop, stacked in _slices(samples, inputs, size):
        yield {
            spec["name"]: np.ascontiguousarray(
                samples.arrays[spec["name"]][start]
                if stacked
                else samples.arrays[spec["name"]][start:stop]
            )
            for spec in inputs
        }


def is_stacked(samples: Samples, inputs: Sequence[Spec]) -> bool:
    """True when each sample is a complete input (no batch axis of the model is used)."""
    return any(
        samples.arrays[spec["name"]].ndim == len(spec["shape"]) + 1 for spec in inputs
    )


def _slices(
    samples: Samples, inputs: Sequence[Spec], size: int
) -> Iterator[tuple[int, int, bool]]:
    if is_stacked(samples, inputs):
        for index in range(samples.count):
            yield index, index + 1, True
        return
    fixed = {spec["shape"][0] for spec in inputs if spec["shape"][0] is not None}
    if len(fixed) > 1:
        raise TaskError(f"inputs with different fixed batch sizes {sorted(fixed)}")
    step = fixed.pop() if fixed else size
    if fixed or any(spec["shape"][0] is not None for spec in inputs):
        whole = samples.count - samples.count % step
        if whole == 0:
            raise TaskError(f"{samples.count} samples do not fill one batch of {step}")
        for start in range(0, whole, step):
            yield start, start + step, False
        return
    for start in range(0, samples.count, step):
        yield start, min(start + step, samples.count), False


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
                near = get_close_matches(name, archive.files, 1)
                hint = f"; did you mean to rename {near[0]!r}?" if near else ""
                raise TaskError(
                    f"{what} data: {shown} has no array {name!r} (it has"
                    f" {sorted(archive.files)}); arrays are bound by input name{hint}"
                )
        return {name: _member(archive, name, what, shown) for name in names}
    arrays = {}
    listed: list[str] = params["arrays"]
    if "" in listed and len(names) != 1:
        raise TaskError(f"{what} data: the model has inputs {names}; give npy: a file for each")
    unknown = sorted(set(listed) - set(names) - {""})
    missing = [] if "" in listed else sorted(set(names) - set(listed))
    if unknown or missing:
        raise TaskError(f"{what} data: npy names {sorted(listed)}, the inputs are {names}")
    for name in names:
        key = "" if "" in listed else name
        path = files[f"npy.{key}"]
        array = _open(path, what)
        if hasattr(array, "files"):
            raise TaskError(f"{what} data: {path.name} is an archive; declare it as npz:")
        arrays[name] = array
    return arrays


def _open(path: Path, what: str) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise TaskError(f"{what} data: {path.name} is not a NumPy file: {reason}") from error


def _member(archive: Any, name: str, what: str, shown: str) -> Array:
    try:
        array: Array = archive[name]
        return array
    except Exception as error:  # zlib, zip, pickle refused, a header that lies
        reason = " ".join(str(error).split())[:200]
        raise TaskError(f"{what} data: {shown}: array {name!r} is damaged: {reason}") from error


def _labels(key: str | None, files: Mapping[str, Path], what: str) -> Array:
    import numpy as np

    if key is None:
        array = _open(files["labels"], what)
    else:
        archive = _open(files["npz"], what)
        if key not in archive.files:
            raise TaskError(
                f"{what} data: labels: {files['npz'].name} has no array {key!r}"
                f" (it has {sorted(archive.files)})"
            )
        array = _member(archive, key, what, files["npz"].name)
    if array.ndim == 2 and array.shape[1] > 1:  # one-hot
        array = array.argmax(axis=1)
    array = array.reshape(len(array), -1)
    if array.shape[1] != 1 or array.dtype.kind not in "iubf":
        raise TaskError(f"{what} data: labels must be class numbers (N,) or one-hot (N, classes)")
    result: Array = np.asarray(array[:, 0]).astype(np.int64)
    return result


def _check(array: Array, spec: Spec, what: str) -> None:
    name, shape, dtype = spec["name"], spec["shape"], spec["dtype"]
    if str(array.dtype.newbyteorder("=")) != dtype:
        raise TaskError(
            f"{what} data: input {name!r} is {array.dtype}, the model takes {dtype};"
            f" save it with .astype({dtype!r})"
        )
    if array.ndim == len(shape) and array.ndim > 0:
        sample, wanted = array.shape[1:], shape[1:]
    else:
        sample, wanted = array.shape[1:], shape
    fits = array.ndim > 0 and len(sample) == len(wanted) and all(
        want is None or have == want for have, want in zip(sample, wanted, strict=True)
    )
    if not fits:
        raise TaskError(
            f"{what} data: input {name!r} has shape {list(array.shape)}; the model takes"
            f" {['?' if d is None else d for d in shape]}, samples along the first axis"
        )


def _random(params: Mapping[str, Any], inputs: Sequence[Spec]) -> Samples:
    import numpy as np

    generator = np.random.default_rng(params["seed"])
    count = params["samples"]
    batch = max((spec["shape"][0] or 1 for spec in inputs if spec["shape"]), default=1)
    count = -(-count // batch) * batch  # whole batches
    arrays: dict[str, Array] = {}
    for spec in inputs:
        shape, dtype = spec["shape"], np.dtype(spec["dtype"])
        if shape and any(d is None for d in shape[1:]):
            raise TaskError(
                f"random data: input {spec['name']!r} has dynamic dimensions {shape};"
                " pin them under inputs: or declare real data"
            )
        full = (count, *shape[1:]) if shape else (count,)
        low, high = params["low"], params["high"]
        if dtype.kind == "f":
            arrays[spec["name"]] = generator.uniform(low, high, full).astype(dtype)
        elif dtype.kind == "b":
            arrays[spec["name"]] = generator.integers(0, 2, full).astype(dtype)
        elif dtype.kind in "iu":
            arrays[spec["name"]] = generator.integers(
                int(low), max(int(high), int(low) + 1), full
            ).astype(dtype)
        else:
            raise TaskError(
                f"random data: input {spec['name']!r} is {spec['dtype']}; declare real data"
            )
    return Samples(arrays, count, False)
