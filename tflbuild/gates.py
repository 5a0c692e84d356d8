"""Gates: did a measurement pass? Pure functions of measurement and manifest, no key holds them.

Loosening a limit re-runs nothing: the parent compares again, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tflbuild import budgets
from tflbuild.manifest.model import (
    Budgets,
    MetricLimits,
    Model,
    Optimization,
    ParityLimits,
    Target,
)
from tflbuild.targets import RUNTIMES, micro
from tflbuild.targets.narrow import lasting, met, narrowed
from tflbuild.verdict import FAIL, WARN, Finding, Margin, Verdict

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


@dataclass
class _Findings:
    found: list[Finding] = field(default_factory=list)
    margins: list[Margin] = field(default_factory=list)
    met: list[str] = field(default_factory=list)

    def fail(self, check: str, message: str) -> None:
        self.found.append(Finding(FAIL, check, message))

    def warn(self, check: str, message: str) -> None:
        self.found.append(Finding(WARN, check, message))

    def budgets(
        self, limits: Budgets, numbers: budgets.Numbers, origin: str, hints: budgets.Hints
    ) -> None:
        findings, margins = budgets.judge(limits, numbers, origin, hints)
        self.found += findings
        self.margins += margins

    def verdict(self) -> Verdict:
        return Verdict(tuple(dict.fromkeys(self.found)), tuple(self.margins), tuple(self.met))


def evaluate_gate(
    measured: Mapping[str, Any],
    model: Model,
    targets: Sequence[Target],
    warnings: Sequence[str] = (),
) -> tuple[Verdict, dict[str, Verdict]]:
    """The model's own verdict (its limits, and whether any target takes it), and each target's;
    `warnings` of the lowering are passed on."""
    found = _Findings()
    for warning in dict.fromkeys(warnings):
        found.warn("lowering", warning)
    numbers, hints = budgets.of_model(measured), budgets.hints_of_model(measured)
    found.budgets(model.evaluate, numbers, "evaluate", hints)
    by_target = {}
    for target in targets:
        own = _Findings()
        own.found.extend(RUNTIMES[target.runtime].judge_evaluation(measured, target))
        own.found.extend(lasting(measured, target))
        # What no optimization changes is judged before the hours that conversion may take.
        limits = budgets.before_conversion(target.budgets)
        own.budgets(limits, numbers, f"target {target.name}", hints)
        by_target[target.name] = own.verdict()
    if by_target and not any(verdict.passed for verdict in by_target.values()):
        for name, verdict in sorted(by_target.items()):
            for finding in verdict.failures:
                found.fail(finding.check, f"target {name}: {finding.message}")
    return found.verdict(), by_target


def compat_gate(
    measured: Mapping[str, Any],
    target: Target,
    evaluation: Verdict | None,
    model: Model | None = None,
    optimization: Optimization | None = None,
) -> Verdict:
    """The file against one target, together with that target's verdict before conversion; without
    a model, any file."""
    found = _Findings()
    found.found.extend(RUNTIMES[target.runtime].judge_file(measured, target))
    found.found.extend(narrowed(measured, target))
    found.met.extend(met(measured, target))
    if optimization is not None and target.runtime == micro.NAME:
        found.found.extend(micro.judge_floats(measured, optimization))
    numbers, hints = budgets.of_file(measured), budgets.hints_of_file(measured)
    found.budgets(target.budgets, numbers, f"target {target.name}", hints)
    if model is not None:
        found.budgets(model.compat, numbers, "compat", hints)
    if evaluation is not None:
        found.found.extend(evaluation.failures)
    return found.verdict()


def validate_gate(
    measured: Mapping[str, Any],
    model: Model,
    optimization: Optimization,
    warnings: Sequence[str] = (),
    recipe: Sequence[Mapping[str, Any]] = (),
    targets: Sequence[Target] = (),
) -> Verdict:
    """Parity with the source and the metrics; `warnings` of the stages are passed on. `recipe`:
    the entries that a conversion by ai-edge-quantizer used. `targets`: those that share the file,
    which say what is to be done with one that nothing here could run."""
    found = _Findings()
    if why := measured.get("unvalidated", ""):
        _unvalidated(found, why, targets)
    row = optimization.parity
    if row == "recipe":
        row = recipe_row(recipe)
    several = len(measured["signatures"]) > 1
    for shipped, signature in zip(model.signatures, measured["signatures"], strict=True):
        name = signature["signature"]
        where = f" of signature {name!r}" if several else ""
        for numbers in measured["parity"]:
            if numbers["signature"] == name:
                judge = _Parity(
                    found, shipped.parity, optimization.quantize, row, signature["representative"]
                )
                judge(numbers, f"output {numbers['output']!r}{where}")
        values = {m["name"]: m for m in measured["metrics"] if m["signature"] == name}
        for limits in () if why else shipped.metrics:
            _metric(found, limits, values[limits.name], where)
    for warning in dict.fromkeys(warnings):
        found.warn("data" if warning.endswith("not representative") else "stage", warning)
    if not all(signature["representative"] for signature in measured["signatures"]):
        found.warn("data", "measured on random data, which is not representative")
    return found.verdict()


def _unvalidated(found: _Findings, why: str, targets: Sequence[Target]) -> None:
    """A warning, since a target may take a file that was not run, or a failure where none does."""
    if any(target.unvalidated for target in targets):
        found.warn("unvalidated", f"not validated: {why}")
    elif targets:
        found.fail("unvalidated", unvalidated(why, targets[0]))


def unvalidated(why: str, target: Target) -> str:
    """What can be done about a file that nothing here could run; "" where a target takes it so."""
    if target.unvalidated or not why:
        return ""
    ways = ["`library` (with `register` for each op)"]
    if "select" in why:
        ways = [
            "`flex_library` (a shared library with the Flex delegate)",
            "`validator` (a Python with TensorFlow 2.4 to 2.19)",
        ]
    return (
        f"not validated: {why}; give target {target.name} {' or '.join(ways)}, or release it as it"
        " is: `unvalidated: allow`"
    )


def _metric(found: _Findings, limits: MetricLimits, value: Mapping[str, Any], where: str) -> None:
    number, source = value["file"], value["source"]
    if limits.min is not None and number < limits.min:
        found.fail(
            f"metrics.{limits.name}.min",
            f"{limits.name}{where} {number:.4f} is below min {limits.min:g}"
            f" (the source has {source:.4f}, {value['samples']} samples)",
        )
    if limits.max_drop is not None and source - number > limits.max_drop + 1e-12:
        found.fail(
            f"metrics.{limits.name}.max_drop",
            f"{limits.name}{where} fell from {source:.4f} to {number:.4f}: by"
            f" {source - number:.4f}, max_drop is {limits.max_drop:g}",
        )


@dataclass(frozen=True)
class _Parity:
    """Judges the parity numbers of one output."""

    found: _Findings
    limits: ParityLimits
    quantize: str
    row: str  # of PARITY
    representative: bool

    def __call__(self, numbers: Mapping[str, Any], output: str) -> None:
        found, limits, quantize, row = self.found, self.limits, self.quantize, self.row
        if not numbers["finite"]:
            found.fail("parity.finite", f"{output} has NaN or infinity")
            return
        if numbers["kind"] == "exact":
            if not numbers["equal"]:
                found.fail("parity.equal", f"{output} differs from the source's")
            return
        if not numbers["source_finite"]:
            found.fail("parity.finite", f"the source's own {output} has NaN or infinity")
            return
        if numbers["constant"]:
            found.fail("parity.constant", f"{output} is constant where the source's varies")
            return
        if numbers["equal"]:
            return
        unlimited = limits == ParityLimits()
        if numbers["kind"] == "integer" and quantize == "none" and unlimited:
            found.fail("parity.equal", f"integer {output} differs from the source's")
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
            if missed:
                relation = "below" if lowest else "above"
                unit = " dB" if name == "sqnr" else ""
                origin = "" if own is not None else f", default for {row}"
                message = (
                    f"{name} of {output} is {number:.4g}{unit}, {relation} the limit"
                    f" {limit:g}{unit}{origin}"
                )
                report = found.warn if soft and own is None else found.fail
                report(f"parity.{name}", message)
            elif name == "sqnr" and own is None and number < defaults.warn_sqnr:
                found.warn(
                    "parity.sqnr",
                    f"sqnr of {output} is {number:.4g} dB, below the"
                    f" {defaults.warn_sqnr:g} dB that is usual for {row}",
                )
