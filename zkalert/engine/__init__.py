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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from zkalert import clock
from zkalert.dispatch import Dispatcher, Sender, Told
from zkalert.engine.evaluator import Evaluator, Input, NewRules
from zkalert.engine.status import HostStatus, Status
from zkalert.metrics import format_limit, format_value
from zkalert.model import (
    Action,
    Channel,
    Effect,
    Phase,
    Rule,
    Target,
    ZkalertError,
    ZookeeperSettings,
)
from zkalert.render import unit_of, where
from zkalert.routing import channel_targets, effect_targets, targets
from zkalert.senders import make_sender, preload
from zkalert.shards import SHARD, Owner
from zkalert.store import AlertStore, NotOwner, Outbox
from zkalert.tree import Tree
from zkalert.watch import Registry
from zkalert.zk import UNCERTAIN, ConnectionState, KazooException, connect, leave, listen, make_client, open_tree

__all__ = ["Engine", "EngineSettings", "HostStatus", "Listener", "Status", "Told"]

log = logging.getLogger("zkalert.engine")
alerts_log = logging.getLogger("zkalert.alerts")

MOST_AT_ONCE = 500  # events taken from the queue before what they changed is written
STATUS_INTERVAL = 0.25
STOOD_STILL = 0.25  # seconds that a wake-up may be late, before the process counts as having been stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an engine works with: rules that were checked, and the channels.

    `folder` is where relative commands are found. `show` names families to follow for the eye, even without rules.
    """

    zookeeper: ZookeeperSettings
    host: str
    rules: tuple[Rule, ...]
    rules_digest: str = ""
    channels: Mapping[str, Channel] = field(default_factory=dict)
    folder: Path | None = None
    show: frozenset[str] = frozenset()


class Listener:
    """Hears what happens; overridden by who shows it. Called on the engine's threads: return at once."""

    def effect(self, effect: Effect, targets: tuple[Target, ...]) -> None:
        """An effect was written; these targets will hear it."""

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
        self._build(settings)

    def _build(self, settings: EngineSettings) -> None:
        """Join the whole way, from the znodes to the channels."""
        tree = Tree(settings.zookeeper.root)
        ensemble = clock.EnsembleClock()
        self._client = make_client(settings.zookeeper)
        self._tree = tree
        registry = Registry(self._client, tree, self._queue.put)
        outbox = Outbox(self._client, tree, SHARD)
        self._dispatcher = Dispatcher(
            outbox,
            self._make_sender,
            ensemble.now,
            tell=self._listener.told,
            not_now=(*UNCERTAIN, KazooException),
            not_ours=NotOwner,
        )
        self._owner = Owner(
            self._client,
            tree,
            ensemble,
            engine=f"{settings.host}-{os.getpid()}-{secrets.token_hex(3)}",
            host=settings.host,
            pid=os.getpid(),
            digest=lambda: self._settings.rules_digest,
            own=self._queue.put,
        )
        self._evaluator = Evaluator(
            registry=registry,
            store=AlertStore(self._client, tree, SHARD),
            outbox=outbox,
            dispatcher=self._dispatcher,
            tree=tree,
            ensemble=ensemble,
            not_owner=self._owner.lost,
            tell=self._effect,
            show=settings.show,
        )
        self._registry = registry

    def run(self) -> None:
        """Work until `stop`. Raises LayoutTooNew for a tree that this version does not know, ZkalertError for one
        that it may not use.
        """
        listen(self._client, self._connection_changed)
        self.reload(self._settings)
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
            event = self._queue.get(timeout=None if due is None else max(0.0, due - clock.monotonic()))
            for _ in range(MOST_AT_ONCE):
                self._handle(event)
                event = self._queue.get_nowait()
            self._handle(event)
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
        channels = {name: channel_targets(channel) for name, channel in settings.channels.items()}

        def route(rule: Rule, effect: Effect) -> tuple[Target, ...]:
            chosen, unknown = effect_targets(rule, effect, channels)
            for reason in unknown:
                log.error("%s: %s", effect.key, reason)
            return chosen

        rules = tuple(rule for rule in settings.rules if rule.enabled)
        _warn_of_what_is_not_kept_to(rules)
        reached = _all_targets(rules, channels)
        self._queue.put(NewRules(rules, route, reached))
        if any(target.url for target in reached.values()):
            threading.Thread(target=preload, name="zkalert-preload", daemon=True).start()

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
        self._registry.follow_hosts()
        self._owner.start()

    def _connection_changed(self, state: ConnectionState) -> None:
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
        return make_sender(target, cwd=self._settings.folder)

    def _effect(self, effect: Effect, chosen: tuple[Target, ...]) -> None:
        alert = effect.alert
        unit = unit_of(alert)
        alerts_log.log(
            logging.INFO if effect.phase in (Phase.RESOLVED, Phase.CLOSED) else logging.WARNING,
            "%s %s on %s: %s is %s (%s), %s%s",
            effect.name or effect.phase.value,
            alert.rule,
            where(alert, between=" "),
            alert.subject or alert.metric,
            format_value(alert.value, unit),
            f"{alert.comparator.value} {format_limit(alert.threshold, unit)}".strip(),
            effect.reason.value,
            "" if chosen else "; no channel hears it",
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
        self._listener.effect(effect, chosen)

    def _close(self) -> None:
        """In the order of the way: evaluate no more, finish sends that are short, give the lock back, leave."""
        self._stop.set()
        self._dispatcher.stop(1.5)
        self._owner.stop(1.0)
        leave(self._client, 1.0)


def _warn_of_what_is_not_kept_to(rules: Iterable[Rule]) -> None:
    """Nobody should count on a message being held back that goes out."""
    for key, names in (
        ("inhibited_by", [rule.name for rule in rules if rule.inhibited_by]),
        ("flap", [rule.name for rule in rules if rule.flap]),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            log.warning(
                "%s of %s%s: `zkalert test` and `backtest` keep to it, the engine does not yet: messages go out",
                key,
                names[0],
                more,
            )


def _all_targets(rules: Iterable[Rule], channels: Mapping[str, Sequence[Target]]) -> dict[str, Target]:
    """Every target that an effect may go to, by id: entries of an earlier run name them by that alone."""
    found = {target.id: target for channel in channels.values() for target in channel}
    for rule in rules:
        for actions in _all_actions(rule):
            for phase in Phase:
                found |= {target.id: target for target in targets(actions, phase, channels)[0]}
    return found


def _all_actions(rule: Rule) -> Iterable[tuple[Action, ...] | None]:
    yield rule.actions
    yield from (step.actions for step in rule.steps if step.actions is not None)
    yield from (one.actions for one in rule.overrides if one.actions is not None)
    yield from (escalation.actions for escalation in rule.escalate)
