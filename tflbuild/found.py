"""What a gate gathers on its way to a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tflbuild import budgets
from tflbuild.manifest.model import Budgets
from tflbuild.verdict import FAIL, WARN, Check, Finding, Margin, Table, Verdict


@dataclass
class Findings:
    """Everything that is judged is told once: by `check` where it holds, by `fail` where it does
    not, by `skip` where it could not be judged. A warning is beside that: what it is about holds
    (`check`) or was not asked for.

    `of` says which of several things of one `check` is meant (an output, a golden test); it and
    `check` are the name of a line in a CI's report, and the same whether it passes or not.
    """

    found: list[Finding] = field(default_factory=list)
    margins: list[Margin] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    judged: list[Check] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def fail(self, check: str, message: str, of: str = "") -> None:
        self.found.append(Finding(FAIL, check, message, of))
        self.judged.append(Check(check, False, message, of))

    def warn(self, check: str, message: str, of: str = "") -> None:
        self.found.append(Finding(WARN, check, message, of))

    def check(self, check: str, text: str, of: str = "") -> None:
        """It was judged and holds; `text` has the number and the limit."""
        self.judged.append(Check(check, True, text, of))

    def skip(self, check: str, why: str, of: str = "") -> None:
        """It was asked for and could not be judged."""
        self.judged.append(Check(check, None, why, of))

    def extend(self, findings: Iterable[Finding], check: str = "", text: str = "") -> None:
        """Take over what another judge found; where nothing failed, `check` holds."""
        taken = list(findings)
        for finding in taken:
            self.found.append(finding)
            if finding.level == FAIL:
                self.judged.append(Check(finding.check, False, finding.message, finding.of))
        if check and not any(finding.level == FAIL for finding in taken):
            self.check(check, text)

    def budgets(
        self,
        limits: Budgets,
        numbers: budgets.Numbers,
        origin: str,
        hints: budgets.Hints,
        opened: Sequence[str] = (),
    ) -> None:
        findings, margins = budgets.judge(limits, numbers, origin, hints, opened)
        self.extend(findings)
        self.margins += margins
        for margin in margins:
            if margin.value is not None and margin.value <= margin.limit:
                check = f"evaluate.max_{margin.name}" if origin == "evaluate" else margin.name
                self.check(check, f"{margin.text} (max_{margin.name} of {origin})")

    def verdict(self) -> Verdict:
        return Verdict(
            tuple(dict.fromkeys(self.found)), tuple(self.margins), tuple(self.met),
            tuple(dict.fromkeys(self.judged)), tuple(self.tables),
        )  # fmt: skip
