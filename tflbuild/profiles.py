"""Targets that share a conversion: which they are, and what it and its validation need of them.

One conversion and one validation serve all targets of one converter profile. So what they declare
beside each other must fit: the ops are put together, and a library, a validator, or the function
of an op can only be one. Each target's own list of ops is judged by its own gate (compat).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tflbuild.errors import ManifestError
from tflbuild.kernels import FLEX_LIBRARY, LIBRARY
from tflbuild.manifest.model import Optimization, Target, Workspace
from tflbuild.targets import RUNTIMES
from tflbuild.tflite.kinds import CUSTOM, SELECT
from tflbuild.validators import NoValidator, Validator, find

BUILTIN = "builtin"


@dataclass(frozen=True)
class Group:
    """The targets of one optimization that have one converter profile."""

    profile: str
    targets: tuple[Target, ...]

    @property
    def suffix(self) -> str:
        """What the names of the tasks end with."""
        return "" if self.profile == BUILTIN else f"+{self.profile}"

    @property
    def ops(self) -> dict[str, str]:
        """The declared custom ops with the functions of the library, "" where none is named.
        Raises ManifestError."""
        found: dict[str, str] = {}
        for target in self.targets:
            for op in target.ops:
                known = found.get(op.name, "")
                if known and op.register and known != op.register:
                    raise self._clash(target, f"the function of {op.name}", known, op.register)
                found[op.name] = known or op.register
        return dict(sorted(found.items()))

    def path(self, key: str) -> str:
        """The one `library`, `flex_library` or `validator`; "" without. Raises ManifestError."""
        found = ""
        for target in self.targets:
            own: str = getattr(target, key)
            if found and own and own != found:
                raise self._clash(target, f"`{key}`", found, own)
            found = found or own
        return found

    def _clash(self, target: Target, what: str, one: str, other: str) -> ManifestError:
        names = " and ".join(t.name for t in self.targets)
        return ManifestError(
            f"targets {names} share one conversion ({self.profile}), and {what} is {one!r} in one"
            f" and {other!r} in another: write the same in both, or give them optimizations of"
            " their own (optimizations.O.targets)",
            target.position,
        )

    def conversion(self, calibrates: bool) -> tuple[dict[str, Any], dict[str, str]]:
        """Parameters and files of convert. Kernels matter to a calibrated one alone."""
        if self.profile not in CUSTOM:
            return {}, {}
        if not calibrates:
            return {"custom_ops": dict.fromkeys(self.ops, "")}, {}
        library = self.path(LIBRARY)
        return {"custom_ops": self.ops}, {LIBRARY: library} if library else {}

    def running(self, root: Path) -> Running:
        """What it takes to run the file. Raises ManifestError."""
        return running(self, root)


@dataclass(frozen=True)
class Running:
    """Of validate and compat: parameters, files, and what a child alone is told."""

    params: Mapping[str, Any]
    files: Mapping[str, str]
    request: Mapping[str, Any]


def groups(workspace: Workspace, optimization: Optimization) -> list[Group]:
    """The targets of an optimization by profile, sorted."""
    found: dict[str, list[Target]] = {}
    for name in optimization.targets:
        target = workspace.targets[name]
        found.setdefault(RUNTIMES[target.runtime].profile(target), []).append(target)
    return [Group(profile, tuple(targets)) for profile, targets in sorted(found.items())]


def running(group: Group, root: Path) -> Running:
    params: dict[str, Any] = {}
    files: dict[str, str] = {}
    request: dict[str, Any] = {}
    if group.profile in CUSTOM:
        params["custom_ops"] = group.ops
        if library := group.path(LIBRARY):
            files[LIBRARY] = library
    if group.profile in SELECT:
        if library := group.path(FLEX_LIBRARY):
            files[FLEX_LIBRARY] = library
        if found := validator(group, root):
            params["validator"] = dict(found.versions)
            files |= {n: os.path.relpath(path, root) for n, path in found.files.items()}
            request["params"] = {"validator_python": str(found.python)}
    return Running(params, files, request)


def validator(group: Group, root: Path) -> Validator | None:
    """Raises ManifestError where the path is none."""
    if not (path := group.path("validator")):
        return None
    target = next(t for t in group.targets if t.validator)
    try:
        return find(root / path)
    except NoValidator as error:
        raise ManifestError(
            f"validator {path!r} of target {target.name}: {error}", target.position
        ) from error
