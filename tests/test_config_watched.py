"""Processes, files and check commands in zkalert.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.configkit import findings, load
from zkalert.model import CheckEntry, FileEntry, ProcessEntry, Run


def test_processes_are_read_with_all_their_keys(tmp_path: Path) -> None:
    text = """
processes:
  nginx: {unit: nginx}
  app: {name: "java*", pid_file: run/app.pid, command: "Main ${x}$", user: app}
  other: {pid_file: "${PLACE}/other.pid"}
"""
    assert load(tmp_path, text).processes == {
        "nginx": ProcessEntry(unit="nginx"),
        "app": ProcessEntry(name="java*", pid_file=f"{tmp_path}/run/app.pid", command="Main ${x}$", user="app"),
        "other": ProcessEntry(pid_file="/srv/other.pid"),
    }


def test_files_are_a_path_a_list_or_a_mapping(tmp_path: Path) -> None:
    text = """
files:
  one: "${PLACE}/one"
  logs: ["*.log", /var/log/app.log, "*.log"]
  passwd: {path: /etc/passwd, sha256: true}
  confs: {path: [a.conf, b.conf]}
"""
    assert load(tmp_path, text).files == {
        "one": FileEntry(paths=("/srv/one",)),
        "logs": FileEntry(paths=(f"{tmp_path}/*.log", "/var/log/app.log")),
        "passwd": FileEntry(paths=("/etc/passwd",), has_digest=True),
        "confs": FileEntry(paths=(f"{tmp_path}/a.conf", f"{tmp_path}/b.conf")),
    }


def test_commands_are_a_list_a_line_or_a_mapping(tmp_path: Path) -> None:
    text = """
commands:
  load: [check_load, -w, "5,4,3"]
  line: "check_x ${NOT_OURS} | tail -1"
  shop:
    command: [check_http, -H, shop.example.org]
    interval: 30s
    timeout: 1m
    user: nagios
    cwd: plugins
    env: {PASSWORD: "${PASSWORD}", MODE: fast}
"""
    read = load(tmp_path, text)
    assert read.commands == {
        "load": CheckEntry(run=Run(command=("check_load", "-w", "5,4,3"), timeout=10.0), interval=60.0),
        "line": CheckEntry(run=Run(command="check_x ${NOT_OURS} | tail -1", timeout=10.0), interval=60.0),
        "shop": CheckEntry(
            run=Run(
                command=("check_http", "-H", "shop.example.org"), timeout=60.0, user="nagios", cwd=f"{tmp_path}/plugins"
            ),
            interval=30.0,
            environment={"PASSWORD": "hunter2", "MODE": "fast"},
        ),
    }
    assert "hunter2" not in repr(read)


def test_without_the_keys_nothing_is_looked_at(tmp_path: Path) -> None:
    read = load(tmp_path, "host: web1\n")
    assert (read.processes, read.files, read.commands) == ({}, {}, {})


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("processes: {a: {}}", 1, "at least one of name, pid_file, command, unit and user"),
        ("processes: {a: nginx}", 1, "a mapping with at least one of"),
        ("processes: {a: {service: nginx}}", 1, "unit"),
        ('processes: {a: {command: "(x"}}', 1, "a regular expression"),
        ("processes: {'a b': {name: x}}", 1, "a name of letters, digits, dots, underscores and hyphens"),
        ("files: {a: []}", 1, "a list of paths"),
        ("files: {a: {paths: /x}}", 1, "path"),
        ('files: {a: "${NO_SUCH}/x"}', 1, "a variable that is set"),
        ("commands: {a: {run: [x]}}", 1, "command"),
        ('commands: {a: ["", x]}', 1, "a list that begins with a command"),
        ("commands: {a: {command: [x], interval: 100ms}}", 1, "1s to 1d"),
        ("commands: {a: {command: [x], timeout: 2h}}", 1, "100ms to 1h"),
        ('commands: {a: {command: [x], env: {"A-B": x}}}', 1, "the name of a variable"),
        ("shell_actions: false\ncommands: {a: [x]}", 2, "shell_actions: true, or no commands"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(text: str, line: int, told: str, tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, text + "\n")
    assert finding.line == line
    assert told in f"{finding.expected} {finding.hint}"


def test_what_is_secret_in_commands_is_in_no_finding(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, 'commands: {a: {command: [x], env: {A: "${PASSWORD}"}, interval: 1ms}}\n')
    assert finding.code == "wrong-duration"
