"""A user's Python code in a model: the functions it names, `depends`, `env`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tflbuild.errors import ManifestError
from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.model import Code
from tflbuild.manifest.nodes import get
from tflbuild.manifest.yamlfile import Node, describe
from tflbuild.pycode import closure, depended

# What workers have read before the code of a model runs, or what tflbuild sets itself.
FIXED = ("TF_", "KERAS_", "PYTHON", "LD_", "OMP_", "OPENBLAS_", "CUDA_")
FIXED_NAMES = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "TZ"})


def build_code(model: ModelNodes, node: Node | None) -> Code | None:
    """A function that must be there, with code that can be read."""
    if node is None or not isinstance(node.value, str):
        return None
    paths = model.context.paths
    code = Code(node.value, paths.relative(paths.folder_of(node)))
    _try(model, node, code, lambda: closure(Path(paths.root), [code]))
    return code


def build_args(model: ModelNodes, node: Node | None) -> str:
    """Arguments of a function, as JSON; "" for none."""
    if node is None:
        return ""
    try:
        return json.dumps(node.plain(), sort_keys=True, allow_nan=False)
    except ValueError:
        model.problem("arguments are finite numbers, text, lists and mappings", node)
        return ""


def build_depends(model: ModelNodes, code: bool) -> tuple[str, ...]:
    """Patterns relative to the root; an error for one that matches nothing."""
    node = get(model.tree, "depends")
    if not _has_effect(model, "depends", code):
        return ()
    paths = model.context.paths
    found = []
    for item in _items(node):
        text = str(item.value)
        pattern = paths.relative(os.path.normpath(os.path.join(paths.folder_of(item), text)))
        if pattern.split("/")[0] in ("..", ".tflbuild", ".git") or os.path.isabs(text):
            model.problem(f"{describe(text)} is no part of the workspace's own files", item)
        elif _try(model, item, pattern, partial(depended, Path(paths.root), [pattern])):
            found.append(pattern)
    return tuple(sorted(found))


def build_env(model: ModelNodes, code: bool) -> tuple[str, ...]:
    """Names of variables that the model's code may read."""
    if not _has_effect(model, "env", code):
        return ()
    for item in _items(get(model.tree, "env")):
        name = str(item.value)
        if name in FIXED_NAMES or name.startswith(FIXED):
            model.problem(
                f"{name} has no effect: workers set it, or read it before the model's code runs",
                item,
            )
    return tuple(sorted(str(item.value) for item in _items(get(model.tree, "env"))))


def _has_effect(model: ModelNodes, key: str, code: bool) -> bool:
    """What `defaults` say of a model without code does it no harm."""
    own = get(model.own, key)
    if not code and own is not None and own.value is not None:
        model.key_problem(
            f"{key!r} has no effect: no code runs for this model (source.python,"
            " custom_objects, data of python, metrics.python); remove it",
            own,
        )
    return code


def _items(node: Node | None) -> list[Node]:
    return node.value if node is not None and isinstance(node.value, list) else []


def _try(model: ModelNodes, node: Node, asked: object, check: Callable[[], Any]) -> bool:
    checked = model.context.checked
    if asked not in checked:
        try:
            check()
            checked[asked] = None
        except ManifestError as error:
            checked[asked] = error
    problem = checked[asked]
    if problem is not None:
        message = problem.message.removeprefix("depends: ")
        model.context.problems.take(ManifestError(message, node.position))
    return problem is None
