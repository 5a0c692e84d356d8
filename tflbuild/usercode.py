"""What a model's own Python code adds to the keys of the actions that run it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tflbuild.environment import variable_digest
from tflbuild.errors import ManifestError
from tflbuild.manifest.model import Model
from tflbuild.pycode import closure, in_workspace
from tflbuild.store.toolchain import loose_files


@dataclass(frozen=True)
class CodeInputs:
    """What a model's code adds to the inputs of lower and reference; nothing without code."""

    source: Mapping[str, Any] = field(default_factory=dict)  # parameters of the format
    params: Mapping[str, Any] = field(default_factory=dict)  # parameters of the action
    files: Mapping[str, str] = field(default_factory=dict)  # keyed input name → path under root
    folders: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)  # for a child alone
    environment: Mapping[str, str] = field(default_factory=dict)  # for a child alone


def code_inputs(root: Path, model: Model) -> CodeInputs:
    """Raises ManifestError, with its place, when the code cannot be followed (any more)."""
    source, given = model.source, model.source.params
    named = {
        "python": source.python,
        "params": given.python if given is not None else None,
        "custom_objects": model.custom_objects,
    }
    codes = {key: code for key, code in named.items() if code is not None}
    if not codes:
        return CodeInputs()
    try:
        found = closure(root, list(codes.values()), model.depends)
    except ManifestError as error:
        key = "source.python" if source.python is not None else "custom_objects"
        key = "depends" if error.message.startswith("depends: ") else key
        raise ManifestError(error.message, model.position_of(key)) from error
    entries = {key: entry.as_json() for key, entry in zip(codes, found.entries, strict=True)}
    _refuse_places(root, model)
    parameters: dict[str, Any] = {key: entries[key] for key in entries if key != "params"}
    files = dict(found.files)
    if source.args:
        parameters["args"] = json.loads(source.args)
    if given is not None and given.npz:
        parameters["params"] = {"npz": True}
        files["params.npz"] = given.npz
    elif given is not None:
        parameters["params"] = {"python": entries["params"]}
        if given.args:
            parameters["params"]["args"] = json.loads(given.args)
    values = {name: os.environ.get(name) for name in model.env}
    return CodeInputs(
        source=parameters,
        params={
            "code": {"path": list(found.path), "base": next(iter(codes.values())).base},
            "env": {name: variable_digest(value) for name, value in values.items()},
        },
        files=files,
        folders=(*found.folders, *loose_files(root, found.modules)),
        modules=found.modules,
        inputs={"workspace": ".", **files},
        environment={name: value for name, value in values.items() if value is not None},
    )


def _refuse_places(root: Path, model: Model) -> None:
    """No absolute paths of the workspace in `args`: the code could see there what no key holds."""
    given = model.source.params
    stack = [json.loads(text) for text in (model.source.args, given and given.args) if text]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list):
            stack += value
        elif isinstance(value, str) and (path := in_workspace(str(root), value)) is not None:
            raise ManifestError(
                f"args name {path!r} of the workspace by an absolute path: give its name, use"
                " Path(__file__).parent in the code, and `depends`",
                model.position_of("source.args"),
            )
