"""Commands as actions: real shells, real pipes, real process groups."""

from __future__ import annotations

import json
import logging
import os
import pwd
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_for
from zkalert.model import (
    Alert,
    Comparator,
    Effect,
    Metric,
    Phase,
    Reason,
    Run,
    SendResult,
    SendState,
    Severity,
    State,
    Where,
)
from zkalert.process import Handout, variables
from zkalert.render import render
from zkalert.senders.command import RunSender

ALERT = Alert(
    rule="memory-high",
    host="web1",
    instance="/var",
    state=State.FIRING,
    episode="3fa4b2c1d0e9",
    severity=Severity.CRITICAL,
    metric=Metric("memory_usage", "percent"),
    unit="percent",
    comparator=Comparator.GT,
    threshold=90.0,
    clear=80.0,
    value=93.42,
    peak=95.0,
    since=1_763_900_000.0,
)
EFFECT = Effect(
    alert=ALERT,
    phase=Phase.FIRING,
    reason=Reason.HELD,
    at=1_763_900_120.0,
    labels={"team": "ops", "dc": "rule"},
    host_labels={"dc": "host", "my-role.x": "kafka"},
    runbook="https://wiki/{{ name }}",
)


def run(
    command: tuple[str, ...] | str, *, effect: Effect = EFFECT, timeout: float = 10.0, cwd: Path | None = None
) -> SendResult:
    return RunSender(Run(command=command, timeout=timeout), cwd).send((effect,), render(effect))


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and only not collected yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    try:
        return not status.parent.parent.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("command", "state", "detail"),
    [
        pytest.param("exit 0", SendState.DELIVERED, "exit code 0", id="success"),
        pytest.param("echo a; echo b >&2", SendState.DELIVERED, "exit code 0; last line: b", id="its last words"),
        pytest.param("echo no; exit 3", SendState.FAILED, "exit code 3; last line: no", id="failure"),
        pytest.param("kill -9 $$", SendState.FAILED, "ended by signal 9", id="signal"),
        pytest.param(("/bin/sh", "-c", "exit 1"), SendState.FAILED, "exit code 1", id="a list"),
        pytest.param(("no-such-command-here",), SendState.FAILED, "not found: no-such-command-here", id="not found"),
        pytest.param(("./nowhere.sh",), SendState.FAILED, "not found: nowhere.sh", id="no such file"),
        pytest.param(("echo", "a\0b"), SendState.FAILED, "cannot be started: embedded null byte", id="NUL"),
        pytest.param("printf 'x\\033[31mred'", SendState.DELIVERED, "exit code 0; last line: x [31mred", id="control"),
    ],
)
def test_how_a_command_ends(tmp_path: Path, command: tuple[str, ...] | str, state: SendState, detail: str) -> None:
    """The exit code decides, nothing is tried again, and the detail is a sentence for people."""
    result = run(command, cwd=tmp_path)
    assert (result.state, result.is_retryable, result.detail) == (state, False, detail)
    assert 0 <= result.seconds < 5


def test_a_file_that_is_not_executable_is_told_as_that(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text("echo hello\n")
    assert run(("./script.sh",), cwd=tmp_path).detail == "no permission to run script.sh; is it executable?"
    script.chmod(stat.S_IRWXU)
    assert run(("./script.sh",), cwd=tmp_path).detail == "script.sh cannot be started: Exec format error"
    script.write_text("#!/bin/sh\necho hello from $PWD\n")
    assert run(("./script.sh",), cwd=tmp_path).detail == f"exit code 0; last line: hello from {tmp_path}"[:240]


def test_the_alert_is_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the engine's own variables of that prefix, secrets among them, are not."""
    monkeypatch.setenv("ZKALERT_PASSWORD", "hunter2")
    monkeypatch.setenv("INHERITED", "yes")
    code = f"import json, os; json.dump(dict(os.environ), open({str(tmp_path / 'env')!r}, 'w'))"
    assert run(python(code)).state is SendState.DELIVERED
    environment = json.loads((tmp_path / "env").read_text())
    assert environment["INHERITED"] == "yes"
    given = {name: text for name, text in environment.items() if name.startswith("ZKALERT_")}
    message = render(EFFECT)
    assert given == {
        "ZKALERT_RULE": "memory-high",
        "ZKALERT_HOST": "web1",
        "ZKALERT_INSTANCE": "/var",
        "ZKALERT_STATE": "firing",
        "ZKALERT_PHASE": "firing",
        "ZKALERT_REASON": "held for its duration",
        "ZKALERT_SEVERITY": "critical",
        "ZKALERT_METRIC": "memory_usage.percent",
        "ZKALERT_SUBJECT": "memory_usage.percent",
        "ZKALERT_UNIT": "percent",
        "ZKALERT_VALUE": "93.42",
        "ZKALERT_VALUES": "",
        "ZKALERT_MEMBERS": "",
        "ZKALERT_SILENT_HOSTS": "",
        "ZKALERT_THRESHOLD": "90",
        "ZKALERT_CLEAR": "80",
        "ZKALERT_PEAK": "95",
        "ZKALERT_COMPARATOR": ">",
        "ZKALERT_SINCE": "2025-11-23T12:13:20Z",
        "ZKALERT_AT": "2025-11-23T12:15:20Z",
        "ZKALERT_TITLE": message.title,
        "ZKALERT_BODY": message.body,
        "ZKALERT_RUNBOOK": "https://wiki/memory-high",
        "ZKALERT_KEY": EFFECT.key,
        "ZKALERT_ID": "3fa4b2",
        "ZKALERT_LABEL_TEAM": "ops",
        "ZKALERT_LABEL_DC": "rule",
        "ZKALERT_LABEL_MY_ROLE_X": "kafka",
    }


def test_the_alert_is_on_standard_input_as_json(tmp_path: Path) -> None:
    out = tmp_path / "alert.json"
    assert run(f"cat >{out}").state is SendState.DELIVERED
    alert = json.loads(out.read_text())
    assert alert["version"] == 1
    assert (alert["rule"], alert["host"], alert["instance"], alert["state"]) == (
        "memory-high",
        "web1",
        "/var",
        "firing",
    )
    assert (alert["value"], alert["comparator"], alert["threshold"], alert["peak"]) == (93.42, ">", 90.0, 95.0)
    assert alert["host_labels"] == {"dc": "host", "my-role.x": "kafka"}
    assert set(alert) == {
        *("version", "id", "key", "rule", "host", "instance", "state", "reason", "severity", "metric", "value"),
        *("comparator", "threshold", "peak", "since", "at", "title", "body", "labels", "host_labels"),
        *("instance_labels", "phase", "subject", "unit", "clear", "values", "members", "silent_hosts", "runbook"),
    }


def test_ranges_texts_and_members_are_json_of_their_kind(tmp_path: Path) -> None:
    out = tmp_path / "alert.json"
    ranged = replace(ALERT, comparator=Comparator.OUTSIDE, threshold=(10.0, 20.0), clear=(12.0, 18.0))
    spread = replace(ranged, host="-", instance=None, value=9.0, values=(9.0, "on", None), members=(12, 2))
    effect = replace(EFFECT, alert=spread, phase=Phase.REPEATED, name="repeated-3")
    assert run(f'cat >{out}; echo "$ZKALERT_THRESHOLD $ZKALERT_VALUES $ZKALERT_PHASE"', effect=effect).detail == (
        'exit code 0; last line: 10..20 [9, "on", null] repeated-3'
    )
    alert = json.loads(out.read_text())
    assert (alert["threshold"], alert["clear"]) == ([10.0, 20.0], [12.0, 18.0])
    assert (alert["values"], alert["members"], alert["silent_hosts"]) == ([9.0, "on", None], 12, 2)
    assert (alert["state"], alert["phase"], alert["host"]) == ("repeated", "repeated-3", "-")


@pytest.mark.parametrize("command", ["exec 0<&-; echo ok", "head -c 1 >/dev/null; echo ok", "echo ok"])
def test_a_command_need_not_read_its_input(command: str) -> None:
    """Also not where the alert is larger than a pipe takes at once."""
    effect = replace(EFFECT, labels={f"label{number}": "x" * 4000 for number in range(60)})
    assert run(command, effect=effect).detail == "exit code 0; last line: ok"


@pytest.mark.parametrize(
    "name",
    [
        "$(touch owned)",
        "; touch owned;",
        "`touch owned`",
        "'; touch owned; '",
        '"; touch owned; "',
        "a\ntouch owned",
        "-rf",
    ],
)
def test_a_hostile_name_stays_a_name(tmp_path: Path, name: str) -> None:
    effect = replace(EFFECT, alert=replace(ALERT, host=name, instance=name), labels={name: name})
    result = run('printf "%s" "$ZKALERT_HOST" >seen', effect=effect, cwd=tmp_path)
    assert result.state is SendState.DELIVERED
    assert (tmp_path / "seen").read_text() == name.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


def test_values_that_no_system_takes_are_made_fit(tmp_path: Path) -> None:
    effect = replace(EFFECT, labels={"a": "x\0y\ud800z", "long": "\u00e4" * 9000, "9 ok": "\u20ac"})
    assert run(f"env >{tmp_path / 'env'}", effect=effect).state is SendState.DELIVERED
    lines = (tmp_path / "env").read_text().splitlines()
    assert "ZKALERT_LABEL_A=x\ufffdy\ufffdz" in lines
    assert "ZKALERT_LABEL_9_OK=\u20ac" in lines
    long = next(line for line in lines if line.startswith("ZKALERT_LABEL_LONG="))
    assert len(long.partition("=")[2].encode()) == 8192


def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    """Grandchildren that hold the pipes open, and ignore being asked, go with it."""
    pids = tmp_path / "pids"
    command = f"(trap '' TERM; echo $$ >>{pids}; sleep 60 & echo $! >>{pids}; wait) & echo $! >>{pids}; wait"
    result = run(command, timeout=0.5)
    assert (result.state, result.is_retryable) == (SendState.FAILED, False)
    assert result.detail == "timed out after 500ms; killed"
    assert 0.5 <= result.seconds < 4
    for pid in map(int, pids.read_text().split()):
        wait_for(lambda pid=pid: not is_alive(pid), f"process {pid} to end")  # type: ignore[misc]


def test_a_command_is_asked_before_it_is_killed(tmp_path: Path) -> None:
    """It has a second to clear up after itself."""
    result = run(f"trap 'echo cleared >{tmp_path / 'said'}; exit 0' TERM; sleep 60 & wait", timeout=0.5)
    assert result.state is SendState.FAILED
    assert result.seconds < 3
    assert (tmp_path / "said").read_text() == "cleared\n"


def test_what_a_command_leaves_behind_with_its_output_open_is_ended(tmp_path: Path) -> None:
    result = run(f"sleep 60 & echo $! >{tmp_path / 'pid'}; exit 0", timeout=0.5)
    assert result.state is SendState.FAILED
    assert result.detail == (
        "timed out after 500ms; killed what it had left running with its output open (its own exit code was 0)"
    )
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not is_alive(pid), "the sleep to end")


def test_what_lets_go_of_the_output_may_stay(tmp_path: Path) -> None:
    """A service that a command starts in the background lives on."""
    result = run(f"sleep 60 >/dev/null 2>&1 & echo $! >{tmp_path / 'pid'}", timeout=5)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert result.state is SendState.DELIVERED
        assert is_alive(pid)
    finally:
        os.kill(pid, 9)


def test_a_flood_of_output_is_drained_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """10 MB go through; of them head and tail are kept."""
    code = "import sys; print('first'); sys.stdout.write('x' * 79 + '\\n'); [sys.stdout.write('y' * 99 + '\\n') for _ in range(100000)]; print('last')"  # noqa: E501 - one line of a command
    with caplog.at_level(logging.INFO, logger="zkalert.actions"):
        result = run(python(code), timeout=30)
    assert result.detail == "exit code 0; last line: last"
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) <= 1 + 101
    assert sum(map(len, logged)) < 66 * 1024
    assert logged[1] == "3fa4b2 | first"
    assert any("lines left out]" in line for line in logged)


def test_output_that_is_kept_is_logged_line_by_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zkalert.actions"):
        run("echo out; echo err >&2; exit 1")
    summary, *lines = [record.getMessage() for record in caplog.records]
    assert summary.startswith("memory-high/web1,/var/3fa4b2c1d0e9/firing: exit code 1 in ")
    assert lines == ["3fa4b2 | out", "3fa4b2 | err"]


def test_one_endless_line_is_cut_in_the_middle(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zkalert.actions"):
        run(python("print('x' * 10_000_000)"))
    assert sum(len(record.getMessage()) for record in caplog.records) < 66 * 1024
    assert "bytes left out]" in caplog.text


def test_the_last_line_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zkalert.actions"):
        result = run("printf 'z%.0s' $(seq 1000)")
    assert result.detail == "exit code 0; last line: " + "z" * 200
    assert "z" * 1000 in caplog.text


def test_a_command_runs_in_a_session_of_its_own() -> None:
    """A Ctrl-C in the engine's terminal does not reach it."""
    result = run(python("import os; print(os.getsid(0) == os.getpid())"))
    assert result.detail == "exit code 0; last line: True"


# Who runs it, where, and with what ------------------------------------------------------------------------------------


def result_of(line: str, folder: Path | None = None, **how: Any) -> SendResult:
    """What comes of a line for the shell that is run in a certain way."""
    return RunSender(Run(command=line, **how), folder).send((EFFECT,), render(EFFECT))


def test_the_exit_code_and_the_end_of_the_output_are_handed_back() -> None:
    result = result_of("printf 'one\\n\\033[31mtwo\\ttabs\\n\\n'; exit 3")
    assert (result.exit_code, result.tail) == (3, "one\n [31mtwo tabs")
    killed = result_of("echo begun; exec sleep 60", timeout=0.3)
    assert (killed.state, killed.exit_code, killed.tail) == (SendState.FAILED, None, "begun")
    assert result_of("kill -9 $$").exit_code is None


def test_of_much_output_one_kib_is_handed_back_in_whole_characters() -> None:
    tail = (
        RunSender(Run(command=python("print('\\u20ac' * 4_000_000); print('end')")))
        .send((EFFECT,), render(EFFECT))
        .tail
    )
    assert 1000 < len(tail.encode()) <= 1024
    assert set(tail) == set("\u20ac\nend")
    assert tail.endswith("\nend")


@pytest.mark.parametrize(("umask", "mode"), [(0o027, "640"), (0o077, "600"), (0, "666")])
def test_a_umask_is_kept_to(tmp_path: Path, umask: int, mode: str) -> None:
    assert result_of("touch made", tmp_path, umask=umask).exit_code == 0
    assert f"{stat.S_IMODE((tmp_path / 'made').stat().st_mode):o}" == mode


def test_a_relative_folder_starts_from_that_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    assert result_of("pwd", tmp_path, cwd="below").tail == str(tmp_path / "below")
    assert result_of("pwd", tmp_path, cwd="/").tail == "/"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = result_of("pwd", tmp_path, cwd="nowhere")
    assert result.state is SendState.FAILED
    assert result.detail == f"the folder {tmp_path}/nowhere cannot be entered: No such file or directory"


def test_a_clean_environment_has_nothing_of_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("LANG", "C.UTF-8")
    code = f"import json, os; json.dump(dict(os.environ), open({str(tmp_path / 'env')!r}, 'w'))"
    RunSender(Run(command=python(code), is_clean=True)).send((EFFECT,), render(EFFECT))
    names = set(json.loads((tmp_path / "env").read_text()))
    assert {name for name in names if not name.startswith("ZKALERT_")} <= {"PATH", "HOME", "LANG", "LC_CTYPE"}
    assert {"PATH", "HOME", "LANG", "ZKALERT_RULE", "ZKALERT_LABEL_TEAM"} <= names


def test_a_user_that_is_not_there_is_told_as_that() -> None:
    result = result_of("id", user="nobody-of-that-name")
    assert (result.state, result.detail) == (SendState.FAILED, 'there is no user "nobody-of-that-name" here')
    assert result_of("id", user="a\0b").detail == 'there is no user "a b" here'


def test_our_own_user_may_be_named() -> None:
    assert result_of("id -u", user=pwd.getpwuid(os.geteuid()).pw_name).tail == str(os.geteuid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_has_its_own_groups_and_home(tmp_path: Path) -> None:
    """And none of root's."""
    nobody = pwd.getpwnam("nobody")
    result = result_of('id -u; id -g; id -G; echo "$HOME $USER $LOGNAME"', Path("/"), user="nobody")
    groups = " ".join(map(str, os.getgrouplist("nobody", nobody.pw_gid)))
    assert result.tail.splitlines() == [
        str(nobody.pw_uid),
        str(nobody.pw_gid),
        groups,
        f"{nobody.pw_dir} nobody nobody",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_become_somebody_else_is_told_so(tmp_path: Path) -> None:
    """As an engine that does not run as root is."""
    code = (
        "import os\n"
        "from zkalert.model import Run; from zkalert.process import Handout, execute\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(execute(Run(command='id', user='daemon'), Handout({}, {})).detail)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "not permitted to run as daemon: only root can, and this is nobody\n"


def test_no_field_passes_for_a_setting_of_our_own_commands() -> None:
    """A request that comes over the net must not lead them to another configuration."""
    fields = {"rule": "r", "config": "/tmp/evil.yaml", "zookeeper": "evil:2181", "ld_preload": "x", "a=b\n": "c"}
    given = variables(Handout(fields, {"title": "t", "labels": {"x": 1}, "host_labels": ["no", "mapping"]}))
    assert given == {
        "ZKALERT_RULE": "r",
        "ZKALERT_LD_PRELOAD": "x",
        "ZKALERT_A_B_": "c",
        "ZKALERT_TITLE": "t",
        "ZKALERT_BODY": "",
        "ZKALERT_RUNBOOK": "",
        "ZKALERT_LABEL_X": "1",
    }


def test_a_host_s_action_is_no_command_here() -> None:
    with pytest.raises(ValueError, match="is run by the host"):
        RunSender(Run(command="restart", where=Where.HOST))
