"""The one thread that owns the state of every alert.

Everything that happens comes to it through one queue, in one order: samples, hosts, connection states, ownership,
new rules. Nobody else changes an alert or a timer, so there are no locks here. It writes what it decided before
anybody acts on it, and hands the entries to the dispatcher after that.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from zkalert import clock
from zkalert.dispatch import Dispatcher
from zkalert.engine.hosts import Hosts, Unseen
from zkalert.engine.status import Status
from zkalert.evaluate import variant
from zkalert.lifecycle import needs_write, resume
from zkalert.metrics import HOST_FAMILY
from zkalert.model import (
    MEMBERS_HOST,
    Alert,
    Effect,
    HostInfo,
    Moment,
    Observation,
    OutboxEntry,
    Reason,
    Rule,
    State,
    Target,
)
from zkalert.rulebook import Rulebook, RuleWatcher
from zkalert.shards import Owned
from zkalert.store import AlertStore, Change, NotOwner, Outbox, OutOfStep
from zkalert.tree import Tree
from zkalert.watch import (
    AliveSeen,
    BadSampleSeen,
    Event,
    FamiliesSeen,
    Gone,
    HostInfoSeen,
    HostsSeen,
    Registry,
    SampleSeen,
)
from zkalert.zk import UNCERTAIN, ConnectionState, KazooException

log = logging.getLogger("zkalert.engine")

READ_BACK_AGAIN = 0.2
READ_AGAIN = 0.02
READ_WITHIN = 5.0  # what cannot be read must not keep the rest waiting
RECOVER_AFTER = 1.0

Route: TypeAlias = Callable[[Rule, Effect], tuple[Target, ...]]
Series: TypeAlias = "tuple[str, str, str | None]"


class NewRules(NamedTuple):
    """Another set of rules, checked and whole; `route` says who hears an effect, `targets` are all of them."""

    rules: tuple[Rule, ...]
    route: Route
    targets: Mapping[str, Target]


Input: TypeAlias = Event | ConnectionState | Owned | NewRules


class Evaluator:
    """Evaluates samples, steps alerts, writes transitions. All methods belong to one thread.

    `tell` hears of each effect once it is written, with the targets that will hear it. `show` names families that
    are followed even where no rule reads them.
    """

    def __init__(  # noqa: PLR0913 - everything that the evaluator joins
        self,
        *,
        registry: Registry,
        store: AlertStore,
        outbox: Outbox,
        dispatcher: Dispatcher,
        tree: Tree,
        ensemble: clock.EnsembleClock,
        not_owner: Callable[[], None],
        tell: Callable[[Effect, tuple[Target, ...]], None],
        show: frozenset[str] = frozenset(),
    ) -> None:
        self._registry = registry
        self._hosts = Hosts(registry, tree, show)
        self._store = store
        self._outbox = outbox
        self._dispatcher = dispatcher
        self._ensemble = ensemble
        self._not_owner = not_owner
        self._tell = tell
        self._route: Route = _nobody
        self._book = Rulebook(self._changed, lambda: secrets.token_hex(8))
        self._orphans: list[Alert] = []
        self._removed: dict[str, Rule] = {}
        self._changes: list[Change] = []
        self._stood: list[Alert] = []  # where series stood before changes that are not known to be written
        self._told: list[tuple[Effect, tuple[Target, ...]]] = []
        self._unconfirmed: list[tuple[Effect, tuple[Target, ...]]] = []
        self._owned: Owned | None = None
        self._is_connected = False
        self._read_back_at: float | None = None
        self._was_blind = True  # since the alerts were read back last
        self._blind_until = 0.0
        self._is_unjudged = False  # what there is, by the alerts that were read back
        self._said = ""
        self._samples = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            HostsSeen: self._hosts_seen,
            FamiliesSeen: lambda event: self._judge_unseen(self._hosts.families_seen(event)),
            HostInfoSeen: self._info_seen,
            AliveSeen: self._alive_seen,
            BadSampleSeen: self._hosts.bad_sample_seen,
            Gone: self._hosts.gone,
            ConnectionState: self._connection_changed,
            Owned: self._became_owner,
            NewRules: self._new_rules,
        }

    # The loop's three questions.

    def handle(self, event: Input) -> None:
        """Take in one event."""
        if isinstance(event, SampleSeen):
            self._sample_seen(event)
        else:
            self._handlers[type(event)](event)

    def settle(self, mono: float, *, is_drained: bool = True, is_read: bool = True) -> None:
        """After some events: fire what is due, write what changed, hand it on.

        While events wait (`is_drained` false) no timer is fired here: one of them may be a sample that ends the hold
        before its time. Each sample fires the timers that ended before it. Who was blind begins once all that is
        followed was read anew (`is_read`): what held when it was seen last may be over.
        """
        if self._is_unjudged:
            self._is_unjudged = False
            self._judge_unseen(self._hosts.everything())
        if self._read_back_at is not None and mono >= self._read_back_at:
            if self._was_blind and mono < self._blind_until and not (is_read and self._hosts.are_known):
                self._read_back_at = mono + READ_AGAIN
            else:
                self._read_back()
        if is_drained:
            self._fire_timers(mono)
        self._write()

    def stood_still(self, since: float) -> None:
        """After `since` (this process's clock) it did not run: whether what held then held on is not known."""
        self._book.blind(since)
        self._book.forgive(clock.monotonic() - since)
        # Whether a host is alive is told when it changes: to go on counting, it has to be judged once more.
        self._judge_unseen(self._hosts.lives())

    def next_at(self) -> float | None:
        """When (on this process's clock) `settle` wants to be called without an event."""
        due = self._book.next_at if self.is_active else None
        if self._read_back_at is not None:
            due = self._read_back_at if due is None else min(due, self._read_back_at)
        return clock.monotonic() if self._is_unjudged else due

    def recover(self) -> None:
        """After an error of our own: what is in memory may be half done, what stands in the tree is not."""
        self._changes.clear()
        self._told.clear()
        self._read_back_at = clock.monotonic() + RECOVER_AFTER

    @property
    def is_active(self) -> bool:
        """Whether states may change: connected, owner, and in step with what stands in the tree."""
        return self._is_connected and self._owned is not None and self._read_back_at is None

    # Samples.

    def _sample_seen(self, event: SampleSeen) -> None:
        observation = event.observation
        self._samples += 1
        self._hosts.good_sample_seen(event.path)
        host = self._hosts.get(observation.host)
        if host is None:
            return
        if not event.is_news:
            # It was there before we looked: it has spoken since it was written.
            at, arrived = observation.now
            observation = replace(observation, now=Moment(at, arrived - max(0.0, self._ensemble.at(arrived) - at)))
        if observation.sample.family == HOST_FAMILY:
            observation = self._hosts.with_life(host, observation, observation.now)
        host.latest[observation.sample.family] = observation
        watchers = host.watchers.get(observation.sample.family, ())
        if not self.is_active:
            self._book.absorb(observation, watchers, self._now())
        elif event.is_news:
            if self._book.next_at is not None:
                # Those that ended before it was written: it may have been on its way for a while.
                at, arrived = observation.now
                self._fire_timers(arrived - max(0.0, self._ensemble.at(arrived) - at))
            self._book.judge(observation, watchers, observation.now)
        else:
            self._judge_late(observation, watchers)

    def _judge_late(self, observation: Observation, watchers: Iterable[RuleWatcher]) -> None:
        """Judge a sample that was not seen when it was written, if it still speaks.

        What it says counts from now on: nobody watched the time before.
        """
        now = self._now()
        spent = max(0.0, now.mono - observation.now.mono)
        if spent < observation.sample.max_age:
            self._book.judge(observation, watchers, now, spent)
        else:
            self._book.absorb(observation, watchers, now)

    def _judge_unseen(self, samples: Iterable[Unseen]) -> None:
        # Who reads of which hosts is settled before the first is judged: a number over many needs all of them.
        for unseen in list(samples):
            if self.is_active:
                self._judge_late(unseen.observation, unseen.watchers)

    def _changed(self, rule: Rule, old: Alert, new: Alert, effects: tuple[Effect, ...]) -> None:
        """Note what has to be written of a change."""
        if effects or needs_write(old, new):
            self._stood.append(old)
            self._changes.append(Change(new, tuple(self._entries(rule, effects))))

    def _entries(self, rule: Rule, effects: Iterable[Effect]) -> Iterable[OutboxEntry]:
        for bare in effects:
            effect = self._hosts.with_facts(rule, bare)
            targets = self._route(rule, effect)
            self._told.append((effect, targets))
            if targets:
                deliveries = tuple(self._dispatcher.first_delivery(target, effect.at) for target in targets)
                yield OutboxEntry(effect=effect, deliveries=deliveries)

    # Timers.

    def _fire_timers(self, mono: float) -> None:
        if self.is_active and not self._is_unjudged:
            self._book.fire_timers(mono, self._ensemble.at)

    # Writing.

    def _write(self) -> None:
        if not self._changes:
            return
        changes, self._changes = self._changes, []
        told, self._told = self._told, []
        if self._owned is None:
            return
        try:
            self._store.commit(changes, self._owned.fence)
        except NotOwner:
            self._disown()
            self._not_owner()
        except (OutOfStep, KazooException, *UNCERTAIN) as error:
            # What was applied is not known: nothing of it is acted on before it has been read back.
            log.warning("a transition was not confirmed (%s); reading the alerts back", type(error).__name__)
            self._unconfirmed += told
            self._read_back_at = clock.monotonic() + READ_BACK_AGAIN
        else:
            entries = [entry for change in changes for entry in change.entries]
            self._stood.clear()
            self._removed.clear()
            self._outbox.file(entries)
            self._dispatcher.submit(entries, is_new=True)
            for effect, targets in told:
                self._tell(effect, targets)

    def _disown(self) -> None:
        self._owned = None
        self._outbox.disown()
        self._dispatcher.drop()
        self._stood.clear()
        self._changes.clear()
        self._told.clear()

    def _read_back(self) -> None:
        """Take the state from the tree: at take-over, and after a write that nobody can vouch for."""
        owned = self._owned
        if owned is None or not self._is_connected:
            self._read_back_at = None
            return
        try:
            entries = self._outbox.own(owned.fence)
            stored = self._store.load()
        except (KazooException, *UNCERTAIN) as error:
            reason = type(error).__name__
            if reason != self._said:
                self._said = reason
                log.warning("the alerts could not be read back (%s); trying again", reason)
            self._read_back_at = clock.monotonic() + READ_BACK_AGAIN
            return
        self._read_back_at = None
        self._said = ""
        self._changes.clear()
        self._told.clear()
        mono = clock.monotonic()
        now = Moment(self._ensemble.at(mono), mono)
        alerts: list[Alert] = []
        self._orphans = []
        stood = self._where_they_stood()
        for record in stored:
            if record.rule in self._book.watchers:
                alerts.append(_resumed(record, stood.get(_series(record), ()), owned.seen_at, now))
            elif record.rule in self._removed:
                alerts.append(record)
            else:
                self._orphans.append(record)
                log.warning("alert %s has no rule here: %s on %s", record.id, record.rule, record.host)
        self._book.restore(alerts, now, was_watched=not self._was_blind)
        self._was_blind = False
        self._dispatcher.submit(entries)
        self._confirm({entry.effect.id for entry in entries})
        for rule in list(self._removed.values()):
            self._close_removed(rule)
        self._close_uncovered()
        self._is_unjudged = True  # in the next round: what came while this was read is in the queue

    def _where_they_stood(self) -> dict[Series, list[Alert]]:
        """What is remembered of each series: where it stands, and where it stood before what may not be written."""
        stood: dict[Series, list[Alert]] = {}
        for alert in (*self._book.alerts(), *self._stood):
            stood.setdefault(_series(alert), []).append(alert)
        self._stood.clear()
        return stood

    def _confirm(self, written: set[str]) -> None:
        """Tell of transitions whose answer was lost and that turn out to have been written."""
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        for effect, targets in unconfirmed:
            if effect.id in written:
                self._tell(effect, targets)

    # Connection, ownership, rules.

    def _connection_changed(self, state: ConnectionState) -> None:
        self._is_connected = state is ConnectionState.CONNECTED
        if state is ConnectionState.CONNECTED:
            self._registry.rearm()
            if self._owned is not None:
                self._read_first()
        elif state is ConnectionState.LOST:
            self._disown()

    def _became_owner(self, owned: Owned) -> None:
        self._disown()
        self._owned = owned
        self._book.restore((), self._now())
        self._read_first()

    def _read_first(self) -> None:
        """Nobody watched until now: read the alerts back, and before that what is followed."""
        self._was_blind = True
        self._read_back_at = clock.monotonic()
        self._blind_until = self._read_back_at + READ_WITHIN

    def _new_rules(self, event: NewRules) -> None:
        self._route = event.route
        self._dispatcher.set_targets(event.targets)
        for name, rule in self._book.set_rules(event.rules).items():
            # Until its end is known to be written: whoever removed it meant it, though the session may end first.
            self._removed[name] = rule
            self._close_removed(rule)
        for name in self._book.watchers:
            self._removed.pop(name, None)
        self._close_uncovered()
        self._judge_unseen(self._hosts.set_rules(self._book.watchers))
        self._expect()
        if self._owned is not None:
            # Orphans may have found their rule, and timers their new durations.
            self._write()
            self._read_back_at = clock.monotonic() if self._read_back_at is None else self._read_back_at

    def _expect(self) -> None:
        now = self._now()
        for host in self._hosts.names():
            self._book.expect(host, now)

    def _now(self) -> Moment:
        mono = clock.monotonic()
        return Moment(self._ensemble.at(mono), mono)

    def _close(self, rule: Rule, alert: Alert, reason: Reason) -> None:
        self._book.close(rule, alert, self._ensemble.now(), reason)

    def _close_removed(self, rule: Rule) -> None:
        for alert in self._book.alerts_of(rule.name):
            if self.is_active:
                host = self._hosts.get(alert.host)
                info = None if host is None else host.info
                own = variant(rule, info or HostInfo(name=alert.host), alert.instance)
                self._close(own, alert, Reason.RULE_REMOVED)
        self._book.drop(rule.name)

    def _close_uncovered(self) -> None:
        """End the alerts of series that their rule does not look at any more: nothing else ever would."""
        if not self.is_active:
            return
        for name, watcher in self._book.watchers.items():
            for alert in self._book.alerts_of(name):
                if (reason := self._why_uncovered(watcher, alert)) is not None:
                    self._close(watcher.variant(alert.host, alert.instance), alert, reason)

    def _why_uncovered(self, watcher: RuleWatcher, alert: Alert) -> Reason | None:
        """Why no sample will speak of an alert any more; None where one may, or where that is not known yet."""
        if watcher.series_host(alert.host) != alert.host or not watcher.covers(alert.instance):
            return Reason.RULE_CHANGED  # it may have been about one host, and be about many
        if alert.host == MEMBERS_HOST:
            if not self._hosts.are_known or watcher.looks_at(alert.host, alert.instance):
                return None
            return Reason.HOST_REMOVED if alert.digest == watcher.rule.digest else Reason.RULE_CHANGED
        host = self._hosts.get(alert.host)
        if host is None:
            return Reason.HOST_REMOVED if self._hosts.are_listed else None
        return None if host.info is None or watcher.follows(host.info) else Reason.RULE_CHANGED

    def _hosts_seen(self, event: HostsSeen) -> None:
        """Hosts came, or somebody removed some: `hosts/<host>` outlives its sampler."""
        removed = self._hosts.hosts_seen(event)
        if removed:
            self._close_uncovered()  # while it is known which overrides were theirs, and so who was told
            for host in removed:
                self._book.forget(host)
            self._close_uncovered()  # numbers over many that have lost the last of their hosts

    def _info_seen(self, event: HostInfoSeen) -> None:
        self._judge_unseen(self._hosts.info_seen(event))
        self._book.expect(event.host, self._now())
        self._close_uncovered()

    def _alive_seen(self, event: AliveSeen) -> None:
        now = self._now()
        observation = self._hosts.alive_seen(event, now)
        host = self._hosts.get(event.host)
        if observation is not None and host is not None and self.is_active:
            self._book.judge(observation, host.watchers.get(HOST_FAMILY, ()), now)

    def status(self) -> Status:
        """A picture of this moment."""
        mono = clock.monotonic()
        return Status(
            now=self._ensemble.at(mono),
            mono=mono,
            is_connected=self._is_connected,
            is_owner=self._owned is not None,
            rules=len(self._book.watchers),
            hosts=self._hosts.status(),
            alerts=tuple(self._book.alerts()),
            orphans=tuple(self._orphans),
            watches=len(self._registry),
            samples=self._samples,
            problems=self._hosts.problems(),
        )


def _series(alert: Alert) -> Series:
    return alert.rule, alert.host, alert.instance


def _resumed(record: Alert, stood: Iterable[Alert], seen_at: float, now: Moment) -> Alert:
    """A record as it goes on here; whoever watched it all the while knows more than was written."""
    for known in stood:
        if known.state is not State.INACTIVE and not needs_write(record, known):
            return known
    return resume(record, seen_at, now)


def _nobody(rule: Rule, effect: Effect) -> tuple[Target, ...]:  # noqa: ARG001 - until rules are loaded
    return ()
