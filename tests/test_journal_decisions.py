"""The journal of an engine: what it keeps through trouble, in which order it is read, and what it costs."""

from __future__ import annotations

import itertools
import math
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_for
from zkalert.journal import (
    Entry,
    Journal,
    JournalError,
    JournalReader,
    Kind,
    Record,
    Stamp,
    Wanted,
    decisions,
    files,
    is_transition,
    of_ack,
    of_effect,
    of_reload,
    of_silence,
    of_told,
    of_transition,
    read,
)
from zkalert.model import (
    Ack,
    Alert,
    Comparator,
    Effect,
    Metric,
    Phase,
    Reason,
    SendResult,
    SendState,
    Severity,
    Silence,
    State,
    Target,
    TargetKind,
)

AT = 1_795_000_000.0
FOREVER = 10 * 365 * 86400.0
OFF = Alert(
    rule="memory-high",
    host="web1",
    metric=Metric("memory_usage", "percent"),
    unit="percent",
    comparator=Comparator.GT,
    threshold=90.0,
)
PENDING = replace(OFF, state=State.PENDING, episode="a1b2c3d4e5f6", value=93.4, since=AT)
FIRING = replace(PENDING, state=State.FIRING)
OPS = Target(id="n-1", kind=TargetKind.NOTIFY, name="ops")
RESTART = Target(id="r-1", kind=TargetKind.RUN, name="restart-app")
TOLD = Effect(alert=FIRING, phase=Phase.FIRING, reason=Reason.HELD, at=AT)


def note(number: int, *, at: float = AT, zxid: int = 0, **more: Any) -> Record:
    """A record with a number to know it by."""
    return Record(at=at, zxid=zxid, kind=Kind.RELOAD, attempt=number, **more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path, FOREVER)
    yield journal
    journal.close(10)


def keep(path: Path, *records: Record, max_age: float = FOREVER, max_size: int = 2**28) -> None:
    """What a process that keeps these records, and ends, leaves behind."""
    journal = Journal(path, max_age, max_size)
    journal.append(*records)
    journal.close(10)


def numbers(path: Path, wanted: Wanted | None = None, **given: Any) -> list[int]:
    return [entry.record.attempt for entry in read(path, wanted or Wanted(), **given)]


def wait_for_table(path: Path) -> None:
    wait_for(lambda: path.exists() and execute(path, "PRAGMA user_version") == [(1,)], "a journal to read", timeout=30)


def wait_for_numbers(path: Path, count: int) -> list[int]:
    return wait_for(lambda: (found := numbers(path))[count - 1 :] and found, f"{count} records")


def execute(path: Path, statement: str, *parameters: object) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(statement, parameters).fetchall()


# What is kept -------------------------------------------------------------------------------------------------------


def test_what_was_kept_is_read_back_as_it_was(path: Path) -> None:
    record = Record(
        at=AT + 0.25,
        zxid=2**40 + 7,
        kind=Kind.ACTION,
        rule="disk-full",
        host="web1",
        instance="/var",
        episode="a1b2c3d4e5f6",
        severity="critical",
        phase="repeated-2",
        target="restart-app",
        state="failed",
        reason="held for its duration",
        detail="exit code 3",
        value=97.5,
        seconds=1.25,
        attempt=2,
        data={"exit_code": 3, "tail": "no\nway", "threshold": [10, 20]},
    )
    keep(path, record, replace(record, instance=None, value="off", seconds=None, data={}))
    assert list(read(path)) == [
        Entry(1, record),
        Entry(2, replace(record, instance=None, value="off", seconds=None, data={})),
    ]


def test_a_transition_says_from_where_to_where_and_why() -> None:
    crossed = of_transition(Stamp(AT, 7), OFF, PENDING)
    assert (crossed.state, crossed.reason, crossed.alert) == ("pending", "threshold crossed", "a1b2c3")
    assert crossed.data["from"] == "inactive"
    held = of_transition(Stamp(AT + 120, 8), PENDING, FIRING, Reason.HELD)
    assert (held.state, held.reason, held.seconds, held.value) == ("firing", "held for its duration", 120.0, 93.4)
    over = of_transition(Stamp(AT + 5, 9), PENDING, OFF)
    assert (over.state, over.alert, over.reason) == ("inactive", "a1b2c3", "")


def test_a_clock_that_moves_on_is_no_transition() -> None:
    assert is_transition(PENDING, FIRING)
    assert is_transition(FIRING, replace(FIRING, severity=Severity.CRITICAL))
    assert not is_transition(FIRING, replace(FIRING, value=95.0, repeats=3))


def test_what_nobody_hears_says_why() -> None:
    stamp = Stamp(AT, 7)
    found = [
        of_effect(stamp, TOLD, (OPS,)),
        of_effect(stamp, TOLD),
        of_effect(stamp, TOLD, (OPS,), "silenced by 0a1b2c"),
        of_effect(stamp, TOLD, why="never told", kind=Kind.DROPPED),
    ]
    assert [(record.kind, record.target, record.reason) for record in found] == [
        (Kind.RELEASED, "ops", ""),
        (Kind.WITHHELD, "", "no channel hears it"),
        (Kind.WITHHELD, "ops", "silenced by 0a1b2c"),
        (Kind.DROPPED, "", "never told"),
    ]


def test_a_drill_is_of_a_kind_of_its_own() -> None:
    drill = replace(TOLD, is_drill=True)
    done = SendResult(state=SendState.DELIVERED, seconds=0.1)
    assert of_told(Stamp(AT), drill, OPS, done, attempt=1).kind is Kind.DRILL
    assert of_effect(Stamp(AT), drill, (OPS,)).kind is Kind.DRILL


def test_messages_and_commands_tell_what_came_of_each_try() -> None:
    failed = SendResult(state=SendState.FAILED, is_retryable=True, detail="503", seconds=0.5)
    message = of_told(Stamp(AT, 7), TOLD, OPS, failed, attempt=2, retry_in=2.5, is_repeat=True, digest="aa55")
    assert (message.kind, message.state, message.attempt, message.seconds) == (Kind.MESSAGE, "failed", 2, 0.5)
    assert dict(message.data) == {"retry_in": 2.5, "repeat": True, "digest": "aa55"}
    done = SendResult(state=SendState.DELIVERED, exit_code=0, tail="x" * 10**6 + "end")
    command = of_told(Stamp(AT, 7), TOLD, RESTART, done, attempt=1)
    assert (command.kind, command.data["exit_code"]) == (Kind.ACTION, 0)
    assert command.data["tail"].endswith("xend")
    assert len(command.data["tail"]) == 2000


def test_facts_tell_whether_they_came_changed_or_went() -> None:
    silence = Silence(id="0a1b2c", host="web*", starts_at=AT, ends_at=AT + 60, author="ana")
    added = of_silence(Stamp(AT), None, silence)
    changed = of_silence(Stamp(AT), silence, replace(silence, ends_at=AT + 90))
    removed = of_silence(Stamp(AT), silence, None)
    assert [record.state for record in (added, changed, removed) if record] == ["added", "changed", "removed"]
    assert added is not None
    assert added.data["matchers"] == {"host": "web*"}
    ack = of_ack(Stamp(AT), None, Ack(episode="a1b2c3d4e5f6", at=AT, author="bo"), FIRING)
    assert ack is not None
    assert (ack.rule, ack.alert, ack.data["author"]) == ("memory-high", "a1b2c3", "bo")


def test_a_hold_that_is_renewed_writes_no_line() -> None:
    hold = Silence(id="0a1b2c", starts_at=AT, ends_at=AT + 60, is_hold=True)
    assert of_silence(Stamp(AT), None, hold) is not None
    assert of_silence(Stamp(AT), hold, replace(hold, ends_at=AT + 80)) is None
    assert of_silence(Stamp(AT), hold, None) is not None


def test_what_anybody_wrote_is_bounded_and_never_stops_the_journal(path: Path) -> None:
    keep(
        path,
        note(1, host="x" * 10**6, detail="y" * 10**6, instance="\udcff/\x00.", value="z" * 10**5),
        note(2, value=math.nan, seconds=math.inf),
        note(3, value=10**400, data={"tail": "x" * 10**6}),
        note(4, at=math.nan, zxid=2**70, data={"odd": object()}),
        note(5, zxid=-1, data={"endless": math.inf, "rest": 1}),
    )
    found = [entry.record for entry in read(path)]
    assert [record.attempt for record in found] == [1, 2, 3, 4, 5]
    assert [len(part) for part in (found[0].host, found[0].detail, str(found[0].value))] == [256, 4096, 256]
    assert found[0].instance == "?/\ufffd."
    assert (found[1].value, found[1].seconds) == (None, None)
    assert [dict(record.data) for record in found[2:]] == [{"left_out": True}] * 3
    assert abs(found[3].at - time.time()) < 60


# In which order -----------------------------------------------------------------------------------------------------


def test_records_come_in_the_order_of_the_ensemble_then_of_their_rows(path: Path) -> None:
    keep(path, *(note(number, zxid=zxid) for number, zxid in enumerate((10, 12, 11, 12, 10, 13))))
    assert numbers(path) == [0, 4, 2, 1, 3, 5]


def test_a_record_that_knows_no_transaction_comes_after_the_newest_one_known(path: Path) -> None:
    keep(path, note(0), note(1, zxid=10), note(2), note(3, zxid=11))
    keep(path, note(4), note(5, zxid=12))
    assert numbers(path) == [0, 1, 2, 3, 4, 5]
    assert [entry.record.zxid for entry in read(path)] == [0, 10, 10, 11, 11, 12]


def test_an_ensemble_that_was_made_anew_comes_after_the_one_before(path: Path) -> None:
    keep(path, note(0, zxid=5000), note(1, zxid=5001))
    keep(path, note(2), note(3, zxid=7), note(4, zxid=9), note(5, zxid=8))
    keep(path, note(6, zxid=10))
    assert numbers(path) == [0, 1, 2, 3, 5, 4, 6]
    assert numbers(path, limit=2) == [4, 6]


def test_threads_that_are_a_little_late_begin_no_era(path: Path) -> None:
    keep(path, note(0, zxid=50))
    keep(path, note(1, zxid=52), note(2, zxid=40), note(3, zxid=53))
    assert numbers(path) == [2, 0, 1, 3]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), [0, 1, 2, 3, 4, 5]),
        (Wanted(since=AT + 2, until=AT + 4), [2, 3, 4]),
        (Wanted(since=AT + 9), []),
        (Wanted(rule="disk-*"), [1, 3, 5]),
        (Wanted(rule="disk"), []),
        (Wanted(host="web[!2]"), [0, 3]),
        (Wanted(alert="a1b2c3"), [4]),
        (Wanted(alert="a1"), [4, 5]),
        (Wanted(kinds=(Kind.RELOAD,)), [0, 1, 2, 3]),
        (Wanted(kinds=(Kind.ACK, Kind.MESSAGE), rule="disk-*"), [5]),
    ],
    ids=["all", "time", "none of that time", "rule", "no part of a name", "host", "alert", "alerts", "kind", "several"],
)
def test_records_can_be_asked_for_by_what_they_are(path: Path, wanted: Wanted, expected: list[int]) -> None:
    rules, hosts = ("memory-high", "disk-full"), ("web1", "web2", "db1")
    records = [
        note(number, at=AT + number, zxid=number + 1, rule=rules[number % 2], host=hosts[number % 3])
        for number in range(6)
    ]
    records[4] = replace(records[4], kind=Kind.ACK, episode="a1b2c3d4e5f6", host="db1")
    records[5] = replace(records[5], kind=Kind.MESSAGE, episode="a1ffff")
    keep(path, *records)
    assert numbers(path, wanted) == expected
    assert numbers(path, wanted, limit=2) == expected[-2:]
    assert numbers(path, wanted, limit=0) == []


def test_the_newest_are_found_among_many_pages_and_new_ones_by_their_row(path: Path) -> None:
    keep(path, *(note(number, zxid=number // 3 + 1) for number in range(1700)))
    assert numbers(path) == list(range(1700))
    assert numbers(path, limit=1200) == list(range(500, 1700))
    assert numbers(path, after_row=1650) == list(range(1650, 1700))
    assert numbers(path, after_row=1000, to_row=1010) == list(range(1000, 1010))
    assert numbers(path, after_row=100, limit=3) == [1697, 1698, 1699]


def test_readers_see_all_in_order_while_another_process_writes(path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from zkalert.journal import Journal, Kind, Record
journal = Journal(Path({str(path)!r}))
for number in range(20_000):
    journal.append(Record(at={AT}, zxid=number + 1, kind=Kind.RELOAD, attempt=number))
    if number % 500 == 0:
        print(number, flush=True)
journal.close(30)
"""
    seen: list[list[int]] = [[], []]
    is_over = threading.Event()

    def follow(mine: list[int]) -> None:
        wait_for_table(path)
        with closing(JournalReader(path)) as reader:
            last = 0
            while True:
                is_last = is_over.is_set()
                newest = reader.last_row()
                mine += [entry.record.attempt for entry in reader.read(after_row=last, to_row=newest)]
                last = newest
                if is_last:
                    return

    followers = [threading.Thread(target=follow, args=(mine,)) for mine in seen]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        for follower in followers:
            follower.start()
        assert writer.stdout is not None
        assert len(writer.stdout.read().split()) == 40
    assert writer.returncode == 0
    is_over.set()
    for follower in followers:
        follower.join(60)
    assert seen == [list(range(20_000))] * 2


def test_a_record_can_be_read_within_a_fifth_of_a_second(journal: Journal, path: Path) -> None:
    wait_for_table(path)
    took = []
    with closing(JournalReader(path)) as reader:
        for number in range(1, 11):
            began = time.monotonic()
            journal.append(note(number))
            wait_for(lambda number=number: reader.last_row() == number, "the record")  # type: ignore[misc]
            took.append(time.monotonic() - began)
    assert sorted(took)[-3] < 0.2, took  # a busy machine is granted two that are late


# Through trouble ----------------------------------------------------------------------------------------------------


def test_a_killed_writer_loses_at_most_the_last_moments_and_harms_nothing(path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from zkalert.journal import Journal, Kind, Record
journal = Journal(Path({str(path)!r}))
number = 0
while True:
    journal.append(Record(at=time.time(), zxid=number + 1, kind=Kind.RELOAD, attempt=number))
    number += 1
    print(number, time.time(), flush=True)
    time.sleep(0.001)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line.split()[0]) >= 600:
                break
        writer.send_signal(signal.SIGKILL)
        last = (line + writer.stdout.read()).splitlines()[-1].split()
    found = list(read(path))
    assert [entry.record.attempt for entry in found] == list(range(len(found)))
    # 100 ms by design; a busy machine lets the threads wait for each other.
    assert float(last[1]) - found[-1].record.at < 0.5
    keep(path, note(-1, zxid=10**9), note(77, zxid=10**9))
    assert numbers(path)[-1] == 77
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]


def test_files_are_for_their_owner_alone(journal: Journal, path: Path) -> None:
    journal.append(note(1))
    wait_for(lambda: path.exists() and len(list(path.parent.iterdir())) == 3, "the files")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_there_is_a_journal_to_read_before_anything_was_decided(journal: Journal, path: Path) -> None:
    wait_for_table(path)
    assert list(read(path)) == []


def test_closing_writes_what_waits(path: Path) -> None:
    journal = Journal(path)
    journal.append(*map(note, range(5000)))
    journal.close(30)
    assert numbers(path) == list(range(5000))


@pytest.mark.parametrize("damage", ["no database", "torn"])
def test_a_damaged_file_is_set_aside(damage: str, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep(path, *map(note, range(500)))
    content = path.read_bytes()
    path.write_bytes(b"not a database" * 100 if damage == "no database" else content[:4096] + b"\xff" * 40000)
    keep(path, note(1000))
    assert numbers(path) == [1000]
    (aside,) = path.parent.glob("journal.sqlite.corrupt-*")
    assert aside.read_bytes() != content
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [f"{path} is damaged"]


def test_a_file_that_breaks_while_it_is_written_costs_no_record_that_comes_after(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(path, *map(note, range(500)))
    journal = Journal(path, FOREVER)
    journal.append(note(500))
    wait_for_numbers(path, 501)
    for file in path.parent.iterdir():
        file.write_bytes(b"\xff" * file.stat().st_size)
    journal.append(*map(note, range(501, 503)))
    wait_for(lambda: "is damaged" in caplog.text, "the damage to be seen")
    journal.close(10)
    assert numbers(path) == [501, 502]


def test_a_disk_that_is_full_is_logged_once_and_costs_nothing(
    journal: Journal, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's bound on the size of files is this test's full disk."""
    monkeypatch.setattr(decisions, "_RETRY", 0.02)
    tries: list[Exception] = []
    failed = files.Keeper._failed

    def count(keeper: files.Keeper, error: Exception) -> None:
        tries.append(error)
        failed(keeper, error)

    monkeypatch.setattr(files.Keeper, "_failed", count)
    journal.append(note(1))
    wait_for_table(path)
    wait_for_numbers(path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # less than a page and its frame
        journal.append(note(2))
        wait_for(lambda: len(tries) >= 2, "some tries")
        journal.append(*map(note, range(3, 6)))
        wait_for(lambda: len(tries) >= 5, "more tries, which say nothing new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert wait_for_numbers(path, 5) == [1, 2, 3, 4, 5]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"journal cannot be kept in {path}",
        "journal is kept again",
    ]


def test_a_locked_file_holds_nobody_up_and_beyond_the_bound_the_oldest_go(
    journal: Journal, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "_RETRY", 0.02)
    monkeypatch.setattr(decisions, "_BATCH", 10)
    monkeypatch.setattr(decisions, "MOST_WAITING", 1000)
    wait_for_table(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        for number in range(5000):
            journal.append(note(number, at=AT + number, zxid=number + 1))
        assert time.monotonic() - started < 1
        wait_for(lambda: "database is locked" in caplog.text, "the lock to be told")
        other.execute("ROLLBACK")
    wait_for(lambda: numbers(path)[-1:] == [4999], "the newest record")
    lost = [entry.record for entry in read(path, Wanted(kinds=(Kind.LOST,)))]
    kept = numbers(path, Wanted(kinds=(Kind.RELOAD,)))
    assert sum(record.data["count"] for record in lost) + len(kept) == 5000
    assert len(kept) >= 1000
    assert kept == sorted(kept)
    gap = next(before for before, after in itertools.pairwise(kept) if after - before > 1) if kept[0] == 0 else -1
    order = [entry.record for entry in read(path)]
    assert order[kept.index(gap) + 1 if gap >= 0 else 0].kind is Kind.LOST, "it stands where the gap is"


def test_a_file_of_a_newer_version_is_left_alone_and_alerting_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(path, note(1))
    execute(path, "PRAGMA user_version = 7")
    content = path.read_bytes()
    journal = Journal(path)
    journal.append(note(2))
    wait_for(lambda: "written by a newer zkalert (version 7, known: 1)" in caplog.text, "the refusal")
    journal.close(10)
    assert path.read_bytes() == content
    with pytest.raises(JournalError, match="written by a newer zkalert"):
        list(read(path))


def test_a_file_that_somebody_deleted_is_begun_anew(journal: Journal, path: Path) -> None:
    journal.append(note(1))
    wait_for_table(path)
    wait_for_numbers(path, 1)
    with closing(JournalReader(path)) as reader:
        for file in path.parent.iterdir():
            file.unlink()
        journal.append(note(2))
        wait_for(lambda: reader.is_replaced, "another file")
    wait_for_table(path)
    assert wait_for_numbers(path, 1) == [2]


def test_reading_where_nothing_was_kept_names_the_file_and_who_writes_it(path: Path) -> None:
    with pytest.raises(JournalError, match=f"no journal yet: {path} does not exist; `zkalert engine` writes it"):
        list(read(path))
    path.parent.mkdir()
    path.touch()
    with pytest.raises(JournalError, match=f"no journal yet: {path} is empty"):
        list(read(path))


def test_a_view_that_never_ends_is_no_journal(path: Path) -> None:
    path.parent.mkdir()
    execute(
        path,
        "CREATE VIEW records AS WITH RECURSIVE more (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM more) "
        "SELECT id FROM more",
    )
    execute(path, "PRAGMA user_version = 1")
    with pytest.raises(JournalError, match="it has no table of records"):
        list(read(path))


@pytest.mark.parametrize(
    "damage",
    ["at = x'00'", "kind = 'gossip'", "data = '[1]'", "data = '{'", "host = x'ff'", "seconds = 'soon'"],
)
def test_a_row_that_no_zkalert_wrote_is_left_out(path: Path, damage: str) -> None:
    keep(path, *map(note, range(3)))
    execute(path, f"UPDATE records SET {damage} WHERE id = 2")
    assert numbers(path) == [0, 2]


# What goes ----------------------------------------------------------------------------------------------------------


def test_rows_go_when_they_are_too_old(path: Path) -> None:
    now = time.time()
    for age in (500, 300, 150, 50):
        keep(path, note(age, at=now - age), max_age=200.0)
    assert numbers(path) == [150, 50]


def test_one_clock_that_is_wrong_deletes_nothing(path: Path) -> None:
    now = time.time()
    keep(path, note(1, at=now), note(2, at=now + 10**8), note(3, at=now), max_age=86400.0)
    keep(path, note(4, at=now - 10**8), max_age=86400.0)
    assert numbers(path) == [1, 2, 3, 4]


def test_the_file_stays_within_its_bound_and_keeps_the_newest(path: Path) -> None:
    bound = 400_000
    journal = Journal(path, FOREVER, bound)
    for number in range(0, 6000, 100):
        journal.append(*(note(number + more, detail="x" * 300) for more in range(100)))
        wait_for(lambda: not journal.waiting, "the batch")
    journal.close(10)
    found = numbers(path)
    assert path.stat().st_size < bound * 1.5
    assert found[-1] == 5999
    assert found == list(range(found[0], 6000))
    assert 500 < len(found) < 1500


def test_a_row_number_is_never_given_twice(path: Path) -> None:
    keep(path, *map(note, range(5)))
    execute(path, "DELETE FROM records")
    keep(path, note(5))
    assert [entry.row for entry in read(path)] == [6]


# What it costs ------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_records_are_cheap_to_keep_and_quick_to_read(path: Path) -> None:
    count = 100_000
    journal = Journal(path, FOREVER)
    before, mine = time.process_time(), time.thread_time()
    for number in range(count):
        journal.append(of_transition(Stamp(AT + number, number + 1), PENDING, FIRING, Reason.HELD))
    mine = time.thread_time() - mine
    wait_for(lambda: not journal.waiting, "the disk", timeout=60)
    journal.close(30)
    whole = time.process_time() - before
    assert mine / count < 50e-6
    assert whole / count < 150e-6
    for wanted in (Wanted(), Wanted(since=AT + count - 200), Wanted(since=AT), Wanted(host="web*")):
        began = time.process_time()
        assert len(list(read(path, wanted, limit=100))) == 100
        assert time.process_time() - began < 0.25
    with closing(JournalReader(path)) as reader:
        last = reader.last_row()
        began = time.process_time()
        for _ in range(100):
            assert reader.last_row() == last
        assert (time.process_time() - began) / 100 < 0.001


def test_a_reload_tells_the_set_and_who_asked() -> None:
    loaded = of_reload(Stamp(AT, 7), "deadbeef", 12, "SIGHUP")
    refused = of_reload(Stamp(AT, 8), "deadbeef", 12, problem="rules.yaml:3:5: unknown key")
    assert (loaded.state, loaded.reason, loaded.data["rules"]) == ("loaded", "SIGHUP", 12)
    assert (refused.state, refused.detail) == ("refused", "rules.yaml:3:5: unknown key")
