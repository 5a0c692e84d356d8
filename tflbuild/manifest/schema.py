"""A manifest's tree against the JSON Schema, with errors that say where, what and what instead."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tflbuild.errors import ManifestError
from tflbuild.manifest.accept import Accept, compiled
from tflbuild.manifest.problems import nearest
from tflbuild.manifest.synonyms import key_hint, share_hint, type_hint, value_hint
from tflbuild.manifest.yamlfile import Node, Scalar, describe, resolve_scalar

if TYPE_CHECKING:
    from jsonschema import ValidationError

_FILE = Path(__file__).parents[1] / "schemas" / "tflbuild.schema.json"
PLANNED = "x-tflbuild-planned"
EXPECTED = "x-tflbuild-expected"
LIMIT = 1000  # errors of one file that are looked at; a hostile file could hold millions

_TYPES = {
    "object": "a mapping", "array": "a list", "string": "text", "boolean": "true or false",
    "integer": "a whole number", "number": "a number",
}  # fmt: skip


class Violation(NamedTuple):
    """An error and the keys that lead to it; an empty path concerns the whole file."""

    path: tuple[str | int, ...]
    error: ManifestError


def schema_text() -> str:
    """The JSON Schema of the manifest, as shipped."""
    return _FILE.read_text("utf-8")


@lru_cache(maxsize=1)
def load_schema() -> dict[str, Any]:
    """The JSON Schema of the manifest, its $refs replaced by what they name."""
    schema: dict[str, Any] = json.loads(schema_text())
    whole = dict(schema)
    del schema["$defs"]

    def inlined(part: Any) -> Any:
        if isinstance(part, list):
            return [inlined(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:  # looking refs up at each use would take half of the validation's time
            part = {**referred(whole, part["$ref"]), **part}
            del part["$ref"]
        return {key: inlined(value) for key, value in part.items()}

    result: dict[str, Any] = inlined(schema)
    return result


def referred(schema: dict[str, Any], reference: str) -> dict[str, Any]:
    """The part of a schema that a `#/…` reference names."""
    part: Any = schema
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    found: dict[str, Any] = part
    return found


def check(tree: Node) -> list[Violation]:
    """What of a file's tree the schema does not allow."""
    if _accept()(tree):
        return []
    errors = list(islice(_validator().iter_errors(tree.plain()), LIMIT))
    planned = {tuple(e.absolute_path) for e in errors if e.validator == PLANNED}
    found: dict[tuple[str | int, ...], Violation] = {}
    for error in errors:
        path = tuple(error.absolute_path)
        inside = any(path[:n] in planned for n in range(len(path)))
        if inside or path in found or (path in planned and error.validator != PLANNED):
            continue  # one error a place: the first, except that a planned key says just that
        found[path] = Violation(path, _located(tree, path, error))
    if len(errors) == LIMIT:  # what was not looked at must not be built on
        found[()] = Violation((), ManifestError("too many errors in this file", tree.position))
    return list(found.values())


def _located(tree: Node, path: tuple[str | int, ...], error: ValidationError) -> ManifestError:
    node = tree
    for step in path:
        value: Any = node.value
        node = value[step]
    at_key = error.validator in ("additionalProperties", "propertyNames", PLANNED)
    say = _MESSAGES.get(str(error.validator))
    message = say(error) if say else error.message
    return ManifestError(message, node.key_position if at_key else node.position)


@lru_cache(maxsize=1)
def _accept() -> Accept:
    return compiled(load_schema())


@lru_cache(maxsize=1)
def _validator() -> Any:
    # Late: a tenth of a second that right manifests need not pay.
    from jsonschema import Draft202012Validator, ValidationError, validators

    def unknown(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if not isinstance(instance, dict) or allowed is True:
            return
        known = schema.get("properties", {})
        for key, value in instance.items():
            if key in known:
                continue
            if allowed is False:
                yield ValidationError(key, path=(key,))
            else:
                yield from validator.descend(value, allowed, path=key)

    def names(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if isinstance(instance, dict):
            for key in instance:
                if not validator.evolve(schema=wanted).is_valid(key):
                    yield ValidationError(key, path=(key,))

    def planned(validator: Any, remedy: str, instance: Any, schema: Any) -> Iterator[Any]:
        yield ValidationError(remedy)

    def unique(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
        seen = set()
        for index, item in enumerate(instance if isinstance(instance, list) else ()):
            if isinstance(item, str):
                if item in seen:
                    yield ValidationError(item, path=(index,))
                seen.add(item)

    def pattern(validator: Any, wanted: str, instance: Any, schema: Any) -> Iterator[Any]:
        # `$` alone lets a newline follow.
        if isinstance(instance, str) and not re.fullmatch(wanted, instance):
            yield ValidationError(wanted)

    checker = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {  # 1.0 is no count, and no limit may be NaN or infinite
            "integer": lambda _, v: isinstance(v, int) and not isinstance(v, bool),
            "number": lambda _, v: (
                isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
            ),
        }
    )
    keywords = {
        "additionalProperties": unknown,
        "propertyNames": names,
        "pattern": pattern,
        "uniqueItems": unique,
        PLANNED: planned,
    }
    extend: Any = validators.extend  # untyped in its stubs
    return extend(Draft202012Validator, keywords, type_checker=checker)(load_schema())


def _say_unknown(error: ValidationError) -> str:
    schema: Any = error.schema
    known = [k for k, part in schema["properties"].items() if PLANNED not in part]
    return f"unknown key {describe(error.message)}" + (
        key_hint(tuple(error.absolute_path))
        or nearest(error.message, known)
        or f"; expected one of {', '.join(known)}"
    )


def _say_planned(error: ValidationError) -> str:
    return f"{error.absolute_path[-1]!r} is not supported yet; {error.message}"


def _say_enum(error: ValidationError) -> str:
    schema: Any = error.schema
    value: Any = error.instance
    known = [str(choice) for choice in schema["enum"] if choice is not None]
    wanted = f"one of {', '.join(known)}" if len(known) > 1 else known[0]
    path = tuple(error.absolute_path)
    hint = value_hint(path, value) or nearest(value, known) if isinstance(value, str) else ""
    return f"expected {wanted}; got {describe(value)}{hint}"


def _say_type(error: ValidationError) -> str:
    schema: Any = error.schema
    value: Any = error.instance
    wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    hint = type_hint(tuple(error.absolute_path), value) or _quoting(wanted, value)
    return f"expected {_expected(schema)}, got {describe(value)}{hint}"


def _quoting(wanted: list[str], value: Scalar | list[Any] | dict[str, Any]) -> str:
    """The remedy for a value that quotes, brackets or braces would make right."""
    number_wanted = {"number", "integer"} & {*wanted}
    if "string" in wanted and isinstance(value, bool | int | float) and not number_wanted:
        return "; put it in quotes"
    if "array" in wanted and isinstance(value, str | int | float):
        return (
            f"; write [{value}]"
            if re.fullmatch(r"[\w./*-]{1,60}", str(value))
            else "; put it in [ ]"
        )
    if "object" in wanted and value is None:
        return "; write {} for an empty one"
    if isinstance(value, str) and number_wanted:
        try:
            number = resolve_scalar(value)
        except ValueError:
            return ""
        if isinstance(number, int | float) and not isinstance(number, bool):
            return "; write it without quotes"
    return ""


def _expected(schema: Any) -> str:
    if EXPECTED in schema:
        return str(schema[EXPECTED])
    if "enum" in schema:
        return "one of " + ", ".join(str(c) for c in schema["enum"] if c is not None)
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_TYPES[t] for t in types if t != "null")


def _say_expected(error: ValidationError) -> str:
    return f"expected {_expected(error.schema)}; got {describe(error.instance)}"


def _say_name(error: ValidationError) -> str:
    schema: Any = error.schema
    wanted = schema["propertyNames"].get(EXPECTED, "a name that is not empty")
    return f"expected {wanted}; got {describe(error.message)}"


def _say_bound(words: str) -> Callable[[ValidationError], str]:
    return lambda error: f"expected {words.format(error.validator_value)}, got {error.instance}"


def _say_most(error: ValidationError) -> str:
    value: Any = error.instance
    share = error.validator_value == 1
    hint = share_hint(tuple(error.absolute_path), value) if share else ""
    return f"expected at most {error.validator_value}, got {value}{hint}"


def _say_length(error: ValidationError) -> str:
    return f"expected {_expected(error.schema)}; got {'nothing' if not error.instance else 'more'}"


_MESSAGES: dict[str, Callable[[ValidationError], str]] = {
    "additionalProperties": _say_unknown,
    PLANNED: _say_planned,
    "enum": _say_enum,
    "type": _say_type,
    "pattern": _say_expected,
    "propertyNames": _say_name,
    "minimum": _say_bound("at least {}"),
    "maximum": _say_most,
    "exclusiveMinimum": _say_bound("a number above {}"),
    "minLength": _say_length,
    "maxLength": lambda e: f"expected {_expected(e.schema)}; the text is too long",
    "minItems": lambda e: f"expected {_expected(e.schema)}; got an empty list",
    "maxItems": lambda e: f"expected at most {e.validator_value} values; got {len(_items(e))}",
    "minProperties": lambda e: f"expected {_expected(e.schema)}; got an empty mapping",
    "uniqueItems": lambda e: f"{describe(e.message)} is in this list twice; remove one",
}


def _items(error: ValidationError) -> list[Any]:
    return error.instance if isinstance(error.instance, list) else []
