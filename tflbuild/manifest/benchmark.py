"""`benchmark`: what is measured on the machine that builds, and the ratios that it may miss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.model import Benchmark, Optimization, RatioLimit
from tflbuild.manifest.nodes import entries, get, strings, text
from tflbuild.manifest.problems import nearest
from tflbuild.manifest.yamlfile import Node, describe

NUMBERS = ("time", "memory")  # what a ratio may be limited of
MOST = 10  # times what the other needs; who writes more meant a percentage


def build_benchmark(model: ModelNodes, optimizations: Sequence[Optimization]) -> Benchmark | None:
    """None where the model asks for none.

    Optimizations that `defaults` name and a model does not have are no error: those serve the
    models that have them.
    """
    node = get(model.tree, "benchmark")
    if node is None or node.value is None:
        return None
    names = [optimization.name for optimization in optimizations]
    measured = _measured(model, node, names)
    values: dict[str, Any] = {
        key: child.value
        for key in ("threads", "delegate", "warmup", "repeats", "per_op")
        if (child := get(node, key)) is not None
    }
    limits = tuple(
        limit
        for name, entry in entries(get(node, "max_ratio")).items()
        if (limit := _limit(model, name, entry, names, measured)) is not None
    )
    return Benchmark(**values, optimizations=measured, max_ratio=limits)


def _measured(model: ModelNodes, node: Node, names: Sequence[str]) -> tuple[str, ...]:
    listed = get(node, "optimizations")
    if listed is None:
        return tuple(names)
    own = get(model.own, "benchmark", "optimizations") is not None
    for item in listed.value if own and isinstance(listed.value, list) else ():
        if item.value not in names:
            model.problem(_unknown(str(item.value), names), item)
    wanted = strings(listed)
    found = tuple(name for name in names if name in wanted)
    return found if found or own else tuple(names)


def _limit(
    model: ModelNodes, name: str, entry: Node, names: Sequence[str], measured: Sequence[str]
) -> RatioLimit | None:
    own = get(model.own, "benchmark", "max_ratio", name) is not None
    against = text(get(entry, "against"))
    if name not in names:
        if own:
            model.key_problem(_unknown(name, names), entry)
        return None
    if against is None:
        model.key_problem(
            f"max_ratio of {name} needs `against`: the optimization of this model that it is"
            " compared with",
            entry,
        )
        return None
    if against not in names:
        if own and ":" in against:
            model.problem(
                f"`against` takes an optimization of this model, not {describe(against)}: only"
                " files that are measured in one run can be compared, and a run measures one model",
                get(entry, "against"),
            )
        elif own:
            model.problem(_unknown(against, names), get(entry, "against"))
        return None
    if against == name:
        model.problem(f"{name} against itself is always 1; name another", get(entry, "against"))
        return None
    for one, at in ((name, entry), (against, get(entry, "against"))):
        if one not in measured:
            model.problem(
                f"{one} is not measured: it is not in `benchmark.optimizations`; add it there", at
            )
            return None
    numbers: dict[str, Any] = {
        key: child.value for key in NUMBERS if (child := get(entry, key)) is not None
    }
    if not numbers:
        model.key_problem(
            f"max_ratio of {name} limits nothing; give it `time: 0.8` or `memory: 0.5`", entry
        )
        return None
    for key, number in numbers.items():
        if number is not None and number > MOST:
            model.problem(
                f"{number:g} times what {against} needs is no limit; a ratio is meant: 0.8 is 80 %"
                f" (at most {MOST})",
                get(entry, key),
            )
            return None
    return RatioLimit(name, against, **numbers)


def _unknown(name: str, names: Sequence[str]) -> str:
    hint = nearest(name, names) or f"; the model has {', '.join(names)}"
    return f"no optimization {describe(name)}{hint}"
