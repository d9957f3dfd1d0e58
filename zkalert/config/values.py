"""What a configuration is, once it was made: frozen, and without secrets in its repr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zkalert.model import EMPTY, ZookeeperSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where messages go: apprise URLs, with their secrets filled in; never printed whole."""

    name: str
    urls: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySettings:
    """How much a sampler keeps of its own samples: seconds, and bytes on disk."""

    max_age: float = 7 * 86400.0
    max_size: int = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line says; None (or no rules) where it says nothing."""

    config: Path | None = None
    zookeeper: str | None = None
    root: str | None = None
    state_dir: Path | None = None
    host: str | None = None
    rules: tuple[Path, ...] = ()


NO_FLAGS = Flags()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a command needs to know, made once.

    `zookeeper` is None where no hosts are configured: `up` then starts a local server. `intervals` holds the
    families whose cadence was changed (seconds). `rules` are files and folders: absolute those of the file, as given
    those of flags. `source` is the file this came from, None without one.
    """

    host: str
    state_dir: Path
    zookeeper: ZookeeperSettings | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    intervals: Mapping[str, float] = field(default_factory=dict)
    history: HistorySettings = HistorySettings()
    rules: tuple[Path, ...] = ()
    channels: Mapping[str, Channel] = field(default_factory=dict)
    source: Path | None = None
