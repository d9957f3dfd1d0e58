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
import operator
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from zkalert.model import Stat, Window

P = TypeVar("P")

_BUCKETS = 1000


class _Sample(NamedTuple):
    """A sample, until when it speaks at most, and the seconds before it (of the whole series) that none spoke for."""

    at: float
    value: float
    end: float
    silent: float


_NOTHING = _Sample(0.0, 0.0, -math.inf, 0.0)
"""Stands where there is no sample; it speaks at no time."""


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

    __slots__ = ("_buckets", "_first", "_fold", "_kept", "_open", "_over", "_prior", "_span")

    def __init__(self, window: Window, *, is_counter: bool) -> None:
        """`is_counter` says that a value below the one before it is a reset, for `delta` and `rate`."""
        self._over = window.over
        self._span = _Span()
        self._fold: _Fold[Any] = _fold_of(window, is_counter=is_counter)
        is_ranked = window.stat is Stat.PERCENTILE
        self._kept: _Queue[Any] = _Ranks(window.parameter) if is_ranked else _TwoStacks(self._fold.combine)
        # The first and last sample of each bucket that is full and in the window; `_kept` has what each of them adds.
        self._buckets: deque[tuple[_Sample, _Sample]] = deque()
        # The bucket that still fills: its first sample, and what it adds without the newest one, which may be replaced.
        self._first = _NOTHING
        self._open: Any = None
        self._prior = _NOTHING

    def add(self, at: float, value: float, cover: float) -> None:
        """Take the next sample: `at` in seconds, never before the last one's, `cover` the seconds it speaks at most.

        A sample at the time of the last one replaces it.
        """
        span = self._span
        last = span.newest
        if last is _NOTHING:
            self._first = self._prior = span.oldest = span.newest = _Sample(at, value, at + cover, 0.0)
            return
        if at == last.at:
            # Nothing that the newest sample adds has been joined to anything yet.
            sample = _Sample(at, value, at + cover, last.silent)
            if self._first is last:
                self._first = sample
            self._slide(sample)
            return
        gap = at - last.end
        sample = _Sample(at, value, at + cover, last.silent + gap if gap > 0 else last.silent)
        settled = self._fold.lift(self._prior, last, (last.end if gap > 0 else at) - last.at)
        if self._open is not None:
            settled = self._fold.combine(self._open, settled)
        if at - self._first.at < self._over / _BUCKETS:
            self._open = settled
        else:
            self._buckets.append((self._first, last))
            self._kept.push(settled)
            self._first, self._open = sample, None
        self._prior = last
        self._slide(sample)

    def value(self) -> float | None:
        """The statistic as of the newest sample; None until half of the window was observed.

        Also None where a line is asked for (`time_to`) and there is one sample alone.
        """
        span = self._span
        if span.newest is _NOTHING or span.seconds() < self._over / 2:
            return None
        newest = self._fold.lift(self._prior, span.newest, 0.0)
        if self._open is not None:
            newest = self._fold.combine(self._open, newest)
        return self._fold.result(self._kept.fold(newest), span)

    def observed(self) -> float:
        """The seconds of the window that samples speak for, `over` at most."""
        return min(self._span.seconds(), self._over)

    def _slide(self, sample: _Sample) -> None:
        span, buckets, start = self._span, self._buckets, sample.at - self._over
        while buckets and buckets[0][1].at <= start:
            span.edge = buckets.popleft()[1]
            self._kept.pop()
        span.newest = sample
        span.oldest = buckets[0][0] if buckets else self._first
        lead = min(span.edge.end, span.oldest.at) - start
        span.lead = lead if lead > 0 else 0.0


class _Span:
    """Both ends of a window: the last sample before it, the first and the last within.

    `lead` is the seconds of the window that the sample before it speaks for.
    """

    __slots__ = ("edge", "lead", "newest", "oldest")

    def __init__(self) -> None:
        self.edge = self.oldest = self.newest = _NOTHING
        self.lead = 0.0

    def seconds(self) -> float:
        """The seconds observed; up to a bucket more than the window has where the oldest bucket reaches out of it."""
        oldest, newest = self.oldest, self.newest
        return (newest.at - oldest.at) - (newest.silent - oldest.silent) + self.lead

    def anchor(self) -> _Sample:
        """The sample that a difference over the window starts from."""
        return self.edge if self.lead else self.oldest


@dataclass(frozen=True, slots=True)
class _Fold(Generic[P]):
    """One statistic: what a sample adds, how what neighbours add is joined (older first), what comes of the whole.

    `lift` takes the sample before, the sample, and the seconds that it spoke for. The very first sample of a series
    stands for its own predecessor.
    """

    lift: Callable[[_Sample, _Sample, float], P]
    combine: Callable[[P, P], P]
    result: Callable[[P, _Span], float | None]


class _Queue(Protocol[P]):
    """What the full buckets of a window add, oldest first."""

    def push(self, added: P) -> None: ...

    def pop(self) -> None:
        """Drop the oldest."""

    def fold(self, newest: P) -> P:
        """All of them and `newest`, joined."""


class _TwoStacks(Generic[P]):
    """A queue that knows the fold of its items, without an inverse.

    The older items are a stack whose every level holds the fold of itself and all levels below; the younger ones are a
    list with one running fold. Where the stack runs out, the list is turned into the next one.
    """

    __slots__ = ("_combine", "_older", "_younger", "_younger_fold")

    def __init__(self, combine: Callable[[P, P], P]) -> None:
        self._combine = combine
        self._older: list[P] = []
        self._younger: list[P] = []
        self._younger_fold: P | None = None

    def push(self, added: P) -> None:
        self._younger.append(added)
        self._younger_fold = added if self._younger_fold is None else self._combine(self._younger_fold, added)

    def pop(self) -> None:
        if not self._older:
            self._turn()
        self._older.pop()

    def fold(self, newest: P) -> P:
        if self._younger_fold is not None:
            newest = self._combine(self._younger_fold, newest)
        return self._combine(self._older[-1], newest) if self._older else newest

    def _turn(self) -> None:
        older, combine = self._older, self._combine
        folded = self._younger.pop()
        older.append(folded)
        while self._younger:
            folded = combine(self._younger.pop(), folded)
            older.append(folded)
        self._younger_fold = None


class _Ranks:
    """A queue that keeps its values in order of size too; its fold is their percentile."""

    __slots__ = ("_percentile", "_queue", "_ranked")

    def __init__(self, percentile: float) -> None:
        self._percentile = percentile
        self._queue: deque[float] = deque()
        self._ranked: list[float] = []

    def push(self, added: float) -> None:
        self._queue.append(added)
        insort(self._ranked, added)

    def pop(self) -> None:
        del self._ranked[bisect_left(self._ranked, self._queue.popleft())]

    def fold(self, newest: float) -> float:
        """Between two ranks the value is taken on the straight line, as numpy does by default ("linear")."""
        ranked = self._ranked
        place = bisect_left(ranked, newest)
        ranked.insert(place, newest)
        rank = (len(ranked) - 1) * self._percentile / 100
        below = math.floor(rank)
        low, high = ranked[below], ranked[math.ceil(rank)]
        del ranked[place]
        return low + (high - low) * (rank - below)


def _fold_of(window: Window, *, is_counter: bool) -> _Fold[Any]:
    if window.stat in (Stat.DELTA, Stat.RATE):
        return (_COUNTER if is_counter else _GAUGE)[window.stat]
    if window.stat is Stat.TIME_TO:
        return _Fold(_lift_line, _join_lines, lambda line, span: _time_to(window.parameter, line, span))
    return _FOLDS[window.stat]


def _value(_prior: _Sample, sample: _Sample, _seconds: float) -> float:
    return sample.value


def _latest(_older: float, newer: float) -> float:
    return newer


def _whole(total: float, _span: _Span) -> float:
    return float(total)


_Weighted: TypeAlias = tuple[float, float]
"""Seconds, and the mean over them."""


def _join_weighted(a: _Weighted, b: _Weighted) -> _Weighted:
    """Start from the mean with more weight: a mean of equal values is then that very value, to the last digit."""
    if a[0] < b[0]:
        a, b = b, a
    if not b[0]:
        return a
    seconds = a[0] + b[0]
    return seconds, a[1] + (b[1] - a[1]) * (b[0] / seconds)


def _average(total: _Weighted, span: _Span) -> float:
    """sum(value * seconds it speaks for) / seconds observed."""
    return _join_weighted((span.lead, span.edge.value), total)[1]


_Moments: TypeAlias = tuple[int, float, float]
"""Count, mean, and sum of squared distances from the mean."""


def _join_moments(a: _Moments, b: _Moments) -> _Moments:
    """Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)."""
    count = a[0] + b[0]
    apart, share = b[1] - a[1], b[0] / count
    return count, a[1] + apart * share, a[2] + b[2] + apart * apart * a[0] * share


_Steps: TypeAlias = tuple[float, float]
"""What happened on the way from the sample before into the first one, and from that one on.

The first part is kept apart since it is not of the window while the sample before is not.
"""


def _join_steps(a: _Steps, b: _Steps) -> _Steps:
    return a[0], a[1] + b[0] + b[1]


def _lift_change(prior: _Sample, sample: _Sample, _seconds: float) -> _Steps:
    return sample.value != prior.value, 0


def _lift_increase(prior: _Sample, sample: _Sample, _seconds: float) -> _Steps:
    """After a reset the new value stands for the increase, as in Prometheus's `increase`."""
    increase = sample.value - prior.value
    return (increase if increase >= 0 else sample.value), 0.0


def _increase(total: _Steps, span: _Span) -> float:
    return total[0] + total[1] if span.lead else total[1]


def _difference(_total: float, span: _Span) -> float:
    return span.newest.value - span.anchor().value


def _per_second(total: P, span: _Span, difference: Callable[[P, _Span], float]) -> float:
    """The difference over the time from its first sample to the newest; there are two, since some time was observed."""
    return difference(total, span) / (span.newest.at - span.anchor().at)


_Line: TypeAlias = tuple[int, float, float, float, float]
"""What a least-squares line is made of: count, mean time, mean value, sum of (time - mean)², and of the products
(time - mean) * (value - mean)."""


def _lift_line(_prior: _Sample, sample: _Sample, _seconds: float) -> _Line:
    return 1, sample.at, sample.value, 0.0, 0.0


def _join_lines(a: _Line, b: _Line) -> _Line:
    """As `_join_moments`, with products: distances from means keep the digits that squared epoch seconds would lose."""
    a_count, a_at, a_value, a_squares, a_products = a
    b_count, b_at, b_value, b_squares, b_products = b
    count = a_count + b_count
    share = b_count / count
    at, value = b_at - a_at, b_value - a_value
    weighted = at * a_count * share
    squares, products = a_squares + b_squares + at * weighted, a_products + b_products + value * weighted
    return count, a_at + at * share, a_value + value * share, squares, products


def _time_to(target: float, line: _Line, span: _Span) -> float | None:
    """Seconds from the newest sample until the least-squares line through the samples reaches `target`.

    0.0 where the line stands there, or has passed it since the first sample of the window; infinite where it is flat
    or moves away. None for a single sample, through which there is no line.
    """
    _, mean_at, mean, squares, products = line
    if not squares:
        return None
    slope = products / squares
    distance = target - (mean + slope * (span.newest.at - mean_at))
    distance_at_first = target - (mean + slope * (span.oldest.at - mean_at))
    if distance == 0 or distance * distance_at_first < 0:
        return 0.0
    return distance / slope if slope * distance > 0 else math.inf


_FOLDS: dict[Stat, _Fold[Any]] = {
    Stat.LAST: _Fold(_value, _latest, _whole),
    Stat.PERCENTILE: _Fold(_value, _latest, _whole),
    Stat.MIN: _Fold(_value, min, _whole),
    Stat.MAX: _Fold(_value, max, _whole),
    Stat.SUM: _Fold(_value, operator.add, _whole),
    Stat.COUNT: _Fold(lambda _prior, _sample, _seconds: 1, operator.add, _whole),
    Stat.AVG: _Fold(lambda _prior, sample, seconds: (seconds, sample.value), _join_weighted, _average),
    Stat.STDDEV: _Fold(
        lambda _prior, sample, _seconds: (1, sample.value, 0.0),
        _join_moments,
        lambda total, _span: math.sqrt(total[2] / total[0]),
    ),
    Stat.CHANGES: _Fold(_lift_change, _join_steps, lambda total, _span: float(total[1])),
}
_GAUGE: dict[Stat, _Fold[Any]] = {
    Stat.DELTA: _Fold(_value, _latest, _difference),
    Stat.RATE: _Fold(_value, _latest, lambda total, span: _per_second(total, span, _difference)),
}
_COUNTER: dict[Stat, _Fold[Any]] = {
    Stat.DELTA: _Fold(_lift_increase, _join_steps, _increase),
    Stat.RATE: _Fold(_lift_increase, _join_steps, lambda total, span: _per_second(total, span, _increase)),
}
