"""Rules run over samples of a test or of the past, on a clock of its own.

Comes in: rules, hosts, samples, moments, in the order of time. Goes out: what became of each alert, and each message
that goes out or is held back. It is the way of the engine (rulebook, gate, routing), with nothing sent or stored.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from zkalert import model
from zkalert.evaluate import goes_by_instance, instance_kind
from zkalert.evaluate.compare import Judge, judge_of
from zkalert.metrics import HOST_FAMILY, Kind, field_of
from zkalert.model import (
    EMPTY,
    Alert,
    Comparator,
    Effect,
    HostInfo,
    Moment,
    Observation,
    Quiet,
    Rule,
    Sample,
    Silence,
    State,
    Target,
    Value,
)
from zkalert.routing import Decision, Gate, effect_targets
from zkalert.rulebook import Rulebook, RuleWatcher, alive_sample, readers

_TRUE = model.Outcome.TRUE


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
    """What one host says of one family: the last sample, and who reads it (None: to be asked anew)."""

    __slots__ = ("latest", "readers")

    def __init__(self) -> None:
        self.latest: Sample | None = None
        self.readers: list[tuple[RuleWatcher, _Alarm | None]] | None = None


class Replay:
    """Rules, and what they make of what is told here; times are epoch seconds and never go back."""

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        channels: Mapping[str, Sequence[Target]],
        silences: Iterable[Silence] = (),
    ) -> None:
        self._rules = [rule for rule in rules if rule.enabled]
        self._channels = channels
        self._numbers = itertools.count(1)
        self._book = Rulebook(self._changed, lambda: f"{next(self._numbers):016x}")
        self._book.set_rules(self._rules)
        self._gate = Gate(self._rules, instance_kind=instance_kind)
        self._gate.silence(silences)
        self._hosts: dict[str, HostInfo] = {}
        self._alarms = {rule.name: _alarm(rule) for rule in self._rules}
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
            for (name, _), lane in self._lanes.items():
                if name == info.name:
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
            lane = self._lanes[host, sample.family] = _Lane()
        lane.latest = sample
        if lane.readers is None:
            watchers = readers(self._book.watchers, self._hosts[host], sample.family)
            lane.readers = [(watcher, self._alarms[watcher.rule.name]) for watcher in watchers]
        awake = self._awake
        concerned = [
            watcher
            for watcher, alarm in lane.readers
            if alarm is None or alarm(sample) or (awake and (watcher.rule.name, host) in awake)
        ]
        if concerned:
            now = Moment(at, at)
            self._book.judge(Observation(host=host, sample=sample, now=now), concerned, now)

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
            if decision.is_sent:
                rule = self._variants[decision.effect.alert.episode]
                targets, problems = effect_targets(rule, decision.effect, self._channels)
            self._outcomes.append(Outcome(self._at, decision, targets, problems))

    def _with_facts(self, rule: Rule, effect: Effect) -> Effect:
        alert = effect.alert
        info = self._hosts.get(alert.host)
        latest = self._latest(alert.host, alert.metric.family)
        labels = EMPTY if latest is None else latest.labels.get(alert.instance or "", EMPTY)
        readings: dict[str, Value] = {}
        for metric in rule.reads:
            seen = self._latest(alert.host, metric.family)
            if seen is not None:
                values = seen.instances.get(alert.instance or "") or seen.values
                if metric.field in values:
                    readings[str(metric)] = values[metric.field]
        return replace(
            effect,
            host_labels=EMPTY if info is None else info.labels,
            instance_labels=labels,
            readings=readings,
        )


def _with_life(sample: Sample | None, host: str, at: float, *, is_alive: bool) -> Sample:
    """What a host says of itself, and whether it is alive."""
    now = Moment(at, at)
    observation = None if sample is None else Observation(host=host, sample=sample, now=now)
    return alive_sample(observation, host, now, is_alive=is_alive).sample


def _any_of(judges: Sequence[Judge]) -> Judge:
    return lambda value: _TRUE if any(judge(value) is _TRUE for judge in judges) else model.Outcome.FALSE


_Alarm: TypeAlias = "Callable[[Sample], bool]"
"""Whether a sample crosses the threshold of a rule, in any of its series."""


def _alarm(rule: Rule) -> _Alarm | None:
    """The alarm of a rule that such a sample alone can wake; None where a rule has to see every sample.

    A rule that remembers nothing, while all its series are inactive, makes something of a sample only if it crosses.
    Most rules are so, and most of the time: asking the comparator alone is several times faster than a verdict.
    """
    condition = rule.conditions[0]
    term = condition.term
    field = field_of(term.metric)
    is_plain = (
        len(rule.conditions) == 1
        and term.window is None
        and condition.relative_to is None
        and condition.comparator not in (Comparator.ABSENT, Comparator.CHANGED)
        and field.kind is not Kind.COUNTER
    )
    if not is_plain or rule.across is not None or rule.overrides or rule.no_data.then is not Quiet.KEEP:
        return None
    judges = [
        judge_of(condition.comparator, condition.threshold if step.threshold is None else step.threshold)
        for step in rule.steps
    ]
    judge = judges[0] if len(judges) == 1 else _any_of(judges)
    name, is_text = term.metric.field, field.kind is Kind.TEXT

    def whole(sample: Sample) -> bool:
        value = sample.values.get(name)
        return value is not None and (type(value) is str) is is_text and judge(value) is _TRUE

    def by_instance(sample: Sample) -> bool:
        for values in sample.instances.values():
            value = values.get(name)
            if value is not None and (type(value) is str) is is_text and judge(value) is _TRUE:
                return True
        return False

    return by_instance if goes_by_instance(rule, condition) else whole
