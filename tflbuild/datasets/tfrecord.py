"""`tfrecord`: TFRecord files of `tf.train.Example`, with a feature for each input."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.datasets.base import Listing, Sample, WrongData, inside
from tflbuild.datasets.choose import choose
from tflbuild.datasets.example import Feature, WrongExample, parse_example
from tflbuild.datasets.pixels import MODULE, Decoder
from tflbuild.datasets.records import read_records
from tflbuild.errors import TaskError
from tflbuild.manifest.includes import expand

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tflbuild.manifest.model import Model, RecordData

    Array = NDArray[Any]

NAME = "tfrecord"
_FILE = "record/"
_OURS = (".tflbuild", ".git")


def listing(root: Path, model: Model, data: RecordData) -> Listing:
    found: set[str] = set()
    folders: set[str] = set()
    for pattern in data.files:
        matched, listed = _expand(root, pattern)
        if not matched:
            raise WrongData(f"no file matches {pattern}", "tfrecord.files")
        found.update(inside(root, path, "tfrecord.files") for path in matched)
        folders.update(os.path.relpath(path, root) for path in listed)
    params = {
        "compression": data.compression,
        "features": [dataclasses.asdict(feature) for feature in data.features],
        "label": data.labels,
        "samples": data.samples,
        "seed": data.seed,
    }
    images = any(feature.image is not None for feature in data.features)
    return Listing(
        {_FILE + path: path for path in sorted(found)},
        params,
        tuple(sorted(folders)),
        (MODULE,) if images else (),
    )


def paths(root: Path, model: Model, data: RecordData) -> list[str]:
    matched = [path for pattern in data.files for path in _expand(root, pattern)[0]]
    return [os.path.relpath(path, root) for path in matched]


def _expand(root: Path, pattern: str) -> tuple[list[str], set[str]]:
    return expand(pattern, str(root), frozenset(str(root / name) for name in _OURS))


def samples(
    params: Mapping[str, Any], files: Mapping[str, Path], told: dict[str, Any]
) -> Iterator[Sample]:
    readers = {feature["name"]: _reader(feature) for feature in params["features"]}
    inputs = {feature["name"]: feature["input"] for feature in params["features"]}
    label = params["label"]
    labels = {"": label} if isinstance(label, str) else dict(label or ())
    records = {name.removeprefix(_FILE): files[name] for name in sorted(files)}
    compression, count = params["compression"], params["samples"]
    told["files"] = len(records)
    chosen: set[int] | None = None
    if params["seed"] is not None:
        total = sum(
            1 for shown in records for _ in read_records(records[shown], shown, compression, NONE)
        )
        told["records"] = total
        if total >= count:  # else all are read, and counted too few
            chosen = set(choose(map(str, range(total)), count, params["seed"]))
    wanted = {*readers, *labels.values()}
    number = taken = 0
    for shown, path in records.items():
        here: frozenset[int] | None = None
        if chosen is not None:
            here = frozenset(index - number for index in chosen if index >= number)
        for record in read_records(path, shown, compression, here):
            number += 1
            if here is not None and record.number not in here:
                continue
            where = f"record {record.number} of {shown}"
            try:
                features = parse_example(record.data, wanted)
            except WrongExample as error:
                raise TaskError(f"{where} is no tf.train.Example: {error}") from error
            values = {
                inputs[name]: read(_feature(features, name, where), where)
                for name, read in readers.items()
            }
            found = {name: _label(features, key, where) for name, key in labels.items()}
            yield Sample(where, values, found.get("", found or None))
            taken += 1
            if taken == count:
                return
    told["records"] = number


NONE: frozenset[int] = frozenset()  # no record's data


def _feature(features: Mapping[str, Feature], name: str, where: str, key: str = "") -> Feature:
    found = features.get(name)
    if found is None or not found.kind:
        near = get_close_matches(name, features, 1)
        hint = f"; did you mean {near[0]!r}?" if near and near[0] != name else ""
        raise TaskError(
            f"{where} has no feature {name!r} (it has {sorted(features)[:20]}){hint}",
            key=key or f"tfrecord.features.{name}",
        )
    return found


def _label(features: Mapping[str, Feature], name: str, where: str) -> Any:
    """One int64 as int; all else as an array: numbers (k,), or () for one; text alike."""
    import numpy as np

    found = _feature(features, name, where, key="labels")
    if found.kind == "bytes":
        array = np.empty(len(found.values), object)
        array[:] = found.values
    else:
        array = found.array()
    if not array.size:
        raise TaskError(f"{where}: the label {name!r} is empty", key="labels")
    if array.size > 1:
        return array
    return int(array[0]) if found.kind == "int64" else array.reshape(())


def _spoken(feature: Feature) -> str:
    size = len(feature.values) if feature.kind == "bytes" else feature.array().size
    return f"a list of {size} {feature.kind}"


def _reader(spec: Mapping[str, Any]) -> _Reader:
    if spec["image"] is not None:
        return _ImageReader(spec)
    if spec["raw"] is not None:
        return _RawReader(spec)
    return _TextReader(spec) if spec["dtype"] == "string" else _Reader(spec)


class _Reader:
    """A feature of numbers: float or int64, as many as the shape has."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.name: str = spec["name"]
        self.shape: tuple[int, ...] = tuple(spec["shape"] or ())
        self.dtype: str = spec["dtype"]
        self.spec = spec

    def __call__(self, feature: Feature, where: str) -> Array:
        if feature.kind == "bytes":
            raise self.wrong(feature, where, "numbers; bytes need raw: or image:")
        return self.shaped(feature.array(), where)

    def wrong(self, feature: Feature, where: str, wanted: str) -> TaskError:
        return TaskError(
            f"{where}: feature {self.name!r} is {_spoken(feature)}, expected {wanted}",
            key=f"tfrecord.features.{self.name}",
        )

    def shaped(self, numbers: Array, where: str) -> Array:
        """In the declared shape, scaled, of the declared type."""
        size = 1
        for length in self.shape:
            size *= length
        if numbers.size != size:
            raise TaskError(
                f"{where}: feature {self.name!r} holds {numbers.size} numbers, shape:"
                f" {list(self.shape)} takes {size}",
                key=f"tfrecord.features.{self.name}",
            )
        return self.typed(self.scaled(numbers.reshape(self.shape)), where)

    def scaled(self, numbers: Array) -> Array:
        """(number * scale - mean) / std in float64, where one of them is declared."""
        import numpy as np

        scale, mean, std = (self.spec[key] for key in ("scale", "mean", "std"))
        if (scale, tuple(mean), tuple(std)) == (1.0, (0.0,), (1.0,)):
            return numbers
        if any(len(per) not in (1, *self.shape[-1:]) for per in (mean, std)):
            raise TaskError(
                f"feature {self.name!r}: mean and std are one number, or one for each of the last"
                f" axis of shape: {list(self.shape)}",
                key=f"tfrecord.features.{self.name}",
            )
        mean, std = (np.array(per if len(per) > 1 else per[0]) for per in (mean, std))
        result: Array = (numbers.astype(np.float64) * scale - mean) / std
        return result

    def typed(self, numbers: Array, where: str) -> Array:
        """As the declared type; whole types hold whole numbers in their range alone."""
        import numpy as np

        wanted = np.dtype(self.dtype)
        if wanted.kind == "f" or wanted == numbers.dtype:
            return numbers.astype(wanted)
        if numbers.dtype.kind == "f":
            whole = bool((np.floor(numbers) == numbers).all())  # false for NaN
        else:
            whole = True
        low, high = (0, 1) if wanted.kind == "b" else (np.iinfo(wanted).min, np.iinfo(wanted).max)
        if not whole or (numbers.size and not (numbers.min() >= low and numbers.max() <= high)):
            raise TaskError(
                f"{where}: feature {self.name!r} holds numbers that {self.dtype} cannot",
                key=f"tfrecord.features.{self.name}",
            )
        return numbers.astype(wanted)


class _RawReader(_Reader):
    """One value of bytes that holds little-endian numbers, as `tobytes()` gives them."""

    def __call__(self, feature: Feature, where: str) -> Array:
        import numpy as np

        if feature.kind != "bytes" or len(feature.values) != 1:
            raise self.wrong(feature, where, "one value of bytes, for raw:")
        stored = np.dtype(self.spec["raw"]).newbyteorder("<")
        data = feature.values[0]
        if len(data) % stored.itemsize:
            raise TaskError(
                f"{where}: feature {self.name!r} holds {len(data)} bytes, no whole number of"
                f" {self.spec['raw']}",
                key=f"tfrecord.features.{self.name}",
            )
        return self.shaped(np.frombuffer(data, stored), where)


class _TextReader(_Reader):
    """Strings: as many values of bytes as the shape has."""

    def __call__(self, feature: Feature, where: str) -> Array:
        import numpy as np

        if feature.kind != "bytes":
            raise self.wrong(feature, where, "bytes, for dtype: string")
        texts = np.empty(len(feature.values), object)
        texts[:] = feature.values
        return self.shaped(texts, where)

    def typed(self, numbers: Array, where: str) -> Array:
        return numbers


class _ImageReader(_Reader):
    """One value of bytes that holds an encoded image."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__(spec)
        self.decoder = Decoder(spec["image"])

    def __call__(self, feature: Feature, where: str) -> Array:
        if feature.kind != "bytes" or len(feature.values) != 1:
            raise self.wrong(feature, where, "one value of bytes, for image:")
        return self.decoder.decode(io.BytesIO(feature.values[0]), f"{where}: feature {self.name!r}")
