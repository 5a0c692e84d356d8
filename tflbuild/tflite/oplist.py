"""Which operators a file needs of its runtime: the one list that runtimes are built from."""

from __future__ import annotations

from typing import Any

from .model import TfliteModel


def op_list(model: TfliteModel) -> list[dict[str, Any]]:
    """Every operator once for each version that the file uses, of all its subgraphs, sorted.

    Keys: `op`, the builtin's name in the schema or the custom code; `version`, from 1; `kind`,
    "builtin", "select" (a custom code that begins with "Flex") or "custom".
    """
    used = {(op.kind, op.name, op.version) for graph in model.subgraphs for op in graph.ops}
    return [{"op": name, "version": version, "kind": kind} for kind, name, version in sorted(used)]
