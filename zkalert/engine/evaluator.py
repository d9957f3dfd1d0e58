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
from zkalert.engine.timers import Timers
from zkalert.lifecycle import close, inactive, needs_write, resume, step
from zkalert.model import (
    Alert,
    Effect,
    Moment,
    Observation,
    OutboxEntry,
    Outcome,
    Reason,
    Rule,
    State,
    Target,
    Verdict,
)
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
    RuleWatcher,
    SampleSeen,
)
from zkalert.zk import UNCERTAIN, ConnectionState, KazooException

log = logging.getLogger("zkalert.engine")

READ_BACK_AGAIN = 0.2
RECOVER_AFTER = 1.0

Route: TypeAlias = Callable[[Rule, Effect], tuple[Target, ...]]


class NewRules(NamedTuple):
    """Another set of rules, checked and whole; `route` says who hears an effect, `targets` are all of them."""

    rules: tuple[Rule, ...]
    route: Route
    targets: Mapping[str, Target]


Input: TypeAlias = Event | ConnectionState | Owned | NewRules


Instances: TypeAlias = "dict[str | None, Alert]"


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
        self._watchers: dict[str, RuleWatcher] = {}
        self._alerts: dict[str, dict[str, Instances]] = {}
        self._orphans: list[Alert] = []
        self._removed: dict[str, Rule] = {}
        self._timers = Timers()
        self._changes: list[Change] = []
        self._told: list[tuple[Effect, tuple[Target, ...]]] = []
        self._unconfirmed: list[tuple[Effect, tuple[Target, ...]]] = []
        self._owned: Owned | None = None
        self._is_connected = False
        self._read_back_at: float | None = None
        self._said = ""
        self._samples = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            HostsSeen: self._hosts_seen,
            FamiliesSeen: lambda event: self._judge_unseen(self._hosts.families_seen(event)),
            HostInfoSeen: self._info_seen,
            AliveSeen: self._hosts.alive_seen,
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

    def settle(self, mono: float, *, is_drained: bool = True) -> None:
        """After some events: fire what is due, write what changed, hand it on.

        While events wait (`is_drained` false) no timer is fired here: one of them may be a sample that ends the hold
        before its time. Each sample fires the timers that ended before it.
        """
        if self._read_back_at is not None and mono >= self._read_back_at:
            self._read_back()
        if is_drained:
            self._fire_timers(mono)
        self._write()

    def stood_still(self, since: float) -> None:
        """After `since` (this process's clock) it did not run: whether what held then held on is not known."""
        for name, watcher in self._watchers.items():
            for alert in self._alerts_of(name):
                hold = alert.hold
                if alert.state is State.PENDING and hold is not None:
                    cover = min(hold.cover, max(0.0, since - hold.mono))
                    shorter = replace(alert, hold=hold._replace(cover=cover))
                    self._put(watcher.rule, alert, shorter, ())

    def next_at(self) -> float | None:
        """When (on this process's clock) `settle` wants to be called without an event."""
        due = self._timers.next_at if self.is_active else None
        if self._read_back_at is not None:
            due = self._read_back_at if due is None else min(due, self._read_back_at)
        return due

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
        host.latest[observation.sample.family] = observation
        if not self.is_active:
            return
        watchers = host.watchers.get(observation.sample.family, ())
        if event.is_news:
            if self._timers.next_at is not None:
                # Those that ended before it was written: it may have been on its way for a while.
                at, arrived = observation.now
                self._fire_timers(arrived - max(0.0, self._ensemble.at(arrived) - at))
            self._judge(observation, watchers, observation.now, 0.0)
        else:
            self._judge_late(observation, watchers)

    def _judge(self, observation: Observation, watchers: Iterable[RuleWatcher], now: Moment, spent: float) -> None:
        """What rules make of a sample at `now`, when it has spoken for `spent` seconds already."""
        name = observation.host
        for watcher in watchers:
            verdicts = watcher.observe(observation)
            rule = watcher.rule
            alerts = self._alerts[rule.name].get(name)
            for instance, verdict in verdicts:
                alert = None if alerts is None else alerts.get(instance)
                if alert is None:
                    if verdict.outcome is not Outcome.TRUE:
                        continue
                    alert = inactive(rule, name, instance)
                self._step(rule, alert, verdict._replace(cover=verdict.cover - spent) if spent else verdict, now)
            if alerts:
                self._judge_missing(rule, alerts, observation, now)

    def _judge_missing(self, rule: Rule, alerts: Instances, observation: Observation, now: Moment) -> None:
        if observation.sample.errors:
            return  # what could not be read, or was cut, is not gone
        there = observation.sample.instances
        verdict = Verdict(Outcome.MISSING, None, observation.sample.max_age)
        for instance in [instance for instance in alerts if instance is not None and instance not in there]:
            self._step(rule, alerts[instance], verdict, now)

    def _judge_late(self, observation: Observation, watchers: Iterable[RuleWatcher]) -> None:
        """Judge a sample that was not seen when it was written, if it still speaks.

        What it says counts from now on: nobody watched the time before.
        """
        mono = clock.monotonic()
        spent = max(0.0, mono - observation.now.mono)
        if spent < observation.sample.max_age:
            self._judge(observation, watchers, Moment(self._ensemble.at(mono), mono), spent)

    def _judge_unseen(self, samples: Iterable[Unseen]) -> None:
        for unseen in samples:
            if self.is_active:
                self._judge_late(unseen.observation, unseen.watchers)

    def _step(self, rule: Rule, alert: Alert, verdict: Verdict, now: Moment) -> None:
        is_new = alert.state is State.INACTIVE or alert.digest != rule.digest
        new, effects = step(rule, alert, verdict, now, secrets.token_hex(8) if is_new else alert.episode)
        if new is not alert:
            self._put(rule, alert, new, effects)

    def _put(self, rule: Rule, old: Alert, new: Alert, effects: tuple[Effect, ...]) -> None:
        """Keep where an alert stands now, and note what has to be written."""
        hosts = self._alerts.setdefault(new.rule, {})
        if new.state in (State.INACTIVE, State.RESOLVED):
            instances = hosts.get(new.host, {})
            instances.pop(new.instance, None)
            if not instances:
                hosts.pop(new.host, None)
        else:
            hosts.setdefault(new.host, {})[new.instance] = new
            self._timers.set(rule, new)
        if effects or needs_write(old, new):
            self._changes.append(Change(new, tuple(self._entries(rule, effects))))

    def _entries(self, rule: Rule, effects: Iterable[Effect]) -> Iterable[OutboxEntry]:
        for bare in effects:
            effect = self._hosts.with_labels(bare)
            targets = self._route(rule, effect)
            self._told.append((effect, targets))
            if targets:
                deliveries = tuple(self._dispatcher.first_delivery(target, effect.at) for target in targets)
                yield OutboxEntry(effect=effect, deliveries=deliveries)

    # Timers.

    def _fire_timers(self, mono: float) -> None:
        while self.is_active and (timer := self._timers.pop(mono)) is not None:
            watcher = self._watchers.get(timer.rule)
            alert = self._alerts.get(timer.rule, {}).get(timer.host, {}).get(timer.instance)
            if watcher is not None and alert is not None and alert.episode == timer.episode:
                verdict = Verdict(Outcome.ELAPSED, alert.value)
                self._step(watcher.rule, alert, verdict, Moment(self._ensemble.at(timer.due), timer.due))

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
            self._removed.clear()
            self._outbox.file(entries)
            self._dispatcher.submit(entries, is_new=True)
            for effect, targets in told:
                self._tell(effect, targets)

    def _disown(self) -> None:
        self._owned = None
        self._removed.clear()
        self._outbox.disown()
        self._dispatcher.drop()
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
        known = self._alerts
        self._alerts = {name: {} for name in self._watchers}
        self._orphans = []
        self._timers.clear()
        for record in stored:
            watcher = self._watchers.get(record.rule)
            if watcher is None and record.rule in self._removed:
                self._alerts.setdefault(record.rule, {}).setdefault(record.host, {})[record.instance] = record
                continue
            if watcher is None:
                self._orphans.append(record)
                log.warning("alert %s has no rule here: %s on %s", record.id, record.rule, record.host)
                continue
            before = known.get(record.rule, {}).get(record.host, {}).get(record.instance)
            if before is not None and before.episode == record.episode and before.hold is not None:
                alert = replace(record, hold=before.hold, value=before.value, peak=before.peak)
            else:
                alert = resume(record, owned.seen_at, now)
            self._alerts[alert.rule].setdefault(alert.host, {})[alert.instance] = alert
            self._timers.set(watcher.rule, alert)
        self._dispatcher.submit(entries)
        self._confirm({entry.effect.id for entry in entries})
        for rule in list(self._removed.values()):
            self._close_removed(rule)
        self._close_uncovered()
        self._judge_unseen(self._hosts.everything())

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
                self._read_back_at = clock.monotonic()
        elif state is ConnectionState.LOST:
            self._disown()

    def _became_owner(self, owned: Owned) -> None:
        self._disown()
        self._owned = owned
        self._alerts = {name: {} for name in self._watchers}
        self._read_back_at = clock.monotonic()

    def _new_rules(self, event: NewRules) -> None:
        before = self._watchers
        self._route = event.route
        self._dispatcher.set_targets(event.targets)
        self._watchers = {}
        for rule in event.rules:
            old = before.get(rule.name)
            self._watchers[rule.name] = RuleWatcher(rule) if old is None else old.successor(rule)
            self._alerts.setdefault(rule.name, {})
        for name in before.keys() - self._watchers.keys():
            if self._owned is not None:
                self._removed[name] = before[name].rule  # until its end is known to be written
            self._close_removed(before[name].rule)
        for name in self._watchers:
            self._removed.pop(name, None)
        self._close_uncovered()
        self._judge_unseen(self._hosts.set_rules(self._watchers))
        if self._owned is not None:
            # Orphans may have found their rule, and timers their new durations.
            self._write()
            self._read_back_at = clock.monotonic() if self._read_back_at is None else self._read_back_at

    def _close(self, rule: Rule, alert: Alert, reason: Reason) -> None:
        closed, effects = close(rule, alert, self._ensemble.now(), reason)
        self._put(rule, alert, closed, effects)

    def _close_removed(self, rule: Rule) -> None:
        for alert in self._alerts_of(rule.name):
            if self.is_active:
                self._close(rule, alert, Reason.RULE_REMOVED)
        self._alerts.pop(rule.name, None)

    def _close_uncovered(self) -> None:
        """End the alerts of series that their rule does not look at any more: nothing else ever would."""
        if not self.is_active:
            return
        for name, watcher in self._watchers.items():
            for alert in self._alerts_of(name):
                host = self._hosts.get(alert.host)
                is_followed = host is None or host.info is None or watcher.follows(host.info)
                if not is_followed or not watcher.covers(alert.instance):
                    self._close(watcher.rule, alert, Reason.RULE_CHANGED)

    def _hosts_seen(self, event: HostsSeen) -> None:
        """Hosts came, or somebody removed some: `hosts/<host>` outlives its sampler."""
        for host in self._hosts.hosts_seen(event):
            for name, watcher in self._watchers.items():
                for alert in self._alerts_of(name):
                    if alert.host == host and self.is_active:
                        self._close(watcher.rule, alert, Reason.HOST_REMOVED)

    def _info_seen(self, event: HostInfoSeen) -> None:
        self._judge_unseen(self._hosts.info_seen(event))
        self._close_uncovered()

    def _alerts_of(self, rule: str) -> list[Alert]:
        return [alert for instances in self._alerts.get(rule, {}).values() for alert in instances.values()]

    def status(self) -> Status:
        """A picture of this moment."""
        mono = clock.monotonic()
        return Status(
            now=self._ensemble.at(mono),
            mono=mono,
            is_connected=self._is_connected,
            is_owner=self._owned is not None,
            rules=len(self._watchers),
            hosts=self._hosts.status(),
            alerts=tuple(
                alert for hosts in self._alerts.values() for instances in hosts.values() for alert in instances.values()
            ),
            orphans=tuple(self._orphans),
            watches=len(self._registry),
            samples=self._samples,
            problems=self._hosts.problems(),
        )


def _nobody(rule: Rule, effect: Effect) -> tuple[Target, ...]:  # noqa: ARG001 - until rules are loaded
    return ()
