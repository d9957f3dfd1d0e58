"""Check commands: how they are run beside the sampling, and what is published of them."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.helpers import Answer, HttpReceiver, is_gone, pid_in, wait_for
from zkalert.model import CheckEntry, Run, Value
from zkalert.sampler import checks as module
from zkalert.sampler.checks import AT_ONCE, PLUGIN_FOLDERS, Checks, first_delay

PLUGINS = next((Path(folder) for folder in PLUGIN_FOLDERS if Path(folder, "check_load").exists()), None)
plugins = pytest.mark.skipif(PLUGINS is None, reason="needs Debian's monitoring-plugins-basic; .ci/setup plugins")


def entry(
    command: str | tuple[str, ...], *, interval: float = 60.0, timeout: float = 10.0, **environment: str
) -> CheckEntry:
    return CheckEntry(run=Run(command=command, timeout=timeout), interval=interval, environment=environment)


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is due at once: nobody waits a minute for a test."""
    monkeypatch.setattr(module, "first_delay", lambda *_: 0.0)


@contextmanager
def running(entries: dict[str, CheckEntry], folder: Path | None = None) -> Iterator[Checks]:
    found = Checks(entries, folder, "machine", time.monotonic())
    found.start()
    try:
        yield found
    finally:
        found.stop()


def said(checks: Checks, name: str) -> dict[str, Value]:
    """What a command said first."""
    wait_for(lambda: name in checks(time.monotonic()).instances, f"{name} to say something")
    return dict(checks(time.monotonic()).instances[name])


def one(command: str | tuple[str, ...], folder: Path | None = None, **given: object) -> dict[str, Value]:
    with running({"one": entry(command, **given)}, folder) as checks:  # type: ignore[arg-type]
        return said(checks, "one")


# What a command says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_the_status(code: int) -> None:
    found = one(f"echo 'STATE - a text | time=15ms;1;2'; exit {code}")
    seconds = found.pop("seconds")
    assert found == {
        "status": code, "unknown": 0, "output": "STATE - a text", "time": 0.015, "time.warn": 0.001, "time.crit": 0.002,
    }  # fmt: skip
    assert isinstance(seconds, float)
    assert 0 < seconds < 5


@pytest.mark.parametrize("code", [3, 4, 127, 255])
def test_any_other_exit_code_is_unknown_and_no_status(code: int) -> None:
    found = one(f"echo 'no idea|a=1'; exit {code}")
    assert "status" not in found
    assert (found["unknown"], found["output"], found["a"]) == (1, "no idea", 1)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        (("no-such-plugin", "-w", "1"), "not found: no-such-plugin"),
        ("no-such-plugin -w 1", "no-such-plugin"),
        ("kill -9 $$", "ended by signal 9"),
        (("/",), "no permission to run"),
        ("echo to errors alone >&2; exit 3", "to errors alone"),
    ],
    ids=["no such file", "no such command of the shell", "killed", "no program", "says it as an error"],
)
def test_what_cannot_be_run_to_its_end_is_unknown_and_says_why(command: str | tuple[str, ...], output: str) -> None:
    found = one(command)
    assert "status" not in found
    assert found["unknown"] == 1
    assert output in str(found["output"])


def test_a_list_is_run_without_a_shell_and_a_line_with_one() -> None:
    assert one(("echo", "$HOME", "*"))["output"] == "$HOME *"
    assert one("echo $((40 + 2))")["output"] == "42"


def test_variables_of_its_own_and_none_of_zkalerts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZKALERT_ZOOKEEPER", "secret:2181")
    found = one('echo "$TOKEN ${ZKALERT_ZOOKEEPER-none} $LC_NUMERIC $PWD"', tmp_path, TOKEN="abc")
    assert found["output"] == f"abc none C {tmp_path}"
    assert "abc" not in repr(entry("true", TOKEN="abc"))


def test_standard_input_is_empty() -> None:
    assert one("read -r line || echo nothing")["output"] == "nothing"


def test_output_without_end_is_bounded_and_the_command_is_ended() -> None:
    found = one(("yes", "OK | a=1"))
    assert found["unknown"] == 1
    assert "wrote more than 1 MiB" in str(found["output"])
    assert "a" not in found


def test_of_long_output_the_beginning_counts() -> None:
    found = one(("/bin/sh", "-c", "echo 'OK|a=1'; head -c 300000 /dev/zero; echo '|b=2'"))
    assert (found["status"], found["a"]) == (0, 1)
    assert "b" not in found


# When they run -------------------------------------------------------------------------------------------------------


def test_a_command_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    found = one(f"sleep 300 & echo $! > {tmp_path}/pid; wait", timeout=0.5)
    assert found["unknown"] == 1
    assert str(found["output"]).startswith("timed out after 500ms; killed")
    assert float(found["seconds"]) < 5
    wait_for(lambda: is_gone(pid_in(tmp_path / "pid")), "what it had started to be gone")


def test_one_that_hangs_delays_neither_the_others_nor_a_reading() -> None:
    entries = {"hangs": entry(("sleep", "300"), timeout=120)} | {f"c{n}": entry(("true",)) for n in range(20)}
    with running(entries) as checks:
        wait_for(lambda: len(checks(time.monotonic()).instances) == 20, "all others")
        started = time.monotonic()
        assert "hangs" not in checks(started).instances
        assert time.monotonic() - started < 1


def test_no_more_than_four_run_at_once_and_none_twice(tmp_path: Path) -> None:
    line = "mkdir $D/$N || echo twice > $D/bad; ls $D | wc -l >> $D.most; sleep 0.05; rmdir $D/$N"
    folder = tmp_path / "running"
    folder.mkdir()
    entries = {f"c{n}": entry(line, interval=0.01, D=str(folder), N=str(n)) for n in range(12)}
    most = tmp_path / "running.most"
    with running(entries):
        wait_for(lambda: most.exists() and len(most.read_text().split()) > 40, "forty runs", 30)
    assert not (folder / "bad").exists()
    assert AT_ONCE >= max(int(count) for count in most.read_text().split()) > 1


def test_a_command_runs_again_at_its_interval_and_its_last_word_counts(tmp_path: Path) -> None:
    line = f"echo x >> {tmp_path}/runs; exit $(($(wc -l < {tmp_path}/runs) > 2))"
    with running({"c": entry(line, interval=0.2)}) as checks:
        assert said(checks, "c")["status"] == 0
        wait_for(lambda: checks(time.monotonic()).instances["c"]["status"] == 1, "the third run")


def test_what_was_said_long_ago_is_said_no_more() -> None:
    with running({"c": entry(("true",), interval=60, timeout=10)}) as checks:
        said(checks, "c")
        assert "c" in checks(time.monotonic() + 185).instances
        assert "c" not in checks(time.monotonic() + 195).instances


def test_one_that_waits_for_its_turn_too_long_is_told() -> None:
    entries = {f"hangs{n}": entry(("sleep", "300"), timeout=120) for n in range(AT_ONCE)}
    entries["late"] = entry(("true",), interval=60)
    checks = Checks(entries, None, "machine", time.monotonic() - 1)
    started = time.monotonic()
    assert checks(started + 30).errors == ()
    told = checks(started + 61).errors
    assert told[-1].startswith("late: is late by more than its interval")
    assert checks(started + 99).errors == told, "the same trouble in the same words"


def test_stop_ends_what_runs_and_says_nothing_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running({"c": entry(f"trap : TERM; echo $$ > {tmp_path}/pid; sleep 300; sleep 300", timeout=120)}):
        pid = pid_in(tmp_path / "pid")
    assert is_gone(pid)
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("check-")], "the threads to end")
    assert not caplog.messages


def test_trouble_is_logged_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    line = f"echo x >> {tmp_path}/runs"
    entries = {"lost": entry(("no-such-plugin",), interval=0.02), "counts": entry(line, interval=0.02)}
    with caplog.at_level(logging.WARNING, "zkalert.sampler"), running(entries):
        wait_for(lambda: (tmp_path / "runs").exists() and len((tmp_path / "runs").read_text()) > 10, "some runs")
    assert caplog.messages == ["check command lost: not found: no-such-plugin"]


@pytest.mark.parametrize("interval", [1.0, 60.0, 86400.0], ids=str)
def test_first_runs_are_spread_over_hosts_and_commands_within_a_minute(interval: float) -> None:
    delays = [first_delay(interval, f"machine-{n}", f"check-{n % 5}") for n in range(200)]
    assert all(0 <= delay <= min(interval, 60.0) for delay in delays)
    assert len(set(delays)) == 200
    assert max(delays) - min(delays) > 0.9 * min(interval, 60.0)
    assert delays == [first_delay(interval, f"machine-{n}", f"check-{n % 5}") for n in range(200)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_it_runs_as_whom_the_entry_says() -> None:
    found = CheckEntry(run=Run(command=("id", "-un"), user="nobody"))
    with running({"c": found}) as checks:
        assert said(checks, "c")["output"] == "nobody"
    with running({"c": CheckEntry(run=Run(command=("id",), user="no-such-user"))}) as checks:
        values = said(checks, "c")
    assert (values["unknown"], values["output"]) == (1, 'there is no user "no-such-user" here')


# Real plugins --------------------------------------------------------------------------------------------------------


@plugins
def test_check_load_of_the_system_is_found_without_its_path() -> None:
    found = one(("check_load", "-w", "900,800,700", "-c", "1000,900,800"))
    assert (found["status"], found["unknown"]) == (0, 0)
    assert (found["load1.warn"], found["load5.warn"], found["load15.crit"]) == (900, 800, 800)
    assert 0 <= float(found["load1"]) < 900
    assert "load average" in str(found["output"])


@plugins
@pytest.mark.parametrize(("limit", "status"), [("1:100000", 0), ("100000:", 1)], ids=["within", "below"])
def test_check_procs_of_the_system_judges_a_range(limit: str, status: int) -> None:
    found = one(("check_procs", "-w", limit))
    assert found["status"] == status
    assert found["procs.warn_low"] == int(limit.partition(":")[0])
    assert int(found["procs"]) > 1


@plugins
def test_check_http_of_the_system_asks_a_local_server(http_receiver: HttpReceiver) -> None:
    http_receiver.answer("/health", Answer(body=b"well"), Answer(status=503))
    command = ("check_http", "-H", "127.0.0.1", "-p", str(http_receiver.port), "-u", "/health", "-w", "5", "-c", "9")
    found = one(command)
    assert found["status"] == 0
    assert str(found["output"]).startswith("HTTP OK: HTTP/1.")
    assert 0 < float(found["time"]) < 5
    assert (found["time.warn"], found["time.crit"]) == (5, 9)
    assert float(found["size"]) > len("well")
    found = one(command)
    assert found["status"] == 2
    assert "503" in str(found["output"])


@plugins
def test_check_tcp_of_the_system_tells_an_open_port_from_a_closed_one() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        command = ("check_tcp", "-H", "127.0.0.1", "-p", str(port), "-w", "5")
        found = one(command)
        assert (found["status"], found["time.warn"]) == (0, 5)
        assert f"port {port}" in str(found["output"])
    found = one(command)
    assert found["status"] == 2
    assert "refused" in str(found["output"])


def test_a_plugin_in_python_is_a_plugin(tmp_path: Path) -> None:
    script = tmp_path / "check_queue"
    script.write_text(
        f"#!{sys.executable}\nprint('QUEUE WARNING - 12 wait | waiting=12;10;20;0')\nraise SystemExit(1)\n"
    )
    script.chmod(0o755)
    found = one(("./check_queue",), tmp_path)
    assert (found["status"], found["waiting"], found["waiting.warn"]) == (1, 12, 10)
