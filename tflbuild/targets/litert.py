"""`litert`: the standard LiteRT (TensorFlow Lite) runtime with its builtin ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild.verdict import FAIL, Finding

NAME = "litert"
PROFILE = "builtin"


def judge_evaluation(measured: Mapping[str, Any]) -> Sequence[Finding]:
    found = []
    if measured["verdict"] == "not convertible":
        found.append(Finding(FAIL, "convertible", measured["problem"]))
    for kind, remedy in (
        ("select", "LiteRT has no builtin for it: replace it in the model"),
        ("custom", "it is no TensorFlow Lite op: replace it in the model"),
    ):
        ops = measured["ops"].get(kind, {})
        if ops:
            names = ", ".join(f"{name} (×{count})" for name, count in sorted(ops.items()))
            where = dict.fromkeys(
                f"{problem['op']} in {problem['node']}"
                for problem in measured["problems"]
                if problem["node"]
            )
            if kind == "select":
                remedy = measured.get("advice") or remedy
            places = f" ({', '.join(list(where)[:3])})" if where else ""
            found.append(Finding(FAIL, f"ops.{kind}", f"{names}: {remedy}{places}"))
    return found


def judge_file(measured: Mapping[str, Any]) -> Sequence[Finding]:
    found = []
    for kind in ("select", "custom"):
        ops = sorted(measured["ops"].get(kind, {}))
        if ops:
            found.append(
                Finding(FAIL, f"ops.{kind}", f"the file holds {kind} ops {ops}, not builtin ones")
            )
    if not measured["loads"]:
        found.append(Finding(FAIL, "loads", f"the runtime refuses it: {measured['problem']}"))
    return found
