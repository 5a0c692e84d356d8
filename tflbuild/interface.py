"""The interface of a file against that of another: what changed, and what applications see of it.

Interfaces are those of `tflite.interface.of_model`. Nothing here is judged: the gate does that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tflbuild.errors import TaskError
from tflbuild.tflite.interface import MAIN, of_model

# What may differ; the words of `allow_interface_change`.
SIGNATURES = "signatures"
INPUTS = "inputs"  # one more or one less
OUTPUTS = "outputs"
NAMES = "names"
ORDER = "order"
SHAPES = "shapes"
DTYPES = "dtypes"
QUANTIZATION = "quantization"
KINDS = (SIGNATURES, INPUTS, OUTPUTS, NAMES, ORDER, SHAPES, DTYPES, QUANTIZATION)

SIDES = ("inputs", "outputs")
MOST_TOLD = 3  # differences in another message

Tensor = Mapping[str, Any]
Signature = Mapping[str, Any]
Pair = tuple[int | None, int | None]  # positions of one input or output, before and now


@dataclass(frozen=True)
class Difference:
    """One difference. `old` and `new` are None where there is nothing."""

    what: str  # of KINDS
    where: str  # "output 'y'", "the outputs of signature 'decode'"
    old: Any
    new: Any
    said: str  # what changed, in words
    sees: str  # what an application sees of it that binds by name, or by position
    breaks: bool = True  # some application that ran with the old file does not with the new

    @property
    def harmless(self) -> bool:
        """An addition that no application of the last release can come upon: a signature, where
        all had to say which one they run."""
        return self.what == SIGNATURES and self.old is None and not self.breaks

    @property
    def message(self) -> str:
        return f"{self.said}: {self.sees}"

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what, "where": self.where, "old": self.old, "new": self.new,
            "said": self.said, "sees": self.sees, "breaks": self.breaks,
        }  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of two interfaces side by side; "" where one of them has nothing."""

    place: str  # "input", "output", "signature"
    old: str
    new: str
    change: str = ""  # kinds; "" where both are the same


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What differs between two interfaces, in the order of the old one. Equal ones: nothing."""
    if old == new:
        return ()
    found: list[Difference] = []
    before, after = old["signatures"], new["signatures"]
    several = len(before) > 1 or len(after) > 1
    for was, now in _signatures(before, after):
        if now is None:
            assert was is not None
            found.append(_gone(was))
        elif was is None:
            found.append(_added(now, before))
        else:
            if was["name"] != now["name"]:
                found.append(_renamed_signature(was, now))
            elif was["main"] != now["main"]:
                found.append(_moved(was, now))
            of = f" of signature {now['name']!r}" if several and now["name"] != MAIN else ""
            for side in SIDES:
                found += _side(side.removesuffix("s"), was[side], now[side], of)
    return tuple(found)


@contextmanager
def told_with(last: Iterable[Mapping[str, Any]], now: Mapping[str, Any]) -> Iterator[None]:
    """TaskErrors end with how an interface differs from those of the last release: a golden test
    or a metric that names an output fails by a new name before any gate can tell of it. Scales and
    order are left out: nobody who binds by name fails by them."""
    lost = dict.fromkeys(
        change.said
        for old in last
        for change in differences(old, now)
        if change.what not in (QUANTIZATION, ORDER)
    )
    said = "; ".join([*lost][:MOST_TOLD])
    try:
        yield
    except TaskError as error:
        if said:
            error.args = (f"{error}; against the last release: {said}",)
        raise


def side_by_side(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Row, ...]:
    """Both interfaces, what belongs together in one row; those of one signature stand below its
    name where there are several, or names to compare."""
    before, after = old["signatures"], new["signatures"]
    several = len(before) > 1 or len(after) > 1
    rows: list[Row] = []
    for was, now in _signatures(before, after):
        title, renamed = _title(was), _title(now)
        if several or title != renamed:
            change = SIGNATURES if title != renamed else ""
            rows.append(Row("signature", title, renamed, change))
        for side in SIDES:
            ours: Sequence[Tensor] = () if was is None else was[side]
            theirs: Sequence[Tensor] = () if now is None else now[side]
            pairs = _pairs(ours, theirs)
            moved = _moved_ones(pairs)
            for i, j in pairs:
                rows.append(Row(
                    side.removesuffix("s"),
                    "" if i is None else f"{i} {show(ours[i])}",
                    "" if j is None else f"{j} {show(theirs[j])}",
                    ", ".join(_kinds(side, ours, theirs, i, j, moved)) if was and now else "",
                ))  # fmt: skip
    return tuple(rows)


@dataclass(frozen=True)
class Together:
    """Two signatures that belong together, and their inputs and outputs, by position in each."""

    old: Signature
    new: Signature
    inputs: tuple[Pair, ...]
    outputs: tuple[Pair, ...]


def together(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Together, ...]:
    """The signatures that both interfaces have, by whatever name."""
    return tuple(
        Together(was, now, *(tuple(_pairs(was[side], now[side])) for side in SIDES))
        for was, now in _signatures(old["signatures"], new["signatures"])
        if was is not None and now is not None
    )


def show(tensor: Tensor) -> str:
    """`x float32[1,28,28,1]`, `y int8[1,10] scale 0.00390625 zero point -128`."""
    sizes = ",".join("?" if size < 0 else str(size) for size in tensor["shape"])
    text = f"{tensor['name']} {tensor['dtype']}[{sizes}]"
    return f"{text} {_scaled(tensor)}" if "scale" in tensor else text


def check(value: Any) -> None:
    """Raises ValueError unless a value read from somewhere has the form of an interface."""
    signatures = value["signatures"] if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(signatures, list) or not signatures:
        raise ValueError("no signatures")
    for entry in signatures:
        if not isinstance(entry, dict) or set(entry) != {"name", "main", *SIDES}:
            raise ValueError("a signature has other keys than name, main, inputs, outputs")
        if not isinstance(entry["name"], str) or not isinstance(entry["main"], bool):
            raise ValueError("a signature's name or main")
        for side in SIDES:
            if not isinstance(entry[side], list):
                raise ValueError(f"{side} of a signature")
            for tensor in entry[side]:
                _check_tensor(tensor)


def _check_tensor(tensor: Any) -> None:
    if not isinstance(tensor, dict) or not {"name", "shape", "dtype"} <= set(tensor):
        raise ValueError("an input or output without name, shape or dtype")
    if set(tensor) - {"name", "shape", "dtype", "scale", "zero_point", "axis"}:
        raise ValueError("an input or output with other keys")
    good = isinstance(tensor["name"], str) and isinstance(tensor["dtype"], str)
    good &= _all(tensor["shape"], int) and _all(tensor.get("zero_point", []), int)
    good &= _all(tensor.get("scale", []), int, float, str) and type(tensor.get("axis", 0)) is int
    good &= ("scale" in tensor) == ("zero_point" in tensor)
    if not good:
        raise ValueError("an input or output with a value of another type")


def _all(value: Any, *types: type) -> bool:
    return isinstance(value, list) and all(type(item) in types for item in value)


# signatures


def _signatures(
    before: Sequence[Signature], after: Sequence[Signature]
) -> list[tuple[Signature | None, Signature | None]]:
    """What belongs together: by name; what is left by equal content, or as the only ones left."""
    left = [one for one in after if one["name"] not in {b["name"] for b in before}]
    pairs: list[tuple[Signature | None, Signature | None]] = []
    lost = [one for one in before if one["name"] not in {a["name"] for a in after}]
    for was in before:
        now = next((one for one in after if one["name"] == was["name"]), None)
        if now is None and left:
            same = next((one for one in left if _content(one) == _content(was)), None)
            if same is None and len(left) == len(lost) == 1 and _counts(left[0]) == _counts(was):
                same = left[0]
            if same is not None:
                left.remove(same)
            now = same
        pairs.append((was, now))
    return [*pairs, *((None, one) for one in left)]


def _content(signature: Signature) -> Any:
    """All but the name, and scales, which each training changes."""
    return [signature["main"], *(
        [(t["name"], t["shape"], t["dtype"]) for t in signature[side]] for side in SIDES
    )]  # fmt: skip


def _counts(signature: Signature) -> tuple[int, int]:
    return len(signature["inputs"]), len(signature["outputs"])


def _title(signature: Signature | None) -> str:
    return "" if signature is None else signature["name"] or "(no signature)"


def _gone(was: Signature) -> Difference:
    return Difference(
        SIGNATURES, f"signature {was['name']!r}", was["name"], None,
        f"signature {was['name']!r} is gone" if was["name"] else
        "the main subgraph is run by no signature any more, and another one is there",
        "an application that runs it fails",
    )  # fmt: skip


def _added(now: Signature, before: Sequence[Signature]) -> Difference:
    """Where there were several, every application that runs signatures names the one it means."""
    lonely = len(before) == 1
    return Difference(
        SIGNATURES, f"signature {now['name']!r}", None, now["name"],
        f"signature {now['name']!r} is new",
        "an application that ran the only signature without naming it must name it now"
        if lonely else "nobody sees it who does not ask for it",
        breaks=lonely,
    )  # fmt: skip


def _renamed_signature(was: Signature, now: Signature) -> Difference:
    old, new = was["name"], now["name"]
    if old == MAIN:
        said = f"the file, which had no signature, has signature {new!r}"
        sees = "an application that binds by position sees nothing; tensors may have other names"
        return Difference(SIGNATURES, "the file", None, new, said, sees)
    said = f"signature {old!r} is now called {new!r}" if new else f"signature {old!r} is gone"
    sees = "an application that asks for it by name fails; by position nothing changes"
    return Difference(SIGNATURES, f"signature {old!r}", old, new or None, said, sees)


def _moved(was: Signature, now: Signature) -> Difference:
    verb = "is no longer" if was["main"] else "is now"
    return Difference(
        ORDER, f"signature {was['name']!r}", was["main"], now["main"],
        f"signature {was['name']!r} {verb} what runs without a signature",
        "an application that binds by position runs another one; by signature nothing changes",
    )  # fmt: skip


# inputs and outputs of one signature


def _pairs(before: Sequence[Tensor], after: Sequence[Tensor]) -> list[Pair]:
    """What belongs together, in the old order, and then what is new: by name; of those left,
    the same but for the name, at the same place first; with other scales in the end."""
    places: dict[str, list[int]] = {}
    for j, tensor in enumerate(after):
        places.setdefault(tensor["name"], []).append(j)
    found: dict[int, int] = {}
    for i, tensor in enumerate(before):
        if same := places.get(tensor["name"]):
            found[i] = same.pop(0)

    def match(alike: Any) -> None:
        lost = [i for i in range(len(before)) if i not in found]
        left = [j for j in range(len(after)) if j not in set(found.values())]
        for i in lost:
            for j in sorted(left, key=lambda j: (j != i, j)):
                if alike(i, j):
                    found[i] = j
                    left.remove(j)
                    break

    match(lambda i, j: i == j and _form(before[i]) == _form(after[j]))
    match(lambda i, j: _form(before[i]) == _form(after[j]))
    match(lambda i, j: i == j and _plain(before[i]) == _plain(after[j]))
    new = [j for j in range(len(after)) if j not in set(found.values())]
    return [*((i, found.get(i)) for i in range(len(before))), *((None, j) for j in new)]


def _form(tensor: Tensor) -> Any:
    return (_plain(tensor), tensor.get("scale"), tensor.get("zero_point"), tensor.get("axis"))


def _plain(tensor: Tensor) -> Any:
    return tensor["shape"], tensor["dtype"]


def _moved_ones(pairs: Iterable[Pair]) -> frozenset[int]:
    """The old positions of those that come in another order, seen without what came or went."""
    both = [(i, j) for i, j in pairs if i is not None and j is not None]
    ranked = {j: rank for rank, j in enumerate(sorted(j for _, j in both))}
    return frozenset(i for rank, (i, j) in enumerate(both) if ranked[j] != rank)


def _kinds(
    side: str,
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    i: int | None,
    j: int | None,
    moved: frozenset[int],
) -> list[str]:
    if i is None or j is None:
        return [f"{side.removesuffix('s')} {'new' if i is None else 'gone'}"]
    was, now = before[i], after[j]
    return [
        kind
        for kind, differs in (
            (NAMES, was["name"] != now["name"]),
            (ORDER, i in moved),
            (SHAPES, was["shape"] != now["shape"]),
            (DTYPES, was["dtype"] != now["dtype"]),
            (QUANTIZATION, was["dtype"] == now["dtype"] and _form(was)[1:] != _form(now)[1:]),
        )
        if differs
    ]


def _side(
    side: str, before: Sequence[Tensor], after: Sequence[Tensor], of: str
) -> list[Difference]:
    pairs = _pairs(before, after)
    found: list[Difference] = []
    moved = _moved_ones(pairs)
    if moved:
        old = [t["name"] for t in before]
        new = [t["name"] for t in after]
        found.append(Difference(
            ORDER, f"the {side}s{of}", old, new,
            f"the {side}s{of} {_listed(old)} now come as {_listed(new)}",
            "by position an application takes one for another; by name nothing changes",
        ))  # fmt: skip
    for i, j in pairs:
        if j is None:
            assert i is not None
            found.append(_lost(side, before[i], of))
        elif i is None:
            found.append(_new(side, after, j, of))
        else:
            kinds = _kinds(f"{side}s", before, after, i, j, moved)
            found += [_TOLD[kind](side, before[i], after[j], of) for kind in kinds
                      if kind in _TOLD]  # fmt: skip
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _lost(side: str, was: Tensor, of: str) -> Difference:
    where = f"{side} {was['name']!r}{of}"
    verb = "reads" if side == "output" else "sets"
    return Difference(
        f"{side}s", where, dict(was), None, f"{where} is gone",
        f"an application that {verb} it fails; by position others come in its place",
    )  # fmt: skip


def _new(side: str, after: Sequence[Tensor], j: int, of: str) -> Difference:
    where = f"{side} {after[j]['name']!r}{of}"
    said = f"{where} is new (position {j})"
    if side == "input":
        sees, breaks = "every application must set it", True
    elif j == len(after) - 1:
        sees, breaks = "applications that do not read it see nothing", False
    else:
        sees, breaks = (
            "by position an application takes it for another; by name it sees nothing",
            True,
        )
    return Difference(f"{side}s", where, None, dict(after[j]), said, sees, breaks)


def _renamed(side: str, was: Tensor, now: Tensor, of: str) -> Difference:
    where = f"{side} {was['name']!r}{of}"
    return Difference(
        NAMES, where, was["name"], now["name"], f"{where} is now called {now['name']!r}",
        "an application that binds by name no longer finds it; by position nothing changes",
    )  # fmt: skip


def _shape(side: str, was: Tensor, now: Tensor, of: str) -> Difference:
    where = f"{side} {now['name']!r}{of}"
    old, new = was["shape"], now["shape"]
    sees, breaks = "every application sees it: buffers have other sizes", True
    if len(old) == len(new):
        opened = all(a == b or (b == -1 and a == 1) for a, b in zip(old, new, strict=True))
        closed = all(a == b or a == -1 for a, b in zip(old, new, strict=True))
        if opened:
            sees, breaks = "an application that does not resize it sees nothing", False
        elif closed:
            sees = "an application that resizes it to anything else fails"
    return Difference(
        SHAPES, where, list(old), list(new),
        f"the shape of {where} was {_sizes(old)} and is {_sizes(new)}", sees, breaks,
    )  # fmt: skip


def _sizes(shape: Sequence[int]) -> str:
    return f"[{','.join('?' if size < 0 else str(size) for size in shape)}]"


def _dtype(side: str, was: Tensor, now: Tensor, of: str) -> Difference:
    where = f"{side} {now['name']!r}{of}"
    return Difference(
        DTYPES, where, was["dtype"], now["dtype"],
        f"the type of {where} was {was['dtype']} and is {now['dtype']}",
        "every application sees it: by name and by position its buffers hold another type",
    )  # fmt: skip


def _quantization(side: str, was: Tensor, now: Tensor, of: str) -> Difference:
    where = f"{side} {now['name']!r}{of}"
    old, new = ({k: t[k] for k in ("scale", "zero_point", "axis") if k in t} for t in (was, now))
    fixed = "an application that reads scale and zero point from the file sees nothing; one that"
    same_zero = was.get("zero_point") == now.get("zero_point")
    one = len(was.get("scale", ())) == 1 == len(now.get("scale", ()))
    if one and same_zero:
        a, b = was["scale"][0], now["scale"][0]
        said = f"the scale of {where} was {a} and is {b}, and the scale alone changed"
        sees = f"{fixed} hard-codes {a} {_off(side, a, b)}"
    else:
        said = f"the quantization of {where} was {_scaled(was)} and is {_scaled(now)}"
        sees = f"{fixed} hard-codes the old numbers {_verb(side)} other values"
    return Difference(QUANTIZATION, where, old or None, new or None, said, sees)


def _verb(side: str) -> str:
    return "reads" if side == "output" else "hands over"


def _off(side: str, old: Any, new: Any) -> str:
    """How far off an application is that keeps the old scale: it reads outputs as old/new of what
    they are, and an input is taken for new/old of what it means."""
    try:
        times = float(old) / float(new) if side == "output" else float(new) / float(old)
    except (ValueError, ZeroDivisionError):
        times = math.nan
    if not math.isfinite(times) or times <= 0:
        return f"{_verb(side)} other values"
    large = times >= 1
    factor = times if large else 1 / times
    return f"{_verb(side)} values {factor:.4g} times too {'large' if large else 'small'}"


def _scaled(tensor: Tensor) -> str:
    scale, zero = tensor.get("scale", ()), tensor.get("zero_point", ())
    if not scale:
        return "none"
    if len(scale) == 1 and len(zero) == 1:
        return f"scale {scale[0]} zero point {zero[0]}"
    return f"{len(scale)} scales along axis {tensor.get('axis', 0)}"


_TOLD = {NAMES: _renamed, SHAPES: _shape, DTYPES: _dtype, QUANTIZATION: _quantization}

__all__ = [
    "KINDS",
    "Difference",
    "Row",
    "Together",
    "check",
    "differences",
    "of_model",
    "show",
    "side_by_side",
    "together",
    "told_with",
]
