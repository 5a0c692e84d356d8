"""`tflbuild lock`."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tflbuild.cli import Settings, settings, warn_of_stray_manifest
from tflbuild.errors import EXIT_FAILED, EXIT_OK, UsageError, one_line

if TYPE_CHECKING:
    from tflbuild.engine.last_release import Standing
    from tflbuild.lockfile import Locked


@click.command("lock")
@click.argument("selectors", nargs=-1, metavar="[SEL]...")
@click.option("--update", is_flag=True, help="Write tflbuild.lock: what is released now is what"
              " later builds are held against.")  # fmt: skip
@click.option("-n", "--dry-run", is_flag=True, help="With --update: show only.")
@click.pass_context
def command(ctx: click.Context, /, **own: Any) -> int:
    """Hold what is released against tflbuild.lock, the last release; with --update, write that.

    Exit code 0: they are equal (or were made so), 1: they differ, or an artifact cannot be locked
    since a build would change it. SEL: as of build; then no other line is looked at.
    """
    common = settings(ctx, own)
    if own["dry_run"] and not own["update"]:
        raise UsageError("-n has no effect without --update: `tflbuild lock` writes nothing")
    manifest = common.root_manifest()
    root = Path(os.path.realpath(manifest.parent))
    write = own["update"] and not own["dry_run"]
    with _held(root, common) if write else nullcontext():
        found, lock = _standings(common, manifest, own["selectors"])
        refused = [one for one in found if one.refused]
        differ = [one for one in found if one.status != "equal"]
        if write and differ and not refused:
            _write(root, lock, found)
    _show(common, found, own["update"], write)
    if own["update"]:
        return EXIT_FAILED if refused else EXIT_OK
    return EXIT_FAILED if differ else EXIT_OK


def _held(root: Path, common: Settings) -> Any:
    """The lock of the workspace: no build changes what is read meanwhile."""
    from tflbuild.engine.build import PRIVATE
    from tflbuild.engine.lock import workspace_lock

    def waiting(holder: str) -> None:
        if not common.quiet:
            click.echo(f"waiting for the lock of this workspace, held by {holder}", err=True)

    return workspace_lock(root / PRIVATE / "lock", waiting)


def _standings(
    common: Settings, manifest: Path, selectors: tuple[str, ...]
) -> tuple[list[Standing], dict[str, Locked]]:
    from tflbuild.engine.last_release import standings
    from tflbuild.engine.plan import view
    from tflbuild.store.local import DamagedBlob

    with view(manifest, tuple(selectors), "release", common.directory) as seen:
        warn_of_stray_manifest(common, seen.workspace)
        if not any(task.startswith("release:") for task in seen.selection.tasks) and selectors:
            raise UsageError(f"{' '.join(selectors)!r} is no artifact: name models, M:O or M:O@T")
        try:
            found = standings(seen, whole=not selectors)
        except DamagedBlob as error:
            raise UsageError(f"the store is damaged ({one_line(error)}): build first") from error
        return found, dict(seen.locked)


def _write(root: Path, lock: dict[str, Locked], found: list[Standing]) -> None:
    """The new file in the place of the old one, whole or not at all."""
    from tflbuild.lockfile import LOCK, parse, text

    for one in found:
        if one.new is None:
            lock.pop(one.artifact, None)
        else:
            lock[one.artifact] = one.new
    data = text(lock).encode("ascii")
    assert parse(data) == lock  # what cannot be read must not be written
    path, temporary = root / LOCK, root / f".{LOCK}.tmp"
    if path.is_symlink():
        raise UsageError(f"{LOCK} is a symbolic link: put the file itself there")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{LOCK} cannot be written: {error.strerror}") from error


def _show(common: Settings, found: list[Standing], update: bool, written: bool) -> None:
    """A line for each artifact that differs."""
    from tflbuild.lockfile import LOCK

    refused = [one for one in found if one.refused]
    wrote = bool(written and not refused)
    if common.json:
        value = {
            "written": wrote,
            "artifacts": [one.as_json() for one in found],
        }
        click.echo(json.dumps(value, indent=1))
        return
    for one in found:
        if one.refused:
            click.echo(f"{'refused':<9} {one.artifact}: {one.refused}", err=True)
        elif common.quiet:
            continue
        elif one.status != "equal":
            said = "; ".join(change.said for change in one.changes)
            if one.status == "added":
                said = "" if wrote else "is not in the lock yet"
            elif one.status == "removed":
                said = "the manifest has it no more"
            click.echo(f"{one.status:<9} {one.artifact}{': ' if said else ''}{said}")
        elif common.verbose:
            click.echo(f"{'equal':<9} {one.artifact}")
    if common.quiet:
        return
    counts: dict[str, int] = {}
    for one in found:
        counts[one.status] = counts.get(one.status, 0) + 1
    total = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    differ = len(found) - counts.get("equal", 0)
    if refused and update:
        end = f"{LOCK} is not written: build first, or name the artifacts to update"
    elif written:
        end = f"{LOCK} is written: commit it" if differ else f"{LOCK} is as it should be"
    elif update:
        end = "nothing is written (-n)"
    else:
        end = "to make this the last release: tflbuild lock --update" if differ else ""
    click.echo("; ".join(part for part in (total or "no artifacts", end) if part))
