"""JUnit XML: a suite for each model, a line for each gate and for each thing that validate judged.

The form is what both the schema of Jenkins' xUnit plugin and that of Maven Surefire (3.0) accept:
no attributes or elements beyond these, in this order.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

from tflbuild import __version__
from tflbuild.engine import events
from tflbuild.engine.build import Outcome
from tflbuild.engine.judge import MEASUREMENTS
from tflbuild.errors import UsageError, one_line
from tflbuild.lockfile import Locked, read
from tflbuild.reporting.asked import of_validation
from tflbuild.reporting.excerpt import tail
from tflbuild.reporting.files import Broken
from tflbuild.reporting.origin import origin
from tflbuild.reporting.wording import beginning, both_ends
from tflbuild.step import Step
from tflbuild.verdict import Check, Finding, Verdict

PASSED, FAILED, ERROR, SKIPPED = "passed", "failure", "error", "skipped"
WHOLE = "tflbuild"  # the suite of what belongs to no model

LONG = 1000  # characters of a message
MESSAGE = 300  # of one that the body has whole
PACKAGES = ("tensorflow", "keras", "tf_keras", "ai-edge-litert", "ai-edge-quantizer", "numpy")

# What XML 1.0 cannot hold, also not as a reference.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class Line:
    """One test case."""

    name: str
    status: str = PASSED
    kind: str = ""  # of a failure or an error
    messages: list[str] = field(default_factory=list)  # one line each
    details: list[str] = field(default_factory=list)  # of a failure or an error
    out: list[str] = field(default_factory=list)
    seconds: float = 0.0


def junit(outcome: Outcome | Broken, root: Path, logs: Mapping[str, str]) -> bytes:
    """The file.

    Args:
        outcome: of the build; what stopped it, if it came to none.
        root: of the workspace.
        logs: by task, the path of its log under the root, of tasks that ran in this build.
    """
    suites: dict[str, list[Line]] = {}
    seconds: dict[str, float] = {}
    total = 0.0
    if isinstance(outcome, Broken):
        suites[WHOLE] = _broken(outcome)
    elif outcome.result is not None and outcome.graph is not None:
        total = outcome.done.seconds
        lines = Lines(outcome, root, logs)
        for task in outcome.graph.needed(outcome.selected):
            step = outcome.graph.steps[task]
            name = step.owner.name if step.owner else WHOLE
            if found := list(lines.of(step)):
                suites.setdefault(name, []).extend(found)
            seconds[name] = seconds.get(name, 0.0) + outcome.result.seconds.get(task, 0.0)
        if outcome.wrong is not None:
            wrong = tuple(one_line(str(error)) for error in outcome.wrong.errors)
            suites.setdefault(WHOLE, []).extend(_broken(Broken("manifest", wrong)))
        if outcome.done.interrupted:  # who reads this alone is not to see green with skips
            suites.setdefault(WHOLE, []).extend(_broken(Broken("interrupted", ("interrupted",))))
    return _xml(suites, seconds, total)


class Lines:
    """The lines of each task of a build."""

    def __init__(self, outcome: Outcome, root: Path, logs: Mapping[str, str]) -> None:
        assert outcome.graph is not None
        assert outcome.result is not None
        self.graph, self.result = outcome.graph, outcome.result
        self.root, self.logs = root, logs
        self.locked = _last(root)
        self.rest = "interrupted" if outcome.done.interrupted else "not reached"

    def of(self, step: Step) -> Iterator[Line]:
        """Nothing for a task that has no gate and did not fail."""
        ended = self.result.outcomes.get(step.name)
        if ended == events.FAILED:
            yield self._error(step)
            yield from self._not_judged(step, f"failed: {self.result.reasons.get(step.name, '')}")
        elif step.stage not in MEASUREMENTS:
            return
        elif ended is None or ended == events.SKIPPED:
            why = explained(self.result.reasons.get(step.name) or self.rest)
            yield Line(step.name, SKIPPED, messages=[one_line(why, LONG)])
            yield from self._not_judged(step, why)
        elif step.name in self.result.verdicts:
            yield from self._judged(step, self.result.verdicts[step.name])

    def _not_judged(self, step: Step, why: str) -> Iterator[Line]:
        """What the manifest asks of a validation that came to no verdict: the lines of a CI's
        history do not end here."""
        if step.stage == "validate" and step.optimization is not None:
            why = both_ends(f"not judged: {step.name} {why}", MESSAGE)
            for check in of_validation(step.model, step.optimization, self.locked, why):
                yield Line(f"{step.name} {check.name}", SKIPPED, messages=[check.text])

    def _judged(self, step: Step, verdict: Verdict) -> Iterator[Line]:
        lines: list[Line] = []
        warnings = list(verdict.warnings)
        if step.stage == "evaluate":
            own = [c for c in verdict.checks if c.check.startswith("evaluate.")]
            lines += self._each(step, own, warnings)
            for target, told in self.result.fits.get(step.model.name, {}).items():
                lines.append(self._whole(step, f"{step.name}@{target}", told, target))
        elif step.stage == "compat":
            lines.append(self._whole(step, step.name, verdict, step.target))
            warnings = []
        else:
            lines += self._each(step, verdict.checks, warnings)
        lines = lines or [Line(step.name)]
        lines[0].out += [_warning(finding) for finding in warnings]  # of none of these lines
        lines[0].seconds = self.result.seconds.get(step.name, 0.0)
        yield from lines

    def _each(
        self, step: Step, checks: tuple[Check, ...] | list[Check], warnings: list[Finding]
    ) -> list[Line]:
        """A line for each thing that was judged; of one name, one. Takes what is said of them out
        of `warnings`."""
        by_name: dict[str, list[Check]] = {}
        for check in checks:
            by_name.setdefault(check.name, []).append(check)
        lines = []
        for name, alike in by_name.items():
            line = self._line(f"{step.name} {name}", step, alike, None)
            for finding in list(warnings):
                if (finding.check, finding.of) == (alike[0].check, alike[0].of):
                    line.out.append(_warning(finding, own=True))
                    warnings.remove(finding)
            lines.append(line)
        return lines

    def _whole(self, step: Step, name: str, verdict: Verdict, target: str | None) -> Line:
        """One line for all that was judged."""
        line = self._line(name, step, verdict.checks, target)
        line.out += [_warning(finding) for finding in verdict.warnings]
        return line

    def _line(
        self, name: str, step: Step, checks: tuple[Check, ...] | list[Check], target: str | None
    ) -> Line:
        line = Line(name)
        failed = [check for check in checks if check.passed is False]
        if failed:
            line.status, line.kind = FAILED, failed[0].check
            for check in failed:
                line.messages.append(beginning(check.text, MESSAGE))
                line.details.append(check.text)
                place = origin(self.graph.workspace, step, target, check)
                if place is not None:
                    line.details.append(f"{place}: limit of {check.name}")
            if step.report is not None:
                build_dir = self.graph.workspace.build_dir
                line.details.append(f"report: {build_dir}/reports/{step.report}")
        elif checks and all(check.passed is None for check in checks):
            line.status = SKIPPED
            line.messages = [one_line(check.text, LONG) for check in checks]
        for check in checks:
            if check.passed is not False and line.status != SKIPPED:
                said = "" if check.passed else "skipped: "
                # A line of one check alone has its name already.
                about = f"{check.name}: " if len(checks) > 1 or target is not None else ""
                line.out.append(f"{about}{said}{check.text}")
        return line

    def _error(self, step: Step) -> Line:
        reason = self.result.reasons.get(step.name, "failed")
        line = Line(
            step.name, ERROR, f"{step.stage} failed", [one_line(reason, LONG)], [reason],
            seconds=self.result.seconds.get(step.name, 0.0),
        )  # fmt: skip
        if log := self.logs.get(step.name):
            line.details += [f"log: {log}", tail(self.root / log)]
        return line


def _last(root: Path) -> Mapping[str, Locked]:
    try:
        return read(root)
    except UsageError:  # which the build said
        return {}


# Tasks whose name does not say what they do.
_MEANT = {"reference": "the source on the test data", "baseline": "the float file on the test data"}


def explained(reason: str) -> str:
    """A reason that names tasks, with what those do: `needs reference:m (the source …)`."""
    if not reason.startswith("needs "):
        return reason
    tasks = reason.removeprefix("needs ").split(", ")
    meant = [(task, _MEANT.get(task.partition(":")[0], "")) for task in tasks]
    return "needs " + ", ".join(f"{task} ({said})" if said else task for task, said in meant)


def _warning(finding: Finding, own: bool = False) -> str:
    """`own`: of the line that shows it, which has the name already."""
    about = f"{finding.check} of {finding.of}" if finding.of else finding.check
    return f"warning: {'' if own or about == 'stage' else f'{about}: '}{finding.message}"


def _broken(broken: Broken) -> list[Line]:
    return [
        Line(
            broken.kind if i == 0 else f"{broken.kind} {i + 1}", ERROR, broken.kind, [said], [said]
        )
        for i, said in enumerate(broken.lines)
    ]


def versions() -> dict[str, str]:
    """What stands behind the numbers, read from package metadata: nothing is imported."""
    found = {"tflbuild": __version__, "python": platform.python_version(),
             "machine": f"{platform.system()}-{platform.machine()}"}  # fmt: skip
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _xml(suites: Mapping[str, list[Line]], seconds: Mapping[str, float], total: float) -> bytes:
    every = [line for lines in suites.values() for line in lines]
    top = ElementTree.Element(
        "testsuites", {"name": WHOLE, "time": f"{total:.3f}", **_counts(every, skipped=False)}
    )
    said = versions()
    for name, lines in suites.items():
        suite = ElementTree.SubElement(
            top, "testsuite",
            {"name": _text(name), "time": f"{seconds.get(name, 0):.3f}", **_counts(lines)},
        )  # fmt: skip
        properties = ElementTree.SubElement(suite, "properties")
        for key, value in said.items():
            ElementTree.SubElement(properties, "property", {"name": key, "value": _text(value)})
        for line in lines:
            _case(suite, name, line)
    ElementTree.indent(top, " ")
    data: bytes = ElementTree.tostring(top, "utf-8", xml_declaration=True)
    return data + b"\n"


def _counts(lines: list[Line], skipped: bool = True) -> dict[str, str]:
    def count(status: str) -> str:
        return str(sum(line.status == status for line in lines))

    found = {"tests": str(len(lines)), "failures": count(FAILED), "errors": count(ERROR)}
    return {**found, "skipped": count(SKIPPED)} if skipped else found


def _case(suite: ElementTree.Element, model: str, line: Line) -> None:
    case = ElementTree.SubElement(
        suite, "testcase",
        {"name": _text(line.name), "classname": _text(model), "time": f"{line.seconds:.3f}"},
    )  # fmt: skip
    if line.status != PASSED:
        more = f" (+{len(line.messages) - 1} more)" if len(line.messages) > 1 else ""
        said = {"message": _text(line.messages[0] + more)}
        if line.status != SKIPPED:
            said["type"] = _text(line.kind)
        element = ElementTree.SubElement(case, line.status, said)
        element.text = _text("\n".join(line.details)) or None
    if line.out:
        ElementTree.SubElement(case, "system-out").text = _text("\n".join(line.out))


def _text(text: str) -> str:
    """What XML can hold: each other character is shown as one sign, and carriage returns, which
    readers make line ends of, as such."""
    return _NO_XML.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


__all__ = ["Line", "Lines", "junit", "versions"]
