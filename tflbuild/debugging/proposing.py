"""Which operators to keep float: what to try, in which order, and what is left in the end.

A layer is worse the lower its own SQNR is. One whose weights lose too much is kept float alone. A
range that is wrong is undone only where everything that writes or reads it is float: then the
group is the layer, those that carry its range on, and their readers. The same for the range of an
input.

The search asks `attempt`, which converts and judges: the worst group, the worst 2, 4, 8, …, all;
then, between the last list that did not pass and the first that did, and without each operator
that may not be needed. It ends with its tries or its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tflbuild.debugging.sums import EXACT, UNKNOWN
from tflbuild.manifest.model import Optimization
from tflbuild.optimizations import QUANTIZATIONS
from tflbuild.optimizations.base import AI_EDGE

Place = tuple[int, int]  # subgraph, operator of the quantized file

TRIES = 16
# Moved as they are: a file that has these alone in integers counts as not quantized
# (`tflite/checks.py`).
MOVES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "IDENTITY"})


def refusal(optimization: Optimization) -> str:
    """Why this optimization takes no `keep_float`, and what does; "" when it takes it."""
    quantize, quantizer = optimization.quantize, optimization.quantizer
    if "keep_float" not in QUANTIZATIONS[quantize].QUANTIZERS.get(quantizer, ()):
        able = AI_EDGE in QUANTIZATIONS[quantize].QUANTIZERS
        other = f"; with quantizer: {AI_EDGE} it does" if able else ""
        return f"quantize: {quantize} with quantizer: {quantizer} takes no keep_float{other}"
    if optimization.settings.get("float_ops") == "forbid":
        return "float_ops: forbid takes no keep_float beside it"
    return ""


@dataclass(frozen=True)
class Group:
    """What is kept float together, and the SQNR (dB) of what that undoes."""

    sqnr: float
    places: frozenset[Place]


def worst_first(layers: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """By own SQNR; then by the accumulated one. Exact and unknown ones come last."""
    return sorted(layers, key=lambda layer: (_number(layer), _accumulated(layer)))


def _number(layer: Mapping[str, Any]) -> float:
    number = layer["own_sqnr"]
    if number is not None:
        return float(number)
    return 2e3 if layer["own"] == UNKNOWN else 1e3


def _accumulated(layer: Mapping[str, Any]) -> float:
    number = layer["accumulated_sqnr"]
    return 1e3 if number is None else float(number)


def groups(signatures: Sequence[Mapping[str, Any]]) -> list[Group]:
    """What to keep float, worst first, of all signatures together."""
    found: dict[frozenset[Place], float] = {}

    def add(sqnr: float, places: Iterable[Place]) -> None:
        wanted = frozenset(place for place in places if place in able)
        if wanted:
            found[wanted] = min(sqnr, found.get(wanted, sqnr))

    for told in signatures:
        layers = {(x["subgraph"], x["index"]): x for x in told["layers"]}
        able = {place for place, x in layers.items() if x["quantized"] and x["name"]}
        for place, layer in layers.items():
            if not layer["quantized"] or layer["own"] in (EXACT, UNKNOWN):
                continue
            chain = _reach(layers, [place]) if layer["cause"] == "range" else [place]
            add(_number(layer), chain)
        for entry in told["inputs"]:
            if entry["sqnr"] is None or not layers:
                continue
            subgraph = next(iter(layers))[0]
            first = [(subgraph, index) for index in entry["readers"]]
            add(entry["sqnr"], [p for i in first for p in _carried(layers, i)])
    return sorted(
        (Group(sqnr, places) for places, sqnr in found.items()),
        key=lambda group: (group.sqnr, sorted(group.places)),
    )


def _reach(layers: Mapping[Place, Mapping[str, Any]], first: list[Place]) -> list[Place]:
    """Operators, and all that read their range."""
    reached = list(first)
    for place in first:
        for index in layers[place]["readers"]:
            reached += _carried(layers, (place[0], index))
    return reached


def _carried(layers: Mapping[Place, Mapping[str, Any]], place: Place) -> list[Place]:
    """An operator that reads a range, and where it carries it on, all that read it there."""
    seen: dict[Place, None] = {}
    todo = [place]
    while todo:
        here = todo.pop()
        if here in seen or here not in layers:
            continue
        seen[here] = None
        if layers[here]["passes_range"]:
            todo += [(here[0], index) for index in layers[here]["readers"]]
    return list(seen)


def harmless_first(signatures: Sequence[Mapping[str, Any]]) -> list[Place]:
    """The operators that lose least where they alone stay quantized: ends and own error."""
    scores: list[tuple[float, Place]] = []
    for told in signatures:
        for layer in told["layers"]:
            if layer["quantized"] and layer["name"] and layer["op"] not in MOVES:
                ends = [layer[k] for k in ("entering_sqnr", "range_sqnr", "kernel_sqnr")]
                known = [float(n) for n in ends if n is not None]
                score = min(known, default=-1e3 if layer["own"] == UNKNOWN else 1e3)
                scores.append((-score, (layer["subgraph"], layer["index"])))
    return [place for _, place in sorted(scores)]


@dataclass(frozen=True)
class Try:
    """One list, converted and judged."""

    places: frozenset[Place]
    passed: bool
    score: float  # the lowest SQNR of an output, dB; what tells lists apart that do not pass
    told: Mapping[str, Any] = field(default_factory=dict)  # JSON for the report


Attempt = Callable[[frozenset[Place]], Try]


@dataclass
class Search:
    """Asks `attempt`, each list once, as long as there are tries and time."""

    attempt: Attempt
    tries: int
    deadline: float  # of time.monotonic
    made: dict[frozenset[Place], Try] = field(default_factory=dict)

    @property
    def spent(self) -> bool:
        return len(self.made) >= self.tries or time.monotonic() > self.deadline

    def ask(self, places: frozenset[Place]) -> bool:
        """Whether it passes; False too when nothing more may be tried."""
        if places not in self.made:
            if self.spent or not places:
                return False
            self.made[places] = self.attempt(places)
        return self.made[places].passed

    @property
    def best(self) -> Try | None:
        """The shortest that passes, else the one with the highest SQNR."""
        passing = [t for t in self.made.values() if t.passed]
        if passing:
            return min(passing, key=lambda t: (len(t.places), -t.score))
        return max(self.made.values(), key=lambda t: (t.score, -len(t.places)), default=None)


def search(
    signatures: Sequence[Mapping[str, Any]],
    attempt: Attempt,
    tries: int = TRIES,
    seconds: float = 1800.0,
) -> Search:
    """Look for the smallest list that passes."""
    run = Search(attempt, tries, time.monotonic() + seconds)
    ranked = groups(signatures)
    harmless = harmless_first(signatures)
    every = frozenset(
        (x["subgraph"], x["index"]) for told in signatures for x in told["layers"]
        if x["quantized"] and x["name"]
    )  # fmt: skip
    unions = list(_unions(ranked))
    tops = sorted({min(2**power, len(unions)) for power in range(len(unions).bit_length() + 1)})
    failed, passed = 0, 0
    for top in tops if unions else ():
        if _whole(unions[top - 1], every, harmless):
            break
        if run.ask(unions[top - 1]):
            passed = top
            break
        failed = top
    while passed and passed - failed > 1 and not run.spent:
        middle = (passed + failed) // 2
        if run.ask(unions[middle - 1]):
            passed = middle
        else:
            failed = middle
    if not passed:
        # Something has to stay quantized: whatever harms least.
        next((x for x in harmless if run.ask(every - {x})), None)
    _shrink(run, [x for group in ranked for x in sorted(group.places)])
    return run


def _whole(places: frozenset[Place], every: frozenset[Place], harmless: Sequence[Place]) -> bool:
    """Nothing that counts would be left to quantize."""
    return not (every - places) & set(harmless)


def _unions(ranked: Sequence[Group]) -> Iterator[frozenset[Place]]:
    """The worst group, the worst two, …; those that bring nothing new left out."""
    taken: frozenset[Place] = frozenset()
    for group in ranked:
        if not group.places <= taken:
            taken |= group.places
            yield taken


def _shrink(run: Search, ranked: Sequence[Place]) -> None:
    """Take out of the list that passes what it passes without, the least bad first."""
    best = run.best
    if best is None or not best.passed:
        return
    kept = best.places
    order = {place: number for number, place in reversed(list(enumerate(ranked)))}
    for place in sorted(kept, key=lambda p: -order.get(p, len(ranked))):
        if len(kept) > 1 and run.ask(kept - {place}):
            kept = kept - {place}


def yaml_lines(optimization: str, settings: Mapping[str, Any]) -> list[str]:
    """What to paste below `optimizations`, as YAML."""
    lines = [f"{optimization}:"]
    for key, value in settings.items():
        if isinstance(value, list):
            lines.append(f"  {key}: [{', '.join(map(quoted, value))}]")
        else:
            lines.append(f"  {key}: {quoted(str(value))}")
    return lines


def quoted(name: str) -> str:
    """A name as YAML: plain where that is safe."""
    import json
    import re

    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", name)
    words = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
    return name if plain and name.lower() not in words else json.dumps(name, ensure_ascii=False)
