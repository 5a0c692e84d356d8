"""`defaults` under a model: mappings key by key, lists and scalars replace, null removes."""

from __future__ import annotations

from tflbuild.manifest.problems import Problems
from tflbuild.manifest.yamlfile import Node, describe


def merge(base: Node | None, over: Node, problems: Problems) -> Node:
    """`over` on top of `base`; every value keeps the place where it was written.

    Nothing null is left in a mapping: a null that removes nothing is a problem, since who wrote
    `float32:` meant `float32: {}`.
    """
    if not isinstance(over.value, dict):
        return over
    beneath = base.value if base is not None and isinstance(base.value, dict) else {}
    merged = dict(beneath)
    for key, node in over.value.items():
        if node.value is not None:
            merged[key] = merge(beneath.get(key), node, problems)
        elif key in beneath:
            del merged[key]
        else:
            problems.add(
                f"nothing (null) for {describe(key)}, and no default to remove; write {{}} for "
                "an empty one, or remove the key",
                node.key_position,
            )
    return Node(merged, over.position, over.key_position)
