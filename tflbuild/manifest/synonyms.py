"""Words of other tools that a person may write in an optimization, and what they are here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# The converter's attributes that have a key of their own; docs/CONVERTER.md has them all.
_KEYS: Mapping[str, str] = {
    "experimental_disable_per_channel": "`per_channel: false`, a key of the optimization",
    "representative_dataset": "`data.calibration`, a key of the model",
    "inference_input_type": "`io`, a key of the optimization",
    "inference_output_type": "`io_output`, a key of the optimization",
    "optimizations": "`quantize` and `sparsity`, keys of the optimization",
    "supported_ops": "`quantize` of the optimization, and `targets`",
    "supported_types": "`quantize: float16`, a key of the optimization",
    "allow_custom_ops": "`targets`",
}
_INT4 = "`quantizer: ai-edge` and `quantize: weight_only` (or dynamic_range) with `weights: int4`"
_VALUES: Mapping[str, str] = {
    "int4": _INT4,
    "uint8": "`quantize: int8` with `io: uint8`",
    "int16": "`quantize: int16x8`",
    "fp16": "`quantize: float16`",
    "dynamic": "`quantize: dynamic_range`",
}


# Parts of names of limits that hold on one machine alone.
_ABSOLUTE = frozenset((
    "ms", "us", "ns", "s", "sec", "seconds", "millis", "milliseconds", "time", "latency",
    "duration", "fps", "memory", "arena", "rss", "heap", "bytes", "kb", "mb", "kib", "mib",
))  # fmt: skip


def key_hint(path: Sequence[str | int]) -> str:
    """What an unknown key at a path of the manifest is here; "" where nothing is known."""
    section = path[1:2] if path[0] == "defaults" else path[2:3]
    if [*section] == ["benchmark"] and _ABSOLUTE & {*str(path[-1]).lower().split("_")}:
        return (
            "; there is no limit in seconds or bytes, since another machine has other ones: write"
            " `max_ratio: {int8: {against: float32, time: 0.8}}`"
        )
    if "optimizations" not in path[:-1]:
        return ""
    meant = _KEYS.get(str(path[-1]).removeprefix("_"))
    return f"; it is {meant}" if meant else ""


def value_hint(path: Sequence[str | int], value: str) -> str:
    """What a wrong value at a path of the manifest is here; "" where nothing is known."""
    meant = _VALUES.get(value.lower()) if path and path[-1] == "quantize" else None
    if meant == _INT4 and "recipe" in path:  # a rule: who quantizes is said already
        meant = meant.removeprefix("`quantizer: ai-edge` and ")
    return f"; it is {meant}" if meant else ""
