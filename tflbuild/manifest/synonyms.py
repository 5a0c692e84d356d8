"""What a person may write instead of what the manifest takes: words of other tools, keys in the
wrong section, numbers in the wrong form."""

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


# What other tools call a metric.
_METRICS: Mapping[str, str] = {
    "acc": "accuracy", "categorical_accuracy": "accuracy", "binary_accuracy": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "top_k": "top_k_accuracy", "top_1": "accuracy", "top1": "accuracy",
    "top_5": "top_k_accuracy: {k: 5}", "top5": "top_k_accuracy: {k: 5}",
    "top_k_categorical_accuracy": "top_k_accuracy",
    "f1_score": "f1", "f1score": "f1", "f_score": "f1",
    "roc_auc": "auc", "roc_auc_score": "auc", "auroc": "auc",
    "iou": "mean_iou", "miou": "mean_iou", "jaccard": "mean_iou",
    "mae": "mean_absolute_error", "mse": "mean_squared_error",
    "wer": "word_error_rate",
}  # fmt: skip
_OWN = frozenset((
    "map", "mean_average_precision", "rmse", "mape", "r2", "cer", "psnr", "ssim", "dice", "bleu",
    "perplexity", "loss", "eer", "log_loss",
))  # fmt: skip
_BELOW_VALIDATE = ("parity", "metrics", "golden", "sequence")

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
    last = str(path[-1])
    if len(path) == (2 if path[0] == "defaults" else 3) and last in _BELOW_VALIDATE:
        return f"; it belongs under `validate`: write `validate: {{{last}: …}}`"
    if path[-2:-1] == ("metrics",) and "optimizations" not in path:
        if last.lower() in _METRICS:
            return f"; it is `{_METRICS[last.lower()]}`"
        if last.lower() in _OWN:
            return "; compute it by a function of your own: `python: {function: score.py:NAME}`"
    if "optimizations" not in path[:-1]:
        return ""
    meant = _KEYS.get(str(path[-1]).removeprefix("_"))
    return f"; it is {meant}" if meant else ""


def type_hint(path: Sequence[str | int], value: object) -> str:
    """What a value of the wrong type is to be written as; "" where nothing is known."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    keys = [key for key in path if isinstance(key, str)]
    if keys[-1:] == ["top_k"] and "parity" in keys:
        count = value if isinstance(value, int) and value >= 1 else 1
        least = value if 0 < value < 1 else 0.9
        return f"; write {{k: {count}, min: {least:g}}}"
    if keys[-2:-1] == ["metrics"] and value >= 0:
        limit = "max" if keys[-1].endswith(("_error", "_rate")) else "min"
        k = "k: 5, " if keys[-1] == "top_k_accuracy" and "optimizations" not in keys else ""
        if limit == "max" or value <= 1:
            return f"; write {{{k}{limit}: {value:g}}}"
        if value <= 100:
            return f"; write {{{k}min: {value / 100:g}}}"
    return ""


def share_hint(path: Sequence[str | int], value: float) -> str:
    """What a limit of a share is that was written in percent; "" of all else."""
    if path and path[-1] in ("min", "max_drop", "max_drop_from_last") and 1 < value <= 100:
        return f"; {value:g} % is {value / 100:g}"
    return ""


def value_hint(path: Sequence[str | int], value: str) -> str:
    """What a wrong value at a path of the manifest is here; "" where nothing is known."""
    meant = _VALUES.get(value.lower()) if path and path[-1] == "quantize" else None
    if meant == _INT4 and "recipe" in path:  # a rule: who quantizes is said already
        meant = meant.removeprefix("`quantizer: ai-edge` and ")
    return f"; it is {meant}" if meant else ""
