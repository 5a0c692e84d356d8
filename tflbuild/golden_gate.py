"""The gate of golden tests: what the file gave against what a user recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tflbuild.found import Findings
from tflbuild.manifest.model import Golden, GoldenLimits, Model, Optimization
from tflbuild.manifest.problems import nearest
from tflbuild.parity_gate import LOWEST, worst


def judge(
    found: Findings, measured: Mapping[str, Any], model: Model, optimization: Optimization
) -> None:
    """Every golden test of a validation."""
    for test in model.golden:
        entries = [e for e in measured.get("golden", ()) if e["name"] == test.name]
        if entries:
            _check_names(found, test, entries, model)
        elif optimization.name in test.optimizations:
            found.skip("golden", "the file was not run", test.name)
        for entry in entries:
            _Test(found, test, optimization.name, model)(entry)


def _check_names(
    found: Findings, test: Golden, entries: Sequence[Mapping[str, Any]], model: Model
) -> None:
    """Limits for an output that the archive does not hold would have no effect."""
    names = [entry["output"] for entry in entries]
    for name, _ in test.outputs:
        if name not in names:
            hint = nearest(name, names) or f"; it has {', '.join(names)}"
            key = f"validate.golden.{test.name}.outputs.{name}"
            found.fail(
                "golden.limits",
                f"{model.position_of(key)}: golden {test.name!r} records no output {name!r}{hint}",
                test.name,
            )


@dataclass(frozen=True)
class _Test:
    """Judges the outputs of one golden test."""

    found: Findings
    test: Golden
    optimization: str
    model: Model

    def __call__(self, entry: Mapping[str, Any]) -> None:
        output, of = entry["output"], f"{self.test.name}/{entry['output']}"
        what = f"output {output!r} of golden {self.test.name!r}"
        if not entry["finite"]:
            self.found.fail("golden.finite", f"{what} has NaN or infinity", of)
            return
        exact, limits = self._limits(output)
        whole = entry["kind"] in ("exact", "integer")
        if entry["kind"] == "exact" and limits:
            self._no_effect(entry, next(iter(limits)))
        elif exact or (whole and not limits):
            self._exactly(entry, what, of)
        elif not limits:
            self._unlimited(entry, of)
        else:
            for name, limit in limits.items():
                self._number(name, limit, entry, what, of)

    def _limits(self, output: str) -> tuple[bool, dict[str, float]]:
        """Whether it must be exact, and the limits of the numbers."""
        own = dict(self.test.outputs).get(output, GoldenLimits())
        near, far = self._of(own), self._of(self.test.limits)
        if own.exact:
            return True, {}
        if self.test.limits.exact:
            return not near, near
        return False, {**far, **near}

    def _of(self, limits: GoldenLimits) -> dict[str, float]:
        """Those that hold for this optimization."""
        found = {}
        for name, by_optimization in limits.limits:
            values = dict(by_optimization)
            limit = values.get(self.optimization, values.get(""))
            if limit is not None:
                found[name] = limit
        return found

    def _exactly(self, entry: Mapping[str, Any], what: str, of: str) -> None:
        if entry["equal"]:
            self.found.check("golden.exact", f"{what} is what was recorded", of)
            return
        off = entry.get("max_abs_error")
        by = "" if off is None else f" by up to {_amount(entry, 'max_abs_error', off)}"
        message = f"{what} differs from what was recorded{by}{worst(entry)}"
        self.found.fail("golden.exact", message, of)

    def _number(
        self, name: str, limit: float, entry: Mapping[str, Any], what: str, of: str
    ) -> None:
        check, number = f"golden.{name}", entry[name]
        if number is None and not entry["equal"]:
            key = self._key(entry["output"], name)
            why = "what was recorded is constant; write max_abs_error"
            message = f"{self.model.position_of(key)}: {name} of {what} is not defined: {why}"
            self.found.fail("golden.limits", message, of)
            return
        low = name in LOWEST
        shown = "no error" if number is None else _amount(entry, name, number)
        bound = _amount(entry, name, limit)
        if number is not None and (number < limit if low else number > limit):
            relation = "below" if low else "above"
            message = f"{name} of {what} is {shown}, {relation} the limit {bound}"
            self.found.fail(check, f"{message}{worst(entry)}", of)
            return
        asked = f"{'at least' if low else 'at most'} {bound}"
        self.found.check(check, f"{name} of {what} is {shown} ({asked})", of)

    def _no_effect(self, entry: Mapping[str, Any], name: str) -> None:
        output = entry["output"]
        where = self.model.position_of(self._key(output, name))
        why = f"output {output!r} is text, which is compared exactly"
        message = f"{where}: `{name}` has no effect: {why}"
        self.found.fail("golden.limits", message, f"{self.test.name}/{output}")

    def _unlimited(self, entry: Mapping[str, Any], of: str) -> None:
        where = self.model.position_of(f"validate.golden.{self.test.name}")
        off = entry["max_abs_error"]
        share = entry["max_range_error"]
        limit: str = f"{_above(off, off / share if share else 0.0)}"
        if len(self.test.optimizations) > 1:
            limit = f"{{{self.optimization}: {limit}}}"
        self.found.fail(
            "golden.limits",
            f"{where}: golden {self.test.name!r} has no limit for output {entry['output']!r} of"
            f" {self.optimization}, which is off by {off:.3g}: write max_abs_error: {limit}"
            + (", or exact: true" if entry["equal"] else ""),
            of,
        )

    def _key(self, output: str, name: str) -> str:
        own = f"validate.golden.{self.test.name}.outputs.{output}.{name}"
        if own in self.model.positions:
            return own
        return f"validate.golden.{self.test.name}.{name}"


def _amount(entry: Mapping[str, Any], name: str, number: float) -> str:
    """A number with its unit."""
    unit = " dB" if name == "sqnr" else ""
    if name == "max_abs_error" and entry["unit"] == "steps":
        unit = " step" if number == 1 else " steps"
    return f"{number:.4g}{unit}"


def _above(error: float, span: float) -> str:
    """A round number with room above an error that was measured. `span`: the range of the output
    (0: not known), of which a millionth is some ulps of float32: what is below is luck."""
    if not error > 0:
        return "1e-6"
    wanted = max(2 * error, 1e-6 * span)
    power = math.floor(math.log10(wanted))
    return f"{math.ceil(wanted / 10.0**power) * 10.0**power:g}"
