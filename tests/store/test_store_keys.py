"""Keys: equal actions have equal keys, and any part that differs makes another one."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tflbuild.store.digest import canonical_json
from tflbuild.store.keys import Action, Change, compare

names = st.text(min_size=1, max_size=8)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
texts = st.dictionaries(names, st.text(max_size=8), max_size=4)
actions = st.builds(
    Action, names, st.integers(0, 99), st.dictionaries(names, values, max_size=4), texts, texts
)


def shuffled(value: Any, by: random.Random) -> Any:
    """The same value, its mappings in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(item, by)) for key, item in value.items()]
        by.shuffle(items)
        return dict(items)
    return [shuffled(item, by) for item in value] if isinstance(value, list) else value


@given(actions, st.randoms(use_true_random=False))
def test_order_does_not_matter(action: Action, by: random.Random) -> None:
    other = Action(
        action.stage, action.version, shuffled(action.params, by), shuffled(action.inputs, by),
        shuffled(action.toolchain, by),
    )  # fmt: skip
    assert other.key() == action.key()
    assert compare(action.parts(), other.parts()) == []


@given(actions, actions)
@settings(max_examples=300)
def test_another_action_has_another_key(one: Action, two: Action) -> None:
    assert (one.key() == two.key()) == (canonical_json(one.parts()) == canonical_json(two.parts()))


@given(actions, st.sampled_from(["params", "inputs", "toolchain"]), names, st.text(max_size=8))
def test_any_part_that_differs(action: Action, part: str, name: str, value: str) -> None:
    old = dict(getattr(action, part))
    if old.get(name) == value:
        value += "x"
    other = replace(action, **{part: {**old, name: value}})
    assert other.key() != action.key()
    without = replace(action, **{part: {k: v for k, v in other.parts()[part].items() if k != name}})
    assert without.key() != other.key()
    if isinstance(old.get(name), (dict, list)):
        return
    assert compare(action.parts(), other.parts()) == [
        Change(f"{part}.{name}", old.get(name), value)
    ]


@given(actions)
def test_stage_and_version(action: Action) -> None:
    assert replace(action, stage=action.stage + "x").key() != action.key()
    assert replace(action, version=action.version + 1).key() != action.key()


@pytest.mark.parametrize(
    ("one", "two"),
    [(1, 1.0), (1, True), (0, False), ("1", 1), (None, "null"), ([], {}), ("", None)],
)
def test_values_of_other_types_are_other_values(one: Any, two: Any) -> None:
    keys = {Action("s", 1, {"x": value}, {}, {}).key() for value in (one, two)}
    assert len(keys) == 2


def test_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Action("s", 1, {"x": float("nan")}, {}, {}).key()


def test_changes_are_said() -> None:
    old = Action("convert", 1, {"io": "float32"}, {"a": "1", "b": "2"}, {"keras": "3.1"})
    new = Action("convert", 2, {"io": "int8"}, {"a": "2", "c": "2"}, {"keras": "3.2"})
    assert [str(change) for change in compare(old.parts(), new.parts())] == [
        "a changed", "input b is gone", "new input c", "params.io: float32 → int8",
        "toolchain.keras: 3.1 → 3.2", "version: 1 → 2",
    ]  # fmt: skip
