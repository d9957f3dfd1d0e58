"""A test's samples through the rules: what became of each alert, what went out, and what was kept quiet.

The order at one moment: timers that are due, hosts that die or return, samples, acknowledgements, then the look at what
is expected.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from zkalert.model import (
    Ack,
    Action,
    Alert,
    Effect,
    HostInfo,
    Message,
    Notify,
    Rule,
    Sample,
    Silence,
    Target,
    TargetKind,
    Value,
)
from zkalert.render import render
from zkalert.replay import Change, Outcome, Replay
from zkalert.routing import DEFAULT_CHANNEL
from zkalert.ruletest.suite import Acked, ExpectedState, Host, Series, Test

MAX_MESSAGES = 50_000
"""Of one test, what is withheld included."""

_STEP = 3600.0
_LEAST_AGE = 10.0
_INTERVALS = 3
# The order of what happens at one moment.
_LIFE, _SAMPLE, _ACK, _LOOK = range(4)


@dataclass(frozen=True, kw_only=True)
class Going:
    """What went out at `at` (seconds from the start): a message to channels, or a command; or, with `why`, nothing."""

    at: float
    effect: Effect
    to: tuple[Target, ...] = ()
    run: tuple[str, ...] | str | None = None
    why: str = ""

    @functools.cached_property
    def message(self) -> Message:
        """What it says; it takes its time, and few are looked at."""
        return render(self.effect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happened in a test; times of `changes` are epoch seconds.

    `looks` has, for each expected state of the test, the alerts of its rule at that moment.
    """

    changes: tuple[Change, ...]
    sent: tuple[Going, ...]
    withheld: tuple[Going, ...]
    looks: tuple[tuple[Alert, ...], ...]


class TooManyMessages(Exception):  # noqa: N818 - says what happened
    """A test was stopped at `at` (seconds from the start), with more than MAX_MESSAGES messages."""

    def __init__(self, at: float) -> None:
        super().__init__(at)
        self.at = at


def play(test: Test, rules: Iterable[Rule]) -> Story:
    """Run a test; the same test and rules always give the same story. Raises TooManyMessages."""
    rules = tuple(rules)
    recorder = _Recorder(test, Replay(rules, channels=_channels(rules), silences=_silences(test)))
    replay = recorder.replay
    looks: dict[int, tuple[Alert, ...]] = {}
    acks: dict[str, Ack] = {}
    for host in test.hosts:
        replay.host(HostInfo(name=host.name, labels=host.labels, is_ensemble=host.is_ensemble), test.start)
        if not host.is_ensemble:
            replay.alive(host.name, test.start, is_alive=host.is_alive(0.0))
    for at, _, event in heapq.merge(*_streams(test), key=lambda one: one[:2]):
        moment = recorder.advance(at)
        if isinstance(event, int):
            looks[event] = _alerts_of(replay, test.states[event])
        elif isinstance(event, _Life):
            replay.alive(event.host, moment, is_alive=event.is_alive)
        elif isinstance(event, Acked):
            acks |= _acks(replay, event, moment)
            replay.acknowledge(acks, moment)
        else:
            replay.sample(event.host, event.sample, moment)
    recorder.advance(test.end)
    recorder.collect()
    return Story(
        changes=tuple(recorder.changes),
        sent=tuple(going for going in recorder.goings if not going.why),
        withheld=tuple(going for going in recorder.goings if going.why),
        looks=tuple(looks[index] for index in range(len(test.states))),
    )


class _Recorder:
    """Lets time pass for a replay, and keeps what happens; it gives up where that is too much."""

    def __init__(self, test: Test, replay: Replay) -> None:
        self.replay = replay
        self.changes: list[Change] = []
        self.goings: list[Going] = []
        self._test = test
        self._collected_at = 0.0

    def advance(self, at: float) -> float:
        """Let time pass up to `at` seconds from the start; that moment on the clock of the replay."""
        while at - self._collected_at > _STEP:
            self._collected_at += _STEP
            self.replay.advance(_moment(self._test, self._collected_at))
            self.collect()
        moment = _moment(self._test, at)
        self.replay.advance(moment)
        return moment

    def collect(self) -> None:
        changes, outcomes = self.replay.take()
        self.changes += changes
        self.goings += (going for outcome in outcomes for going in _goings(self._test, outcome))
        if len(self.goings) > MAX_MESSAGES:
            raise TooManyMessages(self.goings[MAX_MESSAGES].at)


def _moment(test: Test, at: float) -> float:
    """A span from the start on the clock of the replay: whole milliseconds, so that equal moments are equal numbers."""
    return round(test.start + at, 3)


def _silences(test: Test) -> Iterator[Silence]:
    for silence in test.silences:
        yield replace(silence, starts_at=round(silence.starts_at, 3), ends_at=round(silence.ends_at, 3))


def _alerts_of(replay: Replay, state: ExpectedState) -> tuple[Alert, ...]:
    return tuple(alert for alert in replay.alerts() if alert.rule == state.rule)


def _acks(replay: Replay, acked: Acked, at: float) -> dict[str, Ack]:
    """What somebody says of the alerts there are, by episode."""
    ends_at = None if acked.span is None else round(at + acked.span, 3)
    return {
        alert.episode: Ack(episode=alert.episode, at=at, ends_at=ends_at, rises=alert.rises)
        for alert in replay.alerts()
        if alert.rule == acked.rule and acked.host in (None, alert.host) and acked.instance in (None, alert.instance)
    }


# What happens -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Life:
    host: str
    is_alive: bool


@dataclass(frozen=True, slots=True)
class _Said:
    host: str
    sample: Sample


_Event: TypeAlias = tuple[float, int, "_Life | _Said | Acked | int"]
"""When, its place among what happens at that moment, and what: a number is that of an expected state."""


def _streams(test: Test) -> Iterator[Iterable[_Event]]:
    """All that happens in a test, each stream in the order of time; they may be long."""
    lives: list[_Event] = []
    for host in test.hosts:
        if host.dies:
            lives.append((host.dies, _LIFE, _Life(host.name, is_alive=False)))
        if host.returns is not None:
            lives.append((host.returns, _LIFE, _Life(host.name, is_alive=True)))
    yield sorted(lives, key=lambda one: one[0])
    hosts = {host.name: host for host in test.hosts}
    groups: dict[tuple[str, str], list[Series]] = {}
    for series in test.series:
        groups.setdefault((series.host, series.metric.family), []).append(series)
    for (name, family), group in groups.items():
        yield _samples(test, family, group, hosts[name])
    acks: list[_Event] = [(acked.at, _ACK, acked) for acked in test.acks]
    yield sorted(acks, key=lambda one: one[0])
    looks: list[_Event] = [(state.at, _LOOK, index) for index, state in enumerate(test.states)]
    yield sorted(looks, key=lambda one: one[0])


def _samples(test: Test, family: str, group: list[Series], host: Host) -> Iterator[_Event]:
    """The samples of one family of one host, without those that would be empty or that a dead host cannot send."""
    interval = group[0].interval
    max_age = max(_INTERVALS * interval, _LEAST_AGE)
    labels = {one.instance: one.labels for one in group if one.instance is not None and one.labels}
    for tick in range(max(len(one.values) for one in group)):
        whole: dict[str, Value] = {}
        instances: dict[str, dict[str, Value]] = {}
        for one in group:
            value = one.values[tick] if tick < len(one.values) else None
            if value is None:
                continue
            if one.instance is None:
                whole[one.metric.field] = value
            else:
                instances.setdefault(one.instance, {})[one.metric.field] = value
        at = round(tick * interval, 3)
        if not (whole or instances) or not host.is_alive(at):
            continue
        sample = Sample(
            family=family,
            at=test.start + at,
            interval=interval,
            max_age=max_age,
            values=whole,
            instances=instances,
            labels={name: labels[name] for name in instances if name in labels},
        )
        yield at, _SAMPLE, _Said(host.name, sample)


# What becomes of it -----------------------------------------------------------------------------------------------


def _goings(test: Test, outcome: Outcome) -> Iterator[Going]:
    decision, at = outcome.decision, outcome.at - test.start
    if not decision.is_sent:
        yield Going(at=at, effect=decision.effect, why=decision.why)
        return
    told = tuple(target for target in outcome.targets if target.kind is TargetKind.NOTIFY)
    if told:
        yield Going(at=at, effect=decision.effect, to=told)
    for target in outcome.targets:
        if target.run is not None:
            yield Going(at=at, effect=decision.effect, run=target.run.command)


def _channels(rules: Iterable[Rule]) -> Mapping[str, tuple[Target, ...]]:
    """Each channel that rules name, and the one that hears of rules that name none."""
    names = {DEFAULT_CHANNEL: None}
    for rule in rules:
        for action in _actions(rule):
            if isinstance(action, Notify) and action.channel is not None:
                names[action.channel] = None
    return {name: (Target(id=f"{name}/test", kind=TargetKind.NOTIFY, name=name),) for name in names}


def _actions(rule: Rule) -> Iterator[Action]:
    yield from rule.actions or ()
    for step in rule.steps:
        yield from step.actions or ()
    for override in rule.overrides:
        yield from override.actions or ()
    for escalation in rule.escalate:
        yield from escalation.actions
