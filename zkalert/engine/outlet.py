"""From effects to the ledger: who hears of each, and what is withheld for now.

Comes in: an alert's change with its effects, silences, moments. Goes out: entries to be written in the transaction of
the change, and once that is known to be written, words to the dispatcher: release this, that will not be told. An
effect that is withheld and may go later has an entry too, whose deliveries are HELD: a successor finds it there.
Belongs to the evaluator's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple, Protocol

from zkalert.evaluate import instance_kind
from zkalert.model import (
    Alert,
    Delivery,
    DeliveryState,
    Effect,
    OutboxEntry,
    Phase,
    Rule,
    Silence,
    Target,
)
from zkalert.routing import Decision, Gate

_WAITS = "waits for a rule that may inhibit it"
RELEASED = "nothing withholds it any more"
_ENDS = (Phase.RESOLVED, Phase.CLOSED)


class Chosen(NamedTuple):
    """Who hears of an effect, and the ids of those among them that will hear of its end."""

    targets: tuple[Target, ...]
    heard: tuple[str, ...] = ()


class Desk(Protocol):
    """What an outlet asks of the dispatcher; nothing of it waits for ZooKeeper."""

    def first_delivery(self, target: Target, effect: Effect) -> Delivery: ...

    def hold(self, effect_id: str, why: str) -> None: ...

    def release(self, effect: Effect) -> None: ...

    def withhold(self, effect_id: str, why: str) -> None: ...


class Spoken(NamedTuple):
    """What became of an effect, for logs and tables: who will hear it, or why nobody does (yet)."""

    effect: Effect
    targets: tuple[Target, ...]
    why: str = ""


class Outlet:
    """Joins the gate, the routes and the dispatcher's desk.

    `say` hears what became of each effect, once that is written; `hear` of those that were kept and are about to go
    out: who hears of their end stands in `Alert.heard` of each, and is written before.
    """

    def __init__(self, desk: Desk, say: Callable[[Spoken], None], hear: Callable[[Effect], None]) -> None:
        self._desk = desk
        self._say = say
        self._hear = hear
        self._kept: dict[str, frozenset[str]] = {}  # the targets of effects that may go later, by the effect's id
        self._gate = Gate(
            (), instance_kind=instance_kind, reaches=lambda effect: self._kept.get(effect.id, frozenset())
        )
        self._choose: Callable[[Rule, Effect], Chosen] = nobody
        self._later: list[Decision] = []
        self._spoken: list[Spoken] = []
        self._unconfirmed: list[Spoken] = []
        self._decided: set[str] = set()  # released or given up, though the ledger may not say so yet

    def set_rules(self, rules: Iterable[Rule], choose: Callable[[Rule, Effect], Chosen]) -> None:
        self._gate.set_rules(rules)
        self._choose = choose

    def silence(self, silences: Iterable[Silence]) -> None:
        """The silences that there are now."""
        self._gate.silence(silences)

    def next_at(self) -> float | None:
        """When (the ensemble's epoch seconds) `settle` is due."""
        return self._gate.next_at()

    def offer(
        self, rule: Rule, alert: Alert, effects: Iterable[Effect], now: float, *, chosen: Chosen | None = None
    ) -> tuple[Alert, tuple[OutboxEntry, ...]]:
        """The entries of a change, and its alert with those who will hear of its end.

        `chosen` hear it in place of those whom rules and routes choose.
        """
        entries = []
        given = chosen
        for effect in effects:
            chosen = given or self._choose(rule, effect)
            # Whoever releases it later has to know, by whatever rules and routes there are then.
            offered = _heard_by(effect, chosen.heard)
            self._kept[effect.id] = frozenset(target.id for target in chosen.targets)
            decision, heard = self._judge(offered, now)
            if heard:
                # What was kept of this alert goes out before: who hears it hears of the end too, if this is one.
                alert = hearing(alert, heard) if alert.state.is_active else alert
                offered = _heard_by(offered, heard)
                decision = decision and replace(decision, effect=_heard_by(decision.effect, heard))
                chosen = given or self._choose(rule, offered)
            entry, is_sent = self._entry(offered, decision, chosen.targets)
            if is_sent and effect.phase not in _ENDS:
                alert = hearing(alert, chosen.heard)
            if entry is not None:
                entries.append(entry)
        return alert, tuple(entries)

    def _judge(self, effect: Effect, now: float) -> tuple[Decision | None, list[str]]:
        """What becomes of an effect, None while it waits; and who hears what goes out before it of the same alert."""
        decision: Decision | None = None
        heard: list[str] = []
        for one in self._gate.offer(effect, now):
            if one.effect.id == effect.id:
                decision = one
                continue
            self._later.append(one)
            if _begins(one) and one.effect.alert.episode == effect.alert.episode:
                heard += one.effect.alert.heard
        return decision, heard

    def _entry(
        self, effect: Effect, decision: Decision | None, targets: tuple[Target, ...]
    ) -> tuple[OutboxEntry | None, bool]:
        """What is written of an effect, if anything, and whether it goes out at once."""
        if decision is not None and (decision.is_sent or not decision.is_kept):
            del self._kept[effect.id]
        if decision is not None and not decision.is_sent and not decision.is_kept:
            self._spoken.append(Spoken(effect, (), decision.why))
            return None, False
        is_sent, why = False, _WAITS
        if decision is not None:
            effect, is_sent, why = _noted(decision), decision.is_sent, decision.why
        self._spoken.append(Spoken(effect, targets, why))
        if not targets:
            return None, is_sent
        deliveries = tuple(
            self._desk.first_delivery(target, effect) if is_sent else _held(target, why) for target in targets
        )
        return OutboxEntry(effect=effect, deliveries=deliveries), is_sent

    def settle(self, now: float) -> None:
        """Judge what waited and is due; `flush` lets it go, once it is written who will hear of its end."""
        decisions = self._gate.settle(now)
        self._later += decisions
        for one in decisions:
            if _begins(one):
                self._hear(one.effect)

    def flush(self) -> None:
        """All that was offered is written: say so, and let go what was kept."""
        spoken, self._spoken = self._spoken, []
        for one in (*self._unconfirmed, *spoken):
            self._say(one)
        self._unconfirmed = []
        later, self._later = self._later, []
        for decision in later:
            if decision.is_sent:
                effect = _noted(decision)
                self._decided.add(effect.id)
                if self._kept.pop(effect.id, None) == frozenset():
                    continue  # nobody hears it, so that nothing of it was written
                self._desk.release(effect)
                self._say(Spoken(effect, (), RELEASED))
            elif decision.is_kept:
                self._desk.hold(decision.effect.id, decision.why)
                self._say(Spoken(decision.effect, (), decision.why))
            else:
                self._drop(decision.effect, decision.why)
        for effect, why in self._gate.take_dropped():
            self._drop(effect, why)

    def _drop(self, effect: Effect, why: str) -> None:
        self._kept.pop(effect.id, None)
        if effect.id not in self._decided:
            self._decided.add(effect.id)
            self._desk.withhold(effect.id, why)
            self._say(Spoken(effect, (), why))

    def forget(self) -> None:
        """What was offered is not written, or nobody knows: `seed` begins anew from what stands in the tree."""
        self._later.clear()
        self._spoken.clear()
        self._gate.take_dropped()

    def doubt(self) -> None:
        """Nobody knows whether what was offered is written; `seed` finds out."""
        self._unconfirmed += self._spoken
        self.forget()

    def disown(self) -> None:
        """Another engine may decide what is kept."""
        self.forget()
        self._decided.clear()
        self._unconfirmed.clear()

    def seed(self, alerts: Iterable[Alert], entries: Iterable[OutboxEntry], now: float) -> None:
        """Begin with what stands in the tree: `entries` in the order in which they came to be."""
        known = {entry.effect.id: entry for entry in entries}
        self._decided &= known.keys()
        kept = [entry for entry in known.values() if is_kept(entry) and entry.effect.id not in self._decided]
        self._kept = {entry.effect.id: frozenset(one.target for one in entry.deliveries) for entry in kept}
        self._later += self._gate.seed(alerts, [entry.effect for entry in kept], now)
        self._unconfirmed = [one for one in self._unconfirmed if one.effect.id in known]


def hearing(alert: Alert, heard: Iterable[str]) -> Alert:
    """An alert of whose end these targets will hear too."""
    more = [target for target in heard if target not in alert.heard]
    return replace(alert, heard=(*alert.heard, *more)) if more else alert


def _noted(decision: Decision) -> Effect:
    """The effect of a decision, with what the gate has to add to it."""
    notes = filter(None, (decision.effect.note, decision.note))
    return replace(decision.effect, note="; ".join(notes))


def _heard_by(effect: Effect, heard: Iterable[str]) -> Effect:
    """An effect of whose alert's end these targets will hear too."""
    return replace(effect, alert=hearing(effect.alert, heard))


def _begins(decision: Decision) -> bool:
    """Whether it lets something go that has an end to come."""
    return decision.is_sent and decision.effect.phase not in _ENDS


def _held(target: Target, why: str) -> Delivery:
    return Delivery(target=target.id, kind=target.kind, name=target.name, state=DeliveryState.HELD, detail=why[:200])


def is_kept(entry: OutboxEntry) -> bool:
    return any(delivery.state is DeliveryState.HELD for delivery in entry.deliveries)


def nobody(rule: Rule, effect: Effect) -> Chosen:  # noqa: ARG001 - until rules are loaded
    return Chosen(())
