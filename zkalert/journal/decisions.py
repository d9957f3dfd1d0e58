"""The journal of an engine: every decision and what came of it, in SQLite, written by a thread of its own.

Comes in: records, from any thread. Goes out: rows on disk. Alerting never waits for the disk: records queue while it
is slow, full or locked; where too many do, the oldest are given up, and that is written too.

Rows have a place in the order of the ensemble: its transactions (zxid), then the order in which they were written. A
record that knows no transaction comes after the newest one known. An ensemble that was made anew counts from the
start, which begins an era. Within a process the numbers only grow, since a client takes no server that knows less than
itself: an era begins where a process sees a lower number than was in the file when it came.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zkalert import clock
from zkalert.journal.files import Keeper, trim
from zkalert.journal.records import Kind, Record
from zkalert.journal.rows import INSERT, LAYOUT, encode, usable_zxid

log = logging.getLogger("zkalert.journal")

MAX_AGE = 90 * 86400.0
MAX_SIZE = 256 * 2**20
MOST_WAITING = 100_000

_BATCH = 2_000  # records in one transaction
_PAUSE = 0.1  # seconds between two transactions: what a killed process may lose
_RETRY = 1.0


class Journal:
    """Keeps records, from any thread, until `close`.

    Rows go once they are older than `max_age` seconds, and the oldest go while the file is larger than `max_size`
    bytes; the log beside it (`-wal`) takes a few megabytes more. Make it before the engine's client connects: what is
    in the file then is from before.
    """

    def __init__(self, path: Path, max_age: float = MAX_AGE, max_size: int = MAX_SIZE) -> None:
        self._max_age = max_age
        self._max_size = max_size
        self._keeper = Keeper(path, LAYOUT, log)
        self._lock = threading.Lock()
        self._waiting: deque[Record] = deque()
        self._lost: Record | None = None  # the last one that was given up
        self._lost_count = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._has_looked = False  # whether what was in the file before is known
        self._has_seen = False  # whether this process has seen a transaction
        self._era = 0
        self._newest = 0  # the highest zxid of the era
        self._thread = threading.Thread(target=self._run, name="zkalert-journal", daemon=True)
        self._thread.start()

    def append(self, *records: Record) -> None:
        """Keep records; returns at once. They can be read within 200 ms where the disk is well."""
        with self._lock:
            was_idle = not self._waiting
            self._waiting.extend(records)
            while len(self._waiting) > MOST_WAITING:
                self._lost = self._waiting.popleft()
                self._lost_count += 1
        if was_idle:
            self._wake.set()

    @property
    def waiting(self) -> int:
        """How many records have not been given to the disk yet."""
        return len(self._waiting)

    def close(self, timeout: float = 1.0) -> None:
        """Write what waits, for at most so many seconds, and end the thread."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout)

    # On the journal's own thread.

    def _run(self) -> None:
        self._kept(())  # so that there is a file to read, and what it holds is known
        batch: list[Record] = []
        while True:
            batch = batch or self._take()
            if not batch:
                if self._stop.is_set():
                    break
                self._wake.wait()
                self._wake.clear()
            elif self._kept(batch):
                batch = []
                if len(self._waiting) < _BATCH:
                    clock.wait(self._stop, _PAUSE)
            elif self._stop.is_set():
                log.error("%d records that still waited were not kept", len(batch) + len(self._waiting))
                break
            else:
                clock.wait(self._stop, _RETRY)
        self._keeper.close()

    def _take(self) -> list[Record]:
        with self._lock:
            lost, count, self._lost_count = self._lost, self._lost_count, 0
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        if count and lost is not None:
            detail = f"{count} records could not be kept: {MOST_WAITING} waited for the disk already"
            batch.insert(0, Record(at=lost.at, zxid=lost.zxid, kind=Kind.LOST, detail=detail, data={"count": count}))
        return batch

    def _kept(self, batch: Sequence[Record]) -> bool:
        """Whether a batch is done with. The outermost frame: a slip with one batch must not end the journal."""
        try:
            return self._keeper.write(lambda db: self._write(db, batch))
        except Exception:
            log.exception("%d records could not be kept", len(batch))
            return True

    def _write(self, db: sqlite3.Connection, batch: Sequence[Record]) -> None:
        if not self._has_looked:
            newest = "SELECT era, zxid FROM records ORDER BY era DESC, zxid DESC LIMIT 1"
            self._era, self._newest = db.execute(newest).fetchone() or (0, 0)
            self._has_looked = True
        if not batch:
            return
        wall = clock.wall()
        rows = [self._row(record, wall) for record in batch]
        db.executemany(INSERT, rows)
        # Both clocks have a say, so that one that is wrong deletes nothing.
        now = min(wall, max(at for _, _, at, *_ in rows))
        trim(db, LAYOUT.table, before=now - self._max_age, added=len(rows), max_size=self._max_size)

    def _row(self, record: Record, wall: float) -> tuple[Any, ...]:
        zxid = usable_zxid(record.zxid)
        if zxid:
            if not self._has_seen and zxid < self._newest:
                self._era, self._newest = self._era + 1, 0
            self._has_seen = True
            self._newest = max(self._newest, zxid)
        return encode(record, self._era, zxid or self._newest, wall)
