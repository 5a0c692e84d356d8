"""What runtime a file needs, why, and what its own numbers say wrong.

`describe` computes, `corrections` and `metadata_value` are what `write.rewrite` sets right;
`version_judge.too_new` holds it against a target's oldest runtime. See docs/VERSIONS.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .model import Op, Subgraph, TfliteModel
from .op_versions import meant, needed
from .runtime_versions import NUMBERINGS, TENSORFLOW, first_runtime, newest, parse

METADATA_SIZE = 16  # bytes, zeros behind the text: as the converter writes it


_Group = tuple[str, int, bool]  # operator, version, and whether it is known that it needs that


@dataclass(frozen=True)
class _Use:
    """One builtin operation. `version` is what it needs, None where nobody can tell."""

    graph: Subgraph
    op: Op
    version: int | None
    why: str


def describe(model: TfliteModel) -> dict[str, Any]:
    """What runtime the file needs, for `json.dumps`. The same file gives the same.

    `min_runtime`: {"tensorflow", "litert"}, the first release that has all of it; None where
    something is unknown, and where no builtin operator is there. `unknown`: pairs {op, version}
    that no runtime is known to have, or whose version cannot be told. `needs`: {op, version, since,
    count, why, first: {subgraph, op, layer}}, newest first, unknown ones before all; `since` is
    TensorFlow's number or None, `layer` the name of the first operation's first output. `written`:
    what the file says itself (metadata `min_runtime_version`), None without. `wrong`: {op, written,
    right} of operator codes; a version that the file asks for without need counts in `needs`,
    as a runtime looks it up.

    Never raises for what `read_model` accepts. Custom and select operators have no versions.
    """
    uses = _uses(model)
    return _describe(model, uses, _corrections(uses), as_it_is=True)


def corrections(model: TfliteModel) -> dict[tuple[str, int], int]:
    """The builtin operators with a wrong version: {(name, version as written): right version}.

    Operations that share an operator code have one version, the largest that one of them needs.
    What is not certain is not wrong: an operation whose version cannot be told, or one that no
    runtime is known to have, or a larger written version that no rule or runtime is known for.
    """
    return _corrections(_uses(model))


def _corrections(uses: list[_Use]) -> dict[tuple[str, int], int]:
    largest: dict[tuple[str, int], int] = {}
    uncertain = set()
    for use in uses:
        code = use.op.name, use.op.version
        largest[code] = max(largest.get(code, 0), use.version or 0)
        if use.version is None or first_runtime(use.op.name, use.version) is None:
            uncertain.add(code)
    found = {}
    for (name, written), right in largest.items():
        known = first_runtime(name, written) is not None and meant(name, written)
        if written > right and not known:
            continue  # it may say something that no rule says
        if right != written and (name, written) not in uncertain:
            found[name, written] = right
    return found


def metadata_value(model: TfliteModel) -> bytes | None:
    """What the entry `min_runtime_version` should hold once the versions are right: 16 bytes.

    None: leave it as it is, which is where something is unknown, unless what is known asks for
    more than the file says.
    """
    uses = _uses(model)
    described = _describe(model, uses, _corrections(uses), as_it_is=False)
    known = [need["since"] for need in described["needs"] if need["since"]]
    least = newest(known) if known else ""
    if described["unknown"] and not _older(described["written"], least):
        return None
    return least.encode().ljust(METADATA_SIZE, b"\0")


def _uses(model: TfliteModel) -> list[_Use]:
    found = []
    for graph in model.subgraphs:
        for op in graph.ops:
            if op.kind == "builtin":
                need = needed(op, graph)
                found.append(_Use(graph, op, need.version, need.why))
    return found


def _describe(
    model: TfliteModel,
    uses: list[_Use],
    wrong: Mapping[tuple[str, int], int],
    *,
    as_it_is: bool,
) -> dict[str, Any]:
    """`as_it_is`: the file as it is, else the file with `wrong` set right."""
    groups: dict[_Group, list[_Use]] = {}
    for use in uses:
        version = use.op.version if use.version is None else use.version
        groups.setdefault((use.op.name, version, use.version is not None), []).append(use)
    for use in _asked_in_vain(uses, {} if as_it_is else wrong):
        groups.setdefault((use.op.name, use.op.version, True), []).append(use)
    unknown = {(n, v) for n, v, told in groups if not told or first_runtime(n, v) is None}
    needs = [_need(group, its) for group, its in sorted(groups.items())]
    needs.sort(key=lambda need: parse(need["since"]) if need["since"] else (10**6,), reverse=True)
    return {
        "min_runtime": {
            numbering: None if unknown else _minimum(groups, numbering) for numbering in NUMBERINGS
        },
        "unknown": [{"op": name, "version": version} for name, version in sorted(unknown)],
        "needs": needs,
        "written": model.min_runtime_version,
        "wrong": [
            {"op": name, "written": written, "right": right}
            for (name, written), right in sorted(wrong.items())
        ],
    }


def _asked_in_vain(uses: list[_Use], put_right: Collection[tuple[str, int]]) -> list[_Use]:
    """Operations that share an operator code with a version above the need of all of them: a
    runtime looks it up all the same. Not those of codes that are put right."""
    largest: dict[tuple[str, int], int] = {}
    for use in uses:
        name, written = use.op.name, use.op.version
        needs = written if use.version is None else use.version
        largest[name, written] = max(largest.get((name, written), 0), needs)
    return [
        replace(
            use,
            version=use.op.version,
            why=f"the file asks for it and needs only version {largest[code]}",
        )
        for use in uses
        if (code := (use.op.name, use.op.version)) not in put_right and code[1] > largest[code]
    ]


def _need(group: _Group, uses: list[_Use]) -> dict[str, Any]:
    name, version, told = group
    first = uses[0]
    outputs = (first.graph.tensors[i].name for i in first.op.outputs if i >= 0)
    return {
        "op": name,
        "version": version,
        "since": first_runtime(name, version, TENSORFLOW) if told else None,
        "count": len(uses),
        "why": first.why,
        "first": {
            "subgraph": first.graph.index,
            "op": first.op.index,
            "layer": next(outputs, ""),
        },
    }


def _minimum(groups: Collection[_Group], numbering: str) -> str | None:
    releases = [first_runtime(name, version, numbering) for name, version, _ in groups]
    known = [release for release in releases if release is not None]
    return newest(known) if known else None


def _older(written: str | None, least: str) -> bool:
    """Whether a file's own number, which may be anything, is below what is known to be needed."""
    if not written or not least:
        return bool(least)
    try:
        return parse(written) < parse(least)
    except ValueError:
        return True
