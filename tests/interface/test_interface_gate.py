"""The gate of the interface, without files."""

from __future__ import annotations

from typing import Any

from tflbuild.found import Findings
from tflbuild.interface import KINDS
from tflbuild.interface_gate import MOST, ROWS, judge
from tflbuild.lockfile import Locked
from tflbuild.manifest.model import Model, Source
from tflbuild.reporting.interfaces import of_table
from tflbuild.verdict import FAIL, WARN, Verdict


def tensor(name: str, scale: float = 0.0) -> Any:
    scaled = {"scale": [scale], "zero_point": [0]} if scale else {}
    return {"name": name, "shape": [1], "dtype": "int8", **scaled}


def of(*outputs: Any, more: Any = ()) -> Any:
    serve = {"name": "serve", "main": True, "inputs": [], "outputs": list(outputs)}
    return {"signatures": [serve, *more]}


def other(name: str) -> Any:
    return {"name": name, "main": False, "inputs": [], "outputs": []}


def locked(interface: Any, target: str = "litert") -> Locked:
    return Locked(f"m:o@{target}", "0" * 64, {}, "0" * 64, 1, {}, interface)


def verdict(new: Any, *last: Locked, allow: tuple[str, ...] = ()) -> Verdict:
    found = Findings()
    model = Model("m", Source("keras"), (), (), allow_interface_change=allow)
    judge(found, new, model, {one.target: one for one in last})
    return found.verdict()


def test_the_same() -> None:
    told = verdict(of(tensor("y")), locked(of(tensor("y"))))
    assert (told.findings, told.tables) == ((), ())


def test_nothing_to_hold_it_against() -> None:
    assert verdict(of(tensor("y"))) == Verdict()
    assert verdict(None, locked(of(tensor("y")))) == Verdict()


def test_a_change_fails_with_its_remedy_and_a_table() -> None:
    told = verdict(of(tensor("z")), locked(of(tensor("y"))))
    (finding,) = told.findings
    assert (finding.level, finding.check) == (FAIL, "interface")
    assert finding.message.endswith(
        "; undo it, or write `allow_interface_change: [names]` in model 'm' to release it"
    )
    (table,) = told.tables
    assert table.failed
    assert table.rows == (("output", "0 y int8[1]", "0 z int8[1]", "names"),)


def test_an_allowed_kind_warns_and_others_fail() -> None:
    old, new = of(tensor("y", 0.5), tensor("a")), of(tensor("y", 0.25), tensor("b"))
    told = verdict(new, locked(old), allow=("quantization",))
    assert [f.level for f in told.findings] == [WARN, FAIL]
    assert told.tables[0].failed
    told = verdict(new, locked(old), allow=KINDS)
    assert [f.level for f in told.findings] == [WARN, WARN]
    assert told.passed
    assert not told.tables[0].failed


def test_a_signature_beside_several_warns_and_beside_one_fails() -> None:
    two, three = of(more=[other("a")]), of(more=[other("a"), other("b")])
    (finding,) = verdict(three, locked(two)).findings
    assert (finding.level, finding.message) == (
        WARN, "signature 'b' is new: nobody sees it who does not ask for it",
    )  # fmt: skip
    assert not verdict(two, locked(of())).passed


def test_targets_that_released_other_interfaces() -> None:
    y, z = locked(of(tensor("y")), "a"), locked(of(tensor("z")), "b")
    told = verdict(of(tensor("z")), y, z)
    (finding,) = told.findings
    assert finding.message.startswith("target a: output 'y' is now called 'z'")
    both = verdict(of(tensor("z")), y, locked(of(tensor("y")), "b"))
    assert len(both.findings) == 1
    assert both.findings[0].message.startswith("output 'y'")


def test_a_thousand_changes_are_some_lines() -> None:
    old, new = (of(*(tensor(f"{side}{i}") for i in range(1000))) for side in "ab")
    told = verdict(new, locked(old))
    assert len(told.findings) == MOST + 1
    assert told.findings[-1].message == f"{1000 - MOST} more differences from the last release"
    assert told.findings[-1].level == FAIL
    assert len(told.tables[0].rows) == ROWS
    allowed = verdict(new, locked(old), allow=("names",))
    assert allowed.passed
    assert not allowed.tables[0].failed


def test_names_of_strangers_stay_on_their_line() -> None:
    told = verdict(of(tensor("\x1b[31m\n" + "y" * 3000)), locked(of(tensor("y"))))
    lines = of_table(told.tables[0], 80)
    assert all(line.isprintable() for line in lines)
    assert told.findings[0].message.isprintable()


def test_the_table_fits_80_columns() -> None:
    long = [{**tensor(f"{n}_probabilities", 0.00390625), "shape": [1, 224, 224, 3]} for n in "ab"]
    told = verdict(of(long[1]), locked(of(long[0])))
    lines = of_table(told.tables[0], 80)
    assert max(map(len, lines)) <= 80
    assert "a_probabilities" in "\n".join(lines)
    assert "b_probabilities" in "\n".join(lines)
