"""What a gate says: findings, and whether they let an artifact pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FAIL = "fail"
WARN = "warn"


@dataclass(frozen=True)
class Finding:
    """One sentence of a gate: which number met or missed which limit."""

    level: str  # FAIL or WARN
    check: str  # "parity.sqnr", "size", "ops", "metrics.accuracy.min"
    message: str

    def as_json(self) -> dict[str, str]:
        return {"level": self.level, "check": self.check, "message": self.message}


@dataclass(frozen=True)
class Verdict:
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        return not any(finding.level == FAIL for finding in self.findings)

    @property
    def failures(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == FAIL]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == WARN]

    def as_json(self) -> dict[str, Any]:
        return {"passed": self.passed, "findings": [f.as_json() for f in self.findings]}
