"""The journal as it is read: records in the order of the ensemble, while another process goes on writing.

Comes in: a file, and which records are wanted. Goes out: records, fetched in small pages, so that a slow consumer
never keeps the writer's log from shrinking.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from zkalert.journal.files import Reader
from zkalert.journal.records import Kind
from zkalert.journal.rows import LAYOUT, SELECTED, Entry, decode

_PAGE = 500
_BEFORE_ALL = (-1, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records: from `since` to `until` (epoch seconds, ends included), of rules and hosts that match a glob, of
    the alert whose episode begins so, of these kinds. Without a word: all.
    """

    since: float | None = None
    until: float | None = None
    rule: str = ""
    host: str = ""
    alert: str = ""
    kinds: tuple[Kind, ...] = ()


ALL = Wanted()


class JournalReader(Reader):
    """Reads a journal beside its writer, or without one. Raises JournalError where there is none to read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, LAYOUT)
        self._db.text_factory = _text
        self._db.create_function("matches", 2, _matches, deterministic=True)

    def last_row(self) -> int:
        """The number of the newest row, 0 where there is none; cheap enough to ask often."""
        return int(self._execute("SELECT ifnull(max(id), 0) FROM records")[0][0])

    def read(
        self, wanted: Wanted = ALL, *, after_row: int = 0, to_row: int | None = None, limit: int | None = None
    ) -> Iterator[Entry]:
        """Records in the order of the ensemble: those of rows after `after_row` and up to `to_row`, and with `limit`
        the newest so many of them.
        """
        if limit == 0:
            return
        where, parameters = _where(wanted, after_row, to_row)
        # New rows are few and found by their number. All else is read along the order, from as late a place as can be.
        table = "records NOT INDEXED" if after_row else "records INDEXED BY records_order"
        place = _BEFORE_ALL
        if wanted.since is not None and not after_row:
            found = self._execute(
                "SELECT era, zxid, id FROM records WHERE at >= ? ORDER BY era, zxid, id LIMIT 1", (wanted.since,)
            )
            if not found:
                return
            place = _just_before(found[0])
        if limit is not None:
            found = self._execute(
                f"SELECT era, zxid, id FROM {table} WHERE (era, zxid, id) > (?, ?, ?) AND {where} "  # noqa: S608
                "ORDER BY era DESC, zxid DESC, id DESC LIMIT 1 OFFSET ?",
                (*place, *parameters, limit - 1),
            )
            place = _just_before(found[0]) if found else place
        while True:
            page = self._execute(
                f"SELECT {SELECTED} FROM {table} WHERE (era, zxid, id) > (?, ?, ?) AND {where} "  # noqa: S608
                "ORDER BY era, zxid, id LIMIT ?",
                (*place, *parameters, _PAGE),
            )
            for row in page:
                entry = decode(row)
                if entry is not None:
                    yield entry
            if len(page) < _PAGE:
                return
            place = page[-1][:3]


def read(
    path: Path, wanted: Wanted = ALL, *, after_row: int = 0, to_row: int | None = None, limit: int | None = None
) -> Iterator[Entry]:
    """The same of a file that is opened for this alone. Raises JournalError where there is none to read."""
    with closing(JournalReader(path)) as reader:
        yield from reader.read(wanted, after_row=after_row, to_row=to_row, limit=limit)


def _just_before(place: tuple[int, int, int]) -> tuple[int, int, int]:
    era, zxid, id_ = place
    return era, zxid, id_ - 1


def _where(wanted: Wanted, after_row: int, to_row: int | None) -> tuple[str, tuple[Any, ...]]:
    conditions: list[tuple[str, Any]] = [("id > ?", after_row)]
    if to_row is not None:
        conditions.append(("id <= ?", to_row))
    if wanted.since is not None:
        conditions.append(("at >= ?", wanted.since))
    if wanted.until is not None:
        conditions.append(("at <= ?", wanted.until))
    if wanted.rule:
        conditions.append(("matches(rule, ?)", wanted.rule))
    if wanted.host:
        conditions.append(("matches(host, ?)", wanted.host))
    if wanted.alert:
        conditions.append((f"substr(episode, 1, {len(wanted.alert)}) = ?", wanted.alert))
    where = " AND ".join(text for text, _ in conditions)
    parameters = tuple(value for _, value in conditions)
    if wanted.kinds:
        where += f" AND kind IN ({', '.join('?' * len(wanted.kinds))})"
        parameters += tuple(kind.value for kind in wanted.kinds)
    return where, parameters


def _matches(text: object, glob: str) -> bool:
    return isinstance(text, str) and fnmatchcase(text, glob)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
