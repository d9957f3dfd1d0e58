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
from typing import Any

from zkalert import clock, zk
from zkalert.model import Alert, HostInfo, OutboxEntry, Problem, ZkalertError, ZookeeperSettings
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


@contextlib.contextmanager
def connected(settings: ZookeeperSettings) -> Iterator[Reader]:
    """A reader of a tree; what goes wrong with ZooKeeper becomes a ZkalertError of one line.

    Connecting, and each answer, may take as long as a session's timeout.
    """
    client = zk.make_client(settings)
    try:
        if not clock.wait(client.start_async(), settings.session_timeout):
            raise ZkalertError(f"ZooKeeper at {zk.where(client)} does not answer")
        yield Reader(client, Tree(settings.root), settings.session_timeout)
    except zk.UNCERTAIN as error:
        raise ZkalertError(f"ZooKeeper at {zk.where(client)} went away ({type(error).__name__})") from error
    except zk.KazooException as error:
        raise ZkalertError(f"ZooKeeper at {zk.where(client)} refused to answer ({type(error).__name__})") from error
    finally:
        zk.leave(client, 2.0)


class Reader:
    """Asks one tree; `patience` is how many seconds an answer may take.

    All methods raise one of zk.UNCERTAIN where none comes, or another KazooException where ZooKeeper refuses.
    """

    def __init__(self, client: zk.Client, tree: Tree, patience: float) -> None:
        self.tree = tree
        self._client = client
        self._patience = patience

    def read(self, families: Iterable[str], rules: Iterable[str] = ()) -> Survey:
        """All hosts with what they publish of some families, the alerts of some rules, the outbox, the engines."""
        hosts = self._hosts(families)
        alerts = tuple(self._alerts(rules))
        entries = tuple(self._entries())
        engines = [decode_engine(data) for data, _ in self._below(self.tree.engines).values()]
        shard = self.tree.shard(SHARD)
        watched_at, shown_at = None, None
        for data, stat in self._answers(self._client.get_async, [shard]).values():
            seen = decode_seen(data)
            watched_at, shown_at = None if isinstance(seen, Problem) else seen, stat.mtime / 1000
        is_owned = bool(self._children(shard))
        newest = max((one.at for host in hosts.values() for some in host.samples.values() for one in some), default=0.0)
        return Survey(
            at=_now(newest, shown_at if is_owned else None),
            hosts=hosts,
            alerts=alerts,
            entries=entries,
            engines=tuple(sorted(engine for engine in engines if not isinstance(engine, Problem))),
            is_owned=is_owned,
            watched_at=watched_at,
        )

    def await_next(self, survey: Survey, wanted: Collection[tuple[str, str]], timeout: float) -> Survey:
        """The same survey, with the next sample of these hosts and families as far as they come in time."""
        paths = {self.tree.family(host, family): (host, family) for host, family in wanted}
        hosts = dict(survey.hosts)
        deadline = clock.monotonic() + timeout
        pause = threading.Event()
        newest = survey.at
        while paths:
            for path, (data, stat) in self._answers(self._client.get_async, paths).items():
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

    def _hosts(self, families: Iterable[str]) -> dict[str, HostSeen]:
        tree = self.tree
        # Those that no name of ours can have made are somebody else's.
        names = sorted(name for part in self._children(tree.hosts) if escape(name := unescape(part)) == part)
        infos = self._answers(self._client.get_async, (tree.host(name) for name in names))
        alive = self._answers(self._client.exists_async, (tree.alive(name) for name in names))
        wanted = {tree.family(name, family): (name, family) for name in names for family in families}
        samples: dict[str, dict[str, tuple[Published, ...]]] = {name: {} for name in names}
        for path, (data, stat) in self._answers(self._client.get_async, wanted).items():
            name, family = wanted[path]
            samples[name][family] = (Published(decode_sample(family, data), stat.mtime / 1000),)
        return {
            name: HostSeen(
                info=_info(name, infos[tree.host(name)][0]),
                is_alive=tree.alive(name) in alive,
                samples=samples[name],
            )
            for name in names
            if tree.host(name) in infos
        }

    def _alerts(self, rules: Iterable[str]) -> Iterator[Alert]:
        for rule in rules:
            for path, (data, _) in self._below(self.tree.rule_alerts(rule)).items():
                alert = decode_alert(data)
                if not isinstance(alert, Problem) and self.tree.alert(alert.rule, alert.host, alert.instance) == path:
                    yield alert

    def _entries(self) -> Iterator[OutboxEntry]:
        for data, _ in self._below(self.tree.outbox(SHARD)).values():
            entry = decode_entry(data)
            if not isinstance(entry, Problem):
                yield entry

    # Questions.

    def _children(self, folder: str) -> list[str]:
        """The names below a folder, none where it is not there."""
        return next(iter(self._answers(self._client.get_children_async, [folder]).values()), [])

    def _below(self, folder: str) -> Mapping[str, tuple[bytes, Any]]:
        """Data and Stat of each child, by path."""
        return self._answers(self._client.get_async, [f"{folder}/{name}" for name in self._children(folder)])

    def _answers(self, ask: Callable[[str], Any], paths: Iterable[str]) -> dict[str, Any]:
        """What each path was answered with; those that are not there are left out."""
        answers: dict[str, Any] = {}
        asked: deque[tuple[str, Any]] = deque()

        def take() -> None:
            path, reply = asked.popleft()
            with contextlib.suppress(zk.NoNodeError):
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
