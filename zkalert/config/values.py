"""What a configuration is, once it was made: frozen, and without secrets in its repr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zkalert.model import EMPTY, Channel, HostDown, Route, Run, ZookeeperSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ZookeeperLost:
    """These channels are told by the engine itself once ZooKeeper has been gone for `after` seconds."""

    channels: tuple[str, ...]
    after: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A URL that is asked for every so many seconds while evaluation and delivery make progress."""

    url: str = field(repr=False)
    every: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRules:
    """Whether rules come from ZooKeeper, and whether those may bring shell lines and literal URLs."""

    is_followed: bool = False
    may_run: bool = False
    may_have_urls: bool = False


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

    `zookeeper` is None where no hosts are configured: `up` then starts a local server. `intervals` holds the families
    whose cadence was changed (seconds). `rules` are files and folders: absolute those of the file, as given those of
    flags. `host_down` None switches that rule off. `actions` are the commands that this host offers to run for its
    own alerts, by name; without `may_run` no command runs at all, here and by this engine. `source` is the file this
    came from, None without one.
    """

    host: str
    state_dir: Path
    zookeeper: ZookeeperSettings | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    intervals: Mapping[str, float] = field(default_factory=dict)
    history: HistorySettings = HistorySettings()
    rules: tuple[Path, ...] = ()
    channels: Mapping[str, Channel] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    host_down: HostDown | None = field(default_factory=HostDown)
    on_zookeeper_lost: ZookeeperLost | None = None
    heartbeat: Heartbeat | None = None
    actions: Mapping[str, Run] = field(default_factory=dict)
    may_run: bool = True
    published_rules: PublishedRules = PublishedRules()
    source: Path | None = None
