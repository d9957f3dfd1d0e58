"""What was seen, in SQLite on this host's own disk: the history of a sampler's samples.

Comes in: samples. Goes out: rows, oldest first. It knows neither ZooKeeper nor who reads. One process writes, any
number read beside it. A disk that is full or a file that is damaged costs history, never a sample that should be
published: the writer logs it once and goes on.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from zkalert import clock
from zkalert.model import Problem, Sample, ZkalertError
from zkalert.tree import decode_sample, encode_sample

log = logging.getLogger("zkalert.history")

FILE_NAME = "history.db"
SCHEMA_VERSION = 1

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS samples (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, host TEXT NOT NULL, family TEXT NOT NULL, sample TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS samples_at ON samples (at)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_MOST_DELETED = 1000  # rows a tick, so that no tick takes long
_SPARE_PAGES = 64
_MOST_VACUUMED = 256
_MOST_OF_SAMPLE = 2**17  # characters that are read of one; no good one has as many
_PAGE = 500  # rows that a reader fetches at once


class HistoryError(ZkalertError):
    """There is no history that could be used, and the message says why."""


class Row(NamedTuple):
    """One sample as it was kept; `id` grows with every row."""

    id: int
    host: str
    sample: Sample


class History:
    """The one writer. All calls come from the thread that made it.

    Rows go once they are older than `max_age` seconds, and the oldest go while the file is larger than `max_size`
    bytes. The log beside it (`-wal`) takes a few megabytes more. Raises HistoryError where a newer zkalert wrote it.
    """

    def __init__(self, path: Path, max_age: float, max_size: int) -> None:
        self._path = path
        self._max_age = max_age
        self._max_size = max_size
        self._trouble = ""
        self._db: sqlite3.Connection | None = None
        self._inode: int | None = None
        try:
            self._db = self._open()
        except (sqlite3.OperationalError, OSError) as error:
            self._failed(error)

    def append(self, samples: Sequence[Sample], host: str) -> None:
        """Keep the samples of one tick: one transaction, and a bounded part of what is too old with it."""
        if not samples:
            return
        try:
            self._write(self._current(), samples, host)
        except (sqlite3.OperationalError, OSError, HistoryError) as error:
            self._failed(error)
        except sqlite3.DatabaseError as error:
            self.close()
            try:
                self._set_aside(error)
            except OSError as refused:
                self._failed(refused)
        else:
            if self._trouble:
                self._trouble = ""
                log.warning("history is kept again")

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _current(self) -> sqlite3.Connection:
        """The connection to the file that has the name now: SQLite goes on writing to one that was deleted."""
        if self._db is not None and _inode(self._path) != self._inode:
            self.close()
        if self._db is None:
            self._db = self._open()
        return self._db

    def _open(self) -> sqlite3.Connection:
        db = self._open_sound()
        self._inode = _inode(self._path)
        return db

    def _open_sound(self) -> sqlite3.Connection:
        try:
            return _open_to_write(self._path)
        except sqlite3.OperationalError:  # locked, full, not to be opened: that says nothing against the file
            raise
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            return _open_to_write(self._path)

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = self._path.with_name(f"{self._path.name}.corrupt-{int(clock.wall())}")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        log.error("%s is damaged (%s); it was set aside as %s, and history begins anew", self._path, error, aside.name)

    def _failed(self, error: Exception) -> None:
        self.close()
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.error("history cannot be kept in %s: %s", self._path, error)

    def _write(self, db: sqlite3.Connection, samples: Sequence[Sample], host: str) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO samples (at, host, family, sample) VALUES (?, ?, ?, ?)",
            [(sample.at, host, sample.family, encode_sample(sample).decode()) for sample in samples],
        )
        db.execute(
            "DELETE FROM samples WHERE id IN (SELECT id FROM samples WHERE at < ? ORDER BY at LIMIT ?)",
            (samples[0].at - self._max_age, _MOST_DELETED),
        )
        page_size, pages, free = (_pragma(db, name) for name in ("page_size", "page_count", "freelist_count"))
        if (pages - free) * page_size > self._max_size:
            first, last = db.execute("SELECT (SELECT min(id) FROM samples), (SELECT max(id) FROM samples)").fetchone()
            count = min(_MOST_DELETED, max(8 * len(samples), (last - first) // 100))
            # What was appended just now stays, whatever the bound.
            db.execute("DELETE FROM samples WHERE id < ?", (min(first + count, last - len(samples) + 1),))
        db.execute("COMMIT")
        free = _pragma(db, "freelist_count")
        if free > _SPARE_PAGES:
            # Each step of this statement gives one page back, and of the two ways only a script takes every step.
            db.executescript(f"PRAGMA incremental_vacuum({min(free - _SPARE_PAGES, _MOST_VACUUMED)})")


class HistoryReader:
    """Reads the history beside its writer, or without one. Raises HistoryError where there is none to read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise HistoryError(f"no history yet: {path} does not exist; `zkalert sampler` writes it")
        self._inode = _inode(path)
        self._db = _open_to_read(path)

    def rows(
        self,
        families: Sequence[str] = (),
        since: float | None = None,
        until: float | None = None,
        after_id: int = 0,
    ) -> Iterator[Row]:
        """Rows in the order they were written: of all families or of those named, from `since` to `until` (epoch
        seconds, ends included), only after the row `after_id`.
        """
        for page in self._pages(families, since, until, after_id):
            yield from _decoded(page)

    def texts(
        self, families: Sequence[str] = (), since: float | None = None, until: float | None = None
    ) -> Iterator[tuple[int, str, str, str]]:
        """The same, with samples as they are kept: id, host, family, JSON. Whoever reads very many decodes them."""
        for page in self._pages(families, since, until, 0):
            yield from page

    def span(self) -> tuple[float, float] | None:
        """The times (epoch seconds) of the oldest and the newest sample; None where there is none."""
        first, last = self._execute("SELECT (SELECT min(at) FROM samples), (SELECT max(at) FROM samples)", ())[0]
        if first is None:
            return None
        if not (isinstance(first, float) and isinstance(last, float)):  # a column takes any type
            raise HistoryError(f"{self._path} cannot be read: the time of a sample is no number")
        return first, last

    def _pages(
        self, families: Sequence[str], since: float | None, until: float | None, after_id: int
    ) -> Iterator[list[tuple[int, str, str, str]]]:
        """Rows are fetched in small pages, so that a slow consumer never keeps the writer's log from shrinking."""
        if since is not None:
            (first,) = self._execute("SELECT min(id) FROM samples WHERE at >= ?", (since,))[0]
            if first is None:
                return
            after_id = max(after_id, first - 1)
        where, parameters = _where(families, since, until)
        while True:
            page = self._execute(
                f"SELECT id, host, family, substr(sample, 1, ?) FROM samples WHERE id > ?{where} "  # noqa: S608
                "ORDER BY id LIMIT ?",
                (_MOST_OF_SAMPLE, after_id, *parameters, _PAGE),
            )
            yield page
            if len(page) < _PAGE:
                return
            after_id = page[-1][0]

    def newest(self, count: int, families: Sequence[str] = ()) -> list[Row]:
        """The last `count` rows, oldest first."""
        where, parameters = _where(families, None, None)
        page = self._execute(
            f"SELECT id, host, family, sample FROM samples WHERE id > 0{where} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*parameters, count),
        )
        return list(_decoded(page[::-1]))

    @property
    def is_replaced(self) -> bool:
        """Whether the writer has begun another file meanwhile."""
        return _inode(self._path) not in (None, self._inode)  # None: between the old file and the new one

    def close(self) -> None:
        self._db.close()

    def _execute(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        try:
            return self._db.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise HistoryError(f"{self._path} cannot be read: {error}") from error


def _open_to_write(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its other files the mode of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only heard by a file that is still empty
        version = _check_version(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        # No sync at a commit: a killed process loses nothing, and a power cut the last seconds.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        db.execute("PRAGMA cache_size = -512")
        if version < SCHEMA_VERSION:
            db.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                db.execute(statement)
            db.execute("COMMIT")
        db.execute("SELECT max(id), min(at) FROM samples").fetchone()  # a damaged file should say so now
    except BaseException:
        db.close()
        raise
    return db


def _open_to_read(path: Path) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5.0)
    except sqlite3.Error as error:
        raise HistoryError(f"{path} cannot be opened: {error}") from error
    try:
        version = _check_version(db, path)
        kind = db.execute("SELECT type FROM sqlite_master WHERE name = 'samples'").fetchone() if version else None
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise HistoryError(f"{path} cannot be read: {error}") from error
        raise
    if not version:
        db.close()
        raise HistoryError(f"no history yet: {path} is empty; `zkalert sampler` fills it")
    if kind != ("table",):  # a view could go on for ever
        db.close()
        raise HistoryError(f"{path} is no history: it has no table of samples")
    return db


def _check_version(db: sqlite3.Connection, path: Path) -> int:
    version = _pragma(db, "user_version")
    if version > SCHEMA_VERSION:
        raise HistoryError(
            f"{path} was written by a newer zkalert (version {version}, known: {SCHEMA_VERSION}); "
            "upgrade zkalert, or move that file away"
        )
    return version


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _where(families: Sequence[str], since: float | None, until: float | None) -> tuple[str, tuple[Any, ...]]:
    where, parameters = "", tuple(families)
    if families:
        where += f" AND family IN ({', '.join('?' * len(families))})"
    bounds = [(" AND at >= ?", since), (" AND at <= ?", until)]
    where += "".join(text for text, bound in bounds if bound is not None)
    return where, (*parameters, *(bound for _, bound in bounds if bound is not None))


def _decoded(page: Sequence[tuple[int, str, str, str]]) -> Iterator[Row]:
    for row_id, host, family, text in page:
        sample = decode_sample(family, text.encode())
        if not isinstance(sample, Problem):
            yield Row(row_id, host, sample)
