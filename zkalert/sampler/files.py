"""Reads the family `file`: files and folders that the configuration names.

Comes in: entries by name. Goes out: a Reading with an instance per entry, or per file of an entry with several. A path
may lie on something that hangs (a network mount, a dying disk): each entry is read in a thread of its own.
"""

from __future__ import annotations

import glob
import grp
import hashlib
import itertools
import os
import pwd
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from zkalert import clock
from zkalert.model import FileEntry, Value
from zkalert.sampler.reading import Reading
from zkalert.tree import MAX_INSTANCES

MAX_DIGESTED = 2**20
"""Bytes of the largest file whose digest is made."""

_PATIENCE = 1.0


@dataclass(slots=True)
class _Found:
    """What is there of one entry."""

    instances: dict[str, dict[str, Value]] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


class Files:
    """All entries, which together have a second; what comes later is told by the next reading."""

    def __init__(self, entries: Mapping[str, FileEntry]) -> None:
        self._reads = {name: _Read(name, entry) for name, entry in entries.items()}

    def __call__(self, _now: float) -> Reading:
        deadline = clock.monotonic() + _PATIENCE
        for read in self._reads.values():
            read.begin()
        instances: dict[str, dict[str, Value]] = {}
        labels: dict[str, dict[str, str]] = {}
        errors: list[str] = []
        for name, read in self._reads.items():
            found = read.take(deadline - clock.monotonic())
            if found is None:
                errors.append(f"{name}: does not answer")
                continue
            instances |= found.instances
            labels |= found.labels
            errors += found.errors
        return Reading(instances=instances, labels=labels, errors=tuple(errors))


class _Read:
    """One entry, read beside the sampling, never twice at once."""

    def __init__(self, name: str, entry: FileEntry) -> None:
        self._name = name
        self._entry = entry
        self._thread: threading.Thread | None = None
        self._found: _Found | None = None

    def begin(self) -> None:
        """Read anew, unless the last reading still goes on, or nobody has taken it yet."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name=f"file-{self._name}", daemon=True)
            self._thread.start()

    def take(self, patience: float) -> _Found | None:
        """What was found, None where it is not there within `patience` seconds."""
        if self._thread is not None:
            self._thread.join(max(0.0, patience))
            if self._thread.is_alive():
                return None
        self._thread = None
        return self._found

    def _read(self) -> None:
        found = _Found()
        try:
            _look(self._name, self._entry, found)
        except (OSError, ValueError, RecursionError) as error:  # a NUL in a path, a folder that is no more
            found.errors.append(f"{self._name}: {error}")
        self._found = found


def _look(name: str, entry: FileEntry, found: _Found) -> None:
    is_one = len(entry.paths) == 1 and not glob.has_magic(entry.paths[0])
    paths = list(itertools.islice(_matches(entry), MAX_INSTANCES + 1))
    if len(paths) > MAX_INSTANCES:
        found.errors.append(f"{name}: more than {MAX_INSTANCES} files, the others are left out")
    for path in paths[:MAX_INSTANCES]:
        try:
            values = _values(path, has_digest=entry.has_digest)
        except OSError as error:
            found.errors.append(f"{path}: {error.strerror or error}")
            continue
        instance = name if is_one else path
        found.instances[instance] = values
        found.labels[instance] = {"entry": name, "path": path}
    if not paths:  # only globs, and nothing fits them
        found.instances[name] = {"exists": 0}
        found.labels[name] = {"entry": name, "path": " ".join(entry.paths)}


def _matches(entry: FileEntry) -> Iterator[str]:
    """Each path once; a path without a glob whether it is there or not."""
    seen = set()
    for pattern in entry.paths:
        paths = glob.iglob(pattern) if glob.has_magic(pattern) else (pattern,)  # noqa: PTH207 - Path.glob takes no absolute one
        for path in paths:
            if path not in seen:
                seen.add(path)
                yield path


def _values(path: str, *, has_digest: bool) -> dict[str, Value]:
    try:
        status = os.stat(path)  # noqa: PTH116 - follows links, as whoever opens the file does
    except (FileNotFoundError, NotADirectoryError):
        return {"exists": 0}
    values: dict[str, Value] = {
        "exists": 1,
        "size": status.st_size,
        "age": round(max(0.0, clock.wall() - status.st_mtime), 1),
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "owner": _name_of(lambda: pwd.getpwuid(status.st_uid).pw_name, status.st_uid),
        "group": _name_of(lambda: grp.getgrgid(status.st_gid).gr_name, status.st_gid),
    }
    if stat.S_ISDIR(status.st_mode):
        with os.scandir(path) as names:
            values["entries"] = sum(1 for _ in names)
    elif has_digest and stat.S_ISREG(status.st_mode) and (digest := _digest(path)):
        values["sha256"] = digest
    return values


def _digest(path: str) -> str:
    """Empty for a file that is too large."""
    # It may be another file by now: a pipe would hang.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(MAX_DIGESTED + 1)
    return hashlib.sha256(content).hexdigest() if len(content) <= MAX_DIGESTED else ""


def _name_of(look_up: Callable[[], str], number: int) -> str:
    try:
        return look_up()
    except KeyError:
        return str(number)
