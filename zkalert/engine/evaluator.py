"""The one thread that owns the state of every alert.

Everything that happens comes to it through one queue, in one order: samples, hosts, connection states, ownership,
new rules. Nobody else changes an alert or a timer, so there are no locks here. It writes what it decided before
anybody acts on it, and hands the entries to the dispatcher after that.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from zkalert import clock, lifecycle
from zkalert.dispatch import Dispatcher
from zkalert.engine.choosing import Chooser
from zkalert.engine.chronicle import Chronicle
from zkalert.engine.closing import why_uncovered
from zkalert.engine.ensembles import Ensembles, EnsembleState, is_of, is_watched_here
from zkalert.engine.hosts import Hosts, Unseen
from zkalert.engine.inputs import ActionDone, Input, NewRules
from zkalert.engine.ledger import End, Ledger
from zkalert.engine.orphans import Orphans
from zkalert.engine.outlet import Outlet, Spoken, hearing
from zkalert.engine.people import People
from zkalert.engine.standing import resumed, series_of
from zkalert.engine.status import Status
from zkalert.evaluate import is_of_hosts, variant
from zkalert.lifecycle import needs_write
from zkalert.metrics import HOST_FAMILY
from zkalert.model import (
    Alert,
    Effect,
    HostInfo,
    Moment,
    Observation,
    Reason,
    Rule,
)
from zkalert.rulebook import Rulebook, RuleWatcher
from zkalert.rulefile import is_builtin
from zkalert.servers import ServersSeen
from zkalert.shards import Owned
from zkalert.store import AlertStore, Outbox
from zkalert.tree import Tree
from zkalert.watch import (
    Acl,
    AliveSeen,
    BadSampleSeen,
    FactSeen,
    FactsSeen,
    FamiliesSeen,
    Gone,
    HostInfoSeen,
    HostsSeen,
    Registry,
    SampleSeen,
    ZnodeSeen,
    ZnodesStirred,
)
from zkalert.zk import ConnectionState

log = logging.getLogger("zkalert.engine")

READ_BACK_AGAIN = 0.2
READ_AGAIN = 0.02
READ_WITHIN = 5.0  # what cannot be read must not keep the rest waiting
RECOVER_AFTER = 1.0
MOST_UNWRITTEN = 250  # changes that are written before more is looked at: in a storm somebody hears of the first
MOST_RESULTS = 5
"""Results of commands that the record of an alert keeps."""
MOST_LATE = 1000


class Evaluator:
    """Evaluates samples, steps alerts, writes transitions. All methods belong to one thread.

    `say` hears what became of each effect once it is written. `show` names families
    that are followed even where no rule reads them.
    """

    def __init__(  # noqa: PLR0913 - everything that the evaluator joins
        self,
        *,
        registry: Registry,
        ensembles: Ensembles,
        store: AlertStore,
        outbox: Outbox,
        dispatcher: Dispatcher,
        tree: Tree,
        ensemble: clock.EnsembleClock,
        not_owner: Callable[[], None],
        say: Callable[[Spoken], None],
        chronicle: Chronicle,
        show: frozenset[str] = frozenset(),
    ) -> None:
        self._registry = registry
        self._tree = tree
        self._hosts = Hosts(registry, tree, show)
        self._ensembles = ensembles
        self._dispatcher = dispatcher
        self._ensemble = ensemble
        self._not_owner = not_owner
        self._chronicle = chronicle
        self._outlet = Outlet(dispatcher, say, self._hear)
        self._choose = Chooser((), {}, ())
        self._ledger = Ledger(
            store=store,
            outbox=outbox,
            dispatcher=dispatcher,
            outlet=self._outlet,
            chronicle=chronicle,
            tree=tree,
        )
        self._book = Rulebook(self._changed, lambda: secrets.token_hex(8))
        self._orphans = Orphans()
        self._people = People(
            registry=registry,
            tree=tree,
            book=self._book,
            outlet=self._outlet,
            dispatcher=dispatcher,
            store=store,
            orphans=self._orphans,
            chronicle=chronicle,
            ensemble=ensemble,
            is_active=lambda: self.is_active,
            close=self._close,
        )
        self._removed: dict[str, Rule] = {}
        self._owned: Owned | None = None
        self._is_connected = False
        self._read_back_at: float | None = None
        self._was_blind = True  # since the alerts were read back last
        self._blind_since: float | None = None  # this process's clock; while its session lived on
        self._blind_until = 0.0
        self._is_unjudged = False  # what there is, by the alerts that were read back
        self._said = ""
        self._samples = 0
        self._late: deque[ActionDone] = deque(maxlen=MOST_LATE)  # for once the alerts are read back
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
            FactsSeen: self._people.facts_seen,
            FactSeen: self._people.fact_seen,
            ActionDone: self._action_done,
            ZnodeSeen: ensembles.znode_seen,
            Acl: ensembles.acl_seen,
            ZnodesStirred: ensembles.stirred,
            EnsembleState: self._ensemble_changed,
            ServersSeen: self._servers_seen,
        }

    def follow(self) -> None:
        """Begin to follow the tree; once, from any thread, when there is a connection."""
        self._people.follow()  # before all that they may keep quiet
        self._registry.follow_hosts()

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
            self._judge_unseen(self._ensembles.everything())
            self._people.judge_skew()
        for seen in self._ensembles.take(mono):
            self._take(seen.observation, seen.watchers)
        if self._read_back_at is not None and mono >= self._read_back_at:
            if self._was_blind and mono < self._blind_until and not (is_read and self._hosts.are_known):
                self._read_back_at = mono + READ_AGAIN
            else:
                self._read_back()
        if is_drained:
            self._fire_timers(mono, is_patient=True)
        if self.is_active:
            self._outlet.settle(self._ensemble.at(mono))
            self._people.settle(mono)
        self._write()

    def stood_still(self, since: float) -> None:
        """After `since` (this process's clock) it did not run: whether what held then held on is not known."""
        self._book.blind(since)
        self._book.forgive(clock.monotonic() - since)
        # What is told only when it changes has to be judged once more, to go on counting: lives of hosts, and znodes.
        self._judge_unseen((*self._hosts.lives(), *self._ensembles.everything()))

    def next_at(self) -> float | None:
        """When (on this process's clock) `settle` wants to be called without an event."""
        mono = clock.monotonic()
        if self._is_unjudged or (self._ledger.unwritten and self.is_active):
            return mono
        wanted = [self._read_back_at, self._ensembles.next_at()]
        if self.is_active:
            wanted.append(self._book.next_at)
            waits = self._outlet.next_at()
            wanted.append(None if waits is None else mono + max(0.0, waits - self._ensemble.at(mono)))
        return min((at for at in wanted if at is not None), default=None)

    def recover(self) -> None:
        """After an error of our own: what is in memory may be half done, what stands in the tree is not."""
        self._ledger.unwritten.clear()
        self._outlet.forget()
        self._read_back_at = clock.monotonic() + RECOVER_AFTER

    @property
    def is_active(self) -> bool:
        """Whether states may change: connected, owner, and in step with what stands in the tree."""
        return self._is_connected and self._owned is not None and self._read_back_at is None

    @property
    def is_full(self) -> bool:
        """Whether so much has to be written that what comes had better wait for `settle`."""
        return len(self._ledger.unwritten) >= MOST_UNWRITTEN

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
            observation = self._hosts.with_life(host, observation)
        host.latest[observation.sample.family] = observation
        watchers = host.watchers.get(observation.sample.family, ())
        if event.is_news or not self.is_active:
            self._take(observation, watchers)
        else:
            self._judge_late(observation, watchers)

    def _take(self, observation: Observation, watchers: Iterable[RuleWatcher]) -> None:
        """Judge what is new, or only remember it while states may not change."""
        if not self.is_active:
            self._book.absorb(observation, watchers, self._now())
            return
        if self._book.next_at is not None:
            # Those that ended before it was written: it may have been on its way for a while.
            at, arrived = observation.now
            self._fire_timers(arrived - max(0.0, self._ensemble.at(arrived) - at))
        self._book.judge(observation, watchers, observation.now)

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
        if not (effects or needs_write(old, new)):
            return
        full = [self._with_facts(rule, effect) for effect in effects]
        alert, entries = self._outlet.offer(rule, new, full, self._ensemble.now())
        if alert is not new:
            self._book.keep(alert)
        self._ledger.note(old, alert, entries, effects[-1].reason if effects else None)

    def _with_facts(self, rule: Rule, effect: Effect) -> Effect:
        if is_of_hosts(rule):
            return self._hosts.with_facts(rule, effect)
        return self._ensembles.with_facts(rule, effect)

    def _hear(self, effect: Effect) -> None:
        """What was kept goes out now: those who hear of it will hear of its end."""
        alert = self._orphans.get(effect.alert.episode)
        if alert is not None:
            heard = hearing(alert, effect.alert.heard)
            if heard is not alert:
                self._orphans.keep(heard)
                self._ledger.note(alert, heard)
            return
        alert = self._book.get(effect.alert.rule, effect.alert.host, effect.alert.instance)
        if alert is not None and alert.episode == effect.alert.episode:
            self._note(alert, hearing(alert, effect.alert.heard))

    def _note(self, old: Alert, new: Alert) -> None:
        """Something else than a look changed an alert."""
        if new is not old:
            self._book.keep(new)
            self._ledger.note(old, new)

    # Timers.

    def _fire_timers(self, mono: float, *, is_patient: bool = False) -> None:
        """Fire what is due at `mono`; `is_patient` leaves some for the next round where there is much to be written."""
        if not self.is_active or self._is_unjudged:
            return
        while (due := self._book.next_at) is not None and due <= mono and not (is_patient and self.is_full):
            self._book.fire_timers(due if is_patient else mono, self._ensemble.at)

    # Writing.

    def _write(self) -> None:
        if not self._ledger.unwritten:
            if self.is_active:
                self._outlet.flush()
            return
        end = self._ledger.write(self._owned)
        if end is End.WRITTEN:
            self._removed.clear()
        elif end is End.DOUBTED:
            self._read_back_at = clock.monotonic() + READ_BACK_AGAIN
        elif end is End.NOT_OURS:
            self._disown()
            self._not_owner()

    def _disown(self) -> None:
        if self._owned is not None:
            self._chronicle.ownership("lost")
        self._owned = None
        self._ledger.disown()

    def _read_back(self) -> None:
        """Take the state from the tree: at take-over, and after a write that nobody can vouch for."""
        owned = self._owned
        if owned is None or not self._is_connected:
            self._read_back_at = None
            return
        standing = self._ledger.load(owned)
        if standing is None:
            self._read_back_at = clock.monotonic() + READ_BACK_AGAIN
            return
        entries, stored = standing
        self._read_back_at = None
        mono = clock.monotonic()
        now = Moment(self._ensemble.at(mono), mono)
        stood = self._ledger.unwritten.where_they_stood(self._book.alerts())
        known = self._book.watchers.keys() | self._removed.keys()
        self._orphans.found((record for record in stored if record.rule not in known), mono)
        alerts = [
            resumed(record, stood.get(series_of(record), ()), owned.seen_at, now)
            if record.rule in self._book.watchers
            else record
            for record in stored
            if record.rule in known
        ]
        self._book.restore(alerts, now, was_watched=not self._was_blind)
        if self._blind_since is not None:
            self._book.blind(self._blind_since, is_watched_here)
            self._blind_since = None
        self._was_blind = False
        for record, alert in zip((one for one in stored if one.rule in known), alerts, strict=True):
            if (alert.heard, alert.actions) != (record.heard, record.actions):
                self._ledger.note(record, alert)  # it was not written, or nobody knows
        self._people.acknowledge()
        self._outlet.seed((*self._book.alerts(), *self._orphans), entries, now.at)
        self._dispatcher.submit(entries)
        for rule in list(self._removed.values()):
            self._close_removed(rule)
        self._close_uncovered()
        self._people.wish_again()
        late = list(self._late)
        self._late.clear()
        for done in late:
            self._action_done(done)
        self._is_unjudged = True  # in the next round: what came while this was read is in the queue

    # Connection, ownership, rules.

    def _connection_changed(self, state: ConnectionState) -> None:
        if self._is_connected and state is not ConnectionState.CONNECTED and self._blind_since is None:
            self._blind_since = clock.monotonic()
        self._is_connected = state is ConnectionState.CONNECTED
        self._ensembles.own_connection(state)
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
        self._choose = event.choose
        self._ensembles.configure(event.ensembles)
        self._outlet.set_rules(event.rules, event.choose)
        self._dispatcher.set_targets(event.choose.reached)
        for name, rule in self._book.set_rules(event.rules).items():
            # Until its end is known to be written: whoever removed it meant it, though the session may end first.
            self._removed[name] = rule
            self._close_removed(rule)
        for name in self._book.watchers:
            self._removed.pop(name, None)
        self._close_uncovered()
        unseen = self._ensembles.set_rules(self._book.watchers)
        self._judge_unseen((*self._hosts.set_rules(self._book.watchers), *unseen))
        self._expect()
        if self._owned is not None:
            # Orphans may have found their rule, and timers their new durations.
            self._write()
            self._read_back_at = clock.monotonic() if self._read_back_at is None else self._read_back_at

    def _expect(self) -> None:
        now = self._now()
        for host in (*self._hosts.names(), *self._ensembles.names()):
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
                if (reason := why_uncovered(watcher, alert, self._hosts)) is not None:
                    self._close(watcher.variant(alert.host, alert.instance), alert, reason)

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

    def _ensemble_changed(self, event: EnsembleState) -> None:
        """What held while another ensemble was seen may not hold while it is not."""
        if event.state is not ConnectionState.CONNECTED and self.is_active:
            self._book.blind(clock.monotonic(), lambda watcher, alert: is_of(watcher, alert, event.ensemble))
        self._ensembles.state_seen(event)

    def _servers_seen(self, event: ServersSeen) -> None:
        seen = self._ensembles.members_seen(event)
        if seen is not None:
            self._take(seen.observation, seen.watchers)

    # What commands did.

    def _action_done(self, event: ActionDone) -> None:
        """Note what a command did in the record of its alert, while that stands; say it where a brake held it."""
        if not self.is_active:
            self._late.append(event)
            return
        of = event.effect.alert
        alert = self._book.get(of.rule, of.host, of.instance)
        if alert is None or alert.episode != of.episode:
            return
        noted = replace(alert, actions=(*alert.actions, event.result)[-MOST_RESULTS:])
        watcher = self._book.watchers.get(alert.rule)
        if event.brake is None or watcher is None:
            self._note(alert, noted)
            return
        rule = watcher.variant(alert.host, alert.instance)
        effect = lifecycle.braked(rule, noted, event.result, self._ensemble.now())
        chosen = self._choose.braked(rule, effect, event.brake)
        full = self._with_facts(rule, effect)
        told, entries = self._outlet.offer(rule, noted, [full], self._ensemble.now(), chosen=chosen)
        self._book.keep(told)
        self._ledger.note(alert, told, entries)

    def status(self) -> Status:
        """A picture of this moment."""
        mono = clock.monotonic()
        return Status(
            now=self._ensemble.at(mono),
            mono=mono,
            is_connected=self._is_connected,
            is_owner=self._owned is not None,
            rules=sum(not is_builtin(watcher.rule) for watcher in self._book.watchers.values()),
            hosts=self._hosts.status(),
            alerts=tuple(self._book.alerts()),
            orphans=tuple(self._orphans),
            watches=len(self._registry) + len(self._ensembles),
            samples=self._samples,
            problems=self._hosts.problems(),
            znodes=self._ensembles.znodes(),
            unusable=self._ensembles.problems(),
            unreached=self._ensembles.unreached(),
        )
