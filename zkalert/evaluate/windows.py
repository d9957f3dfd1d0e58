"""Statistics over a moving window of one series, kept up to date sample by sample.

Comes in: samples in the order of time, each with how long it speaks. Goes out: the statistic as of the newest one, or
None while less than half of the window was observed. It must not know rules, thresholds or clocks.

What leaves a window is never subtracted: a value of 1e18 that passed through would take the digits of all others with
it. Each statistic is a fold of what single samples add, by an associative `combine`, and the window is a queue made of
two stacks that keep partial folds ("sliding window aggregation"). A sample is pushed once and popped once, so the cost
of a sample does not grow with the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from zkalert.evaluate.buckets import (
    EDGE_AT,
    EDGE_END,
    EDGE_VALUE,
    FIRST_AT,
    FIRST_SILENT,
    FIRST_VALUE,
    Ends,
    First,
    Folded,
    Ranked,
    Row,
)
from zkalert.model import Stat, Window

_BUCKETS = 1000
_NOTHING: First = (0.0, 0.0, 0.0)
"""Stands where there is no sample."""


class Series:
    """One window of one series.

    The window at T, the time of the newest sample, is the span from T - over to T. A sample speaks from its time until
    the next one's, but for `cover` seconds at most. What counts:

    - `avg` weighs each value by the seconds that its sample speaks for within the span. The newest sample has not
      spoken yet; the last one before the span may still speak.
    - `last`, `min`, `max`, `sum`, `count`, `stddev`, `percentile`, `changes` and `time_to` take the samples with
      T - over < at <= T, all alike. The span is open to the left, as a range is in Prometheus 3.
    - `delta` and `rate` start from the last sample before the span while it still speaks at T - over, else from the
      first one within. Prometheus calls that an anchored range: nothing is extrapolated, and no increase is lost
      between a window and the next.

    Samples within over / 1000 seconds share a bucket, which leaves the window as a whole, once its last sample does:
    with samples that come this fast the window's start is exact to over / 1000 seconds, with slower ones all is exact.
    `percentile` takes the last sample of a bucket for all of them. There are never more than 1,003 buckets.
    """

    __slots__ = ("_at", "_before", "_buckets", "_end", "_first", "_fold", "_open", "_over", "_silent", "_value")

    def __init__(self, window: Window, *, is_counter: bool) -> None:
        """`is_counter` says that a value below the one before it is a reset, for `delta` and `rate`."""
        self._over = window.over
        # The newest sample, the seconds before it (of the whole series) that none spoke for, the value before it.
        self._at = self._value = self._end = self._silent = self._before = 0.0
        self._fold = fold = _fold_of(window, is_counter=is_counter)
        # Those that are full and in the window.
        self._buckets: Folded | Ranked = (
            Ranked(window.parameter) if window.stat is Stat.PERCENTILE else Folded(fold.combine, fold.width)
        )
        # The bucket that still fills: its first sample, and what it adds without the newest one, which may be replaced.
        self._first = _NOTHING
        self._open: Row | None = None

    def add(self, at: float, value: float, cover: float) -> None:
        """Take the next sample: `at` in seconds, never before the last one's, `cover` the seconds it speaks at most.

        A sample at the time of the last one replaces it.
        """
        if self._first is _NOTHING:
            self._first = (at, value, 0.0)
            self._before = value
        elif at != self._at:
            self._settle(at, value)
        elif at == self._first[0]:
            self._first = (at, value, self._silent)
        self._at, self._value, self._end = at, value, at + cover
        start, buckets = at - self._over, self._buckets
        while buckets.due <= start:
            buckets.pop()

    def value(self) -> float | None:
        """The statistic as of the newest sample; None until half of the window was observed.

        Also None where a line is asked for (`time_to`) and there is one sample alone.
        """
        fold, buckets, at = self._fold, self._buckets, self._at
        ends = buckets.ends(self._first)
        lead = self._lead(ends)
        if self._seconds(ends, lead) < self._over / 2:
            return None
        newest = fold.lift(self._before, at, self._value, 0.0)
        if self._open is not None:
            newest = fold.combine(self._open, newest)
        return fold.result(buckets.fold(newest), ends, lead, at, self._value)

    def observed(self) -> float:
        """The seconds of the window that samples speak for, `over` at most."""
        ends = self._buckets.ends(self._first)
        return min(self._seconds(ends, self._lead(ends)), self._over)

    def _lead(self, ends: Ends) -> float:
        """The seconds of the window that the sample before it speaks for."""
        lead = min(ends[EDGE_END], ends[FIRST_AT]) - (self._at - self._over)
        return lead if lead > 0 else 0.0

    def _seconds(self, ends: Ends, lead: float) -> float:
        """The seconds observed; up to a bucket more than the window has where the oldest bucket reaches out of it."""
        return (self._at - ends[FIRST_AT]) - (self._silent - ends[FIRST_SILENT]) + lead

    def _settle(self, at: float, value: float) -> None:
        """Join what the newest sample adds to the others: the next one, which comes now, says for how long it spoke."""
        fold, first = self._fold, self._first
        last_at, last_value, last_end = self._at, self._value, self._end
        if at > last_end:
            self._silent += at - last_end
            added = fold.lift(self._before, last_at, last_value, last_end - last_at)
        else:
            added = fold.lift(self._before, last_at, last_value, at - last_at)
        if self._open is not None:
            added = fold.combine(self._open, added)
        if at - first[0] < self._over / _BUCKETS:
            self._open = added
        else:
            self._buckets.push(first, added, (last_at, last_value, last_end))
            self._first, self._open = (at, value, self._silent), None
        self._before = last_value


_Result: TypeAlias = "Callable[[Row, Ends, float, float, float], float | None]"
"""Takes what all add, the ends, the seconds that the edge speaks for, time and value of the newest sample."""


@dataclass(frozen=True, slots=True)
class _Fold:
    """One statistic: what a sample adds, how what neighbours add is joined (older first), what comes of the whole.

    What is added has `width` numbers. `lift` takes the value before, the sample's time and value, and the seconds that
    it spoke for. The very first sample of a series stands for its own predecessor.
    """

    width: int
    lift: Callable[[float, float, float, float], Row]
    combine: Callable[[Row, Row], Row]
    result: _Result


def _fold_of(window: Window, *, is_counter: bool) -> _Fold:
    if window.stat in (Stat.DELTA, Stat.RATE):
        return (_COUNTER if is_counter else _GAUGE)[window.stat]
    if window.stat is Stat.TIME_TO:
        return _Fold(5, _lift_line, _join_lines, partial(_time_to, window.parameter))
    return _FOLDS[window.stat]


def _lift_nothing(_before: float, _at: float, _value: float, _seconds: float) -> Row:
    return ()


def _lift_value(_before: float, _at: float, value: float, _seconds: float) -> Row:
    return (value,)


def _newer(_older: Row, newer: Row) -> Row:
    return newer


def _sum(a: Row, b: Row) -> Row:
    return (a[0] + b[0],)


def _whole(total: Row, _ends: Ends, _lead: float, _at: float, _value: float) -> float:
    return float(total[0])


def _join_weighted(a: Row, b: Row) -> Row:
    """Seconds, and the mean over them.

    Start from the mean with more weight: a mean of equal values is then that very value, to the last digit.
    """
    if a[0] < b[0]:
        a, b = b, a
    more, mean = a
    less, other = b
    if not less:
        return a
    seconds = more + less
    return seconds, mean + (other - mean) * (less / seconds)


def _average(total: Row, ends: Ends, lead: float, _at: float, _value: float) -> float:
    """sum(value * seconds it speaks for) / seconds observed."""
    return _join_weighted((lead, ends[EDGE_VALUE]), total)[1] if lead else total[1]


def _join_moments(a: Row, b: Row) -> Row:
    """Count, mean, and sum of squared distances from the mean.

    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    """
    count = a[0] + b[0]
    apart, share = b[1] - a[1], b[0] / count
    return count, a[1] + apart * share, a[2] + b[2] + apart * apart * a[0] * share


def _join_steps(a: Row, b: Row) -> Row:
    """What happened on the way from the sample before into the first one, and from that one on.

    The first part is kept apart since it is not of the window while the sample before is not.
    """
    return a[0], a[1] + b[0] + b[1]


def _steps_since_first(total: Row, _ends: Ends, _lead: float, _at: float, _value: float) -> float:
    return float(total[1])


def _lift_change(before: float, _at: float, value: float, _seconds: float) -> Row:
    return value != before, 0.0


def _lift_increase(before: float, _at: float, value: float, _seconds: float) -> Row:
    """After a reset the new value stands for the increase, as in Prometheus's `increase`."""
    return (value - before if value >= before else value), 0.0


def _increase(total: Row, _ends: Ends, lead: float, _at: float, _value: float) -> float:
    return total[0] + total[1] if lead else total[1]


def _difference(_total: Row, ends: Ends, lead: float, _at: float, value: float) -> float:
    return value - ends[EDGE_VALUE if lead else FIRST_VALUE]


def _per_second(difference: Callable[[Row, Ends, float, float, float], float]) -> _Result:
    """The difference over the time from its first sample to the newest; there are two, since some time was observed."""
    return lambda total, ends, lead, at, value: (
        difference(total, ends, lead, at, value) / (at - ends[EDGE_AT if lead else FIRST_AT])
    )


def _lift_line(_before: float, at: float, value: float, _seconds: float) -> Row:
    return 1.0, at, value, 0.0, 0.0


def _join_lines(a: Row, b: Row) -> Row:
    """What a least-squares line is made of: count, mean time, mean value, sum of (time - mean)², and of the products
    (time - mean) * (value - mean).

    As `_join_moments`, with products: distances from means keep the digits that squared epoch seconds would lose.
    """
    a_count, a_at, a_value, a_squares, a_products = a
    b_count, b_at, b_value, b_squares, b_products = b
    count = a_count + b_count
    share = b_count / count
    at, value = b_at - a_at, b_value - a_value
    weighted = at * a_count * share
    squares, products = a_squares + b_squares + at * weighted, a_products + b_products + value * weighted
    return count, a_at + at * share, a_value + value * share, squares, products


def _time_to(target: float, line: Row, ends: Ends, _lead: float, at: float, _value: float) -> float | None:
    """Seconds from the newest sample until the least-squares line through the samples reaches `target`.

    0.0 where the line stands there, or has passed it since the first sample of the window; infinite where it is flat
    or moves away. None for a single sample, through which there is no line.
    """
    _, mean_at, mean, squares, products = line
    if not squares:
        return None
    slope = products / squares
    distance = target - (mean + slope * (at - mean_at))
    distance_at_first = target - (mean + slope * (ends[FIRST_AT] - mean_at))
    if distance == 0 or distance * distance_at_first < 0:
        return 0.0
    return distance / slope if slope * distance > 0 else math.inf


_FOLDS: dict[Stat, _Fold] = {
    Stat.LAST: _Fold(1, _lift_value, _newer, _whole),
    Stat.PERCENTILE: _Fold(1, _lift_value, _newer, _whole),
    Stat.MIN: _Fold(1, _lift_value, min, _whole),
    Stat.MAX: _Fold(1, _lift_value, max, _whole),
    Stat.SUM: _Fold(1, _lift_value, _sum, _whole),
    Stat.COUNT: _Fold(1, lambda _before, _at, _value, _seconds: (1.0,), _sum, _whole),
    Stat.AVG: _Fold(2, lambda _before, _at, value, seconds: (seconds, value), _join_weighted, _average),
    Stat.STDDEV: _Fold(
        3,
        lambda _before, _at, value, _seconds: (1.0, value, 0.0),
        _join_moments,
        lambda total, _ends, _lead, _at, _value: math.sqrt(total[2] / total[0]),
    ),
    Stat.CHANGES: _Fold(2, _lift_change, _join_steps, _steps_since_first),
}
_GAUGE: dict[Stat, _Fold] = {
    Stat.DELTA: _Fold(0, _lift_nothing, _newer, _difference),
    Stat.RATE: _Fold(0, _lift_nothing, _newer, _per_second(_difference)),
}
_COUNTER: dict[Stat, _Fold] = {
    Stat.DELTA: _Fold(2, _lift_increase, _join_steps, _increase),
    Stat.RATE: _Fold(2, _lift_increase, _join_steps, _per_second(_increase)),
}
