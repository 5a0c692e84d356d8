"""From manifest to graph: the one place that knows the order of the stages.

```
reference:M ───────────────────────────────────┐
lower:M ─► evaluate:M ┄► convert:M:O ─┬─► validate:M:O ┄┐
                                      └─► compat:M:O@T ┄┴► release:M:O@T
─► data edge (the input's digest enters the key)   ┄► gate ("did it pass", never in a key)
```

Before lower and reference comes fetch:M or generate:M, where the source is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tflbuild.errors import ManifestError
from tflbuild.making import making, member_of
from tflbuild.manifest.model import Data, FileData, Model, Optimization, RandomData, Workspace
from tflbuild.optimizations import QUANTIZATIONS
from tflbuild.sources import FORMATS
from tflbuild.sources.made import OUTPUT
from tflbuild.stages import (
    compat,
    convert,
    evaluate,
    fetch,
    generate,
    lower,
    reference,
    validate,
)
from tflbuild.targets import RUNTIMES

STAGES = {
    "fetch": fetch,
    "generate": generate,
    "lower": lower,
    "reference": reference,
    "evaluate": evaluate,
    "convert": convert,
    "compat": compat,
    "validate": validate,
}
ORDER = (
    "fetch", "generate", "lower", "reference", "evaluate", "convert", "compat", "validate",
    "release",
)  # fmt: skip

# Outputs that are never byte-stable: who reads one is keyed by its producer's key instead.
UNSTABLE = frozenset({"saved_model.tar"})


@dataclass(frozen=True)
class Artifact:
    """(model, optimization, target): one released file."""

    model: str
    optimization: str
    target: str

    def __str__(self) -> str:
        return f"{self.model}:{self.optimization}@{self.target}"

    @property
    def file(self) -> str:
        """Path below the dist folder."""
        return f"{self.target}/{self.model}-{self.optimization}.tflite"


@dataclass(frozen=True)
class Port:
    """A data edge: outputs of another task (shell patterns) that this one reads."""

    task: str
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One task of the graph, before anything is known about its state."""

    name: str
    stage: str
    model: Model
    optimization: Optimization | None = None
    target: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)  # in the key
    files: Mapping[str, str] = field(default_factory=dict)  # keyed input name → path under root
    folders: tuple[str, ...] = ()  # whose listing made `files`
    ports: tuple[Port, ...] = ()
    gates: tuple[str, ...] = ()  # tasks that must have passed; in no key
    modules: tuple[str, ...] = ()  # whose distributions are the toolchain
    request: Mapping[str, Any] = field(default_factory=dict)  # for the child alone, in no key
    report: str | None = None  # path below the reports folder

    @property
    def artifact(self) -> Artifact:
        assert self.optimization is not None
        assert self.target is not None
        return Artifact(self.model.name, self.optimization.name, self.target)

    @property
    def depends(self) -> list[str]:
        """Task names, data edges first, each once."""
        return list(dict.fromkeys([*(port.task for port in self.ports), *self.gates]))


def report_of(task: str) -> str | None:
    """Where a task's report lies below the reports folder; None for one without."""
    stage, _, rest = task.partition(":")
    if stage not in ("evaluate", "compat", "validate"):
        return None
    return f"{rest.replace(':', '/')}/{stage}.json"


@dataclass(frozen=True)
class Graph:
    workspace: Workspace
    steps: Mapping[str, Step]

    def needed(self, tasks: Iterable[str]) -> list[str]:
        """All tasks that `tasks` stand on and those themselves, producers first."""
        order: dict[str, None] = {}
        stack = [(name, False) for name in reversed(list(tasks))]
        while stack:
            name, ready = stack.pop()
            if ready:
                order[name] = None
            elif name not in order:
                stack.append((name, True))
                stack += [(other, False) for other in reversed(self.steps[name].depends)]
        return list(order)

    def artifacts(self) -> list[Artifact]:
        return [step.artifact for step in self.steps.values() if step.stage == "release"]


def artifacts_of(model: Model) -> list[Artifact]:
    return [
        Artifact(model.name, optimization.name, target)
        for optimization in model.optimizations
        for target in optimization.targets
    ]


def build_graph(workspace: Workspace, models: Iterable[Model]) -> Graph:
    """The tasks of `models`, in an order that a person expects."""
    steps: dict[str, Step] = {}
    for model in models:
        for step in model_steps(workspace, model):
            steps[step.name] = step
    return Graph(workspace, steps)


def model_steps(workspace: Workspace, model: Model) -> list[Step]:
    """All tasks of one model: 3 and, for each optimization, 2 and 2 for each target; before them
    the one that makes the source, if one does."""
    name = model.name
    source = lowering_inputs(workspace.root, model)
    test_params, test_files = test_data(model)
    steps = making_steps(workspace.root, model)
    steps += [
        Step(f"lower:{name}", "lower", model, modules=lower.MODULES + source.modules,
             params=source.params, files=source.files, folders=source.folders,
             ports=source.ports, request=source.request),
        Step(f"reference:{name}", "reference", model,
             modules=reference.MODULES + source.modules,
             params={**source.params, "test": test_params},
             files={**source.files, **test_files}, folders=source.folders,
             ports=source.ports, request=source.request),
        Step(f"evaluate:{name}", "evaluate", model, modules=evaluate.MODULES,
             ports=(_lowered(name),), request=_retry(source),
             report=report_of(f"evaluate:{name}")),
    ]  # fmt: skip
    for optimization in model.optimizations:
        steps += optimization_steps(workspace, model, optimization, source, test_params, test_files)
    return steps


def making_steps(root: Path, model: Model) -> list[Step]:
    """The task that makes a model's source; none for one that lies in the workspace."""
    stage = model.source.made
    if not stage:
        return []
    made = making(root, model)
    modules = STAGES[stage].MODULES + made.modules
    return [Step(f"{stage}:{model.name}", stage, model, params=made.params, files=made.files,
                 folders=made.folders, modules=modules, request=made.request)]  # fmt: skip


def relisted(root: Path, step: Step) -> bool:
    """Whether the files of a source, or of what makes it, are others than when `step` was made.
    Raises what `lowering_inputs` raises."""
    if not step.folders:
        return False
    making = step.stage == step.model.source.made
    now = (making_steps(root, step.model)[0] if making else lowering_inputs(root, step.model)).files
    listed = {n: p for n, p in step.files.items() if n.startswith(("source/", generate.INPUT))}
    return dict(now) != listed


def _lowered(name: str) -> Port:
    return Port(f"lower:{name}", ("lowered.pb", "saved_model.tar", "interface.json"))


@dataclass(frozen=True)
class SourceInputs:
    """What lower and reference read, and a retried convert."""

    params: Mapping[str, Any]
    files: Mapping[str, str]
    folders: tuple[str, ...]
    modules: tuple[str, ...]
    request: Mapping[str, Any]
    ports: tuple[Port, ...] = ()  # what makes it, where something does


def lowering_inputs(root: Path, model: Model) -> SourceInputs:
    """Parameters and files of a model's source. Raises OSError when it cannot be listed,
    ManifestError or UsageError for symbolic links that lead elsewhere."""
    source, form = model.source, FORMATS[model.source.format]
    params: dict[str, Any] = {"format": source.format}
    request: dict[str, Any] = {"inputs": {"source": source.path}}
    ports: tuple[Port, ...] = ()
    listed: Sequence[tuple[str, Path]] = ()
    folders: Sequence[Path] = ()
    if source.made:
        params["member"] = member_of(model)
        ports = (Port(f"{source.made}:{model.name}", (OUTPUT,)),)
        request = {"retry_ports": ports}
    else:
        listed, folders = form.files(root / source.path)
    if source.signature is not None:
        params["signature"] = source.signature
    if source.tags:
        params["tags"] = list(source.tags)
    for path in (*folders, *(path for _, path in listed)):
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
            raise ManifestError(
                f"{path.relative_to(root)} is a symbolic link that leaves the workspace",
                model.position_of("source.path"),
            )
    relative = _relative_to(root)
    return SourceInputs(
        params={
            "source": params,
            "pins": {
                pin.name: {"shape": None if pin.shape is None else list(pin.shape),
                           "dtype": pin.dtype}
                for pin in model.inputs
            },
            "input_order": [pin.name for pin in model.inputs],
            "output_order": list(model.outputs),
        },
        files={f"source/{name}": relative(path) for name, path in listed},
        folders=tuple(relative(folder) for folder in folders),
        modules=form.MODULES,
        request=request,
        ports=ports,
    )  # fmt: skip


def _retry(source: SourceInputs) -> dict[str, Any]:
    """What a conversion needs to take the SavedModel route, from the source, after all."""
    return {**source.request, "retry": {**source.params, "lower": source.params}}


def _relative_to(root: Path) -> Any:
    prefix = str(root) + os.sep

    def relative(path: Path) -> str:
        return str(path).removeprefix(prefix)

    return relative


def optimization_steps(
    workspace: Workspace,
    model: Model,
    optimization: Optimization,
    source: SourceInputs,
    test_params: Mapping[str, Any],
    test_files: Mapping[str, str],
) -> list[Step]:
    """convert and validate once for each converter profile, compat and release for each target."""
    steps: list[Step] = []
    profiles: dict[str, list[str]] = {}
    for target in optimization.targets:
        runtime = RUNTIMES[workspace.targets[target].runtime]
        profiles.setdefault(runtime.PROFILE, []).append(target)
    for profile, targets in sorted(profiles.items()):
        suffix = "" if profile == "builtin" else f"+{profile}"
        pair = f"{model.name}:{optimization.name}{suffix}"
        params: dict[str, Any] = {
            "quantize": optimization.quantize, "io": optimization.io, "profile": profile,
        }  # fmt: skip
        files: dict[str, str] = {}
        if QUANTIZATIONS[optimization.quantize].CALIBRATES and model.calibration:
            params["calibration"], files = data_inputs("calibration", model.calibration)
        convert_task, validate_task = f"convert:{pair}", f"validate:{pair}"
        steps.append(Step(
            convert_task, "convert", model, optimization, modules=convert.MODULES,
            params=params, files=files, ports=(_lowered(model.name),),
            gates=(f"evaluate:{model.name}",),
            request=_retry(source),
        ))  # fmt: skip
        steps.append(Step(
            validate_task, "validate", model, optimization, modules=validate.MODULES,
            params={
                "test": test_params,
                "data": _data_name(model),
                "metrics": [{"name": m.name, "output": m.output} for m in model.metrics],
            },
            files=test_files,
            ports=(
                Port(convert_task, ("model.tflite",)),
                Port(f"lower:{model.name}", ("interface.json",)),
                Port(f"reference:{model.name}", ("reference.json", "output.*.npy")),
            ),
            report=report_of(validate_task),
        ))  # fmt: skip
        for target in targets:
            compat_task = f"compat:{model.name}:{optimization.name}@{target}"
            steps.append(Step(
                compat_task, "compat", model, optimization, target, modules=compat.MODULES,
                params={"runtime": workspace.targets[target].runtime},
                ports=(Port(convert_task, ("model.tflite",)),),
                report=report_of(compat_task),
            ))  # fmt: skip
            steps.append(Step(
                f"release:{model.name}:{optimization.name}@{target}", "release",
                model, optimization, target,
                ports=(Port(convert_task, ("model.tflite",)),),
                gates=(f"evaluate:{model.name}", compat_task, validate_task),
            ))  # fmt: skip
    return steps


def data_inputs(prefix: str, data: Data) -> tuple[dict[str, Any], dict[str, str]]:
    """Key parameters and keyed files of declared data."""
    if isinstance(data, RandomData):
        return {
            "kind": "random", "seed": data.seed, "samples": data.samples,
            "low": data.low, "high": data.high,
        }, {}  # fmt: skip
    params: dict[str, Any] = {"samples": data.samples}
    files: dict[str, str] = {}
    if data.npz is not None:
        params["kind"] = "npz"
        files[f"{prefix}.npz"] = data.npz
    else:
        params["kind"] = "npy"
        params["arrays"] = sorted(name for name, _ in data.npy)
        files.update({f"{prefix}.npy.{name}": path for name, path in data.npy})
    if data.labels is not None and prefix == "test":
        params["labels"] = True
        params["label_key"] = data.labels.key
        if data.labels.key is None:
            files[f"{prefix}.labels"] = data.labels.path
    return params, files


def parity_data(model: Model) -> Data:
    """What parity is measured on: the test data, else real calibration data, else random data
    in the range of the declared calibration."""
    if model.test is not None:
        return model.test
    if isinstance(model.calibration, RandomData):  # the same range, other samples
        return replace(model.calibration, seed=model.calibration.seed + 1)
    return model.calibration if model.calibration is not None else RandomData()


def test_data(model: Model) -> tuple[dict[str, Any], dict[str, str]]:
    return data_inputs("test", parity_data(model))


def _data_name(model: Model) -> str:
    data = parity_data(model)
    if not isinstance(data, FileData):
        return "random"
    return "test" if model.test is not None else "calibration"
