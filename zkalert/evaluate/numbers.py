"""The number of one condition on one host: of one term, or of two that are divided.

A term's family may have spoken earlier than the one that just did: what it said counts as long as its sample speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from zkalert.evaluate.matching import goes_by_instance, picks
from zkalert.evaluate.terms import Timeline, Track, finite, takes_text
from zkalert.metrics import Unit, field_of, quotient_unit, windowed_unit
from zkalert.model import Comparator, Condition, Observation, Rule, Value

ROUNDING = 1e-6
FOREVER = 1e9
"""Seconds; longer than any sample speaks."""

_MOST_NAMES = 4096
_MOST_EXPECTED = 1024


class Reading(NamedTuple):
    """A number, and until when (on this process's clock) its samples speak.

    `value` None: not known. `is_void`: the quotient of something and nothing, which is no number and crosses nothing.
    """

    value: Value | None
    until: float
    is_void: bool = False


_UNKNOWN = Reading(None, -FOREVER)


class Picker:
    """Which instances a rule's globs name, remembered: they are asked for with every sample."""

    __slots__ = ("_known", "_rule", "takes_all")

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._known: dict[str, bool] = {}
        self.takes_all = not rule.not_instances and (rule.instances is None or "*" in rule.instances)

    def __call__(self, instance: str) -> bool:
        if self.takes_all:
            return True
        known = self._known.get(instance)
        if known is None:
            if len(self._known) > _MOST_NAMES:
                self._known.clear()
            known = self._known[instance] = picks(self._rule, instance)
        return known


class Number:
    """One condition's number on one host, for each instance it goes by (None: the whole host)."""

    def __init__(self, rule: Rule, condition: Condition, picker: Picker) -> None:
        self.by_instance = goes_by_instance(rule, condition)
        is_change = condition.comparator is Comparator.CHANGED
        self._is_absent = condition.comparator is Comparator.ABSENT
        self._is_percent = _is_share(rule, condition)
        self._expected: set[str | None] = set(_literal_names(rule)) if self.by_instance else {None}
        self._is_complete = True
        above = condition.term
        self._above = _Spoken(
            above.metric.family,
            Track(
                above,
                picks=picker if self.by_instance else None,
                is_change=is_change,
                is_text=takes_text(above, condition),
            ),
        )
        self._below: _Spoken | None = None
        self._below_by_instance = False
        if (below := condition.relative_to) is not None:
            other = Condition(term=below, comparator=condition.comparator)
            self._below_by_instance = self.by_instance and goes_by_instance(rule, other)
            self._below = _Spoken(below.metric.family, Track(below, picks=picker if self._below_by_instance else None))
        self._terms = [self._above] if self._below is None else [self._above, self._below]
        self._timelines = {term.family: Timeline() for term in self._terms}
        self._seen: dict[str, Observation] = {}

    def see(self, observation: Observation) -> None:
        """Take in a sample of any family; the same one again changes nothing."""
        family = observation.sample.family
        timeline = self._timelines.get(family)
        if timeline is None or self._seen.get(family) is observation:
            return
        self._seen[family] = observation
        timeline.move(observation)
        for term in self._terms:
            if term.family == family:
                term.values = term.track.read(observation, timeline)
                term.until = observation.now.mono + observation.sample.max_age
        if self._above.family == family:
            self._is_complete = not observation.sample.errors
            if self._is_absent and self.by_instance and len(self._expected) < _MOST_EXPECTED:
                self._expected.update(self._above.values)

    def expect(self, instance: str) -> None:
        """Miss an instance that an earlier process has seen; only `absent` does."""
        if self._is_absent and self.by_instance and len(self._expected) < _MOST_EXPECTED:
            self._expected.add(instance)

    def instances(self) -> Iterable[str | None]:
        """Those that there is something to say of."""
        if not self.by_instance:
            return (None,)
        return self._expected if self._is_absent else self._above.values

    def read(self, instance: str | None, mono: float) -> Reading:
        """The number at a moment of this process's clock."""
        above = self._above
        if above.until + ROUNDING < mono:
            return _UNKNOWN
        value = above.values.get(instance if self.by_instance else None)
        if self._is_absent:
            if value is None and not self._is_complete:
                return _UNKNOWN  # what could not be read is not absent
            return Reading(1 if value is None else 0, above.until)
        below = self._below
        if below is None or value is None:
            return Reading(value, above.until)
        divisor = below.values.get(instance if self._below_by_instance else None)
        if divisor is None or below.until + ROUNDING < mono:
            return _UNKNOWN
        until = min(above.until, below.until)
        if divisor == 0:
            return Reading(None, until, is_void=True)
        quotient = float(value) / float(divisor)
        return Reading(finite(quotient * 100.0 if self._is_percent else quotient), until)


class _Spoken:
    """What a term's last sample said, by instance, and until when it speaks."""

    __slots__ = ("family", "track", "until", "values")

    def __init__(self, family: str, track: Track) -> None:
        self.family = family
        self.track = track
        self.values: dict[str | None, Value] = {}
        self.until = -FOREVER


def _is_share(rule: Rule, condition: Condition) -> bool:
    """Whether a quotient is a percentage; across many series the condition's unit is that of what they make."""
    above, below = condition.term, condition.relative_to
    if rule.across is None or below is None:
        return condition.unit == Unit.PERCENT.value
    units = (windowed_unit(field_of(one.metric), one.window) for one in (above, below))
    return quotient_unit(*units) is Unit.PERCENT


def _literal_names(rule: Rule) -> Iterator[str]:
    """Instances that a rule names without a glob: these can be missed even if they were never seen."""
    for glob in rule.instances or ():
        if not any(character in glob for character in "*?["):
            yield glob
