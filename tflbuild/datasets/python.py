"""`python`: a function of the user's that gives samples."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild import pyrun
from tflbuild.datasets.base import Listing, Sample, WrongData
from tflbuild.environment import variable_digest
from tflbuild.errors import ManifestError, TaskError, one_line
from tflbuild.pycode import closure
from tflbuild.store.toolchain import loose_files

if TYPE_CHECKING:
    from tflbuild.manifest.model import Model, PythonData

NAME = "python"
PAIR = "pair"  # `labels` of samples that are pairs (inputs, label)
# Where nothing says how many samples to take, an endless generator ends here.
MOST_SAMPLES = 1_000_000
MOST_BYTES = 16 << 30

_END = object()


def listing(root: Path, model: Model, data: PythonData) -> Listing:
    try:
        found = closure(root, [data.python], model.depends)
    except ManifestError as error:
        if error.message.startswith("depends: "):
            raise ManifestError(error.message, model.position_of("depends")) from error
        raise WrongData(error.message, "python") from error
    values = {name: os.environ.get(name) for name in model.env}
    params = {
        "python": found.entries[0].as_json(),
        "args": json.loads(data.args) if data.args else None,
        "labels": data.labels,
        "samples": data.samples,
        "code": {"path": list(found.path), "base": data.python.base},
        "env": {name: variable_digest(value) for name, value in values.items()},
    }
    if (ignored := _ignored(model, data)) is not None:
        params["ignored"] = ignored
    return Listing(
        found.files,
        params,
        (*found.folders, *loose_files(root, found.modules)),
        found.modules,
        {
            "inputs": {"workspace": "."},
            "env": {name: value for name, value in values.items() if value is not None},
        },
    )


def _ignored(model: Model, data: PythonData) -> str | list[str] | None:
    """What the test data take for the label, where the same function gives both: calibration needs
    no label."""
    if data.labels is not None:
        return None
    for test in (shipped.test for shipped in model.signatures):
        if getattr(test, "python", None) == data.python:
            label = getattr(test, "labels", None)
            if isinstance(label, tuple):
                return [key for _, key in label]
            return label if isinstance(label, str) and label != PAIR else None
    return None


def paths(root: Path, model: Model, data: PythonData) -> list[str]:
    try:
        return list(listing(root, model, data).files.values())
    except WrongData:  # the graph says so
        return []


def samples(
    params: Mapping[str, Any], files: Mapping[str, Path], told: dict[str, Any]
) -> Iterator[Sample]:
    pyrun.enter(files, params["code"], Path.cwd())  # a child's scratch folder
    _set_seeds()
    made = pyrun.call_with(pyrun.function(params["python"], NAME), params["args"], NAME)
    if not isinstance(made, Iterable) or isinstance(made, str | bytes | Mapping):
        raise TaskError(
            f"the function gives a {type(made).__name__}, expected an iterable of samples", key=NAME
        )
    _set_seeds()
    iterator = pyrun.call(iter, made, key=NAME)
    wanted, held = params["samples"], 0
    count = 0
    while wanted is None or count < wanted:
        found = pyrun.call(next, iterator, _END, key=NAME)
        if found is _END:
            return
        if isinstance(found, Mapping) and "ignored" in params:
            ignored = params["ignored"]
            ignored = [ignored] if isinstance(ignored, str) else ignored
            found = {name: value for name, value in found.items() if name not in ignored}
        labels = params["labels"]
        if isinstance(labels, list):  # as JSON has pairs
            labels = dict(labels)
        sample = _sample(found, labels, f"sample {count}")
        count += 1
        yield sample
        held += sum(array.nbytes for array in sample.inputs.values())
        if wanted is None and (count >= MOST_SAMPLES or held >= MOST_BYTES):
            raise TaskError(
                f"the function does not end: it gave {count} samples, {held} bytes; say how many"
                " to take by samples:",
                key=NAME,
            )


def _set_seeds() -> None:
    """Generators that draw at random draw alike in each run."""
    import random

    import numpy as np

    random.seed(0)
    np.random.seed(0)
    if "tensorflow" in sys.modules:  # the function's module imported it
        sys.modules["tensorflow"].random.set_seed(0)


def _sample(found: Any, labels: str | Mapping[str, str] | None, where: str) -> Sample:
    """`labels`: the key of the label, or of several by name; "pair"; None for no label."""
    label: Any = None
    keys: set[str] = set()
    if isinstance(labels, Mapping):
        keys = {*labels.values()}
    elif labels not in (None, PAIR):
        keys = {str(labels)}
    if isinstance(found, tuple) and len(found) == 2:
        found, label = found
        if keys:
            raise TaskError(f"{where} is a pair (inputs, label): write labels: pair", key="labels")
    elif labels == PAIR:
        raise TaskError(f"{where} is no pair (inputs, label), as labels: pair says", key="labels")
    if isinstance(found, list) and len(found) == 1:  # as TFLiteConverter takes them
        found = found[0]
    if isinstance(found, list | tuple) and any(hasattr(item, "shape") for item in found):
        raise TaskError(
            f"{where} is a {type(found).__name__} of {len(found)} arrays: give a dict of arrays by"
            " input name",
            key=NAME,
        )
    if not isinstance(found, Mapping):
        found = {"": found}
    elif keys:
        for key in sorted(keys):
            if key not in found:
                raise TaskError(f"{where} has no {key!r}; it has {sorted(found)}", key="labels")
        if isinstance(labels, Mapping):
            label = {name: found[key] for name, key in labels.items()}
        else:
            label = found[labels]
    inputs = {
        _name(name, where): _array(value, name, where)
        for name, value in found.items()
        if name not in keys
    }
    if not inputs:
        raise TaskError(f"{where} is empty", key=NAME)
    if labels is None:
        return Sample(where, inputs)
    if isinstance(labels, Mapping):
        return Sample(where, inputs, {n: _label(v, where, f" {n!r}") for n, v in label.items()})
    return Sample(where, inputs, _label(label, where))


def _name(name: Any, where: str) -> str:
    if not isinstance(name, str):
        raise TaskError(f"{where} names an input {name!r}; names are text", key=NAME)
    return name


def _array(value: Any, name: str, where: str) -> Any:
    import numpy as np

    shown = f"input {name!r}" if name else "the input"
    try:
        array = np.asarray(value)
    except Exception as error:  # lists of unequal length; tensors raise what they like
        raise TaskError(
            f"{where}: {shown} is no array: {one_line(error, 200)}", key=NAME
        ) from error
    if array.dtype.kind == "O" and not all(isinstance(v, str | bytes) for v in array.ravel()):
        raise TaskError(
            f"{where}: {shown} is a {type(value).__name__}, no array of numbers or text", key=NAME
        )
    return array


def _label(value: Any, where: str, name: str = "") -> Any:
    """Numbers or text as an array; one whole number as int."""
    import numpy as np

    try:
        array = np.asarray(value)
    except Exception as error:  # lists of unequal length; tensors raise what they like
        raise TaskError(
            f"{where}: the label{name} is no array: {one_line(error, 200)}", key="labels"
        ) from error
    text = array.dtype.kind == "O" and all(isinstance(v, str | bytes) for v in array.ravel())
    if array.dtype.kind not in "iubfSU" and not text:
        raise TaskError(
            f"{where}: the label{name} must be numbers or text, not {array.dtype} of shape"
            f" {list(array.shape)}",
            key="labels",
        )
    if array.size == 1 and array.dtype.kind in "iub":
        return int(array.reshape(-1)[0])
    return array
