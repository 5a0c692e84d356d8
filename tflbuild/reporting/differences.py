"""What `tflbuild diff` prints. Text of a file is a stranger's: it is shown clean."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from tflbuild.engine.diff import Compared, Outputs
from tflbuild.interface import side_by_side
from tflbuild.reporting.interfaces import of_rows
from tflbuild.reporting.layout import clean, stdout
from tflbuild.verdict import size

FEW = 8  # that a line or a list names
LONG_TITLE = 30  # letters
TITLES = {"tensorflow": "TensorFlow Lite", "litert": "LiteRT"}


def print_compared(found: Compared, quiet: bool = False) -> None:
    """Results on standard output; on standard error, in one line, why there are none, or what
    kills the runtime."""
    wrong = found.error or (found.outputs.crash if found.outputs is not None else "")
    if wrong:
        print(f"tflbuild: {clean(wrong, 1000)}", file=sys.stderr)
    if found.error or quiet:
        return
    console = stdout(160)
    if found.identical:
        _line(console, f"identical bytes: {found.sizes[0]:,}, SHA-256 {found.digests[0]}")
        return
    told = found.told
    _interface(console, found)
    for line in (
        *_sizes(found),
        *_ops(told),
        *_runtime(told["min_runtime"]),
        *_weights(told["weights"]),
        *_metadata(told),
        *_outputs(found.outputs),
    ):
        _line(console, line)


def _line(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=not sys.stdout.isatty())


def _interface(console: Console, found: Compared) -> None:
    told = found.told["interface"]
    changes = told["differences"]
    if not changes:
        _line(console, "interface       the same")
        return
    _line(console, f"interface       {len(changes)} difference{'s' if len(changes) > 1 else ''}:")
    for change in changes[:40]:
        _line(console, f"  {change['what']}: {clean(change['said'], 400)}: {change['sees']}")
    if len(changes) > 40:
        _line(console, f"  and {len(changes) - 40} more")
    rows = side_by_side(told["old"], told["new"])
    console.print(of_rows(rows, *_titles(*found.names)), crop=False)
    _line(console, "")


def _titles(old: str, new: str) -> tuple[str, str]:
    """Short names for columns."""
    names = [clean(name.rpartition("/")[2], LONG_TITLE + 1) for name in (old, new)]
    if names[0] == names[1] or max(map(len, names)) > LONG_TITLE:
        return "A", "B"
    return names[0], names[1]


def _sizes(found: Compared) -> Iterator[str]:
    old, new = found.sizes
    if old == new:
        yield f"size            {size(old)} ({old:,} bytes), the same"
    else:
        share = f", {(new - old) / old:+.1%}" if old else ""
        yield f"size            {size(old)} → {size(new)} ({new - old:+,} bytes{share})"


def _ops(told: Mapping[str, Any]) -> Iterator[str]:
    ops = told["ops"]
    named = [f"{clean(one['op'], 40)} {one['old']} → {one['new']}" for one in ops["differences"]]
    if named:
        yield f"operators       {_few(named)}; {ops['same']} others the same"
    else:
        yield f"operators       the same {ops['same']}"
    named = [
        f"{clean(one['op'], 40)} {_list(one['old'])} → {_list(one['new'])}"
        for one in told["versions"]
    ]
    yield f"their versions  {_few(named) if named else 'the same'}"


def _list(versions: list[int]) -> str:
    return "/".join(map(str, versions))


def _few(named: list[str]) -> str:
    more = f" and {len(named) - FEW} more" if len(named) > FEW else ""
    return ", ".join(named[:FEW]) + more


def _runtime(minimum: Mapping[str, Any]) -> Iterator[str]:
    shown = {side: _needs(minimum[side]) for side in ("old", "new")}
    if shown["old"] == shown["new"]:
        yield f"needs at least  {shown['old']}, the same"
    else:
        yield f"needs at least  {shown['old']} → {shown['new']}"


def _needs(minimum: Mapping[str, str | None]) -> str:
    known = [f"{title} {minimum[n]}" for n, title in TITLES.items() if minimum.get(n)]
    return " or ".join(known) or "(not known)"


def _weights(told: Mapping[str, Any]) -> Iterator[str]:
    parts = [f"{told['equal']} equal", f"{told['changed']} changed"]
    parts += [f"{told[key]} {key}" for key in ("added", "removed") if told[key]]
    amounts = told["bytes"]
    if amounts["old"] != amounts["new"]:
        parts.append(f"{size(amounts['old'])} → {size(amounts['new'])}")
    yield f"weights         {', '.join(parts)}"
    for one in told["largest"][:FEW]:
        form = one["old"] if one["old"] == one["new"] else f"{one['old']} → {one['new']}"
        yield (
            f"  {clean(one['name'].split(';')[0], 60)} {form}: by up to {one['max_change']:.4g},"
            f" {100 * one['share']:.2g} % of its largest"
        )
    if left := len(told["largest"][FEW:]):
        yield f"  and {left} or more that changed less"
    if told["unknown"]:
        yield f"  {told['unknown']} of other shapes, or packed, so that values cannot be compared"


def _metadata(told: Mapping[str, Any]) -> Iterator[str]:
    changes = told["metadata"]
    named = [f"{clean(one['name'], 40)} {_kept(one)}" for one in changes]
    said = told["description"]
    if said["old"] != said["new"]:
        named.append(f"description {clean(said['old'], 40)!r} → {clean(said['new'], 40)!r}")
    yield f"metadata        {_few(named) if named else 'the same'}"


def _kept(one: Mapping[str, Any]) -> str:
    said = {side: clean(text, 64) for side, text in one["text"].items() if text is not None}
    if one["old"] is None:
        return f"is new ({said['new']})" if said else "is new"
    if one["new"] is None:
        return f"is gone ({said['old']})" if said else "is gone"
    return f"{said['old']} → {said['new']}" if len(said) == 2 else "changed"


def _outputs(outputs: Outputs | None) -> Iterator[str]:
    if outputs is None:
        return
    if outputs.crash or outputs.reason:
        yield f"outputs         not compared: {clean(outputs.crash or outputs.reason, 400)}"
        return
    samples = f"{outputs.samples} sample{'s' if outputs.samples != 1 else ''}"
    yield f"outputs         on {samples}, {clean(outputs.data, 200)}"
    several = len({one["signature"]["old"] for one in outputs.agreement}) > 1
    if outputs.data.startswith("random "):
        yield "  (random inputs say little of how good a file is; give your own: --data FILE.npz)"
    for one in outputs.agreement[:40]:
        yield f"  {_named(one, several)}: {_agrees(one)}"


def _named(one: Mapping[str, Any], several: bool) -> str:
    old, new = (clean(one["output"][side], 60) for side in ("old", "new"))
    name = old if old == new else f"{old} → {new}"
    return f"{clean(one['signature']['old'], 60)}/{name}" if several else name


def _agrees(one: Mapping[str, Any]) -> str:
    if one["problem"]:
        return str(one["problem"])
    if one["equal"]:
        return "equal"
    if not one["finite"]:
        return "NaN or infinity"
    noise = "" if one["sqnr"] is None else f"SQNR {one['sqnr']:.1f} dB, "
    largest = one["max_abs_error"]
    return f"{noise}differs by up to {largest:.4g}" if largest is not None else "differs"
