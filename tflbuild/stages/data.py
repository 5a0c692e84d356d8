"""data: records, images or a generator become arrays, once for all stages that read them.

Outputs: `arrays.json` (the input of each array, by its number), `array.<n>.npy` (little-endian,
samples along the first axis), `labels.npy` where there are labels (several: `label.<n>.npy`, whose
names `arrays.json` has too); and for people `data.json`, what was read, and `names.json`, where
each sample comes from. Who reads the arrays does not read those: other files with the same samples
change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tflbuild.datasets import KINDS
from tflbuild.datasets.arrays import Writer
from tflbuild.datasets.base import Sample
from tflbuild.errors import TaskError
from tflbuild.stages.base import Request

VERSION = 2
MODULES: tuple[str, ...] = ("numpy",)
ZYGOTE = "lite"

NAMED = 100_000  # samples whose origin is kept


def run(request: Request) -> None:
    params = request.params
    told: dict[str, Any] = {}
    writers: dict[str, Writer] = {}
    labels: dict[str, Writer] = {}
    names: list[str] = []
    count = 0
    try:
        samples = KINDS[params["kind"]].samples(params, request.inputs, told)
        for sample in samples:
            if not writers:
                for index, name in enumerate(sorted(sample.inputs)):
                    writers[name] = Writer(request.out / f"array.{index}.npy", name)
            if writers.keys() != sample.inputs.keys():
                raise TaskError(
                    f"{sample.where} has inputs {sorted(sample.inputs)}, those before it"
                    f" {sorted(writers)}"
                )
            for name, array in sample.inputs.items():
                writers[name].add(array, sample.where)
            if sample.label is not None:
                _add_labels(labels, sample, request)
            if len(names) < NAMED:
                names.append(sample.where)
            count += 1
        if not count:
            raise TaskError("the data holds no sample")
        wanted = params.get("samples")
        if wanted is not None and count < wanted:
            raise TaskError(
                f"the data holds {count} samples, fewer than samples: {wanted}",
                key="samples",
            )
        made = {name: writer.close() for name, writer in writers.items()}
        for writer in labels.values():
            writer.close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise TaskError(f"the arrays cannot be written: {reason}") from error
    named = {"labels": sorted(labels)} if labels and "" not in labels else {}
    request.write_json("arrays.json", {"inputs": sorted(writers), **named})
    request.write_json("names.json", names)
    request.write_json(
        "data.json", {"kind": params["kind"], "samples": count, "inputs": made, **told}
    )


def _add_labels(writers: dict[str, Writer], sample: Sample, request: Request) -> None:
    """One file for the label, or one for each of several. Raises TaskError."""
    import numpy as np

    given = sample.label if isinstance(sample.label, Mapping) else {"": sample.label}
    if not writers:
        for index, name in enumerate(sorted(given)):
            file = f"label.{index}.npy" if name else "labels.npy"
            writers[name] = Writer(request.out / file, name, "label")
    if writers.keys() != given.keys():
        raise TaskError(
            f"{sample.where} has labels {sorted(given)}, those before it {sorted(writers)}",
            key="labels",
        )
    for name, label in given.items():
        try:
            writers[name].add(np.asarray(label), sample.where)
        except TaskError as error:
            error.key = "labels"
            raise
