"""You got what you asked for: the checks that every conversion ends with, whoever converted.

They look at the file alone, and at the parameters of the action. Problems are errors before
anything is released; warnings reach the gate of validate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError

if TYPE_CHECKING:
    from tflbuild.tflite.read import TfliteModel

INTEGER = ("int8", "qat", "int16x8")  # values of `quantize` that leave no operator float


@dataclass(frozen=True)
class Converted:
    """A conversion before its checks. `kept`: operators that `keep_float` named, as (subgraph,
    operator); names and order of tensors are still to come, operators stay where they are."""

    data: bytes
    kept: frozenset[tuple[int, int]] = frozenset()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verified:
    """What the checks found and measured."""

    problems: list[str]
    warnings: list[str]
    report: dict[str, Any] = field(default_factory=dict)

    def or_fail(self) -> Verified:
        """Raises TaskError where the file is not what was asked for."""
        if self.problems:
            said = "; ".join(self.problems[:4])
            raise TaskError(
                f"the converted file is not what was asked for: {said}", key="optimization.quantize"
            )
        return self


def verify(
    model: TfliteModel,
    params: Mapping[str, Any],
    interface: Mapping[str, Any],
    quantizer: str,
    kept: Iterable[tuple[int, int]] = (),
    data: bytes = b"",
) -> Verified:
    """A released file against the parameters of its action. `data`: the file itself; without it
    the values of weights are not looked at."""
    from tflbuild.tflite import effect
    from tflbuild.tflite.checks import (
        quantization_effect,
        quantization_problems,
        untouched_signatures,
        weightless_variables,
    )

    names = frozenset(kept)
    problems, told = untouched_signatures(model, params["quantize"], names)
    problems += weightless_variables(model)
    for signature in interface["signatures"]:
        problems += quantization_problems(
            model,
            params["quantize"],
            params["io"],
            {entry["name"]: entry["dtype"] for entry in signature["inputs"]},
            {entry["name"]: entry["dtype"] for entry in signature["outputs"]},
            signature=signature["signature"],
            io_output=params.get("io_output"),
            quantizer=quantizer,
            kept=names,
        )
    problems += _settings_problems(model, params)
    if params["quantize"] != "none" and data:
        problems += _values(model, data)
    more, warnings = _float_operators(model, params, names)
    problems += more
    warnings = [*told, *warnings]
    ends, inner = effect.point_ranges(model)
    problems += [f"the range of {end} is a point: calibration saw one value there" for end in ends]
    if inner:
        warnings.append(
            f"calibration saw one value in {len(inner)} tensors ({', '.join(inner[:3])}): is part"
            " of the model dead, or are the data too few?"
        )
    reasons = effect.Kept(names, params["quantize"], quantizer)
    report = {
        "quantization": {
            **quantization_effect(model, params["quantize"]),
            **effect.report(model, reasons),
            "quantizer": quantizer,
        }
    }
    return Verified(list(dict.fromkeys(problems)), warnings, report)


def _values(model: TfliteModel, data: bytes) -> list[str]:
    from tflbuild.tflite.effect import describe_weights
    from tflbuild.tflite.weights import not_finite

    found = not_finite(model, data)
    if not found:
        return []
    return [
        f"weights or their scales are infinite or NaN: {describe_weights(found)}; look for it in"
        " the model's weights, or for values beyond the type (65,504 in float16)"
    ]


def _settings_problems(model: TfliteModel, params: Mapping[str, Any]) -> Iterator[str]:
    from tflbuild.tflite import effect
    from tflbuild.tflite.weights import weights_of

    weights = weights_of(model)
    if params.get("per_channel") is False and (left := effect.channel_scales(model)):
        yield (
            f"per_channel is false, and {len(left)} weights have scales by channel, the first is"
            f" '{left[0].tensor.name}' ({left[0].op})"
        )
    if params.get("sparsity") and not any(t.sparse for g in model.subgraphs for t in g.tensors):
        yield (
            "sparsity: true has no effect: no weight is sparse enough for it; it needs a model"
            " trained with pruning, most of whose weights are zero"
        )
    if params.get("weights") == "int4" and not any(w.tensor.dtype == "int4" for w in weights):
        yield "no weight is int4"
    granularity = str(params.get("granularity", ""))
    if granularity.startswith("blockwise") and not any(
        w.tensor.quantization and not w.tensor.quantization.scale for w in weights
    ):
        block = granularity.partition("_")[2]
        yield (
            f"no weight is quantized by blocks of {block}: it needs a FULLY_CONNECTED or"
            f" EMBEDDING_LOOKUP whose rows are a multiple of {block} long"
        )


def _float_operators(
    model: TfliteModel, params: Mapping[str, Any], kept: frozenset[tuple[int, int]]
) -> tuple[list[str], list[str]]:
    """Problems and warnings about operators that stay float in a full-integer file."""
    from tflbuild.tflite import effect

    if params["quantize"] not in INTEGER:
        return [], []
    found = [
        (graph, op)
        for graph, op in effect.float_operators(model)
        if (graph.index, op.index) not in kept
    ]
    if params.get("float_ops") == "allow":
        more = " but those of keep_float" if kept else ""
        return [] if found else [
            f"float_ops: allow has no effect: no operator stays float{more}; remove it"
        ], []
    if not found:
        return [], []
    what = effect.describe_operators(found)
    kind = params["quantize"]
    if params.get("float_ops") == "forbid":
        why = "it has no trained ranges or no" if kind == "qat" else "it has no"
        return [
            f"float_ops is forbid, and {len(found)} operators stay float: {what} ({why}"
            f" {kind} kernel); replace them in the model, compute them outside of it, or write"
            " float_ops: allow"
        ], []
    return [], [
        f"{len(found)} operators stay float in a file of quantize: {kind}: {what}; say float_ops:"
        " allow, or forbid"
    ]
