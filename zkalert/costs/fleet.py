"""What is to be predicted, and what the prediction says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from zkalert.metrics import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A family as each host reads it, every `interval` seconds; `instances` of each host."""

    family: Family
    interval: float
    instances: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """So many hosts and engines. `matches` znodes fit each open pattern of a rule.

    `resting` is the longest silence of a sampler in seconds, None where it publishes every sample. `has_channels`
    says whether engines send anything; `root` and `host_name` are for the length of paths.
    """

    hosts: int
    published: tuple[Published, ...]
    engines: int = 1
    matches: int = 100
    resting: float | None = None
    has_channels: bool = True
    root: str = "/zkalert"
    host_name: str = "db-0001.example.org"


class Rate(NamedTuple):
    """The same thing at rest and at full rate."""

    rest: float
    full: float

    def __add__(self, other: object) -> Rate:
        if not isinstance(other, Rate):
            return NotImplemented
        return Rate(self.rest + other.rest, self.full + other.full)

    def times(self, factor: float) -> Rate:
        return Rate(self.rest * factor, self.full * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyCost:
    """One family of one host: seconds between writes, bytes of a payload, how many rules read it.

    `needs_all` says that some rule asks for every sample, so that it never rests.
    """

    published: Published
    every: Rate
    payload: int
    readers: int
    needs_all: bool

    @property
    def sets(self) -> Rate:
        """Writes of its znode a minute."""
        return Rate(60 / self.every.rest, 60 / self.every.full)

    @property
    def bytes_per_second(self) -> Rate:
        return self.sets.times(self.payload / 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCost:
    """One host: transactions and writes of znodes a minute, bytes a second, znodes and their bytes in the tree."""

    transactions: Rate
    sets: Rate
    bytes_per_second: Rate
    znodes: int
    tree_bytes: int
    watches: int
    memory: int
    families: tuple[FamilyCost, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternCost:
    """The znodes of one pattern: watches of data, and of lists of children; bytes of memory in each engine."""

    pattern: str
    matches: int
    data_watches: int
    children_watches: int
    memory: int

    @property
    def watches(self) -> int:
        return self.data_watches + self.children_watches


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCost:
    """One engine: watch events (each a read) and bytes a second, watches, memory in bytes by what it is for.

    `watches` are those in the ensemble of zkalert's own tree, `watches_elsewhere` those in others.
    """

    events_per_second: Rate
    bytes_per_second: Rate
    transactions: float
    watches: int
    watches_elsewhere: int
    memory_by: Mapping[str, int] = field(default_factory=dict)

    @property
    def memory(self) -> int:
        return sum(self.memory_by.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the fleet costs, by host, by engine and in all (as ZooKeeper sees it)."""

    fleet: Fleet
    host: HostCost
    engine: EngineCost
    patterns: tuple[PatternCost, ...]
    transactions: Rate
    sets: Rate
    reads_per_second: Rate
    bytes_written: Rate
    bytes_read: Rate
    znodes: int
    tree_bytes: int
    watches: int
    connections: int
