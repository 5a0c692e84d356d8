"""From manifest to graph: the one place that knows the order of the stages.

```
data:M:test ─┬─► reference:M ──────────────────┐
             └─────────────────────────────────┤
lower:M ─► evaluate:M ─► baseline:M ──────────┤
                      ┄► convert:M:O ─┬─► validate:M:O ┄┐
data:M:calibration ─────►┘            └─► compat:M:O@T ┄┴► release:M:O@T
─► data edge (the input's digest enters the key)   ┄► gate ("did it pass", never in a key)
```

baseline:M is there for quantized files: without one, nothing asks what quantization does.

Where a target wants other forms of its files, emit:M:O@T stands before release:M:O@T. What a
runtime is built from is a task of the target: runtime:T, after all releases for it.

Before lower and reference comes fetch:M or generate:M, where the source is made.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tflbuild.custom_runtime import KINDS as CUSTOM_RUNTIMES
from tflbuild.datasets import KINDS
from tflbuild.datasets.base import WrongData
from tflbuild.errors import ManifestError, ManifestErrors
from tflbuild.labelling import metadata_inputs
from tflbuild.making import making, member_of
from tflbuild.manifest.model import Model, Optimization, Workspace
from tflbuild.manifest.parity import limits_of, top_k_of
from tflbuild.manifest.problems import Problems
from tflbuild.metrics.inputs import MetricInputs, metric_inputs
from tflbuild.model_data import (
    data_inputs,
    data_kind,
    data_name,
    data_ports,
    data_steps,
    golden_inputs,
    parity_data,
    parity_uses,
    plain,
    sequences,
)
from tflbuild.optimizations.base import AI_EDGE
from tflbuild.optimizations.none import NAME as NONE
from tflbuild.profiles import Group, groups
from tflbuild.sources import FORMATS
from tflbuild.sources.base import TFLITE
from tflbuild.sources.made import OUTPUT
from tflbuild.stages.validate import BASELINE
from tflbuild.step import EMITTED, OP_LIST, Artifact, Port, Step, report_of
from tflbuild.targets import micro
from tflbuild.usercode import code_inputs


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


def environments(workspace: Workspace) -> dict[str, list[Artifact]]:
    """The targets whose runtime is built from their files' operators, with all their files."""
    found: dict[str, list[Artifact]] = {}
    for model in workspace.models:
        for artifact in artifacts_of(model):
            if workspace.targets[artifact.target].runtime in CUSTOM_RUNTIMES:
                found.setdefault(artifact.target, []).append(artifact)
    return dict(sorted(found.items()))


def build_graph(
    workspace: Workspace,
    models: Iterable[Model],
    wrong: Problems | None = None,
    aims: Collection[str] = (),
) -> Graph:
    """The tasks of `models`, in an order that a person expects, and those tasks among `aims` that
    belong to a target.

    What the manifests name and the disk does not hold goes to `wrong`, and the graph is without
    these models; raises ManifestErrors with all of it where there is no `wrong`, and OSError.
    """
    steps: dict[str, Step] = {}
    problems = Problems() if wrong is None else wrong
    for model in models:
        try:
            own = model_steps(workspace, model)
        except ManifestErrors as errors:
            for error in errors.errors:
                problems.take(error)
        except ManifestError as error:
            problems.take(error)
        else:
            steps |= {step.name: step for step in own}
    if wrong is None:
        problems.raise_any()
    for task in aims:
        if task.startswith("runtime:"):
            steps[task] = environment_step(workspace, task.partition(":")[2], steps, aims)
    return Graph(workspace, steps)


def environment_step(
    workspace: Workspace, target: str, steps: Mapping[str, Step], aims: Collection[str] = ()
) -> Step:
    """`runtime:T`. It comes after the releases for that target that a build aims at (all in the
    graph, where it aims at this task alone), and whatever becomes of them: its inputs are the
    files that lie in `dist/` then, which the engine knows."""
    declared = workspace.targets[target]
    released = [s.name for s in steps.values() if s.stage == "release" and s.target == target]
    aimed = tuple(name for name in released if name in aims)
    return Step(
        f"runtime:{target}", "runtime", None, target=target,
        params=plain({
            "target": target, "runtime": declared.runtime,
            "ops": {op.name: op.register for op in declared.ops},
        }),
        gates=aimed or tuple(released),
    )  # fmt: skip


def model_steps(workspace: Workspace, model: Model) -> list[Step]:
    """All tasks of one model: 3 and, for each optimization, 2 and 2 for each target; one more
    where an optimization quantizes, for data that is not arrays yet, and for a source that is made
    first."""
    name = model.name
    source = lowering_inputs(workspace.root, model)
    test_params, test_files = data_inputs("test", [parity_data(s) for s in model.signatures])
    form = FORMATS[model.source.format]
    lowering, evaluation = ("lower", "evaluate")
    if form.LOWERED == TFLITE:
        lowering, evaluation = ("lower_file", "measure")
    running = "reference_arrays" if form.RUNS_ALONE else "reference"
    steps = [
        *making_steps(workspace.root, model),
        *data_steps(workspace.root, model),
        Step(f"lower:{name}", "lower", model, modules=source.modules,
             params=source.params, files=source.files, folders=source.folders,
             ports=source.ports, request=source.request, action=lowering),
        Step(f"reference:{name}", "reference", model,
             modules=source.modules,
             params={**source.params, "test": test_params, "sequences": sequences(model)},
             files={**source.files, **test_files}, folders=source.folders,
             ports=(*source.ports, *data_ports("test", model)),
             request={**source.request, "params": {"declared": parity_uses(model)}},
             action=running),
        Step(f"evaluate:{name}", "evaluate", model,
             ports=(_lowered(name), Port(f"lower:{name}", ("names.json",))),
             request=_retry(model, source),
             report=report_of(f"evaluate:{name}"), action=evaluation),
    ]  # fmt: skip
    steps += baseline_steps(workspace, model, test_params, test_files)
    measuring = metric_inputs(workspace.root, model)
    for optimization in model.optimizations:
        steps += optimization_steps(
            workspace, model, optimization, source, test_params, test_files, measuring
        )
    if model.benchmark is not None:
        from tflbuild.benchmarking.task import benchmark_step

        steps.append(benchmark_step(workspace, model, test_params, test_files))
    return steps


def baseline_steps(
    workspace: Workspace,
    model: Model,
    test_params: Sequence[Mapping[str, Any] | None],
    test_files: Mapping[str, str],
) -> list[Step]:
    """The task that runs the float file on the test data, with the kernels that a quantized one
    is run with; none where no optimization quantizes."""
    quantized = [o for o in model.optimizations if o.quantize != NONE]
    if not quantized:
        return []
    ways = [g.running(workspace.root) for o in quantized for g in groups(workspace, o)]
    running = max(ways, key=lambda way: len(way.params) + len(way.files))
    return [Step(
        f"baseline:{model.name}", "baseline", model,
        params={"test": test_params, "sequences": sequences(model), **running.params},
        files={**test_files, **running.files},
        request={
            **running.request,
            "params": {**running.request.get("params", {}), "declared": parity_uses(model)},
        },
        ports=(
            Port(f"evaluate:{model.name}", ("float.tflite",)),
            Port(f"lower:{model.name}", ("interface.json",)),
            *data_ports("test", model),
        ),
    )]  # fmt: skip


def making_steps(root: Path, model: Model) -> list[Step]:
    """The task that makes a model's source; none for one that lies in the workspace."""
    stage = model.source.made
    if not stage:
        return []
    made = making(root, model)
    return [Step(f"{stage}:{model.name}", stage, model, params=made.params, files=made.files,
                 folders=made.folders, modules=made.modules, request=made.request)]  # fmt: skip


def _lowered(name: str) -> Port:
    return Port(f"lower:{name}", ("lowered.pb", "saved_model.tar", "lowered.tflite",
                                  "interface.json"))  # fmt: skip


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
    request: dict[str, Any] = {}
    ports: tuple[Port, ...] = ()
    listed: Sequence[tuple[str, Path]] = ()
    folders: Sequence[Path] = ()
    if source.made:
        params["member"] = member_of(model)
        ports = (Port(f"{source.made}:{model.name}", (OUTPUT,)),)
        request = {"retry_ports": ports}
    elif source.path:
        listed, folders = form.files(root / source.path)
    if source.signatures:
        params["signatures"] = list(source.signatures)
    if source.tags:
        params["tags"] = list(source.tags)
    for path in (*folders, *(path for _, path in listed)):
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
            raise ManifestError(
                f"{path.relative_to(root)} is a symbolic link that leaves the workspace",
                model.position_of("source.path"),
            )
    relative = _relative_to(root)
    code = code_inputs(root, model)
    return SourceInputs(
        params={
            "source": {**params, **code.source},
            **code.params,
            "signatures": [
                {
                    "name": shipped.name,
                    "pins": {
                        pin.name: {"shape": None if pin.shape is None else list(pin.shape),
                                   "dtype": pin.dtype}
                        for pin in shipped.inputs
                    },
                    "input_order": [pin.name for pin in shipped.inputs],
                    "output_order": list(shipped.outputs),
                }
                for shipped in model.signatures
            ],
        },
        files={**{f"source/{name}": relative(path) for name, path in listed}, **code.files},
        folders=(*(relative(folder) for folder in folders), *code.folders),
        modules=form.MODULES + code.modules,
        request={
            **request,
            "inputs": {**({} if source.made else {"source": source.path}), **code.inputs},
            "env": code.environment,
        },
        ports=ports,
    )  # fmt: skip


def _retry(model: Model, source: SourceInputs) -> dict[str, Any]:
    """What a conversion needs to take the SavedModel route, from the source, after all."""
    if FORMATS[model.source.format].LOWERED == TFLITE:
        return {}
    request = {**source.request, "retry": {**source.params, "lower": source.params}}
    request["retry_env"] = request.pop("env")  # converting itself runs no code of the user's
    return request


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
    test_params: Sequence[Mapping[str, Any] | None],
    test_files: Mapping[str, str],
    measuring: MetricInputs,
) -> list[Step]:
    """convert and validate once for each converter profile, compat and release for each target."""
    steps: list[Step] = []
    baseline: tuple[Port, ...] = ()
    if optimization.quantize != NONE:
        kept = ("baseline.json", "output.*.npy")
        baseline = (Port(f"baseline:{model.name}", kept, BASELINE),)
    for group in groups(workspace, optimization):
        pair = f"{model.name}:{optimization.name}{group.suffix}"
        convert_task, validate_task = f"convert:{pair}", f"validate:{pair}"
        steps.append(conversion_step(convert_task, model, optimization, group, source))
        running = group.running(workspace.root)
        golden_params, golden_files = golden_inputs(model, optimization)
        steps.append(Step(
            validate_task, "validate", model, optimization,
            params={
                "test": test_params,
                "sequences": sequences(model),
                "signatures": [
                    {
                        "data": data_name(shipped),
                        "metrics": [plain(metric) for metric in metrics],
                        "top_k": top_k_of(limits_of(shipped, optimization)),
                    }
                    for shipped, metrics in zip(model.signatures, measuring.params, strict=True)
                ],
                **golden_params,
                **running.params,
            },
            files={**test_files, **golden_files, **running.files, **measuring.files},
            folders=measuring.folders,
            modules=measuring.modules,
            request={**running.request, **measuring.request},
            ports=(
                Port(convert_task, ("model.tflite",)),
                Port(f"lower:{model.name}", ("interface.json",)),
                Port(f"reference:{model.name}", ("reference.json", "output.*.npy")),
                *baseline,
                *data_ports("test", model),
            ),
            report=report_of(validate_task),
        ))  # fmt: skip
        for target in (declared.name for declared in group.targets):
            own = Group(group.profile, (workspace.targets[target],)).loading()
            compat_task = f"compat:{model.name}:{optimization.name}@{target}"
            runtime = workspace.targets[target].runtime
            built = {"op_list": True} if runtime in CUSTOM_RUNTIMES else {}
            steps.append(Step(
                compat_task, "compat", model, optimization, target,
                params={"runtime": runtime, **built, **own.params},
                files=own.files,
                modules=("tflite_micro",) if runtime == micro.NAME else (),
                ports=(Port(convert_task, ("model.tflite",)),),
                report=report_of(compat_task),
            ))  # fmt: skip
            gates: tuple[str, ...] = (f"evaluate:{model.name}", compat_task, validate_task)
            if model.limits_ratio(optimization):
                gates += (f"benchmark:{model.name}",)
            file = Port(convert_task, ("model.tflite",))
            released = [file]
            if built:
                released.append(Port(compat_task, (OP_LIST,)))
            if emitted := workspace.targets[target].emit:
                emit_task = f"emit:{model.name}:{optimization.name}@{target}"
                steps.append(Step(
                    emit_task, "emit", model, optimization, target,
                    params={
                        "formats": sorted(emitted), "name": f"{model.name}-{optimization.name}",
                    },
                    ports=(file,), gates=gates,
                ))  # fmt: skip
                released.append(Port(emit_task, ("*",), EMITTED))
            steps.append(Step(
                f"release:{model.name}:{optimization.name}@{target}", "release",
                model, optimization, target, ports=tuple(released), gates=gates,
            ))  # fmt: skip
    return steps


def conversion_step(
    task: str, model: Model, optimization: Optimization, group: Group, source: SourceInputs
) -> Step:
    """From the lowered form by TensorFlow's converter, or from the float file by the quantizer
    that needs no TensorFlow."""
    params: dict[str, Any] = {
        "quantize": optimization.quantize, "io": optimization.io, "profile": group.profile,
        **optimization.settings,
    }  # fmt: skip
    if optimization.io_output is not None:
        params["io_output"] = optimization.io_output
    files: dict[str, str] = {}
    ports: tuple[Port, ...] = ()
    by_file = optimization.recipe_file is not None  # its own rules say whether they calibrate
    calibration = [s.calibration for s in model.signatures]
    if optimization.calibrates or (by_file and any(data is not None for data in calibration)):
        params["calibration"], files = data_inputs("calibration", calibration)
        ports = data_ports("calibration", model)
    if model.metadata is not None:
        params["metadata"], own = metadata_inputs(model.metadata)
        files |= own
    gates = (f"evaluate:{model.name}",)
    own, kernels = group.conversion(optimization.calibrates)
    params |= own
    files = {**files, **kernels}
    if optimization.quantizer != AI_EDGE:
        if optimization.calibrates:
            ports += (Port(f"evaluate:{model.name}", ("calibration.json",)),)
        action = "adopt" if FORMATS[model.source.format].LOWERED == TFLITE else "convert"
        return Step(
            task, "convert", model, optimization,
            params=params, files=files, ports=(_lowered(model.name), *ports), gates=gates,
            request=_retry(model, source), action=action,
        )  # fmt: skip
    params["rules"] = [dict(rule) for rule in optimization.rules]
    if optimization.recipe_file is not None:
        files["recipe.json"] = optimization.recipe_file
    return Step(
        task, "convert", model, optimization,
        params=params, files=files, gates=gates, action="quantize",
        ports=(
            Port(f"evaluate:{model.name}", ("float.tflite",)),
            Port(f"lower:{model.name}", ("interface.json",)),
            *ports,
        ),
    )  # fmt: skip


def still_listed(root: Path, step: Step) -> bool:
    """The files that make a source, or data, are the ones that they were when the graph was made.
    Raises OSError, ManifestError and UsageError."""
    if step.stage == step.model.source.made:
        return making_steps(root, step.model)[0].files == step.files
    if step.data is not None:
        try:
            listing = KINDS[data_kind(step.data)].listing(root, step.model, step.data)
            return listing.files == step.files
        except WrongData:
            return False
    if step.stage == "validate":  # of its own it lists the code of metrics
        code = metric_inputs(root, step.model).files if step.folders else {}
        return all(step.files.get(name) == path for name, path in code.items())
    data = ("calibration.", "test.")
    source = {name: path for name, path in step.files.items() if not name.startswith(data)}
    return lowering_inputs(root, step.model).files == source
