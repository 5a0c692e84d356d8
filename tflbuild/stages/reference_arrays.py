"""reference, for sources that another framework than TensorFlow runs: NumPy in, NumPy out.

Outputs as of `reference`. One sample a call (or one fixed batch), as the file is run.
"""

from __future__ import annotations

from typing import Any

from tflbuild import data
from tflbuild.errors import TaskError, TflbuildError, one_line
from tflbuild.stages.base import Request
from tflbuild.stages.lower import load_source, pinned_specs, positional_order
from tflbuild.stages.reference import canonical, join

VERSION = 1
MODULES: tuple[str, ...] = ("numpy",)
ZYGOTE = "lite"


def run(request: Request) -> None:
    import numpy as np

    params = request.params
    loaded = load_source(request)
    (signature,) = loaded.signatures
    assert signature.arrays is not None
    inputs, outputs = positional_order(signature, params)
    pinned = pinned_specs(signature, params["pins"])
    described = [
        {"name": name, "dtype": pinned[name][1], "shape": list(pinned[name][0])} for name in inputs
    ]
    samples = data.load(params["test"], request.files("test"), described, "test")
    collected: list[list[Any]] = [[] for _ in outputs]
    for batch in data.batches(samples, described, 1):
        try:
            results = signature.arrays(batch)
        except (TflbuildError, MemoryError):
            raise
        except Exception as error:  # whatever the framework raises
            raise TaskError(
                f"the source itself fails on the test data: {one_line(error)}"
            ) from error
        for rows, name in zip(collected, outputs, strict=True):
            rows.append(np.array(results[name]))
    stacked = data.is_stacked(samples, described)
    entries = []
    for index, (name, rows) in enumerate(zip(outputs, collected, strict=True)):
        array = join(rows, stacked)
        np.save(request.out / f"output.{index}.npy", canonical(array), allow_pickle=False)
        entries.append({"name": name, "dtype": str(array.dtype), "shape": list(array.shape)})
    request.write_json(
        "reference.json",
        {
            "outputs": entries,
            "samples": samples.count,
            "representative": samples.representative,
            "input_ranges": samples.ranges(),
            "warnings": samples.warnings,
        },
    )
