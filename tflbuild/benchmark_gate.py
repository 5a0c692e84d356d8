"""The gate of benchmark: ratios of files that were measured in one run, and nothing absolute.

A ratio is known only within an interval. A limit is missed when the whole interval lies above it;
one within the interval is a warning, since another run may say the opposite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tflbuild.found import Findings
from tflbuild.manifest.model import Model, RatioLimit
from tflbuild.verdict import Verdict

BUSY = 0.9  # share of the processor below which something else took it
OTHERS = 0.5  # processors that others may keep busy: they share caches and memory
_WORDS = {"time": "time", "memory": "memory"}


@dataclass(frozen=True)
class Ratio:
    """One measured ratio; `where` names its signature where there are several."""

    value: float
    low: float
    high: float
    where: str = ""

    @property
    def text(self) -> str:
        return f"{self.value:.2f}× ({self.low:.2f}–{self.high:.2f})"


def judge(measured: Mapping[str, Any], model: Model) -> Verdict:
    """Every limit of the manifest against each file that it is about."""
    found = Findings()
    again = f"`tflbuild build -B benchmark:{model.name}` measures again"
    for limit in model.benchmark.max_ratio if model.benchmark is not None else ():
        for file, against in _pairs(measured, limit):
            if missing := _unmeasured(measured, (file, against)):
                found.fail(
                    f"benchmark.{file}",
                    f"max_ratio of {file} against {against} cannot be judged: {missing}",
                )
                continue
            for kind, most in (("time", limit.time), ("memory", limit.memory)):
                if most is not None:
                    _number(found, measured, kind, file, against, most, again)
    for warning in dict.fromkeys(measured["warnings"]):
        found.warn("benchmark", warning)
    if busy := _busy(measured):
        found.warn("benchmark.busy", f"the machine was busy with something else: {busy}; {again}")
    return found.verdict()


def _busy(measured: Mapping[str, Any]) -> str:
    """How it shows that others used the machine meanwhile; "" where it does not."""
    shares = [s["cpu_share"] for s in measured["signatures"] if s["cpu_share"] is not None]
    if shares and min(shares) < BUSY:
        return f"the measurement had {min(shares):.0%} of a core"
    others = measured["others"]
    if others is not None and others > OTHERS:
        return f"other processes kept {others:.1f} cores busy"
    return ""


def _number(
    found: Findings,
    measured: Mapping[str, Any],
    kind: str,
    file: str,
    against: str,
    most: float,
    again: str,
) -> None:
    check = f"benchmark.{file}.{kind}"
    ratios = list(_ratios(measured, kind, file, against))
    if not ratios:
        found.fail(check, f"{kind} of {file} cannot be judged: the system does not say what it is")
    for ratio in ratios:
        of = f"{against}{ratio.where}"
        words = f"{file} takes {ratio.text} the {_WORDS[kind]} of {of}"
        if ratio.low > most:
            found.fail(check, f"{words}, max_ratio is {most:g}; {again}", of)
        elif ratio.high > most:
            unknown = (
                f"{words}: the limit {most:g} lies within the interval, so this run cannot tell;"
                " more `repeats`, or a quiet machine, would"
            )
            found.warn(check, unknown, of)
            found.skip(check, unknown, of)
        else:
            found.check(check, f"{words}, max_ratio is {most:g}", of)


def _ratios(measured: Mapping[str, Any], kind: str, file: str, against: str) -> Iterator[Ratio]:
    if kind == "memory":
        yield from _picked(measured["memory_ratios"], file, against)
        return
    signatures = measured["signatures"]
    for signature in signatures:
        where = f" in signature {signature['signature']!r}" if len(signatures) > 1 else ""
        yield from _picked(signature["ratios"], file, against, where)


def _picked(
    ratios: Sequence[Mapping[str, Any]], file: str, against: str, where: str = ""
) -> Iterator[Ratio]:
    for entry in ratios:
        if (entry["file"], entry["against"]) == (file, against):
            yield Ratio(entry["ratio"], entry["low"], entry["high"], where)


def _pairs(measured: Mapping[str, Any], limit: RatioLimit) -> Iterator[tuple[str, str]]:
    """The files that a limit is about: one for each converter profile, against the other's of the
    same profile where there is one."""
    names = [file["file"] for file in measured["files"]]
    others = [n for n in names if n.partition("+")[0] == limit.against]
    for name in names:
        optimization, plus, profile = name.partition("+")
        if optimization == limit.optimization:
            same = f"{limit.against}{plus}{profile}"
            yield name, same if same in others or not others else others[0]


def _unmeasured(measured: Mapping[str, Any], names: Sequence[str]) -> str:
    for file in measured["files"]:
        if file["file"] in names and file["unmeasured"]:
            return f"{file['file']} is not measured: {file['unmeasured']}"
    return ""


def lines(measured: Mapping[str, Any], against: Sequence[str] = ()) -> list[str]:
    """The measurement in short: a line for each signature, and one for memory.

    Args:
        measured: the report of the stage.
        against: files that others are compared with, those that limits name first; the first file
            that was measured where there are none.
    """
    settings = measured["settings"]
    how = f"{settings['threads']} thread{'s' if settings['threads'] > 1 else ''}, "
    how += "xnnpack" if settings["delegate"] == "xnnpack" else "no delegate"
    told = []
    several = len(measured["signatures"]) > 1
    for signature in measured["signatures"]:
        names = [file["file"] for file in signature["files"]]
        base = next((name for name in (*against, *names) if name in names), "")
        ratios = {r["file"]: r for r in signature["ratios"] if r["against"] == base}
        parts = [_time(file, ratios.get(file["file"]), base) for file in signature["files"]]
        if covered := _covered(signature["files"]):
            parts.append(covered)
        where = f" of {signature['signature']}" if several else ""
        data = "" if signature["representative"] else ", random inputs"
        if parts:
            told.append(f"time{where} ({how}{data}): {'; '.join(parts)}")
    memory = [file for file in measured["files"] if file.get("memory")]
    if memory:
        told.append("memory: " + "; ".join(map(_memory, memory)))
    return told


def _covered(files: Sequence[Mapping[str, Any]]) -> str:
    """How far the times of operators explain the whole: "operators add up to 91–95 %"."""
    known = [file["per_op"] for file in files if file["per_op"] is not None]
    if not known:
        return ""
    shares = sorted(round(100 * entry["covered"]) for entry in known)
    slowed = max(entry["slowed"] for entry in known)
    span = f"{shares[0]} %" if shares[0] == shares[-1] else f"{shares[0]}–{shares[-1]} %"
    return f"operators add up to {span} (timing them: {slowed:.2f}×)"


def _time(file: Mapping[str, Any], ratio: Mapping[str, Any] | None, base: str) -> str:
    numbers = file["ms"]
    text = shown_time(numbers["median"], (numbers["q3"] - numbers["q1"]) / 2)
    if ratio is None:
        return f"{file['file']} {text}"
    shown = Ratio(ratio["ratio"], ratio["low"], ratio["high"])
    times, interval = shown.text.split(" ")
    return f"{file['file']} {times} of {base} {interval}, {text}"


def _memory(file: Mapping[str, Any]) -> str:
    from tflbuild.verdict import size

    memory = file["memory"]
    heap = "" if memory["heap"] is None else f"heap {size(memory['heap'])} + "
    return f"{file['file']} {heap}file {size(memory['file'])}"


def shown_time(median: float, spread: float) -> str:
    """Milliseconds for people: "1.32 ms ± 0.05"."""
    unit, factor = ("ms", 1.0) if median >= 1 else ("µs", 1000.0)
    return f"{three_digits(median * factor)} {unit} ± {float(f'{spread * factor:.1g}'):g}"


def three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{float(f'{value:.3g}'):g}"
