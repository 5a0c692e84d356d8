"""A quick yes to a tree that the schema allows.

jsonschema explains well and takes its time: a second for a thousand models. Nearly every
manifest is right, so the schema is compiled once to plain functions that only say yes or no,
and jsonschema is imported and asked about the trees that get a no. A no too many costs time; a
keyword that is not known here gives one, so that nothing slips through.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from tflbuild.manifest.yamlfile import Node

Accept = Callable[[Node], bool]

_PYTHON = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,),
    "integer": (int,), "number": (int, float), "null": (type(None),),
}  # fmt: skip
_SILENT = {"description", "default", "title", "$schema", "$id", "$comment", "type", "properties"}


def compiled(schema: dict[str, Any]) -> Accept:
    """A function that tells whether a node is one that the schema (without $refs) allows."""
    kinds = schema.get("type", [*_PYTHON])  # without one, any
    names = [kinds] if isinstance(kinds, str) else kinds or []
    # The exact types: to Python, but not to JSON, a bool is an int.
    types = frozenset(python for name in names for python in _PYTHON[name])
    known = {key: compiled(part) for key, part in schema.get("properties", {}).items()}
    other = compiled(schema["additionalProperties"]) if _is_schema(schema) else None
    item = compiled(schema["items"]) if "items" in schema else None
    checks = [_check(keyword, value) for keyword, value in schema.items()]
    tests = [check for check in checks if check is not None]
    closed = schema.get("additionalProperties") is False

    def accept(node: Node) -> bool:
        value = node.value
        kind = type(value)
        if kind not in types:
            return False
        if not all(test(value) for test in tests):
            return False
        if isinstance(value, dict):
            for key, child in value.items():
                part = known.get(key, other)
                if closed if part is None else not part(child):
                    return False
        elif isinstance(value, list) and item is not None:
            return all(map(item, value))
        return kind is not float or math.isfinite(value)  # type: ignore[arg-type]

    return accept


def _is_schema(schema: dict[str, Any]) -> bool:
    return isinstance(schema.get("additionalProperties"), dict)


def _never(value: Any) -> bool:
    return False


def _on(kind: type | tuple[type, ...], test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A keyword of JSON Schema concerns values of one kind and lets the others pass."""
    return lambda value: not isinstance(value, kind) or test(value)


def _check(keyword: str, limit: Any) -> Callable[[Any], bool] | None:
    """The test that a keyword stands for; None where it asks for nothing here."""
    if keyword in _SILENT or keyword in ("additionalProperties", "items"):
        return None
    if keyword == "x-tflbuild-expected":
        return None
    if keyword == "pattern":
        match = re.compile(limit).fullmatch  # `$` alone lets a newline follow
        return _on(str, lambda value: match(value) is not None)
    if keyword == "propertyNames":
        found = [_check(*word) for word in limit.items()]
        tests = [test for test in found if test is not None]
        return _on(dict, lambda value: all(test(key) for key in value for test in tests))
    if keyword == "uniqueItems":
        return _on(list, lambda v: len({_hashable(n.value) for n in v}) == len(v))
    number = (int, float)
    simple: dict[str, Callable[[Any], bool]] = {
        "enum": lambda value: value in limit,
        "minimum": _on(number, lambda value: value >= limit),
        "maximum": _on(number, lambda value: value <= limit),
        "exclusiveMinimum": _on(number, lambda value: value > limit),
        "minLength": _on(str, lambda value: len(value) >= limit),
        "maxLength": _on(str, lambda value: len(value) <= limit),
        "minItems": _on(list, lambda value: len(value) >= limit),
        "maxItems": _on(list, lambda value: len(value) <= limit),
        "minProperties": _on(dict, lambda value: len(value) >= limit),
    }
    test: Callable[[Any], bool] = simple.get(keyword, _never)  # a planned key is never right
    return test


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str) else id(value)
