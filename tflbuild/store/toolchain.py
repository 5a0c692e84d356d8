"""The toolchain part of a key, read from package metadata: nothing heavy is imported for it."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

from tflbuild.environment import worker_path


class Toolchain:
    """Which distributions stand behind which modules, on the path that workers use."""

    def __init__(self) -> None:
        self._by_module: dict[str, dict[str, str]] = {}
        self._distributions: list[tuple[str, str, str, str]] | None = None

    def of(self, modules: Iterable[str], cpu: bool = False) -> Mapping[str, str]:
        """Versions of everything behind `modules`, with Python and machine.

        `cpu` adds the CPU class, for stages whose last bits depend on it.
        """
        result = {
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "machine": f"{platform.system()}-{platform.machine()}",
        }
        for module in modules:
            result.update(self._module(module))
        if cpu:
            result["cpu"] = cpu_class()
        return result

    def _module(self, module: str) -> dict[str, str]:
        if module not in self._by_module:
            claimed = {}
            for name, version, tag, files in self._scan():
                # Several distributions may claim one module (tensorflow, tensorflow-cpu): all.
                if f"\n{module}/" in files or f"\n{module}.py," in files:
                    claimed[name] = f"{version} {tag}".strip()
            self._by_module[module] = claimed or {module: _content(module)}
        return self._by_module[module]

    def _scan(self) -> list[tuple[str, str, str, str]]:
        if self._distributions is None:
            found: dict[str, tuple[str, str, str, str]] = {}  # the first on the path is imported
            for distribution in metadata.distributions(path=worker_path()):
                name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
                wheel = distribution.read_text("WHEEL") or ""
                tags = sorted(
                    line.partition(":")[2].strip()
                    for line in wheel.splitlines()
                    if line.startswith("Tag:")
                )
                files = distribution.read_text("RECORD") or ""
                top = distribution.read_text("top_level.txt") or ""
                files += "".join(f"\n{line.strip()}/" for line in top.splitlines() if line.strip())
                found.setdefault(name, (name, distribution.version, " ".join(tags), "\n" + files))
            self._distributions = sorted(found.values())
        return self._distributions


MAX_FILES = 2000  # of one package, whose content is read


def module_files(module: str) -> list[str]:
    """The Python files of an installed module or package, wherever it lies; none when it is
    absent."""
    spec = PathFinder.find_spec(module, worker_path())
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [spec.origin] if spec.origin and os.path.isfile(spec.origin) else []
    found = []
    for place in spec.submodule_search_locations:
        for folder, subfolders, names in os.walk(place):
            subfolders[:] = sorted(name for name in subfolders if name != "__pycache__")
            found += [os.path.join(folder, n) for n in sorted(names) if n.endswith((".py", ".so"))]
    return found


def loose_files(root: Path, modules: Iterable[str]) -> tuple[str, ...]:
    """The files of modules that were not installed, but lie on the module path all the same;
    relative to the root."""
    found: list[str] = []
    for module in modules:
        files = module_files(module) if module != "tflbuild" else []
        if files and not {"site-packages", "dist-packages"} & set(files[0].split(os.sep)):
            found += files[:MAX_FILES]
    return tuple(os.path.relpath(path, root) for path in found)


def _content(module: str) -> str:
    """What stands for the version of a module of no distribution."""
    files = module_files(module) if module != "tflbuild" else []
    if not files:
        return "no distribution"
    digest = hashlib.sha256()
    base = os.path.commonpath([os.path.dirname(path) for path in files])
    for index, path in enumerate(files):
        digest.update(os.fsencode(os.path.relpath(path, base)) + b"\0")
        try:
            if index < MAX_FILES:
                digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
            else:
                digest.update(str(os.stat(path).st_size).encode() + b"\0")
        except OSError:
            digest.update(b"?")
    return f"sha256:{digest.hexdigest()[:16]}"


# The instruction sets that oneDNN, Eigen and XNNPACK choose their kernels by.
_ISA = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "fma", "asimd", "asimddp",
        "i8mm", "sve")  # fmt: skip


def cpu_class() -> str:
    """The instruction sets of this CPU that numeric kernels choose by, as one word."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    for line in text.splitlines():
        if line.startswith(("flags", "Features")):
            flags = set(line.partition(":")[2].split())
            return "+".join(name for name in _ISA if name in flags) or "base"
    return "unknown"
