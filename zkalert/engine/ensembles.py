"""The ensembles whose znodes and members rules watch: the one that zkalert's own tree is in, and others by name.

Comes in: rules, connection states, what was seen. Goes out: samples of znodes and of ensembles, with the rules that
read them. Belongs to the evaluator's thread. Of other ensembles nothing but questions is ever asked.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from zkalert import clock
from zkalert.engine.hosts import Unseen
from zkalert.engine.matches import Matches
from zkalert.metrics import OWN_ENSEMBLE, ZOOKEEPER_FAMILY, is_znode, parse_pattern
from zkalert.model import (
    Alert,
    Comparator,
    Effect,
    EnsembleSettings,
    HostInfo,
    Metric,
    Moment,
    Observation,
    Quiet,
    Rule,
    Sample,
)
from zkalert.rulebook import HOST_ALIVE, RuleWatcher, with_facts
from zkalert.servers import Servers, ServersSeen
from zkalert.watch import Acl, Part, Znodes, ZnodeSeen, ZnodesStirred
from zkalert.zk import Client, ConnectionState, complaint, leave, listen, make_client, where

log = logging.getLogger("zkalert.engine")

LEAVE_WITHIN = 2.0
ANSWERS_WITHIN = 10.0
"""Seconds after which an ensemble that never answered is told of."""


class EnsembleState(NamedTuple):
    """The connection to another ensemble changed."""

    ensemble: str
    state: ConnectionState


class Ensemble:
    """One ensemble, and the patterns of znodes that are followed there.

    `client` is None of the own one, whose connection is the engine's. `servers` asks its members about themselves.
    """

    def __init__(self, name: str, znodes: Znodes, servers: Servers, client: Client | None) -> None:
        self.name = name
        self.znodes = znodes
        self.servers = servers
        self.client = client
        self.is_connected = False
        self.has_ended = False
        self._is_started = client is None
        self.overdue_at: float | None = None  # monotonic; None once it has answered, or was told of
        self.matches: dict[str, Matches] = {}
        self._users: dict[tuple[str, Part], list[Matches]] = {}

    @property
    def is_own(self) -> bool:
        """Whether znodes' times are of the clock that is known; others are held against this machine's."""
        return self.client is None

    def start(self) -> None:
        """Connect, once there is something to ask; it goes on trying for ever."""
        if self.client is not None and not self._is_started:
            self._is_started = True
            self.overdue_at = clock.monotonic() + ANSWERS_WITHIN
            self.client.start_async()

    def end(self) -> None:
        """Leave it, and hear no more of it."""
        self.has_ended = True
        self.servers.stop()
        if self.client is not None and self._is_started:
            client = self.client
            threading.Thread(target=leave, args=(client, LEAVE_WITHIN), name="zkalert-leave", daemon=True).start()

    # For its patterns.

    def follow(self, matches: Matches, path: str, part: Part, *, is_awaited: bool) -> None:
        users = self._users.setdefault((path, part), [])
        if matches not in users:
            users.append(matches)
        self.znodes.follow(path, part, is_awaited=is_awaited)

    def forget(self, matches: Matches, path: str, part: Part) -> None:
        users = self._users.get((path, part), [])
        if matches in users:
            users.remove(matches)
        if not users:
            self._users.pop((path, part), None)
            self.znodes.forget(path, part)

    def ask_acls(self, paths: Iterable[str]) -> None:
        self.znodes.ask_acls(paths)

    # What was seen.

    def seen(self, event: ZnodeSeen) -> None:
        for matches in tuple(self._users.get((event.path, event.part), ())):
            matches.seen(event)

    def acl_seen(self, event: Acl) -> None:
        for matches in self.matches.values():
            matches.acl_seen(event)

    def miss(self, mono: float) -> None:
        """It is not connected; say so once it should have been."""
        if self.client is not None and self.overdue_at is not None and self.overdue_at <= mono:
            self.overdue_at = None
            servers, why = where(self.client), complaint(self.client)
            log.warning("the ensemble %s at %s does not answer; its rules wait for it (%s)", self.name, servers, why)

    def connection_changed(self, state: ConnectionState) -> None:
        self.overdue_at = None
        self.is_connected = state is ConnectionState.CONNECTED
        for matches in self.matches.values():
            matches.blind()
        if self.is_connected:
            self.znodes.rearm()
        else:
            self.znodes.suspend()

    # What is to be followed.

    def set_families(self, wanted: Mapping[str, tuple[frozenset[str], bool]]) -> None:
        """The fields of each pattern that are wanted, and whether what they say moves though nothing changes."""
        for family in list(self.matches):
            matches = self.matches[family]
            if wanted.get(family) != (matches.wanted, matches.needs_ticks):
                del self.matches[family]
                matches.end()
        for family, (fields, needs_ticks) in wanted.items():
            if family not in self.matches:
                matches = self.matches[family] = Matches(family, fields, self, needs_ticks=needs_ticks)
                matches.begin()


class Ensembles:
    """All ensembles. `client` and `own` are those of the own one, `put` the engine's queue.

    Servers are asked about themselves while `is_active` says that this engine judges; that is called from any thread.
    """

    def __init__(
        self,
        client: Client,
        own: EnsembleSettings,
        put: Callable[[Any], None],
        ensemble: clock.EnsembleClock,
        is_active: Callable[[], bool],
    ) -> None:
        self._put = put
        self._clock = ensemble
        self._is_active = is_active
        self._settings: dict[str, EnsembleSettings] = {}
        self._readers: dict[str, list[RuleWatcher]] = {}
        self._members: dict[str, Observation] = {}  # the last sample of each ensemble's servers
        self._own = self._begin(OWN_ENSEMBLE, own, client)  # last: its servers' thread asks who reads
        self._ensembles: dict[str, Ensemble] = {OWN_ENSEMBLE: self._own}

    def __len__(self) -> int:
        """How many znodes are followed."""
        return sum(len(one.znodes) for one in self._ensembles.values())

    # Settings and rules.

    def configure(self, settings: Mapping[str, EnsembleSettings]) -> None:
        """These are the other ensembles now."""
        for name in list(self._settings):
            if settings.get(name) != self._settings[name]:
                del self._settings[name]
                self._ensembles.pop(name).end()
                self._members.pop(name, None)
        for name, one in settings.items():
            if name not in self._settings:
                self._settings[name] = one
                self._ensembles[name] = self._begin(name, one)

    def _begin(self, name: str, settings: EnsembleSettings, own: Client | None = None) -> Ensemble:
        """`own` is the engine's client, which listens by itself."""
        client = make_client(settings.zookeeper) if own is None else own

        def put(event: Any) -> None:
            if not made.has_ended:  # one of the same name may have taken its place
                self._put(event)

        servers = Servers(name, settings, put, self._are_members_wanted)
        made = Ensemble(name, Znodes(client, name, put), servers, None if own is not None else client)
        if own is None:
            listen(client, lambda state: put(EnsembleState(name, state)))
        servers.start()
        return made

    def _are_members_wanted(self) -> bool:
        return ZOOKEEPER_FAMILY in self._readers and self._is_active()

    def close(self) -> None:
        """Leave the other ensembles, and ask nobody any more."""
        self.configure({})
        self._own.end()

    def set_rules(self, watchers: Mapping[str, RuleWatcher]) -> list[Unseen]:
        """Let other rules read; which samples some of them have not seen."""
        before = {family: list(readers) for family, readers in self._readers.items()}
        self._readers = {}
        wanted: dict[str, set[str]] = {}
        ticking: set[str] = set()
        for watcher in watchers.values():
            self._attach(watcher)
            for metric in (*_judged(watcher.rule), *watcher.rule.reads):
                if is_znode(metric.family):
                    wanted.setdefault(metric.family, set()).add(metric.field)
            if _moves(watcher.rule):
                ticking.update(family for family in watcher.families if is_znode(family))
        for ensemble in self._ensembles.values():
            ensemble.set_families(
                {
                    family: (frozenset(fields), family in ticking)
                    for family, fields in wanted.items()
                    if parse_pattern(family).ensemble == ensemble.name
                }
            )
            if ensemble.matches:
                ensemble.start()
        return list(self._unseen(before))

    def _attach(self, watcher: RuleWatcher) -> None:
        if watcher.is_of_hosts:
            return
        for family in watcher.families:
            if is_znode(family) or family == ZOOKEEPER_FAMILY:
                self._readers.setdefault(family, []).append(watcher)
        for name in self._ensembles:
            info = HostInfo(name=name, is_ensemble=True)
            if watcher.follows(info):
                watcher.attach(info)
            else:
                watcher.forget(name)

    def _unseen(self, before: Mapping[str, list[RuleWatcher]]) -> Iterator[Unseen]:
        for seen in self.everything():
            known = before.get(seen.observation.sample.family, ())
            fresh = [watcher for watcher in seen.watchers if watcher not in known]
            if fresh:
                yield Unseen(observation=seen.observation, watchers=fresh)

    def everything(self) -> Iterator[Unseen]:
        """All that is known now, with all rules that read it."""
        now = self._now()
        for ensemble in self._ensembles.values():
            for family, matches in ensemble.matches.items():
                if matches.is_known and family in self._readers:
                    observation = matches.everything(now, self._znode_now(ensemble, now))
                    yield Unseen(observation=observation, watchers=self._readers[family])
        for observation in self._members.values():
            if ZOOKEEPER_FAMILY in self._readers:
                yield Unseen(observation=observation, watchers=self._readers[ZOOKEEPER_FAMILY])

    # What came.

    def own_connection(self, state: ConnectionState) -> None:
        self._own.connection_changed(state)

    def state_seen(self, event: EnsembleState) -> None:
        """The connection to another ensemble is there, or gone."""
        ensemble = self._ensembles.get(event.ensemble)
        if ensemble is None or (not ensemble.is_connected and event.state is not ConnectionState.CONNECTED):
            return
        if event.state is ConnectionState.CONNECTED:
            log.info("connected to the ensemble %s", ensemble.name)
        else:
            log.warning("the connection to the ensemble %s is gone; its rules wait until it is back", ensemble.name)
        ensemble.connection_changed(event.state)

    def znode_seen(self, event: ZnodeSeen) -> None:
        ensemble = self._ensembles.get(event.ensemble)
        if ensemble is not None:
            ensemble.seen(event)

    def acl_seen(self, event: Acl) -> None:
        ensemble = self._ensembles.get(event.ensemble)
        if ensemble is not None:
            ensemble.acl_seen(event)

    def stirred(self, _event: ZnodesStirred) -> None:
        """Nothing to do but to ask anew when something is due."""

    def members_seen(self, event: ServersSeen) -> Unseen | None:
        """What the servers of an ensemble said of themselves."""
        if event.ensemble not in self._ensembles:
            return None
        now = Moment(self._clock.at(event.mono), event.mono)
        observation = Observation(host=event.ensemble, sample=event.sample, now=now)
        self._members[event.ensemble] = observation
        return Unseen(observation=observation, watchers=self._readers.get(ZOOKEEPER_FAMILY, []))

    # What is to be judged.

    def take(self, mono: float) -> Iterator[Unseen]:
        """What has changed, or moved with time, until `mono`."""
        for ensemble in self._ensembles.values():
            if not ensemble.is_connected:
                ensemble.miss(mono)
                continue
            late_at = ensemble.znodes.late_at
            if late_at is not None and late_at <= mono:
                ensemble.znodes.ask_late(mono)
            if not ensemble.matches:
                continue
            now = Moment(self._clock.at(mono), mono)
            for family, matches in ensemble.matches.items():
                matches.poll(mono)
                observation = matches.take(now, self._znode_now(ensemble, now))
                if observation is not None:
                    yield Unseen(observation=observation, watchers=self._readers.get(family, []))

    def next_at(self) -> float | None:
        """When (on this process's clock) `take` wants to be called without an event."""
        due: list[float] = []
        for ensemble in self._ensembles.values():
            wanted = [ensemble.overdue_at]
            if ensemble.is_connected:
                wanted = [ensemble.znodes.late_at, *(one.next_at() for one in ensemble.matches.values())]
            due += [at for at in wanted if at is not None]
        return min(due, default=None)

    def _now(self) -> Moment:
        mono = clock.monotonic()
        return Moment(self._clock.at(mono), mono)

    def _znode_now(self, ensemble: Ensemble, now: Moment) -> float:
        """By which clock znodes are aged: that of the ensemble where it is known, else this machine's."""
        return now.at if ensemble.is_own else clock.wall()

    # What others ask.

    def names(self) -> tuple[str, ...]:
        return tuple(self._ensembles)

    def with_facts(self, rule: Rule, effect: Effect) -> Effect:
        """The labels of a znode, and what the texts of its rule read, as they are now."""
        ensemble = self._ensembles.get(effect.alert.host)
        if ensemble is None:
            return effect
        now = self._now()

        def latest(family: str) -> Sample | None:
            if family == ZOOKEEPER_FAMILY:
                seen = self._members.get(ensemble.name)
                return None if seen is None else seen.sample
            matches = ensemble.matches.get(family)
            if matches is None:
                return None
            return matches.sample(now, self._znode_now(ensemble, now), effect.alert.instance)

        return with_facts(rule, effect, None, latest)

    def znodes(self) -> int:
        """How many znodes rules look at, those that are missing too."""
        return sum(len(one) for ensemble in self._ensembles.values() for one in ensemble.matches.values())

    def unreached(self) -> tuple[str, ...]:
        """The other ensembles that rules look at and that are not connected, by name."""
        return tuple(
            sorted(
                one.name for one in self._ensembles.values() if one.matches and not one.is_connected and not one.is_own
            )
        )

    def problems(self) -> int:
        """How many znodes cannot be read, or used as the rules have it."""
        return sum(one.problems for ensemble in self._ensembles.values() for one in ensemble.matches.values())


def _judged(rule: Rule) -> Iterator[Metric]:
    for condition in rule.conditions:
        yield from (term.metric for term in condition.terms)


def _moves(rule: Rule) -> bool:
    """Whether what a rule makes of znodes moves though none of them changes: windows, rates, silence."""
    if rule.no_data.then is not Quiet.KEEP:
        return True
    return any(
        condition.comparator is Comparator.CHANGED
        or any(term.window is not None or term.metric.field == "changes" for term in condition.terms)
        for condition in rule.conditions
    )


def is_of(watcher: RuleWatcher, alert: Alert, ensemble: str) -> bool:
    """Whether an alert is about an ensemble."""
    return not watcher.is_of_hosts and alert.host == ensemble


def is_watched_here(watcher: RuleWatcher, alert: Alert) -> bool:
    """Whether an alert goes by what our own connection tells when it changes: znodes, and the lives of hosts.

    Samples say by themselves how long they speak.
    """
    return is_of(watcher, alert, OWN_ENSEMBLE) or watcher.metric == HOST_ALIVE
