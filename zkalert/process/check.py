"""A command that is run for what it says.

Comes in: what to run. Goes out: what it wrote on each of its two outputs, and how it ended.
"""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from zkalert import clock
from zkalert.model import Run
from zkalert.process.child import MAX_OUTPUT, Ended, exited, guarded, kill_group, start, timed_out, wait

MAX_READ = 2**20
"""Bytes that a command may write before it is ended."""

_ATTENTION = 0.1  # seconds after which a stop is noticed


class Captured(NamedTuple):
    """What a command wrote, the first 64 KiB of each, and how it ended; no exit code where it did not end by itself."""

    output: str
    errors: str
    detail: str
    seconds: float
    exit_code: int | None = None


def capture(
    run: Run, variables: Mapping[str, str], folder: Path | None, is_stopped: Callable[[], bool] = lambda: False
) -> Captured:
    """Run a command once for what it writes, and wait for it; never raises. It has nothing on its standard input.

    `variables` are set beside the environment that it starts with, `folder` is what relative paths start from. Once
    `is_stopped`, it is ended at once.
    """
    started = clock.monotonic()
    drain = _Drain(started + run.timeout, timed_out(run), is_stopped)
    ended = guarded(run, folder, lambda: _call(run, variables, folder, drain))
    return Captured(
        drain.output.decode("utf-8", "replace"),
        drain.errors.decode("utf-8", "replace"),
        ended.detail,
        clock.monotonic() - started,
        ended.exit_code,
    )


def _call(run: Run, variables: Mapping[str, str], folder: Path | None, drain: _Drain) -> Ended:
    process = start(run, folder, variables, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        if given_up := drain.read(process) or drain.wait(process):
            # As with actions: nobody has the exit code yet, so the signal reaches this group and no other.
            return Ended(f"{given_up}; {kill_group(process, drain.is_stopped)}")
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return exited(process.returncode)


class _Drain:
    """Takes in what a command writes until `deadline` (monotonic seconds); `too_late` says in words that it came."""

    def __init__(self, deadline: float, too_late: str, is_stopped: Callable[[], bool]) -> None:
        self.output = bytearray()
        self.errors = bytearray()
        self.is_stopped = is_stopped
        self._deadline = deadline
        self._too_late = too_late

    def read(self, process: subprocess.Popen[bytes]) -> str:
        """Read until both outputs are closed; why that was given up, empty where it was not."""
        total = 0
        with selectors.DefaultSelector() as selector:
            for pipe, kept in ((process.stdout, self.output), (process.stderr, self.errors)):
                if pipe is not None:
                    selector.register(pipe.fileno(), selectors.EVENT_READ, kept)
            while selector.get_map():
                if given_up := self._given_up():
                    return given_up
                for key, _ in selector.select(self._attention()):
                    chunk = os.read(key.fd, 65536)
                    if not chunk:
                        selector.unregister(key.fd)
                    kept = key.data
                    kept += chunk[: MAX_OUTPUT - len(kept)]
                    total += len(chunk)
                if total > MAX_READ:
                    return f"wrote more than {MAX_READ // 2**20} MiB"
        return ""

    def wait(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for the end of one that may go on without outputs; why that was given up, empty where it was not."""
        while wait(process, clock.monotonic() + self._attention()) is None:
            if given_up := self._given_up():
                return given_up
        return ""

    def _given_up(self) -> str:
        if clock.monotonic() >= self._deadline:
            return self._too_late
        return "ended with zkalert" if self.is_stopped() else ""

    def _attention(self) -> float:
        """Seconds that may be waited at a time."""
        return max(0.0, min(self._deadline - clock.monotonic(), _ATTENTION))
