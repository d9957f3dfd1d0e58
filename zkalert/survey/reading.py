"""Reads a live tree once, and changes nothing in it.

Comes in: a client, and what is wanted. Goes out: a Survey. Questions are pipelined, with a bounded number on the way,
and no answer is waited for without end. What cannot be used is kept as the Problem that it is.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from zkalert import clock, zk
from zkalert.model import Alert, HostInfo, OutboxEntry, Problem, Seen, ZookeeperSettings
from zkalert.shards import SHARD, SIGN_OF_LIFE
from zkalert.survey.values import HostSeen, Published, Survey
from zkalert.tree import (
    Tree,
    decode_alert,
    decode_engine,
    decode_entry,
    decode_host,
    decode_sample,
    decode_seen,
    escape,
    unescape,
)

_LATE = 1.0  # seconds that a sign of life may take
_POLL = 0.25
_NUMBER = 10  # digits


@contextlib.contextmanager
def connected(settings: ZookeeperSettings) -> Iterator[Reader]:
    """A reader of a tree; what goes wrong with ZooKeeper becomes a ZkalertError of one line.

    Connecting, and each answer, may take as long as a session's timeout.
    """
    with zk.connected(settings) as client:
        yield Reader(client, Tree(settings.root), settings.session_timeout)


class Shard(NamedTuple):
    """What the owner of the shard said last, and when (epoch seconds); the sessions that queue for it, his first."""

    seen: Seen | None
    shown_at: float | None
    sessions: tuple[int, ...]

    @property
    def is_owned(self) -> bool:
        return bool(self.sessions)

    def now(self, newest: float = 0.0) -> float:
        """What the ensemble's clock shows; `newest` is the youngest time that was read from a znode."""
        return _now(newest, self.shown_at if self.is_owned else None)


class Reader:
    """Asks one tree; `patience` is how many seconds an answer may take.

    All methods raise one of zk.UNCERTAIN where none comes, or another KazooException where ZooKeeper refuses.
    """

    def __init__(self, client: zk.Client, tree: Tree, patience: float) -> None:
        self.tree = tree
        self.client = client
        self._patience = patience

    def read(self, families: Iterable[str], rules: Iterable[str] = ()) -> Survey:
        """All hosts with what they publish of some families, the alerts of some rules, the outbox, the engines."""
        hosts = self._hosts(families)
        alerts = self.alerts(rules)
        engines = [decode_engine(data) for data, _ in self.below(self.tree.engines).values()]
        shard = self.shard()
        newest = max((one.at for host in hosts.values() for some in host.samples.values() for one in some), default=0.0)
        return Survey(
            at=shard.now(newest),
            hosts=hosts,
            alerts=alerts,
            entries=self.entries(),
            dead=self.dead(),
            engines=tuple(sorted(engine.name for engine in engines if not isinstance(engine, Problem))),
            is_owned=shard.is_owned,
            watched_at=None if shard.seen is None else shard.seen.at,
        )

    def shard(self) -> Shard:
        """Who owns what is evaluated here, and when the owner said so."""
        path = self.tree.shard(SHARD)
        seen, shown_at = None, None
        for data, stat in self.answers(self.client.get_async, [path]).values():
            found = decode_seen(data)
            seen, shown_at = None if isinstance(found, Problem) else found, stat.mtime / 1000
        # kazoo's lock goes to the node with the lowest number, which is the end of its name.
        queue = sorted(self.children(path), key=lambda name: name[-_NUMBER:])
        stats = self.answers(self.client.exists_async, [f"{path}/{name}" for name in queue])
        return Shard(seen=seen, shown_at=shown_at, sessions=tuple(stat.ephemeralOwner for stat in stats.values()))

    def await_next(self, survey: Survey, wanted: Collection[tuple[str, str]], timeout: float) -> Survey:
        """The same survey, with the next sample of these hosts and families as far as they come in time."""
        paths = {self.tree.family(host, family): (host, family) for host, family in wanted}
        hosts = dict(survey.hosts)
        deadline = clock.monotonic() + timeout
        pause = threading.Event()
        newest = survey.at
        while paths:
            for path, (data, stat) in self.answers(self.client.get_async, paths).items():
                name, family = paths[path]
                before = hosts[name].newest(family)
                at = stat.mtime / 1000
                if before is None or at > before.at:
                    del paths[path]
                    fresh = (*hosts[name].samples.get(family, ()), Published(decode_sample(family, data), at))
                    hosts[name] = replace(hosts[name], samples={**hosts[name].samples, family: fresh})
                    newest = max(newest, at)
            left = deadline - clock.monotonic()
            if not paths or left <= 0:
                break
            clock.wait(pause, min(_POLL, left))
        passed = timeout - (deadline - clock.monotonic())
        return replace(survey, hosts=hosts, at=max(newest, survey.at + passed))

    # Parts of the tree.

    def names(self) -> list[str]:
        """The names of all hosts, sorted; a part that no name of ours can have made is somebody else's."""
        parts = self.children(self.tree.hosts)
        return sorted(name for part in parts if escape(name := unescape(part)) == part)

    def infos(self, names: Iterable[str]) -> dict[str, HostInfo]:
        """What hosts say of themselves, of those that are there."""
        paths = {self.tree.host(name): name for name in names}
        found = self.answers(self.client.get_async, paths)
        return {paths[path]: _info(paths[path], data) for path, (data, _) in found.items()}

    def _hosts(self, families: Iterable[str]) -> dict[str, HostSeen]:
        tree = self.tree
        infos = self.infos(self.names())
        names = list(infos)
        alive = self.answers(self.client.exists_async, (tree.alive(name) for name in names))
        wanted = {tree.family(name, family): (name, family) for name in names for family in families}
        samples: dict[str, dict[str, tuple[Published, ...]]] = {name: {} for name in names}
        for path, (data, stat) in self.answers(self.client.get_async, wanted).items():
            name, family = wanted[path]
            samples[name][family] = (Published(decode_sample(family, data), stat.mtime / 1000),)
        return {
            name: HostSeen(info=info, is_alive=tree.alive(name) in alive, samples=samples[name])
            for name, info in infos.items()
        }

    def alerts(self, rules: Iterable[str] | None = None) -> tuple[Alert, ...]:
        """The records of some rules' alerts, without a word those of all."""
        tree = self.tree
        chosen = (
            [f"{tree.alerts}/{name}" for name in self.children(tree.alerts)]
            if rules is None
            else map(tree.rule_alerts, rules)
        )
        folders = self.answers(self.client.get_children_async, chosen)
        records = self.answers(
            self.client.get_async, [f"{folder}/{name}" for folder, names in folders.items() for name in names]
        )
        found = ((path, decode_alert(data)) for path, (data, _) in records.items())
        return tuple(
            alert
            for path, alert in found
            if not isinstance(alert, Problem) and tree.alert(alert.rule, alert.host, alert.instance) == path
        )

    def entries(self) -> tuple[OutboxEntry, ...]:
        """What is on its way to be told."""
        return _entries(self.below(self.tree.outbox(SHARD)))

    def dead(self) -> tuple[OutboxEntry, ...]:
        """What could not be told."""
        return _entries(self.below(self.tree.dead))

    # Questions.

    def children(self, folder: str) -> list[str]:
        """The names below a folder, none where it is not there."""
        return next(iter(self.answers(self.client.get_children_async, [folder]).values()), [])

    def below(self, folder: str) -> Mapping[str, tuple[bytes, Any]]:
        """Data and Stat of each child, by path."""
        return self.answers(self.client.get_async, [f"{folder}/{name}" for name in self.children(folder)])

    def answers(self, ask: Callable[[str], Any], paths: Iterable[str]) -> dict[str, Any]:
        """What each path was answered with; those that are not there, or that we may not read, are left out."""
        answers: dict[str, Any] = {}
        asked: deque[tuple[str, Any]] = deque()

        def take() -> None:
            path, reply = asked.popleft()
            with contextlib.suppress(zk.NoNodeError, zk.NoAuthError):
                answer = reply.get(timeout=self._patience)
                if answer is not None:
                    answers[path] = answer

        for path in paths:
            if len(asked) >= zk.MOST_IN_FLIGHT:
                take()
            asked.append((path, ask(path)))
        while asked:
            take()
        return answers


def _entries(found: Mapping[str, tuple[bytes, Any]]) -> tuple[OutboxEntry, ...]:
    """Those that can be used and stand under their own name."""
    entries = ((path, decode_entry(data)) for path, (data, _) in found.items())
    return tuple(
        entry
        for path, entry in entries
        if not isinstance(entry, Problem) and escape(entry.effect.id) == path.rpartition("/")[2]
    )


def _info(name: str, data: bytes) -> HostInfo:
    info = decode_host(data)
    return HostInfo(name=name) if isinstance(info, Problem) else replace(info, name=name)


def _now(newest: float, shown_at: float | None) -> float:
    """What the ensemble's clock shows, as far as a reader can know: a read carries no time of the server.

    Not before what was written last, and not long after the last sign of life of an engine that lives; else this
    machine's clock.
    """
    here = clock.wall()
    if shown_at is not None:
        here = min(here, shown_at + SIGN_OF_LIFE + _LATE)
    return max(here, newest, shown_at or 0.0)
