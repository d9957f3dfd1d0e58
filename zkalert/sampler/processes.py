"""Reads the family `process`: the processes that the configuration names.

Comes in: entries by name. Goes out: a Reading with an instance per entry. All entries share one pass over the list of
processes; only what an entry asks for is looked up beside it, and details of those that fit alone.
"""

from __future__ import annotations

import fnmatch
import os
import pwd
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from zkalert.model import ProcessEntry, Value
from zkalert.sampler import proctable
from zkalert.sampler.proctable import Process, Table
from zkalert.sampler.reading import Reading

_MAX_PID_FILE = 64
_NUMBER = re.compile(r"\d+", re.ASCII)
_HIDDEN = "processes of others are hidden from this user (hidepid)"


class Processes:
    """The processes of each entry. Making one takes the first look, so that the first sample has processor time."""

    def __init__(self, entries: Mapping[str, ProcessEntry], now: float, table: Table | None = None) -> None:
        self._table = proctable.table() if table is None else table
        self._watched = {name: _Watched(name, entry) for name, entry in entries.items()}
        self._spent: dict[tuple[int, float], float] = {}
        self._looked_at = now
        self(now)

    def __call__(self, now: float) -> Reading:
        look = _Look(self._table)
        passed, self._looked_at = now - self._looked_at, now
        before, self._spent = self._spent, {process.key: process.cpu for process in look.processes}
        errors = [_HIDDEN] if self._table.are_hidden else []
        instances: dict[str, Mapping[str, Value]] = {}
        for name, watched in self._watched.items():
            fitting = watched.fitting(look, errors)
            # One that is not known from before was started since, so all that it spent was spent since.
            spent = sum(max(0.0, process.cpu - before.get(process.key, 0.0)) for process in fitting)
            values = watched.values(look, fitting)
            if fitting and passed > 0:
                values["cpu_percent"] = round(100.0 * spent / passed, 2)
            instances[name] = values
        return Reading(instances=instances, errors=tuple(errors))


class _Look:
    """One pass: the list, and what was asked about single processes, each question once."""

    def __init__(self, table: Table) -> None:
        self.processes = table.processes()
        self.by_pid = {process.pid: process for process in self.processes}
        self.command_line = lru_cache(None)(table.command_line)
        self.groups = lru_cache(None)(table.groups)
        self.user = lru_cache(None)(table.user)
        self.open_files = lru_cache(None)(table.open_files)
        self._below: dict[int, list[Process]] | None = None

    def below(self, roots: Iterable[Process]) -> list[Process]:
        """All that were started by these, or by those in turn, without these themselves."""
        if self._below is None:
            self._below = {}
            for process in self.processes:
                self._below.setdefault(process.parent, []).append(process)
        seen = {process.pid for process in roots}
        waiting = list(seen)
        found = []
        while waiting:
            for process in self._below.get(waiting.pop(), ()):
                if process.pid not in seen:
                    seen.add(process.pid)
                    waiting.append(process.pid)
                    found.append(process)
        return found


class _Watched:
    """One entry, and what it was known by before."""

    def __init__(self, name: str, entry: ProcessEntry) -> None:
        self._name = name
        self._entry = entry
        self._glob = None if entry.name is None else re.compile(fnmatch.translate(entry.name))
        self._command = None if entry.command is None else re.compile(entry.command)
        # What systemctl takes without a suffix is a service.
        self._unit = entry.unit if entry.unit is None or "." in entry.unit else f"{entry.unit}.service"
        self._user = int(entry.user) if entry.user is not None and _NUMBER.fullmatch(entry.user) else None
        self._oldest: tuple[int, float] | None = None
        self._restarts = 0

    def fitting(self, look: _Look, errors: list[str]) -> list[Process]:
        """Those that fit all that is given; what hinders the search is told in `errors`."""
        found: Sequence[Process] = look.processes
        if self._entry.pid_file is not None:
            pid, problem = _pid_in(self._entry.pid_file)
            if problem:
                errors.append(f"{self._name}: {self._entry.pid_file}: {problem}")
            found = [look.by_pid[pid]] if pid in look.by_pid else []
        if self._entry.user is not None and self._user is None:
            try:
                self._user = pwd.getpwnam(self._entry.user).pw_uid
            except (KeyError, ValueError):
                errors.append(f"{self._name}: there is no user {self._entry.user} here")
                return []
        return [process for process in found if self._fits(process, look)]

    def _fits(self, process: Process, look: _Look) -> bool:
        """The cheap questions first."""
        if self._glob is not None:
            line = look.command_line(process.pid) if proctable.is_cut(process.name) else ""
            if not any(self._glob.match(name) for name in proctable.names(process.name, line)):
                return False
        if self._command is not None and not self._command.search(look.command_line(process.pid)):
            return False
        if self._unit is not None and self._unit not in look.groups(process.pid):
            return False
        return self._user is None or look.user(process.pid) == self._user

    def values(self, look: _Look, fitting: Sequence[Process]) -> dict[str, Value]:
        """What is told of those that fit, without what needs a time before."""
        if not fitting:
            known: dict[str, Value] = {} if self._oldest is None else {"restarts": self._restarts}
            return {"count": 0} | known
        oldest = max(fitting, key=lambda process: (process.age, -process.pid))
        self._restarts += self._oldest not in (None, oldest.key)
        self._oldest = oldest.key
        below = look.below(fitting)
        rss = sum(process.rss for process in fitting)
        return {
            "count": len(fitting),
            "rss": rss,
            "total_rss": rss + sum(process.rss for process in below),
            "children": len(below),
            "threads": sum(process.threads for process in fitting),
            **_open_files(look, fitting),
            "restarts": self._restarts,
            "age": round(oldest.age, 2),
        }


class _OfPid(NamedTuple):
    """What a pid file says: an id, or 0 and what is wrong with the file; one that is missing is no problem."""

    pid: int
    problem: str = ""


def _pid_in(path: str) -> _OfPid:
    try:
        # Whoever writes there may have put a pipe in its place, which would hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            first = os.read(descriptor, _MAX_PID_FILE).split(None, 1)[:1]
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return _OfPid(0)
    except OSError as error:
        return _OfPid(0, error.strerror or str(error))
    if not first or not first[0].isdigit():
        return _OfPid(0, "holds no process id")
    return _OfPid(int(first[0]))


def _open_files(look: _Look, fitting: Sequence[Process]) -> dict[str, Value]:
    """Empty where any of them may not be looked at: a sum of some would look like all."""
    used, shares = 0, []
    for process in fitting:
        found = look.open_files(process.pid)
        if found is None:
            return {}
        used += found.used
        if found.limit:
            shares.append(100.0 * found.used / found.limit)
    values: dict[str, Value] = {"open_files": used}
    if shares:
        values["open_files_percent"] = round(max(shares), 2)
    return values
