"""Globs of `include`, with the folders whose listing decided what they match."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase

_MAGIC = re.compile(r"[*?\[]")


def is_glob(pattern: str) -> bool:
    """Whether a pattern is more than a plain path."""
    return _MAGIC.search(pattern) is not None


def expand(pattern: str, folder: str, skip: frozenset[str]) -> tuple[list[str], set[str]]:
    """The files that a glob matches below `folder`, sorted, and the folders it depended on.

    `**` stands for any number of folders and follows no symlinks, so that it ends. Names that
    begin with a dot match only a pattern that begins with one; folders in `skip` are not entered.
    """
    listed: set[str] = set()
    found = [os.path.normpath(folder)]
    segments = [s for s in pattern.split("/") if s not in ("", ".")]
    globbed = False
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "**":
            globbed, found = True, _below(found, listed, skip, files=last)
        elif is_glob(segment):
            globbed = True
            found = [
                entry.path
                for at in found
                for entry in _list(at, listed)
                if fnmatchcase(entry.name, segment)
                and (segment.startswith(".") or not entry.name.startswith("."))
                and (last or (entry.is_dir() and entry.path not in skip))
            ]
        else:
            if globbed:  # a file that appears here later would match
                listed.update(at for at in found if os.path.isdir(at))
            found = [os.path.normpath(os.path.join(at, segment)) for at in found]
            found = [path for path in found if os.path.exists(path)]
        found = list(dict.fromkeys(found))
    return sorted(path for path in found if os.path.isfile(path)), listed


def _list(folder: str, listed: set[str]) -> list[os.DirEntry[str]]:
    listed.add(folder)
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda e: e.name)
    except OSError:  # a folder that cannot be listed holds nothing that can be read
        return []


def _below(found: list[str], listed: set[str], skip: frozenset[str], files: bool) -> list[str]:
    result, todo, seen = [], list(reversed(found)), set[str]()
    while todo:
        folder = todo.pop()
        if folder in seen or folder in skip or not os.path.isdir(folder):
            continue
        seen.add(folder)
        result.append(folder)
        for entry in _list(folder, listed):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                todo.append(entry.path)
            elif files:
                result.append(entry.path)
    return result
