"""A short run of the fuzzer over every loader, what it found before, and the fuzzer itself."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.fuzz import harness
from tests.fuzz.corpus import ROOT
from tests.fuzz.harness import Target, attempt, fuzz
from tests.fuzz.targets import all_targets

FOUND = sorted((Path(__file__).parent / "found").iterdir())
TARGETS = ("rules", "config", "tests", "payloads", "templates", "history")


def test_every_loader_takes_what_it_is_fed_with(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seed", "1", "--inputs", "150", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.findall(r"^(\w+) +150 inputs: ", done.stdout, re.MULTILINE) == list(TARGETS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_was_found_once_does_no_harm(tmp_path: Path, path: Path) -> None:
    """Files are named for the loader that they broke."""
    target = next(target for target in all_targets(tmp_path) if path.name.startswith(f"{target.name}-"))
    outcome, trace = attempt(target.check, path.read_bytes())
    assert trace == ""
    assert outcome


def test_a_defect_is_told_once_with_the_smallest_input(tmp_path: Path) -> None:
    def check(data: bytes) -> str:
        if b"bad" in data:
            raise ValueError(data)
        return "fine"

    inputs = st.sampled_from([b"good\n", b"a\nsome bad line\nb\n", b"bad at the start"])
    tally = fuzz(Target("x", inputs, check), seconds=60, first_seed=1, folder=tmp_path, most=30)
    assert [(defect.identity[:16], defect.data) for defect in tally.defects.values()] == [("ValueError at te", b"bad")]
    assert tally.outcomes["fine"] + tally.outcomes["failed"] == 30
    assert (tmp_path / "x-1").read_bytes() == b"bad"
    assert "ValueError: b'bad'" in (tmp_path / "x-1.txt").read_text()
    assert not (tmp_path / "x.running").exists()


def test_an_input_without_an_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(data: bytes) -> str:
        while True:
            with suppress(Exception):
                sum(data)

    monkeypatch.setattr(harness, "TIME_LIMIT", 0.05)
    assert attempt(check, b"")[0] == "TookTooLong"


def test_an_input_that_takes_much_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks: Iterator[int] = iter([0, harness.MEMORY_LIMIT + 2**20, harness.MEMORY_LIMIT + 2**20])
    monkeypatch.setattr(harness, "_peak", lambda: next(peaks))
    assert attempt(lambda _: "fine", b"") == ("TookTooMuchMemory", "513 MiB more than ever before")
