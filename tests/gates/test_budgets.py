"""Budgets and how they are shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflbuild.budgets import judge, open_inputs
from tflbuild.manifest.model import Budgets
from tflbuild.verdict import Margin, amount, size


@pytest.mark.parametrize(
    ("name", "value", "limit", "text"),
    [
        ("size", 412_300, 500_000, "412 KB of 500 KB"),
        ("size", 262_144, 262_144, "262 KB of 262 KB"),
        ("size", 412_300, 412_000, "412,300 of 412,000"),
        ("arena", 9_999, 65_536, "9,999 B of 65.5 KB"),
        ("macs", 2_600_000, 20_000_000, "2.6M of 20M"),
        ("params", 999_999, 2_000_000, "1M of 2M"),
        ("weights", None, 10_000_000_000, "? of 10 GB"),
    ],
)
def test_text(name: str, value: int | None, limit: int, text: str) -> None:
    assert Margin(name, value, limit, "target t").text == text


@given(st.integers(0, 10**13), st.integers(1, 10**13))
def test_a_number_over_its_budget_never_reads_as_if_it_were_not(value: int, limit: int) -> None:
    shown = Margin("size", value, limit, "evaluate").text.split(" of ")
    assert (shown[0] == shown[1]) == (value == limit)


@given(st.integers(0, 10**13))
def test_three_digits_are_near(value: int) -> None:
    text = amount(value)
    factor = {"K": 10**3, "M": 10**6, "G": 10**9}.get(text[-1], 1)
    number = float(text.rstrip("KMG").replace(",", "")) * factor
    assert abs(number - value) <= 0.005 * value
    assert size(value).endswith("B")


def opened(shape: list[int]) -> dict[str, Any]:
    entries = [{"name": "image", "shape": shape}, {"name": "out", "shape": [1, -1]}]
    return {"interface": {"inputs": entries[:1]}, "dynamic": {"io": entries}}


def test_a_budget_that_open_dimensions_meet_is_a_warning() -> None:
    limits = Budgets(max_macs=100, max_arena=100, max_params=100, max_size=10)
    numbers = {"macs": 50, "arena": 200, "params": 50, "size": 5}
    names = open_inputs(opened([-1, -1, -1, 3]))
    found, margins = judge(limits, numbers, "target t", {}, names)

    assert {(f.level, f.check) for f in found} == {("fail", "arena"), ("warn", "macs")}
    (warning,) = [f.message for f in found if f.level == "warn"]
    assert warning == (
        "multiply-accumulates: 50 of 100 (max_macs of target t) counts open dimensions as 1 (of"
        " input 'image'): pin the inputs, or the number means nothing"
    )
    assert len(margins) == 4


def test_an_open_batch_is_1() -> None:
    assert open_inputs(opened([-1, 8, 8, 3])) == []
    assert open_inputs({"dynamic_inputs": [{"name": "x", "shape": [None, 4]}]}) == []
    assert open_inputs({"dynamic_inputs": [{"name": "x", "shape": [1, None]}]}) == ["x"]
    assert open_inputs({"dynamic_inputs": [{"name": "x", "shape": None}]}) == ["x"]


def test_open_inputs_of_other_signatures_have_the_names_that_callers_see() -> None:
    measured = opened([1, 8, 8, 3])
    measured["dynamic"]["io"].append({"name": "serving_x:0", "shape": [1, -1]})
    measured["interface"]["signatures"] = {
        "one": {"subgraph": 0, "inputs": {"picture": "image"}, "outputs": {"y": "out"}},
        "two": {"subgraph": 1, "inputs": {"x": "serving_x:0"}, "outputs": {"y": "out"}},
    }
    assert open_inputs(measured) == ["x"]
