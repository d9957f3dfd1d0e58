"""The history on disk: what survives, what goes, and what becomes of trouble."""

from __future__ import annotations

import itertools
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zkalert.journal import History, HistoryError, HistoryReader
from zkalert.model import Sample

FOREVER = 10 * 365 * 86400.0
PLENTY = 256 * 2**20


def tick(at: float, *families: str, pad: int = 0) -> list[Sample]:
    """Samples of one moment; `pad` makes each about that many bytes larger."""
    values = {"percent": 12.5} | ({"note": "x" * min(pad, 250)} if pad else {})
    return [
        Sample(family=family, at=at, interval=5.0, max_age=15.0, values=values)
        for family in families or ("memory_usage", "cpu_usage")
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.db"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    history = History(path, FOREVER, PLENTY)
    yield history
    history.close()


def read(path: Path, **given: object) -> list[Sample]:
    reader = HistoryReader(path)
    try:
        return [row.sample for row in reader.rows(**given)]  # type: ignore[arg-type]
    finally:
        reader.close()


def size(path: Path) -> int:
    """Bytes of the database itself, by its own count: the file follows at the next checkpoint."""
    with sqlite3.connect(path) as db:
        (pages,), (page_size,) = db.execute("PRAGMA page_count").fetchone(), db.execute("PRAGMA page_size").fetchone()
    db.close()
    return int(pages) * int(page_size)


def test_what_was_kept_is_read_back_as_it_was(history: History, path: Path) -> None:
    samples = [
        Sample(
            family="disk_usage",
            at=1000.5,
            interval=30.0,
            max_age=90.0,
            instances={"/": {"percent": 91.5, "error": 0}},
            labels={"/": {"fstype": "ext4"}},
            errors=("/mnt: does not answer",),
        ),
        *tick(1000.5),
    ]
    history.append(samples, "web1")
    reader = HistoryReader(path)
    rows = list(reader.rows())
    reader.close()
    assert [row.sample for row in rows] == samples
    assert {row.host for row in rows} == {"web1"}
    assert [row.id for row in rows] == [1, 2, 3]


def test_rows_can_be_asked_for_by_family_time_and_place(history: History, path: Path) -> None:
    for at in range(100, 110):
        history.append(tick(at), "web1")
    assert [sample.at for sample in read(path, families=["cpu_usage"], since=107)] == [107, 108, 109]
    assert [sample.at for sample in read(path, families=["cpu_usage"], until=101)] == [100, 101]
    assert [sample.at for sample in read(path, after_id=18)] == [109, 109]
    assert read(path, since=200) == []
    reader = HistoryReader(path)
    assert [row.id for row in reader.newest(3)] == [18, 19, 20]
    assert [row.sample.at for row in reader.newest(2, ["cpu_usage"])] == [108, 109]
    reader.close()


def test_a_reader_sees_every_row_of_many_pages_while_the_writer_goes_on(history: History, path: Path) -> None:
    for at in range(600):
        history.append(tick(at), "web1")
    reader = HistoryReader(path)
    seen = 0
    for row in reader.rows(families=["cpu_usage"], until=599):
        seen += 1
        if seen == 1:
            history.append(tick(600), "web1")
        assert row.sample.family == "cpu_usage"
    reader.close()
    assert seen == 600


def test_files_are_for_their_owner_alone(history: History, path: Path) -> None:
    history.append(tick(1), "web1")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"history.db": 0o600, "history.db-wal": 0o600, "history.db-shm": 0o600}


def test_a_killed_writer_loses_at_most_the_tick_in_hand(path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_journal import FOREVER, PLENTY, History, tick
history = History(Path({str(path)!r}), FOREVER, PLENTY)
for at in range(10**6):
    history.append(tick(at), "web1")
    print(at, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) >= 200:
                break
        writer.send_signal(signal.SIGKILL)
        said = [int(line), *(int(rest) for rest in writer.stdout.read().split())]
    ats = [sample.at for sample in read(path, families=["cpu_usage"])]
    assert ats == list(range(len(ats)))
    assert len(ats) - 1 in (said[-1], said[-1] + 1)
    again = History(path, FOREVER, PLENTY)
    again.append(tick(9999999), "web1")
    again.close()
    assert read(path)[-1].at == 9999999
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_rows_go_when_they_are_too_old(path: Path) -> None:
    history = History(path, 100.0, PLENTY)
    for at in range(0, 400, 5):
        history.append(tick(float(at)), "web1")
    history.close()
    assert sorted({sample.at for sample in read(path)}) == [float(at) for at in range(295, 400, 5)]


def test_the_file_stays_within_its_bound_and_keeps_the_newest(path: Path) -> None:
    bound = 400_000
    history = History(path, FOREVER, bound)
    largest = 0
    for at in range(700):
        history.append(tick(at, *["memory_usage"] * 9, pad=250), "web1")
        largest = max(largest, size(path)) if at % 20 == 0 else largest
    history.close()
    ats = [sample.at for sample in read(path)]
    assert 300_000 < largest < bound * 1.2
    assert path.stat().st_size < bound * 1.2
    assert ats[-1] == 699
    assert ats == sorted(ats)
    assert 400 < len(ats) < 1200


def test_a_smaller_bound_shrinks_the_file_bit_by_bit(path: Path) -> None:
    history = History(path, FOREVER, PLENTY)
    for at in range(400):
        history.append(tick(at, *["memory_usage"] * 20, pad=250), "web1")
    history.close()
    before = path.stat().st_size
    history = History(path, FOREVER, before // 4)
    sizes = []
    for at in range(400, 600):
        history.append(tick(at), "web1")
        sizes.append(size(path))
    history.close()
    assert max(earlier - later for earlier, later in itertools.pairwise(sizes)) <= 2**20
    assert path.stat().st_size < before // 2
    assert read(path)[-1].at == 599


@pytest.mark.parametrize("damage", ["no database", "torn"])
def test_a_damaged_file_is_set_aside(damage: str, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    history = History(path, FOREVER, PLENTY)
    for at in range(200):
        history.append(tick(at), "web1")
    history.close()
    content = path.read_bytes()
    path.write_bytes(b"not a database" * 100 if damage == "no database" else content[:4096] + b"\xff" * 40000)
    history = History(path, FOREVER, PLENTY)
    history.append(tick(1000), "web1")
    history.close()
    assert [sample.at for sample in read(path)] == [1000, 1000]
    (aside,) = path.parent.glob("history.db.corrupt-*")
    assert aside.read_bytes() != content
    assert aside.name in caplog.text


def test_a_file_that_breaks_while_it_is_written_is_set_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    history = History(path, FOREVER, PLENTY)
    for at in range(200):
        history.append(tick(at), "web1")
    history.close()  # so that everything is in the file itself
    history = History(path, FOREVER, PLENTY)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    for at in range(200, 203):
        history.append(tick(at), "web1")
    history.close()
    assert "is damaged" in caplog.text
    assert read(path)[-1].at == 202


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    History(path, FOREVER, PLENTY).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    for opened in (lambda: History(path, FOREVER, PLENTY), lambda: HistoryReader(path)):
        with pytest.raises(HistoryError, match=r"written by a newer zkalert \(version 7, known: 1\)"):
            opened()


def test_a_disk_that_is_full_is_logged_once_and_costs_only_history(
    history: History, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The system's bound on the size of files is this test's full disk."""
    history.append(tick(1), "web1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("history.db-wal").stat().st_size, hard))
        for at in range(2, 6):
            history.append(tick(at), "web1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    history.append(tick(6), "web1")
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"history cannot be kept in {path}",
        "history is kept again",
    ]
    assert [sample.at for sample in read(path, families=["cpu_usage"])] == [1, 6]


def test_a_folder_that_cannot_be_made_costs_only_history(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    history = History(blocked / "history.db", FOREVER, PLENTY)
    history.append(tick(1), "web1")
    assert len(caplog.records) == 1
    blocked.unlink()
    history.append(tick(2), "web1")
    history.close()
    assert [sample.at for sample in read(blocked / "history.db")] == [2, 2]


def test_a_file_that_somebody_deleted_is_begun_anew(history: History, path: Path) -> None:
    history.append(tick(1), "web1")
    path.unlink()
    history.append(tick(2), "web1")
    assert [sample.at for sample in read(path)] == [2, 2]


def test_reading_where_nothing_was_kept_names_the_file(path: Path) -> None:
    with pytest.raises(HistoryError, match=f"no history yet: {path} does not exist"):
        HistoryReader(path)
    path.parent.mkdir()
    path.touch()
    with pytest.raises(HistoryError, match=f"no history yet: {path} is empty"):
        HistoryReader(path)


def test_a_reader_notices_that_the_writer_began_another_file(history: History, path: Path) -> None:
    history.append(tick(1), "web1")
    reader = HistoryReader(path)
    assert not reader.is_replaced
    path.replace(path.with_name("aside"))
    assert not reader.is_replaced
    other = History(path, FOREVER, PLENTY)
    assert reader.is_replaced
    other.close()
    reader.close()


def test_a_tick_is_kept_within_milliseconds(history: History) -> None:
    before = time.process_time()
    for at in range(100):
        history.append(tick(at, *["memory_usage"] * 9, pad=250), "web1")
    assert (time.process_time() - before) / 100 < 0.01
