"""Benchmarks in short, for a pull request: ratios beside their limits, and what casts doubt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tflbuild.manifest.model import RatioLimit

Ratios = Sequence[Mapping[str, Any]]  # of a report of the stage


def ratio_parts(measured: Mapping[str, Any], limits: Sequence[RatioLimit]) -> list[str]:
    """`int8 0.41× of float32 (0.38–0.44), limit 0.6`: of each file the ratios that have limits,
    else that to the first file; of several signatures each."""
    files = [file["file"] for file in measured["files"]]
    several = len(measured["signatures"]) > 1
    parts: list[str] = []
    for signature in measured["signatures"]:
        where = f" in {signature['signature']}" if several else ""
        parts += _of_kind(signature["ratios"], files, limits, "time", where)
    return parts + list(_of_kind(measured["memory_ratios"], files, limits, "memory", " memory"))


def _of_kind(
    ratios: Ratios, files: Sequence[str], limits: Sequence[RatioLimit], kind: str, where: str
) -> Iterator[str]:
    for file in files:
        asked = {
            limit.against: number
            for limit in limits
            if limit.optimization == file.partition("+")[0]
            and (number := getattr(limit, kind)) is not None
        }
        own = [ratio for ratio in ratios if ratio["file"] == file]
        judged = [ratio for ratio in own if ratio["against"].partition("+")[0] in asked]
        if not judged and kind == "time":
            judged = [ratio for ratio in own if ratio["against"] == files[0] != file]
        for ratio in judged:
            limit = asked.get(ratio["against"].partition("+")[0])
            said = "" if limit is None else f", limit {limit:g}"
            yield (
                f"{file} {ratio['ratio']:.2f}× of {ratio['against']}{where}"
                f" ({ratio['low']:.2f}–{ratio['high']:.2f}){said}"
            )
