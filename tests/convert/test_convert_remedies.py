"""No remedy is unproven: what it is for does fail, and what it says does convert, and is equal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from child_script import script

from tflbuild.evaluation.remedies import BUILTIN_IN_FLOAT32, REMEDIES
from tflbuild.tflite.flex_ops import FLEX_OPS, is_flex_op

pytestmark = pytest.mark.convert


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("remedies") / "found.json"
    script("remedies_child.py", out)
    return json.loads(out.read_text())


def test_every_remedy_has_a_case_and_every_case_a_remedy(found: Any) -> None:
    assert {case["op"] for case in found["cases"]} == set(REMEDIES)


def test_each_op_is_no_builtin_and_of_the_class_that_the_list_says(found: Any) -> None:
    for case in found["cases"]:
        op = case["op"]
        kind, name = ("select", f"Flex{op}") if op in FLEX_OPS else ("custom", op)
        assert name in case["bad"].get(kind, []), case
        for kind, names in case["bad"].items():
            for name in names:
                assert is_flex_op(name) == (kind == "select"), (name, kind)


def test_what_is_said_to_write_instead_is_builtin_and_equal(found: Any) -> None:
    checked = 0
    for case in found["cases"]:
        assert case.get("good", {}) == {}, case
        if "error" in case:
            checked += 1
            error, tolerance = case["error"]
            assert case["shapes"][0] == case["shapes"][1], case
            assert error <= tolerance, case
    assert checked >= 40


def test_remedies_without_a_replacement_say_so(found: Any) -> None:
    replaced = {case["op"] for case in found["cases"] if "good" in case}
    for op, known in REMEDIES.items():
        if op not in replaced:  # nothing is promised to convert
            assert "app" in known.text or "remove it" in known.text, op


def test_ops_whose_type_is_the_reason(found: Any) -> None:
    assert set(found["types"]) == BUILTIN_IN_FLOAT32
    for op, types in found["types"].items():
        assert types["float32"] == [], op
        assert f"Flex{op}" in types["float64"], op
        assert f"Flex{op}" in types["float16"], op


def test_ops_whose_shape_is_the_reason(found: Any) -> None:
    for op, names in found["shapes"].items():
        assert names == [f"Flex{op}"]
        assert op in BUILTIN_IN_FLOAT32
