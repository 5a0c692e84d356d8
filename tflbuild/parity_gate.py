"""The gate of parity: the numbers of each output against the manifest's limits, or the defaults.

A miss says whom to blame: the numbers of source → file come with those of source → float file
("float conversion") and float file → file ("quantization"), where there is a float file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tflbuild.found import Findings
from tflbuild.manifest.model import (
    Model,
    Optimization,
    ParityLimits,
    RandomData,
    Shipped,
    TopK,
)
from tflbuild.manifest.parity import NUMBERS, limits_of, of_output
from tflbuild.manifest.problems import nearest
from tflbuild.model_data import parity_data

# The version of the default limits: tripwires, measured on real models. docs/VALIDATION.md has the
# numbers, and what version 2 changed; `benchmarks/parity_table.py` measures them again.
PARITY_VERSION = 2

UNMOVED = 0.05  # of the range of the output: an error that an output may have that never moves


@dataclass(frozen=True)
class ParityDefaults:
    fail_sqnr: float  # dB
    warn_sqnr: float  # dB
    fail_cosine: float | None = None
    fail_range_error: float | None = None


PARITY: Mapping[str, ParityDefaults] = {
    "none": ParityDefaults(80, 100, fail_range_error=1e-4),
    "float16": ParityDefaults(25, 40, fail_cosine=0.998),
    "dynamic_range": ParityDefaults(18, 23, fail_cosine=0.99),
    "int16x8": ParityDefaults(18, 23, fail_cosine=0.99),
    "int8": ParityDefaults(13, 18, fail_cosine=0.975),
    "qat": ParityDefaults(13, 18, fail_cosine=0.975),
    # ai-edge-quantizer: of these it alone makes files.
    "weight_only": ParityDefaults(18, 23, fail_cosine=0.99),
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


WORST = 3  # samples that a message names

# What is known of a sample by the number of its signature and its own: "cat/0017.png"; "": nothing.
Origin = Callable[[int, int], str]


def nowhere(signature: int, sample: int) -> str:
    return ""


unnamed = partial(nowhere, 0)


LOWEST = ("sqnr", "cosine", "top_k")  # numbers of which more is better
TIED = 0.1  # share of samples with equal values at the k-th place worth a warning


def row_of(optimization: Optimization, recipe: Sequence[Mapping[str, Any]]) -> str:
    """The row of the default table for a file; `recipe`: what ai-edge-quantizer was told."""
    row = optimization.parity
    return recipe_row(recipe) if row == "recipe" else row


def judge(
    found: Findings,
    measured: Mapping[str, Any],
    model: Model,
    optimization: Optimization,
    row: str,
    origin: Origin = nowhere,
    causes: Sequence[str] = (),
) -> None:
    """Every output of a validation; `origin` names its samples. `causes`: by signature, what is
    known to make a miss likely."""
    several = len(measured["signatures"]) > 1
    limits = [limits_of(shipped, optimization) for shipped in model.signatures]
    if measured["parity"]:  # else nothing was run
        _Places(found, measured, model, optimization).judge()
    for place, (own, signature) in enumerate(zip(limits, measured["signatures"], strict=True)):
        name = signature["signature"]
        where = f" of signature {name!r}" if several else ""
        for numbers in measured["parity"]:
            if numbers["signature"] == name:
                output = numbers["output"]
                parity = Parity(
                    found, of_output(own, output), optimization.quantize, row,
                    signature["representative"], f"{model.name}:{optimization.name}",
                    partial(origin, place), causes[place] if place < len(causes) else "",
                )  # fmt: skip
                of = f"{name}/{output}" if several else output
                parity(numbers, f"output {output!r}{where}", of)
    _say_random(found, measured, model)


def _say_random(found: Findings, measured: Mapping[str, Any], model: Model) -> None:
    """Random data are said to be such, with their range: people see whether it is the model's."""
    for shipped, signature in zip(model.signatures, measured["signatures"], strict=True):
        if signature["representative"]:
            continue
        data = parity_data(shipped)
        if not isinstance(data, RandomData):
            data = RandomData()
        origin = ""
        if shipped.test is None and shipped.calibration is not None:
            origin = " of the calibration,"
        found.warn(
            "data",
            f"measured on random data in the range{origin} {data.low:g} to {data.high:g}"
            f" (seed {data.seed}), which is not representative",
        )


@dataclass
class Parity:
    """Judges the parity numbers of one output, once."""

    found: Findings
    limits: ParityLimits  # of this output
    quantize: str
    row: str  # of PARITY
    representative: bool
    file: str = ""  # MODEL:OPTIMIZATION, for what to do next
    origin_of: Callable[[int], str] = unnamed
    cause: str = ""  # what the data say of a miss
    # What has been said: which samples are the worst, and what to do next, is said with one miss.
    told: set[str] = field(default_factory=set)

    def __call__(self, numbers: Mapping[str, Any], output: str, of: str) -> None:
        """Judge what messages call `output` and the lines of a CI's report `of`."""
        found, quantize = self.found, self.quantize
        if not numbers["finite"]:
            whom = self._quantization_alone(numbers)
            if not numbers.get("source_finite", True):
                whom = ", and so has the source's own"
            found.fail("parity.finite", f"{output} has NaN or infinity{whom}", of)
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
            whom = self._quantization_alone(numbers)
            message = f"{output} is constant where the source's varies{self._likely()}{whom}"
            found.fail("parity.constant", message, of)
            return
        if numbers.get("unmoved"):
            whom = self._quantization_alone(numbers)
            message = f"{output} is the same for every sample, where the source's varies{whom}"
            # Within the steps of a small output that may be right: a classifier that is sure.
            far = (numbers["max_range_error"] or 0.0) > UNMOVED
            (found.fail if far else found.warn)("parity.constant", message, of)
        if numbers["equal"]:
            found.check("parity.equal", f"{output} equals the source's", of)
            self._top_k(numbers, output, of)
            return
        unlimited = self.limits == ParityLimits()
        if numbers["kind"] == "integer" and quantize == "none" and unlimited:
            message = f"integer {output} differs from the source's{self._worst(numbers)}"
            found.fail("parity.equal", message, of)
            return
        defaults = PARITY[self.row]
        for name, default in (
            ("sqnr", defaults.fail_sqnr),
            ("cosine", defaults.fail_cosine),
            ("max_range_error", defaults.fail_range_error),
            ("max_abs_error", None),
        ):
            self._number(name, default, numbers, output, of)
        self._top_k(numbers, output, of)

    @property
    def soft(self) -> bool:
        """On random data the defaults give false alarms on quantized files: they only warn. A
        limit that the manifest sets itself always counts."""
        return not self.representative and self.quantize != "none"

    def _number(
        self, name: str, default: float | None, numbers: Mapping[str, Any], output: str, of: str
    ) -> None:
        own: float | None = getattr(self.limits, name)
        limit, number = own if own is not None else default, numbers[name]
        if limit is None:
            return
        if number is None:
            if own is not None:
                why = f"{name} of {output} is not defined: the source's output is constant"
                self.found.skip(f"parity.{name}", why, of)
            return
        low, unit = name in LOWEST, " dB" if name == "sqnr" else ""
        missed = _missed(name, number, limit)
        origin = "" if own is not None else f", default for {self.row}"
        soft = self.soft and own is None
        if not missed or soft:
            asked = f"{'at least' if low else 'at most'} {limit:g}{unit}{origin}"
            asked += ", which only warns" * missed
            text = f"{name} of {output} is {number:.4g}{unit} ({asked})"
            self.found.check(f"parity.{name}", text, of)
        if missed:
            report = self.found.warn if soft else self.found.fail
            why = self._likely() + self._blame(name, limit, numbers) + self._worst(numbers)
            report(
                f"parity.{name}",
                f"{name} of {output} is {number:.4g}{unit}, {'below' if low else 'above'} the limit"
                f" {limit:g}{unit}{origin}{why}",
                of,
            )
        elif name == "sqnr" and own is None and number < PARITY[self.row].warn_sqnr:
            usual = PARITY[self.row].warn_sqnr
            self.found.warn(
                "parity.sqnr",
                f"sqnr of {output} is {number:.4g} dB, below the {usual:g} dB that is usual for"
                f" {self.row}{self._blame(name, usual, numbers)}",
                of,
            )

    def _top_k(self, numbers: Mapping[str, Any], output: str, of: str) -> None:
        agreed = {entry["k"]: entry for entry in numbers.get("top_k", ())}
        for top in self.limits.top_k:
            if top.k not in agreed:
                continue  # no more values than k: see _Places
            check, share = f"parity.top_{top.k}", agreed[top.k]["agreement"]
            said = f"top_k of {output}: {share:.4f} of the source's {top.k} largest are the file's"
            if share < top.min:
                why = self._blame_top_k(top, numbers) + self._likely() + self._worst(numbers)
                self.found.fail(check, f"{said}, below min {top.min:g}{why}", of)
            else:
                self.found.check(check, f"{said} (at least {top.min:g})", of)
            tied, samples = agreed[top.k].get("tied", 0), agreed[top.k]["samples"]
            if tied > TIED * samples:
                self.found.warn(
                    check,
                    f"top_k of {output}: in {tied} of {samples} samples other values of the file"
                    f" equal its number {top.k}, mostly 0: the agreement says little"
                    + ("; ask for k: 1" if top.k > 1 else ""),
                    of,
                )

    def _likely(self) -> str:
        return f"; {self.cause}" if self.cause else ""

    def _worst(self, numbers: Mapping[str, Any]) -> str:
        return self._once(worst(numbers, self.origin_of))

    def _once(self, text: str) -> str:
        if text in self.told:
            return ""
        self.told.add(text)
        return text

    def _blame(self, name: str, limit: float, numbers: Mapping[str, Any]) -> str:
        """Which step takes what is lost, in words; "" where it is not known."""
        return self._whom(name, limit, [(s, said[name]) for s, said in _steps(numbers)])

    def _blame_top_k(self, top: TopK, numbers: Mapping[str, Any]) -> str:
        by_step = [
            (step, entry["agreement"])
            for step, said in _steps(numbers)
            for entry in said.get("top_k", ())
            if entry["k"] == top.k
        ]
        return self._whom("top_k", top.min, by_step)

    def _whom(self, name: str, limit: float, by_step: Sequence[tuple[str, float | None]]) -> str:
        if len(by_step) < 2:
            return ""
        shown = ", ".join(f"{step} {_shown(name, number)}" for step, number in by_step)
        converted, quantized = (n is not None and _missed(name, n, limit) for _, n in by_step)
        if quantized and not converted:
            whom = f"the quantization is to blame{self._next()}"
        elif converted and not quantized:
            whom = "the float conversion is to blame"
        else:
            whom = f"both are to blame{self._next()}"
        return f" ({shown}: {whom})"

    def _quantization_alone(self, numbers: Mapping[str, Any]) -> str:
        """Where the float file's output is sound, what makes it unsound is known."""
        said = numbers.get("float")
        if said is None or said["max_abs_error"] is None or self.quantize == "none":
            return ""
        return f" (the float file's is sound: the quantization is to blame{self._next()})"

    def _next(self) -> str:
        if not self.file or self.quantize == "none":
            return ""
        return self._once(f"; see which layers: tflbuild validate --debug {self.file}")


def worst(numbers: Mapping[str, Any], origin_of: Callable[[int], str] = unnamed) -> str:
    """The samples with the largest errors, for the end of a message."""
    shown = []
    for sample in numbers.get("worst_samples", ())[:WORST]:
        named, place = origin_of(sample["sample"]), sample.get("in_file")
        if not named and place is not None:  # a choice of those that the file holds
            named = f"number {place} in the file"
        named = f" ({named})" if named else ""
        shown.append(f"sample {sample['sample']}{named}, off by {sample['max_abs_error']:.4g}")
    return f"; worst: {'; '.join(shown)}" if shown else ""


def _steps(numbers: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What is known of each step on the way to the file."""
    return [
        (step, said)
        for step, key in (("float conversion alone", "float"), ("quantization", "quantization"))
        if (said := numbers.get(key)) is not None
    ]


def _missed(name: str, number: float, limit: float) -> bool:
    return number < limit if name in LOWEST else number > limit


def _shown(name: str, number: float | None) -> str:
    if number is None:
        return "no error" if name == "sqnr" else "unknown"
    return f"{number:.4g} dB" if name == "sqnr" else f"{number:.4g}"


@dataclass(frozen=True)
class _Places:
    """Limits for outputs that are not there, or that cannot be met or missed. The manifest alone
    does not tell: a model's outputs are known when it has been lowered."""

    found: Findings
    measured: Mapping[str, Any]
    model: Model
    optimization: Optimization

    def judge(self) -> None:
        every = list(self.measured["parity"])
        for shipped, signature in zip(
            self.model.signatures, self.measured["signatures"], strict=True
        ):
            own = [e for e in every if e["signature"] == signature["signature"]]
            self._section(f"validate.signatures.{shipped.name}.parity", shipped.parity, own)
            self._section("validate.parity", shipped.parity, every)
        if (limits := self.optimization.parity_limits) is not None:
            self._section(f"optimizations.{self.optimization.name}.parity", limits, every)
        for shipped, signature in zip(
            self.model.signatures, self.measured["signatures"], strict=True
        ):
            own = [e for e in every if e["signature"] == signature["signature"]]
            self._too_few(shipped, own, limits_of(shipped, self.optimization))

    def _section(
        self, section: str, limits: ParityLimits, entries: Sequence[Mapping[str, Any]]
    ) -> None:
        """`entries`: of the outputs that limits in a section may be for."""
        places = self.model.positions
        names = sorted({entry["output"] for entry in entries})
        for name, own in limits.outputs:
            key = f"{section}.outputs.{name}"
            if key not in places:
                continue
            if name not in names:
                hint = nearest(name, names) or f"; the model has {', '.join(names)}"
                self._fail(key, f"no output {name!r}{hint}")
            elif all(e["kind"] == "exact" for e in entries if e["output"] == name):
                for limit in _said(own):
                    why = f"output {name!r} is text, which is compared exactly"
                    self._fail(f"{key}.{limit}", f"`{limit}` has no effect: {why}")
        for limit in _said(limits):
            key = f"{section}.{limit}"
            if key not in self.model.said:
                continue
            overridden = {n for n, own in limits.outputs if limit in _said(own)}
            if all(entry["kind"] == "exact" for entry in entries):
                why = "every output is text, which is compared exactly"
                self._fail(key, f"`{limit}` has no effect: {why}")
            elif all(entry["output"] in overridden for entry in entries):
                self._fail(key, f"`{limit}` has no effect: every output has one of its own")

    def _too_few(
        self, shipped: Shipped, entries: Sequence[Mapping[str, Any]], limits: ParityLimits
    ) -> None:
        """A `top_k` of all values that an output has, or more. What is set for all holds for those
        that have more; there must be one."""
        entries = [e for e in entries if e["kind"] != "exact" and e["finite"] and not e["constant"]]
        counts = {e["output"]: {top["k"] for top in e.get("top_k", ())} for e in entries}
        own = {name: one.top_k for name, one in limits.outputs if one.top_k and name in counts}
        for name, asked in own.items():
            for top in asked:
                if top.k not in counts[name]:
                    why = f"output {name!r} has no more than {top.k} values in a sample"
                    key = self._top_k_key(f"outputs.{name}.top_k", shipped)
                    self._fail(key, f"top_k cannot be measured: {why}")
        others = [found for name, found in counts.items() if name not in own]
        for top in limits.top_k if others else ():
            if not any(top.k in found for found in others):
                why = f"no output has more than {top.k} values in a sample"
                self._fail(self._top_k_key("top_k", shipped), f"top_k cannot be measured: {why}")

    def _top_k_key(self, below: str, shipped: Shipped) -> str:
        """The key that says a top_k, the nearest first."""
        sections = (
            f"optimizations.{self.optimization.name}.parity",
            f"validate.signatures.{shipped.name}.parity", "validate.parity",
        )  # fmt: skip
        keys = [f"{section}.{below}" for section in sections]
        return next((key for key in keys if key in self.model.positions), "validate.parity")

    def _fail(self, key: str, message: str) -> None:
        self.found.fail("parity.limits", f"{self.model.position_of(key)}: {message}")


def _said(limits: ParityLimits) -> list[str]:
    """The limits that are set for all, by name."""
    return [name for name in (*NUMBERS, "top_k") if getattr(limits, name) not in (None, ())]
