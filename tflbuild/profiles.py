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
from tflbuild.validators import NoValidator, find

BUILTIN = "builtin"


@dataclass(frozen=True)
class Running:
    """Of validate and compat: parameters, files, and what a child alone is told."""

    params: Mapping[str, Any]
    files: Mapping[str, str]
    request: Mapping[str, Any]


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
                    raise self._clash(
                        target, f"the function of {op.name} is {known} in one, {op.register} here"
                    )
                found[op.name] = known or op.register
        return dict(sorted(found.items()))

    def path(self, key: str) -> str:
        """The one `library`, `flex_library` or `validator`; "" without. Raises ManifestError."""
        found = ""
        for target in self.targets:
            own: str = getattr(target, key)
            if found and own and own != found:
                raise self._clash(target, f"`{key}` is {found!r} in one, {own!r} here")
            found = found or own
        return found

    def _clash(self, target: Target, what: str) -> ManifestError:
        names = " and ".join(t.name for t in self.targets)
        return ManifestError(
            f"targets {names} share one conversion ({self.profile}), but {what}: write the same in"
            " all, or give them optimizations of their own (optimizations.O.targets)",
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

    def loading(self) -> Running:
        """What compat loads the file with. Raises ManifestError."""
        params: dict[str, Any] = {}
        files: dict[str, str] = {}
        if self.profile in CUSTOM:
            params["custom_ops"] = self.ops
            if library := self.path(LIBRARY):
                files[LIBRARY] = library
        if self.profile in SELECT and (library := self.path(FLEX_LIBRARY)):
            files[FLEX_LIBRARY] = library
        return Running(params, files, {})

    def running(self, root: Path) -> Running:
        """What validate runs the file with. Raises ManifestError."""
        own, path = self.loading(), self.path("validator")
        if self.profile not in SELECT or not path:
            return own
        target = next(t for t in self.targets if t.validator)
        if FLEX_LIBRARY in own.files:
            raise self._clash(target, "one has a `flex_library`, and this a `validator`")
        try:
            found = find(root / path)
        except NoValidator as error:
            raise ManifestError(
                f"validator {path!r} of target {target.name}: {error}", target.position
            ) from error
        files = {name: os.path.relpath(place, root) for name, place in found.files.items()}
        return Running(
            {**own.params, "validator": dict(found.versions)},
            {**own.files, **files},
            {"params": {"validator_python": str(found.python)}},
        )


def groups(workspace: Workspace, optimization: Optimization) -> list[Group]:
    """The targets of an optimization by profile, sorted."""
    found: dict[str, list[Target]] = {}
    for name in optimization.targets:
        target = workspace.targets[name]
        found.setdefault(RUNTIMES[target.runtime].profile(target), []).append(target)
    return [Group(profile, tuple(targets)) for profile, targets in sorted(found.items())]
