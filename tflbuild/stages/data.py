"""data: records, images or a generator become arrays, once for all stages that read them.

Outputs: `arrays.json` (the input of each array, by its number), `array.<n>.npy` (little-endian,
samples along the first axis), `labels.npy` where there are labels; and for people `data.json`, what
was read, and `names.json`, where each sample comes from. Who reads the arrays does not read those:
other files with the same samples change nothing.
"""

from __future__ import annotations

from typing import Any

from tflbuild.datasets import KINDS
from tflbuild.datasets.arrays import Writer
from tflbuild.errors import TaskError
from tflbuild.stages.base import Request

VERSION = 2
MODULES: tuple[str, ...] = ("numpy",)
ZYGOTE = "lite"

NAMED = 100_000  # samples whose origin is kept


def run(request: Request) -> None:
    import numpy as np

    params = request.params
    told: dict[str, Any] = {}
    writers: dict[str, Writer] = {}
    labels: list[int | None] = []
    names: list[str] = []
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
            labels.append(sample.label)
            if len(names) < NAMED:
                names.append(sample.where)
        if not labels:
            raise TaskError("the data holds no sample")
        wanted = params.get("samples")
        if wanted is not None and len(labels) < wanted:
            raise TaskError(
                f"the data holds {len(labels)} samples, fewer than samples: {wanted}",
                key="samples",
            )
        made = {name: writer.close() for name, writer in writers.items()}
        if labels[0] is not None:
            np.save(request.out / "labels.npy", np.array(labels, "<i8"), allow_pickle=False)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TaskError(f"the arrays cannot be written: {reason}") from error
    request.write_json("arrays.json", {"inputs": sorted(writers)})
    request.write_json("names.json", names)
    request.write_json(
        "data.json", {"kind": params["kind"], "samples": len(labels), "inputs": made, **told}
    )
