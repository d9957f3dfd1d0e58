"""What is known of each host: its labels, its families, its last samples, and which rules read which of them.

Comes in: what the registry saw, and the rules. Goes out: which samples have to be judged by rules that have not seen
them yet. Belongs to the evaluator's thread, like everything it keeps.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from zkalert.engine.status import HostStatus
from zkalert.metrics import HOST_FAMILY
from zkalert.model import Effect, HostInfo, Moment, Observation, Problem, Rule, Sample
from zkalert.rulebook import RuleWatcher, alive_sample, with_clock_skew, with_facts
from zkalert.tree import Tree
from zkalert.watch import (
    AliveSeen,
    BadSampleSeen,
    FamiliesSeen,
    Gone,
    HostInfoSeen,
    HostsSeen,
    Registry,
)

log = logging.getLogger("zkalert.engine")


@dataclass(slots=True)
class Host:
    """One host; `latest` holds its last good sample of each family that is followed."""

    name: str
    info: HostInfo | None = None
    families: frozenset[str] = frozenset()
    is_alive: bool | None = None
    watchers: dict[str, list[RuleWatcher]] = field(default_factory=dict)
    latest: dict[str, Observation] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Unseen:
    """A sample that is there already, and the rules that have not judged it."""

    observation: Observation
    watchers: list[RuleWatcher]


class Hosts:
    """All hosts of a tree. `show` names families that are followed even where no rule reads them."""

    def __init__(self, registry: Registry, tree: Tree, show: frozenset[str]) -> None:
        self._registry = registry
        self._tree = tree
        self._show = show
        self._hosts: dict[str, Host] = {}
        self.are_listed = False  # since then, a host that is not here is nowhere
        self._watchers: Mapping[str, RuleWatcher] = {}
        self._problems: dict[str, Problem] = {}

    def get(self, name: str) -> Host | None:
        return self._hosts.get(name)

    def names(self) -> list[str]:
        return list(self._hosts)

    @property
    def are_known(self) -> bool:
        """Whether the labels and the life of each host have been read: a number over many is made of all of them."""
        return self.are_listed and all(
            host.info is not None and host.is_alive is not None for host in self._hosts.values()
        )

    def set_rules(self, watchers: Mapping[str, RuleWatcher]) -> Iterator[Unseen]:
        """Let other rules read; which samples some of them have not seen."""
        self._watchers = watchers
        for host in self._hosts.values():
            yield from self._attach(host)

    def everything(self) -> Iterator[Unseen]:
        """Every last sample with all rules that read it."""
        for host in self._hosts.values():
            for family, watchers in host.watchers.items():
                if family in host.latest:
                    yield Unseen(observation=host.latest[family], watchers=watchers)

    def lives(self) -> Iterator[Unseen]:
        """What is known of each host's life, with all rules that read it."""
        for host in self._hosts.values():
            if HOST_FAMILY in host.latest and HOST_FAMILY in host.watchers:
                yield Unseen(observation=host.latest[HOST_FAMILY], watchers=host.watchers[HOST_FAMILY])

    # What the registry saw.

    def hosts_seen(self, event: HostsSeen) -> frozenset[str]:
        """Follow those that came, forget those that were removed; the latter."""
        self.are_listed = True
        removed = frozenset(self._hosts.keys() - event.hosts)
        for name in event.hosts - self._hosts.keys():
            self._hosts[name] = Host(name)
            self._registry.follow_host(name)
        for name in removed:
            del self._hosts[name]
            self._registry.forget_host(name)
            top = self._tree.host(name) + "/"
            self._problems = {path: problem for path, problem in self._problems.items() if not path.startswith(top)}
        return removed

    def families_seen(self, event: FamiliesSeen) -> Iterable[Unseen]:
        host = self._hosts.get(event.host)
        if host is None:
            return ()
        host.families = event.families
        return self._attach(host)

    def info_seen(self, event: HostInfoSeen) -> Iterable[Unseen]:
        host = self._hosts.get(event.host)
        if host is None:
            return ()
        host.info = replace(event.info, name=host.name)
        return self._attach(host)

    def alive_seen(self, event: AliveSeen, now: Moment) -> Observation | None:
        """What the host family of a host says now, if that changed."""
        host = self._hosts.get(event.host)
        is_alive = event.alive is not None
        if host is None or host.is_alive is is_alive:
            return None
        host.is_alive = is_alive
        return self._with_life(host, host.latest.get(HOST_FAMILY), now)

    def with_life(self, host: Host, observation: Observation) -> Observation:
        """A sample of the host family, made whole by what only the engine knows: its life, and its clock's error."""
        told = replace(observation, sample=with_clock_skew(observation.sample, observation.now.at))
        return self._with_life(host, told, observation.now)

    def _with_life(self, host: Host, observation: Observation | None, now: Moment) -> Observation:
        host.latest[HOST_FAMILY] = alive_sample(observation, host.name, now, is_alive=bool(host.is_alive))
        return host.latest[HOST_FAMILY]

    def bad_sample_seen(self, event: BadSampleSeen) -> None:
        if event.path not in self._problems:
            log.error("%s cannot be used: %s", event.path, event.problem.message)
        self._problems[event.path] = event.problem

    def good_sample_seen(self, path: str) -> None:
        if self._problems:
            self._problems.pop(path, None)

    def gone(self, event: Gone) -> None:
        self._problems.pop(event.path, None)
        named = self._tree.parse_family(event.path)
        if named is not None and named[0] in self._hosts:
            self._hosts[named[0]].latest.pop(named[1], None)

    def _attach(self, host: Host) -> list[Unseen]:
        """Set which rules read which families of a host, and follow those znodes, no others."""
        if host.info is None:
            return []
        before = host.watchers
        host.watchers = watchers = self._readers(host, host.info)
        unseen = []
        for family in host.families | {HOST_FAMILY}:
            if family not in watchers and family not in self._show:
                self._forget(host, family)
                continue
            if family in host.families:
                self._registry.follow_family(host.name, family)
            old = before.get(family, ())
            fresh = [watcher for watcher in watchers.get(family, ()) if watcher not in old]
            if fresh and family in host.latest:
                unseen.append(Unseen(observation=host.latest[family], watchers=fresh))
        for family in host.latest.keys() - host.families - {HOST_FAMILY}:
            self._forget(host, family)
        return unseen

    def _readers(self, host: Host, info: HostInfo) -> dict[str, list[RuleWatcher]]:
        """Who judges each family of a host; nobody those that are only read for the texts of messages."""
        readers: dict[str, list[RuleWatcher]] = {}
        for watcher in self._watchers.values():
            if not watcher.follows(info):
                watcher.forget(host.name)
                continue
            watcher.attach(info)
            for family in watcher.families:
                if family in host.families or family == HOST_FAMILY:
                    readers.setdefault(family, []).append(watcher)
            for metric in watcher.rule.reads:
                readers.setdefault(metric.family, [])
        return readers

    def _forget(self, host: Host, family: str) -> None:
        path = self._tree.family(host.name, family)
        self._registry.forget(path)
        self._problems.pop(path, None)
        host.latest.pop(family, None)

    # What others ask.

    def with_facts(self, rule: Rule, effect: Effect) -> Effect:
        """What host and instance say of themselves now: the message may be sent when they are gone."""
        alert = effect.alert
        host = self._hosts.get(alert.host)
        if host is None:
            return effect

        def latest(family: str) -> Sample | None:
            seen = host.latest.get(family)
            return None if seen is None else seen.sample

        return with_facts(rule, effect, host.info, latest)

    def status(self) -> tuple[HostStatus, ...]:
        return tuple(
            HostStatus(name=host.name, is_alive=bool(host.is_alive), samples=dict(host.latest))
            for _, host in sorted(self._hosts.items())
        )

    def problems(self) -> dict[str, int]:
        """How many znodes hold what cannot be used, by the code of what is wrong."""
        return dict(Counter(problem.code for problem in self._problems.values()))
