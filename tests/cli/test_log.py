"""`zkalert log`, as a process, on journals that a real Journal wrote."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers import wait_for
from zkalert.journal import (
    Journal,
    Kind,
    Record,
    Stamp,
    of_ack,
    of_connection,
    of_effect,
    of_ownership,
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

AT = 1_795_000_000.25  # 2026-11-18 11:06:40.250 UTC
OFF = Alert(
    rule="memory-high",
    host="web1",
    metric=Metric("memory_usage", "percent"),
    unit="percent",
    comparator=Comparator.GT,
    threshold=90.0,
    severity=Severity.CRITICAL,
)
PENDING = replace(OFF, state=State.PENDING, episode="a1b2c3d4e5f6", value=93.4, since=AT)
FIRING = replace(PENDING, state=State.FIRING)
RESOLVED = replace(FIRING, state=State.RESOLVED, value=71.0)
OPS = Target(id="n-1", kind=TargetKind.NOTIFY, name="ops")
RESTART = Target(id="r-1", kind=TargetKind.RUN, name="restart-app")
TOLD = Effect(alert=FIRING, phase=Phase.FIRING, reason=Reason.HELD, at=AT)
EVIL = "\x1b]0;owned\x07\x9b31m\u202e\n2026-01-01 told"


def stamp(seconds: float, zxid: int) -> Stamp:
    return Stamp(AT + seconds, zxid)


def story() -> list[Record]:
    """What a journal has of one evening."""
    silence = Silence(
        id="0a1b2c",
        host="web*",
        labels={"role": "db"},
        severities=frozenset({Severity.WARNING}),
        starts_at=AT,
        ends_at=AT + 3600,
        author="ana",
        comment="patch day",
    )
    done = SendResult(state=SendState.DELIVERED, seconds=0.078)
    records = [
        of_connection(stamp(0, 0), "connected"),
        of_reload(stamp(0, 1), "deadbeefcafe1234", 12, "SIGHUP"),
        of_ownership(stamp(0, 2), "taken", engine="zk-a-7"),
        of_transition(stamp(0, 3), OFF, PENDING),
        of_transition(stamp(20, 4), PENDING, FIRING, Reason.HELD),
        of_told(
            stamp(21, 5),
            TOLD,
            OPS,
            SendResult(state=SendState.FAILED, detail="503 Service Unavailable", seconds=0.5),
            attempt=1,
            retry_in=2.0,
        ),
        of_told(stamp(23, 6), TOLD, OPS, done, attempt=2, is_repeat=True, digest="aa55"),
        of_told(stamp(23, 7), TOLD, RESTART, replace(done, detail="exit code 0", seconds=1.25, exit_code=0), attempt=1),
        of_silence(stamp(30, 8), None, silence),
        of_ack(stamp(31, 9), None, Ack(episode="a1b2c3d4e5f6", at=AT, author="bo", comment="on it"), FIRING),
        of_effect(stamp(32, 10), TOLD, why="silenced by 0a1b2c"),
        of_transition(stamp(40, 11), FIRING, RESOLVED, Reason.CLEARED),
        of_told(stamp(41, 12), replace(TOLD, is_drill=True), OPS, done, attempt=1),
    ]
    return [record for record in records if record is not None]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with the journal of one evening."""
    keep(tmp_path / "state", *story())
    return tmp_path / "state"


def keep(state: Path, *records: Record) -> None:
    journal = Journal(state / "journal.sqlite", 1e9)
    journal.append(*records)
    journal.close(10)


def command(state: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "zkalert", "log", *arguments, "--state-dir", str(state)]


def environment(**more: str) -> Mapping[str, str]:
    return {**os.environ, "TZ": "UTC", **more}


def run(state: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(state, *arguments),
        capture_output=True,
        text=True,
        check=False,
        cwd=state.parent,
        timeout=30,
        env=environment(**more),
    )


def rows(done: subprocess.CompletedProcess[str]) -> list[int]:
    return [json.loads(line)["row"] for line in done.stdout.splitlines()]


@contextmanager
def start(state: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command; killed at the end of the block if it still runs."""
    with subprocess.Popen(
        command(state, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_timeline_has_a_line_for_everything(state: Path) -> None:
    done = run(state)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "2026-11-18 11:06:40.250          connection connected",
        "2026-11-18 11:06:40.250          reload     loaded by SIGHUP: 12 rules, set deadbeefcafe",
        "2026-11-18 11:06:40.250          ownership  taken by zk-a-7",
        (
            "2026-11-18 11:06:40.250 critical pending    memory-high web1: memory_usage.percent is 93.4% (> 90%), "
            "threshold crossed (was inactive) [a1b2c3]"
        ),
        (
            "2026-11-18 11:07:00.250 critical firing     memory-high web1: memory_usage.percent is 93.4% (> 90%), "
            "held for its duration (was pending) [a1b2c3]"
        ),
        (
            "2026-11-18 11:07:01.250 critical failed     memory-high web1: firing, ops in 500ms: "
            "503 Service Unavailable, again in 2s [a1b2c3]"
        ),
        (
            "2026-11-18 11:07:03.250 critical told       memory-high web1: firing, ops in 78ms, try 2, "
            "may be a repeat, in digest aa55 [a1b2c3]"
        ),
        (
            "2026-11-18 11:07:03.250 critical ran        memory-high web1: firing, restart-app in 1.2s: "
            "exit code 0 [a1b2c3]"
        ),
        (
            "2026-11-18 11:07:10.250          silence    added 0a1b2c host=web* role=db severity=warning "
            "until 2026-11-18 12:06:40 by ana: patch day"
        ),
        "2026-11-18 11:07:11.250 critical ack        memory-high web1: added by bo: on it [a1b2c3]",
        "2026-11-18 11:07:12.250 critical withheld   memory-high web1: firing: silenced by 0a1b2c [a1b2c3]",
        (
            "2026-11-18 11:07:20.250 critical resolved   memory-high web1: memory_usage.percent is 71% (was > 90%), "
            "back below the threshold, after 40s (was firing) [a1b2c3]"
        ),
        "2026-11-18 11:07:21.250 critical drill      memory-high web1: told, firing, ops in 78ms [a1b2c3]",
    ]


def test_times_are_those_of_the_local_zone(state: Path) -> None:
    done = run(state, "-n", "1", TZ="America/Sao_Paulo")
    assert done.stdout.startswith("2026-11-18 08:07:21.250 critical drill")
    at_eight = run(state, "--since", "2026-11-18T08:07:20", "--format", "json", TZ="America/Sao_Paulo")
    assert rows(at_eight) == [12, 13]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-n 2", [12, 13]),
        ("-n 0", []),
        ("--rule memory-*", [4, 5, 6, 7, 8, 10, 11, 12, 13]),
        ("--host web1 --kind transition", [4, 5, 12]),
        ("--host web1 --kind transition -n 1", [12]),
        ("--kind message,action --kind ack", [6, 7, 8, 10]),
        ("--alert A1B2C3 --until 2026-11-18T11:07:00.250Z", [4, 5]),
        ("--since 2026-11-18T11:07:11Z --until 2026-11-18T12:07:12.5+01:00", [10, 11]),
    ],
)
def test_lines_can_be_asked_for_by_what_they_are(state: Path, arguments: str, expected: list[int]) -> None:
    done = run(state, "--format", "json", *arguments.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(done) == expected


def test_what_fits_nothing_is_said_beside_the_output(state: Path) -> None:
    done = run(state, "--rule", "nix", "--format", "json")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"nothing in {state}/journal.sqlite fits\n"


def test_without_a_time_the_newest_hundred_are_shown_and_with_one_all_since(tmp_path: Path) -> None:
    state, now = tmp_path / "state", time.time()
    keep(state, *(Record(at=now - 3600 + number, zxid=number + 1, kind=Kind.RELOAD) for number in range(1000)))
    assert rows(run(state, "--format", "json")) == list(range(901, 1001))
    assert rows(run(state, "--format", "json", "--since", "2h")) == list(range(1, 1001))
    some = rows(run(state, "--format", "json", "--since", "50m"))
    assert some == list(range(some[0], 1001))
    assert 595 < some[0] < 625  # the command itself takes a while


def test_a_time_of_day_is_the_last_one_that_there_was(tmp_path: Path) -> None:
    state, now = tmp_path / "state", time.time()
    keep(state, Record(at=now - 2 * 3600, kind=Kind.RELOAD), Record(at=now - 60, kind=Kind.RELOAD))
    an_hour_ago = time.strftime("%H:%M", time.gmtime(now - 3600))
    assert rows(run(state, "--format", "json", "--since", an_hour_ago)) == [2]


def test_json_says_all_that_is_known_and_nothing_that_is_not(state: Path) -> None:
    first, *_, last = map(json.loads, run(state, "--format", "json", "-n", "9").stdout.splitlines())
    assert first == {
        "row": 5,
        "time": "2026-11-18T11:07:00.250Z",
        "at": AT + 20,
        "zxid": 4,
        "kind": "transition",
        "rule": "memory-high",
        "host": "web1",
        "alert": "a1b2c3",
        "episode": "a1b2c3d4e5f6",
        "severity": "critical",
        "state": "firing",
        "reason": "held for its duration",
        "value": 93.4,
        "seconds": 20.0,
        "data": {
            "from": "pending",
            "of": "memory_usage.percent",
            "unit": "percent",
            "comparator": ">",
            "threshold": 90.0,
        },
    }
    assert (last["kind"], last["target"], last["seconds"], last["attempt"]) == ("drill", "ops", 0.078, 1)


@pytest.mark.parametrize("format_", ["text", "json"])
def test_what_anybody_wrote_does_not_drive_the_terminal(tmp_path: Path, format_: str) -> None:
    evil = replace(FIRING, host=EVIL, instance=EVIL, value=EVIL, unit=EVIL, subject=EVIL)
    told = replace(TOLD, alert=evil, name=EVIL, note=EVIL)
    result = SendResult(state=SendState.FAILED, detail=EVIL)
    silence = Silence(id=EVIL, host=EVIL, labels={EVIL: EVIL}, starts_at=AT, ends_at=1e300, comment=EVIL, cron=EVIL)
    records = [
        of_transition(stamp(0, 1), OFF, evil),
        of_told(stamp(0, 2), told, replace(OPS, name=EVIL), result, attempt=1),
        of_effect(stamp(0, 3), told, [replace(OPS, name=EVIL)], EVIL),
        of_silence(stamp(0, 4), None, silence),
        of_ack(stamp(0, 5), None, Ack(episode=EVIL, at=AT, author=EVIL, comment=EVIL)),
        of_reload(stamp(0, 6), EVIL, 1, EVIL, problem=EVIL),
        Record(at=1e300, kind=Kind.OWNERSHIP, state=EVIL, severity=EVIL, detail="\x7f\u2028\U000e0001" + EVIL),
    ]
    keep(tmp_path / "state", *(record for record in records if record is not None))
    done = run(tmp_path / "state", "--format", format_)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.split("\n")
    assert len(lines) == len(records) + 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", done.stdout)
    assert done.stdout.count("owned") > len(records)


def test_rows_with_data_of_other_shapes_are_shown_all_the_same(tmp_path: Path) -> None:
    """A journal is a file: what is in `data` is no more to be believed than anything else."""
    odd: list[dict[str, object]] = [{"threshold": "x"}, {"threshold": [1]}, {"threshold": ["a", {}]}]
    odd += [{"unit": 5, "of": [], "comparator": {}}]
    keep(
        tmp_path / "state",
        *(
            Record(at=AT, kind=kind, value=5, state="firing", attempt=1, data={"unit": "bytes", **data})
            for kind in Kind
            for data in odd
        ),
        Record(at=AT, kind=Kind.SILENCE, data={"matchers": [], "severities": {}, "ends_at": "soon", "cron": 5}),
        Record(at=AT, kind=Kind.MESSAGE, attempt=1, data={"retry_in": "soon", "digest": 5}),
    )
    done = run(tmp_path / "state", "-n", "1000")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(odd) * len(Kind) + 2


def test_severities_have_a_colour_on_a_terminal_alone(state: Path) -> None:
    assert "\x1b" not in run(state).stdout
    assert "\x1b[31m\x1b[1mcritical\x1b[0m \x1b[31m\x1b[1mfiring    \x1b[0m" in on_terminal(state)
    assert "\x1b" not in on_terminal(state, NO_COLOR="1")


def on_terminal(state: Path, **more: str) -> str:
    ours, theirs = pty.openpty()
    with subprocess.Popen(command(state), stdout=theirs, env=environment(TERM="xterm", **more)) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 20)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end was closed
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def test_follow_shows_what_a_running_engine_writes_at_once(state: Path) -> None:
    """The writer is a process of its own, as an engine is."""
    code = f"""
import sys, time
from pathlib import Path
from zkalert.journal import Journal, Kind, Record
journal = Journal(Path({str(state / "journal.sqlite")!r}))
for line in sys.stdin:
    journal.append(Record(at=time.time(), zxid=int(line), kind=Kind.CONNECTION, state="connected", detail=line.strip()))
journal.close(10)
"""
    with (
        start(state, "-f", "-n", "1", "--kind", "connection") as process,
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True) as writer,
    ):
        assert process.stdout is not None
        assert writer.stdin is not None
        assert process.stdout.readline().endswith("connection connected\n")
        took = []
        for number in range(100, 110):
            began = time.monotonic()
            writer.stdin.write(f"{number}\n")
            writer.stdin.flush()
            assert process.stdout.readline().endswith(f"connection connected: {number}\n")
            took.append(time.monotonic() - began)
        # The first one waits for the writer to start; a busy machine is granted one more that is late.
        assert sorted(took)[-3] < 0.5, took
        writer.stdin.close()
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=10)
    assert (process.returncode, out, said) == (0, "", "")


def test_follow_goes_on_with_the_file_that_is_begun_after_a_damaged_one(state: Path) -> None:
    with start(state, "--follow", "-n", "1", "--format", "json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["row"] == 13
        (state / "journal.sqlite").replace(state / "journal.sqlite.corrupt-1")
        for suffix in ("-wal", "-shm"):
            (state / f"journal.sqlite{suffix}").unlink(missing_ok=True)
        keep(state, Record(at=AT, zxid=99, kind=Kind.RELOAD, detail="anew"))
        assert json.loads(process.stdout.readline())["detail"] == "anew"
        process.send_signal(signal.SIGTERM)


def test_follow_costs_next_to_nothing_while_nothing_happens(state: Path) -> None:
    with start(state, "-f", "-n", "1") as process:
        assert process.stdout is not None
        process.stdout.readline()
        ticks = os.sysconf("SC_CLK_TCK")

        def spent() -> float:
            fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / ticks

        before, began = spent(), time.monotonic()
        wait_for(lambda: time.monotonic() - began > 2, "two quiet seconds")
        assert spent() - before < 0.1


def test_it_ends_quietly_when_its_reader_has_gone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    keep(state, *(Record(at=AT, kind=Kind.RELOAD, detail="x" * 200) for _ in range(3000)))
    with start(state, "-n", "3000") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(10) == 1


def test_where_there_is_no_journal_the_file_and_its_writer_are_named(tmp_path: Path) -> None:
    for arguments in ((), ("-f",)):
        done = run(tmp_path / "state", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"zkalert: error: no journal yet: {tmp_path}/state/journal.sqlite does not exist; "
            "`zkalert engine` writes it, on the host that it runs on\n"
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--kind mesage", 'no kind "mesage"; did you mean message?'),
        ("--kind xyzzy", 'no kind "xyzzy"; expected one of transition, withheld'),
        ("--since yesterday", '"yesterday" is neither a span nor a time; expected a span before now such as 30m'),
        ("--since 2026-13-01", '"2026-13-01" is neither a span nor a time'),
        ("--since 25:00", '"25:00" is neither a span nor a time'),
        ("--alert web1", '"web1" is no ID of an alert; expected hex digits such as a1b2c3'),
        ("-f --until 1h", "--until has no meaning with --follow"),
        ("-n -1", "-1 is not in the range"),
    ],
)
def test_wrong_usage_is_named(state: Path, arguments: str, said: str) -> None:
    done = run(state, *arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_reading_never_changes_what_is_read(state: Path) -> None:
    before = list(read(state / "journal.sqlite"))
    run(state)
    assert list(read(state / "journal.sqlite")) == before
