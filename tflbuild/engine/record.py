"""The record: what a build with nothing to do compares instead of building a graph.

Per model it holds every input and output file, every folder whose listing mattered and every
path that was looked for and absent, as size, mtime, ctime and inode; and, for all models, the
interpreter, its module path, the processor, the site-packages folders, tflbuild's own sources,
the manifests and `tflbuild.lock`. A difference only sends a model the slow way, where digests
decide. This module is on the path of a build with nothing to do: it imports no YAML, no schema, no
NumPy.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tflbuild.engine.files import Stat
from tflbuild.environment import variable_digest, worker_path

FORMAT = 2

# path, size, mtime, ctime, inode, and a digest where the entry was young when recorded (the
# file may have changed since without a visible difference, so its content is compared).
# An absent path is [path].
Entry = list[Any]


@dataclass
class ModelRecord:
    section: str  # digest of what the manifest says of the model
    tasks: int
    entries: list[Entry]
    variables: dict[str, str | None] = field(default_factory=dict)  # declared; digests of values


@dataclass
class Record:
    """What the last builds left, and how much of it still holds."""

    token: str = ""  # the same as in the state that it was written with
    manifest: str = ""  # name of the root manifest
    place: dict[str, Any] = field(default_factory=dict)
    common: list[Entry] = field(default_factory=list)  # site-packages, tflbuild itself
    manifests: list[Entry] = field(default_factory=list)  # what globs listed, tflbuild.lock
    outputs: list[Entry] = field(default_factory=list)  # index files and the summary
    names: list[str] = field(default_factory=list)  # all models of the manifests
    models: dict[str, ModelRecord] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Record:
        """An empty record when there is none that can be read."""
        try:
            raw = json.loads(path.read_bytes())
            if raw.pop("format") != FORMAT:
                return cls()
            raw["models"] = {name: ModelRecord(*entry) for name, entry in raw["models"].items()}
            record = cls(**raw)
            return record if record._sound() else cls()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls()

    def _sound(self) -> bool:
        """What `unchanged` does not find out by itself: the types of what is used elsewhere."""
        lists = [self.names, self.common, self.manifests, self.outputs]
        models = self.models.values()
        return (
            all(isinstance(it, list) for it in [*lists, *(m.entries for m in models)])
            and all(isinstance(name, str) for name in self.names)
            and all(type(m.tasks) is int and isinstance(m.variables, dict) for m in models)
        )

    def dump(self) -> bytes:
        raw = {
            "format": FORMAT,
            "token": self.token,
            "manifest": self.manifest,
            "place": self.place,
            "common": self.common,
            "manifests": self.manifests,
            "outputs": self.outputs,
            "names": self.names,
            "models": {
                n: [m.section, m.tasks, m.entries, *([m.variables] if m.variables else [])]
                for n, m in self.models.items()
            },
        }
        return json.dumps(raw, separators=(",", ":")).encode()

    def same_place(self) -> bool:
        """Same interpreter, same packages, same tflbuild."""
        return self.place == place() and unchanged("/", self.common)

    def same_manifests(self, root: str, manifest: str) -> bool:
        return (
            self.manifest == manifest and bool(self.manifests) and unchanged(root, self.manifests)
        )

    def clean_models(self, root: str) -> set[str]:
        """The models none of whose files and variables changed."""
        return {
            name
            for name, m in self.models.items()
            if unchanged(root, m.entries)
            and (not m.variables or m.variables == variables_now(m.variables))
        }


def place() -> dict[str, Any]:
    """What decides which code runs, beyond files: the interpreter, its module path, and the
    processor, which is in the keys of what depends on it (`decide.CPU_BOUND`)."""
    return {
        "python": sys.version, "executable": sys.executable, "path": worker_path(),
        "cpu": processor(),
    }  # fmt: skip


# Lines of /proc/cpuinfo that say which processor it is, on x86 and ARM.
_CPU = ("model name", "cpu model", "uarch", "flags", "Features", "CPU implementer", "CPU part",
        "CPU variant")  # fmt: skip


def processor(path: str = "/proc/cpuinfo") -> str:
    """A digest of the name and the instruction sets of the first processor; "" where the system
    does not say. The other processors are not read: the kernel writes the file as it is read, and
    takes long where there are many."""
    found = []
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            for line in stream:
                if not line.strip():
                    break
                key, _, value = line.partition(b":")
                if key.strip().decode("ascii", "replace") in _CPU:
                    found.append(key.strip() + b":" + b" ".join(value.split()))
    except OSError:
        return ""
    return f"{zlib.crc32(b'|'.join(found)):08x}" if found else ""


def variables_now(names: Iterable[str]) -> dict[str, str | None]:
    """Digests of declared variables; None for those that are not set."""
    return {name: variable_digest(os.environ.get(name)) for name in names}


def unchanged(base: str, entries: Iterable[Entry]) -> bool:
    """Every entry is as it was; entries of another shape than ours are not."""
    try:
        return _unchanged(base if base.endswith("/") else base + "/", entries)
    except (TypeError, ValueError, LookupError):
        return False


def _unchanged(prefix: str, entries: Iterable[Entry]) -> bool:
    """The hot loop of a build with nothing to do."""
    stat = os.stat
    for entry in entries:
        try:
            s = stat(prefix + entry[0])
        except OSError:
            if len(entry) == 1:
                continue
            return False
        if (
            len(entry) == 1
            or s.st_mtime_ns != entry[2]
            or s.st_size != entry[1]
            or s.st_ino != entry[4]
            or s.st_ctime_ns != entry[3]
        ):
            return False
        if entry[5] is not None and content_digest(prefix + entry[0]) != entry[5]:
            return False
    return True


def content_digest(path: str) -> str | None:
    """SHA-256 of a file's content, or of a folder's listing; None when it cannot be read."""
    import hashlib  # only young entries need it

    try:
        if os.path.isdir(path):
            data = "\0".join(sorted(os.listdir(path))).encode()
            return hashlib.sha256(data).hexdigest()
        with open(path, "rb") as stream:  # noqa: PTH123
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return None


def entry(base: str, path: str) -> Entry:
    """Record what lies at a path (relative to `base`) now."""
    full = os.path.join(base, path)
    now = Stat.of(full)
    if now is None:
        return [path]
    content = content_digest(full) if now.young(time.time_ns()) else None
    return [path, now.size, now.mtime, now.ctime, now.inode, content]


def hashed_entry(path: str, seen: tuple[Stat, int, str]) -> Entry:
    """Record a file as it stood when it was hashed: recording what lies there now could vouch
    for a content that nobody read."""
    then, when, digest = seen
    content = digest if then.young(when) else None
    return [path, then.size, then.mtime, then.ctime, then.inode, content]


def common_entries() -> list[Entry]:
    """The folders that packages are installed in, and tflbuild's own sources."""
    paths = []
    for folder in worker_path():
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        if any(name.endswith((".dist-info", ".egg-info")) for name in names):
            paths.append(folder)
    package = Path(__file__).resolve().parents[1]
    for folder, subfolders, files in os.walk(package):
        subfolders[:] = [name for name in subfolders if name != "__pycache__"]
        paths += [os.path.join(folder, n) for n in files if n.endswith((".py", ".json"))]
    return [entry("/", path.lstrip("/")) for path in sorted(paths)]
