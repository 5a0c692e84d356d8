"""What `tflbuild inspect` prints: one file in full, several as a table.

Text of a file is a stranger's: it is shown without control characters, markup or excess.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tflbuild.engine.inspect import Inspected
from tflbuild.manifest.model import Target
from tflbuild.reporting.layout import Column, Grid, clean, show, stdout
from tflbuild.verdict import amount, size

_ROWS = 60  # of a table; a hostile file may have a million
_REASONS = 8
_LONG = 5000  # characters of a path: systems allow some 4,096
_KINDS = ("builtin", "select", "custom")


def print_inspected(
    found: Sequence[Inspected], target: Target | None, *, quiet: bool = False, full: bool = False
) -> None:
    """Results on standard output; on standard error what is wrong with files, one line each."""
    for one in found:
        if one.measured is None or (one.exit_code and (quiet or one.verdict is None)):
            print(f"tflbuild: {clean(one.file, 1000)}: {_reason(one)}", file=sys.stderr)
    readable = [] if quiet else [one for one in found if one.measured is not None]
    if len(found) > 1 and not full:
        if readable:
            show(summary(readable, target))
        return
    console = stdout(160)
    for index, one in enumerate(readable):
        if index:
            console.print()
        for part in _whole(one, target):
            console.print(part)


def _reason(one: Inspected) -> str:
    if one.measured is None:
        return clean(one.error, 1000)
    if one.verdict is not None and not one.verdict.passed:
        return "; ".join(clean(finding.message, 1000) for finding in one.verdict.failures)
    return clean(one.measured["problem"] or one.measured.get("not_loaded", ""), 1000)


def _table(*columns: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    numbers = set(right)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table


def _row(table: Table, *cells: object, limit: int = 80) -> None:
    table.add_row(*(Text(clean(cell, limit)) for cell in cells))


def _more(table: Table, count: int) -> None:
    if count > _ROWS:
        _row(table, f"… and {count - _ROWS:,} more")


def summary(found: Sequence[Inspected], target: Target | None) -> Grid:
    """One row for each file that could be read: what it costs, and whether it fits, or why not."""
    verdict = "runs" if target is None else f"fits {target.name}"
    grid = Grid(
        Column("file", folds=50),
        Column("size", right=True, leaves=4),
        Column("params", right=True, leaves=2),
        Column("MACs", right=True, leaves=3),
        Column("ops", right=True, leaves=1),
        Column(verdict, folds=24),
    )
    for one in found:
        measured = one.measured
        assert measured is not None
        grid.add(
            clean(one.file, _LONG),
            size(measured["size"]),
            amount(measured["params"]),
            amount(measured["macs"]["total"]),
            f"{sum(n for kind in _KINDS for n in measured['ops'][kind].values()):,}",
            "yes" if not _failed(one) else f"no: {_reason(one)}",
        )
    return grid


def _failed(one: Inspected) -> bool:
    assert one.measured is not None
    return bool(one.exit_code) if one.verdict is not None else not one.measured["loads"]


def _whole(one: Inspected, target: Target | None) -> list[RenderableType]:
    measured = one.measured
    assert measured is not None
    parts: list[RenderableType] = [Text(clean(one.file, 1000), style="bold")]
    parts.append(_facts(measured))
    parts += [Text(), *_interface(measured)]
    parts += [Text(), _ops(measured)]
    if delegates := measured.get("delegates"):
        parts += [Text(), *_delegates(delegates)]
    if target is not None and one.verdict is not None:
        parts += [Text(), *_verdict(one, target)]
    return parts


def _facts(measured: Mapping[str, Any]) -> Table:
    table = _table("", "")
    table.show_header = False
    sizes, macs = measured["sizes"], measured["macs"]
    _notes(table, measured)
    _row(table, "size", f"{size(measured['size'])} ({measured['size']:,} bytes)")
    _row(table, "parameters", amount(measured["params"]))
    _row(table, "MACs", _macs(macs), limit=300)
    _row(table, "weights", size(sizes["weights_bytes"]))
    _row(table, "inputs, outputs", f"{size(sizes['input_bytes'])}, {size(sizes['output_bytes'])}")
    if memory := measured.get("memory"):
        _memory(table, memory)
    if micro := measured.get("micro"):
        _micro(table, micro)
    if versions := measured.get("versions"):
        _row(table, "needs at least", _minimum(versions), limit=300)
    if measured["subgraphs"] > 1:
        _row(table, "subgraphs", measured["subgraphs"])
    why = measured["problem"] or measured.get("not_loaded", "")
    _row(table, "LiteRT", "loads it" if measured["loads"] else f"does not load it: {why}",
         limit=1000)  # fmt: skip
    return table


def _macs(macs: Mapping[str, Any]) -> str:
    """The number, and what it leaves out."""
    without = [f"signature '{macs['signature']}'"] if macs.get("signature") else []
    if macs["dynamic"]:
        without.append("dynamic dimensions count as 1")
    if macs["loops"]:
        without.append(f"each of {macs['loops']} loops counts once")
    if macs["uncounted"]:
        without.append(f"without {_few(macs['uncounted'])}")
    return amount(macs["total"]) + (f" ({'; '.join(without)})" if without else "")


def _few(names: Iterable[str], count: int = 5) -> str:
    every = list(names)
    more = f" and {len(every) - count} more" if len(every) > count else ""
    return ", ".join(clean(name, 60) for name in every[:count]) + more


def _notes(table: Table, measured: Mapping[str, Any]) -> None:
    """What the file says of itself."""
    notes = measured.get("notes") or {}
    if notes.get("problem"):
        _row(table, "metadata", f"damaged: {notes['problem']}", limit=300)
    if notes.get("name") or notes.get("version"):
        words = (notes.get("name", ""), notes.get("version", ""))
        _row(table, "model", " ".join(word for word in words if word), limit=200)
    for key, value in (
        ("description", notes.get("description") or measured["description"]),
        ("author", notes.get("author")),
        ("license", notes.get("license")),
    ):
        if value:
            _row(table, key, value, limit=300)
    if packed := notes.get("packed"):
        _row(table, "files behind it",
             _few(f"{name} ({size(n)})" for name, n in packed.items()), limit=500)  # fmt: skip


def _memory(table: Table, memory: Mapping[str, Any]) -> None:
    peak = memory.get("peak") or {}
    where = f" at {peak['name']} {_layer(peak['layer'])!r}" if peak.get("name") else ""
    dynamic = " (dynamic dimensions count as 1)" if memory.get("dynamic") else ""
    _row(table, "activations", f"{size(memory['peak_bytes'])} at their peak{where}{dynamic}",
         limit=300)  # fmt: skip
    if memory.get("arena_bytes") is not None:
        _row(table, "planned arena", size(memory["arena_bytes"]))


def _layer(name: str) -> str:
    """The converter strings the names of all that it fused together; the first is enough."""
    return clean(name.split(";")[0], 60)


def _micro(table: Table, micro: Mapping[str, Any]) -> None:
    if micro.get("arena_bytes") is None:
        return
    how = "estimated" if micro.get("estimated") else "measured by tflite-micro"
    _row(table, "micro arena", f"{size(micro['arena_bytes'])} ({how})")


def _minimum(versions: Mapping[str, Any]) -> str:
    """The oldest runtime that has all its operators, and what asks for it."""
    if unknown := versions["unknown"]:
        pairs = (f"{entry['op']} version {entry['version']}" for entry in unknown)
        return f"unknown: no runtime is known to have {_few(pairs)}"
    minimum = versions["min_runtime"]
    known = [
        f"{title} {minimum[name]}"
        for name, title in (("tensorflow", "TensorFlow Lite"), ("litert", "LiteRT"))
        if minimum.get(name)
    ]
    if not known:
        return "any runtime"
    newest = versions["needs"][0]
    why = f": {newest['op']} version {newest['version']}"
    why += f", {newest['why']}" if newest.get("why") else ""
    written = versions.get("written")
    wrong = f"; the file says {written}" if written and written != minimum["tensorflow"] else ""
    return f"{' or '.join(known)}{why}{wrong}"


def _interface(measured: Mapping[str, Any]) -> list[RenderableType]:
    interface, notes = measured["interface"], measured.get("notes") or {}
    main = [key for key, s in interface["signatures"].items() if s["subgraph"] == 0]
    others = [key for key in interface["signatures"] if key not in main]
    titles = [f"signature {_few(main)}" if main else "no signature: inputs and outputs by position"]
    if others:
        titles.append(f"other signatures: {_few(others, 10)}")
    table = _table("", "name", "shape", "type", "quantization", "means")
    for side in ("inputs", "outputs"):
        names: dict[str, str] = {}
        for key in main:
            names |= {tensor: n for n, tensor in interface["signatures"][key][side].items()}
        said = notes.get(side, [])
        for index, tensor in enumerate(interface[side][:_ROWS]):
            about = said[index] if index < len(said) else {}
            _row(
                table,
                side[:-1],
                names.get(tensor["name"], tensor["name"]),
                _shape(tensor["shape"]),
                tensor["dtype"],
                _quantization(tensor["quantization"]),
                _meaning(about),
                limit=120,
            )
        _more(table, len(interface[side]))
    return [*(Text(clean(title, 500)) for title in titles), table]


def _shape(shape: Sequence[int]) -> str:
    return "×".join("?" if n < 0 else str(n) for n in shape) if shape else "scalar"


def _quantization(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    scales, zeros = found["scale"], found["zero_point"]
    if len(scales) == 1:
        value = "?" if scales[0] is None else f"{scales[0]:.6g}"
        return f"scale {value}, zero point {zeros[0] if zeros else 0}"
    return f"{len(scales)} scales along dimension {found['axis']}" if scales else "blockwise"


def _meaning(about: Mapping[str, Any]) -> str:
    words = [about["description"]] if about.get("description") else []
    if about.get("content") == "image":
        words.append(f"image {about.get('color', '')}".strip())
    if "mean" in about or "std" in about:
        words.append(f"(x − {_values(about.get('mean'))}) / {_values(about.get('std'))}")
    if "min" in about or "max" in about:
        words.append(f"{_values(about.get('min'))} to {_values(about.get('max'))}")
    if about.get("files"):
        words.append("labels in " + _few(str(file.get("name")) for file in about["files"]))
    return "; ".join(words)


def _values(values: Sequence[float | None] | None) -> str:
    shown = ["?" if v is None else f"{v:g}" for v in (values or [])[:4]]
    if len(shown) == 1:
        return shown[0]
    return f"[{', '.join(shown)}{', …' if len(values or []) > 4 else ''}]"


def _ops(measured: Mapping[str, Any]) -> Table:
    needs = {
        (entry["op"], str(entry["version"])): entry.get("since")
        for entry in measured.get("versions", {}).get("needs", [])
    }
    columns = ["operator", "version", "count"]
    since = bool(needs)
    table = _table(*columns, *(["since TensorFlow Lite"] if since else []), "",
                   right=("version", "count"))  # fmt: skip
    rows = []
    kinds = {name: kind for kind in ("select", "custom") for name in measured["ops"][kind]}
    for name, versions in measured["ops"]["versions"].items():
        for version, count in versions.items():
            kind = {"select": "select TensorFlow op", "custom": "custom op"}.get(
                kinds.get(name, ""), ""
            )
            first = [needs.get((name, version)) or ("" if kind else "?")] if since else []
            rows.append((name, version, count, *first, kind))
    rows.sort(key=lambda row: (-int(row[2]), str(row[0])))
    for row in rows[:_ROWS]:
        _row(table, *row)
    _more(table, len(rows))
    return table


def _delegates(delegates: Mapping[str, Any]) -> list[RenderableType]:
    table = _table("delegate", "takes of ops", "of MACs", "partitions", "what stays behind",
                   right=("takes of ops", "of MACs", "partitions"))  # fmt: skip
    for name, found in delegates.items():
        breaks = found.get("breaks", [])
        reasons = [_break(entry) for entry in breaks[:_REASONS]]
        if len(breaks) > _REASONS:
            reasons.append(f"and {len(breaks) - _REASONS} more")
        key = found.get("signature")
        _row(
            table,
            f"{name}, signature '{key}'" if key else name,
            _share(found.get("share_ops")),
            _share(found.get("share_macs")),
            found.get("partitions", ""),
            reasons[0] if reasons else "nothing",
            limit=1000,
        )
        for reason in reasons[1:]:
            _row(table, "", "", "", "", reason, limit=1000)
    return [table]


def _break(entry: Mapping[str, Any]) -> str:
    count = entry.get("count", 1)
    times = f" (×{count})" if count > 1 else ""
    reason = entry.get("reason") or entry.get("why") or ""
    return f"{entry.get('op', entry.get('name', '?'))}{times}: {reason}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _verdict(one: Inspected, target: Target) -> list[RenderableType]:
    verdict = one.verdict
    assert verdict is not None
    name = target.name if target.name == target.runtime else f"{target.name} ({target.runtime})"
    parts: list[RenderableType] = [
        Text(f"{'fits' if verdict.passed else 'does not fit'} {name}", style="bold")
    ]
    for margin in verdict.margins:
        over = margin.value is None or margin.value > margin.limit
        parts.append(Text(f"  {'NO' if over else 'ok'}  {margin.name}: {margin.text}"))
    budgets = {margin.name for margin in verdict.margins}
    for finding in verdict.findings:
        if finding.check not in budgets:
            level = "NO" if finding.level == "fail" else "!!"
            parts.append(Text(f"  {level}  {clean(finding.message, 1000)}"))
    return parts
