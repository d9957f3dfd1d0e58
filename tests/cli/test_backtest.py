"""`zkalert backtest`, as a process, on files that a real History wrote and `zkalert history export` read."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_for
from zkalert.journal import History
from zkalert.model import Sample

START = 1_795_000_000.0
RULES = """\
rules:
  - name: memory-high
    metric: memory_usage.percent
    comparator: ">"
    threshold: {threshold}
    duration: 20s
    severity: warning
"""


def memory(percent: float, at: float) -> Sample:
    return Sample(family="memory_usage", at=at, interval=5.0, max_age=15.0, values={"percent": percent})


def keep(path: Path, percents: list[float], host: str = "web1", start: float = START) -> None:
    history = History(path, 1e12, 2**30)
    for index, percent in enumerate(percents):
        history.append([memory(percent, start + 5 * index)], host)
    history.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder with a history of one episode from 25 s to 35 s, and a rule file."""
    keep(tmp_path / "state" / "history.db", [50, 95, 96, 97.5, 96, 95, 95, 50, 50])
    (tmp_path / "rules.yaml").write_text(RULES.format(threshold=90), encoding="utf-8")
    (tmp_path / "lax.yaml").write_text(RULES.format(threshold=99), encoding="utf-8")
    return tmp_path


def zkalert(folder: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zkalert", *arguments, "--state-dir", str(folder / "state")]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=60, input=given)


def backtest(folder: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return zkalert(folder, "backtest", *arguments, given=given)


def document(folder: Path, *arguments: str, given: str | None = None) -> dict[str, Any]:
    done = backtest(folder, *arguments, "--format", "json", given=given)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_plays_this_hosts_own_history_by_default(folder: Path) -> None:
    done = backtest(folder, "rules.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:3] == [
        "2026-11-18 11:06:40 to 2026-11-18 11:07:20 UTC (40s): 9 samples of web1, 1 rule",
        "2 messages: 1 firing, 1 resolved",
        "to nobody: 2, for want of a channel",
    ]
    assert done.stdout.splitlines()[5].split()[:6] == ["memory-high", "1", "10s", "25.0%", "2", "0"]


def test_rules_channels_and_labels_come_from_the_configuration(folder: Path) -> None:
    (folder / "rules.yaml").write_text(RULES.format(threshold=90) + "    hosts: {role: web}\n", encoding="utf-8")
    (folder / "zkalert.yaml").write_text(
        "host: web1\nlabels: {role: web}\nrules: [rules.yaml]\nchannels:\n  ops: {urls: ['json://localhost/']}\n",
        encoding="utf-8",
    )
    found = document(folder)
    assert [message["channels"] for message in found["messages"]] == [["ops"], ["ops"]]


def test_all_three_forms_give_the_same_report(folder: Path) -> None:
    expected = document(folder, "rules.yaml")
    assert [(one["began"] - START, one["ended"] - START) for one in expected["episodes"]] == [(25.0, 35.0)]
    for form in ("csv", "jsonl"):
        text = zkalert(folder, "history", "export", "--format", form).stdout
        (folder / f"web1.{form}").write_text(text, encoding="utf-8")
        for found in (
            document(folder, "rules.yaml", "--history", f"web1.{form}"),
            document(folder, "rules.yaml", "--history", "-", given=text),
        ):
            assert {**found, "sources": None} == {**expected, "sources": None}


def test_several_files_are_several_hosts_merged_by_time(folder: Path) -> None:
    keep(folder / "web2.db", [95] * 10, "web2", START + 2.5)
    files = ("--history", "state/history.db", "--history", "web2.db")
    found = document(folder, "rules.yaml", *files)
    assert found["hosts"] == ["web1", "web2"]
    assert [(one["host"], one["began"] - START) for one in found["episodes"]] == [("web2", 22.5), ("web1", 25.0)]
    assert [source["samples"] for source in found["sources"]] == [9, 10]
    assert document(folder, "rules.yaml", *files, "--host", "web2")["hosts"] == ["web2"]


def test_since_and_until_take_times_and_spans(folder: Path) -> None:
    found = document(folder, "rules.yaml", "--since", "2026-11-18T11:07:05Z", "--until", "2026-11-18T11:07:10")
    assert (found["since"], found["until"], found["samples"]) == (START + 25, START + 30, 2)
    assert [(one["began"] - START, one["ended"]) for one in found["episodes"]] == [(25.0, None)]
    now = time.time()
    keep(folder / "now.db", [95] * 21, start=now - 200)
    assert document(folder, "rules.yaml", "--history", "now.db", "--since", "2m30s")["samples"] in range(6, 12)
    done = backtest(folder, "rules.yaml", "--history", "now.db", "--until", "1h")
    assert done.returncode == 1
    assert "nothing to play: no sample of memory_usage in that time in now.db" in done.stderr


def test_a_comparison_says_what_is_new_and_gone(folder: Path) -> None:
    found = document(folder, "lax.yaml", "--compare", "rules.yaml")["compare"]
    assert {name: found[name] for name in ("against", "before", "now", "same", "new")} == {
        "against": "rules.yaml",
        "before": 2,
        "now": 0,
        "same": 0,
        "new": [],
    }
    assert [(one["phase"], one["at"] - START) for one in found["gone"]] == [("firing", 25.0), ("resolved", 35.0)]
    text = backtest(folder, "lax.yaml", "--compare", "rules.yaml").stdout
    assert "against rules.yaml: 2 messages before, 0 now; 0 the same" in text
    assert "gone:" in text


def test_damaged_lines_are_told_on_standard_error_and_are_not_fatal(folder: Path) -> None:
    lines = zkalert(folder, "history", "export", "--format", "jsonl").stdout.splitlines(keepends=True)
    lines[8] = "{torn\n"
    (folder / "web1.jsonl").write_text("".join(lines), encoding="utf-8")
    done = backtest(folder, "rules.yaml", "--history", "web1.jsonl")
    assert done.returncode == 0
    assert done.stderr == "web1.jsonl: 1 line cannot be used and left out: 9: no JSON\n"
    assert "8 samples of web1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("rules.yaml", "--since", "soon"), 2, '"soon" is neither a span nor a time; expected a span before now'),
        (("rules.yaml", "--since", "2026-13-45"), 2, '"2026-13-45" is neither a span nor a time'),
        (("rules.yaml", "--since", "1h", "--until", "2h"), 2, "--since has to lie before --until"),
        ((), 2, "no rules: name files or folders"),
        (("none.yaml",), 2, "none.yaml: no such file or folder"),
        (("bad.yaml",), 1, "comparator"),
        (("rules.yaml", "--history", "none.db"), 1, "none.db does not exist"),
        (("rules.yaml", "--history", "rules.yaml"), 1, "rules.yaml is no history: expected SQLite"),
        (("rules.yaml", "--history", "state"), 1, "state: Is a directory"),
        (("rules.yaml", "--history", "torn.db"), 1, "torn.db"),
        (("rules.yaml", "--history", "torn.csv"), 1, "torn.csv: none of its lines can be used; line 2: 1 fields"),
        (("rules.yaml", "--host", "web9"), 1, "nothing to play: no sample of memory_usage of web9"),
    ],
    ids=[
        "no moment",
        "no date",
        "the wrong way round",
        "no rules",
        "no such rules",
        "bad rules",
        "no such history",
        "no history",
        "a folder",
        "a damaged file",
        "damaged text",
        "no such host",
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    (folder / "bad.yaml").write_text("rules: [{name: x, metric: uptime.seconds}]\n", encoding="utf-8")
    (folder / "torn.db").write_bytes((folder / "state" / "history.db").read_bytes()[:600])
    (folder / "torn.csv").write_text("time,host,family,instance,field,value\nx\n", encoding="utf-8")
    done = backtest(folder, *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_long_run_shows_how_far_it_is_on_a_terminal_alone(folder: Path) -> None:
    """Standard error is a terminal here; the samples come through a pipe, slowly enough."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zkalert", "backtest", "rules.yaml", "--history", "-"]
    lines = zkalert(folder, "history", "export", "--format", "jsonl").stdout.splitlines(keepends=True)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, text=True, cwd=folder, env=environment
    ) as process:
        os.close(theirs)
        os.set_blocking(ours, False)
        assert process.stdin is not None
        assert process.stdout is not None
        said = b""

        def is_shown() -> bool:
            nonlocal said
            assert process.stdin is not None
            process.stdin.writelines([lines[-1]] * 600)
            process.stdin.flush()
            with contextlib.suppress(BlockingIOError):
                said += os.read(ours, 65536)
            return b"playing" in said

        wait_for(is_shown, "the bar", timeout=30)
        process.stdin.close()
        assert "samples of web1" in process.stdout.read()
        process.wait(30)
    os.close(ours)
