"""What every part of a model is built with."""

from __future__ import annotations

from dataclasses import dataclass, field

from tflbuild.errors import ManifestError
from tflbuild.manifest.model import Target
from tflbuild.manifest.paths import Paths
from tflbuild.manifest.problems import Problems
from tflbuild.manifest.yamlfile import Node


@dataclass(frozen=True)
class Context:
    """What every model is built with."""

    paths: Paths
    targets: dict[str, Target]
    known_targets: frozenset[str]  # also those that could not be built
    problems: Problems
    # What was found out of code that many models name, by what was asked.
    checked: dict[object, ManifestError | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelNodes:
    """A model as the manifest has it: `own` is what it says itself, `tree` that with `defaults`
    beneath."""

    name: str
    own: Node
    tree: Node
    context: Context

    def problem(self, message: str, at: Node | None) -> None:
        """Something is wrong with a value (None: with the model)."""
        position = self.own.key_position if at is None else at.position
        self.context.problems.add(message, position)

    def key_problem(self, message: str, at: Node | None) -> None:
        """Something is wrong with a key: that it is there, or how it is called."""
        self.context.problems.add(message, (at or self.own).key_position)

    def file(self, node: Node, suffix: str = "", other: str = "") -> str:
        """A file that must exist, relative to the root; "" when it does not."""
        try:
            return self.context.paths.file(node, suffix, other)
        except ManifestError as error:
            self.context.problems.take(error)
            return ""
