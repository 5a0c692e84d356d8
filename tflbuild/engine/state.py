"""What was built: a SQLite file, committed per task.

`synchronous=NORMAL` under WAL: nothing is lost when the process is killed; after a power loss
the newest commits may be, and the next build runs those tasks again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tasks (
  name TEXT PRIMARY KEY, key TEXT NOT NULL, parts TEXT NOT NULL, outputs TEXT NOT NULL,
  why TEXT NOT NULL, seconds REAL NOT NULL, max_rss INTEGER NOT NULL, finished REAL NOT NULL);
CREATE TABLE IF NOT EXISTS actions (
  key TEXT PRIMARY KEY, outputs TEXT NOT NULL, seconds REAL NOT NULL);
CREATE TABLE IF NOT EXISTS files (
  path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, ctime INTEGER, inode INTEGER,
  seen INTEGER, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS released (
  artifact TEXT PRIMARY KEY, target TEXT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL,
  size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS beside (
  path TEXT PRIMARY KEY, target TEXT NOT NULL, task TEXT NOT NULL, sha256 TEXT NOT NULL,
  size INTEGER NOT NULL);
"""

Outputs = dict[str, tuple[str, int]]  # output name → (SHA-256, bytes)


@dataclass(frozen=True)
class TaskRow:
    """A task's last success."""

    name: str
    key: str
    outputs: Outputs


@dataclass(frozen=True)
class Released:
    """A file that this workspace has released and still vouches for."""

    artifact: str  # "model:optimization@target"
    target: str
    path: str  # relative to the root
    sha256: str
    size: int


@dataclass(frozen=True)
class Beside:
    """A file in `dist/` that is no model: another form of one, or of a runtime's files."""

    path: str  # relative to the root
    target: str
    task: str  # that made it: release:M:O@T, runtime:T
    sha256: str
    size: int


def _outputs(text: str) -> Outputs:
    try:
        return {name: (digest, size) for name, (digest, size) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise sqlite3.DatabaseError("damaged row") from error


class State:
    """Open it with `State.open`; every write is its own transaction unless in `batch`."""

    def __init__(self, connection: sqlite3.Connection, writable: bool) -> None:
        self.db = connection
        self.writable = writable

    @classmethod
    def open(cls, path: Path) -> State:
        """For a build. Raises DatabaseError (and not the OperationalError beneath it) for a file
        that is damaged; reads and writes raise it too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return cls(connection, True)

    @classmethod
    def read_only(cls, path: Path) -> State:
        """For plan and why: also on a tree that cannot be written, also without a state yet or
        with a damaged one."""
        if path.is_file():
            # A WAL database on a read-only tree can only be opened as immutable.
            for query in ("mode=ro", "immutable=1"):
                try:
                    uri = f"{path.resolve().as_uri()}?{query}"
                    connection = sqlite3.connect(uri, uri=True)
                    if _sound(connection):
                        return cls(connection, False)
                    connection.close()
                except sqlite3.Error:
                    continue
        connection = sqlite3.connect(":memory:")
        connection.executescript(_TABLES)
        return cls(connection, False)

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Several writes as one transaction."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    # which record speaks of this state

    def token(self) -> str:
        row = self.db.execute("SELECT value FROM meta WHERE name = 'token'").fetchone()
        return row[0] if row else "none"

    def new_token(self) -> str:
        token = os.urandom(8).hex()
        self.db.execute("INSERT OR REPLACE INTO meta VALUES ('token', ?)", (token,))
        return token

    # tasks and actions

    def tasks(self) -> dict[str, TaskRow]:
        rows = self.db.execute("SELECT name, key, outputs FROM tasks")
        return {name: TaskRow(name, key, _outputs(outputs)) for name, key, outputs in rows}

    def parts(self, task: str) -> dict[str, Any] | None:
        """The key parts of a task's last success."""
        row = self.db.execute("SELECT parts FROM tasks WHERE name = ?", (task,)).fetchone()
        return None if row is None else json.loads(row[0])

    def history(self, task: str) -> tuple[list[str], float, float] | None:
        """Why a task last ran, when it finished (Unix time) and how long it took (s)."""
        row = self.db.execute(
            "SELECT why, finished, seconds FROM tasks WHERE name = ?", (task,)
        ).fetchone()
        return None if row is None else (json.loads(row[0]), row[1], row[2])

    def action(self, key: str) -> Outputs | None:
        """The outputs of an action that once ran, if it is known."""
        row = self.db.execute("SELECT outputs FROM actions WHERE key = ?", (key,)).fetchone()
        return None if row is None else _outputs(row[0])

    def commit(
        self,
        task: str,
        key: str,
        parts: dict[str, Any],
        outputs: Outputs,
        why: list[str],
        seconds: float,
        max_rss: int,
        released: Released | None = None,
        beside: Iterable[Beside] = (),
    ) -> None:
        """One task's success, as one transaction; of a task that writes to `dist/` with the files
        that it vouches for (those that it no longer makes were disowned before)."""
        text = json.dumps(outputs)
        with self.batch():
            self.db.execute(
                "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (task, key, json.dumps(parts), text, json.dumps(why), seconds, max_rss,
                 time.time()),
            )  # fmt: skip
            self.db.execute("INSERT OR REPLACE INTO actions VALUES (?, ?, ?)", (key, text, seconds))
            if released is not None:
                self.release(released)
            self.vouch(beside)

    def forget_blob(self, digest: str) -> None:
        """A blob is lost: whatever produced it must run again."""
        pattern = f'%"{digest}"%'
        with self.batch():
            self.db.execute("DELETE FROM tasks WHERE outputs LIKE ?", (pattern,))
            self.db.execute("DELETE FROM actions WHERE outputs LIKE ?", (pattern,))

    def drop_tasks(self, names: list[str]) -> None:
        with self.batch():
            self.db.executemany("DELETE FROM tasks WHERE name = ?", [(name,) for name in names])

    # released files

    def released(self) -> dict[str, Released]:
        rows = self.db.execute("SELECT artifact, target, path, sha256, size FROM released")
        return {row[0]: Released(*row) for row in rows}

    def release(self, row: Released) -> None:
        """Vouch for a released file."""
        self.db.execute(
            "INSERT OR REPLACE INTO released VALUES (?, ?, ?, ?, ?)",
            (row.artifact, row.target, row.path, row.sha256, row.size),
        )

    def withdraw(self, artifact: str) -> None:
        self.db.execute("DELETE FROM released WHERE artifact = ?", (artifact,))

    # files beside those

    def beside(self) -> list[Beside]:
        """The files that tasks vouch for, by path."""
        rows = self.db.execute("SELECT path, target, task, sha256, size FROM beside ORDER BY path")
        return [Beside(*row) for row in rows]

    def vouch(self, rows: Iterable[Beside]) -> None:
        self.db.executemany(
            "INSERT OR REPLACE INTO beside VALUES (?, ?, ?, ?, ?)",
            [(row.path, row.target, row.task, row.sha256, row.size) for row in rows],
        )

    def disown(self, path: str) -> None:
        self.db.execute("DELETE FROM beside WHERE path = ?", (path,))


def set_aside(path: Path, error: Exception) -> str:
    """Move a damaged state file out of the way; a sentence that says so."""
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return f"the state file was damaged ({error}); moved to {aside.name}, building anew"


# What is read and written, so that a database of another shape is found out at once.
_COLUMNS = {
    "meta": "name, value",
    "tasks": "name, key, parts, outputs, why, seconds, max_rss, finished",
    "actions": "key, outputs, seconds",
    "files": "path, size, mtime, ctime, inode, seen, digest",
    "released": "artifact, target, path, sha256, size",
    "beside": "path, target, task, sha256, size",
}


def _sound(connection: sqlite3.Connection) -> bool:
    """The file is whole and of our shape."""
    for table, columns in _COLUMNS.items():
        if columns != ", ".join(r[1] for r in connection.execute(f"PRAGMA table_info({table})")):
            return False
    return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.executescript(_TABLES)
    row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    if row is None:
        connection.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
    elif row[0] != str(SCHEMA):  # an older or newer layout: the store still has the blobs
        connection.executescript(
            "DROP TABLE tasks; DROP TABLE actions; DROP TABLE files; DROP TABLE released;"
            " DROP TABLE beside;"
        )
        connection.executescript(_TABLES)
        connection.execute("DELETE FROM meta")
        connection.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
    for table, columns in _COLUMNS.items():
        found = ", ".join(r[1] for r in connection.execute(f"PRAGMA table_info({table})"))
        if found != columns:
            raise sqlite3.DatabaseError(f"table {table} has columns {found}")
