"""Action keys: what an action is made of, and the digest of it.

A key is SHA-256 over canonical JSON of the action's kind and version, its parameters, the
digests of its inputs and its toolchain. The parts are kept beside the key, so that `why` can
name the one that differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tflbuild.store.digest import bytes_digest, canonical_json

KEY_SCHEMA = 1


@dataclass(frozen=True)
class Action:
    """A pure function's application: equal actions give equal outputs, here or elsewhere."""

    stage: str
    version: int
    params: Mapping[str, Any]
    inputs: Mapping[str, str]  # input name → SHA-256
    toolchain: Mapping[str, str]  # distribution or machine fact → version

    def parts(self) -> dict[str, Any]:
        return {
            "schema": KEY_SCHEMA,
            "stage": self.stage,
            "version": self.version,
            "params": dict(self.params),
            "inputs": dict(self.inputs),
            "toolchain": dict(self.toolchain),
        }

    def key(self) -> str:
        return bytes_digest(canonical_json(self.parts()))


@dataclass(frozen=True)
class Change:
    """One part of a key that differs. `old` or `new` is None where the part is absent."""

    part: str  # "inputs.source/saved_model.pb", "params.io", "toolchain.keras"
    old: Any
    new: Any
    name: str = ""  # of an input: the file that a person knows it as

    def __str__(self) -> str:
        if self.part.startswith("inputs."):
            name = self.name or self.part.removeprefix("inputs.")
            if self.old is None:
                return f"new input {name}"
            return f"input {name} is gone" if self.new is None else f"{name} changed"
        return f"{self.part}: {_show(self.old)} → {_show(self.new)}"


def _show(value: Any) -> str:
    if value is None:
        return "(none)"
    text = value if isinstance(value, str) else canonical_json(value).decode()
    return text if len(text) <= 60 else text[:57] + "…"


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The parts that differ between two keys, flattened to leaves, sorted."""
    before, after = dict(_leaves("", old)), dict(_leaves("", new))
    return [
        Change(part, before.get(part), after.get(part))
        for part in sorted(before.keys() | after.keys())
        if before.get(part) != after.get(part)
    ]


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else str(key), item)
    else:
        yield prefix, value
