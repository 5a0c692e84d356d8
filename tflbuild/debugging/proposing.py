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

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tflbuild.debugging.sums import EXACT, UNKNOWN
from tflbuild.manifest.model import Optimization
from tflbuild.optimizations import QUANTIZATIONS
from tflbuild.optimizations.base import AI_EDGE
from tflbuild.verdict import Verdict

Place = tuple[int, int]  # subgraph, operator of the quantized file

TRIES = 16
ALMOST_ALL = 6  # lists of all operators but one that are tried where shorter ones do not pass
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


# Checks of validate that numbers decide, which other operators may change.
NUMBERS = ("parity.", "metrics.", "golden.")


def beyond(verdict: Verdict) -> str:
    """The first failure, where none is of numbers that an operator in float could mend; "" where
    one is."""
    failures = verdict.failures
    if not failures or any(f.check.startswith(NUMBERS) for f in failures):
        return ""
    return f"keep_float mends no such failure: {failures[0].message}"


def open_to(
    signatures: Sequence[Mapping[str, Any]], optimization: Optimization
) -> list[dict[str, Any]]:
    """The layers as they may be kept float: ai-edge-quantizer gives an integer output to integer
    operators alone."""
    integer = optimization.quantizer == AI_EDGE and optimization.io != "float32"

    def named(layer: Mapping[str, Any]) -> dict[str, Any]:
        return {**layer, "name": "" if integer and layer["writes_output"] else layer["name"]}

    return [{**told, "layers": [named(x) for x in told["layers"]]} for told in signatures]


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
        for place, layer in layers.items():
            if layer["quantized"] and layer["rounded_sqnr"] is not None:
                add(layer["rounded_sqnr"], [place, *_sources(layers, place)])
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


def _sources(layers: Mapping[Place, Mapping[str, Any]], place: Place) -> list[Place]:
    """All that shares the ranges which an operator reads: who made them, who carries them on, and
    who else reads them."""
    found: dict[Place, None] = {}
    todo = [(place[0], index) for index in layers[place]["writers"]]
    while todo:
        here = todo.pop()
        if here in found or here not in layers:
            continue
        found[here] = None
        if layers[here]["passes_range"] or not layers[here]["quantized"]:
            todo += [(here[0], index) for index in layers[here]["writers"]]
    return [other for here in list(found) for other in _reach(layers, [here])]


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
        if layers[here]["passes_range"] or not layers[here]["quantized"]:
            todo += [(here[0], index) for index in layers[here]["readers"]]
    return list(seen)


def harmless_first(signature: Mapping[str, Any]) -> list[Place]:
    """The operators of a signature that lose least where they alone stay quantized: by what they
    read, what they write, and by themselves."""
    scores: list[tuple[float, Place]] = []
    for layer in signature["layers"]:
        if layer["quantized"] and layer["name"] and layer["op"] not in MOVES:
            numbers = [layer[k] for k in ("rounded_sqnr", "range_sqnr", "kernel_sqnr")]
            known = [float(n) for n in numbers if n is not None]
            score = min(known, default=-1e3 if layer["own"] == UNKNOWN else 1e3)
            scores.append((-score, (layer["subgraph"], layer["index"])))
    return [place for _, place in sorted(scores)]


def spared(places: frozenset[Place], harmless: Sequence[Sequence[Place]]) -> frozenset[Place]:
    """Without the most harmless operator of each signature of which nothing else would be left
    to quantize: such a file is refused."""
    for own in harmless:
        if own and places.issuperset(own):
            places -= {own[0]}
    return places


def settled(places: frozenset[Place], signatures: Sequence[Mapping[str, Any]]) -> frozenset[Place]:
    """Without the operators that only carry the range of a quantized one on: TensorFlow's quantizer
    quantizes them all the same, and that is refused. They lose nothing themselves."""
    layers = {(x["subgraph"], x["index"]): x for told in signatures for x in told["layers"]}

    def floats(place: Place) -> bool:
        return place in kept or place not in layers or not layers[place]["quantized"]

    kept = places
    while True:
        carried = {
            place for place in kept
            if layers[place]["passes_range"] and layers[place]["writers"]
            and not all(floats((place[0], index)) for index in layers[place]["writers"])
        }  # fmt: skip
        if not carried:
            return kept
        kept -= carried


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
    settle: Callable[[frozenset[Place]], frozenset[Place]] = frozenset  # what a list comes to
    made: dict[frozenset[Place], Try] = field(default_factory=dict)

    @property
    def spent(self) -> bool:
        return len(self.made) >= self.tries or time.monotonic() > self.deadline

    def ask(self, places: frozenset[Place]) -> bool:
        """Whether it passes; False too when nothing more may be tried."""
        places = self.settle(places)
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
    run = Search(attempt, tries, time.monotonic() + seconds, lambda p: settled(p, signatures))
    ranked = groups(signatures)
    harmless = [harmless_first(told) for told in signatures]
    unions = list(_unions(ranked))
    tops = sorted({min(2**power, len(unions)) for power in range(len(unions).bit_length() + 1)})
    failed, passed = 0, 0
    for top in tops if unions else ():
        if run.ask(spared(unions[top - 1], harmless)):
            passed = top
            break
        failed = top
    while passed and passed - failed > 1 and not run.spent:
        middle = (passed + failed) // 2
        if run.ask(spared(unions[middle - 1], harmless)):
            passed = middle
        else:
            failed = middle
    if not passed:
        next((places for places in _almost_all(signatures, harmless) if run.ask(places)), None)
    _shrink(run, [x for group in ranked for x in sorted(group.places)])
    return run


def _almost_all(
    signatures: Sequence[Mapping[str, Any]], harmless: Sequence[Sequence[Place]]
) -> Iterator[frozenset[Place]]:
    """All operators but one of each signature, since something has to stay quantized: whatever
    harms least."""
    every = frozenset(
        (x["subgraph"], x["index"]) for told in signatures for x in told["layers"]
        if x["quantized"] and x["name"]
    )  # fmt: skip
    longest = max(map(len, harmless), default=0)
    for number in range(min(ALMOST_ALL, longest)):
        yield every - {own[min(number, len(own) - 1)] for own in harmless if own}


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
        if len(kept) > 1 and place in kept and run.ask(kept - {place}):
            kept = run.settle(kept - {place})


def yaml_line(optimization: str, settings: Mapping[str, Any]) -> str:
    """A whole optimization as one line of a manifest."""
    return f"{optimization}: {_flow(settings)}"


def _flow(value: Any) -> str:
    """A value of a manifest in YAML's flow style. Its depth is that of a manifest."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{quoted(str(k))}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value))


def brief(reason: str) -> str:
    """The number and the limit of a finding, without what it says beside and advises."""
    return re.split(r" \(|; ", reason, maxsplit=1)[0][:200]


def counted(number: int, what: str) -> str:
    """ "1 operator", "2 operators"."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def quoted(name: str) -> str:
    """A name as YAML: plain where that is safe."""
    import json

    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", name)
    words = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
    return name if plain and name.lower() not in words else json.dumps(name, ensure_ascii=False)
