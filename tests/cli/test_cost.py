"""`zkalert cost`: tables for people, one object for programs, and slips that are told with the right name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RULES = """
rules:
  - {name: memory, metric: memory_usage.percent, comparator: ">", threshold: 90}
  - {name: topics, metric: "znode:/topics/{topic}#value", comparator: "==", threshold: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    return tmp_path


def cost(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zkalert", "cost", *words]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def document(folder: Path, *words: str) -> dict[str, Any]:
    done = cost(folder, "rules.yaml", "--format", "json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_table_says_what_zookeeper_hosts_and_engines_bear(folder: Path) -> None:
    done = cost(folder, "rules.yaml", "--hosts", "500", "--znodes", "2000")
    assert (done.returncode, done.stderr) == (0, "")
    for said in (
        "ZooKeeper, 500 hosts and 2 engines",
        "transactions a minute",
        "memory of its sampler",
        "watch events a second",
        "znode:/topics/{topic}    2,000            2,000            1",
        "cpu_usage",
        "- ",
    ):
        assert said in done.stdout


def test_more_hosts_cost_more_in_proportion(folder: Path) -> None:
    one, ten = (document(folder, "--hosts", number)["zookeeper"] for number in ("100", "1000"))
    engines = 24
    name = "transactions_per_minute"
    assert ten[name]["full"] - engines == pytest.approx(10 * (one[name]["full"] - engines))
    assert ten["bytes_written_per_second"]["full"] == pytest.approx(
        10 * one["bytes_written_per_second"]["full"], rel=0.01
    )


def test_the_configuration_says_what_hosts_publish(folder: Path) -> None:
    (folder / "zkalert.yaml").write_text(
        "rules: [rules.yaml]\nsampler:\n  publish: full\n  intervals: {memory_usage: 1s}\n", encoding="utf-8"
    )
    done = cost(folder, "--hosts", "5", "--format", "json")
    assert done.returncode == 0, done.stderr
    host = json.loads(done.stdout)["host"]
    assert host["transactions_per_minute"] == {"rest": 60.0, "full": 60.0}
    changed = document(folder, "--hosts", "5", "--interval", "memory_usage=10s", "--instances", "mount=0")
    names = {one["name"]: one["every"]["full"] for one in changed["host"]["families"]}
    assert names["memory_usage"] == 10.0
    assert "disk_usage" not in names


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["rules.yaml"], 2, "Missing option '--hosts'"),
        (["rules.yaml", "--hosts", "0"], 2, "0 is not in the range"),
        (["--hosts", "5"], 2, "no rules: name files or folders"),
        (["nothing.yaml", "--hosts", "5"], 2, "nothing.yaml"),
        (
            ["rules.yaml", "--hosts", "5", "--instances", "mounts=3"],
            2,
            'no kind of instance "mounts"; did you mean mount?',
        ),
        (["rules.yaml", "--hosts", "5", "--instances", "mount=x"], 2, 'found "x"; expected a number from 0 to 256'),
        (["rules.yaml", "--hosts", "5", "--instances", "mount"], 2, "expected KIND=N"),
        (["rules.yaml", "--hosts", "5", "--interval", "memory=5s"], 2, 'no family "memory"'),
        (["rules.yaml", "--hosts", "5", "--interval", "memory_usage=0s"], 2, "expected a span from"),
        (["rules.yaml", "--hosts", "5", "--interval", "memory_usage=fast"], 2, '"fast" is not a duration'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_told_with_what_was_expected(folder: Path, words: list[str], code: int, said: str) -> None:
    done = cost(folder, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_rules_that_are_wrong_are_findings(folder: Path) -> None:
    (folder / "rules.yaml").write_text(RULES.replace("memory_usage", "memory_usige"), encoding="utf-8")
    done = cost(folder, "rules.yaml", "--hosts", "5")
    assert done.returncode == 1
    assert "did you mean memory_usage" in done.stderr
