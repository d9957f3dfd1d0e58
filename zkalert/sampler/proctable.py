"""The processes of this host: a little of each, and more of those that are asked about.

Comes in: ids of processes. Goes out: what the system says of them. One that has ended meanwhile has an empty answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

import psutil

from zkalert import clock
from zkalert.metrics import MOST_SEARCHED
from zkalert.sampler.devices import read_text

MAX_LINE = MOST_SEARCHED
"""Bytes of a command line that count: its owner may make it as long as he likes."""

_SHORT_NAME = 15  # the kernel cuts names there
_GONE = (FileNotFoundError, ProcessLookupError)
_T = TypeVar("_T")


class Process(NamedTuple):
    """One process: processor time in seconds, memory in bytes, `age` in seconds.

    Ids are used again; `key` is not, as long as the system runs.
    """

    pid: int
    key: tuple[int, float]
    parent: int
    name: str
    cpu: float
    threads: int
    rss: int
    age: float


class OpenFiles(NamedTuple):
    """How many file descriptors a process has, and how many it may have; None where that is not limited or known."""

    used: int
    limit: int | None


class Table(Protocol):
    """Where processes are looked up; `are_hidden` says whether the last list lacked those of other users."""

    are_hidden: bool

    def processes(self) -> list[Process]:
        """All that have not ended."""

    def command_line(self, pid: int) -> str:
        """Its arguments between spaces; empty for a thread of the kernel."""

    def groups(self, pid: int) -> frozenset[str]:
        """The systemd unit that it was started for, and the slices above that, by the paths of its control groups.

        Of this system's own manager: units of a user's, or of a container's, have their names from others.
        """

    def user(self, pid: int) -> int | None:
        """The number of the user whose rights it has."""

    def open_files(self, pid: int) -> OpenFiles | None:
        """None where this user may not look."""


def table() -> Table:
    """The one that suits this system."""
    return ProcTable() if psutil.LINUX else PsutilTable()


class ProcTable:
    """As Linux has it below `root`, one read of one file for each process."""

    def __init__(self, root: str = "/proc") -> None:
        self.are_hidden = False
        self._root = root
        self._tick = 1.0 / os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._sizes_are_counts = self._tells_counts()
        # In a container paths may begin at the top of the whole machine: the manager's own tells where its units begin.
        self._tops = {hierarchy: path.removesuffix("/init.scope").rstrip("/") for hierarchy, path in self._paths(1)}

    def processes(self) -> list[Process]:
        pids = [name for name in os.listdir(self._root) if name.isdigit()]  # noqa: PTH208 - as in collect: it is quicker
        self.are_hidden = "1" not in pids
        since_boot = float((read_text(f"{self._root}/uptime") or "0").split()[0])
        found = []
        for pid in pids:
            try:
                line = self._read(f"{pid}/stat", 1024)
            except PermissionError:
                self.are_hidden = True
                continue
            if line and (process := self._process(int(pid), line, since_boot)) is not None:
                found.append(process)
        return found

    def _process(self, pid: int, line: bytes, since_boot: float) -> Process | None:
        # The name stands in parentheses and may hold any character, parentheses too: count from the last one.
        end = line.rindex(b")")
        fields = line[end + 2 :].split(b" ", 22)
        if fields[0] in b"ZXx":
            return None
        started = int(fields[19])
        return Process(
            pid=pid,
            key=(pid, started),
            parent=int(fields[1]),
            name=os.fsdecode(line[line.index(b"(") + 1 : end]),
            cpu=(int(fields[11]) + int(fields[12])) * self._tick,
            threads=int(fields[17]),
            rss=int(fields[21]) * self._page,
            age=max(0.0, since_boot - started * self._tick),
        )

    def command_line(self, pid: int) -> str:
        try:
            return os.fsdecode(self._read(f"{pid}/cmdline", MAX_LINE)).rstrip("\0").replace("\0", " ")
        except PermissionError:
            return ""

    def groups(self, pid: int) -> frozenset[str]:
        found = set()
        for hierarchy, path in self._paths(pid):
            for name in path.removeprefix(self._tops.get(hierarchy, "")).split("/")[1:]:
                found.add(name)
                if not name.endswith(".slice"):
                    break  # what lies below is nobody's but the unit's: it may be a container with an nginx of its own
        return frozenset(found)

    def _paths(self, pid: int) -> Iterator[tuple[str, str]]:
        """Each hierarchy (systemd has one, or one beside those of version 1), and the path in it."""
        for line in self._lines(f"{pid}/cgroup"):
            hierarchy, _, rest = line.partition(":")
            yield hierarchy, rest.partition(":")[2]

    def user(self, pid: int) -> int | None:
        for line in self._lines(f"{pid}/status"):
            if line.startswith("Uid:"):
                return int(line.split()[2])  # real, effective, saved, of the file system
        return None

    def open_files(self, pid: int) -> OpenFiles | None:
        folder = f"{self._root}/{pid}/fd"
        try:
            used = os.stat(folder).st_size if self._sizes_are_counts else len(os.listdir(folder))  # noqa: PTH116, PTH208
        except _GONE:
            return OpenFiles(0, None)
        except OSError:
            return None
        for line in self._lines(f"{pid}/limits"):
            if line.startswith("Max open files"):
                soft = line.split()[3]
                return OpenFiles(used, int(soft) if soft.isdigit() else None)
        return OpenFiles(used, None)

    def _tells_counts(self) -> bool:
        """Whether the size of a folder of descriptors is their number (Linux 6.2), which anybody may read, at once."""
        try:
            return os.stat(f"{self._root}/self/fd").st_size > 0  # noqa: PTH116
        except OSError:
            return False

    def _lines(self, name: str) -> list[str]:
        """The lines of a file of one process; none where that has ended.

        Only newlines end them. The kernel writes none within a name, but all else that separates lines elsewhere:
        whoever has a carriage return and `Uid:` in the name of a process must not write a line of his own.
        """
        try:
            with open(f"{self._root}/{name}", "rb") as file:  # noqa: PTH123 - read many times a minute
                return os.fsdecode(file.read()).split("\n")
        except OSError:
            return []

    def _read(self, name: str, most: int) -> bytes:
        """A file of one process; empty where that has ended. Raises PermissionError where it is another's secret."""
        try:
            descriptor = os.open(f"{self._root}/{name}", os.O_RDONLY)
        except _GONE:
            return b""
        try:
            return os.read(descriptor, most)
        except _GONE:
            return b""
        finally:
            os.close(descriptor)


class PsutilTable:
    """As psutil has it on other systems, which have neither control groups nor a limit that others may read."""

    def __init__(self) -> None:
        self.are_hidden = False

    def processes(self) -> list[Process]:
        wanted = ["pid", "ppid", "name", "status", "create_time", "cpu_times", "num_threads", "memory_info"]
        found, now = [], clock.wall()
        for process in psutil.process_iter(wanted):
            told = process.info
            if told["status"] == psutil.STATUS_ZOMBIE or told["create_time"] is None:
                continue
            times, memory = told["cpu_times"], told["memory_info"]
            found.append(
                Process(
                    pid=told["pid"],
                    key=(told["pid"], told["create_time"]),
                    parent=told["ppid"] or 0,
                    name=told["name"] or "",
                    cpu=times.user + times.system if times else 0.0,
                    threads=told["num_threads"] or 0,
                    rss=memory.rss if memory else 0,
                    age=max(0.0, now - told["create_time"]),
                )
            )
        return found

    def command_line(self, pid: int) -> str:
        return _asked(lambda: " ".join(psutil.Process(pid).cmdline())[:MAX_LINE], "")

    def groups(self, pid: int) -> frozenset[str]:  # noqa: ARG002 - the other system's answer needs it
        return frozenset()

    def user(self, pid: int) -> int | None:
        return _asked(lambda: int(psutil.Process(pid).uids().effective), None)

    def open_files(self, pid: int) -> OpenFiles | None:
        try:
            return OpenFiles(psutil.Process(pid).num_fds(), None)
        except psutil.NoSuchProcess:
            return OpenFiles(0, None)
        except psutil.Error:
            return None


def _asked(ask: Callable[[], _T], otherwise: _T) -> _T:
    try:
        return ask()
    except psutil.Error:
        return otherwise


def is_cut(name: str) -> bool:
    """Whether the kernel may have cut this name."""
    return len(name) >= _SHORT_NAME


def names(name: str, command_line: str) -> tuple[str, ...]:
    """The names that a process goes by: the kernel's, and where that was cut the whole one."""
    if not is_cut(name):
        return (name,)
    program = os.path.basename(command_line.partition(" ")[0])  # noqa: PTH119
    return (name, program) if program.startswith(name) else (name,)
