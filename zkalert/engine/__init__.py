"""The whole way, joined: znodes -> watches -> evaluator -> records and outbox -> dispatcher -> senders.

Threads, in one place: kazoo's own read the connection and decode what was watched; all of them end in one queue. The
evaluator's thread takes from that queue and alone changes alerts and timers. The owner's thread holds the lock. Each
target has a worker for its deliveries. They hand each other frozen values.
"""

from __future__ import annotations

import logging
import os
import queue
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from zkalert import clock, config
from zkalert.config import ZookeeperLost
from zkalert.dispatch import Dispatcher, Sender, Told
from zkalert.engine.choosing import Chooser
from zkalert.engine.chronicle import Chronicle
from zkalert.engine.ensembles import Ensembles
from zkalert.engine.evaluator import Evaluator
from zkalert.engine.heartbeat import Heartbeat
from zkalert.engine.inputs import ActionDone, Input, NewRules
from zkalert.engine.lifeline import Lifeline
from zkalert.engine.outlet import Spoken
from zkalert.engine.status import HostStatus, Status
from zkalert.engine.thresholds import Thresholds
from zkalert.journal import Journal, Stamp
from zkalert.metrics import format_limit, format_value
from zkalert.model import (
    ActionResult,
    Channel,
    Effect,
    EnsembleSettings,
    Members,
    Phase,
    Route,
    Rule,
    Target,
    ZkalertError,
    ZookeeperSettings,
)
from zkalert.render import unit_of, where
from zkalert.rulefile import is_builtin
from zkalert.senders import make_sender, preload
from zkalert.senders.remote import Helpers, command_sender
from zkalert.shards import SHARD, Owned, Owner
from zkalert.store import AlertStore, NotOwner, Outbox
from zkalert.store.brakes import Brakes
from zkalert.store.requests import Requests
from zkalert.tree import Tree
from zkalert.watch import Registry
from zkalert.zk import (
    UNCERTAIN,
    ConnectionState,
    KazooException,
    connect,
    last_zxid,
    leave,
    listen,
    make_client,
    open_tree,
)

__all__ = ["Engine", "EngineSettings", "HostStatus", "Listener", "Status", "Told"]

log = logging.getLogger("zkalert.engine")
alerts_log = logging.getLogger("zkalert.alerts")

MOST_AT_ONCE = 500  # events taken from the queue before what they changed is written
STATUS_INTERVAL = 0.25
MOST_PATIENCE = 60.0  # seconds that a message or a round may take before nobody should count on this engine
MOST_DETAIL = 1000
MOST_TAIL = 1024
STOOD_STILL = 0.25  # seconds that a wake-up may be late, before the process counts as having been stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an engine works with: rules that were checked, the channels, and the ensembles that rules may watch.

    Without `may_run` no command runs. `journal` is the file of what was decided and done, None for none. `folder` is
    where relative commands are found. `show` names families to follow for the eye, even without rules.
    """

    zookeeper: ZookeeperSettings
    members: Members = field(default_factory=Members)
    ensembles: Mapping[str, EnsembleSettings] = field(default_factory=dict)
    host: str
    rules: tuple[Rule, ...]
    rules_digest: str = ""
    channels: Mapping[str, Channel] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    may_run: bool = True
    on_zookeeper_lost: ZookeeperLost | None = None
    heartbeat: config.Heartbeat | None = None
    journal: Path | None = None
    folder: Path | None = None
    show: frozenset[str] = frozenset()


class Listener:
    """Hears what happens; overridden by who shows it. Called on the engine's threads: return at once."""

    def effect(self, effect: Effect, targets: tuple[Target, ...], why: str = "") -> None:
        """An effect was written; these targets will hear it, unless `why` says what withholds it."""

    def told(self, told: Told) -> None:
        """One try at one target ended."""

    def status(self, status: Status) -> None:
        """The engine's picture of this moment, a few times a second; only where `wants_status` is set."""

    wants_status = False


class Engine:
    """Evaluates rules against a tree until it is stopped. `run` is its life; the other methods come from anywhere."""

    def __init__(self, settings: EngineSettings, listener: Listener | None = None) -> None:
        self._listener = listener or Listener()
        # The one queue: whatever changes what the evaluator knows goes through it, in the order it happened.
        self._queue: queue.SimpleQueue[Input | None] = queue.SimpleQueue()
        self._error: ZkalertError | None = None
        self._settings = settings
        self._stop = threading.Event()
        self._was_suspended = False
        self._turning_since: float | None = None  # monotonic; None while it waits for something to do
        self._heartbeat: Heartbeat | None = None
        self._choose = Chooser((), {}, ())
        self._build(settings)

    def _build(self, settings: EngineSettings) -> None:
        """Join the whole way, from the znodes to the channels."""
        tree = Tree(settings.zookeeper.root)
        ensemble = clock.EnsembleClock()
        # Before the client: by what it finds there it knows an ensemble that was made anew.
        journal = Journal(settings.journal) if settings.journal is not None else None
        self._client = make_client(settings.zookeeper)
        self._tree = tree
        self._ensemble = ensemble
        self._chronicle = Chronicle(journal, lambda: Stamp(ensemble.now(), last_zxid(self._client)))
        self._helpers = Helpers(
            lambda: self._settings.may_run,
            Requests(self._client, tree, ensemble.now),
            Brakes(self._client, tree, ensemble.now),
        )
        self._lifeline = Lifeline(zookeeper=settings.zookeeper.hosts, host=settings.host, make_sender=self._make_sender)
        registry = Registry(self._client, tree, self._queue.put)
        own = EnsembleSettings(zookeeper=settings.zookeeper, members=settings.members)
        self._ensembles = Ensembles(
            self._client, own, self._queue.put, ensemble, is_active=lambda: self._evaluator.is_active
        )
        outbox = Outbox(self._client, tree, SHARD)
        self._dispatcher = Dispatcher(
            outbox,
            self._make_sender,
            ensemble.now,
            tell=self._told,
            dropped=self._chronicle.dropped,
            not_now=(*UNCERTAIN, KazooException),
            not_ours=NotOwner,
        )
        self._name = f"{settings.host}-{os.getpid()}-{secrets.token_hex(3)}"
        self._owner = Owner(
            self._client,
            tree,
            ensemble,
            engine=self._name,
            host=settings.host,
            pid=os.getpid(),
            digest=lambda: self._settings.rules_digest,
            own=self._own,
        )
        self._evaluator = Evaluator(
            registry=registry,
            ensembles=self._ensembles,
            store=AlertStore(self._client, tree, SHARD),
            outbox=outbox,
            dispatcher=self._dispatcher,
            tree=tree,
            ensemble=ensemble,
            not_owner=self._owner.lost,
            say=self._spoken,
            chronicle=self._chronicle,
            show=settings.show,
        )
        self._registry = registry
        self._thresholds = Thresholds(self._client, tree)

    def run(self) -> None:
        """Work until `stop`. Raises LayoutTooNew for a tree that this version does not know, ZkalertError for one
        that it may not use.
        """
        listen(self._client, self._connection_changed)
        self.reload(self._settings)
        self._lifeline.start()
        opener = threading.Thread(target=self._open, name="zkalert-open", daemon=True)
        opener.start()
        next_status = clock.monotonic()
        try:
            while not self._stop.is_set():
                self._turn(next_status if self._listener.wants_status else None)
                if self._listener.wants_status and clock.monotonic() >= next_status:
                    self._listener.status(replace(self._evaluator.status(), waits_for=self._owner.waits_for))
                    next_status = clock.monotonic() + STATUS_INTERVAL
        finally:
            self._close()
        if self._error is not None:
            raise self._error

    def _turn(self, wake_at: float | None) -> None:
        """Take what came, and let the evaluator settle it; returns after one round."""
        began = clock.monotonic()
        due = self._evaluator.next_at()
        if wake_at is not None:
            due = wake_at if due is None else min(due, wake_at)
        try:
            self._turning_since = None
            event = self._queue.get(timeout=None if due is None else max(0.0, due - clock.monotonic()))
            self._turning_since = clock.monotonic()
            self._handle(event)
            for _ in range(MOST_AT_ONCE):
                if self._evaluator.is_full:
                    break
                self._handle(self._queue.get_nowait())
        except queue.Empty:
            pass
        if due is not None and clock.monotonic() - max(due, began) > STOOD_STILL and self._queue.empty():
            self._evaluator.stood_still(began)
        is_idle = self._registry.is_idle  # asked before the queue: what was answered until then is in there, or settled
        is_drained = self._queue.empty()
        try:
            self._evaluator.settle(clock.monotonic(), is_drained=is_drained, is_read=is_idle and is_drained)
        except Exception:
            log.exception("the alerts could not be settled; reading them back")
            self._evaluator.recover()

    def _handle(self, event: Input | None) -> None:
        """One event. The outermost frame of the evaluator: an error in one event must not end the alerting."""
        if event is None:
            return
        try:
            self._evaluator.handle(event)
        except Exception:
            log.exception("an event could not be taken in: %.200r", event)
            self._evaluator.recover()

    def reload(self, settings: EngineSettings) -> None:
        """Go on with other rules and channels; the caller has checked them. Connection settings stay as they are."""
        self._settings = settings
        rules = tuple(rule for rule in settings.rules if rule.enabled)
        choose = self._choose = Chooser(rules, settings.channels, settings.routes, self._choose.reached)
        self._queue.put(NewRules(rules, choose, settings.ensembles))
        self._thresholds.want(rules, settings.show)
        self._owner.show_soon()
        self._chronicle.reload(settings.rules_digest, sum(not is_builtin(rule) for rule in rules))
        lost = settings.on_zookeeper_lost
        names = () if lost is None else lost.channels
        tells = [target for name in names for target in choose.channel(name).targets]
        self._lifeline.configure(tells, 0.0 if lost is None else lost.after)
        self._beat(settings)
        if any(target.url for target in choose.reached.values()):
            threading.Thread(target=preload, name="zkalert-preload", daemon=True).start()

    def refused(self, problem: str) -> None:
        """Other rules or channels were to be had and cannot be used: noted in the journal, and nothing changes."""
        rules = sum(rule.enabled and not is_builtin(rule) for rule in self._settings.rules)
        self._chronicle.refused(self._settings.rules_digest, rules, problem)

    def _beat(self, settings: EngineSettings) -> None:
        """Begin to send heartbeats, or go on as the configuration says now."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None
        if settings.heartbeat is not None:
            self._heartbeat = Heartbeat(settings.heartbeat.url, settings.heartbeat.every, self._is_progressing)
            self._heartbeat.start()

    def _is_progressing(self) -> bool:
        """Whether what owns the tree evaluates and delivers; who stands by is not missed."""
        since, now = self._turning_since, clock.monotonic()
        is_stuck = since is not None and now - since > MOST_PATIENCE
        return self._evaluator.is_active and not is_stuck and now - self._dispatcher.progress_at < MOST_PATIENCE

    def stop(self) -> None:
        """End `run`, from any thread or a signal handler."""
        self._stop.set()
        self._queue.put(None)

    # On other threads.

    def _open(self) -> None:
        """Wait for ZooKeeper, look at the tree, and start to compete for it."""
        if not connect(self._client, self._stop):
            return
        while not self._stop.is_set():
            try:
                open_tree(self._client, self._tree)
                break
            except ZkalertError as error:
                self._error = error
                self.stop()
                return
            except UNCERTAIN:
                clock.wait(self._stop, 0.2)
            except KazooException as error:
                self._error = ZkalertError(
                    f"ZooKeeper refuses what an engine does below {self._tree.top} ({type(error).__name__}); "
                    "check zookeeper.auth and who may write there"
                )
                self.stop()
                return
        self._evaluator.follow()
        self._owner.start()
        self._thresholds.start()

    def _own(self, owned: Owned) -> None:
        self._chronicle.ownership("taken", self._name)
        self._thresholds.own(owned.fence)
        self._queue.put(owned)

    def _connection_changed(self, state: ConnectionState) -> None:
        self._chronicle.connection(state)
        self._lifeline.hear(state)
        if state is ConnectionState.LOST:
            self._owner.lost()
        if state is not ConnectionState.CONNECTED and not self._stop.is_set() and not self._was_suspended:
            self._was_suspended = True
            log.warning("the connection to ZooKeeper is gone; nothing is evaluated until it is back")
        elif state is ConnectionState.CONNECTED and self._was_suspended:
            self._was_suspended = False
            log.warning("ZooKeeper is back; going on")
        self._queue.put(state)

    def _make_sender(self, target: Target) -> Sender:
        if target.run is None:
            return make_sender(target)
        return command_sender(target.run, self._helpers, self._settings.folder)

    def _told(self, told: Told) -> None:
        """A try ended: noted, shown, and what a command did is handed to its alert."""
        self._chronicle.told(told)
        run, result = told.target.run, told.result
        if run is not None:
            for effect in told.effects:
                done = ActionResult(
                    name=told.target.name,
                    phase=effect.name or effect.phase.value,
                    at=self._ensemble.now(),
                    seconds=result.seconds,
                    exit_code=result.exit_code,
                    detail=result.detail[:MOST_DETAIL],
                    tail=result.tail[-MOST_TAIL:],
                )
                self._queue.put(ActionDone(effect, done, run.brake if result.is_braked else None))
        self._listener.told(told)

    def _spoken(self, spoken: Spoken) -> None:
        """What became of an effect: logged here, shown by the listener."""
        self._chronicle.spoken(spoken)
        effect, chosen, why = spoken
        alert = effect.alert
        unit = unit_of(alert)
        is_over = effect.phase in (Phase.RESOLVED, Phase.CLOSED)
        alerts_log.log(
            logging.INFO if is_over else logging.WARNING,
            "%s %s on %s: %s is %s (%s), %s%s",
            effect.name or effect.phase.value,
            alert.rule,
            where(alert, between=" "),
            alert.subject or alert.metric,
            format_value(alert.value, unit),
            f"{'was ' if is_over else ''}{alert.comparator.value} {format_limit(alert.threshold, unit)}".strip(),
            effect.reason.value,
            f"; {why}" if why else "" if chosen else "; no channel hears it",
            extra={
                "alert": alert.id,
                "rule": alert.rule,
                "host": alert.host,
                "instance": alert.instance,
                "phase": effect.phase.value,
                "severity": alert.severity.value,
                "value": alert.value,
                "key": effect.key,
            },
        )
        self._listener.effect(effect, chosen, why)

    def _close(self) -> None:
        """In the order of the way: evaluate no more, finish sends that are short, give the lock back, leave."""
        self._stop.set()
        self._lifeline.stop()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._ensembles.close()
        self._thresholds.stop()
        self._dispatcher.stop(1.5)
        self._owner.stop(1.0)
        leave(self._client, 1.0)
        self._chronicle.close(1.0)
