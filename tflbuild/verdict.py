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
class Margin:
    """One number beside its budget. A number that is not known (None) misses no budget."""

    name: str  # of the manifest's key without `max_`: "size", "macs"
    value: int | None
    limit: int
    origin: str  # who says it: "target sensor", "compat", "evaluate"

    @property
    def text(self) -> str:
        """ "412 KB of 500 KB"."""
        show = amount if self.name in COUNTED else size
        return f"{'?' if self.value is None else show(self.value)} of {show(self.limit)}"

    def as_json(self) -> dict[str, Any]:
        left = None if self.value is None else self.limit - self.value
        return {"name": self.name, "value": self.value, "limit": self.limit, "left": left,
                "origin": self.origin, "text": self.text}  # fmt: skip


COUNTED = ("params", "macs")  # the other budgets are bytes


def amount(value: int) -> str:
    """A count with K, M or G, three digits of it."""
    for unit, factor in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if value >= factor:
            return f"{value / factor:.3g}{unit}" if value < 1000 * factor else f"{value:,}"
    return str(value)


def size(value: int) -> str:
    """Bytes as KB, MB or GB, three digits of it."""
    text = amount(value)
    return f"{text[:-1]} {text[-1]}B" if text[-1] in "KMG" else f"{text} B"


@dataclass(frozen=True)
class Verdict:
    findings: tuple[Finding, ...] = ()
    margins: tuple[Margin, ...] = ()

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
        return {
            "passed": self.passed,
            "findings": [f.as_json() for f in self.findings],
            "margins": [margin.as_json() for margin in self.margins],
        }
