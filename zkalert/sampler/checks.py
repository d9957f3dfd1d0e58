"""Reads the family `command`: runs the check commands that the configuration names, beside the sampling.

Comes in: entries by name. Goes out: a Reading with what each command said last. Commands run on threads of their own,
each at its own interval; a reading takes what is there and waits for nothing.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from zkalert import clock
from zkalert.model import CheckEntry, Value
from zkalert.process import Captured, capture, clean_line
from zkalert.sampler import plugins
from zkalert.sampler.reading import Reading
from zkalert.tree import MAX_TEXT

log = logging.getLogger("zkalert.sampler")

AT_ONCE = 4
"""How many commands run at the same time."""
PLUGIN_FOLDERS = (
    "/usr/lib/nagios/plugins",
    "/usr/lib64/nagios/plugins",
    "/usr/lib/monitoring-plugins",
    "/usr/libexec/monitoring-plugins",
    "/usr/local/libexec/nagios",
    "/usr/local/nagios/libexec",
)
"""Where systems put plugins: searched after PATH."""

_LONGEST_DELAY = 60.0
_GRACE = 0.3
_STATUSES = (0, 1, 2)


class _Due(NamedTuple):
    """When (monotonic seconds) a command is to run next."""

    at: float
    name: str


@dataclass(frozen=True, slots=True)
class _Said:
    """What came of one run that ended `at` (monotonic seconds); `trouble` where it could not say anything."""

    at: float
    values: Mapping[str, Value]
    trouble: str = ""


class Checks:
    """Runs check commands from `start` until `stop`; `folder` is what relative paths start from.

    Where `stopping` is given, setting it ends what runs as well, be whoever calls `stop` held up by something else.
    `machine` spreads the first runs of many hosts over the interval. A command runs again one interval after it was
    last due, and what it missed meanwhile is skipped; it is never started while it still runs.
    """

    def __init__(
        self,
        entries: Mapping[str, CheckEntry],
        folder: Path | None,
        machine: str,
        now: float,
        stopping: threading.Event | None = None,
    ) -> None:
        self._entries = dict(entries)
        self._folder = folder
        self._variables = {"PATH": os.pathsep.join((os.environ.get("PATH", os.defpath), *PLUGIN_FOLDERS))}
        self._variables["LC_NUMERIC"] = "C"  # or a value may come with a comma
        self._said: dict[str, _Said] = {}
        # What is due waits here. A worker takes its command out, and puts it back once that has ended.
        self._due = [_Due(now + first_delay(entry.interval, machine, name), name) for name, entry in entries.items()]
        heapq.heapify(self._due)
        self._changed = threading.Condition()  # guards the two above
        self._stop = stopping or threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"check-{number}", daemon=True)
            for number in range(min(AT_ONCE, len(entries)))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing further, and end what runs, within a third of a second."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        deadline = clock.monotonic() + _GRACE
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - clock.monotonic()))

    def __call__(self, now: float) -> Reading:
        with self._changed:
            said = dict(self._said)
            waiting = {due.name: now - due.at for due in self._due}
        errors, instances = [], {}
        for name, entry in self._entries.items():
            if waiting.get(name, 0.0) > entry.interval:
                # The pool is full of commands that hang: this one's turn is long over.
                errors.append(f"{name}: is late by more than its interval; {AT_ONCE} commands run at once, and hang")
            last = said.get(name)
            if last is None or now - last.at > 3 * entry.interval + entry.run.timeout:
                continue
            instances[name] = last.values
        return Reading(instances=instances, errors=tuple(errors))

    # On the threads that work.

    def _work(self) -> None:
        while (due := self._next()) is not None:
            entry = self._entries[due.name]
            said = self._run(entry)
            if self._stop.is_set():
                return
            again_at = due.at + entry.interval * max(1, math.ceil((said.at - due.at) / entry.interval))
            before = self._said.get(due.name)
            if said.trouble and (before is None or before.trouble != said.trouble):
                log.warning("check command %s: %s", due.name, said.trouble)
            with self._changed:
                self._said[due.name] = said
                heapq.heappush(self._due, _Due(again_at, due.name))
                self._changed.notify()

    def _run(self, entry: CheckEntry) -> _Said:
        variables = {**self._variables, **entry.environment}
        try:
            captured = capture(entry.run, variables, self._folder, is_stopped=self._stop.is_set)
        except Exception:
            # The outermost frame of the worker: one command must not cost the others theirs.
            log.exception("a check command could not be run")
            captured = Captured("", "", "could not be run by an error of zkalert's own; the log tells it", 0.0)
        return _said(captured, clock.monotonic())

    def _next(self) -> _Due | None:
        """Wait for the command that is due first, and take it; None at the end."""
        with self._changed:
            while not self._stop.is_set():
                if not self._due:
                    self._changed.wait()
                    continue
                left = self._due[0].at - clock.monotonic()
                if left <= 0:
                    due = heapq.heappop(self._due)
                    self._changed.notify()  # the next one may be for another worker
                    return due
                self._changed.wait(left)
        return None


def first_delay(interval: float, machine: str, name: str) -> float:
    """Seconds until the first run: spread over the interval, a minute at most, the same for one name on one machine."""
    part = int(hashlib.sha256(f"{machine}:{name}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return part * min(interval, _LONGEST_DELAY)


def _said(captured: Captured, at: float) -> _Said:
    """What a run said, under the contract: exit codes of 3 and above, and no exit code at all, say nothing known."""
    is_known = captured.exit_code in _STATUSES
    line = plugins.first_line(captured.output) or plugins.first_line(captured.errors)
    trouble = captured.detail if captured.exit_code is None else ""
    values: dict[str, Value] = dict(plugins.performance(captured.output)) if captured.exit_code is not None else {}
    if is_known and captured.exit_code is not None:
        values["status"] = captured.exit_code
    values |= {
        "unknown": int(not is_known),
        "seconds": round(captured.seconds, 4),
        "output": clean_line(f"{trouble}: {line}" if trouble and line else trouble or line)[:MAX_TEXT],
    }
    return _Said(at, values, trouble)
