"""When a sample of a family is worth a write: the band around the limits of the rules in force.

Comes in: what the rules ask of a family, and each of its samples, published or not. Goes out: whether to publish it,
and within how many seconds the next one is promised.

    at rest    every limit is far, and none of them holds: one sample in each span of `resting` seconds
    near       a limit is within a tenth of its own size, or one interval away at the speed of late: every sample
    beyond     a limit holds: every sample
    settling   a text changed, or which instances there are, and rules count the time since: every sample

What changes an outcome is published at once, in whatever state: the band decides how much is written, and never when
an alert is told. It knows no clock and no ZooKeeper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from zkalert.evaluate import Judge, judge_of, rate
from zkalert.metrics import Kind, family_of
from zkalert.model import Counts, FamilyLimits, Limit, Outcome, Sample, Value

MIN_MAX_AGE = 10.0
"""Seconds that a sample speaks at least."""
NEAR = 0.1
"""How near a limit is, as a share of the limit itself."""
_SLOWER = 0.7  # what is left of a speed one interval later
_ROUNDING = 0.01

Key: TypeAlias = "tuple[int, str | None]"
"""A limit by its number, and an instance (None: the whole value)."""


def max_age(interval: float) -> float:
    """How long a sample speaks at most, so that two that are lost in between leave no hole."""
    return max(3 * interval, MIN_MAX_AGE)


class Choice(NamedTuple):
    """Whether a sample is worth a write, how many seconds later the next one comes at the latest, and what its counters
    showed before, where who reads it may not have seen that.
    """

    is_due: bool
    interval: float
    before: Counts | None


@dataclass(frozen=True, slots=True)
class _Told:
    """What was published last: when (monotonic), with which promise, and what rules could make of it."""

    at: float
    interval: float
    outcomes: Mapping[Key, Outcome]
    texts: tuple[tuple[str | None, str, Value], ...]
    names: frozenset[str]
    errors: tuple[str, ...]


class Band:
    """One family's band. `interval` is its cadence, `resting` the longest span without a word, None for no such span;
    both in seconds. `origin` is a moment of the clock of `now`: who rests speaks in spans counted from there, so that
    families that rest are written together.

    Until somebody `ask`s for something, nobody has said what matters, so everything does.
    """

    def __init__(self, family: str, *, interval: float, resting: float | None, origin: float) -> None:
        self._interval = interval
        self._longest = interval if resting is None else resting
        self._origin = origin
        fields = family_of(family).fields.values()
        self._counters = frozenset(field.name for field in fields if field.kind is Kind.COUNTER)
        self._told: _Told | None = None
        self._full_until = -math.inf
        self._last: tuple[float, Sample] | None = None
        self._speeds: dict[Key, tuple[float, float]] = {}  # the last number, and how fast it went of late
        self.ask(None)

    def ask(self, limits: FamilyLimits | None) -> None:
        """Go by these limits from now on; None: nobody says which there are."""
        self._limits = FamilyLimits(is_full=True) if limits is None else limits
        # As many samples may be lost as at the full rate, before anybody minds the silence.
        longest = min(self._longest, math.inf if self._limits.quiet_after is None else self._limits.quiet_after / 3)
        self._resting = self._interval * max(1, math.floor(longest / self._interval + _ROUNDING))
        self._judges: list[tuple[int, Limit, Judge]] = [
            (number, limit, judge_of(limit.comparator, limit.threshold))
            for number, limit in enumerate(self._limits.limits)
        ]
        # What was there may speak on before anybody begins to count, and it is with a sample that the time is up.
        settles = self._limits.settles
        self._settles = settles + max_age(self._interval) + self._interval if settles else 0.0
        self._speeds = {}  # they go by the number of the limit
        self._told = None

    @property
    def _rests(self) -> bool:
        """Whether it may ever skip a sample."""
        return not self._limits.is_full and self._resting > self._interval

    def doubt(self) -> None:
        """What was published last may not stand in the tree: the next sample is due, and all for as long as it takes
        whoever counts the time.
        """
        self._told = None

    def weigh(self, sample: Sample, now: float) -> Choice:
        """Take in a sample (`now` in monotonic seconds). One that is due has to be published, or `doubt`ed."""
        before = self._counts_before(sample, now)
        self._last = (now, sample)
        numbers = dict(self._numbers(sample, before))
        outcomes = {key: self._judges[key[0]][2](number) for key, number in numbers.items()}
        is_near = self._measure(numbers)
        told = self._told
        texts = tuple(self._texts(sample))
        names = frozenset(sample.instances) if self._limits.is_judged else frozenset()
        errors = sample.errors if self._limits.is_judged else ()
        changed = told is None or (told.outcomes, told.texts, told.names, told.errors) != (
            outcomes,
            texts,
            names,
            errors,
        )
        if told is None or (told.texts, told.names) != (texts, names):
            self._full_until = now + self._settles
        is_calm = not is_near and now >= self._full_until and Outcome.TRUE not in outcomes.values()
        interval = self._resting if self._rests and is_calm else self._interval
        is_due = (
            told is None
            or changed
            or interval <= self._interval
            or interval != told.interval
            or self._span_of(now) != self._span_of(told.at)
        )
        if is_due:
            self._told = _Told(now, interval, outcomes, texts, names, errors)
        return Choice(is_due, interval, before)

    def crosses(self, sample: Sample) -> bool:
        """Whether a reading between two ticks is on another side of some limit than what was published last.

        Of gauges alone: a rate over less than an interval is no rate that rules judge.
        """
        told = self._told
        if told is None:
            return False
        return any(
            self._judges[key[0]][2](number) is not told.outcomes.get(key) for key, number in self._numbers(sample, None)
        )

    def _span_of(self, now: float) -> int:
        return math.floor((now - self._origin + _ROUNDING * self._interval) / self._resting)

    def _numbers(self, sample: Sample, before: Counts | None) -> Iterator[tuple[Key, float]]:
        """What each limit is held against."""
        for number, limit, _ in self._judges:
            if limit.by_instance:
                for name, values in sample.instances.items():
                    counts = None if before is None else before.instances.get(name)
                    found = _number(limit, values, counts, before)
                    if found is not None:
                        yield (number, name), found
            else:
                found = _number(limit, sample.values, None if before is None else before.values, before)
                if found is not None:
                    yield (number, None), found

    def _texts(self, sample: Sample) -> Iterator[tuple[str | None, str, Value]]:
        for field in self._limits.texts:
            for name, values in ((None, sample.values), *sample.instances.items()):
                if field in values:
                    yield name, field, values[field]

    def _measure(self, numbers: Mapping[Key, float]) -> bool:
        """Note how fast each number goes; whether one of them is near its limit."""
        speeds, self._speeds = self._speeds, {}
        is_near = False
        for key, number in numbers.items():
            last, speed = speeds.get(key, (number, 0.0))
            speed = max(abs(number - last), speed * _SLOWER)
            self._speeds[key] = (number, speed)
            threshold = self._judges[key[0]][1].threshold
            for end in threshold if isinstance(threshold, tuple) else (threshold,):
                distance = abs(number - end)
                is_near = is_near or distance < NEAR * abs(end) or distance < speed
        return is_near

    def _counts_before(self, sample: Sample, now: float) -> Counts | None:
        """What the counters showed at the reading before, where samples between may not be published."""
        if self._last is None or not self._counters or not self._rests or now <= self._last[0]:
            return None
        last = self._last[1]
        return Counts(
            span=round(now - self._last[0], 6),
            values=self._counted(last.values),
            instances={
                name: counted
                for name, values in last.instances.items()
                if name in sample.instances and (counted := self._counted(values))
            },
        )

    def _counted(self, values: Mapping[str, Value]) -> dict[str, float]:
        return {name: value for name, value in values.items() if name in self._counters and not isinstance(value, str)}


def _number(
    limit: Limit, values: Mapping[str, Value], counts: Mapping[str, float] | None, before: Counts | None
) -> float | None:
    value = values.get(limit.field)
    if value is None or isinstance(value, str):
        return None
    if not limit.is_rate:
        return value
    last = None if counts is None else counts.get(limit.field)
    return None if last is None or before is None else rate(last, value, before.span)
