"""Looking into a manifest's tree, whose shape the schema has checked."""

from __future__ import annotations

from tflbuild.manifest.yamlfile import Node


def get(node: Node | None, *keys: str) -> Node | None:
    """The value at a path of keys, or None where the path ends early."""
    for key in keys:
        if node is None or not isinstance(node.value, dict):
            return None
        node = node.value.get(key)
    return node


def entries(node: Node | None) -> dict[str, Node]:
    """The entries of a mapping; none of what is not there."""
    return node.value if node is not None and isinstance(node.value, dict) else {}


def strings(node: Node | None) -> tuple[str, ...]:
    """The items of a list of names."""
    return tuple(str(i.value) for i in node.value) if node and isinstance(node.value, list) else ()


def text(node: Node | None) -> str | None:
    """A string, or None."""
    return node.value if node is not None and isinstance(node.value, str) else None
