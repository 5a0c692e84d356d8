"""`optimizations`: the converted files of a model, and combinations that cannot work."""

from __future__ import annotations

from dataclasses import replace

from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.metrics import build_overrides
from tflbuild.manifest.model import Optimization, Shipped
from tflbuild.manifest.nodes import entries, get, strings, text
from tflbuild.manifest.problems import nearest
from tflbuild.manifest.quantization import build_optimization
from tflbuild.manifest.yamlfile import Node, describe
from tflbuild.optimizations import QUANTIZATIONS

MICRO, CUSTOM_OPS = "micro", "custom-ops"
_NOT_ON_MICRO = {
    "dynamic_range": "int8 weights beside float activations",
    "weight_only": "int8 or int4 weights beside float activations",
    "float16": "float16 weights",
}


def build_targets(model: ModelNodes, node: Node | None) -> tuple[str, ...]:
    """The names in a list of targets."""
    for item in node.value if node is not None and isinstance(node.value, list) else ():
        name = str(item.value)
        if name == CUSTOM_OPS:
            model.problem(
                "the runtime custom-ops has no kernels by itself; declare a target of runtime"
                " custom-ops, with its `ops`, under `targets`",
                item,
            )
        if name in model.context.known_targets:
            continue
        known = sorted(model.context.known_targets)
        hint = nearest(name, known) or f"; expected one of {', '.join(known)}"
        model.problem(f"unknown target {describe(name)}{hint}", item)
    return strings(node)


def build_optimizations(
    model: ModelNodes, targets: tuple[str, ...], signatures: tuple[Shipped, ...]
) -> tuple[Optimization, ...]:
    """The optimizations in the manifest's order."""
    node = get(model.tree, "optimizations")
    if not entries(node):
        model.problem(
            f"model {model.name!r} has no optimizations; write `optimizations: {{float32: {{}}}}`",
            node,
        )
    result: dict[str, Optimization] = {}
    before = len(model.context.problems)
    for name, entry in entries(node).items():
        first = result.setdefault(name.lower(), Optimization(name))
        if first.name != name:
            model.key_problem(
                f"optimizations {first.name!r} and {name!r} differ in case alone; rename one",
                entry,
            )
        built = build_optimization(
            model, name, entry, build_targets(model, get(entry, "targets")) or targets
        )
        own = build_overrides(model, get(entry, "metrics"), signatures)
        built = replace(built, metric_limits=own)
        _check_micro(model, built, entry)
        result[name.lower()] = built
    right = len(model.context.problems) == before
    _check_calibration(model, tuple(result.values()), signatures, right)
    return tuple(result.values())


def _check_micro(model: ModelNodes, optimization: Optimization, entry: Node) -> None:
    """Microcontrollers: no kernel takes float activations beside narrower weights."""
    micro = [t for t in optimization.targets if _runtime(model, t) == MICRO]
    if not micro or optimization.quantize not in _NOT_ON_MICRO:
        return
    others = ", ".join(t for t in optimization.targets if t not in micro) or "litert"
    model.problem(
        f"quantize: {optimization.quantize} cannot run on target {micro[0]}: its kernels take no"
        f" {_NOT_ON_MICRO[optimization.quantize]}; quantize to int8, or write `targets: [{others}]`"
        " for this optimization",
        get(entry, "quantize") or entry,
    )


def _runtime(model: ModelNodes, target: str) -> str:
    known = model.context.targets.get(target)
    return known.runtime if known is not None else ""


def _check_calibration(
    model: ModelNodes,
    optimizations: tuple[Optimization, ...],
    signatures: tuple[Shipped, ...],
    right: bool,
) -> None:
    """`right`: the optimizations are what was meant, and not the rest of wrong ones."""
    wanting = [o for o in optimizations if o.calibrates]
    for shipped in signatures if wanting else ():
        if shipped.calibration is not None or _given(model.tree, shipped.name):
            continue
        entry = get(model.tree, "optimizations", wanting[0].name)
        # A signature without calibration would stay float, silently.
        several = len(signatures) > 1
        where = f"data.signatures.{shipped.name}.calibration" if several else "data.calibration"
        needs = f"{_calibrating(entry)} needs `{where}`, such as {{npz: FILE}}"
        extends = get(model.own, "extends")
        if extends is not None and get(model.own, "optimizations", wanting[0].name) is None:
            # What is extended may be right by itself, and lie in another manifest.
            model.key_problem(
                f"model {model.name!r}, which extends {describe(extends.value)}: optimization"
                f" {wanting[0].name!r} has {needs.replace(' needs ', ', which needs ', 1)}",
                extends,
            )
            continue
        model.problem(needs, get(entry, "quantize") or entry)
    perhaps = any(o.recipe_file is not None for o in optimizations)  # its rules say so
    if not right or wanting or perhaps:
        return
    # One that comes from `defaults` serves the models that quantize, and harms no other.
    for name in (None, *(s.name for s in signatures)):
        own = _given(model.own, name)
        if own is None or own.value is None or _for_parity(model, name, signatures):
            continue
        able = " or ".join(name for name, q in QUANTIZATIONS.items() if q.CALIBRATES)
        key = "data.calibration" if name is None else f"data.signatures.{name}.calibration"
        model.key_problem(
            f"`{key}` has no effect: no optimization has quantize: {able}, and parity is measured"
            " on the test data; remove it, or call it `test` in place of those",
            own,
        )


def _for_parity(model: ModelNodes, name: str | None, signatures: tuple[Shipped, ...]) -> bool:
    """Whether parity is measured on calibration data, of the model (None) or of a signature: of
    a signature without test data."""
    return any(
        shipped.test is None
        and (shipped.name == name or (name is None and _given(model.tree, shipped.name) is None))
        for shipped in signatures
    )


def _given(tree: Node, signature: str | None) -> Node | None:
    """The declared calibration data of the model, or of a signature."""
    if signature is None:
        return get(tree, "data", "calibration")
    return get(tree, "data", "signatures", signature, "calibration")


def _calibrating(entry: Node | None) -> str:
    """What of an optimization asks for calibration, in words."""
    quantize = text(get(entry, "quantize"))
    if quantize in QUANTIZATIONS and QUANTIZATIONS[quantize].CALIBRATES:
        return f"quantize: {quantize}"
    return "algorithm: gptq" if get(entry, "algorithm") is not None else "this recipe"
