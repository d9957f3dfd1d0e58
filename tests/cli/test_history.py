"""`zkalert history`, as a process, on files that a real History wrote."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers import wait_for
from zkalert.journal import History
from zkalert.model import Sample
from zkalert.tree import encode_sample

AT = 1_795_000_000.25


def at_ten(seconds: float = 0.0, *, at: float = AT) -> list[Sample]:
    """A tick of three families."""
    return [
        Sample(
            family="memory_usage",
            at=at + seconds,
            interval=5.0,
            max_age=15.0,
            values={"percent": 91.4, "available": 2 * 2**30},
        ),
        Sample(
            family="disk_usage",
            at=at + seconds,
            interval=30.0,
            max_age=90.0,
            instances={"/": {"percent": 0.0, "free": 10 * 2**30, "readonly": 0, "error": 0}, "/mnt": {"error": 1}},
            labels={"/": {"fstype": "ext4", "device": "/dev/vda"}},
            errors=("/mnt: does not answer",),
        ),
        Sample(family="uptime", at=at + seconds, interval=30.0, max_age=90.0, values={"seconds": 3600.0}),
    ]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with three ticks in it."""
    history = History(tmp_path / "state" / "history.db", 1e9, 2**20)
    for seconds in (0, 5, 10):
        history.append(at_ten(seconds), "web1")
    history.close()
    return tmp_path / "state"


def command(state: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "zkalert", "history", *arguments, "--state-dir", str(state)]


def run(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(state, *arguments), capture_output=True, text=True, check=False, cwd=state.parent, timeout=30
    )


@contextmanager
def start(state: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command; killed at the end of the block if it still runs."""
    with subprocess.Popen(
        command(state, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_tail_shows_a_line_a_sample_with_its_main_values(state: Path) -> None:
    done = run(state, "tail", "-n", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "2026-11-18T11:06:50.250Z web1 memory_usage percent 91.4%, available 2 GiB",
        "2026-11-18T11:06:50.250Z web1 disk_usage /: percent 0%, free 10 GiB; /mnt: error 1; (/mnt: does not answer)",
        "2026-11-18T11:06:50.250Z web1 uptime seconds 1h",
    ]


def test_tail_shows_the_families_that_were_named_oldest_first(state: Path) -> None:
    done = run(state, "tail", "uptime", "memory_usage", "-n", "4")
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["memory_usage", "uptime"] * 2
    assert done.stdout.splitlines() == sorted(done.stdout.splitlines(), key=lambda line: line.split()[0])


def test_tail_follows_until_ctrl_c(state: Path) -> None:
    with start(state, "tail", "-f", "-n", "1", "uptime") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("2026-11-18T11:06:50.250Z")
        history = History(state / "history.db", 1e9, 2**20)
        history.append(at_ten(15), "web1")
        started = time.monotonic()
        assert process.stdout.readline().startswith("2026-11-18T11:06:55.250Z")
        assert time.monotonic() - started < 5
        history.close()
        # A sampler that found the file damaged begins another one.
        (state / "history.db").replace(state / "history.db.corrupt-1")
        for suffix in ("-wal", "-shm"):
            (state / f"history.db{suffix}").unlink(missing_ok=True)
        history = History(state / "history.db", 1e9, 2**20)
        history.append(at_ten(20), "web1")
        assert process.stdout.readline().startswith("2026-11-18T11:07:00.250Z")
        history.close()
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=10)
    assert (process.returncode, out, said) == (0, "", "")


@pytest.mark.parametrize(
    "arguments", [("tail", "-f"), ("export", "--format", "csv")], ids=["tail that follows", "export"]
)
def test_it_ends_quietly_when_its_reader_has_gone(arguments: tuple[str, ...], tmp_path: Path) -> None:
    state = tmp_path / "state"
    history = History(state / "history.db", 1e9, 2**26)
    for seconds in range(1000):
        history.append(at_ten(seconds), "web1")
    with start(state, *arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        later = iter(range(1000, 2000))

        def ended() -> bool:
            history.append(at_ten(next(later)), "web1")
            return process.poll() is not None

        wait_for(ended, "the end")
        assert process.stderr.read() == ""
    history.close()


def test_csv_has_a_line_a_value(state: Path) -> None:
    done = run(state, "export", "--format", "csv", "memory_usage", "disk_usage")
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert rows[0] == ["time", "host", "family", "instance", "field", "value"]
    assert rows[1:4] == [
        ["2026-11-18T11:06:40.250Z", "web1", "memory_usage", "", "percent", "91.4"],
        ["2026-11-18T11:06:40.250Z", "web1", "memory_usage", "", "available", "2147483648"],
        ["2026-11-18T11:06:40.250Z", "web1", "disk_usage", "/", "percent", "0.0"],
    ]
    assert len(rows) == 1 + 3 * (2 + 4 + 1)


def test_jsonl_has_the_sample_as_in_its_znode_and_whose_it_is(state: Path) -> None:
    done = run(state, "export", "--format", "jsonl")
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    expected = [sample for seconds in (0, 5, 10) for sample in at_ten(seconds)]
    assert documents == [
        {"host": "web1", "family": sample.family, **json.loads(encode_sample(sample))} for sample in expected
    ]


def test_since_counts_back_from_now(state: Path) -> None:
    now = time.time()
    history = History(state / "history.db", 1e9, 2**20)
    for ago in (7200, 60, 0):
        history.append(at_ten(at=now - ago), "web1")
    history.close()
    done = run(state, "export", "--format", "jsonl", "--since", "1h", "uptime")
    assert [round(now - json.loads(line)["time"]) for line in done.stdout.splitlines()] == [60, 0]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("tail", "memry_usage"), 2, 'no family "memry_usage"; did you mean memory_usage?'),
        (("export", "--format", "csv", "qqq"), 2, 'no family "qqq"; expected one of memory_usage, cpu_usage'),
        (("export", "--format", "csv", "--since", "soon"), 2, '"soon" is not a duration; expected a number and a unit'),
        (("export",), 2, "'--format'"),
        (("export", "--format", "xml"), 2, "'xml' is not one of 'csv', 'jsonl'"),
        (("tail", "-n", "-1"), 2, "-1 is not in the range"),
    ],
    ids=["a slip", "an unknown family", "no span", "no format", "an unknown format", "a negative number"],
)
def test_wrong_usage_is_told_what_is_right(arguments: tuple[str, ...], code: int, said: str, state: Path) -> None:
    done = run(state, *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [("tail",), ("export", "--format", "csv")], ids=["tail", "export"])
def test_without_a_history_the_file_is_named(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path / "none", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    path = tmp_path / "none" / "history.db"
    assert done.stderr == f"zkalert: error: no history yet: {path} does not exist; `zkalert sampler` writes it\n"
