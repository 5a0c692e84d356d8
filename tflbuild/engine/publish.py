"""What `dist/` says about itself: `index.json` and `SHA256SUMS` per target, from the state.

They describe the released files that lie there, sorted, and nothing else. Written at the end of
every build, also of a failed or interrupted one.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Any

from tflbuild.engine.dist import Dist
from tflbuild.engine.files import FileDigests
from tflbuild.engine.state import Beside, Released, State
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
    beside: dict[str, list[Beside]] = {}
    for other in state.beside():
        if other.path.startswith(f"{dist}/{other.target}/") and _untouched(other, digests):
            beside.setdefault(other.target, []).append(other)
    written = []
    for target, rows in sorted(by_target.items()):
        folder = root / dist / target
        others = beside.get(target, [])
        for name, content in (
            (INDEX, index_text(f"{dist}/{target}", rows, others)),
            (SUMS, sums_text(f"{dist}/{target}", [*rows, *others])),
        ):
            store.write(folder / name, content.encode(), durable=True)
            written.append(f"{dist}/{target}/{name}")
    known = set(by_target)
    for folder in sorted((root / dist).glob("*")) if (root / dist).is_dir() else []:
        if folder.is_dir() and folder.name not in known:
            _drop_index(folder)
    return written


def _untouched(row: Released | Beside, digests: FileDigests) -> bool:
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


def index_text(folder: str, rows: Iterable[Released], beside: Iterable[Beside]) -> str:
    """`index.json` of a target's folder (schemas/index.schema.json)."""
    others = sorted(beside, key=lambda row: row.path)
    artifacts = []
    for row in sorted(rows, key=lambda row: row.path):
        model, rest = row.artifact.split(":", 1)
        entry: dict[str, Any] = {
            "file": Path(row.path).name,
            "model": model,
            "optimization": rest.split("@", 1)[0],
            "sha256": row.sha256,
            "size": row.size,
        }
        emitted = [_file(folder, o) for o in others if o.task == f"release:{row.artifact}"]
        artifacts.append(entry | ({"emitted": emitted} if emitted else {}))
    index: dict[str, Any] = {
        "version": 1, "target": folder.rpartition("/")[2], "artifacts": artifacts,
    }  # fmt: skip
    runtime = [_file(folder, row) for row in others if row.task.startswith("runtime:")]
    return json.dumps(index | ({"runtime": runtime} if runtime else {}), indent=1) + "\n"


def _file(folder: str, row: Beside) -> dict[str, Any]:
    name = row.path.removeprefix(f"{folder}/")
    return {"file": name, "sha256": row.sha256, "size": row.size}


def sums_text(folder: str, rows: Iterable[Released | Beside]) -> str:
    """The format of sha256sum(1): `sha256sum -c SHA256SUMS` checks a target's folder."""
    names = sorted((row.path.removeprefix(f"{folder}/"), row.sha256) for row in rows)
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
            index = json.loads((folder / INDEX).read_text())
            for entry in index["artifacts"]:
                row = _listed(dist, folder.name, entry)
                if row is not None:
                    state.release(row)
                    # What an earlier state knew of its file may be true of another one.
                    state.drop_tasks([f"release:{row.artifact}"])
                    stem = re.escape(Path(row.path).stem)
                    _adopt_beside(
                        state,
                        row.path.rpartition("/")[0],
                        f"release:{row.artifact}",
                        entry.get("emitted", ()),
                        stem + r"\.[a-z]{1,4}",
                    )
            _adopt_beside(
                state,
                f"{dist}/{folder.name}",
                f"runtime:{folder.name}",
                index.get("runtime", ()),
                r"runtime/[A-Za-z][A-Za-z0-9_.]*",
            )


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


def _adopt_beside(
    state: State, folder: str, task: str, entries: Iterable[dict[str, Any]], pattern: str
) -> None:
    """Files beside the models, where their names are such as we give."""
    target = folder.rpartition("/")[2]
    for entry in entries:
        name, sha256, size = entry["file"], entry["sha256"], entry["size"]
        good = re.fullmatch(pattern, name) and SHA256.fullmatch(sha256)
        if good and type(size) is int and size >= 0:
            state.vouch([Beside(f"{folder}/{name}", target, task, sha256, size)])


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


def superfluous_beside(state: State, tasks: Container[str], dist: str) -> list[Beside]:
    """Files beside released ones whose task the manifest no longer has."""
    return [
        row for row in state.beside()
        if row.path.startswith(f"{dist}/") and row.task not in tasks
    ]  # fmt: skip


def withdraw(
    files: Dist,
    wanted: Iterable[Artifact],
    tasks: Container[str],
    dist: str,
    note: Callable[[str], None],
) -> None:
    """Take released files that the manifest no longer has out of `dist/`; `tasks`: those of all
    that it has.

    A file that somebody changed is not what we released: it stays, and is said.
    """
    root, state, digests = files.root, files.state, files.digests
    for other in superfluous_beside(state, tasks, dist):
        if not files.take(other):
            note(f"{other.path} is no longer in the manifest, but was edited: left as it is")
        files.forget(other)
    for row in superfluous(state, wanted, dist):
        with contextlib.suppress(TaskError):
            if digests.digest(row.path) == row.sha256:
                (root / row.path).unlink()
                note(f"{row.path} is no longer in the manifest: removed")
            else:
                note(f"{row.path} is no longer in the manifest, but was edited: left as it is")
        state.withdraw(row.artifact)
