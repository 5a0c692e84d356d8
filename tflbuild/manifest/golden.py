"""`validate.golden`: recorded inputs and expected outputs, and what a file may differ by."""

from __future__ import annotations

from collections.abc import Sequence

from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.model import Golden, GoldenLimits, Optimization, Shipped
from tflbuild.manifest.nodes import entries, get, strings, text
from tflbuild.manifest.problems import nearest
from tflbuild.manifest.yamlfile import Node, describe

NUMBERS = ("max_abs_error", "max_range_error", "sqnr", "cosine")


def build_golden(
    model: ModelNodes, signatures: Sequence[Shipped], optimizations: Sequence[Optimization]
) -> tuple[Golden, ...]:
    """The golden tests, sorted by name."""
    known = [o.name for o in optimizations]
    found = entries(get(model.tree, "validate", "golden"))
    return tuple(_golden(model, name, found[name], signatures, known) for name in sorted(found))


def _golden(
    model: ModelNodes, name: str, node: Node, signatures: Sequence[Shipped], known: Sequence[str]
) -> Golden:
    npz = get(node, "npz")
    if npz is None or npz.value is None:
        model.problem(
            f"golden {describe(name)} needs `npz`, a file of inputs and expected outputs", node
        )
    listed = get(node, "optimizations")
    for item in listed.value if listed is not None and isinstance(listed.value, list) else ():
        _known(model, str(item.value), item, known)
    tested = strings(listed) or tuple(known)
    outputs = []
    for output, entry in sorted(entries(get(node, "outputs")).items()):
        limits = _limits(model, entry, known, tested)
        if limits == GoldenLimits():
            choice = ", ".join((*NUMBERS, "exact"))
            model.key_problem(f"no limit for output {output!r}; give one of {choice}", entry)
        outputs.append((output, limits))
    return Golden(
        name=name,
        npz="" if npz is None or npz.value is None else model.file(npz, ".npz"),
        signature=_signature(model, get(node, "signature"), node, signatures),
        optimizations=tested,
        limits=_limits(model, node, known, tested),
        outputs=tuple(outputs),
    )


def _signature(
    model: ModelNodes, node: Node | None, golden: Node, signatures: Sequence[Shipped]
) -> int:
    names = [s.name for s in signatures]
    given = text(node)
    if given is None and len(names) > 1:
        model.problem(
            f"say which signature it is for: signature: {' or '.join(str(n) for n in names)}",
            golden,
        )
    if given is None or given in names:
        return 0 if given is None else names.index(given)
    if names == [None]:
        model.key_problem("`signature` has no effect: the model ships one; remove it", node)
        return 0
    shipped = [n for n in names if n is not None]
    hint = nearest(given, shipped) or f"; those that ship are {', '.join(shipped)}"
    model.problem(f"no signature {describe(given)} ships{hint}", node)
    return 0


def _limits(
    model: ModelNodes, node: Node, known: Sequence[str], tested: Sequence[str]
) -> GoldenLimits:
    exact = get(node, "exact")
    is_exact = exact is not None and exact.value is True
    found = []
    for name in NUMBERS:
        limit = get(node, name)
        if limit is None or limit.value is None:
            continue
        if is_exact:
            model.key_problem(f"`{name}` has no effect beside exact: true; remove one", limit)
        by_name: dict[str, float] = {}
        if isinstance(limit.value, int | float):
            by_name[""] = float(limit.value)
        for optimization, value in entries(limit).items():
            if not isinstance(value.value, int | float):
                continue
            if _known(model, optimization, value, known) and optimization not in tested:
                model.key_problem(
                    f"{describe(optimization)} has no effect: `optimizations` leaves it out", value
                )
            by_name[optimization] = float(value.value)
        found.append((name, tuple(sorted(by_name.items()))))
    return GoldenLimits(is_exact, tuple(found))


def _known(model: ModelNodes, name: str, node: Node, known: Sequence[str]) -> bool:
    if name in known:
        return True
    hint = nearest(name, known) or f"; the model has {', '.join(known)}"
    model.key_problem(f"unknown optimization {describe(name)}{hint}", node)
    return False
