"""Rules run over samples of a test or of the past, on a clock of its own.

Comes in: rules, hosts, samples, moments, in the order of time. Goes out: what became of each alert, and each message
that goes out or is held back. It is the way of the engine (rulebook, gate, routing), with nothing sent or stored.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from zkalert.evaluate import Alarm, alarm_of, instance_kind
from zkalert.metrics import HOST_FAMILY
from zkalert.model import (
    Ack,
    Alert,
    Effect,
    HostInfo,
    Moment,
    Observation,
    Phase,
    Route,
    Rule,
    Sample,
    Silence,
    State,
    Target,
)
from zkalert.routing import Decision, Gate, effect_targets
from zkalert.rulebook import Rulebook, RuleWatcher, alive_sample, readers, with_facts

_ENDS = (Phase.RESOLVED, Phase.CLOSED)


class Change(NamedTuple):
    """One transition: where a series stood, and where it stands since `at`."""

    at: float
    old: Alert
    new: Alert


class Outcome(NamedTuple):
    """What became of one effect at `at`: `targets` would hear it, or `decision` says why nobody does."""

    at: float
    decision: Decision
    targets: tuple[Target, ...]
    problems: tuple[str, ...]


class _Lane:
    """What one host says of one family: the last sample, when it came, and who reads it (None: to be asked anew)."""

    __slots__ = ("at", "host", "latest", "readers")

    def __init__(self, host: str, first: Sample, at: float) -> None:
        self.host = host
        self.latest = first
        self.at = at
        self.readers: list[tuple[RuleWatcher, Alarm | None]] | None = None

    def remind(self, watcher: RuleWatcher) -> None:
        """Show a reader the last sample, which it may have slept through."""
        watcher.observe(Observation(host=self.host, sample=self.latest, now=Moment(self.at, self.at)))


class Replay:
    """Rules, and what they make of what is told here; times are epoch seconds and never go back."""

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        channels: Mapping[str, Sequence[Target]],
        routes: Sequence[Route] = (),
        silences: Iterable[Silence] = (),
    ) -> None:
        self._rules = [rule for rule in rules if rule.enabled]
        self._channels = channels
        self._routes = routes
        self._numbers = itertools.count(1)
        self._book = Rulebook(self._changed, lambda: f"{next(self._numbers):016x}")
        self._book.set_rules(self._rules)
        self._hearing: dict[str, tuple[tuple[Target, ...], tuple[str, ...]]] = {}  # of effects that may go, by id
        self._gate = Gate(self._rules, instance_kind=instance_kind, reaches=self._reaches)
        self._gate.silence(silences)
        self._hosts: dict[str, HostInfo] = {}
        self._alarms = {rule.name: alarm_of(rule) for rule in self._rules}
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._awake: dict[tuple[str, str], set[str | None]] = {}  # by rule and host: instances that are not inactive
        self._gate_due = math.inf  # asked for only when the gate was told something: it looks through all that waits
        self._variants: dict[str, Rule] = {}
        self._changes: list[Change] = []
        self._outcomes: list[Outcome] = []
        self._at = 0.0

    def host(self, info: HostInfo, at: float) -> None:
        """A host comes, or has other labels now."""
        self.advance(at)
        if info.name in self._hosts:  # whoever is new has none
            for lane in self._lanes.values():
                if lane.host == info.name:
                    for watcher, alarm in lane.readers or ():
                        if alarm is not None:
                            lane.remind(watcher)
                    lane.readers = None
        self._hosts[info.name] = info
        for watcher in self._book.watchers.values():
            if watcher.follows(info):
                watcher.attach(info)
            else:
                watcher.forget(info.name)
        self._book.expect(info.name, Moment(at, at))

    def alive(self, host: str, at: float, *, is_alive: bool) -> None:
        """A host's sampler holds its session, or lost it."""
        self.advance(at)
        before = self._latest(host, HOST_FAMILY)
        self._judge(host, _with_life(before, host, at, is_alive=is_alive), at)

    def sample(self, host: str, sample: Sample, at: float) -> None:
        """A host says something."""
        due = self._book.next_at
        if (due is not None and due <= at) or self._gate_due <= at:
            self.advance(at)
        elif at > self._at:
            self._at = at
        if sample.family == HOST_FAMILY:
            before = self._latest(host, HOST_FAMILY)
            is_alive = before is None or before.values.get("alive") != 0
            sample = _with_life(sample, host, at, is_alive=is_alive)
        self._judge(host, sample, at)

    def acknowledge(self, acks: Mapping[str, Ack], at: float) -> None:
        """These are all acknowledgements that there are now, by episode."""
        self.advance(at)
        self._book.acknowledge(acks, Moment(at, at))

    def advance(self, at: float) -> None:
        """Let time pass until `at`: durations end, reminders come, what waited goes out."""
        while (due := self._due()) <= at:
            self._at = max(self._at, due)
            self._book.fire_timers(self._at, lambda mono: mono)
            self._decided(self._gate.settle(self._at))
        self._at = max(self._at, at)

    def _due(self) -> float:
        """When something happens without a sample."""
        due = self._book.next_at
        return self._gate_due if due is None else min(due, self._gate_due)

    def take(self) -> tuple[list[Change], list[Outcome]]:
        """What happened since this was asked last."""
        changes, self._changes = self._changes, []
        outcomes, self._outcomes = self._outcomes, []
        return changes, outcomes

    def alert(self, rule: str, host: str, instance: str | None) -> Alert | None:
        """Where a series stands; None where it is inactive."""
        return self._book.get(rule, host, instance)

    def alerts(self) -> list[Alert]:
        """All that are not inactive."""
        return list(self._book.alerts())

    def _judge(self, host: str, sample: Sample, at: float) -> None:
        lane = self._lanes.get((host, sample.family))
        if lane is None:
            lane = self._lanes[host, sample.family] = _Lane(host, sample, at)
        if lane.readers is None:
            # Whoever follows the host only now knows nothing of the sample before.
            watchers = readers(self._book.watchers, self._hosts[host], sample.family)
            lane.readers = [(watcher, self._alarms[watcher.rule.name]) for watcher in watchers]
            concerned = watchers
        else:
            concerned = self._concerned(lane, lane.readers, sample, at)
        lane.latest, lane.at = sample, at
        if concerned:
            now = Moment(at, at)
            self._book.judge(Observation(host=host, sample=sample, now=now), concerned, now)

    def _concerned(
        self, lane: _Lane, of: Iterable[tuple[RuleWatcher, Alarm | None]], sample: Sample, at: float
    ) -> list[RuleWatcher]:
        """Those who make something of a sample; the others would stand where they stand."""
        host, before, passed, awake = lane.host, lane.latest, at - lane.at, self._awake
        concerned = []
        for watcher, alarm in of:
            if alarm is None or (awake and (watcher.rule.name, host) in awake):
                concerned.append(watcher)
            elif alarm(sample, before, passed):
                lane.remind(watcher)
                concerned.append(watcher)
        return concerned

    def _latest(self, host: str, family: str) -> Sample | None:
        lane = self._lanes.get((host, family))
        return None if lane is None else lane.latest

    def _changed(self, rule: Rule, old: Alert, new: Alert, effects: tuple[Effect, ...]) -> None:
        if old.state is not new.state or old.episode != new.episode or old.severity is not new.severity:
            self._changes.append(Change(self._at, old, new))
            self._note_awake(new)
        for bare in effects:
            effect = self._with_facts(rule, bare)
            self._variants[effect.alert.episode] = rule
            self._hearing[effect.id] = effect_targets(rule, effect, self._channels, self._routes)
            self._decided(self._gate.offer(effect, self._at))

    def _note_awake(self, alert: Alert) -> None:
        key = (alert.rule, alert.host)
        if alert.state not in (State.INACTIVE, State.RESOLVED):
            self._awake.setdefault(key, set()).add(alert.instance)
        elif (instances := self._awake.get(key)) is not None:
            instances.discard(alert.instance)
            if not instances:
                del self._awake[key]

    def _decided(self, decisions: Iterable[Decision]) -> None:
        due = self._gate.next_at()
        self._gate_due = math.inf if due is None else due
        for decision in decisions:
            targets: tuple[Target, ...] = ()
            problems: tuple[str, ...] = ()
            effect = decision.effect
            if decision.is_sent and effect.phase in _ENDS:  # told to those who were told before
                rule = self._variants[effect.alert.episode]
                targets, problems = effect_targets(rule, effect, self._channels, self._routes)
            elif decision.is_sent:
                targets, problems = self._hearing[effect.id]
            if not decision.is_kept:
                self._hearing.pop(effect.id, None)
            self._outcomes.append(Outcome(self._at, decision, targets, problems))
        for effect, _ in self._gate.take_dropped():
            self._hearing.pop(effect.id, None)

    def _reaches(self, effect: Effect) -> frozenset[str]:
        return frozenset(target.id for target in self._hearing[effect.id][0])

    def _with_facts(self, rule: Rule, effect: Effect) -> Effect:
        host = effect.alert.host
        return with_facts(rule, effect, self._hosts.get(host), lambda family: self._latest(host, family))


def _with_life(sample: Sample | None, host: str, at: float, *, is_alive: bool) -> Sample:
    """What a host says of itself, and whether it is alive."""
    now = Moment(at, at)
    observation = None if sample is None else Observation(host=host, sample=sample, now=now)
    return alive_sample(observation, host, now, is_alive=is_alive).sample
