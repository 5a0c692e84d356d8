"""Selectors: from what a person writes to tasks.

`M`, `M:O`, `M:O@T`, `@T`, a full task name, or a path (all that reads it, or makes it). What
releases a file for a target brings that target's `runtime:T` along. Whole
names; `*`, `?` and `[…]` do not cross `:` or `@`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from tflbuild.custom_runtime import FOLDER
from tflbuild.custom_runtime import KINDS as CUSTOM_RUNTIMES
from tflbuild.datasets import KINDS
from tflbuild.errors import ManifestError, ManifestErrors, UsageError
from tflbuild.graph import Graph, artifacts_of, environments, model_steps
from tflbuild.making import generate_files
from tflbuild.manifest.model import FileData, Model, RandomData, Workspace
from tflbuild.metrics.inputs import metric_inputs
from tflbuild.model_data import data_kind, label_refs, parity_data
from tflbuild.step import ORDER
from tflbuild.usercode import code_inputs


@dataclass(frozen=True)
class Selection:
    """Task names in the manifest's order, and the models that they belong to."""

    tasks: tuple[str, ...]
    models: tuple[str, ...]
    named: frozenset[str]  # tasks that were selected by their own full name


def select(workspace: Workspace, selectors: Sequence[str], until: str, cwd: Path) -> Selection:
    """Resolve selectors up to a stage (`release`, `validate` or `evaluate`).

    Raises UsageError for one that matches nothing, with the nearest names.
    """
    chosen: dict[str, None] = {}
    models: dict[str, None] = {}
    named: set[str] = set()
    if not selectors:
        for model in workspace.models:
            models[model.name] = None
            chosen.update(dict.fromkeys(final_tasks(workspace, model, until)))
    for selector in selectors:
        found = _match(workspace, selector, until, cwd)
        if not found:
            raise UsageError(_nothing(workspace, selector))
        for model, tasks in found:
            models[model.name] = None
            chosen.update(dict.fromkeys(tasks))
            if selector in tasks:
                named.add(selector)
    if until == "release":
        shared = environments(workspace)
        # What is released changes what lies in dist, and so what a runtime is built for.
        released = {task.rpartition("@")[2] for task in chosen if task.startswith("release:")}
        if not selectors:
            released = set(shared)
        chosen.update(dict.fromkeys(f"runtime:{target}" for target in shared if target in released))
    return Selection(tuple(chosen), tuple(models), frozenset(named))


def final_tasks(
    workspace: Workspace, model: Model, until: str, optimization: str = "*", target: str = "*"
) -> list[str]:
    """The tasks of one model that a command aims at."""
    if until == "evaluate":
        return [f"evaluate:{model.name}"]
    wanted = [
        a
        for a in artifacts_of(model)
        if fnmatchcase(a.optimization, optimization) and fnmatchcase(a.target, target)
    ]
    whole = optimization == target == "*" and model.benchmark is not None
    measured = [f"benchmark:{model.name}"] if whole else []
    if until == "release":
        return [f"release:{artifact}" for artifact in wanted] + measured
    names = {artifact.optimization for artifact in wanted}
    try:
        steps = model_steps(workspace, model)
    except (ManifestError, ManifestErrors):  # told of where the graph is built
        return [f"validate:{model.name}:{name}" for name in sorted(names)] + measured
    return measured + [
        step.name
        for step in steps
        if step.stage == "validate" and step.optimization and step.optimization.name in names
    ]


def _match(
    workspace: Workspace, selector: str, until: str, cwd: Path
) -> list[tuple[Model, list[str]]]:
    stage, colon, rest = selector.partition(":")
    if colon and stage in ORDER:
        by_name = _task(workspace, selector, rest)
        if by_name:
            return by_name
    pair, at, target = selector.partition("@")
    name, colon, optimization = pair.partition(":")
    # Each part that is begun must be there: M, M:O, M:O@T or @T.
    whole = bool(pair if not at else target) and (not colon or bool(name and optimization))
    found = []
    for model in workspace.models if whole else ():
        if fnmatchcase(model.name, name or "*"):
            tasks = final_tasks(workspace, model, until, optimization or "*", target or "*")
            if tasks and (until == "release" or _has(model, optimization, target)):
                found.append((model, tasks))
    return found or _path(workspace, selector, until, cwd)


def _has(model: Model, optimization: str, target: str) -> bool:
    return any(
        fnmatchcase(a.optimization, optimization or "*") and fnmatchcase(a.target, target or "*")
        for a in artifacts_of(model)
    )


def _task(workspace: Workspace, selector: str, rest: str) -> list[tuple[Model, list[str]]]:
    if selector == f"runtime:{rest}":
        users = {artifact.model for artifact in environments(workspace).get(rest, ())}
        return [(model, [selector]) for model in workspace.models if model.name in users]
    name = rest.partition("@")[0].partition(":")[0]
    for model in workspace.models:
        if model.name == name and any(
            step.name == selector for step in model_steps(workspace, model)
        ):
            return [(model, [selector])]
    return []


def _path(
    workspace: Workspace, selector: str, until: str, cwd: Path
) -> list[tuple[Model, list[str]]]:
    """All that reads a path (or lies beneath it), or the artifact that a path below dist is."""
    if not selector or "\0" in selector:
        return []
    full = os.path.realpath(cwd / selector)
    if not full.startswith(str(workspace.root) + os.sep) and full != str(workspace.root):
        return []
    path = os.path.relpath(full, workspace.root)
    found = []
    for model in workspace.models:
        # Positions name a manifest relative to the current folder, or else to the root.
        declared_in = {os.path.realpath(base / model.position.file)
                       for base in (cwd, workspace.root)}  # fmt: skip
        reads = _reads(workspace.root, model)
        if full in declared_in or any(_related(path, other) for other in reads):
            found.append((model, final_tasks(workspace, model, until)))
            continue
        tasks = _makes(workspace, model, path)
        if tasks and until == "release":
            found.append((model, tasks))
    return found


def _makes(workspace: Workspace, model: Model, path: str) -> list[str]:
    """The tasks that put a file there: a model, another form of it, or a runtime's files."""
    tasks = []
    for artifact in artifacts_of(model):
        file = f"{workspace.dist_dir}/{artifact.file}"
        target = workspace.targets[artifact.target]
        if path == file or (target.emit and path.rpartition(".")[0] == file.rpartition(".")[0]):
            tasks.append(f"release:{artifact}")
        folder = f"{workspace.dist_dir}/{artifact.target}/{FOLDER}"
        if target.runtime in CUSTOM_RUNTIMES and (path == folder or path.startswith(folder + "/")):
            tasks.append(f"runtime:{artifact.target}")
    return list(dict.fromkeys(tasks))


def _reads(root: Path, model: Model) -> list[str]:
    paths = [] if model.source.made else [model.source.path]
    if model.source.generate is not None:
        paths += generate_files(root, model.source.generate)[0]
    paths += code_inputs(root, model).files.values()
    paths += metric_inputs(root, model).files.values()
    declared = [d for s in model.signatures for d in (s.calibration, parity_data(s))]
    for data in declared:
        if isinstance(data, FileData):
            paths += [data.npz] if data.npz else []
            paths += [path for _, path in data.npy]
            paths += [ref.path for _, ref in label_refs(data)]
        elif data is not None and not isinstance(data, RandomData):
            paths += KINDS[data_kind(data)].paths(root, model, data)
    return paths + [test.npz for test in model.golden]


def _related(path: str, other: str) -> bool:
    return path in (other, ".") or path.startswith(other + "/") or other.startswith(path + "/")


def _nothing(workspace: Workspace, selector: str) -> str:
    known = _known(workspace, selector)
    near = get_close_matches(selector, known, 3, 0.5)
    if near:
        return f"nothing matches {selector!r}; did you mean {' or '.join(near)}?"
    shown = ", ".join(sorted(model.name for model in workspace.models)[:8])
    return f"nothing matches {selector!r}; the models are {shown}"


def _known(workspace: Workspace, selector: str) -> list[str]:
    """What may be selected, of the kind that was meant: @T, a task, or else M, M:O and M:O@T."""
    if selector.startswith("@"):
        return [f"@{name}" for name in dict.fromkeys(
            artifact.target for model in workspace.models for artifact in artifacts_of(model)
        )]  # fmt: skip
    if selector.count(":") + ("@" in selector) > 1 or selector.partition(":")[0] in ORDER:
        try:
            tasks = [s.name for model in workspace.models for s in model_steps(workspace, model)]
            tasks += [f"runtime:{target}" for target in environments(workspace)]
        except (ManifestError, ManifestErrors):  # told of where the graph is built
            tasks = []
        if get_close_matches(selector, tasks, 1, 0.8):
            return tasks
    names: Iterable[str] = (
        name
        for model in workspace.models
        for artifact in artifacts_of(model)
        for name in (model.name, f"{model.name}:{artifact.optimization}", str(artifact))
    )
    return list(dict.fromkeys(names))


def forced_tasks(selection: Selection, graph: Graph, selected: Iterable[str]) -> frozenset[str]:
    """`-B`: the tasks that were named, or else everything that the selected tasks need."""
    own = frozenset(task for task in selected if not task.startswith("runtime:"))
    if selection.named and selection.named in (own, frozenset(selected)):
        return selection.named
    return frozenset(graph.needed(selected))
