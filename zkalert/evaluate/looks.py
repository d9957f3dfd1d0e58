"""From a sample to verdicts: what it says of each series that a rule looks at.

A look belongs to one rule and one host (over many hosts: to the rule), and remembers what the rule needs of earlier
samples: counters, windows, the last values of its other families.

    PlainLook   one gauge, judged as it comes: nothing to remember
    SingleLook  one term with a memory
    JoinedLook  several conditions, quotients, `absent`
    AcrossLook  one number made of many series (in `across`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

from zkalert.evaluate.across import PATIENCE, AcrossLook
from zkalert.evaluate.compare import Judge, Ladder, judge_of
from zkalert.evaluate.matching import goes_by_instance
from zkalert.evaluate.numbers import Number, Picker, Reading
from zkalert.evaluate.terms import Timeline, Track, as_text, takes_text
from zkalert.metrics import Kind, field_of
from zkalert.model import Comparator, Join, Observation, Outcome, Rule, Value, Verdict

Verdicts: TypeAlias = "list[tuple[str | None, Verdict]]"
Variant: TypeAlias = Callable[["str | None"], Rule]
"""The rule as it holds for an instance of the host."""

_MOST_LATCHES = 4096


class Look(Protocol):
    """What a rule makes of a sample: a verdict for each series that it says something of."""

    def look(self, observation: Observation) -> Verdicts: ...


def look_of(rule: Rule, variant: Variant, *, patience: float = PATIENCE) -> Look:
    """What looks at one host for a rule, or for one over many hosts, at all of them; `patience` as for `AcrossLook`.

    Raises KeyError for a metric that the table does not know.
    """
    condition = rule.conditions[0]
    if rule.across is not None:
        return AcrossLook(rule, rule.across, variant, patience=patience)
    if len(rule.conditions) > 1 or condition.relative_to is not None or condition.comparator is Comparator.ABSENT:
        return JoinedLook(rule, variant)
    if condition.term.window is None and field_of(condition.term.metric).kind is not Kind.COUNTER:
        return PlainLook(rule, variant)
    return SingleLook(rule, variant)


class _Ladders:
    """The ladder of each instance; one for all where the rule has no overrides."""

    __slots__ = ("_known", "_variant", "one")

    def __init__(self, rule: Rule, variant: Variant) -> None:
        self.one = None if rule.overrides else Ladder(rule)
        self._variant = variant
        self._known: dict[str | None, Ladder] = {}

    def of(self, instance: str | None) -> Ladder:
        if self.one is not None:
            return self.one
        ladder = self._known.get(instance)
        if ladder is None:
            if len(self._known) > _MOST_LATCHES:
                self._known.clear()
            ladder = self._known[instance] = Ladder(self._variant(instance))
        return ladder


class PlainLook:
    """One gauge of one family."""

    def __init__(self, rule: Rule, variant: Variant) -> None:
        condition = rule.conditions[0]
        self._field = condition.term.metric.field
        self._is_text = takes_text(condition.term, condition)
        self._as_text = self._is_text and field_of(condition.term.metric).kind is Kind.ANY
        self._by_instance = goes_by_instance(rule, condition)
        self._ladders = _Ladders(rule, variant)
        self._judge = None if self._ladders.one is None else self._ladders.one.judge
        self._picks = Picker(rule)

    def look(self, observation: Observation) -> Verdicts:
        sample, field, is_text, judge = observation.sample, self._field, self._is_text, self._judge
        cover = sample.max_age
        if not self._by_instance:
            value = sample.values.get(field)
            if value is not None and self._as_text:
                value = as_text(value)
            if value is None or (type(value) is str) is not is_text:
                return []
            if judge is not None:
                return [(None, Verdict(judge(value), value, cover))]
            return [(None, self._ladders.of(None).verdict(value, cover))]
        verdicts: Verdicts = []
        picks, converts = self._picks, self._as_text
        takes_all = picks.takes_all
        instances: Iterable[tuple[str, Mapping[str, Value]]] = sample.instances.items()
        if sample.changed is not None:  # of thousands of znodes one: the others stand as they were judged
            instances = [(name, sample.instances[name]) for name in sample.changed if name in sample.instances]
        for instance, values in instances:
            value = values.get(field)
            if converts and value is not None:
                value = as_text(value)
            if value is None or (type(value) is str) is not is_text or not (takes_all or picks(instance)):
                continue
            if judge is not None:
                verdicts.append((instance, Verdict(judge(value), value, cover)))
            else:
                verdicts.append((instance, self._ladders.of(instance).verdict(value, cover)))
        return verdicts


class SingleLook:
    """One term with a memory: the rate of a counter, or a window."""

    __slots__ = ("_is_whole_window", "_judge", "_ladders", "_timeline", "_track")

    def __init__(self, rule: Rule, variant: Variant) -> None:
        condition = rule.conditions[0]
        by_instance = goes_by_instance(rule, condition)
        self._track = Track(
            condition.term,
            picks=Picker(rule) if by_instance else None,
            is_change=condition.comparator is Comparator.CHANGED,
            is_text=takes_text(condition.term, condition),
        )
        self._is_whole_window = not by_instance and condition.term.window is not None
        self._ladders = _Ladders(rule, variant)
        self._judge = None if self._ladders.one is None else self._ladders.one.judge
        self._timeline = Timeline()

    def look(self, observation: Observation) -> Verdicts:
        cover, ladders, judge = observation.sample.max_age, self._ladders, self._judge
        self._timeline.move(observation)
        if self._is_whole_window:
            value = self._track.read_whole(observation, self._timeline)
            if value is None:
                return []
            if judge is not None:
                return [(None, Verdict(judge(value), value, cover))]
            return [(None, ladders.of(None).verdict(value, cover))]
        values = self._track.read(observation, self._timeline)
        if judge is not None:
            return [(instance, Verdict(judge(value), value, cover)) for instance, value in values.items()]
        return [(instance, ladders.of(instance).verdict(value, cover)) for instance, value in values.items()]


class JoinedLook:
    """Several conditions on one host, or one that takes two terms; judged whenever one of its families comes.

    Of several, each that has crossed holds until its own `clear`, which is remembered; after a restart one that is in
    between counts as holding.
    """

    def __init__(self, rule: Rule, variant: Variant) -> None:
        self._rule = rule
        picker = Picker(rule)
        self._numbers = [Number(rule, condition, picker) for condition in rule.conditions]
        self._ladders = _Ladders(rule, variant)
        self._judges: list[Judge] = []
        if len(rule.conditions) > 1:
            self._judges = [judge_of(one.comparator, one.threshold, one.clear) for one in rule.conditions]
        self._by_instance = any(number.by_instance for number in self._numbers)
        self._latches: dict[str | None, list[bool]] = {}

    def expect(self, instance: str) -> None:
        """An instance was there before this began to look: it is missed where it is not."""
        for number in self._numbers:
            number.expect(instance)

    def look(self, observation: Observation) -> Verdicts:
        mono = observation.now.mono
        for number in self._numbers:
            number.see(observation)
        instances: dict[str | None, None] = {}
        for number in self._numbers:
            if number.by_instance is self._by_instance:
                instances.update(dict.fromkeys(number.instances()))
        verdict_of = self._joined if self._judges else self._single
        looked = ((instance, verdict_of(instance, mono)) for instance in instances)
        return [(instance, verdict) for instance, verdict in looked if verdict is not None]

    def _single(self, instance: str | None, mono: float) -> Verdict | None:
        value, until, is_void = self._numbers[0].read(instance, mono)
        if is_void:
            return self._ladders.of(instance).nothing(until - mono)
        return None if value is None else self._ladders.of(instance).verdict(value, until - mono)

    def _joined(self, instance: str | None, mono: float) -> Verdict | None:
        readings = [number.read(instance, mono) for number in self._numbers]
        outcomes = [self._outcome(instance, index, reading) for index, reading in enumerate(readings)]
        outcome = _join(self._rule.join, outcomes)
        if outcome is None:
            return None
        chosen = outcomes.index(Outcome.TRUE) if self._rule.join is Join.ANY and Outcome.TRUE in outcomes else 0
        values = tuple(reading.value for reading in readings)
        cover = _speaks_until(outcome, outcomes, readings, self._rule.join) - mono
        return Verdict(outcome, values[chosen], cover, (), chosen, values)

    def _outcome(self, instance: str | None, index: int, reading: Reading) -> Outcome | None:
        """What one condition says, None where that is not known."""
        if reading.is_void:
            return Outcome.FALSE
        if reading.value is None:
            return None
        outcome = self._judges[index](reading.value)
        if self._rule.conditions[index].clear is None:
            return outcome
        latches = self._latches.get(instance)
        if latches is None:
            if len(self._latches) > _MOST_LATCHES:
                self._latches.clear()
            latches = self._latches[instance] = [True] * len(self._numbers)
        if outcome is not Outcome.BETWEEN:
            latches[index] = outcome is Outcome.TRUE
            return outcome
        return outcome if latches[index] else Outcome.FALSE


def _join(join: Join, outcomes: list[Outcome | None]) -> Outcome | None:
    """One outcome of several, None where what is not known could change it."""
    deciding, other = (Outcome.FALSE, Outcome.TRUE) if join is Join.ALL else (Outcome.TRUE, Outcome.FALSE)
    if deciding in outcomes:
        return deciding
    if None in outcomes:
        return None
    return Outcome.BETWEEN if Outcome.BETWEEN in outcomes else other


def _speaks_until(outcome: Outcome, outcomes: list[Outcome | None], readings: list[Reading], join: Join) -> float:
    """Until when a joined outcome is known: one condition that decides is enough, else it takes all of them."""
    deciding = Outcome.FALSE if join is Join.ALL else Outcome.TRUE
    if outcome is deciding:
        return max(reading.until for one, reading in zip(outcomes, readings, strict=True) if one is deciding)
    return min(reading.until for reading in readings)
