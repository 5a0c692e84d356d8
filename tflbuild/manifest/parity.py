"""Limits of parity: for all outputs, and over those for one; of the model, a signature, and an
optimization.

What is nearer lies over what is farther: an output's own limit over one for all outputs; then
that of an optimization over that of a signature, over that of the model, over the default table.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.model import Optimization, ParityLimits, Shipped, TopK
from tflbuild.manifest.nodes import entries, get
from tflbuild.manifest.yamlfile import Node

LEAST_SQNR = -20  # dB: the error has a hundred times the power of the output

# The numbers that a limit of one value may be set for.
NUMBERS = tuple(f.name for f in fields(ParityLimits) if f.name not in ("top_k", "outputs"))


def build_parity(model: ModelNodes, below: tuple[str, ...]) -> ParityLimits:
    """The limits of one signature; `below`: the keys under `validate` where its own stand."""
    limits = _limits(model, get(model.tree, "validate", "parity"))
    if below:
        limits = over(_limits(model, get(model.tree, "validate", *below, "parity")), limits)
    return limits


def own_limits(model: ModelNodes, node: Node | None) -> ParityLimits | None:
    """Those of an optimization; None where it has none."""
    return None if node is None or node.value is None else _limits(model, node)


def over(upper: ParityLimits, lower: ParityLimits) -> ParityLimits:
    """`upper` where it says something, else `lower`."""
    said = {name: getattr(upper, name) for name in (*NUMBERS, "top_k")}
    own = {name: value for name, value in said.items() if value is not None and value != ()}
    outputs = dict(lower.outputs)
    for name, limits in upper.outputs:
        outputs[name] = over(limits, outputs[name]) if name in outputs else limits
    return replace(lower, **own, outputs=tuple(sorted(outputs.items())))


def of_output(limits: ParityLimits, name: str) -> ParityLimits:
    """What holds for one output."""
    own = dict(limits.outputs).get(name, ParityLimits())
    return replace(over(own, limits), outputs=())


def limits_of(shipped: Shipped, optimization: Optimization) -> ParityLimits:
    """Those of a signature, under those of the optimization."""
    own = optimization.parity_limits
    return shipped.parity if own is None else over(own, shipped.parity)


def top_k_of(limits: ParityLimits) -> dict[str, list[int]]:
    """Which k are measured: by output, "" for those that have none of their own."""
    named = (("", limits), *limits.outputs)
    return {name: [top.k for top in own.top_k] for name, own in named if own.top_k}


def _limits(model: ModelNodes, node: Node | None) -> ParityLimits:
    given = {name: value for name in NUMBERS if (value := _number(get(node, name))) is not None}
    if given.get("cosine") == -1:
        why = "no cosine is below -1; a sound file has more than 0.9"
        model.problem(f"cosine: -1 can never fail: {why}", get(node, "cosine"))
    if given.get("sqnr", 0.0) < LEAST_SQNR:
        model.problem(
            f"sqnr: {given['sqnr']:g} says nothing: below 0 dB the error is larger than the output;"
            f" a sound file has 15 dB or more, and a limit is at least {LEAST_SQNR}",
            get(node, "sqnr"),
        )
    outputs = []
    for name, entry in sorted(entries(get(node, "outputs")).items()):
        limits = _limits(model, entry)
        if limits == ParityLimits():
            model.key_problem(
                f"no limit for output {name!r}; give one of {', '.join((*NUMBERS, 'top_k'))}", entry
            )
        outputs.append((name, limits))
    return ParityLimits(**given, top_k=_top_k(model, get(node, "top_k")), outputs=tuple(outputs))


def _top_k(model: ModelNodes, node: Node | None) -> tuple[TopK, ...]:
    if node is None or node.value is None:
        return ()
    listed: Any = node.value if isinstance(node.value, list) else [node]
    found: dict[int, TopK] = {}
    for item in listed:
        k, least = get(item, "k"), get(item, "min")
        if k is None or k.value is None or least is None or least.value is None:
            missing = "`k`" if k is None or k.value is None else "`min`"
            model.problem(f"top_k needs {missing}, such as {{k: 5, min: 0.99}}", item)
            continue
        top = TopK(int(str(k.value)), float(str(least.value)))
        if top.k in found:
            model.problem(f"k: {top.k} is in this list twice; remove one", k)
        found[top.k] = top
    return tuple(found[k] for k in sorted(found))


def _number(node: Node | None) -> float | None:
    return float(node.value) if node is not None and isinstance(node.value, int | float) else None
