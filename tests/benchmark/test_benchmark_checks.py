"""What was asked for has an effect, or it is told."""

from __future__ import annotations

from typing import Any

import pytest

from tflbuild.benchmarking.measuring import check_plans, check_threads, per_op
from tflbuild.errors import TaskError


def test_threads_without_effect_are_told() -> None:
    files = {
        "one": {"threads": 1, "unmeasured": ""},
        "two": {"threads": 2, "unmeasured": ""},
        "none": {"unmeasured": "no kernels"},
    }
    warnings: list[str] = []
    check_threads(2, files, warnings)
    assert warnings == ["threads: 2 has no effect on one: no kernel of it started a second thread"]
    check_threads(1, files, warnings)
    assert len(warnings) == 1


def plan(*delegates: str, threads: int = 1) -> dict[str, Any]:
    return {"delegates": dict.fromkeys(delegates, 1), "ops": 7, "threads": threads}


X = "TfLiteXNNPackDelegate"


def test_delegates_as_asked_for() -> None:
    assert check_plans(1, "xnnpack", {"a": plan(X), "b": plan(X, "Other")}) == []
    assert check_plans(1, "none", {"a": plan(), "b": plan("Other")}) == []
    assert check_plans(1, "xnnpack", {}) == []


def test_a_delegate_that_takes_nothing_of_one_file() -> None:
    assert check_plans(1, "xnnpack", {"a": plan(X), "b": plan("Other")}) == [
        "XNNPACK takes none of the 7 operators of b: its time is that of the interpreter's own"
        " kernels"
    ]


def test_what_has_no_effect_at_all() -> None:
    with pytest.raises(TaskError, match="xnnpack has no effect") as caught:
        check_plans(1, "xnnpack", {"a": plan(), "b": plan("Other")})
    assert caught.value.key == "benchmark.delegate"
    with pytest.raises(TaskError, match="applies XNNPACK though it is told not to"):
        check_plans(1, "none", {"a": plan(X)})
    with pytest.raises(TaskError, match="to use 1 threads, not 2"):
        check_plans(2, "none", {"a": plan()})


def test_operators_beside_the_whole() -> None:
    nodes = [{"ms": 1.0}, {"ms": 3.0}]
    found = per_op({"nodes": nodes, "whole_ns": 5_000_000}, 4.0)
    assert found == {
        "nodes": [{"ms": 1.0, "share": 0.25}, {"ms": 3.0, "share": 0.75}],
        "sum_ms": 4.0, "profiled_ms": 5.0, "covered": 0.8, "whole_ms": 4.0, "slowed": 1.25,
    }  # fmt: skip
