"""What a file needs (`versions.describe`) against the oldest runtime of a target.

A module of its own, because the parent judges, and does not load NumPy for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .layer_names import shown_layer
from .runtime_versions import first_runtime, parse
from .version_remedies import remedy

_TITLES = {"tensorflow": "TensorFlow", "litert": "LiteRT"}


def too_new(described: Mapping[str, Any], target: tuple[str, str]) -> list[str]:
    """Why a runtime is too old for the file: a line for each operator and version, newest first.

    Args:
        described: of `describe`.
        target: the numbering and the version of the oldest runtime: ("tensorflow", "2.14").

    Raises ValueError for an unknown numbering or what is no version.
    """
    numbering, oldest = target
    limit = parse(oldest)
    found = []
    others = {(need["op"], need["version"]) for need in described["needs"]}
    for need in described["needs"]:
        since = need["since"] and first_runtime(need["op"], need["version"], numbering)
        if since is not None and parse(since) <= limit:
            continue
        line = f"{need['op']} version {need['version']} at {_where(need)}"
        line += f": {need['why']}; " if need["why"] else "; "
        line += (
            f"since {_TITLES[numbering]} {since}" if since else "which runtime has it is unknown"
        )
        way = remedy(need["op"], need["version"], need["why"], others, (numbering, limit))
        line += f"; instead: {way}" if way else ""
        found.append(line)
    return found


def _where(need: Mapping[str, Any]) -> str:
    first = need["first"]
    layer = shown_layer(first["layer"])
    layer = layer or f"operator {first['op']} of subgraph {first['subgraph']}"
    return f"'{layer}'" + (f" and {need['count'] - 1} more" if need["count"] > 1 else "")
