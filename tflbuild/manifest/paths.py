"""Paths in manifests: relative to the manifest that holds them, and never out of the workspace."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from tflbuild.errors import ManifestError
from tflbuild.manifest.yamlfile import Node, describe
from tflbuild.pointers import dvc_hint, lfs_problem


class Paths:
    """The workspace root, and the folder of each manifest by its name in positions."""

    def __init__(self, root: Path, cwd: Path | None) -> None:
        self.root = str(root)
        self.skip: frozenset[str] = frozenset()  # folders that tflbuild writes: no glob enters
        self._cwd = None if cwd is None else os.path.realpath(cwd)
        self._folders: dict[str, str] = {}

    def label(self, manifest: str) -> str:
        """The manifest's name in positions; its values' paths resolve from here on."""
        cwd, base = self._cwd, self.root
        # From a subfolder `../tflbuild.yaml`: two files of one name must stay two, and findable.
        if cwd is not None and (lies_in(manifest, cwd) or lies_in(cwd, self.root)):
            base = cwd
        label = os.path.relpath(manifest, base)
        self._folders[label] = os.path.dirname(manifest)
        return label

    def folder_of(self, node: Node) -> str:
        """The folder of the manifest that holds a value."""
        return self._folders[node.position.file]

    def relative(self, path: str) -> str:
        """An absolute path inside the workspace, as a POSIX path relative to the root."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def inside(self, path: str) -> bool:
        """Whether the path lies in the workspace, as written and with its symlinks resolved."""
        return lies_in(path, self.root) and lies_in(os.path.realpath(path), self.root)

    def absolute(self, node: Node) -> str:
        """The absolute path that a value means; ManifestError when it leaves the workspace."""
        text = str(node.value)
        path = os.path.normpath(os.path.join(self.folder_of(node), text))
        if not self.inside(path):
            via = " (through a symlink)" if lies_in(path, self.root) else ""
            raise ManifestError(
                f"path {describe(text)} leaves the workspace{via}; bring what it names into the "
                "root manifest's folder",
                node.position,
            )
        return path

    def file(self, node: Node, suffix: str = "", other: str = "") -> str:
        """A file that must exist, relative to the root; `other` helps when the suffix is wrong."""
        path = self.absolute(node)
        if suffix and not path.endswith(suffix):
            raise ManifestError(
                f"expected a {suffix} file, got {describe(node.value)}{other}", node.position
            )
        if os.path.isdir(path):
            raise ManifestError(
                f"expected a file, but {describe(node.value)} is a folder", node.position
            )
        if not os.path.isfile(path):
            if os.path.exists(path):
                raise ManifestError(f"{describe(node.value)} is not a regular file", node.position)
            raise self.missing(node, path, "file")
        self.refuse_pointer(node, path)
        return self.relative(path)

    def refuse_pointer(self, node: Node, path: str) -> None:
        """ManifestError for a file that only stands for its content."""
        if problem := lfs_problem(path, self.relative(path)):
            raise ManifestError(problem, node.position)

    def missing(self, node: Node, path: str, what: str) -> ManifestError:
        """The error for a path that is not there, with the nearest name in its folder."""
        folder, name = os.path.split(path)
        base = self._cwd if self._cwd is not None and lies_in(self._cwd, self.root) else self.root
        if hint := dvc_hint(path, self.root, base):
            return ManifestError(f"no such {what}: {describe(node.value)}{hint}", node.position)
        try:
            hint = _beside(str(node.value), name, os.listdir(folder))
            # The manifest's own folder comes before what it says.
            if not hint and self.relative(path) != os.path.normpath(str(node.value)):
                hint = f" (looked for {describe(self.relative(path))})"
        except OSError:
            hint = f"; the folder {describe(self.relative(folder))} does not exist either"
        return ManifestError(f"no such {what}: {describe(node.value)}{hint}", node.position)


def _beside(said: str, name: str, there: list[str]) -> str:
    """The words that suggest the nearest name in the folder that was meant, as the manifest has
    to write it; nothing where none is near but by its suffix."""
    stem, suffix = os.path.splitext(name[:100].casefold())
    folded = {other.casefold(): other for other in there}
    alike = [
        other
        for other in folded
        if not other.endswith(suffix) or get_close_matches(stem, [other.removesuffix(suffix)], 1)
    ]
    match = get_close_matches(stem + suffix, alike, 1)
    if not match:
        return ""
    return f"; did you mean {os.path.join(os.path.dirname(said.rstrip('/')), folded[match[0]])!r}?"


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is a folder's or of something in it; both are normal."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
