"""The numbers that rules are about, taken of one host's samples: last values, rates, statistics over windows.

A `Track` follows one term on one host. What it keeps is bounded: one window for each instance that samples still name.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from zkalert.evaluate.windows import Series
from zkalert.metrics import Kind, Unit, field_of
from zkalert.model import Comparator, Condition, Counts, Observation, Sample, Stat, Term, Value, Window

MOST_SECONDS = 1e10
"""What a line that never gets there is said to need: JSON has no infinity, and three centuries are as good."""

_SPARE_INSTANCES = 512
_LONG_INTEGER = 1e15


def finite(number: float) -> float | None:
    """A number that can be written: beyond all numbers it is the greatest one, and None where it is none at all."""
    if math.isfinite(number):
        return number
    return None if math.isnan(number) else math.copysign(sys.float_info.max, number)


def rate(last: float, value: float, passed: float) -> float | None:
    """Per second from one value of a counter to the next, `passed` seconds (more than 0) later.

    After a reset the count since then stands for the whole (as in Prometheus's `increase`).
    """
    return finite((value - last if value >= last else value) / passed)


_OF_EITHER = frozenset({Stat.COUNT, Stat.CHANGES})
_PRESENCE = frozenset({Comparator.ABSENT, Comparator.CHANGED})


def takes_text(term: Term, condition: Condition) -> bool:
    """Whether a condition takes texts of a term. Of a field that may be either, numbers count as texts then."""
    kind = field_of(term.metric).kind
    if kind is not Kind.ANY:
        return kind is Kind.TEXT
    is_either = condition.comparator in _PRESENCE or (term.window is not None and term.window.stat in _OF_EITHER)
    return is_either or condition.unit == Unit.TEXT.value


def as_text(value: Value) -> str:
    """A number as people write it; a text as it is."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _LONG_INTEGER:
        return str(int(value))
    return str(value)


class Timeline:
    """Seconds along the samples of one family of one host, which never go back.

    Three clocks see two samples: the ensemble's, the host's and ours. Any one may jump, or see a late arrival; the
    middle one of the three spans is that of a clock that did not.
    """

    __slots__ = ("_last", "at", "passed")

    def __init__(self) -> None:
        self.at = 0.0
        self.passed = 0.0  # from the sample before to the newest one
        self._last: tuple[float, float, float] | None = None

    def move(self, observation: Observation) -> None:
        """Go on to a sample."""
        (at, mono), read_at = observation.now, observation.sample.at
        last, self._last = self._last, (at, mono, read_at)
        if last is not None:
            passed = middle(at - last[0], mono - last[1], read_at - last[2])
            self.passed = passed if passed > 0 else 0.0
            self.at += self.passed


def middle(one: float, two: float, three: float) -> float:
    """The median of three."""
    low, high = (one, two) if one < two else (two, one)
    return low if three < low else min(three, high)


class Track:
    """One term on one host: of the instances that `picks` takes, or (None) of the whole value.

    `is_change`: only whether it changed is asked, 1 or 0. `is_text`: whether texts are taken, or numbers.
    """

    __slots__ = (
        "_as_text",
        "_counts",
        "_is_change",
        "_is_counter",
        "_is_time_to",
        "_picks",
        "_series",
        "field",
        "is_plain",
        "is_text",
        "window",
    )

    def __init__(
        self, term: Term, *, picks: Callable[[str], bool] | None = None, is_change: bool = False, is_text: bool = False
    ) -> None:
        field = field_of(term.metric)
        self.field = term.metric.field
        self.window: Window | None = term.window
        self.is_text = is_text
        self._as_text = is_text and field.kind is Kind.ANY
        self.is_plain = term.window is None and field.kind is not Kind.COUNTER
        self._picks = picks
        self._is_counter = field.kind is Kind.COUNTER
        self._is_change = is_change
        self._is_time_to = term.window is not None and term.window.stat is Stat.TIME_TO
        self._counts: dict[str | None, Value] = {}  # of the sample before
        self._series: dict[str | None, Series | _Changes] = {}

    def read(self, observation: Observation, timeline: Timeline) -> dict[str | None, Value]:
        """What a sample gives, by instance (None: the whole value); the timeline of its family has moved on to it.

        A window that has seen too little, a counter seen once and a value of the wrong type give nothing.
        """
        window, found = self.window, self._found(observation)
        if self.is_plain:
            return found
        if window is None:
            return self._rates(found, observation.sample, timeline.passed)
        values: dict[str | None, Value] = {}
        at, cover = timeline.at, observation.sample.max_age
        for instance, value in found.items():
            number = self._windowed(window, instance, value, at, cover)
            if number is not None:
                values[instance] = number
        if len(self._series) > len(found) + _SPARE_INSTANCES:
            self._series = {instance: self._series[instance] for instance in found}
        return values

    def read_whole(self, observation: Observation, timeline: Timeline) -> Value | None:
        """What `read` gives for the whole value, at less cost, where there is a window."""
        sample = observation.sample
        value = sample.values.get(self.field)
        if self._as_text and value is not None:
            value = as_text(value)
        if self.window is None or value is None or (type(value) is str) is not self.is_text:
            return None
        return self._windowed(self.window, None, value, timeline.at, sample.max_age)

    def _windowed(self, window: Window, instance: str | None, value: Value, at: float, cover: float) -> float | None:
        series = self._series.get(instance)
        if series is None:
            series = self._series[instance] = self._new_series(window)
        series.add(at, value, cover)  # type: ignore[arg-type]
        number = series.value()
        if number is None:
            return None
        return finite(min(number, MOST_SECONDS) if self._is_time_to else number)

    def _found(self, observation: Observation) -> dict[str | None, Value]:
        field, sample, picks, is_text = self.field, observation.sample, self._picks, self.is_text
        if self._as_text:
            return self._texts(sample)
        if picks is None:
            value = sample.values.get(field)
            return {} if value is None or (type(value) is str) is not is_text else {None: value}
        found: dict[str | None, Value] = {}
        for instance, values in sample.instances.items():
            value = values.get(field)
            if value is not None and (type(value) is str) is is_text and picks(instance):
                found[instance] = value
        return found

    def _texts(self, sample: Sample) -> dict[str | None, Value]:
        if self._picks is None:
            value = sample.values.get(self.field)
            return {} if value is None else {None: as_text(value)}
        return {
            instance: as_text(value)
            for instance, values in sample.instances.items()
            if (value := values.get(self.field)) is not None and self._picks(instance)
        }

    def _rates(self, found: dict[str | None, Value], sample: Sample, passed: float) -> dict[str | None, Value]:
        before, self._counts = self._counts, found
        if sample.before is not None:  # what was published last may be many readings ago
            before, passed = _counts_of(sample.before, self.field), sample.before.span
        rates: dict[str | None, Value] = {}
        if passed:
            for instance, value in found.items():
                last = before.get(instance)
                number = None if last is None else rate(last, value, passed)  # type: ignore[arg-type]
                if number is not None:
                    rates[instance] = number
        return rates

    def _new_series(self, window: Window) -> Series | _Changes:
        if self._is_change or self.is_text:
            return _Changes(window, is_change=self._is_change)
        return Series(window, is_counter=self._is_counter)


def _counts_of(before: Counts, field: str) -> dict[str | None, Value]:
    whole, instances = before.values.get(field), before.instances
    counts: dict[str | None, Value] = {name: values[field] for name, values in instances.items() if field in values}
    return counts if whole is None else {**counts, None: whole}


class _Changes:
    """How often a value, text or number, changed within a window; or only whether it did."""

    __slots__ = ("_count", "_is_change", "_last", "_last_change", "_over", "_series")

    def __init__(self, window: Window, *, is_change: bool) -> None:
        self._series = Series(window, is_counter=False)
        self._over = window.over
        self._is_change = is_change
        self._last: Value | None = None
        self._last_change: float | None = None
        self._count = 0

    def add(self, at: float, value: Value, cover: float) -> None:
        if self._last is not None and value != self._last:
            self._count += 1
            self._last_change = at
        self._last = value
        self._series.add(at, float(self._count), cover)
        if self._last_change is not None and at - self._last_change >= self._over:
            self._last_change = None

    def value(self) -> float | None:
        """For `changed` a change that was seen is enough; that there was none takes half of the window."""
        if not self._is_change:
            return self._series.value()
        if self._last_change is not None:
            return 1.0
        return None if self._series.value() is None else 0.0
