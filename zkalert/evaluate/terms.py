"""The numbers that rules are about, taken of one host's samples: last values, rates, statistics over windows.

A `Track` follows one term on one host. What it keeps is bounded: one window for each instance that samples still name.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import NamedTuple

from zkalert.evaluate.windows import Series
from zkalert.metrics import Kind, field_of
from zkalert.model import Moment, Observation, Stat, Term, Value, Window

MOST_SECONDS = 1e10
"""What a line that never gets there is said to need: JSON has no infinity, and three centuries are as good."""

_SPARE_INSTANCES = 512


def finite(number: float) -> float | None:
    """A number that can be written: beyond all numbers it is the greatest one, and None where it is none at all."""
    if math.isfinite(number):
        return number
    return None if math.isnan(number) else math.copysign(sys.float_info.max, number)


class Point(NamedTuple):
    """The last value of a counter, when it was seen, and when (on its host's clock) it was read."""

    value: float
    now: Moment
    read_at: float


class Timeline:
    """Seconds along the samples of one family of one host, which never go back.

    Three clocks see two samples: the ensemble's, the host's and ours. Any one may jump, or see a late arrival; the
    middle one of the three spans is that of a clock that did not.
    """

    __slots__ = ("_last", "at")

    def __init__(self) -> None:
        self.at = 0.0
        self._last: tuple[float, float, float] | None = None

    def move(self, observation: Observation) -> float:
        """Go on to a sample; where it stands."""
        (at, mono), read_at = observation.now, observation.sample.at
        last, self._last = self._last, (at, mono, read_at)
        if last is not None:
            passed = middle(at - last[0], mono - last[1], read_at - last[2])
            if passed > 0:
                self.at += passed
        return self.at


def middle(one: float, two: float, three: float) -> float:
    """The median of three."""
    low, high = (one, two) if one < two else (two, one)
    return low if three < low else min(three, high)


class Track:
    """One term on one host: of the instances that `picks` takes, or (None) of the whole value.

    `is_change`: only whether it changed is asked, 1 or 0.
    """

    def __init__(self, term: Term, *, picks: Callable[[str], bool] | None = None, is_change: bool = False) -> None:
        field = field_of(term.metric)
        self.field = term.metric.field
        self.window: Window | None = term.window
        self.is_text = field.kind is Kind.TEXT
        self.is_plain = term.window is None and field.kind is not Kind.COUNTER
        self._picks = picks
        self._is_counter = field.kind is Kind.COUNTER
        self._is_change = is_change
        self._points: dict[str | None, Point] = {}
        self._series: dict[str | None, Series | _Changes] = {}

    def read(self, observation: Observation, at: float) -> dict[str | None, Value]:
        """What a sample gives, by instance (None: the whole value), `at` on the timeline of its family.

        A window that has seen too little, a counter seen once and a value of the wrong type give nothing.
        """
        window, found = self.window, self._found(observation)
        if self.is_plain:
            return found
        if window is None:
            return self._rates(found, observation)
        values: dict[str | None, Value] = {}
        cover = observation.sample.max_age
        for instance, value in found.items():
            number = self._windowed(window, instance, value, at, cover)
            if number is not None:
                values[instance] = number
        if len(self._series) > len(found) + _SPARE_INSTANCES:
            self._series = {instance: self._series[instance] for instance in found}
        return values

    def read_whole(self, observation: Observation, at: float) -> Value | None:
        """What `read` gives for the whole value, at less cost, where there is a window."""
        sample = observation.sample
        value = sample.values.get(self.field)
        if self.window is None or value is None or (type(value) is str) is not self.is_text:
            return None
        return self._windowed(self.window, None, value, at, sample.max_age)

    def _windowed(self, window: Window, instance: str | None, value: Value, at: float, cover: float) -> float | None:
        series = self._series.get(instance)
        if series is None:
            series = self._series[instance] = self._new_series(window)
        series.add(at, value, cover)  # type: ignore[arg-type]
        number = series.value()
        if number is None:
            return None
        return finite(number if window.stat is not Stat.TIME_TO else min(number, MOST_SECONDS))

    def _found(self, observation: Observation) -> dict[str | None, Value]:
        field, sample, picks, is_text = self.field, observation.sample, self._picks, self.is_text
        if picks is None:
            value = sample.values.get(field)
            return {} if value is None or (type(value) is str) is not is_text else {None: value}
        found: dict[str | None, Value] = {}
        for instance, values in sample.instances.items():
            value = values.get(field)
            if value is not None and (type(value) is str) is is_text and picks(instance):
                found[instance] = value
        return found

    def _rates(self, found: dict[str | None, Value], observation: Observation) -> dict[str | None, Value]:
        before, rates = self._points, {}
        fresh: dict[str | None, Point] = {}
        for instance, value in found.items():
            point = fresh[instance] = Point(float(value), observation.now, observation.sample.at)
            last = before.get(instance)
            rate = None if last is None else _rate(last, point)
            if rate is not None:
                rates[instance] = rate
        self._points = fresh
        return rates  # type: ignore[return-value]

    def _new_series(self, window: Window) -> Series | _Changes:
        if self._is_change or self.is_text:
            return _Changes(window, is_change=self._is_change)
        return Series(window, is_counter=self._is_counter)


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


def _rate(last: Point, point: Point) -> float | None:
    """Per second between two points; None where no time passed.

    After a reset the count since then stands for the whole (as in Prometheus's `increase`).
    """
    (at, mono), (last_at, last_mono) = point.now, last.now
    passed = middle(at - last_at, mono - last_mono, point.read_at - last.read_at)
    if passed <= 0:
        return None
    increase = point.value - last.value if point.value >= last.value else point.value
    return finite(increase / passed)
