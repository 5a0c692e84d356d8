"""What a gate says: findings, and whether they let an artifact pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FAIL = "fail"
WARN = "warn"


def printable(text: str) -> str:
    """Text without control characters, each of which is shown as one sign."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


@dataclass(frozen=True)
class Finding:
    """One sentence of a gate: which number met or missed which limit."""

    level: str  # FAIL or WARN
    check: str  # "parity.sqnr", "size", "ops", "metrics.accuracy.min"
    message: str
    of: str = ""  # which of several: the output, `SIGNATURE/output`, the golden; "": there is one

    def __post_init__(self) -> None:
        # Names in it may come from a stranger's file, and end on a terminal or in a log.
        _show(self, "message", "of")

    def as_json(self) -> dict[str, str]:
        said = {"level": self.level, "check": self.check, "message": self.message}
        return {**said, "of": self.of} if self.of else said


def _show(value: object, *fields: str) -> None:
    """Make fields of a frozen value printable."""
    for name in fields:
        if not (text := getattr(value, name)).isprintable():
            object.__setattr__(value, name, printable(text))


@dataclass(frozen=True)
class Check:
    """One thing that a gate was asked to judge: a line of a CI's report.

    `check` and `of` are those of the finding that says it failed, so that the line keeps its name
    from build to build.
    """

    check: str
    passed: bool | None  # None: skipped, and `text` says why
    text: str  # the number and the limit
    of: str = ""

    def __post_init__(self) -> None:
        _show(self, "text", "of")

    @property
    def name(self) -> str:
        """What the line is called: "parity.sqnr of probabilities"."""
        return f"{self.check} of {self.of}" if self.of else self.check

    def as_json(self) -> dict[str, Any]:
        return {"check": self.check, "of": self.of, "passed": self.passed, "text": self.text}


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
        if self.value is None:
            return f"? of {show(self.limit)}"
        value, limit = show(self.value), show(self.limit)
        if value == limit and self.value != self.limit:  # rounding would hide what it is about
            value, limit = f"{self.value:,}", f"{self.limit:,}"
        return f"{value} of {limit}"

    def as_json(self) -> dict[str, Any]:
        left = None if self.value is None else self.limit - self.value
        return {"name": self.name, "value": self.value, "limit": self.limit, "left": left,
                "origin": self.origin, "text": self.text}  # fmt: skip


COUNTED = ("params", "macs")  # the other budgets are bytes


def amount(value: int) -> str:
    """A count: whole up to 9,999, then three digits of it with K, M or G."""
    rounded = float(f"{value:.3g}")
    for unit, factor in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if value >= 10_000 and rounded >= factor:
            return f"{rounded / factor:g}{unit}"
    return f"{value:,}"


def size(value: int) -> str:
    """Bytes, as `amount` shows counts: 9,999 B, 412 KB, 1.5 MB."""
    text = amount(value)
    return f"{text[:-1]} {text[-1]}B" if text[-1] in "KMG" else f"{text} B"


@dataclass(frozen=True)
class Table:
    """What findings of one check are about, side by side, for people; no report holds it."""

    check: str  # of the findings that it belongs to
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    failed: bool


@dataclass(frozen=True)
class Verdict:
    findings: tuple[Finding, ...] = ()
    margins: tuple[Margin, ...] = ()
    met: tuple[str, ...] = ()  # what else was asked for and holds, in words
    checks: tuple[Check, ...] = ()  # all that was judged, also what holds, in that order
    tables: tuple[Table, ...] = ()

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
            "met": list(self.met),
            "checks": [check.as_json() for check in self.checks],
        }
