"""Budgets: which measured number each is about, and whether it is met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from tflbuild.manifest.model import Budgets
from tflbuild.tflite.layer_names import shown_layer
from tflbuild.verdict import FAIL, Finding, Margin, amount, size

Numbers = Mapping[str, int | None]
Hints = Mapping[str, str]

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


def hints_of_model(measured: Mapping[str, Any]) -> Hints:
    """Where a number comes from, by the name of its budget."""
    hints = dict(_peak(measured.get("memory", {})))
    named = [layer for layer in measured.get("layers", ()) if layer["name"]]
    worst = {
        name: measured.get(f"{name}_signature", "") for name in ("macs", "io", "traffic")
    } | _signatures_of_memory(measured)
    for name, key in (("macs", "macs"), ("params", "params"), ("traffic", "traffic_bytes")):
        if worst.get(name):
            continue  # layers are of all signatures: the dearest may be in another one
        if top := max(named, key=lambda layer: layer.get(key) or 0, default=None):
            if top.get(key):
                hints[name] = f"most of it in {top['name']}: {amount(top[key])}"
    return _with_signatures(hints, worst)


def hints_of_file(measured: Mapping[str, Any]) -> Hints:
    hints = dict(_peak(measured.get("memory", {})))
    hints["size"] = f"weights are {size(measured['sizes']['weights_bytes'])} of it"
    if ran := measured.get("micro", {}).get("run"):
        if ran["tail_bytes"] is not None:
            hints["arena"] = (
                f"tensors {size(ran['head_bytes'])}, what lives as long as the interpreter"
                f" {size(ran['tail_bytes'])}; {hints.get('arena', '')}".removesuffix("; ")
            )
    worst = {
        "macs": measured["macs"].get("signature", ""),
        "io": measured["sizes"].get("signature", ""),
        "traffic": measured.get("traffic_signature", ""),
        **_signatures_of_memory(measured),
    }
    return _with_signatures(hints, worst)


def _signatures_of_memory(measured: Mapping[str, Any]) -> dict[str, str]:
    memory = measured.get("memory", {})
    found = {"activations": memory.get("signature", "")}
    if "arena_bytes" not in measured.get("micro", {}):  # tflite-micro runs the main one alone
        found["arena"] = memory.get("arena_signature", "")
    return found


def _with_signatures(hints: dict[str, str], worst: Mapping[str, str]) -> Hints:
    """Hints that name the signature which a number is of, where a file has several."""
    for name, key in worst.items():
        if key:
            hints[name] = "; ".join(filter(None, (f"in signature '{key}'", hints.get(name))))
    return hints


def _peak(memory: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if peak := memory.get("peak"):
        layer = shown_layer(peak["layer"])
        where = f"most of it at {peak['name']}" + (f" '{layer}'" if layer else "")
        yield "activations", where
        # The arena may be largest in another signature than the peak.
        if memory.get("signature") == memory.get("arena_signature"):
            yield "arena", where


def judge(
    limits: Budgets, numbers: Numbers, origin: str, hints: Hints | None = None
) -> tuple[list[Finding], list[Margin]]:
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
        said = f"{entry.name} of {origin}"
        if margin.value is None:
            text = f"{_WORDS[name]}: the number is not known, and {said} asks for it"
        elif (over := margin.value - limit) > 0:
            times = margin.value / limit
            far = f"{times:,.0f}" if times >= 10 else f"{times:.2g}"
            much = f"{over:,} too many" if over < limit else f"{far} times it"
            hint = f"; {hints[name]}" if hints and name in hints else ""
            text = f"{_WORDS[name]}: {margin.text}, {much} ({said}){hint}"
        else:
            continue
        found.append(Finding(FAIL, check, text))
    return found, margins
