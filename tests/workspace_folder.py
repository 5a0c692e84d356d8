"""A workspace on disk, for tests that build."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tflbuild
from tflbuild.api import BuildResult
from tflbuild.engine.zygote import ZygotePool


class WorkspaceFolder:
    """A folder to write a workspace into, to build and to look at."""

    def __init__(self, root: Path, pool: ZygotePool) -> None:
        self.root = root
        self.pool = pool

    def write(self, manifest: str | None = None, files: Mapping[str, Any] | None = None) -> Path:
        """Write `tflbuild.yaml` and files by path: text, bytes, an array (.npy), a dict of
        arrays (.npz), or a Path (file or folder) to copy. Gives the root."""
        everything: dict[str, Any] = dict(files or {})
        if manifest is not None:
            everything["tflbuild.yaml"] = manifest
        for name, content in everything.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                copy = shutil.copytree if content.is_dir() else shutil.copyfile
                copy(content, path)
            elif isinstance(content, np.ndarray):
                np.save(path, content)
            elif isinstance(content, Mapping):
                np.savez(path, **content)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self.root

    def build(self, *selectors: str, **options: Any) -> BuildResult:
        """Build with the session's workers; options as `tflbuild.build` takes them."""
        return tflbuild.build(self.root, selectors, pool=self.pool, **options)

    def report(self, path: str) -> Any:
        """A report, by its path below `build/reports`."""
        return json.loads((self.root / "build/reports" / path).read_text())

    def dist(self) -> dict[str, bytes]:
        """Everything below `dist`, by path."""
        dist = self.root / "dist"
        return {
            path.relative_to(dist).as_posix(): path.read_bytes()
            for path in sorted(dist.rglob("*"))
            if path.is_file()
        }
