"""What `tflbuild lock` says of an artifact that is not as the lock tells."""

from __future__ import annotations

from typing import Any

from tflbuild.engine.last_release import Standing
from tflbuild.lockfile import Locked


def signature(name: str, *outputs: str, main: bool = True) -> dict[str, Any]:
    tensors = [{"name": o, "shape": [1, n + 1], "dtype": "int8"} for n, o in enumerate(outputs)]
    return {"name": name, "main": main, "inputs": [], "outputs": tensors}


def line(*signatures: dict[str, Any], **numbers: Any) -> Locked:
    more: dict[str, Any] = {"metrics": {}, "parity": {}, **numbers}
    interface = {"signatures": list(signatures)}
    return Locked("m:o@t", "r" * 64, {}, "s" * 64, 1, {}, interface, **more)


def said(old: Locked, new: Locked) -> list[str]:
    return [change.said for change in Standing("m:o@t", old, new).changes]


def test_a_rename_is_told_once() -> None:
    old = line(signature("s", "digit"), parity={"digit": 144.7}, metrics={"accuracy": 0.9})
    new = line(signature("s", "class"), parity={"class": 144.7}, metrics={"accuracy": 0.9})
    assert said(old, new) == ["output 'digit' is now called 'class'"]
    worse = line(signature("s", "class"), parity={"class": 140.1}, metrics={"accuracy": 0.9})
    assert said(old, worse) == [
        "output 'digit' is now called 'class'", "SQNR of class 144.7 dB → 140.1 dB",
    ]  # fmt: skip


def test_what_came_and_went_is_no_rename() -> None:
    old = line(signature("s", "digit"), parity={"digit": 100.0})
    new = line(signature("s", "digit", "more"), parity={"more": 90.0})
    assert said(old, new)[1:] == [
        "SQNR of digit 100 dB → (none)", "SQNR of more (none) → 90 dB",
    ]  # fmt: skip


def test_renames_among_several_signatures() -> None:
    second = signature("second", "y", main=False)
    old = line(signature("one", "a/b"), second, parity={"one/a/b": 50.0, "second/y": 60.0})
    new = line(signature("one", "c"), second, parity={"one/c": 50.0, "second/y": 60.0})
    assert said(old, new) == ["output 'a/b' of signature 'one' is now called 'c'"]
    old = line(
        signature("one", "a"), second, parity={"one/a": 50.0, "second/y": 60.0},
        metrics={"one/accuracy": 0.5},
    )  # fmt: skip
    new = line(
        signature("uno", "a"), second, parity={"uno/a": 51.0, "second/y": 60.0},
        metrics={"uno/accuracy": 0.5},
    )  # fmt: skip
    assert said(old, new) == [
        "signature 'one' is now called 'uno'", "SQNR of uno/a 50 dB → 51 dB",
    ]  # fmt: skip
