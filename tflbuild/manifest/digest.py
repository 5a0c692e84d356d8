"""What a model's part of the manifest says, as one digest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from tflbuild.manifest.model import Model, Target, Workspace


def section_digest(model: Model, workspace: Workspace) -> str:
    """SHA-256 of the resolved model and of the targets it uses.

    Comments, positions, key order and the way a value is written ("1M" or 1000000) do not change
    it; neither does the order of optimizations and metrics. The order of inputs and outputs does.
    """
    said = _plain(model)
    said["optimizations"].sort(key=lambda o: o["name"])
    for signature in said["signatures"]:
        signature["metrics"].sort(key=lambda m: m["name"])
    names = {*model.targets, *(t for o in model.optimizations for t in o.targets)}
    said["targets_used"] = [_plain(workspace.targets[name]) for name in sorted(names)]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def target_digest(target: Target, artifacts: Iterable[str]) -> str:
    """SHA-256 of a target and of the files that the manifest wants for it."""
    said = [_plain(target), sorted(artifacts)]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {f.name: _plain(getattr(value, f.name)) for f in _said(type(value))}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _said(kind: Any) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(kind) if f.compare]  # places are not compared
