"""Budgets: which measured number each is about, and whether it is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from tflbuild.manifest.model import Budgets
from tflbuild.verdict import FAIL, Finding, Margin

Numbers = Mapping[str, int | None]

_WORDS = {
    "size": "the file",
    "params": "parameters",
    "macs": "multiply-accumulates",
    "weights": "weights",
    "activations": "activations at their peak",
    "io": "inputs and outputs",
    "traffic": "memory traffic of one inference",
    "arena": "the arena",
}


def before_conversion(limits: Budgets) -> Budgets:
    """The budgets of a file that no optimization helps to meet."""
    kept = ("max_params", "max_macs")
    return replace(limits, **{f.name: None for f in fields(limits) if f.name not in kept})


def of_model(measured: Mapping[str, Any]) -> Numbers:
    """The numbers of a model before conversion (`evaluate.json`)."""
    given, made = measured.get("input_bytes"), measured.get("output_bytes")
    return {
        "params": measured.get("params"),
        "macs": measured.get("macs"),
        "weights": measured.get("weights_bytes"),
        "activations": measured.get("memory", {}).get("peak_bytes"),
        "io": None if given is None or made is None else given + made,
        "traffic": measured.get("traffic_bytes"),
    }


def of_file(measured: Mapping[str, Any]) -> Numbers:
    """The numbers of a file (`compat.json`)."""
    sizes, memory = measured["sizes"], measured.get("memory", {})
    return {
        "size": measured["size"],
        "params": measured["params"],
        "macs": measured["macs"]["total"],
        "weights": sizes["weights_bytes"],
        "activations": memory.get("peak_bytes"),
        "io": sizes["input_bytes"] + sizes["output_bytes"],
        "traffic": measured.get("traffic_bytes"),
        "arena": measured.get("micro", {}).get("arena_bytes", memory.get("arena_bytes")),
    }


def judge(limits: Budgets, numbers: Numbers, origin: str) -> tuple[list[Finding], list[Margin]]:
    """What is over budget, and the margin of each budget."""
    found, margins = [], []
    for entry in fields(limits):
        limit = getattr(limits, entry.name)
        if limit is None:
            continue
        name = entry.name.removeprefix("max_")
        margin = Margin(name, numbers.get(name), limit, origin)
        margins.append(margin)
        check = f"evaluate.{entry.name}" if origin == "evaluate" else name
        if margin.value is None:
            found.append(
                Finding(
                    FAIL,
                    check,
                    f"{_WORDS[name]}: the number is not known, and {entry.name} of {origin} asks"
                    " for it",
                )
            )
        elif (over := margin.value - limit) > 0:
            found.append(
                Finding(
                    FAIL,
                    check,
                    f"{_WORDS[name]}: {margin.text}, {over:,} too many ({entry.name} of {origin})",
                )
            )
    return found, margins
