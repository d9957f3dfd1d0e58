"""Histories whose rows no sampler wrote: each is an error or a damaged row, in bounded time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from zkalert.backtest import Choice, Source, from_rows, needs_of
from zkalert.journal import HistoryError, HistoryReader
from zkalert.rulefile import parse

AT = 1_795_000_000.0
RULE = '{name: memory-high, metric: memory_usage, comparator: ">", threshold: 90}'
TABLE = "CREATE TABLE samples (id INTEGER PRIMARY KEY, at, host, family, sample)"
ENDLESS = """\
CREATE VIEW samples AS WITH RECURSIVE more (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM more)
SELECT id, 1.0 AS at, 'a' AS host, 'memory_usage' AS family, '{}' AS sample FROM more"""


def text(at: float) -> str:
    return json.dumps({"v": 1, "time": at, "interval": 5, "max_age": 15, "values": {"percent": 95}})


def write(path: Path, schema: str, rows: Sequence[tuple[Any, ...]] = ()) -> Path:
    db = sqlite3.connect(path)
    db.execute(schema)
    db.execute("PRAGMA user_version = 1")
    for row in rows:
        db.execute("INSERT INTO samples (at, host, family, sample) VALUES (?, ?, 'memory_usage', ?)", row)
    db.commit()
    db.close()
    return path


@pytest.mark.parametrize("host", [None, 5, b"\xff", ""], ids=["nothing", "a number", "bytes", "an empty text"])
def test_a_row_whose_host_is_no_name_is_damaged(host: object) -> None:
    assert damage_of((1, host, "memory_usage", text(AT))) == [(1, "host or sample is no text")]


@pytest.mark.parametrize("sample", [None, 5, b"{}"], ids=["nothing", "a number", "bytes"])
def test_a_row_whose_sample_is_no_text_is_damaged(sample: object) -> None:
    assert damage_of((1, "web1", "memory_usage", sample)) == [(1, "host or sample is no text")]


@pytest.mark.parametrize("at", [1e300, 1e12])
def test_a_first_sample_of_a_time_without_a_date_is_damaged(at: float) -> None:
    assert damage_of((1, "web1", "memory_usage", text(at))) == [(1, "its time is none that a calendar has")]


def damage_of(row: Any) -> list[tuple[int, str]]:
    rules, _ = parse(f"rules: [{RULE}]", "rules.yaml")
    source = Source(name="history.db", noun="row")
    assert list(from_rows([row], Choice(needs=needs_of(rules)), source)) == []
    return source.told


@pytest.mark.parametrize("at", ["soon", b"\x00"], ids=["text", "bytes"])
def test_times_that_are_no_numbers_are_an_error(tmp_path: Path, at: object) -> None:
    path = write(tmp_path / "history.db", TABLE, [(AT, "web1", text(AT)), (at, "web1", text(AT))])
    with closing(HistoryReader(path)) as reader, pytest.raises(HistoryError, match="the time of a sample is no number"):
        reader.span()


def test_a_view_that_never_ends_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="it has no table of samples"):
        HistoryReader(write(tmp_path / "history.db", ENDLESS))


def test_no_more_of_a_sample_is_read_than_a_good_one_could_have(tmp_path: Path) -> None:
    path = write(tmp_path / "history.db", TABLE, [(AT, "web1", "x" * 2**22)])
    with closing(HistoryReader(path)) as reader:
        ((_, _, _, sample),) = reader.texts()
    assert len(sample) == 2**17
