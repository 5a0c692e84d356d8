"""What a named target asks beyond its runtime: versions, operators, types, shapes, delegates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tflbuild.delegates.judge import judge
from tflbuild.manifest.model import Target
from tflbuild.tflite.layer_names import shown_layer
from tflbuild.tflite.runtime_versions import oldest_runtime, parse
from tflbuild.tflite.version_judge import too_new
from tflbuild.verdict import FAIL, Finding

SHOWN = 5  # places that a message names


def narrowed(measured: Mapping[str, Any], target: Target) -> Iterator[Finding]:
    """What of a file (`compat.json`) the target's own keys refuse."""
    present = {name for kind in ("builtin", "select", "custom") for name in measured["ops"][kind]}
    yield from _operators(present, target)
    if target.min_runtime is not None:
        for message in too_new(measured["versions"], target.min_runtime):
            yield _finding("min_runtime", f"target {target.name}: {message}")
    for accelerator in target.accelerators:
        for message in judge(measured["delegates"][accelerator.name], accelerator):
            yield _finding(f"accelerator.{accelerator.name}", f"target {target.name}: {message}")
    if target.dtypes:
        for dtype, place in measured["dtypes"].items():
            if dtype not in target.dtypes:
                yield _finding("dtypes", type_message(dtype, place, target))
    dynamic = measured["dynamic"]
    if target.static_shapes and (dynamic["io"] or dynamic["inner"]):
        yield _static_shapes([_named(entry) for entry in dynamic["io"]], target)


def lasting(measured: Mapping[str, Any], target: Target) -> Iterator[Finding]:
    """What of a model before conversion (`evaluate.json`) the target's own keys refuse, whatever
    its optimizations: quantizing takes no operator away, and makes none older."""
    if "delegates" not in measured:  # not convertible: there is more to say first
        return
    present = {name for kind in ("builtin", "select", "custom") for name in measured["ops"][kind]}
    yield from _operators(present, target)
    if target.static_shapes and (dynamic := measured["dynamic_inputs"]):
        yield _static_shapes([entry["name"] for entry in dynamic], target)
    if target.min_runtime is not None:
        numbering, oldest = target.min_runtime
        for name in sorted(measured["ops"]["builtin"]):
            since = oldest_runtime(name, numbering)
            if since is not None and parse(since) > parse(oldest):
                yield _finding(
                    "min_runtime",
                    f"target {target.name}: {name} is there since {numbering} {since}, in whatever"
                    " version; replace it in the model, or ask for a newer runtime",
                )
    for accelerator in target.accelerators:
        for message in judge(measured["delegates"][accelerator.name], accelerator):
            yield _finding(f"accelerator.{accelerator.name}", f"target {target.name}: {message}")


def met(measured: Mapping[str, Any], target: Target) -> Iterator[tuple[str, str]]:
    """What the target's own keys ask for beside budgets, and the file has: check and words."""
    if target.min_runtime is not None and not too_new(measured["versions"], target.min_runtime):
        numbering, oldest = target.min_runtime
        needs = measured["versions"]["min_runtime"][numbering]
        yield "min_runtime", f"runtime: needs {numbering} {needs or 'any'} of {oldest}"
    for accelerator in target.accelerators:
        told = measured["delegates"][accelerator.name]
        if not judge(told, accelerator):
            shares = [f"{told['share_ops']:.0%} of the operators"]
            if told["share_macs"] is not None:
                shares.append(f"{told['share_macs']:.0%} of the MACs")
            yield (
                f"accelerator.{accelerator.name}",
                f"{accelerator.name}: {' and '.join(shares)} in {told['partitions']}"
                f" {'part' if told['partitions'] == 1 else 'parts'}"
                + (f" (signature '{key}', the worst)" if (key := told.get("signature")) else ""),
            )


def _operators(present: set[str], target: Target) -> Iterator[Finding]:
    if target.allow_ops and (other := sorted(present - {*target.allow_ops})):
        yield _finding("allow_ops", f"{_few(other)} not among allow_ops of target {target.name}")
    if denied := sorted(present & {*target.deny_ops}):
        yield _finding("deny_ops", f"target {target.name} denies {_few(denied)} (deny_ops)")


def _static_shapes(names: list[str], target: Target) -> Finding:
    where = f"of {_few(names)}" if names else "of inner tensors"
    return _finding(
        "static_shapes",
        f"shapes {where} are known only when the model runs (static_shapes of target"
        f" {target.name}); pin them with `inputs`",
    )


def type_message(dtype: str, place: Mapping[str, str], target: Target) -> str:
    """Where the first tensor of a type is that the target's `dtypes` do not allow, and what to
    write.

    Args:
        dtype: the type.
        place: what `tflite.dtypes.places` says of it.
        target: with `dtypes`.
    """
    kind, layer = place["kind"], shown_layer(place["layer"])
    if kind in ("input", "output"):
        where = f"{kind} '{layer}' is"
    elif kind == "weights":
        where = f"weights of {place['op']} '{layer}' are"
    else:
        where = f"{place['op']} '{layer}' gives"
    allowed = ", ".join(target.dtypes)
    remedy = _type_remedy(dtype, place, target.dtypes)
    return f"{where} {dtype}, and dtypes of target {target.name} allows {allowed}: {remedy}"


def _type_remedy(dtype: str, place: Mapping[str, str], allowed: tuple[str, ...]) -> str:
    integers = [name for name in ("int8", "uint8", "int16") if name in allowed]
    if dtype in ("float32", "float16", "bfloat16"):
        if dtype != "float32" and place["kind"] == "weights":
            return "the optimization stores weights so, choose another one"
        if not integers:
            return f"add {dtype} to dtypes, or an integer type and quantize: int8"
        kind = "int16x8" if integers[0] == "int16" else "int8"
        if place["kind"] in ("input", "output") or place["op"] in ("QUANTIZE", "DEQUANTIZE"):
            return f"quantize: {kind} with io: {integers[0]} makes inputs and outputs integers, too"
        return f"quantize: {kind} makes it an integer; operators without such a kernel stay float"
    if dtype in ("int2", "int4", "uint4", "int8", "uint8", "int16"):
        return "leave out the quantization that makes it (quantize, io), or add it to dtypes"
    if place["op"] == "SHAPE":
        return "pin the shape with `inputs`: then nothing computes it"
    narrower = next((name for name in ("int32", "float32") if name in allowed), "")
    if dtype in ("int64", "uint64", "uint32", "uint16", "int32", "float64") and narrower:
        arg = place["op"] in ("ARG_MAX", "ARG_MIN") and narrower == "int32"
        call = "output_type=tf.int32" if arg else f"tf.cast(…, tf.{narrower})"
        return f"cast it in the model ({call}), or add {dtype} to dtypes"
    return f"compute this part outside the model, or add {dtype} to dtypes"


def _named(entry: Mapping[str, Any]) -> str:
    """A tensor, with its signature where there are several."""
    key = entry.get("signature", "")
    return f"{entry['name']} (signature '{key}')" if key else str(entry["name"])


def _finding(check: str, message: str) -> Finding:
    return Finding(FAIL, check, message)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
