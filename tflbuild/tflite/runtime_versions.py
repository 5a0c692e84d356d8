"""Which runtime has which version of an operator, in two numberings.

TensorFlow's: the interpreter inside TensorFlow, `tflite-runtime`, and
`org.tensorflow:tensorflow-lite` up to 2.17. LiteRT's: `ai-edge-litert` and
`com.google.ai.edge.litert:litert`, which began again at 1.0. Google Play services has a third that
says nothing about operators: it is unknown here. Data and their source: `runtime_table.py`.
"""

from __future__ import annotations

import re
from functools import cache

from .runtime_table import LITERT_HAS_ALL_OF, LITERT_SINCE, TENSORFLOW_SINCE

TENSORFLOW, LITERT = "tensorflow", "litert"
NUMBERINGS = (TENSORFLOW, LITERT)
FIRST_LITERT = LITERT_HAS_ALL_OF[0][0]

Version = tuple[int, ...]
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}", re.ASCII)


def parse(version: str) -> Version:
    """The parts of a version as numbers, so that 2.9 comes before 2.14, and "2.3" equals "2.3.0".

    Raises ValueError for what is no version.
    """
    if not _VERSION.fullmatch(version):
        raise ValueError(f"{version!r} is no version: write numbers with dots, such as 2.14")
    parts = [int(part) for part in version.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def newest(versions: list[str]) -> str:
    """The newest of some versions, which are not none."""
    return max(versions, key=parse)


def first_runtime(op: str, version: int, numbering: str = TENSORFLOW) -> str | None:
    """The first release that has this version of a builtin operator; None: nobody knows one.

    Raises ValueError for an unknown numbering.
    """
    if numbering not in NUMBERINGS:
        raise ValueError(f"{numbering!r} is no numbering of runtimes: {', '.join(NUMBERINGS)}")
    since = _tensorflow().get((op, version))
    if since is None or numbering == TENSORFLOW:
        return since
    return _litert().get((op, version), FIRST_LITERT)


def versions_of(op: str) -> list[int]:
    """The versions of an operator that some runtime has, ascending."""
    return sorted(version for name, version in _tensorflow() if name == op)


def to_tensorflow(numbering: str, version: str) -> str | None:
    """The newest TensorFlow version all of whose operator versions that runtime has, None: unknown.

    For LiteRT it may have some of the next one's too: to judge a file, ask `first_runtime` with the
    target's own numbering. Raises ValueError for what is no version.
    """
    asked = parse(version)
    if numbering == TENSORFLOW:
        return version
    found = [theirs for ours, theirs in LITERT_HAS_ALL_OF if parse(ours) <= asked]
    return found[-1] if numbering == LITERT and found else None


def to_litert(numbering: str, version: str) -> str | None:
    """The oldest LiteRT release that has everything of that runtime, None: unknown.

    Raises ValueError for what is no version.
    """
    asked = parse(version)
    if numbering == LITERT:
        return version
    found = [ours for ours, theirs in LITERT_HAS_ALL_OF if parse(theirs) >= asked]
    return found[0] if numbering == TENSORFLOW and found else None


@cache
def oldest_runtime(op: str, numbering: str = TENSORFLOW) -> str | None:
    """The first release that has an operator in any version; None where none is known."""
    found = [
        first_runtime(name, version, numbering) for name, version in known_pairs() if name == op
    ]
    known = [release for release in found if release is not None]
    return min(known, key=parse, default=None)


def known_pairs() -> list[tuple[str, int]]:
    """Every (operator, version) that some runtime has."""
    return sorted(_tensorflow())


@cache
def _tensorflow() -> dict[tuple[str, int], str]:
    found = {}
    for line in TENSORFLOW_SINCE.split("\n"):
        name, *releases = line.split() or [""]
        for version, release in enumerate(releases, 1):
            if release != "-":
                found[name, version] = release if release.count(".") == 2 else f"{release}.0"
    return found


@cache
def _litert() -> dict[tuple[str, int], str]:
    found = {}
    for line in LITERT_SINCE.strip().split("\n"):
        release, pairs = line.split(maxsplit=1)
        for pair in pairs.split(", "):
            name, version = pair.split()
            found[name, int(version)] = release
    return found
