"""What a configuration is, once it was made: frozen, and without secrets in its repr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zkalert.documents import RuleSource
from zkalert.model import (
    EMPTY,
    Channel,
    CheckEntry,
    EnsembleSettings,
    FileEntry,
    HostDown,
    Members,
    ProcessEntry,
    Route,
    Run,
    ZookeeperSettings,
)


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
class Publishing:
    """How a sampler writes to ZooKeeper: a family far from all limits every `resting` seconds, or (None) each sample.

    Cheap families with limits are looked at every `fast` seconds beside that (None: never), for crossings alone.
    """

    resting: float | None = 90.0
    fast: float | None = 0.2


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
    rules: tuple[RuleSource, ...] = ()


NO_FLAGS = Flags()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a command needs to know, made once.

    `zookeeper` is None where no hosts are configured: `up` then starts a local server. `members` are that ensemble's
    own servers, `ensembles` the others that rules may read, by name. `intervals` holds the families whose cadence was
    changed (seconds). `rules` are files and folders (absolute those of the file, as given those of flags) and packs.
    `host_down` None switches that rule off. `processes`, `files` and `commands` are what its sampler looks at beside
    what every host has, by name. `actions` are the commands that this host offers to run for its own alerts, by name;
    without `may_run` no command runs at all, here and by this engine. `source` is the file this came from, None
    without one.
    """

    host: str
    state_dir: Path
    zookeeper: ZookeeperSettings | None = None
    members: Members = field(default_factory=Members)
    ensembles: Mapping[str, EnsembleSettings] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    intervals: Mapping[str, float] = field(default_factory=dict)
    publishing: Publishing = Publishing()
    history: HistorySettings = HistorySettings()
    rules: tuple[RuleSource, ...] = ()
    channels: Mapping[str, Channel] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    host_down: HostDown | None = field(default_factory=HostDown)
    on_zookeeper_lost: ZookeeperLost | None = None
    heartbeat: Heartbeat | None = None
    processes: Mapping[str, ProcessEntry] = field(default_factory=dict)
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    commands: Mapping[str, CheckEntry] = field(default_factory=dict)
    actions: Mapping[str, Run] = field(default_factory=dict)
    may_run: bool = True
    published_rules: PublishedRules = PublishedRules()
    source: Path | None = None
