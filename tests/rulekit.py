"""What the tests of the core share: rules, samples and moments in few words, a rulebook driven as by the engine."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from zkalert.evaluate import Verdicts, look_of, variant
from zkalert.lifecycle import inactive, step
from zkalert.metrics import Unit, field_of, parse_metric, windowed_unit
from zkalert.model import (
    Alert,
    Comparator,
    Condition,
    Effect,
    HostInfo,
    Moment,
    Observation,
    Outcome,
    Phase,
    Rule,
    Sample,
    Severity,
    Stat,
    State,
    Step,
    Term,
    Threshold,
    Value,
    Verdict,
    Window,
)
from zkalert.rulebook import Rulebook, readers

COVER = 15.0
"""Seconds that a sample speaks, unless a test says otherwise."""

OFFSET = 1_700_000_000.0
"""What the ensemble's clock shows where this process's clock shows 0."""

LEGAL = {
    (State.INACTIVE, State.PENDING),
    (State.INACTIVE, State.FIRING),
    (State.PENDING, State.INACTIVE),
    (State.PENDING, State.FIRING),
    (State.FIRING, State.CLEARING),
    (State.CLEARING, State.FIRING),
    (State.FIRING, State.RESOLVED),
    (State.CLEARING, State.RESOLVED),
    (State.FIRING, State.PENDING),  # an end, and the begin of another episode
    (State.CLEARING, State.PENDING),
}
"""Every way from one state of an alert to another."""


def moment(mono: float, jump: float = 0.0) -> Moment:
    return Moment(OFFSET + mono + jump, mono)


def term(metric: str, over: float | None = None, stat: Stat = Stat.AVG, parameter: float = 0.0) -> Term:
    window = None if over is None else Window(over=over, stat=stat, parameter=parameter)
    return Term(metric=parse_metric(metric), window=window)


def condition(
    metric: str | Term = "memory_usage",
    comparator: str = ">",
    threshold: Threshold = 90.0,
    clear: Threshold = None,
    *,
    relative_to: Term | None = None,
) -> Condition:
    """A condition; the unit of a quotient is percent."""
    above = metric if isinstance(metric, Term) else term(metric)
    unit = Unit.PERCENT if relative_to is not None else windowed_unit(field_of(above.metric), above.window)
    return Condition(
        term=above,
        relative_to=relative_to,
        comparator=Comparator(comparator),
        threshold=threshold,
        clear=clear,
        unit=unit.value,
        subject=str(above.metric),
    )


def rule(*conditions: Condition, name: str = "r", digest: str = "d1", **more: Any) -> Rule:
    """A rule; `duration`, `clear_duration` and `severity` are those of its only step."""
    of_step = {key: more.pop(key) for key in ("duration", "clear_duration", "severity") if key in more}
    if of_step:
        more["steps"] = (Step(**of_step),)
    return Rule(name=name, conditions=conditions or (condition(),), digest=digest, **more)


LADDER = rule(
    condition(threshold=None),
    name="ladder",
    steps=(
        Step(severity=Severity.WARNING, threshold=80.0, clear=70.0, duration=0.0, clear_duration=0.0),
        Step(severity=Severity.CRITICAL, threshold=95.0, clear=90.0, duration=20.0, clear_duration=10.0),
    ),
)
"""Two steps; the higher one has both durations."""


def seen(
    family: str,
    mono: float = 100.0,
    *,
    host: str = "web1",
    instances: Mapping[str, Mapping[str, Value]] | None = None,
    cover: float = COVER,
    errors: tuple[str, ...] = (),
    **values: Value,
) -> Observation:
    """A sample of a family as it is seen, at the very moment that it was taken."""
    now = moment(mono)
    sample = Sample(
        family=family,
        at=now.at,
        interval=5,
        max_age=cover,
        values=values,
        instances=instances or {},
        errors=errors,
    )
    return Observation(host=host, sample=sample, now=now)


class Looker:
    """One rule that looks at one host; hands back what each sample says."""

    def __init__(self, rule: Rule, host: HostInfo | None = None) -> None:
        info = HostInfo(name="web1") if host is None else host
        self.look = look_of(rule, lambda instance: variant(rule, info, instance)).look

    def at(self, family: str, mono: float = 100.0, **more: Any) -> Verdicts:
        return self.look(seen(family, mono, **more))

    def verdict(self, family: str, mono: float = 100.0, **more: Any) -> Verdict | None:
        """The only verdict of a sample, None where there is none."""
        verdicts = self.at(family, mono, **more)
        assert len(verdicts) <= 1
        return verdicts[0][1] if verdicts else None

    def outcome(self, family: str, mono: float = 100.0, **more: Any) -> Outcome | None:
        verdict = self.verdict(family, mono, **more)
        return None if verdict is None else verdict.outcome


class Series:
    """One series walked through looks; keeps what was told."""

    def __init__(self, rule: Rule, instance: str | None = None) -> None:
        self.rule = rule
        self.alert = inactive(rule, "web1", instance)
        self.told: list[Effect] = []
        self.looks = 0

    def take(self, verdict: Verdict, now: Moment) -> State:
        """One look; an alert that has resolved is inactive for the next one, as it is for the engine."""
        self.looks += 1
        if self.alert.state is State.RESOLVED:
            self.alert = inactive(self.rule, self.alert.host, self.alert.instance)
        self.alert, effects = step(self.rule, self.alert, verdict, now, f"{self.looks:016x}")
        self.told += effects
        return self.alert.state

    def look(self, outcome: Outcome, mono: float, value: Value | None = 95.0, jump: float = 0.0) -> State:
        return self.take(Verdict(outcome, value, COVER), moment(mono, jump))

    def looks_at(self, outcome: Outcome, *monos: float) -> list[State]:
        return [self.look(outcome, mono) for mono in monos]

    def marks(self, mono: float, *marks: Outcome) -> State:
        """What a ladder sees: the outcome of each step."""
        return self.take(Verdict(marks[0], 95.0, COVER, marks), moment(mono))

    @property
    def phases(self) -> list[Phase]:
        return [effect.phase for effect in self.told]

    @property
    def names(self) -> list[str]:
        return [effect.name or effect.phase.value for effect in self.told]


def in_state(state: State) -> Series:
    """A series of a rule with both durations that is in a state since 0, whose firing was told."""
    series = Series(rule(duration=60.0 if state is State.PENDING else 0.0, clear_duration=60.0))
    if state is not State.INACTIVE:
        series.look(Outcome.TRUE, 0)
    if state is State.CLEARING:
        series.look(Outcome.FALSE, 0)
    assert series.alert.state is state
    series.told.clear()
    return series


class Book:
    """A rulebook driven as the engine does: what ended before a sample is fired before the sample is judged."""

    def __init__(self, *rules: Rule, hosts: tuple[str, ...] = ("web1",)) -> None:
        self.told: list[Effect] = []
        self.changes: list[tuple[Alert, Alert]] = []
        self.hosts: dict[str, HostInfo] = {}
        numbers = itertools.count(1)
        self.book = Rulebook(self._put, lambda: f"{next(numbers):016x}")
        self.book.set_rules(rules)
        for host in hosts:
            self.attach(host)

    def _put(self, rule: Rule, old: Alert, new: Alert, effects: tuple[Effect, ...]) -> None:
        assert new is not old
        self.changes.append((old, new))
        self.told += effects

    def attach(self, host: str, **labels: str) -> None:
        self.hosts[host] = HostInfo(name=host, labels=labels)
        for watcher in self.book.watchers.values():
            if watcher.follows(self.hosts[host]):
                watcher.attach(self.hosts[host])
            else:
                watcher.forget(host)

    def set_rules(self, *rules: Rule) -> dict[str, Rule]:
        gone = self.book.set_rules(rules)
        for host in list(self.hosts.values()):
            self.attach(host.name, **host.labels)
        return gone

    def see(self, family: str, mono: float, **more: Any) -> None:
        observation = seen(family, mono, **more)
        self.wait(mono)
        watchers = readers(self.book.watchers, self.hosts[observation.host], family)
        self.book.judge(observation, watchers, observation.now)

    def wait(self, mono: float) -> None:
        """Let time pass until `mono` without a sample."""
        self.book.fire_timers(mono, lambda mono: OFFSET + mono)

    def alert(self, host: str = "web1", instance: str | None = None, name: str = "r") -> Alert | None:
        return self.book.get(name, host, instance)

    def state(self, host: str = "web1", instance: str | None = None, name: str = "r") -> State:
        alert = self.alert(host, instance, name)
        return State.INACTIVE if alert is None else alert.state

    @property
    def phases(self) -> list[Phase]:
        return [effect.phase for effect in self.told]

    @property
    def names(self) -> list[str]:
        """What was told, as the outbox names it."""
        return [effect.name or effect.phase.value for effect in self.told]
