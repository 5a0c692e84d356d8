"""No remedy for a function of JAX is unproven; each op that stops one is named with its scope."""

from __future__ import annotations

import json
from typing import Any

import pytest
from child_script import script

from tflbuild.evaluation.remedies import JAX_REMEDIES

pytestmark = pytest.mark.convert


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("jax_remedies") / "found.json"
    script("jax_remedies_child.py", out)
    return json.loads(out.read_text())


def test_every_remedy_has_a_case_and_every_case_a_remedy(found: Any) -> None:
    assert {case["op"] for case in found} == set(JAX_REMEDIES)


def test_each_op_stops_the_conversion_and_is_named_with_its_scope(found: Any) -> None:
    for case in found:
        assert not case["converts"], case
        assert case["op"] in [op for op, _ in case["bad"]], case
        assert all(place.startswith("head/") for _, place in case["bad"]), case


def test_what_is_said_to_write_instead_converts_and_is_equal(found: Any) -> None:
    replaced = {case["op"] for case in found if "good" in case}
    for case in found:
        if "good" in case:
            assert case["good"] == [], case
            error, tolerance = case["error"]
            assert error <= tolerance, case
    for op, known in JAX_REMEDIES.items():
        assert op in replaced or "app" in known.text, op
