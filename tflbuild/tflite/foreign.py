"""Ops of a file that are not builtin, and whether a converter profile allows them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from .effect import output_name
from .flex_ops import FLEX_OPS
from .kinds import CUSTOM, FLEX, SELECT
from .read import TfliteModel


def foreign_ops(model: TfliteModel) -> dict[str, list[str]]:
    """The ops that are not builtin, by kind ("select", "custom"), sorted."""
    return {kind: sorted(ops) for kind, ops in _places(model).items()}


def foreign_problems(
    model: TfliteModel,
    profile: str,
    declared: Collection[str],
    layers: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """A line for each op that a file of this profile must not hold.

    `declared`: the custom ops that the targets have kernels for; `layers`: by TensorFlow's name of
    an op, where the source has it (else the file's own names are told). The converter itself lets
    through what it should not: with custom ops allowed any unknown op, and without it the ops of
    functions with `experimental_implements`.
    """
    found = []
    places = _places(model)
    for name, outputs in sorted(places["select"].items()):
        plain = name.removeprefix(FLEX)
        where = _where((layers or {}).get(plain) or outputs)
        if profile not in SELECT:
            found.append(
                f"{name}{where} is a select TF op, which only the Flex delegate runs: replace it"
                " in the model, or ship to a target of runtime select-tf-ops"
            )
        elif plain not in FLEX_OPS:
            found.append(
                f"{name}{where} is not among the ops that the Flex delegate runs: replace it in"
                " the model"
            )
    for name, outputs in sorted(places["custom"].items()):
        where = _where((layers or {}).get(name) or outputs)
        if profile not in CUSTOM:
            found.append(
                f"{name}{where} is a custom op, whose kernel the application must bring: replace"
                f" it in the model, or ship to a target of runtime custom-ops that declares it"
                f" (ops: {{{name}: …}})"
            )
        elif name not in declared:
            select = ", allow select TF ops (select_ops: true)" if name in FLEX_OPS else ""
            found.append(
                f"{name}{where} is no op of TensorFlow Lite, and no target declares it: replace it"
                f" in the model{select}, or declare its kernel (ops: {{{name}: …}})"
            )
    return found


def calibration_refusal(
    foreign: Mapping[str, Sequence[str]],
    profile: str,
    quantize: str,
    kernels: Collection[str],
    layers: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Why a calibrated conversion cannot work; "" where it can.

    `foreign`: `foreign_ops` of the float file that has both kinds; `kernels`: the custom ops that
    have one here; `layers` as of `foreign_problems`.
    """
    select, custom = list(foreign["select"]), list(foreign["custom"])
    if profile not in SELECT:  # then the converter makes custom ops of them
        custom, select = sorted([*custom, *(name.removeprefix(FLEX) for name in select)]), []

    def told(names: Sequence[str]) -> str:
        return _few([f"{n}{_where((layers or {}).get(n.removeprefix(FLEX), ()))}" for n in names])

    if select:
        return (
            f"quantize: {quantize} runs the model to calibrate it, and TensorFlow since 2.20 has no"
            f" kernels for select TF ops ({told(select)}): write dynamic_range, float16 or"
            " none, train with quantization (qat), or replace them in the model"
        )
    if profile not in CUSTOM or not custom:
        return ""
    if quantize == "int16x8":
        return (
            f"TensorFlow's 16-bit quantizer takes no custom ops ({told(custom)}): write int8,"
            " dynamic_range or float16"
        )
    if without := [name for name in custom if name not in kernels]:
        return (
            f"quantize: {quantize} runs the model to calibrate it, and its custom ops"
            f" {told(without)} have no kernels here: give the target `library`, and `register`"
            " for each, or write dynamic_range, float16 or none"
        )
    return ""


def _places(model: TfliteModel) -> dict[str, dict[str, list[str]]]:
    """By kind and op, the names of its outputs."""
    found: dict[str, dict[str, list[str]]] = {"select": {}, "custom": {}}
    for graph in model.subgraphs:
        for op in graph.ops:
            if op.kind != "builtin":
                found[op.kind].setdefault(op.name, []).append(output_name(graph, op))
    return found


def _where(names: Sequence[str]) -> str:
    known = [f"'{name}'" for name in dict.fromkeys(names) if name]
    return f" at {_few(known)}" if known else ""


def _few(names: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
