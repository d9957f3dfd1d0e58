"""A database file that one thread writes and anybody reads: for its owner alone, and set aside where it is damaged.

Comes in: what a file is (`Layout`), statements. It knows nothing of what is kept.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from zkalert import clock
from zkalert.model import ZkalertError

T = TypeVar("T")

_MOST_DELETED = 1000  # rows a transaction, so that none takes long
_SPARE_PAGES = 64
_MOST_VACUUMED = 256
# What is wrong with a statement or its values, not with the file.
_SLIPS = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.DataError,
    sqlite3.InternalError,
    sqlite3.NotSupportedError,
)


class Layout(NamedTuple):
    """What a file holds: `name` is what messages call it, `table` has its rows (with `id` and `at`), `cure` says who
    writes it, `error` is raised where it cannot be used.
    """

    name: str
    table: str
    version: int
    schema: tuple[str, ...]
    cure: str
    error: type[ZkalertError]


class Keeper:
    """The one writer of a file. All calls come from one thread.

    Trouble costs what should have been kept and nothing else: it is logged once, and the next write tries again.
    """

    def __init__(self, path: Path, layout: Layout, log: logging.Logger) -> None:
        self._path = path
        self._layout = layout
        self._log = log
        self._trouble = ""
        self._db: sqlite3.Connection | None = None
        self._inode: int | None = None

    def open(self) -> None:
        """Open the file already. Raises the layout's error where a newer zkalert wrote it."""
        try:
            self._mended(self._current)
        except (sqlite3.DatabaseError, OSError) as error:
            self._failed(error)

    def write(self, work: Callable[[sqlite3.Connection], None]) -> bool:
        """Do `work` in one transaction; whether it is kept. Of a damaged file it is done again on a new one."""
        try:
            self._mended(lambda: self._transact(work))
        except _SLIPS:
            self.close()
            raise
        except (sqlite3.DatabaseError, OSError, self._layout.error) as error:
            self._failed(error)
            return False
        if self._trouble:
            self._trouble = ""
            self._log.warning("%s is kept again", self._layout.name)
        return True

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _current(self) -> sqlite3.Connection:
        """The connection to the file that has the name now: SQLite goes on writing to one that was deleted."""
        if self._db is not None and _inode(self._path) != self._inode:
            self.close()
        if self._db is None:
            self._db = _open_to_write(self._path, self._layout)
            self._inode = _inode(self._path)
        return self._db

    def _transact(self, work: Callable[[sqlite3.Connection], None]) -> None:
        db = self._current()
        db.execute("BEGIN IMMEDIATE")
        work(db)
        db.execute("COMMIT")
        free = pragma(db, "freelist_count")
        if free > _SPARE_PAGES:
            # Each step of this statement gives one page back, and of the two ways only a script takes every step.
            db.executescript(f"PRAGMA incremental_vacuum({min(free - _SPARE_PAGES, _MOST_VACUUMED)})")

    def _mended(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except (sqlite3.OperationalError, *_SLIPS):  # locked, full, not to be opened: nothing against the file
            raise
        except sqlite3.DatabaseError as error:
            self.close()
            self._set_aside(error)
            return act()

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = self._path.with_name(f"{self._path.name}.corrupt-{int(clock.wall())}")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._log.error(
            "%s is damaged (%s); it was set aside as %s, and %s begins anew",
            self._path,
            error,
            aside.name,
            self._layout.name,
        )

    def _failed(self, error: Exception) -> None:
        self.close()
        if str(error) != self._trouble:
            self._trouble = str(error)
            self._log.error("%s cannot be kept in %s: %s", self._layout.name, self._path, error)


class Reader:
    """Reads a file beside its writer, or without one. Raises the layout's error where there is none to read."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path = path
        self._layout = layout
        if not path.exists():
            raise layout.error(f"no {layout.name} yet: {path} does not exist; {layout.cure}")
        self._inode = _inode(path)
        self._db = _open_to_read(path, layout)

    @property
    def is_replaced(self) -> bool:
        """Whether the writer has begun another file meanwhile."""
        return _inode(self._path) not in (None, self._inode)  # None: between the old file and the new one

    def close(self) -> None:
        self._db.close()

    def _execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._db.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._layout.error(f"{self._path} cannot be read: {error}") from error


def trim(db: sqlite3.Connection, table: str, *, before: float, added: int, max_size: int) -> None:
    """Delete a bounded part of the rows of a time before `before`, and of the oldest while the file is larger than
    `max_size` bytes; the last `added` rows stay, whatever the size.
    """
    most = max(_MOST_DELETED, 2 * added)
    db.execute(
        f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE at < ? ORDER BY at LIMIT ?)",  # noqa: S608
        (before, most),
    )
    page_size, pages, free = (pragma(db, name) for name in ("page_size", "page_count", "freelist_count"))
    if (pages - free) * page_size > max_size:
        first, last = db.execute(
            f"SELECT (SELECT min(id) FROM {table}), (SELECT max(id) FROM {table})"  # noqa: S608
        ).fetchone()
        count = min(most, max(8 * added, (last - first) // 100), max(1, (last - first) // 4))
        db.execute(f"DELETE FROM {table} WHERE id < ?", (min(first + count, last - added + 1),))  # noqa: S608


def pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _open_to_write(path: Path, layout: Layout) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its other files the mode of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    try:
        version = _check_version(db, path, layout)
        if not version:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only heard by a file that is still empty
        db.execute("PRAGMA journal_mode = WAL")
        # No sync at a commit: a killed process loses nothing, and a power cut the last seconds.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        db.execute("PRAGMA cache_size = -512")
        if version < layout.version:
            db.execute("BEGIN IMMEDIATE")
            for statement in (*layout.schema, f"PRAGMA user_version = {layout.version}"):
                db.execute(statement)
            db.execute("COMMIT")
        # A damaged file should say so now.
        db.execute(f"SELECT max(id), min(at) FROM {layout.table}").fetchone()  # noqa: S608
    except BaseException:
        db.close()
        raise
    return db


def _open_to_read(path: Path, layout: Layout) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5.0)
    except sqlite3.Error as error:
        raise layout.error(f"{path} cannot be opened: {error}") from error
    try:
        version = _check_version(db, path, layout)
        find = "SELECT type FROM sqlite_master WHERE name = ?"
        kind = db.execute(find, (layout.table,)).fetchone() if version else None
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise layout.error(f"{path} cannot be read: {error}") from error
        raise
    if not version:
        db.close()
        raise layout.error(f"no {layout.name} yet: {path} is empty; {layout.cure}")
    if kind != ("table",):  # a view could go on for ever
        db.close()
        raise layout.error(f"{path} is no {layout.name}: it has no table of {layout.table}")
    return db


def _check_version(db: sqlite3.Connection, path: Path, layout: Layout) -> int:
    version = pragma(db, "user_version")
    if version > layout.version:
        raise layout.error(
            f"{path} was written by a newer zkalert (version {version}, known: {layout.version}); "
            "upgrade zkalert, or move that file away"
        )
    return version


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
