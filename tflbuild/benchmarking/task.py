"""The task that measures a model's files: `benchmark:M`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild.benchmarking.machine import machine
from tflbuild.manifest.model import Model, Workspace
from tflbuild.model_data import data_name, data_ports, plain
from tflbuild.profiles import groups
from tflbuild.step import Port, Step, report_of


def benchmark_step(
    workspace: Workspace,
    model: Model,
    test_params: Sequence[Mapping[str, Any] | None],
    test_files: Mapping[str, str],
) -> Step:
    """Its inputs are all converted files at once: numbers of different runs cannot be compared.
    Limits are in no key. Raises ManifestError."""
    asked = model.benchmark
    assert asked is not None
    task = f"benchmark:{model.name}"
    described: list[dict[str, Any]] = []
    ports: list[Port] = []
    files = dict(test_files)
    for optimization in model.optimizations:
        if optimization.name not in asked.optimizations:
            continue
        for group in groups(workspace, optimization):
            name = f"{optimization.name}{group.suffix}"
            own = group.loading()  # with a validator, which is another Python, nothing is measured
            described.append({"name": name, "params": own.params})
            files |= {f"{name}/{key}": path for key, path in own.files.items()}
            convert = f"convert:{model.name}:{name}"
            ports.append(Port(convert, ("model.tflite",), prefix=f"{name}/"))
    return Step(
        task, "benchmark", model,
        params=plain({
            "test": test_params,
            "signatures": [{"data": data_name(shipped)} for shipped in model.signatures],
            "files": described,
            "threads": asked.threads, "delegate": asked.delegate, "warmup": asked.warmup,
            "repeats": asked.repeats, "per_op": asked.per_op,
            "machine": machine(),
        }),
        files=files,
        ports=(
            *ports,
            Port(f"lower:{model.name}", ("interface.json",)),
            *data_ports("test", model),
        ),
        report=report_of(task), alone=True,
    )  # fmt: skip
