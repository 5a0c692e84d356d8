"""What `validate --debug` and `validate --try` found, for people and as JSON lines."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tflbuild.debugging.proposing import brief, counted
from tflbuild.metrics import METRICS
from tflbuild.reporting.layout import Column, Grid, stdout
from tflbuild.reporting.layout import show as show_grid
from tflbuild.verdict import printable, size

if TYPE_CHECKING:
    from tflbuild.engine.debug import Tried

SHOWN = 10  # layers in the table
# Metrics of tflbuild's own, which count nothing: their 1.0 is no 1.
SHARES = frozenset(METRICS)


def show(report: Mapping[str, Any], path: str, *, json: bool, full: bool = False) -> None:
    """One report on standard output. `full`: all layers, not the 10 worst."""
    if json:
        print(json_module.dumps({"event": "debug", "path": path, "report": report}), flush=True)
        return
    say = stdout().print
    for line in head(report):
        say(line)
    for told in report["signatures"]:
        several = len(report["signatures"]) > 1
        used = told["samples"]
        which = "" if used["which"] == "all" else f", {used['which']}"
        what = f"{used['used']} of {used['of']} samples of {told['data']} data{which}"
        say(f"signature {printable(told['signature'])}, {what}" if several else what)
        layers = told["layers"] if full else told["layers"][:SHOWN]
        if layers:
            show_grid(table(layers, told["inputs"]))
        if len(told["layers"]) > len(layers):
            more = len(told["layers"]) - len(layers)
            say(f"and {more} {'layer that loses' if more == 1 else 'layers that lose'} less (-v)")
        for note in told["notes"]:
            say(f"note: {printable(note)}")
    for line in tail(report):
        say(line)
    say(f"all of it: {path}")


def table(layers: Sequence[Mapping[str, Any]], inputs: Sequence[Mapping[str, Any]] = ()) -> Grid:
    """Quantized inputs, then layers, worst first. On a narrow terminal `why` stays: the remedy
    depends on it."""
    grid = Grid(
        Column("layer", folds=40), Column("op", leaves=2), Column("own SQNR", right=True),
        Column("accumulated", right=True, leaves=1), Column("saturated", right=True),
        Column("range used", right=True, leaves=3), Column("why"),
    )  # fmt: skip
    for entry in inputs:
        if entry["file_range"] is not None:
            own = number(entry["error"], entry["sqnr"])
            grid.add(printable(entry["name"]), "(input)", own, own, *_shares(entry), "")
    for layer in layers:
        grid.add(
            printable(layer["layer"] or layer["tensor"]),
            printable(layer["op"]),
            number(layer["own"], layer["own_sqnr"]) if layer["quantized"] else "float",
            number(layer["accumulated"], layer["accumulated_sqnr"]),
            *_shares(layer),
            {"range": "its range", "kernel": "weights, kernel"}.get(layer["cause"], ""),
        )
    return grid


def _shares(told: Mapping[str, Any]) -> tuple[str, str]:
    saturated, used = told["saturated"], told["range_used"]
    return (
        "" if saturated is None else f"{saturated:.1%}",
        "" if used is None else f"{used:.1%}",
    )


def number(told: str, sqnr: float | None) -> str:
    """ "12.3 dB", "exact", or "?" where it is not known."""
    if sqnr is None:
        return "exact" if told == "exact" else "?"
    return f"{sqnr:.1f} dB"


def head(report: Mapping[str, Any]) -> list[str]:
    """What happened to which file, and who is to blame."""
    pair = report["task"].partition(":")[2]
    gate = "passes" if report["gate"]["passed"] else "does not pass"
    lines = [f"{pair} ({report['quantize']}): the gate {gate}; {numbers(report['before'])}"]
    if report["unrunnable"]:
        lines.append(printable(report["unrunnable"]))
    worst = worst_layer(report)
    if report["blame"] and not report["gate"]["passed"]:
        by = {
            "quantization": "quantization is to blame, not the conversion to float",
            "float conversion": "the conversion to float is to blame, before quantization",
        }[report["blame"]]
        where = "" if worst is None else f"; the worst layer is {worst}"
        lines.append(by + where)
    elif worst is not None:
        lines.append(f"the worst layer is {worst}")
    return lines


def worst_layer(report: Mapping[str, Any]) -> str | None:
    """ "strokes (CONV_2D), 5.0 dB of its own", of all signatures; None where nothing was told."""
    told = [
        layer for one in report["signatures"] for layer in one["layers"]
        if layer["own_sqnr"] is not None
    ]  # fmt: skip
    worst = min(told, key=lambda layer: layer["own_sqnr"], default=None)
    if worst is None:
        return None
    name = worst["layer"] or worst["tensor"]
    return printable(f"{name} ({worst['op']}), {worst['own_sqnr']:.1f} dB of its own")


def tail(report: Mapping[str, Any]) -> list[str]:
    """The calibration, and the proposal."""
    lines: list[str] = []
    fault = report["calibration"]
    if fault["suspected"]:
        lines.append("the calibration data is the likely fault:")
        lines += [f"  {reason}" for reason in fault["reasons"]]
        if fault["on_test_data"] is not None:
            proof = fault["on_test_data"]
            verdict = "passes" if proof["passed"] else "does not pass"
            lines.append(f"  calibrated on test data, the same file {verdict}: {numbers(proof)}")
            if fault["stops"]:
                lines.append(f"    this limit stops even a well calibrated file: {fault['stops']}")
            elif not proof["passed"] and proof["reasons"]:
                lines.append(f"    {brief(proof['reasons'][0])}")
        lines.append(f"  {fault['remedy']}")
    proposal = report["proposal"]
    if proposal is None:
        lines.append(f"no proposal: {report['refused']}")
        return [printable(line) for line in lines]
    pair, tries = report["task"].partition(":")[2], counted(len(report["tries"]), "list")
    after = numbers(proposal["after"])
    if proposal["passes"]:
        lines.append(f"with this the gate passes ({tries} tried): {after}")
    else:
        lines.append(f"nothing that was tried passes ({tries}); the best: {after}")
        lines += [f"  {reason}" for reason in proposal["after"]["reasons"]]
    if "io" in proposal["settings"]:
        lines.append(
            "  (io: float32 is part of it, since an integer input or output has its own range; it"
            " changes the interface)"
        )
    if not proposal["passes"]:
        lines += ["the best, which does not pass:", *(f"  {line}" for line in proposal["yaml"])]
        return [printable(line) for line in lines]
    model, place = report["model"], proposal["place"]
    if proposal["inherited"]:
        lines.append(
            f"write it under the optimizations of `{model}:` ({place}; it inherits"
            f" {report['optimization']} from {proposal['inherited']}):"
        )
    else:
        lines.append(f"write it in place of the line at {place}:")
    lines += [f"  {line}" for line in proposal["yaml"]]
    lines.append(f"try it first: tflbuild validate --try {pair}")
    lines.append(f"make it permanent: edit the manifest, then tflbuild build {pair}")
    return [printable(line) for line in lines]


def numbers(told: Mapping[str, Any]) -> str:
    """ "7.4 dB, accuracy 0.8867 of 0.9778, 14.8 KB"."""
    parts = []
    known = [p["sqnr"] for p in told["parity"] if p["sqnr"] is not None]
    if known:
        parts.append(f"{min(known):.1f} dB")
    elif told["parity"]:
        parts.append("equal")
    for metric in told["metrics"]:
        if _known(metric["file"]):
            file, source = _plain(metric["name"], metric["file"], metric["source"])
            of = f" of {source}" if _known(metric["source"]) else ""
            parts.append(f"{metric['name']} {file}{of}")
    if told["size"] is not None:
        parts.append(size(told["size"]))
    return ", ".join(parts) or "not measured"


def show_try(tried: Tried, *, json: bool) -> None:
    """Before and after on standard output."""
    pair = tried.task.partition(":")[2]
    if json:
        value = {"event": "try", "task": f"debug:{pair}", "settings": dict(tried.settings),
                 "before": tried.before, "after": tried.after}  # fmt: skip
        print(json_module.dumps(value), flush=True)
        return
    say = stdout().print
    kept = ", ".join(map(printable, tried.settings["keep_float"]))
    more = ", io: float32" if "io" in tried.settings else ""
    say(f"{pair} with keep_float: [{kept}]{more}")
    grid = Grid(Column(""), Column("before", right=True), Column("after", right=True))
    for title, before, after in rows(tried.before, tried.after):
        grid.add(title, before, after)
    show_grid(grid)
    for reason in tried.after["reasons"]:
        say(f"  {printable(reason)}")


def rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each number before and after."""
    found = []
    several = len({p["signature"] for p in before["parity"]}) > 1
    later = {(p["signature"], p["output"]): p for p in after["parity"]}
    for entry in before["parity"]:
        key = (entry["signature"], entry["output"])
        where = f"{entry['signature']}/{entry['output']}" if several else entry["output"]
        found.append((f"SQNR of {printable(where)}", _db(entry), _db(later.get(key))))
    latest = {(m["signature"], m["name"]): m for m in after["metrics"]}
    for metric in before["metrics"]:
        same = latest.get((metric["signature"], metric["name"]))
        values = metric["file"], None if same is None else same["file"]
        first, second = _plain(metric["name"], *values)
        found.append((printable(str(metric["name"])), first, second))
    found.append(("size", _size(before), _size(after)))
    found.append(("gate", _gate(before), _gate(after)))
    return found


def _size(told: Mapping[str, Any]) -> str:
    return "-" if told["size"] is None else size(told["size"])


def _gate(told: Mapping[str, Any]) -> str:
    return "passes" if told["passed"] else "does not pass"


def _db(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "-"
    if entry["sqnr"] is None:
        return "equal" if entry["equal"] else "-"
    return f"{entry['sqnr']:.1f} dB"


def _known(value: object) -> bool:
    return isinstance(value, int | float)


def _plain(name: str, *values: object) -> tuple[str, ...]:
    """Values of one metric. Those of the user's own that are all whole are counts."""
    known = [value for value in values if isinstance(value, int | float)]
    form = ".0f" if all(float(n).is_integer() for n in known) and name not in SHARES else ".4f"
    return tuple(f"{v:{form}}" if isinstance(v, int | float) else "-" for v in values)
