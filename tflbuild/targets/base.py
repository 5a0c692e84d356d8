"""The Protocol of a runtime: what the gates ask about a model and about a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tflbuild.manifest.model import Target
from tflbuild.verdict import Finding


class Runtime(Protocol):
    """One built-in runtime: one module in this package."""

    NAME: str

    def profile(self, target: Target) -> str:
        """The converter profile: one conversion serves every target of the same profile."""
        ...

    def judge_evaluation(self, measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
        """Before conversion: can this runtime take the model at all? (`evaluate.json`)"""
        ...

    def judge_file(self, measured: Mapping[str, Any], target: Target) -> Sequence[Finding]:
        """After conversion: does the file hold only what this runtime runs? (`compat.json`)"""
        ...
