"""`zkalert backtest` on histories that were made to break it, and names that were made to drive a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_validate import ROOT, zkalert

RULE = '{name: memory-high, metric: memory_usage, comparator: ">", threshold: 90}'
AT = 1_795_000_000.0


def line(at: float, host: str = "web1") -> str:
    sample = {"v": 1, "time": at, "interval": 5, "max_age": 15, "values": {"percent": 95}}
    return json.dumps({"host": host, "family": "memory_usage", **sample}) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(f"rules: [{RULE}]\n", encoding="utf-8")
    return tmp_path


def in_bash(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run `script` with the command as $ZKALERT, in half a gigabyte of address space."""
    return subprocess.run(
        ["bash", "-c", f"ulimit -v 524288; {script}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ZKALERT": f"{sys.executable} -m zkalert backtest rules.yaml"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_line_without_an_end_is_left_out_and_not_held(folder: Path) -> None:
    with (folder / "web1.jsonl").open("w", encoding="utf-8") as file:
        file.write(line(AT) + '{"host": "' + "x" * 2**20)
        file.writelines("x" * 2**20 for _ in range(300))
        file.write('"}\n' + line(AT + 5))
    done = in_bash(folder, "$ZKALERT --history web1.jsonl")
    assert (done.returncode, done.stderr) == (0, "web1.jsonl: 1 line cannot be used and left out: 2: no JSON\n")
    assert "2 samples of web1" in done.stdout


def test_an_endless_device_is_no_history(folder: Path) -> None:
    done = in_bash(folder, "$ZKALERT --history /dev/zero")
    assert done.returncode == 1
    assert done.stderr.startswith("zkalert: error: /dev/zero is no history")


def test_what_the_shell_hands_over_is_played_from_its_first_line(folder: Path) -> None:
    (folder / "web1.jsonl").write_text(line(AT) + line(AT + 5), encoding="utf-8")
    done = in_bash(folder, "$ZKALERT --history <(cat web1.jsonl)")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 samples of web1" in done.stdout


def test_bytes_that_are_no_text_are_told_as_such_on_standard_input(folder: Path) -> None:
    done = in_bash(folder, r"printf '\xff\xfe' | $ZKALERT --history -")
    assert done.returncode == 1
    assert done.stderr.startswith("zkalert: error: <stdin> is no history")


def test_a_name_in_an_error_does_not_drive_the_terminal(tmp_path: Path) -> None:
    done = zkalert("validate", "\x1b]0;x\x07.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, r"zkalert: error: \x1b]0;x\x07.yaml: no such file or folder" + "\n")
