"""One ZooKeeper watch per znode, however many rules read it.

Comes in: paths to follow. Goes out, into one queue: what each znode held, every time it changed. The callbacks run
on kazoo's threads, where whoever blocks holds up everybody: they decode, put one event into the queue and return.
No DataWatch and no ChildrenWatch: those re-read in a thread of their own for every rule, and stop for good on
a deleted parent.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from zkalert import clock
from zkalert.model import (
    Alive,
    HostInfo,
    Moment,
    Observation,
    Problem,
)
from zkalert.tree import Tree, decode_alive, decode_host, decode_sample, escape, unescape
from zkalert.zk import MOST_IN_FLIGHT, UNCERTAIN, Client, EventType, NoNodeError

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


class Reading(NamedTuple):
    """What a question was answered with: bytes or the names of children, the Stat, and when the answer came."""

    content: Any
    stat: Any
    mono: float
    is_news: bool


@dataclass(slots=True, kw_only=True)
class _Watched:
    """One znode that is followed: what makes an event of it, and the zxid of what was told last.

    `gone` is told when it is not there, `refused` (if any) when we may not read it. `is_awaited` says that no list of
    children tells when it is made.
    """

    path: str
    decode: Callable[[Reading], Event]
    gone: Event
    refused: Event | None = None
    is_children: bool = False
    is_awaited: bool = False
    zxid: int = 0
    is_news: bool = False


class Registry:
    """Follows znodes by `get_async` and `get_children_async` with a watch, and re-arms them all on CONNECTED.

    `put` takes the events; it is called on kazoo's threads and must not block.
    """

    def __init__(self, client: Client, tree: Tree, put: Callable[[Event], None]) -> None:
        self._client = client
        self._tree = tree
        self._put = put
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched] = {}
        self._waiting: deque[_Watched] = deque()
        self._in_flight = 0

    # What to follow: called by the evaluator alone.

    def follow_hosts(self) -> None:
        self._follow(
            _Watched(
                path=self._tree.hosts,
                decode=lambda reading: HostsSeen(_names(reading)),
                gone=HostsSeen(frozenset()),
                is_children=True,
                is_awaited=True,
            )
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
        self._follow(_Watched(path=path, decode=info_seen, gone=Gone(path), refused=refused))
        self._follow(
            _Watched(
                path=self._tree.metrics(host),
                decode=lambda reading: FamiliesSeen(host, _names(reading)),
                gone=FamiliesSeen(host, frozenset()),
                is_children=True,
                is_awaited=True,
            )
        )
        alive = self._tree.alive(host)
        self._follow(_Watched(path=alive, decode=alive_seen, gone=AliveSeen(host, None), is_awaited=True))

    def follow_family(self, host: str, family: str) -> None:
        path = self._tree.family(host, family)

        def sample_seen(reading: Reading) -> Event:
            sample = decode_sample(family, reading.content)
            if isinstance(sample, Problem):
                return BadSampleSeen(path, sample)
            now = Moment(reading.stat.mtime / 1000, reading.mono)
            return SampleSeen(path, Observation(host=host, sample=sample, now=now), reading.is_news)

        self._follow(_Watched(path=path, decode=sample_seen, gone=Gone(path)))

    def follow_facts(self, folder: str) -> None:
        """The names in a folder of which each znode is one fact; it may not be there yet."""
        self._follow(
            _Watched(
                path=folder,
                decode=lambda reading: FactsSeen(folder, _names(reading)),
                gone=FactsSeen(folder, frozenset()),
                is_children=True,
                is_awaited=True,
            )
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
        self._follow(_Watched(path=path, decode=seen, gone=none, refused=none, is_awaited=True))

    def forget(self, path: str) -> None:
        """Stop following a znode; a watch that is still set on it fires into the void."""
        with self._lock:
            self._watched.pop(path, None)

    def forget_host(self, host: str) -> None:
        """Stop following a host, whatever was followed of it."""
        top = self._tree.host(host)
        with self._lock:
            for path in [path for path in self._watched if path == top or path.startswith(top + "/")]:
                del self._watched[path]

    def rearm(self) -> None:
        """Read and watch everything again: a dropped connection drops all watches, also when the session lives."""
        with self._lock:
            self._waiting.clear()
            self._in_flight = 0
            for watched in self._watched.values():
                watched.is_news = False  # a change that was lost on the way is old by now
                self._waiting.append(watched)
        self._pump()

    def __len__(self) -> int:
        return len(self._watched)

    @property
    def is_idle(self) -> bool:
        """Whether no first or repeated reading is on its way; what was answered has been put."""
        with self._lock:
            return not self._waiting and not self._in_flight

    # How it is followed.

    def _follow(self, watched: _Watched) -> None:
        with self._lock:
            if watched.path in self._watched:
                return
            self._watched[watched.path] = watched
            self._waiting.append(watched)
        self._pump()

    def _pump(self) -> None:
        """Ask for what waits, with a bounded number of questions on the way."""
        while True:
            with self._lock:
                if not self._waiting or self._in_flight >= MOST_IN_FLIGHT:
                    return
                watched = self._waiting.popleft()
                self._in_flight += 1
            self._ask(watched, self._answered_in_turn)

    def _ask(self, watched: _Watched, answered: Callable[[_Watched, Any], None]) -> None:
        if watched.is_children:
            result = self._client.get_children_async(watched.path, watch=self._on_event, include_data=True)
        else:
            result = self._client.get_async(watched.path, watch=self._on_event)
        result.rawlink(lambda reply: answered(watched, reply))

    def _answered_in_turn(self, watched: _Watched, reply: Any) -> None:
        self._answered(watched, reply)
        with self._lock:
            self._in_flight = max(0, self._in_flight - 1)
        self._pump()

    def _answered(self, watched: _Watched, reply: Any) -> None:
        mono = clock.monotonic()
        error = reply.exception
        if error is not None:
            if isinstance(error, NoNodeError):
                self._missing(watched)
            elif not isinstance(error, UNCERTAIN):  # after one of those CONNECTED asks again
                log.error("cannot read %s: %s", watched.path, type(error).__name__)
                if watched.refused is not None:
                    self._put(watched.refused)
            return
        content, stat = reply.value
        zxid = stat.pzxid if watched.is_children else stat.mzxid
        # A reading that repeats what was told would make the same sample speak twice as long.
        if zxid == watched.zxid:
            return
        watched.zxid = zxid
        is_news, watched.is_news = watched.is_news, False
        if self._watched.get(watched.path) is watched:
            try:
                self._put(watched.decode(Reading(content, stat, mono, is_news)))
            except Exception:  # kazoo would swallow it
                log.exception("%s could not be decoded", watched.path)

    def _missing(self, watched: _Watched) -> None:
        """The znode is not there: wait until it is made, or until the list of its parent names it again."""
        with self._lock:
            if self._watched.get(watched.path) is not watched:
                return
            watched.zxid = 0
            if not watched.is_awaited:
                del self._watched[watched.path]
        if watched.is_awaited:
            result = self._client.exists_async(watched.path, watch=self._on_event)
            result.rawlink(lambda reply: self._exists_answered(watched, reply))
        self._put(watched.gone)

    def _exists_answered(self, watched: _Watched, reply: Any) -> None:
        if reply.exception is None and reply.value is not None:
            self._ask(watched, self._answered)

    def _on_event(self, event: Any) -> None:
        """A watch fired. NONE says that the connection changed, which the state listener tells as well."""
        if event.type == EventType.NONE:
            return
        watched = self._watched.get(event.path)
        if watched is None:
            return
        watched.is_news = True
        self._ask(watched, self._answered)


def _names(reading: Reading) -> frozenset[str]:
    """The names of children; those that no name of ours can have made are somebody else's."""
    return frozenset(name for part in reading.content if escape(name := unescape(part)) == part)
