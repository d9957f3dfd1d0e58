"""How a record stands in SQLite: the table, and both ways between a record and its row.

Comes in: records with texts that anybody may have written, and rows that may hold anything. Goes out: rows of bounded
size, and records.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from zkalert.journal.files import Layout
from zkalert.journal.records import Kind, Record
from zkalert.model import EMPTY, Value, ZkalertError

JOURNAL_NAME = "journal.sqlite"

_MOST_DATA = 16_384  # characters
_MOST_VALUE = 256
_MOST_INTEGER = 2**63 - 1
# Columns of text, and how many characters of each are kept and read.
_TEXTS = {
    "kind": 32,
    "rule": 256,
    "host": 256,
    "instance": 1024,
    "episode": 64,
    "severity": 32,
    "phase": 64,
    "target": 1024,
    "state": 64,
    "reason": 512,
    "detail": 4096,
}
_NAMES = tuple(name for name in _TEXTS if name != "kind")
_COLUMNS = ("era", "zxid", "at", *_TEXTS, "value", "seconds", "attempt", "data")

INSERT = f"INSERT INTO records ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
"""Takes what `encode` gives."""

SELECTED = ", ".join(
    (
        "era",
        "zxid",
        "id",
        "at",
        *(f"substr({name}, 1, {most})" for name, most in _TEXTS.items()),
        # `substr` would make a text of a number.
        f"CASE typeof(value) WHEN 'text' THEN substr(value, 1, {_MOST_VALUE}) WHEN 'blob' THEN NULL ELSE value END",
        "seconds",
        "attempt",
        f"substr(data, 1, {_MOST_DATA})",
    )
)
"""The columns that `decode` takes; the first three are the place of a row in the order of the ensemble."""


class JournalError(ZkalertError):
    """There is no journal that could be used, and the message says why."""


LAYOUT = Layout(
    name="journal",
    table="records",
    version=1,
    schema=(
        # An id is never given twice, or whoever follows would miss rows; `value` takes numbers and texts.
        """
        CREATE TABLE IF NOT EXISTS records (
            id INTEGER PRIMARY KEY AUTOINCREMENT, era INTEGER NOT NULL, zxid INTEGER NOT NULL, at REAL NOT NULL,
            kind TEXT NOT NULL, rule TEXT NOT NULL, host TEXT NOT NULL, instance TEXT, episode TEXT NOT NULL,
            severity TEXT NOT NULL, phase TEXT NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL,
            reason TEXT NOT NULL, detail TEXT NOT NULL, value, seconds REAL, attempt INTEGER NOT NULL,
            data TEXT NOT NULL
        )
        """,
        "CREATE INDEX IF NOT EXISTS records_at ON records (at)",
        "CREATE INDEX IF NOT EXISTS records_order ON records (era, zxid, id)",
    ),
    cure="`zkalert engine` writes it, on the host that it runs on",
    error=JournalError,
)


class Entry(NamedTuple):
    """One record as it was kept; `row` grows with every record that is written."""

    row: int
    record: Record


def encode(record: Record, era: int, zxid: int, otherwise: float) -> tuple[Any, ...]:
    """The row of a record at this place; `otherwise` is the time of one whose own is none."""
    at = record.at if math.isfinite(record.at) else otherwise
    texts = [_text(getattr(record, name), most) for name, most in _TEXTS.items()]
    seconds = record.seconds if record.seconds is not None and math.isfinite(record.seconds) else None
    attempt = max(0, min(record.attempt, _MOST_INTEGER))
    return (era, zxid, at, *texts, _value(record.value), seconds, attempt, _data(record.data))


def decode(row: Sequence[Any]) -> Entry | None:
    """The record of a row; None for one that no zkalert wrote."""
    _, zxid, id_, at, kind, *texts, value, seconds, attempt, data = row
    try:
        named: dict[str, Any] = {name: _read_text(name, text) for name, text in zip(_NAMES, texts, strict=True)}
        return Entry(
            id_,
            Record(
                at=float(at),
                zxid=int(zxid),
                kind=Kind(kind),
                **named,
                value=value,
                seconds=None if seconds is None else float(seconds),
                attempt=int(attempt),
                data=_read_data(data),
            ),
        )
    except (ValueError, TypeError, OverflowError):
        return None


def usable_zxid(zxid: int) -> int:
    """The number of a transaction, 0 for what cannot be one."""
    return zxid if 0 < zxid <= _MOST_INTEGER else 0


def _text(text: str | None, most: int) -> str | None:
    if text is None:
        return None
    if len(text) > most:
        text = text[: most - 1] + "…"
    # SQLite refuses lone surrogates, as of a file name that is no UTF-8, and takes a NUL for the end.
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _value(value: Value | None) -> Value | None:
    if isinstance(value, str):
        return _text(value, _MOST_VALUE)
    if isinstance(value, int):
        return value if abs(value) <= _MOST_INTEGER else None
    return value if value is not None and math.isfinite(value) else None


def _data(data: Mapping[str, Any]) -> str:
    if not data:
        return ""
    try:
        text = json.dumps(dict(data), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        text = ""
    return text if 0 < len(text) <= _MOST_DATA else '{"left_out":true}'


def _read_text(name: str, text: Any) -> str | None:
    if text is None and name == "instance":
        return None
    if not isinstance(text, str):
        raise TypeError(name)
    return text


def _read_data(text: Any) -> Mapping[str, Any]:
    if not text:
        return EMPTY
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise ValueError(text[:20]) from error
    if not isinstance(data, dict):
        raise TypeError(text[:20])
    return data
