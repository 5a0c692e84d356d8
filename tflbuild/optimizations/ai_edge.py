"""ai-edge-quantizer: from the manifest's words to its recipe, a list of plain dicts.

A rule: {regex, op, quantize, weights, granularity, algorithm}. Of the rules that match an
operator and that it has kernels for, the last one counts. What may be combined is the package's
own policy (`ai_edge_quantizer/default_policy.py`), so far as it can be told without a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Rule = Mapping[str, Any]

EVERY = "*"
BITS = {"int8": 8, "int4": 4}
BLOCKS = ("blockwise_32", "blockwise_64", "blockwise_128", "blockwise_256")
ALGORITHMS = {
    "min_max": "min_max_uniform_quantize",
    "mse": "MSE",
    "octav": "OCTAV",
    "gptq": "GPTQ",
}
NO_QUANTIZE = "no_quantize"
# The types of inputs and outputs, by `quantize`; any other: float32 alone.
IO = {
    "int8": ("float32", "int8"),
    "int16x8": ("float32", "int16"),
    "recipe": ("float32", "int8", "int16"),
}
_ACTIVATIONS = {"int8": 8, "int16x8": 16}
# Its names of operators (`qtyping.TFLOperationName`), which a test compares with the package.
_NAMES = """
    ADD AVERAGE_POOL_2D BATCH_MATMUL BROADCAST_TO CONCATENATION CONV_2D CONV_2D_TRANSPOSE
    CUSTOM_OP DEPTHWISE_CONV_2D DIV DYNAMIC_UPDATE_SLICE EMBEDDING_LOOKUP EQUAL
    FULLY_CONNECTED GATHER GATHER_ND GELU HARD_SWISH INPUT LOGISTIC MAXIMUM MAX_POOL_2D MEAN
    MIRROR_PAD MUL NOT_EQUAL OUTPUT PACK PAD PADV2 REDUCE_MIN RELU RESHAPE RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQRT
    SQUARED_DIFFERENCE STABLEHLO_COMPOSITE STRIDED_SLICE SUB SUM TANH TRANSPOSE UNPACK
"""
OPERATORS = frozenset((EVERY, *_NAMES.split()))
_TFLITE_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE", "CUSTOM": "CUSTOM_OP"}
INSTALL = "pip install 'tflbuild[ai-edge]'"


def calibrates(rules: Iterable[Rule]) -> bool:
    """Whether these rules need calibration data."""
    return any(
        rule.get("quantize") in _ACTIVATIONS or rule.get("algorithm") == "gptq" for rule in rules
    )


def integer(rule: Rule) -> bool:
    """Whether a rule makes integer operators, activations and all."""
    return rule.get("quantize") in _ACTIVATIONS


def rule_problem(rule: Rule) -> tuple[str, str]:
    """(key, why) where the values of a rule can never work together; ("", "")."""
    quantize, weights = rule.get("quantize", "dynamic_range"), rule.get("weights", "int8")
    granularity = rule.get("granularity", "channelwise")
    if problem := unknown_operator(rule.get("op", EVERY)):
        return "op", problem
    for key in ("weights", "granularity", "algorithm"):
        if key in rule and quantize in ("none", "float16"):
            return key, f"{key} has no effect with quantize: {quantize}; remove it"
    if quantize == "int16x8" and weights != "int8":
        return "weights", "int16x8 has int8 weights; remove it"
    if granularity in BLOCKS and (quantize, weights) != ("dynamic_range", "int4"):
        return (
            "granularity",
            f"granularity: {granularity} needs quantize: dynamic_range and weights: int4",
        )
    return "", ""


def unknown_operator(name: str) -> str:
    """What is wrong with the name of an operator, and the nearest one; "" where nothing is."""
    if name in OPERATORS:
        return ""
    from difflib import get_close_matches

    close = get_close_matches(name[:100].upper(), sorted(OPERATORS), n=1, cutoff=0.6)
    meant = _TFLITE_NAMES.get(name) or (close[0] if close else "")
    hint = f"did you mean {meant!r}?" if meant else "such operators stay float: remove it"
    return f"ai-edge-quantizer knows no operator {name[:100]!r}; {hint}"


def recipe(rules: Iterable[Rule], io: str, whole: bool = False) -> list[dict[str, Any]]:
    """The package's recipe: an entry for each rule, then what `io` asks for.

    Args:
        whole: operators that the algorithm of the first rule does not take (MSE takes those
            with weights alone) are quantized all the same, by min_max.
    """
    rules = list(rules)
    found = [_entry(rule) for rule in rules]
    if whole and rules[0].get("algorithm", "min_max") != "min_max":
        found.insert(0, _entry({**rules[0], "algorithm": "min_max"}))
    if io == "float32" and any(rule.get("quantize") in _ACTIVATIONS for rule in rules):
        found += [keep(".*", op) for op in ("INPUT", "OUTPUT")]
    return found


def in_order(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of which the last that fits counts. The package sorts them by regex, so that one
    with an earlier regex would come before what stands above it: a comment makes each unique."""
    return [{**entry, "regex": f"{entry['regex']}(?#{n})"} for n, entry in enumerate(entries)]


def keep(regex: str, op: str = EVERY) -> dict[str, Any]:
    """The entry that leaves operators float."""
    return {"regex": regex, "operation": op, "algorithm_key": NO_QUANTIZE}


def _entry(rule: Rule) -> dict[str, Any]:
    quantize = rule.get("quantize", "dynamic_range")
    regex, op = rule.get("regex", ".*"), rule.get("op", EVERY)
    if quantize == "none":
        return keep(regex, op)
    weights: dict[str, Any] = {
        "num_bits": 16 if quantize == "float16" else BITS[rule.get("weights", "int8")],
        "symmetric": True,
        "granularity": rule.get("granularity", "channelwise").upper(),
        "dtype": "FLOAT" if quantize == "float16" else "INT",
    }
    integer = quantize not in ("weight_only", "float16")
    config: dict[str, Any] = {
        "weight_tensor_config": weights,
        "compute_precision": "INTEGER" if integer else "FLOAT",
        "explicit_dequantize": not integer,
        "skip_checks": False,
    }
    if (bits := _ACTIVATIONS.get(quantize)) is not None:
        config["activation_tensor_config"] = {
            "num_bits": bits,
            "symmetric": bits == 16,  # what LiteRT's kernels take
            "granularity": "TENSORWISE",
            "dtype": "INT",
        }
    key = "float_casting" if quantize == "float16" else ALGORITHMS[rule.get("algorithm", "min_max")]
    return {"regex": regex, "operation": op, "algorithm_key": key, "op_config": config}
