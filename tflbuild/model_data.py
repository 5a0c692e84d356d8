"""The data that a model's tasks read: which, how it enters their keys, and the tasks that make
arrays of what is not arrays yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tflbuild.datasets import KINDS
from tflbuild.datasets.base import WrongData
from tflbuild.errors import ManifestError
from tflbuild.manifest.model import (
    ArrayRef,
    Data,
    FileData,
    ImageData,
    MadeData,
    Model,
    Optimization,
    PythonData,
    RandomData,
    Shipped,
)
from tflbuild.manifest.problems import Problems
from tflbuild.step import Port, Step


def data_inputs(
    prefix: str, declared: Sequence[Data | None]
) -> tuple[list[dict[str, Any] | None], dict[str, str]]:
    """Key parameters and keyed files of the declared data of each signature; None where one
    has no data."""
    params: list[dict[str, Any] | None] = []
    files: dict[str, str] = {}
    for index, data in enumerate(declared):
        if data is None:
            params.append(None)
            continue
        own, its_files = _data_inputs(f"{prefix}.{index}", data, labelled=prefix == "test")
        params.append(own)
        files |= its_files
    return params, files


def _data_inputs(prefix: str, data: Data, labelled: bool) -> tuple[dict[str, Any], dict[str, str]]:
    if isinstance(data, RandomData):
        return {
            "kind": "random", "seed": data.seed, "samples": data.samples,
            "low": data.low, "high": data.high,
        }, {}  # fmt: skip
    if not isinstance(data, FileData):  # arrays by a task of their own: see data_ports
        return {"kind": "arrays", "labels": data.labels is not None and labelled}, {}
    params: dict[str, Any] = {"samples": data.samples}
    if data.seed is not None:
        params["seed"] = data.seed
    files: dict[str, str] = {}
    if data.npz is not None:
        params["kind"] = "npz"
        files[f"{prefix}.npz"] = data.npz
    else:
        params["kind"] = "npy"
        params["arrays"] = sorted(name for name, _ in data.npy)
        files.update({f"{prefix}.npy.{name}": path for name, path in data.npy})
    if data.labels is not None and labelled:
        params["labels"] = True
        if isinstance(data.labels, tuple):
            params["label_keys"] = {name: ref.key for name, ref in data.labels}
        else:
            params["label_key"] = data.labels.key
        for name, ref in label_refs(data):
            if ref.key is None:
                files[f"{prefix}.labels{name and '.'}{name}"] = ref.path
    return params, files


def label_refs(data: FileData) -> tuple[tuple[str, ArrayRef], ...]:
    """Where the labels are, by name; "" for the only ones."""
    if data.labels is None or isinstance(data.labels, tuple):
        return data.labels or ()
    return (("", data.labels),)


def parity_data(shipped: Shipped) -> Data:
    """What parity is measured on: the test data, else real calibration data, else random data
    in the range of the declared calibration."""
    if shipped.test is not None:
        return shipped.test
    if isinstance(shipped.calibration, RandomData):  # the same range, other samples
        return replace(shipped.calibration, seed=shipped.calibration.seed + 1)
    return shipped.calibration if shipped.calibration is not None else RandomData()


def sequences(model: Model) -> list[dict[str, Any] | None]:
    """How state is run on in tests, by signature."""
    return [
        None if s.sequence is None else {"reset": s.sequence.reset, "length": s.sequence.length}
        for s in model.signatures
    ]


def golden_inputs(
    model: Model, optimization: Optimization
) -> tuple[dict[str, Any], dict[str, str]]:
    """Key parameters and keyed files of the golden tests of one converted file. Their limits are
    in no key."""
    tests = [test for test in model.golden if optimization.name in test.optimizations]
    if not tests:
        return {}, {}
    params = [{"name": test.name, "signature": test.signature} for test in tests]
    files = {f"golden.{number}.npz": test.npz for number, test in enumerate(tests)}
    return {"golden": params}, files


def data_name(shipped: Shipped) -> str:
    if isinstance(parity_data(shipped), RandomData):
        return "random"
    return "test" if shipped.test is not None else "calibration"


def parity_uses(model: Model) -> list[str]:
    """As what the data of parity is declared, by signature; "test" where none is."""
    return [
        "calibration" if s.test is None and s.calibration is not None else "test"
        for s in model.signatures
    ]


def data_ports(use: str, model: Model) -> tuple[Port, ...]:
    """Where `use` (calibration, test) of each signature reads arrays that a task makes."""
    ports = []
    # Numbered as `data_inputs` numbers them.
    for index, shipped in enumerate(model.signatures):
        data = shipped.calibration if use == "calibration" else parity_data(shipped)
        if isinstance(data, MadeData):
            task, _ = _data_task(model, shipped, data_name(shipped) if use == "test" else use)
            outputs = ("arrays.json", "array.*.npy", "labels.npy", "label.*.npy")
            ports.append(Port(task, outputs, prefix=f"{use}.{index}."))
    return tuple(ports)


def _data_task(model: Model, shipped: Shipped, use: str) -> tuple[str, str]:
    """The task that makes arrays of declared data, and the section that declares it. What the
    model says for all signatures is made once."""
    own = f"data.signatures.{shipped.name}.{use}"
    if shipped.name is not None and own in model.positions:
        return f"data:{model.name}:{quote(shipped.name, safe='')}:{use}", f"{own}."
    return f"data:{model.name}:{use}", f"data.{use}."


def data_steps(root: Path, model: Model) -> list[Step]:
    """The tasks that make arrays for one model. Raises OSError, and ManifestErrors with all that
    is wrong with its data."""
    calibrates = any(o.calibrates or o.recipe_file is not None for o in model.optimizations)
    steps: dict[str, Step] = {}
    problems = Problems()
    for shipped in model.signatures:
        needed = calibrates or shipped.test is None
        used = {"calibration": shipped.calibration if needed else None, "test": shipped.test}
        for use, declared in used.items():
            task, section = _data_task(model, shipped, use)
            if isinstance(declared, MadeData) and task not in steps:
                try:
                    steps[task] = _data_step(root, model, declared, task, section)
                except ManifestError as error:
                    problems.take(error)
    problems.raise_any()
    return list(steps.values())


def _data_step(root: Path, model: Model, declared: MadeData, task: str, section: str) -> Step:
    kind = data_kind(declared)
    try:
        listing = KINDS[kind].listing(root, model, declared)
    except WrongData as error:
        raise ManifestError(str(error), model.position_of(section + error.key)) from None
    return Step(
        task, "data", model, modules=listing.modules,
        params=plain({"kind": kind, **listing.params}), files=listing.files,
        folders=listing.folders, request=listing.request, data=declared, section=section,
    )  # fmt: skip


def data_kind(data: MadeData) -> str:
    """Which of KINDS makes arrays of it."""
    if isinstance(data, PythonData):
        return "python"
    return "images" if isinstance(data, ImageData) else "tfrecord"


def plain(value: Any) -> Any:
    """As it comes back from JSON, so that two keys can be compared part by part."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
