"""`extends`: a model on top of another one.

What a model says lies above what the model says that it extends, and that above `defaults`. Each
layer is merged as `defaults` are, so that a null removes what lies beneath it, also in a model
that is extended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tflbuild.manifest.nodes import get, text
from tflbuild.manifest.problems import Problems, nearest
from tflbuild.manifest.yamlfile import Node, describe

KEY = "extends"
MAX_CHAIN = 64  # models that extend one another in a row


class Scope(Protocol):
    @property
    def defaults(self) -> Node | None: ...


class Declared(Protocol):
    """A model as it is written."""

    @property
    def node(self) -> Node: ...
    @property
    def scope(self) -> Scope: ...


def chain(name: str, models: Mapping[str, Declared], problems: Problems) -> list[str] | None:
    """The model and those that it extends, in a row; None when that leads nowhere."""
    names = [name]
    while (node := get(models[names[-1]].node, KEY)) is not None and node.value is not None:
        other = text(node)
        if other is None:
            return None  # the schema has said so
        if other not in models:
            problems.add(
                f"{names[-1]!r} extends {describe(other)}, and no model has that name"
                + (nearest(other, models) or "; models are declared under `models`"),
                node.position,
            )
            return None
        if other in names:
            circle = names[names.index(other) :]
            first = circle.index(min(circle))
            circle = [*circle[first:], *circle[:first]]
            at = get(models[circle[0]].node, KEY)
            assert at is not None
            problems.add(
                f"models extend one another in a circle: {' → '.join([*circle, circle[0]])};"
                " remove one `extends`",
                at.position,
            )
            return None
        names.append(other)
        if len(names) > MAX_CHAIN:
            problems.add(f"more than {MAX_CHAIN} models extend one another in a row", node.position)
            return None
    return names


def layers(names: list[str], models: Mapping[str, Declared]) -> list[Node]:
    """What to merge, lowest first: the `defaults` of each model's manifest, then the models from
    the one that extends nothing to the one that is built."""
    found: list[Node] = []
    for name in names:
        defaults = models[name].scope.defaults
        if defaults is not None and not any(defaults is other for other in found):
            found.append(defaults)
    return [*found, *(without_key(models[name].node) for name in reversed(names))]


def without_key(node: Node) -> Node:
    """The model without its `extends`; one that is null stays, and is told of as such."""
    said = get(node, KEY)
    if said is None or said.value is None or not isinstance(node.value, dict):
        return node
    rest = {key: child for key, child in node.value.items() if key != KEY}
    return Node(rest, node.position, node.key_position)
