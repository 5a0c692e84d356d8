"""What `dist/` says about itself: `index.json` and `SHA256SUMS` per target, from the state.

They describe the released files that lie there, sorted, and nothing else. Written at the end of
every build, also of a failed or interrupted one.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tflbuild.engine.files import FileDigests
from tflbuild.engine.state import Released, State
from tflbuild.errors import TaskError
from tflbuild.step import Artifact
from tflbuild.store.local import Store

INDEX = "index.json"
SUMS = "SHA256SUMS"

# The names that a manifest can give (DESIGN section 2), none of which holds a "/".
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
OPTIMIZATION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,49}")
SHA256 = re.compile(r"[0-9a-f]{64}")


def publish(root: Path, dist: str, state: State, store: Store, digests: FileDigests) -> list[str]:
    """Bring every target's index and checksums in line; the paths of all index files.

    A released file that is gone, or that somebody edited, is not in them.
    """
    by_target: dict[str, list[Released]] = {}
    for row in state.released().values():
        here = row.path == f"{dist}/{row.target}/{Path(row.path).name}"
        if here and _untouched(row, digests):
            by_target.setdefault(row.target, []).append(row)
    written = []
    for target, rows in sorted(by_target.items()):
        folder = root / dist / target
        for name, content in (
            (INDEX, index_text(target, rows)),
            (SUMS, sums_text(rows)),
        ):
            store.write(folder / name, content.encode(), durable=True)
            written.append(f"{dist}/{target}/{name}")
    known = set(by_target)
    for folder in sorted((root / dist).glob("*")) if (root / dist).is_dir() else []:
        if folder.is_dir() and folder.name not in known:
            _drop_index(folder)
    return written


def _untouched(row: Released, digests: FileDigests) -> bool:
    try:
        return digests.digest(row.path) == row.sha256
    except TaskError:
        return False


def _drop_index(folder: Path) -> None:
    """A folder with nothing released in it has no index; files that are not ours keep it."""
    if index_is_ours(folder):
        (folder / INDEX).unlink(missing_ok=True)
        (folder / SUMS).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()


def move_away(root: Path, row: Released, digests: FileDigests) -> None:
    """An artifact is released at another path (another `dist_dir`): its old file goes."""
    if _untouched(row, digests):
        (root / row.path).unlink()
        _drop_index((root / row.path).parent)


def index_text(target: str, rows: Iterable[Released]) -> str:
    artifacts = []
    for row in sorted(rows, key=lambda row: row.path):
        model, rest = row.artifact.split(":", 1)
        artifacts.append(
            {
                "file": Path(row.path).name,
                "model": model,
                "optimization": rest.split("@", 1)[0],
                "sha256": row.sha256,
                "size": row.size,
            }
        )
    return json.dumps({"version": 1, "target": target, "artifacts": artifacts}, indent=1) + "\n"


def sums_text(rows: Iterable[Released]) -> str:
    """The format of sha256sum(1): `sha256sum -c SHA256SUMS` checks a target's folder."""
    names = sorted((Path(row.path).name, row.sha256) for row in rows)
    return "".join(f"{sha256}  {name}\n" for name, sha256 in names)


def index_is_ours(folder: Path) -> bool:
    """The folder holds an index that tflbuild wrote, and not somebody's own file of that name."""
    try:
        content = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("version") == 1 and "artifacts" in content


def adopt(root: Path, dist: str, state: State) -> None:
    """The state is new, but `dist/` is not: what its indexes list is ours again (one that was
    edited since is then restored, as ever)."""
    if state.released() or not (root / dist).is_dir():
        return
    for folder in sorted((root / dist).iterdir()):
        if not index_is_ours(folder):
            continue
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            for entry in json.loads((folder / INDEX).read_text())["artifacts"]:
                row = _listed(dist, folder.name, entry)
                if row is not None:
                    state.release(row)


def _listed(dist: str, target: str, entry: dict[str, Any]) -> Released | None:
    """An index entry as a row; None for one that we cannot have written. What is adopted may be
    removed later, so a forged name must not lead out of the target's folder."""
    model, optimization, size = entry["model"], entry["optimization"], entry["size"]
    if not (MODEL_NAME.fullmatch(model) and OPTIMIZATION_NAME.fullmatch(optimization)):
        return None
    if not SHA256.fullmatch(entry["sha256"]) or type(size) is not int or size < 0:
        return None
    artifact = Artifact(model, optimization, target)
    return Released(str(artifact), target, f"{dist}/{artifact.file}", entry["sha256"], size)


def superfluous(state: State, wanted: Iterable[Artifact], dist: str) -> list[Released]:
    """Released files below `dist` that the manifest no longer has. Files elsewhere are those of
    another root manifest in the same folder."""
    keep = {str(artifact): artifact.file for artifact in wanted}
    return [
        row
        for name, row in sorted(state.released().items())
        if row.path.startswith(f"{dist}/")
        and (name not in keep or not row.path.endswith(keep[name]))
    ]


def withdraw(
    root: Path,
    state: State,
    digests: FileDigests,
    wanted: Iterable[Artifact],
    dist: str,
    note: Callable[[str], None],
) -> None:
    """Take released files that the manifest no longer has out of `dist/`.

    A file that somebody changed is not what we released: it stays, and is said.
    """
    for row in superfluous(state, wanted, dist):
        with contextlib.suppress(TaskError):
            if digests.digest(row.path) == row.sha256:
                (root / row.path).unlink()
                note(f"{row.path} is no longer in the manifest: removed")
            else:
                note(f"{row.path} is no longer in the manifest, but was edited: left as it is")
        state.withdraw(row.artifact)
