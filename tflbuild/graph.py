"""From manifest to graph: the one place that knows the order of the stages.

```
data:M:test ─┬─► reference:M ──────────────────┐
             └─────────────────────────────────┤
lower:M ─► evaluate:M ┄► convert:M:O ─┬─► validate:M:O ┄┐
data:M:calibration ─────►┘            └─► compat:M:O@T ┄┴► release:M:O@T
─► data edge (the input's digest enters the key)   ┄► gate ("did it pass", never in a key)
```

Before lower and reference comes fetch:M or generate:M, where the source is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tflbuild.datasets import KINDS
from tflbuild.datasets.base import WrongData
from tflbuild.errors import ManifestError, Position
from tflbuild.making import making, member_of
from tflbuild.manifest.model import (
    Data,
    FileData,
    ImageData,
    MadeData,
    Model,
    Optimization,
    PythonData,
    RandomData,
    Shipped,
    Workspace,
)
from tflbuild.optimizations.base import AI_EDGE
from tflbuild.sources import FORMATS
from tflbuild.sources.base import TFLITE
from tflbuild.sources.made import OUTPUT
from tflbuild.stages import (
    adopt,
    compat,
    convert,
    evaluate,
    fetch,
    generate,
    lower,
    lower_file,
    measure,
    quantize,
    reference,
    reference_arrays,
    validate,
)
from tflbuild.stages import data as data_stage
from tflbuild.targets import RUNTIMES
from tflbuild.usercode import code_inputs

STAGES = {
    "fetch": fetch,
    "generate": generate,
    "data": data_stage,
    "lower": lower,
    "reference": reference,
    "evaluate": evaluate,
    "convert": convert,
    "compat": compat,
    "validate": validate,
    # The same tasks for sources that need no TensorFlow: what they lower to is a file already,
    # or a runtime of their own gives the reference.
    "lower_file": lower_file,
    "reference_arrays": reference_arrays,
    "measure": measure,
    "adopt": adopt,
    "quantize": quantize,  # the quantizer that works on the float file
}
ORDER = (
    "fetch", "generate", "data", "lower", "reference", "evaluate", "convert", "compat", "validate",
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
    """A data edge: outputs of another task (shell patterns) that this one reads.

    It knows them by their names behind `prefix`: two producers may name outputs alike.
    """

    task: str
    outputs: tuple[str, ...]
    prefix: str = ""

    def name_of(self, output: str) -> str | None:
        """The input that an output of the task is; None for one that is not read."""
        read = any(fnmatchcase(output, pattern) for pattern in self.outputs)
        return self.prefix + output if read else None


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
    data: MadeData | None = None  # what a step of stage data makes arrays of
    section: str = ""  # of the manifest: what the keys of its errors are relative to
    action: str = ""  # the module in STAGES that does it; "": the one named like the stage

    @property
    def does(self) -> str:
        return self.action or self.stage

    @property
    def artifact(self) -> Artifact:
        assert self.optimization is not None
        assert self.target is not None
        return Artifact(self.model.name, self.optimization.name, self.target)

    def position_of(self, key: str) -> Position:
        """The place in the manifest of a key that an action names; `optimization` stands for the
        action's own, whose name is in no key."""
        first, _, rest = key.partition(".")
        if first == "optimization" and self.optimization is not None:
            own = f"optimizations.{self.optimization.name}"
            exact = f"{own}.{rest}"
            key = exact if exact in self.model.positions else own
        return self.model.position_of(self.section + key)

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
    """All tasks of one model: 3 and, for each optimization, 2 and 2 for each target; one more for
    data that is not arrays yet, and for a source that is made first."""
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
        Step(f"lower:{name}", "lower", model, modules=STAGES[lowering].MODULES + source.modules,
             params=source.params, files=source.files, folders=source.folders,
             ports=source.ports, request=source.request, action=lowering),
        Step(f"reference:{name}", "reference", model,
             modules=STAGES[running].MODULES + source.modules,
             params={**source.params, "test": test_params, "sequences": sequences(model)},
             files={**source.files, **test_files}, folders=source.folders,
             ports=(*source.ports, *data_ports("test", model)), request=source.request,
             action=running),
        Step(f"evaluate:{name}", "evaluate", model, modules=STAGES[evaluation].MODULES,
             ports=(_lowered(name),), request=_retry(model, source),
             report=report_of(f"evaluate:{name}"), action=evaluation),
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
    test_params: Sequence[Mapping[str, Any]],
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
        convert_task, validate_task = f"convert:{pair}", f"validate:{pair}"
        steps.append(conversion_step(convert_task, model, optimization, profile, source))
        steps.append(Step(
            validate_task, "validate", model, optimization, modules=validate.MODULES,
            params={
                "test": test_params,
                "sequences": sequences(model),
                "signatures": [
                    {
                        "data": _data_name(shipped),
                        "metrics": [{"name": m.name, "output": m.output} for m in shipped.metrics],
                    }
                    for shipped in model.signatures
                ],
            },
            files=test_files,
            ports=(
                Port(convert_task, ("model.tflite",)),
                Port(f"lower:{model.name}", ("interface.json",)),
                Port(f"reference:{model.name}", ("reference.json", "output.*.npy")),
                *data_ports("test", model),
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


def conversion_step(
    task: str, model: Model, optimization: Optimization, profile: str, source: SourceInputs
) -> Step:
    """From the lowered form by TensorFlow's converter, or from the float file by the quantizer
    that needs no TensorFlow."""
    params: dict[str, Any] = {
        "quantize": optimization.quantize, "io": optimization.io, "profile": profile,
        **optimization.settings,
    }  # fmt: skip
    if optimization.io_output is not None:
        params["io_output"] = optimization.io_output
    files: dict[str, str] = {}
    ports: tuple[Port, ...] = ()
    by_file = optimization.recipe_file is not None  # its own rules say whether they calibrate
    calibration = [s.calibration for s in model.signatures if s.calibration is not None]
    if optimization.calibrates or (by_file and calibration):
        params["calibration"], files = data_inputs("calibration", calibration)
        ports = data_ports("calibration", model)
    gates = (f"evaluate:{model.name}",)
    if optimization.quantizer != AI_EDGE:
        if optimization.calibrates:
            ports += (Port(f"evaluate:{model.name}", ("calibration.json",)),)
        action = "adopt" if FORMATS[model.source.format].LOWERED == TFLITE else "convert"
        return Step(
            task, "convert", model, optimization, modules=STAGES[action].MODULES,
            params=params, files=files, ports=(_lowered(model.name), *ports), gates=gates,
            request=_retry(model, source), action=action,
        )  # fmt: skip
    params["rules"] = [dict(rule) for rule in optimization.rules]
    if optimization.recipe_file is not None:
        files["recipe.json"] = optimization.recipe_file
    return Step(
        task, "convert", model, optimization, modules=quantize.MODULES,
        params=params, files=files, gates=gates, action="quantize",
        ports=(
            Port(f"evaluate:{model.name}", ("float.tflite",)),
            Port(f"lower:{model.name}", ("interface.json",)),
            *ports,
        ),
    )  # fmt: skip


def data_inputs(
    prefix: str, declared: Sequence[Data]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Key parameters and keyed files of the declared data of each signature."""
    params: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    for index, data in enumerate(declared):
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
        params["label_key"] = data.labels.key
        if data.labels.key is None:
            files[f"{prefix}.labels"] = data.labels.path
    return params, files


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


def _data_name(shipped: Shipped) -> str:
    if isinstance(parity_data(shipped), RandomData):
        return "random"
    return "test" if shipped.test is not None else "calibration"


def data_ports(use: str, model: Model) -> tuple[Port, ...]:
    """Where `use` (calibration, test) of each signature reads arrays that a task makes."""
    ports = []
    # Numbered as `data_inputs` numbers them.
    using = [s for s in model.signatures if use == "test" or s.calibration is not None]
    for index, shipped in enumerate(using):
        data = shipped.calibration if use == "calibration" else parity_data(shipped)
        if isinstance(data, MadeData):
            task, _ = _data_task(model, shipped, _data_name(shipped) if use == "test" else use)
            outputs = ("arrays.json", "array.*.npy", "labels.npy")
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
    """The tasks that make arrays for one model. Raises OSError and ManifestError."""
    calibrates = any(o.calibrates or o.recipe_file is not None for o in model.optimizations)
    steps: dict[str, Step] = {}
    for shipped in model.signatures:
        needed = calibrates or shipped.test is None
        used = {"calibration": shipped.calibration if needed else None, "test": shipped.test}
        for use, declared in used.items():
            task, section = _data_task(model, shipped, use)
            if isinstance(declared, MadeData) and task not in steps:
                steps[task] = _data_step(root, model, declared, task, section)
    return list(steps.values())


def _data_step(root: Path, model: Model, declared: MadeData, task: str, section: str) -> Step:
    kind = data_kind(declared)
    try:
        listing = KINDS[kind].listing(root, model, declared)
    except WrongData as error:
        raise ManifestError(str(error), model.position_of(section + error.key)) from None
    return Step(
        task, "data", model, modules=data_stage.MODULES + listing.modules,
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
    data = ("calibration.", "test.")
    source = {name: path for name, path in step.files.items() if not name.startswith(data)}
    return lowering_inputs(root, step.model).files == source
