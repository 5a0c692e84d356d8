"""The schema as editors see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from manifest_fixtures import Load
from test_manifest_load import FULL

from tflbuild.errors import Position
from tflbuild.manifest.schema import _accept, _validator, load_schema, schema_text
from tflbuild.manifest.yamlfile import Node, parse_yaml


def keys_of(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, part in schema.get("properties", {}).items():
        yield path + key, part
        yield from keys_of(part, f"{path}{key}.")
    if isinstance(more := schema.get("additionalProperties"), dict):
        yield from keys_of(more, f"{path}*.")


def test_is_a_schema_of_2020_12() -> None:
    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_every_key_is_described_and_has_a_default() -> None:
    keys = dict(keys_of(load_schema()))
    assert len(keys) > 100
    for path, part in keys.items():
        assert {"description", "default", "type"} <= {*part}, path
        assert "$ref" not in part
        if "properties" in part:
            assert part["additionalProperties"] is False or path == "targets", path


PLACES = [p for p, _ in keys_of(load_schema()) if "*" not in p or p.startswith("models.*.")]
VALUES = st.sampled_from(
    [
        None, True, 0, 1, -1, 1.5, 3.0, 1e400, "", "x", "litert", "8MB", "10m\n", "int8", "1",
        [], {},
        ["a"], ["a", "a"], [1], [None], [[]], {"x": {}}, {"x": "y"}, {"": {}}, {"x": None},
        {"a-b": {}}, {"accuracy": {"min": 2}}, {"min": 0.5}, {"runtime": "micro"},
    ]
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), max_size=3))
def test_the_quick_yes_agrees_with_jsonschema(changes: list[tuple[str, Any]]) -> None:
    document: Any = {"version": 1}
    for place, value in changes:
        part, *rest = document, *place.replace("*", "m").split(".")
        for step in rest[:-1]:
            part = part.setdefault(step, {}) if isinstance(part, dict) else {}
        if isinstance(part, dict):
            part[rest[-1]] = deepcopy(value)  # else one {} could come to hold itself
    tree = node_of(json.loads(json.dumps(document)))
    assert _accept()(tree) == (not list(_validator().iter_errors(tree.plain())))


def node_of(value: Any) -> Node:
    place = Position("f", 1, 1)
    if isinstance(value, dict):
        value = {key: node_of(child) for key, child in value.items()}
    elif isinstance(value, list):
        value = [node_of(child) for child in value]
    return Node(value, place, place)


def test_editors_accept_what_tflbuild_accepts(load: Load) -> None:
    load(FULL)
    Draft202012Validator(json.loads(schema_text())).validate(parse_yaml(FULL.encode(), "f").plain())
