"""The toolchain part of a key, read from package metadata: nothing heavy is imported for it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
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
            self._by_module[module] = claimed or {module: "no distribution"}
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
