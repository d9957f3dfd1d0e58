"""What is kept on this host's own disk, in SQLite: a sampler's samples, and what an engine decided and did.

Comes in: samples, records. Goes out: rows, oldest first. It knows neither ZooKeeper nor who reads. One process writes,
any number read beside it.
"""

from zkalert.journal.decisions import Journal
from zkalert.journal.history import FILE_NAME, History, HistoryError, HistoryReader, Row
from zkalert.journal.records import (
    Kind,
    Record,
    Stamp,
    is_transition,
    of_ack,
    of_connection,
    of_effect,
    of_ownership,
    of_reload,
    of_silence,
    of_told,
    of_transition,
)
from zkalert.journal.rows import JOURNAL_NAME, Entry, JournalError
from zkalert.journal.timeline import JournalReader, Wanted, read

__all__ = [
    "FILE_NAME",
    "JOURNAL_NAME",
    "Entry",
    "History",
    "HistoryError",
    "HistoryReader",
    "Journal",
    "JournalError",
    "JournalReader",
    "Kind",
    "Record",
    "Row",
    "Stamp",
    "Wanted",
    "is_transition",
    "of_ack",
    "of_connection",
    "of_effect",
    "of_ownership",
    "of_reload",
    "of_silence",
    "of_told",
    "of_transition",
    "read",
]
