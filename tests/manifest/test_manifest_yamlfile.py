"""The YAML reader against PyYAML, and its places."""

from __future__ import annotations

import json
import math
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tflbuild.errors import ManifestError
from tflbuild.manifest.yamlfile import Node, Scalar, parse_yaml, resolve_scalar

KEYS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"]), max_size=8
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | KEYS
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(KEYS, TREES, min_size=1, max_size=4)


def same_in_1_1_and_1_2(tree: object) -> bool:
    """Whether PyYAML leaves no text bare that YAML 1.2 takes for something else."""
    if isinstance(tree, dict):
        return all(same_in_1_1_and_1_2(x) for pair in tree.items() for x in pair)
    if isinstance(tree, list):
        return all(map(same_in_1_1_and_1_2, tree))
    return not isinstance(tree, str) or isinstance(resolve_scalar(tree), str)


@given(DOCUMENTS)
def test_json_documents_read_as_written(document: dict[str, object]) -> None:
    text = json.dumps(document, ensure_ascii=False)
    assert parse_yaml(text.encode(), "f").plain() == document


@given(DOCUMENTS.filter(same_in_1_1_and_1_2), st.booleans())
def test_agrees_with_safe_load(document: dict[str, object], flow: bool) -> None:
    text = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    read = parse_yaml(text.encode(), "f").plain()
    assert read == yaml.safe_load(text) == document
    assert list(read) == list(document)


@given(st.binary(max_size=200) | st.text(alphabet="a: \n-[]{}&*!|>'\"?,#%@\t<=", max_size=60))
def test_any_bytes_give_a_mapping_or_one_line(data: bytes | str) -> None:
    try:
        tree = parse_yaml(data if isinstance(data, bytes) else data.encode(), "f")
    except ManifestError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert str(error).startswith("f:")  # noqa: PT017
    else:
        assert isinstance(tree.value, dict)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("off", "off"), ("True", True), ("~", None), ("", None), ("0x1F", 31),
        ("0o17", 15), ("017", 17), ("1e-4", 1e-4), ("-.5", -0.5), ("1.", 1.0),
        ("-.inf", -math.inf),
        ("1_000", "1_000"), ("1:30", "1:30"), ("2020-01-01", "2020-01-01"), (".", "."),
    ],
)  # fmt: skip
def test_core_schema(text: str, value: Scalar) -> None:
    result = resolve_scalar(text)
    assert result == value
    assert type(result) is type(value)


def test_places_of_keys_and_values() -> None:
    tree = parse_yaml("# c\né: {b: 'x'}\nl:\n  - &a 1\n  - *a\n".encode("utf-8-sig"), "f.yaml")

    def place(node: Node) -> tuple[str, str]:
        return str(node.key_position), str(node.position)

    assert isinstance(tree.value, dict)
    outer, items = tree.value["é"], tree.value["l"].value
    assert isinstance(outer.value, dict)
    assert isinstance(items, list)
    assert place(outer) == ("f.yaml:2:1", "f.yaml:2:4")
    assert place(outer.value["b"]) == ("f.yaml:2:5", "f.yaml:2:8")
    assert [place(item)[1] for item in items] == ["f.yaml:4:5", "f.yaml:5:5"]


def test_depth_is_counted_through_aliases() -> None:
    deep = "[" * 30 + "]" * 30
    text = f"a: &a {deep}\nb: &b {'[' * 30}*a{']' * 30}\nc: {'[' * 10}*b{']' * 10}\n"
    with pytest.raises(ManifestError, match="f:3:14: nested above 64 levels"):
        parse_yaml(text.encode(), "f")


@pytest.mark.parametrize("piece", ["[", "{", "{a: ", "- ", "? ", "&a [", "[*a, "])
def test_hostile_nesting_ends_soon(piece: str) -> None:
    start = time.monotonic()
    with pytest.raises(ManifestError):
        parse_yaml(b"a: " + piece.encode() * 100_000, "f")
    assert time.monotonic() - start < 2
