"""What a host's own configuration asks its sampler to look at, beside what every host has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zkalert.model.base import EMPTY
from zkalert.model.rules import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEntry:
    """Which processes belong together: those that fit all that is given, and at least one thing is.

    `name` is a glob of the process's name, `command` a regular expression for its command line, `pid_file` a file with
    one process id, `unit` the systemd unit that it was started for, `user` the name or the number of whom it runs as.
    """

    name: str | None = None
    pid_file: str | None = None
    command: str | None = None
    unit: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One path, or several paths and globs that become an instance for each file; `has_digest` asks for SHA-256."""

    paths: tuple[str, ...]
    has_digest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEntry:
    """One check command: how it is run, every so many seconds, and variables of its own, which may be secret."""

    run: Run
    interval: float = 60.0
    environment: Mapping[str, str] = field(default_factory=lambda: EMPTY, repr=False)
