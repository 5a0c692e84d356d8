"""What a gate gathers on its way to a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tflbuild import budgets
from tflbuild.manifest.model import Budgets
from tflbuild.verdict import FAIL, WARN, Finding, Margin, Table, Verdict


@dataclass
class Findings:
    found: list[Finding] = field(default_factory=list)
    margins: list[Margin] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def fail(self, check: str, message: str) -> None:
        self.found.append(Finding(FAIL, check, message))

    def warn(self, check: str, message: str) -> None:
        self.found.append(Finding(WARN, check, message))

    def budgets(
        self,
        limits: Budgets,
        numbers: budgets.Numbers,
        origin: str,
        hints: budgets.Hints,
        opened: Sequence[str] = (),
    ) -> None:
        findings, margins = budgets.judge(limits, numbers, origin, hints, opened)
        self.found += findings
        self.margins += margins

    def verdict(self) -> Verdict:
        return Verdict(
            tuple(dict.fromkeys(self.found)),
            tuple(self.margins),
            tuple(self.met),
            tuple(self.tables),
        )
