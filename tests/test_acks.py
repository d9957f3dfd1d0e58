"""What an acknowledgement does to an alert: in the state machine, in the rulebook, over restarts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rulekit import LADDER, OFFSET, moment, rule, seen
from zkalert.evaluate import look_of
from zkalert.lifecycle import acknowledged, deadline, inactive, needs_write, step
from zkalert.model import (
    Ack,
    Alert,
    Effect,
    Escalation,
    HostInfo,
    Outcome,
    Phase,
    Rule,
    Severity,
    State,
    Verdict,
)
from zkalert.rulebook import Rulebook, readers
from zkalert.tree import decode_ack, decode_alert, encode_ack, encode_alert

REMINDED = rule(duration=0.0, repeat=(60.0,))
ESCALATED = rule(duration=0.0, escalate=(Escalation(after=100.0, actions=()), Escalation(after=200.0, actions=())))


def ack(ends: float | None = None, *, rises: int = 0, episode: str = "e1") -> Ack:
    """An acknowledgement that ends at a moment of the process's clock."""
    ends_at = None if ends is None else OFFSET + ends
    return Ack(episode=episode, at=OFFSET, ends_at=ends_at, rises=rises, author="Ann", comment="on it")


class Series:
    """One series under one rule, driven by samples and timers."""

    def __init__(self, of: Rule) -> None:
        self.rule = of
        self.look = look_of(of, lambda _: of)
        self.alert = inactive(of, "web1", None)
        self.told: list[Effect] = []
        self.mono = 0.0

    def sample(self, mono: float, percent: float) -> None:
        self.time(mono)
        for _, verdict in self.look.look(seen("memory_usage", mono, cover=1e6, percent=percent)):
            self._step(verdict, mono)

    def time(self, until: float) -> None:
        """Fire what is due until then."""
        for _ in range(100):
            due = deadline(self.rule, self.alert, moment(until))
            if due is None or due > until:
                self.mono = until
                return
            self._step(Verdict(Outcome.ELAPSED, self.alert.value), due)
        raise AssertionError("the timers never come to an end")

    def say(self, said: Ack | None) -> None:
        self.alert = acknowledged(self.alert, said)

    def _step(self, verdict: Verdict, mono: float) -> None:
        self.alert, effects = step(self.rule, self.alert, verdict, moment(mono), "e1")
        self.told += effects

    @property
    def names(self) -> list[tuple[float, str]]:
        return [(effect.at - OFFSET, effect.id.partition(".")[2]) for effect in self.told]


def test_reminders_pass_silently_and_go_on_afterwards() -> None:
    series = Series(REMINDED)
    series.sample(0, 95)
    series.time(70)
    series.say(ack(200))
    series.time(300)
    assert series.names == [(0, "firing"), (60, "repeated-1"), (240, "repeated-4"), (300, "repeated-5")]


def test_without_an_end_it_holds_until_the_alert_ends() -> None:
    series = Series(REMINDED)
    series.sample(0, 95)
    series.say(ack())
    series.sample(5000, 10)
    assert series.names == [(0, "firing"), (5000, "resolved")]


def test_escalations_wait_and_come_when_it_ends() -> None:
    series = Series(ESCALATED)
    series.sample(0, 95)
    series.say(ack(250))
    assert deadline(series.rule, series.alert, moment(10)) == 250
    series.time(249)
    assert series.names == [(0, "firing")]
    series.time(300)
    assert series.names == [(0, "firing"), (250, "escalated-1"), (250, "escalated-2")]


def test_an_end_before_the_next_escalation_changes_nothing() -> None:
    series = Series(ESCALATED)
    series.sample(0, 95)
    series.say(ack(50))
    series.time(300)
    assert series.names == [(0, "firing"), (100, "escalated-1"), (200, "escalated-2")]


def test_what_is_taken_back_holds_nothing() -> None:
    series = Series(ESCALATED)
    series.sample(0, 95)
    series.say(ack())
    series.time(150)
    assert deadline(series.rule, series.alert, moment(150)) is None
    series.say(None)
    series.time(160)
    assert [name for _, name in series.names] == ["firing", "escalated-1"]


def test_a_rise_is_told_and_ends_it() -> None:
    series = Series(replace(LADDER, repeat=(60.0,)))
    series.sample(0, 85)
    series.say(ack())
    series.sample(70, 99)
    assert series.alert.ack == ack(), "not before it is one"
    series.time(130)
    assert series.alert.severity is Severity.CRITICAL
    assert series.alert.ack is None
    assert series.names == [(0, "firing"), (90, "escalated-critical"), (120, "repeated-2")]
    series.say(ack())
    assert series.alert.ack is None, "it is from before the rise"
    series.say(ack(rises=1))
    assert series.alert.ack == ack(rises=1)


def test_one_of_another_episode_counts_for_nothing() -> None:
    series = Series(REMINDED)
    series.sample(0, 95)
    series.say(ack(episode="e0"))
    assert series.alert.ack is None


def test_it_is_written_and_read_back() -> None:
    series = Series(REMINDED)
    series.sample(0, 95)
    before = series.alert
    assert acknowledged(before, None) is before
    series.say(ack(500, rises=1))
    assert needs_write(before, series.alert)
    stored = decode_alert(encode_alert(series.alert))
    assert isinstance(stored, Alert)
    assert stored.ack == ack(500, rises=1)
    assert decode_ack(encode_ack(ack(500, rises=1))) == ack(500, rises=1)


# In the rulebook.


class Book:
    """A rulebook with one host, driven as by the engine."""

    def __init__(self, *rules: Rule) -> None:
        self.puts: list[tuple[Alert, Alert, tuple[Effect, ...]]] = []
        self.numbers = iter(range(1, 1000))
        self.book = Rulebook(lambda _, old, new, effects: self.puts.append((old, new, effects)), self._episode)
        self.book.set_rules(rules)
        self.host = HostInfo(name="web1")
        for watcher in self.book.watchers.values():
            watcher.attach(self.host)

    def _episode(self) -> str:
        return f"e{next(self.numbers)}"

    def sample(self, mono: float, percent: float) -> None:
        observation = seen("memory_usage", mono, cover=1e6, percent=percent)
        self.book.judge(observation, readers(self.book.watchers, self.host, "memory_usage"), observation.now)

    def time(self, mono: float) -> None:
        self.book.fire_timers(mono, lambda at: OFFSET + at)

    @property
    def alert(self) -> Alert:
        (alert,) = self.book.alerts()
        return alert

    @property
    def told(self) -> list[Phase]:
        return [effect.phase for _, _, effects in self.puts for effect in effects]


@pytest.fixture
def book() -> Book:
    made = Book(ESCALATED)
    made.sample(0, 95)
    return made


def test_acknowledgements_reach_the_alerts_and_are_put_without_effects(book: Book) -> None:
    episode = book.alert.episode
    book.book.acknowledge({episode: ack(episode=episode), "other": ack(episode="other")}, moment(1))
    old, new, effects = book.puts[-1]
    assert (old.ack, new.ack, effects) == (None, ack(episode=episode), ())
    assert book.alert is new
    book.book.acknowledge({episode: ack(episode=episode)}, moment(2))
    assert len(book.puts) == 2, "nothing has changed"


def test_timers_know_when_one_ends_and_when_one_is_taken_back(book: Book) -> None:
    episode = book.alert.episode
    book.book.acknowledge({episode: ack(150, episode=episode)}, moment(1))
    book.time(149)
    assert book.told == [Phase.FIRING]
    book.time(151)
    assert book.told == [Phase.FIRING, Phase.ESCALATED]
    book.book.acknowledge({episode: ack(episode=episode)}, moment(152))
    book.time(500)
    assert len(book.told) == 2
    book.book.acknowledge({}, moment(500))
    assert book.book.next_at == 500
    book.time(501)
    assert book.puts[-1][2][-1].at == OFFSET + 500, "when it was held back no more"
    assert book.told == [Phase.FIRING, Phase.ESCALATED, Phase.ESCALATED]
    assert book.alert.ack is None


def test_what_was_said_is_looked_up_for_alerts_that_are_read_back(book: Book) -> None:
    record = book.alert
    said = ack(episode=record.episode)
    after = Book(ESCALATED)
    after.book.restore([replace(record, ack=said)], moment(10))
    assert after.alert.ack == said, "as long as nobody has told what was said, the record counts"
    after.book.acknowledge({record.episode: said}, moment(11))
    after.book.restore([record], moment(12))
    assert after.alert.ack == said
    assert after.puts[-1][1].ack == said, "and the record is mended"


def test_the_end_of_an_episode_drops_it(book: Book) -> None:
    episode = book.alert.episode
    book.book.acknowledge({episode: ack(episode=episode)}, moment(1))
    book.sample(10, 10)
    book.sample(20, 95)
    assert book.alert.state is State.FIRING
    assert book.alert.episode != episode
    assert book.alert.ack is None
    book.book.acknowledge({episode: ack(episode=episode)}, moment(21))
    assert book.alert.ack is None


def test_an_alert_whose_rule_is_gone_is_left_as_it_is(book: Book) -> None:
    episode = book.alert.episode
    book.book.set_rules(())
    book.book.acknowledge({episode: ack(episode=episode)}, moment(1))
    assert book.alert.ack is None


# Against a plain model that goes from second to second.

BOTH = rule(
    duration=0.0,
    repeat=(60.0, 35.0),
    escalate=tuple(Escalation(after=after, actions=()) for after in (50.0, 130.0, 131.0, 300.0)),
)


class Said(NamedTuple):
    """What somebody does after `pause` seconds: acknowledges for some seconds (0: without end), or takes it back."""

    pause: int
    span: int | None
    is_restart: bool


def slowly(script: list[Said]) -> list[tuple[int, str]]:
    """What is told of an alert that fires from 0 on, by looking at every second."""
    told = [(0, "firing")]
    now, holds_until, escalated, next_repeat, repeats = 0, -1.0, 0, 60, 0
    for said in script:
        for second in range(said.pause + 1):  # the last one twice: after what is said there
            if second < said.pause:
                now += 1
            elif not said.is_restart:
                holds_until = -1.0 if said.span is None else now + said.span if said.span else math.inf
            if now == next_repeat:
                next_repeat, repeats = now + 35, repeats + 1
                if now >= holds_until:
                    told.append((now, f"repeated-{repeats}"))
            while escalated < 4 and now >= max(BOTH.escalate[escalated].after, holds_until):
                escalated += 1
                told.append((now, f"escalated-{escalated}"))
    return told


pauses = st.sampled_from([1, 5, 17, 35, 60, 90])
says = st.builds(Said, pauses, st.sampled_from([None, 0, 10, 35, 100, 400]), st.sampled_from([False, False, True]))


@settings(deadline=None, max_examples=300)
@given(st.lists(says, max_size=12))
def test_what_is_told_is_what_a_slow_model_tells(script: list[Said]) -> None:
    book = Book(BOTH)
    book.sample(0, 95)
    told, now = book.puts, 0
    acks: dict[str, Ack] = {}
    for said in script:
        now += said.pause
        book.time(now)
        episode = book.alert.episode
        if said.is_restart:
            record = decode_alert(encode_alert(book.alert))
            assert isinstance(record, Alert)
            book = Book(BOTH)
            book.puts = told
            book.book.restore([record], moment(now))
        elif said.span is None:
            acks.pop(episode, None)
        else:
            acks[episode] = ack(now + said.span if said.span else None, episode=episode)
        book.book.acknowledge(acks, moment(now))
        book.time(now)
    names = [(round(one.at - OFFSET), one.id.partition(".")[2]) for _, _, effects in told for one in effects]
    assert names == slowly(script)
