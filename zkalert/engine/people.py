"""What people say and wish, kept to: silences, acknowledgements, messages to be tried again, alerts to be closed.

Comes in: what the registry saw in the folders of facts. Goes out: words to the outlet, the rulebook, the dispatcher.
Belongs to the evaluator's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zkalert import clock
from zkalert.dispatch import Dispatcher
from zkalert.engine.chronicle import Chronicle
from zkalert.engine.facts import Facts, as_ack, as_silence
from zkalert.engine.orphans import Orphans, stand_in
from zkalert.engine.outlet import Outlet
from zkalert.metrics import ENGINE_FAMILY
from zkalert.model import Ack, Alert, Moment, Phase, Reason, Rule, Silence
from zkalert.rulebook import Rulebook, skew_sample
from zkalert.store import AlertStore
from zkalert.tree import Tree, escape
from zkalert.watch import FactSeen, FactsSeen, Registry

SWEEP_EVERY = 3600.0
SWEEP_ON = 2.0
AT_ONCE = 200
"""Facts that are deleted in one round."""
KEEP_FOR = 7 * 86400.0
KEEP_ACK = 3600.0  # one may come before its alert is seen here


class People:
    """Keeps to what people say. `is_active` tells whether states may change, `close` ends an alert."""

    def __init__(  # noqa: PLR0913 - all that people have a say in
        self,
        *,
        registry: Registry,
        tree: Tree,
        book: Rulebook,
        outlet: Outlet,
        dispatcher: Dispatcher,
        store: AlertStore,
        orphans: Orphans,
        chronicle: Chronicle,
        ensemble: clock.EnsembleClock,
        is_active: Callable[[], bool],
        close: Callable[[Rule, Alert, Reason], None],
    ) -> None:
        self._tree = tree
        self._book = book
        self._outlet = outlet
        self._dispatcher = dispatcher
        self._store = store
        self._orphans = orphans
        self._chronicle = chronicle
        self._ensemble = ensemble
        self._is_active = is_active
        self._close = close
        self._facts = Facts(registry, tree, self._fact_changed)
        self._sweep_at = 0.0

    def follow(self) -> None:
        """Begin to follow what people say; it may be nothing yet."""
        self._facts.follow()

    def facts_seen(self, event: FactsSeen) -> None:
        if self._facts.names_seen(event):
            self._heed()
        self._grant()

    def fact_seen(self, event: FactSeen) -> None:
        if self._facts.fact_seen(event):
            self._heed()

    def acknowledge(self) -> None:
        """Let the alerts have the acknowledgements that there are, once these are known."""
        if self._facts.are_acks_known:
            mono = clock.monotonic()
            self._book.acknowledge(self._facts.acks(), Moment(self._ensemble.at(mono), mono))

    def wish_again(self) -> None:
        """What was wished for may not have been done."""
        self._facts.ask_again()
        self._grant()

    def settle(self, mono: float) -> None:
        """Close what has stood without a rule for long, and clear away what is of no use any more."""
        self._close_orphans((), mono)
        if mono >= self._sweep_at:
            self._sweep(mono)

    def judge_skew(self) -> None:
        """Whether the engines run the same rules is told when one of them changes."""
        watchers = [watcher for watcher in self._book.watchers.values() if ENGINE_FAMILY in watcher.families]
        if self._is_active() and watchers:
            mono = clock.monotonic()
            now = Moment(self._ensemble.at(mono), mono)
            self._book.judge(skew_sample(now, has_skew=self._facts.has_skew), watchers, now)

    def _fact_changed(self, old: Silence | Ack | None, new: Silence | Ack | None) -> None:
        fact = new or old
        if isinstance(fact, Ack):
            alert = next((one for one in self._book.alerts() if one.episode == fact.episode), None)
            if alert is not None and new is not None and self._is_active():
                # A reminder may wait for its group still.
                reminder = f"{alert.episode}.{Phase.REPEATED.value}-{alert.repeats}"
                self._dispatcher.withhold(reminder, "acknowledged")
            self._chronicle.ack(as_ack(old), as_ack(new), alert)
        elif isinstance(fact, Silence):
            self._chronicle.silence(as_silence(old), as_silence(new))

    def _heed(self) -> None:
        self._outlet.silence(self._facts.silences())
        self.acknowledge()
        self.judge_skew()

    def _grant(self) -> None:
        """Do what people wished for: try what is dead once more, close what has no rule."""
        if not self._is_active():
            return
        for effect_id in self._facts.wishes(self._tree.resend):
            self._dispatcher.resend(effect_id)
        closes = self._facts.wishes(self._tree.closes)
        self._close_orphans(closes, clock.monotonic())
        if closes:
            self._store.delete_soon(f"{self._tree.closes}/{escape(name)}" for name in closes)

    def _close_orphans(self, episodes: Iterable[str], mono: float) -> None:
        for orphan in self._orphans.take(episodes, mono):
            self._close(stand_in(orphan), orphan, Reason.RULE_REMOVED)

    def _sweep(self, mono: float) -> None:
        """Delete what has been of no use for long: what was never delivered, silences that ended, acks of old."""
        self._sweep_at = mono + SWEEP_EVERY
        now = self._ensemble.at(mono)
        self._dispatcher.purge_dead(now - KEEP_FOR)
        ended = [self._tree.silence(one.id) for one in self._facts.silences() if one.ends_at < now - KEEP_FOR]
        episodes = {alert.episode for alert in self._book.alerts()}.union(one.episode for one in self._orphans)
        acks = self._facts.acks()
        over = [self._tree.ack(name) for name, ack in acks.items() if name not in episodes and ack.at < now - KEEP_ACK]
        useless = (*ended, *over)
        if len(useless) > AT_ONCE:
            self._sweep_at = mono + SWEEP_ON  # alerts must not wait for the rest
        self._store.delete_soon(useless[:AT_ONCE])
