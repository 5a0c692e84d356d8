"""What the metrics of a model add to the key of its validations: in the parent, without NumPy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tflbuild.environment import variable_digest
from tflbuild.errors import ManifestError
from tflbuild.manifest.model import Metric, Model, Shipped
from tflbuild.metrics import auc, f1, precision, python, recall, word_error_rate
from tflbuild.pycode import closure
from tflbuild.store.toolchain import loose_files

_SKLEARN = frozenset({auc.NAME, precision.NAME, recall.NAME, f1.NAME})


@dataclass(frozen=True)
class MetricInputs:
    """Limits are not among them. `params`: of the metrics, by signature."""

    params: tuple[tuple[Mapping[str, Any], ...], ...]
    files: Mapping[str, str] = field(default_factory=dict)  # keyed input name → path under root
    folders: tuple[str, ...] = ()  # whose listing decided which files of code there are
    modules: tuple[str, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict)  # for the child alone


def metric_inputs(root: Path, model: Model) -> MetricInputs:
    """Raises ManifestError, with its place, when code cannot be followed (any more)."""
    files: dict[str, str] = {}
    folders: dict[str, None] = {}
    modules: dict[str, None] = {}
    params = []
    runs_code = False
    values = {name: os.environ.get(name) for name in model.env}
    for index, shipped in enumerate(model.signatures):
        own = []
        for metric in shipped.metrics:
            said: dict[str, Any] = {"name": metric.name, "output": metric.output, **metric.settings}
            if metric.labels is not None:
                said["labels"] = metric.labels
            if metric.vocabulary:
                said["vocabulary"] = f"metrics.{index}.vocabulary"
                files[said["vocabulary"]] = metric.vocabulary
            if metric.name in _SKLEARN:
                modules |= dict.fromkeys(("sklearn", "scipy"))
            if metric.name == word_error_rate.NAME:
                modules[word_error_rate.MODULE] = None
            if metric.python is not None:
                runs_code = True
                found = _followed(root, model, shipped, metric)
                files |= found.files
                folders |= dict.fromkeys((*found.folders, *loose_files(root, found.modules)))
                modules |= dict.fromkeys(found.modules)
                said |= {
                    "python": found.entries[0].as_json(),
                    "args": json.loads(metric.args) if metric.args else None,
                    "code": {"path": list(found.path), "base": metric.python.base},
                    "env": {name: variable_digest(value) for name, value in values.items()},
                }
            own.append(said)
        params.append(tuple(own))
    request: dict[str, Any] = {}
    if runs_code:
        request = {
            "inputs": {"workspace": "."},
            "env": {name: value for name, value in values.items() if value is not None},
        }
    return MetricInputs(tuple(params), files, tuple(folders), tuple(modules), request)


def _followed(root: Path, model: Model, shipped: Shipped, metric: Metric) -> Any:
    assert metric.python is not None
    try:
        return closure(root, [metric.python], model.depends)
    except ManifestError as error:
        where = f"signatures.{shipped.name}." if shipped.name is not None else ""
        key = f"validate.{where}metrics.{python.NAME}.function"
        if error.message.startswith("depends: "):
            key = "depends"
        raise ManifestError(error.message, model.position_of(key)) from error
