"""What lies in `dist/` as the lines of `tflbuild.lock`: what would be locked, or why it cannot be.

An artifact can be locked when a build would leave it as it is: its file is released, whole, and
made from what lies here now. So the same decisions are asked that `plan` asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tflbuild.engine import decide
from tflbuild.engine.plan import BLOCKED, Planned, View, plan
from tflbuild.graph import artifacts_of
from tflbuild.interface import NAMES, SIGNATURES, Difference, differences
from tflbuild.lockfile import Locked, metric_key, rounded
from tflbuild.step import Step
from tflbuild.store.digest import bytes_digest, canonical_json
from tflbuild.verdict import printable

EQUAL, CHANGED, ADDED, REMOVED, REFUSED = "equal", "changed", "added", "removed", "refused"


@dataclass(frozen=True)
class Change:
    """One thing of an artifact that the lock tells otherwise."""

    what: str  # a key of the line, for a mapping with its own key: "metrics.accuracy"
    said: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "said", printable(self.said))  # names and versions of anybody

    def as_json(self) -> dict[str, str]:
        return {"what": self.what, "said": self.said}


@dataclass(frozen=True)
class Standing:
    """One artifact: what the lock says, what is released, or why nothing can be said of that."""

    artifact: str
    old: Locked | None
    new: Locked | None
    refused: str = ""  # why it cannot be locked as it is

    @property
    def status(self) -> str:
        if self.refused:
            return REFUSED
        if self.new is None:
            return REMOVED
        if self.old is None:
            return ADDED
        return EQUAL if self.old == self.new else CHANGED

    @property
    def changes(self) -> tuple[Change, ...]:
        if self.status != CHANGED:
            return ()
        assert self.old is not None
        assert self.new is not None
        return tuple(_changes(self.old, self.new))

    def as_json(self) -> dict[str, Any]:
        return {
            "artifact": self.artifact,
            "status": self.status,
            "changes": [change.as_json() for change in self.changes],
            "refused": self.refused,
            "sha256": None if self.new is None else self.new.sha256,
        }


def standings(seen: View, whole: bool) -> list[Standing]:
    """The selected artifacts, by name; with `whole` also the lines of those that the manifest has
    no more."""
    planned = {one.task: one for one in plan(seen)}
    released = seen.state.released()
    found = []
    for task in seen.selection.tasks:
        step = seen.graph.steps[task]
        if step.stage != "release":
            continue
        name = str(step.artifact)
        old, row = seen.locked.get(name), released.get(name)
        refused = _refused(seen, step, planned, row is not None)
        if refused or row is None:
            found.append(Standing(name, old, None, refused))
        else:
            found.append(Standing(name, old, _locked(seen, step, row.sha256, row.size)))
    if whole:
        wanted = {str(a) for model in seen.workspace.models for a in artifacts_of(model)}
        found += [Standing(n, old, None) for n, old in seen.locked.items() if n not in wanted]
    return sorted(found, key=lambda one: one.artifact)


def _refused(seen: View, step: Step, planned: Mapping[str, Planned], released: bool) -> str:
    """Why a build would not leave it as it is; "" where it would."""
    for name in seen.graph.needed([step.name]):
        one = planned[name]
        if one.action == decide.UP_TO_DATE and not one.missed:
            continue
        state = "stale" if released else "not released"
        if one.missed:
            return f"{state}: the gate of {name} does not pass: {one.missed[0]}"
        if one.action == BLOCKED:
            return f"{state}: {name} is blocked: {'; '.join(one.why)}"
        if one.action == decide.RESTORE and name == step.name:
            return f"{one.why[0] if one.why else 'its file is another'}: build first"
        why = "" if one.why == ("not built before",) else f" ({'; '.join(one.why[:2])})"
        return (
            f"not built: build first ({name} would run{why})"
            if not released
            else (f"stale: build first ({name} would run{why})")
        )
    return ""


def _locked(seen: View, step: Step, sha256: str, size: int) -> Locked:
    """What the line of an artifact is whose tasks are all up to date."""
    chain = _chain(seen, next(port.task for port in step.ports if port.task.startswith("convert:")))
    recipe: dict[str, Any] = {}
    toolchain: dict[str, str] = {}
    for name in chain:
        own = seen.graph.steps[name]
        inputs = seen.decider.inputs(own)
        parts = seen.decider.action(own, inputs).parts()
        # What other tasks of the chain made follows from these, and from the toolchain.
        files = {key: digest for key, digest in inputs.keyed.items() if key in own.files}
        recipe[name] = {
            "stage": parts["stage"], "version": parts["version"], "params": parts["params"],
            "inputs": files,
        }  # fmt: skip
        toolchain |= parts["toolchain"]
    validated = _measured(seen, step, "validate")
    signatures = [entry["signature"] for entry in validated["signatures"]]
    several = len(signatures) > 1
    return Locked(
        artifact=str(step.artifact),
        recipe=bytes_digest(canonical_json(recipe)),
        toolchain={name: _version(text) for name, text in sorted(toolchain.items())},
        sha256=sha256,
        size=size,
        min_runtime=_min_runtime(_measured(seen, step, "compat")),
        interface=validated["interface"],
        metrics={
            metric_key(entry["signature"], entry["name"], several): rounded(entry["file"])
            for entry in validated["metrics"]
            if entry.get("file") is not None
        },
        parity={
            metric_key(entry["signature"], entry["output"], several): rounded(entry["sqnr"])
            for entry in validated["parity"]
            if entry.get("sqnr") is not None
        },
    )


def _chain(seen: View, task: str) -> list[str]:
    """The tasks whose outputs a task reads, directly or not, and itself."""
    found: dict[str, None] = {}
    left = [task]
    while left:
        name = left.pop()
        if name not in found:
            found[name] = None
            left += [port.task for port in seen.graph.steps[name].ports]
    return sorted(found)


def _version(text: str) -> str:
    """Without the tags of its wheel."""
    return text.split()[0] if text.split() and text[0].isdigit() else text


def _measured(seen: View, step: Step, stage: str) -> dict[str, Any]:
    task = next(name for name in step.gates if name.startswith(f"{stage}:"))
    outputs = seen.decider.rows[task].outputs
    found: dict[str, Any] = json.loads(seen.decider.store.read(outputs[f"{stage}.json"][0]))
    return found


def _min_runtime(measured: Mapping[str, Any]) -> dict[str, str]:
    minimum = measured.get("versions", {}).get("min_runtime") or {}
    return {name: version for name, version in sorted(minimum.items()) if version}


def _changes(old: Locked, new: Locked) -> Iterable[Change]:
    """In the order that a person cares about."""
    told = differences(old.interface, new.interface)
    for change in told:
        yield Change(f"interface.{change.what}", change.said)
    for what, unit in (("metrics", ""), ("parity", " dB")):
        after: Mapping[str, float] = getattr(new, what)
        # What was renamed is compared under its new name: the interface has said so.
        before = _as_called_now(getattr(old, what), after, told)
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                a, b = (_number(m.get(name), unit) for m in (before, after))
                yield Change(f"{what}.{name}", f"{_called(what, name)} {a} → {b}")
    if old.size != new.size:
        yield Change("size", f"size {old.size:,} → {new.size:,} bytes")
    yield from _mapping("min_runtime", "needs", old.min_runtime, new.min_runtime)
    if old.sha256 != new.sha256:
        yield Change("sha256", f"SHA-256 {old.sha256[:12]} → {new.sha256[:12]}")
    if old.recipe != new.recipe:
        yield Change("recipe", f"recipe {old.recipe[:12]} → {new.recipe[:12]}")
    yield from _mapping("toolchain", "by", old.toolchain, new.toolchain)


def _as_called_now(
    before: Mapping[str, float], after: Mapping[str, float], changes: Iterable[Difference]
) -> dict[str, float]:
    """Numbers by signature and output, with those of what was renamed under the new names."""
    changes = tuple(changes)
    signatures = {
        str(c.new): str(c.old) for c in changes if c.what == SIGNATURES and c.old and c.new
    }
    found = dict(before)

    def renamed(was: str, now: str) -> None:
        if was in found and was not in after and now in after and now not in found:
            found[now] = found.pop(was)

    for new in [name for name in after if name not in before]:
        for now, was in signatures.items():
            if new.startswith(f"{now}/"):
                renamed(f"{was}/{new.removeprefix(f'{now}/')}", new)
        for c in changes:
            if c.what != NAMES or not c.where.startswith("output "):
                continue
            prefix, _, name = new.rpartition(str(c.new))
            if name or (prefix and not c.where.endswith(f" of signature {prefix[:-1]!r}")):
                continue
            of = f"{signatures.get(prefix[:-1], prefix[:-1])}/" if prefix else ""
            renamed(f"{of}{c.old}", new)
    return found


def _called(what: str, name: str) -> str:
    return name if what == "metrics" else f"SQNR of {name}"


def _number(value: float | None, unit: str) -> str:
    return "(none)" if value is None else f"{value:g}{unit}"


def _mapping(
    what: str, word: str, old: Mapping[str, str], new: Mapping[str, str]
) -> Iterable[Change]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            a, b = old.get(name, "(none)"), new.get(name, "(none)")
            yield Change(f"{what}.{name}", f"{word} {name} {a} → {b}")
