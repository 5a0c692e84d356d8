"""The gate of parity: the numbers of each output against the manifest's limits, or the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tflbuild.found import Findings
from tflbuild.manifest.model import ParityLimits

# Default parity limits, version 1 (DESIGN section 3): tripwires measured on six real models.
PARITY_VERSION = 1


@dataclass(frozen=True)
class ParityDefaults:
    fail_sqnr: float  # dB
    warn_sqnr: float  # dB
    fail_cosine: float | None = None
    fail_range_error: float | None = None


PARITY: Mapping[str, ParityDefaults] = {
    "none": ParityDefaults(80, 100, fail_range_error=1e-4),
    "float16": ParityDefaults(25, 40, fail_cosine=0.998),
    "dynamic_range": ParityDefaults(18, 24, fail_cosine=0.99),
    "int16x8": ParityDefaults(18, 25, fail_cosine=0.99),
    "int8": ParityDefaults(13, 20, fail_cosine=0.975),
    "qat": ParityDefaults(13, 20, fail_cosine=0.975),
    # ai-edge-quantizer; measured SQNR on MLPerf Tiny and the digits example: weight_only int8
    # 25-53; int4 weights 5-27 (useless, -3: ResNet-8 with min_max scales).
    "weight_only": ParityDefaults(18, 24, fail_cosine=0.99),
    "weight_only_int4": ParityDefaults(3, 10),
    "dynamic_range_int4": ParityDefaults(3, 10),
    "int8_int4": ParityDefaults(3, 10),
    "recipe": ParityDefaults(3, 10),  # of an entry that none of these is
}


def recipe_row(entries: Sequence[Mapping[str, Any]]) -> str:
    """The row of a recipe: the weakest of what its entries make."""
    rows = dict.fromkeys(row for entry in entries if (row := _entry_row(entry)))
    return min(rows, key=_strength, default="recipe")


def _strength(row: str) -> tuple[float, float]:
    return PARITY[row].fail_sqnr, PARITY[row].warn_sqnr


def _entry_row(entry: Mapping[str, Any]) -> str:
    """The row of one entry of ai-edge-quantizer's recipe; "" where it leaves operators float."""
    if entry["algorithm_key"] == "no_quantize":
        return ""
    config = entry.get("op_config") or {}
    weights = config.get("weight_tensor_config") or {}
    activations = config.get("activation_tensor_config") or {}
    narrow = weights.get("num_bits", 8) < 8
    if weights.get("dtype") == "FLOAT":
        return "float16" if weights.get("num_bits") == 16 else "recipe"
    if activations:
        by_bits = {8: "int8", 16: "int8" if narrow else "int16x8"}
        name = by_bits.get(activations.get("num_bits", 0), "")
    elif config.get("compute_precision") == "INTEGER":
        name = "dynamic_range"
    else:
        name = "weight_only"
    row = name + ("_int4" if narrow else "")
    return row if row in PARITY else "recipe"


@dataclass(frozen=True)
class Parity:
    """Judges the parity numbers of one output."""

    found: Findings
    limits: ParityLimits
    quantize: str
    row: str  # of PARITY
    representative: bool

    def __call__(self, numbers: Mapping[str, Any], output: str, of: str) -> None:
        """Judge what messages call `output` and the lines of a CI's report `of`."""
        found, limits, quantize, row = self.found, self.limits, self.quantize, self.row
        if not numbers["finite"]:
            found.fail("parity.finite", f"{output} has NaN or infinity", of)
            return
        if numbers["kind"] == "exact":
            if not numbers["equal"]:
                found.fail("parity.equal", f"{output} differs from the source's", of)
            else:
                found.check("parity.equal", f"{output} equals the source's", of)
            return
        if not numbers["source_finite"]:
            found.fail("parity.finite", f"the source's own {output} has NaN or infinity", of)
            return
        if numbers["constant"]:
            found.fail("parity.constant", f"{output} is constant where the source's varies", of)
            return
        if numbers["equal"]:
            found.check("parity.equal", f"{output} equals the source's", of)
            return
        unlimited = limits == ParityLimits()
        if numbers["kind"] == "integer" and quantize == "none" and unlimited:
            found.fail("parity.equal", f"integer {output} differs from the source's", of)
            return
        defaults = PARITY[row]
        # On random data the defaults give false alarms on quantized files: they only warn. A limit
        # that the manifest sets itself always counts.
        soft = not self.representative and quantize != "none"
        for name, number, own, default, lowest in (
            ("sqnr", numbers["sqnr"], limits.sqnr, defaults.fail_sqnr, True),
            ("cosine", numbers["cosine"], limits.cosine, defaults.fail_cosine, True),
            (
                "max_range_error",
                numbers["max_range_error"],
                limits.max_range_error,
                defaults.fail_range_error,
                False,
            ),
            ("max_abs_error", numbers["max_abs_error"], limits.max_abs_error, None, False),
        ):
            limit = own if own is not None else default
            if limit is None or number is None:
                continue
            missed = number < limit if lowest else number > limit
            unit = " dB" if name == "sqnr" else ""
            origin = "" if own is not None else f", default for {row}"
            if not missed or (soft and own is None):
                bound = "at least" if lowest else "at most"
                asked = f"{bound} {limit:g}{unit}{origin}" + (", which only warns" * missed)
                found.check(
                    f"parity.{name}", f"{name} of {output} is {number:.4g}{unit} ({asked})", of
                )
            if missed:
                relation = "below" if lowest else "above"
                message = (
                    f"{name} of {output} is {number:.4g}{unit}, {relation} the limit"
                    f" {limit:g}{unit}{origin}"
                )
                report = found.warn if soft and own is None else found.fail
                report(f"parity.{name}", message, of)
            elif name == "sqnr" and own is None and number < defaults.warn_sqnr:
                found.warn(
                    "parity.sqnr",
                    f"sqnr of {output} is {number:.4g} dB, below the"
                    f" {defaults.warn_sqnr:g} dB that is usual for {row}",
                    of,
                )
