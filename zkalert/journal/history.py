"""The history of a sampler's samples, on this host's own disk.

Comes in: samples. Goes out: rows, oldest first. A disk that is full or a file that is damaged costs history, never a
sample that should be published: the writer logs it once and goes on.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zkalert.journal.files import Keeper, Layout, Reader, trim
from zkalert.model import Problem, Sample, ZkalertError
from zkalert.tree import decode_sample, encode_sample

log = logging.getLogger("zkalert.history")

FILE_NAME = "history.db"

_MOST_OF_SAMPLE = 2**17  # characters that are read of one; no good one has as many
_PAGE = 500  # rows that a reader fetches at once


class HistoryError(ZkalertError):
    """There is no history that could be used, and the message says why."""


_LAYOUT = Layout(
    name="history",
    table="samples",
    version=1,
    schema=(
        """
        CREATE TABLE IF NOT EXISTS samples (
            id INTEGER PRIMARY KEY, at REAL NOT NULL, host TEXT NOT NULL, family TEXT NOT NULL, sample TEXT NOT NULL
        )
        """,
        "CREATE INDEX IF NOT EXISTS samples_at ON samples (at)",
    ),
    cure="`zkalert sampler` writes it",
    error=HistoryError,
)


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
        self._max_age = max_age
        self._max_size = max_size
        self._keeper = Keeper(path, _LAYOUT, log)
        self._keeper.open()

    def append(self, samples: Sequence[Sample], host: str) -> None:
        """Keep the samples of one tick: one transaction, and a bounded part of what is too old with it."""
        if samples:
            self._keeper.write(lambda db: self._write(db, samples, host))

    def close(self) -> None:
        self._keeper.close()

    def _write(self, db: sqlite3.Connection, samples: Sequence[Sample], host: str) -> None:
        db.executemany(
            "INSERT INTO samples (at, host, family, sample) VALUES (?, ?, ?, ?)",
            [(sample.at, host, sample.family, encode_sample(sample).decode()) for sample in samples],
        )
        before = samples[0].at - self._max_age
        trim(db, _LAYOUT.table, before=before, added=len(samples), max_size=self._max_size)


class HistoryReader(Reader):
    """Reads the history beside its writer, or without one. Raises HistoryError where there is none to read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _LAYOUT)

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
        first, last = self._execute("SELECT (SELECT min(at) FROM samples), (SELECT max(at) FROM samples)")[0]
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
