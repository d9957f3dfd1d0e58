"""The znodes of zkalert's own tree, followed: hosts, their samples, and what people say.

Comes in: names of hosts, families, folders of facts. Goes out, into one queue: what each of their znodes held, every
time it changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from zkalert.model import (
    Alive,
    HostInfo,
    Moment,
    Observation,
    Problem,
)
from zkalert.tree import Tree, decode_alive, decode_host, decode_sample, escape, unescape
from zkalert.watch.follower import UNTOLD, Follower, Part, Reading
from zkalert.zk import Client

log = logging.getLogger("zkalert.watch")


class SampleSeen(NamedTuple):
    """A good sample. `is_news` tells a change from a first or repeated reading, whose sample may be long stale."""

    path: str
    observation: Observation
    is_news: bool


class BadSampleSeen(NamedTuple):
    """A family's znode holds what cannot be used; the alerts of its rules stay as they are."""

    path: str
    problem: Problem


class HostsSeen(NamedTuple):
    hosts: frozenset[str]


class FamiliesSeen(NamedTuple):
    host: str
    families: frozenset[str]


class HostInfoSeen(NamedTuple):
    host: str
    info: HostInfo


class AliveSeen(NamedTuple):
    host: str
    alive: Alive | None


class FactsSeen(NamedTuple):
    """The names of the facts in a folder (see `follow_facts`); those that are followed are read each on its own."""

    folder: str
    names: frozenset[str]


class FactSeen(NamedTuple):
    """What one fact says, decoded; None where it is gone or cannot be used."""

    folder: str
    name: str
    fact: Any


class Gone(NamedTuple):
    """A znode that was followed is no more, and no longer followed."""

    path: str


Event: TypeAlias = (
    SampleSeen | BadSampleSeen | HostsSeen | FamiliesSeen | HostInfoSeen | AliveSeen | FactsSeen | FactSeen | Gone
)


@dataclass(slots=True, kw_only=True)
class _Watched:
    """One znode of the tree: what makes an event of it, what is told when it is not there, or may not be read."""

    key: tuple[str, Part]
    decode: Callable[[Reading], Event]
    if_gone: Event
    if_refused: Event | None = None
    is_awaited: bool = False
    zxid: int = UNTOLD
    is_news: bool = False
    asked_at: float = 0.0

    def seen(self, reading: Reading) -> Event:
        return self.decode(reading)

    def gone(self, _mono: float) -> Event:
        return self.if_gone

    def refused(self, error: Exception, _mono: float) -> Event | None:
        log.error("cannot read %s: %s", self.key[0], type(error).__name__)
        return self.if_refused


class Registry:
    """Follows the tree over one client; `put` takes the events, on kazoo's threads, and must not block."""

    def __init__(self, client: Client, tree: Tree, put: Callable[[Event], None]) -> None:
        self._tree = tree
        self._follower = Follower(client, put)

    # What to follow: called by the evaluator alone.

    def follow_hosts(self) -> None:
        self._follow(
            self._tree.hosts,
            Part.CHILDREN,
            lambda reading: HostsSeen(_names(reading)),
            HostsSeen(frozenset()),
            is_awaited=True,
        )

    def follow_host(self, host: str) -> None:
        """A host's own words, its ephemeral and the list of its families."""
        path = self._tree.host(host)

        def info_seen(reading: Reading) -> Event:
            info = decode_host(reading.content)
            if isinstance(info, Problem):
                if reading.content:
                    log.error("%s cannot be used, so its labels are not known: %s", path, info.message)
                return HostInfoSeen(host, HostInfo(name=host))
            return HostInfoSeen(host, info)

        def alive_seen(reading: Reading) -> Event:
            alive = decode_alive(reading.content)
            return AliveSeen(host, None if isinstance(alive, Problem) else alive)

        refused = HostInfoSeen(host, HostInfo(name=host))
        self._follow(path, Part.DATA, info_seen, Gone(path), if_refused=refused)
        self._follow(
            self._tree.metrics(host),
            Part.CHILDREN,
            lambda reading: FamiliesSeen(host, _names(reading)),
            FamiliesSeen(host, frozenset()),
            is_awaited=True,
        )
        self._follow(self._tree.alive(host), Part.DATA, alive_seen, AliveSeen(host, None), is_awaited=True)

    def follow_family(self, host: str, family: str) -> None:
        path = self._tree.family(host, family)

        def sample_seen(reading: Reading) -> Event:
            sample = decode_sample(family, reading.content)
            if isinstance(sample, Problem):
                return BadSampleSeen(path, sample)
            now = Moment(reading.stat.mtime / 1000, reading.mono)
            return SampleSeen(path, Observation(host=host, sample=sample, now=now), reading.is_news)

        self._follow(path, Part.DATA, sample_seen, Gone(path))

    def follow_facts(self, folder: str) -> None:
        """The names in a folder of which each znode is one fact; it may not be there yet."""
        self._follow(
            folder,
            Part.CHILDREN,
            lambda reading: FactsSeen(folder, _names(reading)),
            FactsSeen(folder, frozenset()),
            is_awaited=True,
        )

    def follow_fact(self, folder: str, name: str, decode: Callable[[bytes | None], Any]) -> None:
        """One fact, until `forget`; it may not be there yet, or no more, and come again."""
        path = f"{folder}/{escape(name)}"

        def seen(reading: Reading) -> Event:
            fact = decode(reading.content)
            if isinstance(fact, Problem):
                log.error("%s cannot be used: %s", path, fact.message)
                return FactSeen(folder, name, None)
            return FactSeen(folder, name, fact)

        none = FactSeen(folder, name, None)
        self._follow(path, Part.DATA, seen, none, if_refused=none, is_awaited=True)

    def forget(self, path: str) -> None:
        """Stop following a family or a fact; a watch that is still set on it fires into the void."""
        self._follower.forget(path)

    def forget_host(self, host: str) -> None:
        """Stop following a host, whatever was followed of it."""
        self._follower.forget_below(self._tree.host(host))

    def rearm(self) -> None:
        """Read and watch everything again: a dropped connection drops all watches, also when the session lives."""
        self._follower.rearm()

    def __len__(self) -> int:
        return len(self._follower)

    @property
    def is_idle(self) -> bool:
        """Whether no first or repeated reading is on its way; what was answered has been put."""
        return self._follower.is_idle

    def _follow(self, path: str, part: Part, decode: Callable[[Reading], Event], gone: Event, **rest: Any) -> None:
        self._follower.follow(_Watched(key=(path, part), decode=decode, if_gone=gone, **rest))


def _names(reading: Reading) -> frozenset[str]:
    """The names of children; those that no name of ours can have made are somebody else's."""
    return frozenset(name for part in reading.content if escape(name := unescape(part)) == part)
