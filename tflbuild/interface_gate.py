"""The gate of the interface: a file against the last release, which `tflbuild.lock` tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild.found import Findings
from tflbuild.interface import Difference, Row, differences, side_by_side
from tflbuild.lockfile import Locked
from tflbuild.manifest.model import Model
from tflbuild.verdict import Table

CHECK = "interface"
MOST = 12  # differences that are told one by one
ROWS = 60  # of a table


def judge(
    found: Findings,
    interface: Mapping[str, Any] | None,
    model: Model,
    last: Mapping[str, Locked],
) -> None:
    """Each difference from the last release fails, unless the manifest allows its kind (then it
    warns) or nobody can notice it (a signature beside several others: it warns, too).

    Args:
        interface: that of the file, by `interface.of_model`; None: it was not measured.
        last: what was released last, by target; without one there is nothing to hold it against.
    """
    if interface is None:
        return
    for names, locked in _alike(last):
        changes = differences(locked, interface)
        where = f"target {', '.join(names)}: " if len(names) < len(last) else ""
        if not changes:
            found.check(CHECK, f"{where}as in the last release")
            continue
        failed = False
        for change in changes[:MOST]:
            failed |= _tell(found, change, model, where)
        if len(changes) > MOST:
            rest = changes[MOST:]
            level = found.warn if all(_passes(c, model) for c in rest) else found.fail
            failed |= level == found.fail
            level(CHECK, f"{where}{len(rest)} more differences from the last release")
        if not failed:
            found.check(CHECK, f"{where}no difference from the last release that is not allowed")
        rows = shown(side_by_side(locked, interface))
        title = f"{where}interface of the last release (tflbuild.lock) and of this file"
        columns = ("", "last release", "this file", "change")
        found.tables.append(Table(CHECK, title, columns, rows, failed))


def _alike(last: Mapping[str, Locked]) -> list[tuple[list[str], Mapping[str, Any]]]:
    """Targets share a conversion, and mostly what they released last."""
    groups: list[tuple[list[str], Mapping[str, Any]]] = []
    for target in sorted(last):
        interface = last[target].interface
        for names, other in groups:
            if other == interface:
                names.append(target)
                break
        else:
            groups.append(([target], interface))
    return groups


def _passes(change: Difference, model: Model) -> bool:
    return change.what in model.allow_interface_change or change.harmless


def _tell(found: Findings, change: Difference, model: Model, where: str) -> bool:
    """Whether it failed."""
    if change.what in model.allow_interface_change:
        found.warn(CHECK, f"{where}{change.message} (allowed by `allow_interface_change`)")
        return False
    if change.harmless:
        found.warn(CHECK, f"{where}{change.message}")
        return False
    found.fail(
        CHECK,
        f"{where}{change.message}; undo it, or write `allow_interface_change: [{change.what}]`"
        f" in model {model.name!r} to release it",
    )
    return True


def shown(rows: Sequence[Row]) -> tuple[tuple[str, ...], ...]:
    """The rows of a table; of a long one what differs."""
    if len(rows) > ROWS:
        rows = [row for row in rows if row.change][:ROWS]
    return tuple((row.place, row.old, row.new, row.change) for row in rows)
