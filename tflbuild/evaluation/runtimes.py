"""From what `evaluate` measured to what each runtime says of the model: pure functions of facts.

Nothing here looks at a file or at a limit: `evaluate.json` holds facts, and a verdict follows from
them and from what a runtime has. The words are those of docs/EVALUATION.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tflbuild.evaluation import remedies
from tflbuild.manifest.model import Target
from tflbuild.verdict import FAIL, Finding

COMPATIBLE = "compatible"
COMPATIBLE_WITH = "compatible with"
NEEDS_SELECT = "needs select ops"
NEEDS_CUSTOM = "needs custom ops"
NOT_CONVERTIBLE = "not convertible"

LITERT = "litert"
PLAY_SERVICES = "play-services"
SELECT = "select-tf-ops"
CUSTOM = "custom-ops"
MICRO = "micro"
RUNTIMES = (LITERT, PLAY_SERVICES, SELECT, CUSTOM, MICRO)

_FOREIGN = ("select", "custom")
SHOWN = 3  # ops, places or layers that a line names

Measured = Mapping[str, Any]
Row = Mapping[str, Any]  # an entry of `not_builtin`


def verdicts(
    measured: Measured,
    *,
    custom_ops: Collection[str] | None = None,
    select_ops: bool = False,
) -> dict[str, dict[str, Any]]:
    """What each runtime says of a model; `micro` only where `evaluate` asked it.

    Args:
        measured: what `evaluate.json` holds.
        custom_ops: ops that a `custom-ops` target declares; None: nobody has declared any yet.
        select_ops: that target has the Flex delegate beside its own kernels.

    Returns:
        {runtime: {"verdict", "with": conditions in words, "ops": what stops it,
        "remedies": [{"op", "where", "remedy"}]}}
    """
    names = [name for name in RUNTIMES if name != MICRO or "micro" in measured]
    return {
        name: verdict(
            measured,
            name,
            custom_ops=custom_ops if name == CUSTOM else (),
            select_ops=select_ops if name == CUSTOM else name == SELECT,
        )
        for name in names
    }


def verdict(
    measured: Measured,
    runtime: str,
    *,
    custom_ops: Collection[str] | None = (),
    select_ops: bool = False,
) -> dict[str, Any]:
    """What one runtime says, that has kernels for `custom_ops` (None: for whatever is needed) and
    perhaps the Flex delegate."""
    rows = rows_of(measured)
    lost = [row for row in rows if row["class"] == NOT_CONVERTIBLE]
    own = [
        r for r in rows if r["class"] in _FOREIGN and (custom_ops is None or r["op"] in custom_ops)
    ]
    flex = [r for r in rows if r["class"] == "select" and r not in own]
    missing = [r for r in rows if r["class"] == "custom" and r not in own]
    stopping: list[Row] = []
    if measured["verdict"] == NOT_CONVERTIBLE:
        word, stopping = NOT_CONVERTIBLE, lost
    elif missing:
        word, stopping = NEEDS_CUSTOM, missing + ([] if select_ops else flex)
    elif flex and not select_ops:
        word, stopping = NEEDS_SELECT, flex
    else:
        word = COMPATIBLE
    conditions: list[str] = []
    if word == COMPATIBLE:
        conditions = list(_conditions(measured, flex, own, runtime))
        word = COMPATIBLE_WITH if conditions else COMPATIBLE
    ops = [_entry(row) for row in stopping]
    steps = [_remedy(row) for row in stopping]
    if runtime == MICRO and not stopping and measured["verdict"] != NOT_CONVERTIBLE:
        for problem in measured.get("micro", ()):
            word, conditions = NEEDS_CUSTOM, []
            ops.append(
                {
                    "op": problem["op"] or "the file",
                    "where": problem["layer"],
                    "count": 1,
                    "class": "builtin",
                }
            )
            steps.append(
                {"op": problem["op"] or "the file", "where": problem["layer"],
                 "remedy": "; ".join(filter(None, (problem["why"], problem["remedy"])))}
            )  # fmt: skip
    return {
        "verdict": word,
        "with": conditions,
        "ops": ops,
        "remedies": [step for step in steps if step["remedy"]],
    }


def of_target(measured: Measured, target: Target) -> dict[str, Any]:
    """What the runtime of a target says, with the kernels that the target declares."""
    custom = target.runtime == CUSTOM
    return verdict(
        measured,
        target.runtime,
        custom_ops=[op.name for op in target.ops] if custom else (),
        select_ops=target.select_ops if custom else target.runtime == SELECT,
    )


def rows_of(measured: Measured) -> Sequence[Row]:
    """The ops that are no builtins; where nobody noted places, their classes alone."""
    if "not_builtin" in measured:
        found: Sequence[Row] = measured["not_builtin"]
        return found
    nothing = {"name": "", "node": "", "function": "", "dtypes": [], "code": "", "message": ""}
    return [
        {**nothing, "op": name.removeprefix("Flex"), "class": kind, "count": count}
        for kind in _FOREIGN
        for name, count in sorted(measured["ops"].get(kind, {}).items())
    ]


def also(found: Mapping[str, Mapping[str, Any]], declared: Collection[str]) -> list[str]:
    """Runtimes that are not declared and would take the model as it is. Those that hold all of
    LiteRT and more are named only where LiteRT alone is not enough."""
    takes = [n for n, v in found.items() if v["verdict"] in (COMPATIBLE, COMPATIBLE_WITH)]
    plain = LITERT in takes
    return [
        name
        for name in takes
        if name not in declared and not (plain and name in (SELECT, CUSTOM))
        if not (name == CUSTOM and SELECT in takes)  # kernels for nothing
    ]


def findings(
    measured: Measured,
    runtime: str,
    *,
    custom_ops: Collection[str] = (),
    select_ops: bool = False,
) -> Iterator[Finding]:
    """Why a runtime cannot take the model: one finding for each class of ops, or none."""
    own = verdict(measured, runtime, custom_ops=custom_ops, select_ops=select_ops)
    if own["verdict"] == NOT_CONVERTIBLE:
        rows = rows_of(measured)
        texts = [_with_remedy(row) for row in _few(rows)]
        more = f"; and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        text = "; ".join(texts) + more or measured["problem"]
        yield Finding(FAIL, "convertible", f"the converter does not take {text}")
        return
    stopping = {(entry["op"], entry["where"]) for entry in own["ops"]}
    rows = [r for r in rows_of(measured) if (r["op"], where(r)) in stopping]
    for kind in ("select", "custom"):
        of_kind = [row for row in rows if row["class"] == kind]
        if not of_kind:
            continue
        texts = [sentence(row) for row in _few(of_kind)]
        more = f"; and {len(of_kind) - SHOWN} more" if len(of_kind) > SHOWN else ""
        advice = measured.get("advice", "") if kind == "select" else ""
        yield Finding(
            FAIL,
            f"ops.{kind}",
            f"{'; '.join(texts)}{more}: {_ways(kind, runtime, of_kind)}"
            + (f"; {advice}" if advice else ""),
        )
    if runtime == MICRO:
        for step in own["remedies"]:
            if (step["op"], step["where"]) in stopping and not rows:
                text = f"{step['op']}{_at(step['where'])}: {step['remedy']}"
                yield Finding(FAIL, "ops.micro", text)


def _with_remedy(row: Row) -> str:
    text = remedies.remedy(row)
    return f"{sentence(row)}: {text}" if text else sentence(row)


def sentence(row: Row) -> str:
    """`tf.linalg.det (MatrixDeterminant, ×2) at 'determinant'`: what stops a runtime, and where."""
    call = remedies.call_of(row["op"])
    count = f"×{row['count']}" if row["count"] > 1 else ""
    if call:
        inner = ", ".join(part for part in (row["op"], count) if part)
        text = f"{call} ({inner})"
    else:
        named = f"the model ({row['message']})" if row["message"] else "the model"
        text = (row["op"] or named) + (f" ({count})" if count else "")
    wrong = remedies.type_problem(row["op"], row["dtypes"])
    types = f" of {wrong}" if wrong else ""
    if remedies.shape_problem(row) and row.get("rank"):
        types = f" with {row['rank']} dimensions"
    return text + types + _at(where(row))


def where(row: Row) -> str:
    """The layer or function that a person knows, else the graph's node; "" for nothing."""
    name, function = row["name"], row["function"]
    if function:
        return f"{name} in {function}()" if name and name != function else f"{function}()"
    return str(name or row["node"])


def _at(place: str) -> str:
    """`at 'head' in f()`, for a sentence."""
    name, inside, function = place.partition(" in ")
    if inside:
        return f" at {name!r} in {function}"
    return "" if not place else f" in {place}" if place.endswith("()") else f" at {place!r}"


def lines(
    measured: Measured, found: Mapping[str, Mapping[str, Any]], declared: Collection[str] = ()
) -> list[str]:
    """A few lines for under the table: what costs most, what stops which runtime and the way out,
    and where else the model could ship to."""
    result: list[str] = []
    if cost := _cost(measured):
        result.append(cost)
    # Facts of the rows tell the reason where it is a type or a shape, beside the op's name.
    said = {(row["op"], where(row)): sentence(row) for row in rows_of(measured)}
    stopped: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, own in found.items():
        if own["ops"] and (not declared or name in declared):
            key = tuple((entry["op"], entry["where"]) for entry in own["ops"])
            stopped.setdefault(key, []).append(name)
    for key, names in stopped.items():
        parts = [said.get((op, place)) or op + _at(place) for op, place in _few(key)]
        more = f" and {len(key) - SHOWN} more" if len(key) > SHOWN else ""
        result.append(f"{', '.join(names)} cannot take {', '.join(parts)}{more}")
    told: set[str] = set()
    for own in found.values():
        for step in own["remedies"]:
            if step["op"] not in told and len(told) < SHOWN:
                told.add(step["op"])
                call = remedies.call_of(step["op"]) or step["op"]
                result.append(f"instead of {call}: {step['remedy']}")
    for name in declared:
        if name in found and found[name]["with"]:
            result.append(f"{name} takes it with {', '.join(found[name]['with'])}")
    return [*result, *also_lines(found, declared)]


def also_lines(found: Mapping[str, Mapping[str, Any]], declared: Collection[str]) -> list[str]:
    """Where else the model could ship to, and with what: a line, or none."""
    others = [
        f"{name} (with {', '.join(found[name]['with'])})" if found[name]["with"] else name
        for name in also(found, declared)
    ]
    return [f"you could also ship to: {', '.join(others)}"] if others else []


def _cost(measured: Measured) -> str:
    """`3 layers do 92 % of the work: conv1 55 %, …`; "" without MACs."""
    total = measured.get("macs") or 0
    layers = [layer for layer in measured.get("layers", ()) if layer["macs"] and layer["name"]]
    top = layers[:SHOWN]
    whole = max(total, sum(layer["macs"] for layer in layers))
    if not top or not whole:
        return ""
    parts = [f"{layer['name']} {_percent(layer['macs'], whole)}" for layer in top]
    return f"most of the work is in {', '.join(parts)}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


def _ways(kind: str, runtime: str, rows: Sequence[Row]) -> str:
    """What would take the ops of a class, and what to write in their place."""
    one = len(rows) == 1
    if kind == "select":
        if runtime == CUSTOM:
            ways = "no builtin; write select_ops: true for this target"
        else:
            ways = "no builtin; the runtime select-tf-ops would take " + ("it" if one else "them")
        if all(remedies.type_problem(row["op"], row["dtypes"]) for row in rows):
            ways = ways.replace("no builtin;", "no builtin for that type;")
        elif all(remedies.shape_problem(row) for row in rows):
            ways = ways.replace("no builtin;", "no builtin for such shapes or settings;")
    else:
        ways = "no builtin, and no select op either: select-tf-ops would not take " + (
            "it" if one else "them"
        )
        ways += (
            "; declare a kernel under `ops` of this target"
            if runtime == CUSTOM
            else "; custom-ops takes it with a kernel of yours"
        )
    texts = dict.fromkeys(
        text if one else f"{row['op']}: {text}"
        for row in _few(rows)
        if (text := remedies.remedy(row))
    )
    return f"{ways}; or {'; '.join(texts)}" if texts else ways


def _conditions(
    measured: Measured, select: Sequence[Row], custom: Sequence[Row], runtime: str
) -> Iterator[str]:
    if select:
        yield f"the Flex delegate for {_names(select)}"
    if custom:
        yield f"kernels of yours for {_names(custom)}"
    # A dynamic batch alone is 1 unless the app asks for more.
    dynamic = dict.fromkeys(
        entry["name"]
        for entry in measured.get("dynamic_inputs", ())
        if entry["shape"] is None or None in entry["shape"][1:]
    )
    if dynamic:
        how = "pinned under `inputs`" if runtime == MICRO else "set by the app before it runs"
        yield f"the shape of {', '.join(_few(list(dynamic)))} {how}"


def _names(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(row["op"] for row in rows))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _entry(row: Row) -> dict[str, Any]:
    return {"op": row["op"], "where": where(row), "count": row["count"], "class": row["class"]}


def _remedy(row: Row) -> dict[str, str]:
    return {"op": row["op"], "where": where(row), "remedy": remedies.remedy(row)}


def _few(items: Sequence[Any]) -> Sequence[Any]:
    return items[:SHOWN]
