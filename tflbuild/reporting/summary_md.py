"""A build for a pull request, in Markdown: what each file came to, against the last release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tflbuild.engine import events
from tflbuild.engine.build import Outcome
from tflbuild.engine.summary import Numbers, blockers, numbers, warnings
from tflbuild.errors import UsageError, one_line
from tflbuild.graph import artifacts_of
from tflbuild.interface_gate import CHECK as INTERFACE
from tflbuild.lockfile import LOCK, Locked, metric_key, read, rounded
from tflbuild.reporting.benchmarks_shown import ratio_parts
from tflbuild.reporting.files import Broken
from tflbuild.reporting.markdown import code, prose, table
from tflbuild.reporting.metrics_shown import in_order
from tflbuild.reporting.wording import beginning, both_ends
from tflbuild.step import Step
from tflbuild.verdict import Table, amount, size

ROWS = 60  # of all tables together
BYTES = 60_000  # of the whole; GitHub takes comments of 65,536 characters
LISTED = 20  # lines of a list
TABLES = 5  # interfaces side by side
LONG = 300  # characters of a note
MINUS = "−"

FAILED, RELEASED, PASSED, UNCHANGED, NOT_REACHED = (
    "failed", "released", "passed", "unchanged", "not reached",
)  # fmt: skip
RANK = (FAILED, NOT_REACHED, RELEASED, PASSED, UNCHANGED)
TITLES = ("model", "optimization", "target", "status", "size", "metric", "SQNR",
          "minimum runtime", "note")  # fmt: skip
# What the cells of a table mean, below it.
LEGEND = (
    "Brackets: the 95 % interval of a metric. Parentheses: the change against the last release"
    " (`tflbuild.lock`). SQNR: signal against error, in dB, of the worst output; more is better.",
    "stale: the earlier file stays in `dist/`. Minimum runtime: the oldest version that takes the"
    " file.",
)
CHANGED = "interface changed, see below"
OTHERS = 6  # metrics beside the first one
NAMES = 5  # artifacts that one line is of
EVALUATED = ("model", "target", "status", "parameters", "MACs", "note")


@dataclass(frozen=True)
class Row:
    """One artifact, or one model for one target where evaluation is all."""

    status: str  # of RANK
    cells: tuple[str, ...]


@dataclass
class Page:
    """What is shown, before it is made to fit."""

    title: str
    titles: Sequence[str] = TITLES
    rows: list[Row] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)  # title → lines of Markdown
    changes: dict[str, list[str]] = field(default_factory=dict)  # of an interface → of which files
    sides: dict[str, Table] = field(default_factory=dict)  # file → its interfaces
    notes: list[str] = field(default_factory=list)


def summary(outcome: Outcome | Broken, root: Path, until: str) -> str:
    """The page.

    Args:
        outcome: of the build; what stopped it, if it came to none.
        root: of the workspace, where `tflbuild.lock` says what was released last.
        until: the stage that the build went to.
    """
    return fit(_broken(outcome) if isinstance(outcome, Broken) else _page(outcome, root, until))


def fit(page: Page) -> str:
    """The page with as many rows as there is room for."""
    text = ""
    for most in (ROWS, 40, 25, 15, 10, 5, 2, 0):
        text = render(page, most, min(most, LISTED))
        if len(text.encode()) < BYTES:
            break
    return text


def render(page: Page, most: int, listed: int) -> str:
    """The page with at most so many rows and lines of each list."""
    lines = [f"### {page.title}", ""]
    rows = sorted(page.rows, key=lambda row: RANK.index(row.status))
    shown, left = rows[:most], Counter(row.status for row in rows[most:])
    folded = [row for row in shown if row.status == UNCHANGED]
    open_ = [row for row in shown if row.status != UNCHANGED]
    legend = [f"{LEGEND[0]}<br>", LEGEND[1], ""] if page.titles == TITLES else []
    if open_:
        lines += [*table(page.titles, [row.cells for row in open_]), "", *legend]
    if left:
        many = ", ".join(f"{left[status]} {status}" for status in RANK if left[status])
        lines += [f"and {left.total()} more: {many}", ""]
    for title, items in page.lists.items():
        lines += [f"#### {title}", "", *(f"- {item}" for item in items[:listed])]
        if len(items) > listed:
            lines.append(f"- and {len(items) - listed} more")
        lines.append("")
    lines += _sides(page.sides, most * TABLES // ROWS)
    if folded:
        every = sum(row.status == UNCHANGED for row in page.rows)
        lines += [
            f"<details><summary>{every} unchanged</summary>", "",
            *table(page.titles, [row.cells for row in folded]), "",
            *([] if open_ else legend), "</details>", "",
        ]  # fmt: skip
    lines += [line for note in page.notes for line in (note, "")]
    return "\n".join(lines).rstrip("\n") + "\n"


def _sides(sides: Mapping[str, Table], most: int) -> Iterator[str]:
    """Interfaces side by side, folded; of many, the first."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for name, told in sides.items():
        alike.setdefault((told.columns, told.rows), []).append(name)
    for names in list(alike.values())[:most]:
        name, told = some(names), sides[names[0]]
        rows = [[prose(one_line(cell, LONG), cell=True) for cell in row] for row in told.rows]
        # An empty title makes a table that not every reader takes for one.
        titles = [prose(title, cell=True) or "&nbsp;" for title in told.columns]
        # A summary is HTML: a name has no sign that would mean anything there.
        yield f"<details><summary>Interface of {name}, side by side</summary>"
        yield from ("", *table(titles, rows[:LISTED]), "")
        if len(rows) > LISTED:
            yield from (f"and {len(rows) - LISTED} more", "")
        yield from ("</details>", "")


def _broken(broken: Broken) -> Page:
    lines = [prose(one_line(line, LONG)) for line in broken.lines]
    return Page("tflbuild: the build did not come to its end", lists={_BROKEN[broken.kind]: lines})


_BROKEN = {"manifest": "The manifest is wrong", "interrupted": "Interrupted",
           "usage": "It cannot be built", "fault": "A fault in tflbuild itself"}  # fmt: skip


def _page(outcome: Outcome, root: Path, until: str) -> Page:
    graph, result = outcome.graph, outcome.result
    assert graph is not None
    assert result is not None
    page = Page("")
    needed = set(graph.needed(outcome.selected))
    told: set[str] = set()  # tasks whose failure a row tells
    if until == "evaluate":
        page.titles = EVALUATED
        page.rows = list(_evaluations(outcome, needed))
        told = {task for task in needed if task.startswith("evaluate:")}
    else:
        last = _last(root, page)
        for artifact in graph.artifacts():
            step = graph.steps[f"release:{artifact}"]
            own = set(graph.needed([step.name]))
            reached = needed & own
            if step.ports[0].task in reached:
                told |= own
                page.rows.append(_row(outcome, step, reached, last, page, until))
        for line, files in page.changes.items():
            pairs = some([code(name) for name in files])
            page.lists.setdefault("Interface changes", []).append(f"{pairs}: {line}")
        if told_of := list(_benchmarks(outcome, needed)):
            page.lists["Benchmarks"] = told_of
        _gone(outcome, last, page)
    failed = [task for task, ended in result.outcomes.items() if ended == events.FAILED]
    if other := sorted(set(failed) - told):
        page.lists["Also failed"] = [
            f"{code(task)} {prose(one_line(result.reasons.get(task, 'failed'), LONG))}"
            for task in other
        ]
    if outcome.wrong is not None:
        lines = [prose(one_line(str(error), LONG)) for error in outcome.wrong.errors]
        page.lists["Left out, since the manifest is wrong"] = lines
    page.title = _title(outcome, page.rows, until)
    return page


def _title(outcome: Outcome, rows: Sequence[Row], until: str) -> str:
    count = Counter(row.status for row in rows)
    good = RELEASED if until == "release" else PASSED
    parts = [f"{count[status]} {status}" for status in (good, FAILED, UNCHANGED)]
    if count[NOT_REACHED]:
        parts.append(f"{count[NOT_REACHED]} {NOT_REACHED}")
    said = "tflbuild, interrupted" if outcome.done.interrupted else "tflbuild"
    return f"{said}: {', '.join(parts)} in {outcome.done.seconds:.1f} s"


def _last(root: Path, page: Page) -> Mapping[str, Locked]:
    """The last release, and in words why there is none."""
    try:
        last = read(root)
    except UsageError as error:
        page.notes.append(f"Nothing is compared: {prose(one_line(error, LONG))}")
        return {}
    if not last:
        page.notes.append(f"No last release to compare with: there is no `{LOCK}`.")
    return last


def some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more


def _benchmarks(outcome: Outcome, needed: set[str]) -> Iterator[str]:
    """A line for each model that was measured."""
    graph, result = outcome.graph, outcome.result
    assert graph is not None
    assert result is not None
    for task in sorted(task for task in needed if task.startswith("benchmark:")):
        if task not in result.measured:
            continue
        asked = graph.steps[task].model.benchmark
        parts = ratio_parts(result.measured[task], asked.max_ratio if asked else ())
        warned = result.verdicts[task].warnings if task in result.verdicts else []
        parts += [f"warning: {beginning(finding.message, LONG)}" for finding in warned]
        if parts:
            yield f"{code(graph.steps[task].model.name)} {'; '.join(map(prose, parts))}"


def _gone(outcome: Outcome, last: Mapping[str, Locked], page: Page) -> None:
    """What was released last and no manifest has any more."""
    assert outcome.graph is not None
    models = outcome.graph.workspace.models
    wanted = {str(artifact) for model in models for artifact in artifacts_of(model)}
    if gone := [name for name in last if name not in wanted]:
        page.lists["Gone since the last release"] = [code(name) for name in gone]


def _row(
    outcome: Outcome,
    step: Step,
    reached: set[str],
    last: Mapping[str, Locked],
    page: Page,
    until: str,
) -> Row:
    graph, result = outcome.graph, outcome.result
    assert graph is not None
    assert result is not None
    artifact = step.artifact
    name = str(artifact)
    locked = last.get(name)
    reasons = blockers(graph, result, step)
    known = numbers(graph, result, step)
    model = step.model
    optimization = next(o for o in model.optimizations if o.name == artifact.optimization)
    known = replace(known, metrics=tuple(in_order(model, optimization, known.metrics)))
    cells = _compared(known, locked, step, graph.workspace.targets[artifact.target].min_runtime)
    if reasons:
        status = FAILED
    elif not all(result.passed(task) for task in reached):
        status = NOT_REACHED
    elif locked is not None:
        same = known.sha256 == locked.sha256 and not any(changed for _, changed in cells)
        status = UNCHANGED if same else _good(until)
    else:
        old = result.outcomes.get(step.name) == events.UP_TO_DATE
        status = UNCHANGED if old and not last else _good(until)
    told = _interface(outcome, step, page)
    pair = f"{artifact.model}:{artifact.optimization}"  # targets share what they validate
    for line in told:
        if pair not in (files := page.changes.setdefault(prose(beginning(line, LONG)), [])):
            files.append(pair)
    said = f"**{status}**" if status == FAILED else status
    if status == FAILED and name in outcome.released:
        said += ", stale"
    note = _reasons(outcome, reasons) if reasons else _note(
        locked is None and bool(last), bool(told), warnings(graph, result, step)
    )  # fmt: skip
    names = (artifact.model, artifact.optimization, artifact.target)
    return Row(
        status,
        (*(code(each, cell=True) for each in names), said, *(cell for cell, _ in cells), note),
    )


def _good(until: str) -> str:
    return RELEASED if until == "release" else PASSED


def _interface(outcome: Outcome, step: Step, page: Page) -> list[str]:
    """What gates say of interfaces, failures and what is allowed; side by side, onto the page."""
    assert outcome.result is not None
    assert outcome.graph is not None
    verdicts = outcome.result.verdicts
    said: list[str] = []
    for task in outcome.graph.needed([step.name]):
        if (verdict := verdicts.get(task)) is None:
            continue
        said += [f.message for f in verdict.findings if f.check.partition(".")[0] == INTERFACE]
        for told in verdict.tables:
            if told.check == INTERFACE:
                page.sides.setdefault(str(step.artifact).partition("@")[0], told)
    return said


def _reasons(outcome: Outcome, lines: Sequence[str]) -> str:
    """The first of the reasons, each `task: message`; how many more there are, and where."""
    graph, result = outcome.graph, outcome.result
    assert graph is not None
    assert result is not None
    changed = {
        f"{task}: {finding.message}"
        for task, verdict in result.verdicts.items()
        for finding in verdict.failures
        if finding.check.partition(".")[0] == INTERFACE
    }
    rest = [line for line in lines if line not in changed]
    parts = [CHANGED] if len(rest) < len(lines) else []
    if rest:
        task, _, message = rest[0].partition(": ")
        shown = beginning(message, LONG) if task in result.verdicts else both_ends(message, LONG)
        parts.append(f"{code(task, cell=True)} {prose(shown, cell=True)}")
    text = "; ".join(parts)
    if len(rest) < 2:
        return text
    tasks = {line.partition(": ")[0] for line in rest}
    report = graph.steps[tasks.pop()].report if len(tasks) == 1 else None
    where = f"{graph.workspace.build_dir}/reports/{report or 'summary.json'}"
    return f"{text} (+{len(rest) - 1} more in {code(where, cell=True)})"


def _note(new: bool, changed: bool, warned: Sequence[str]) -> str:
    parts = ["new"] if new else []
    if changed:
        parts.append(CHANGED)
    if warned:
        parts.append(f"{len(warned)} warning{'s' if len(warned) > 1 else ''}")
    return ", ".join(parts)


# numbers, each with whether it differs from that of the last release


def _compared(
    known: Numbers, locked: Locked | None, step: Step, asked: tuple[str, str] | None
) -> list[tuple[str, bool]]:
    return [
        _size(known.size, locked.size if locked else None),
        _metrics(known, locked, len(step.model.signatures) > 1),
        _sqnr(known, locked),
        _runtime(known, locked, asked[0] if asked else "tensorflow"),
    ]


def _size(now: int | None, last: int | None) -> tuple[str, bool]:
    if now is None:
        return "", False
    if last is None or now == last:
        return size(now), False
    share = f", {_signed((now - last) / last * 100, '.1f')}%" if last else ""
    sign = "+" if now > last else MINUS
    return f"{size(now)} ({sign}{size(abs(now - last))}{share})", True


def _metrics(known: Numbers, locked: Locked | None, several: bool) -> tuple[str, bool]:
    """The first one with its interval, and the others in short."""
    if not known.metrics:
        return "", False
    shown = [
        _metric(metric, locked, several, short=index > 0)
        for index, metric in enumerate(known.metrics)
    ]
    parts = [text for text, _ in shown[: OTHERS + 1]]
    if len(shown) > len(parts):
        parts.append(f"{len(shown) - len(parts)} more")
    return ", ".join(parts), any(changed for _, changed in shown)


def _metric(
    metric: Mapping[str, Any], locked: Locked | None, several: bool, short: bool
) -> tuple[str, bool]:
    value, name = metric["file"], one_line(str(metric["name"]), 60)
    if short and several:
        name = one_line(metric_key(str(metric.get("signature", "")), name, several), 60)
    if value is None:
        return f"{code(name, cell=True)} ?", False
    form = ".4f" if 1e-3 <= abs(value) < 100 else ".4g"  # accuracies stand below each other
    text, changed = f"{code(name, cell=True)} {value:{form}}", False
    key = metric_key(str(metric.get("signature", "")), str(metric["name"]), several)
    if locked is not None and key in locked.metrics:
        text, changed = _against(text, rounded(value) - locked.metrics[key], form)
    interval = metric.get("interval")
    if not short and interval and None not in interval:
        text += f" [{interval[0]:{form}}, {interval[1]:{form}}]"
    return text, changed


def _sqnr(known: Numbers, locked: Locked | None) -> tuple[str, bool]:
    """Of the worst output."""
    if not known.parity:
        return "", False
    values = [p["sqnr"] for p in known.parity if p.get("sqnr") is not None]
    text = f"{min(values):.1f} dB" if values else _without(known)
    if locked is None:
        return text, False
    if values and locked.parity:
        return _against(text, rounded(min(values)) - min(locked.parity.values()), ".1f")
    if values or locked.parity:
        last = f"{min(locked.parity.values()):.1f} dB" if locked.parity else "exact"
        return f"{text} (was {last})", True
    return text, False


def _without(known: Numbers) -> str:
    """No output has a number: they are equal to the source's, or none is."""
    return "exact" if all(output.get("equal") for output in known.parity) else "?"


def _runtime(known: Numbers, locked: Locked | None, numbering: str) -> tuple[str, bool]:
    if numbering not in known.min_runtime:
        return "", False
    now = known.min_runtime[numbering]
    text = f"{numbering} {now or 'unknown'}"
    last = locked.min_runtime.get(numbering) if locked else None
    if locked is None or last == now:
        return prose(text, cell=True), False
    return prose(f"{text} (was {last or 'unknown'})", cell=True), True


def _against(text: str, difference: float, form: str) -> tuple[str, bool]:
    shown = _signed(difference, form)
    if not any(digit in shown for digit in "123456789"):
        return text, False
    return f"{text} ({shown})", True


def _signed(value: float, form: str) -> str:
    """With its sign, and without the noise of binary fractions."""
    return f"{round(value, 10):+{form}}".replace("-", MINUS)


# evaluation alone


def _evaluations(outcome: Outcome, needed: set[str]) -> Iterator[Row]:
    graph, result = outcome.graph, outcome.result
    assert graph is not None
    assert result is not None
    for name in sorted(task for task in needed if task.startswith("evaluate:")):
        model = graph.steps[name].model.name
        own = result.verdicts.get(name)
        if own is None:
            ended = result.outcomes.get(name)
            reason = result.reasons.get(name, "")
            status = FAILED if ended == events.FAILED else NOT_REACHED
            yield _evaluated(model, "", status, {}, prose(one_line(reason, LONG), cell=True))
            continue
        measured = result.measured.get(name, {})
        limits = [f.message for f in own.failures if f.check.startswith("evaluate.")]
        for target, verdict in sorted(result.fits.get(model, {}).items()):
            reasons = [*(f.message for f in verdict.failures), *limits]
            note = prose(one_line(reasons[0], LONG), cell=True) if reasons else ""
            more = f" (+{len(reasons) - 1} more)" if len(reasons) > 1 else ""
            yield _evaluated(model, target, FAILED if reasons else PASSED, measured, note + more)


def _evaluated(
    model: str, target: str, status: str, measured: Mapping[str, object], note: str
) -> Row:
    def count(name: str, show: Callable[[int], str] = amount) -> str:
        value = measured.get(name)
        return show(value) if isinstance(value, int) else ""

    said = f"**{status}**" if status == FAILED else status
    cells = (code(model, cell=True), code(target, cell=True), said, count("params"), count("macs"))
    return Row(status, (*cells, note))


__all__ = ["summary"]
