"""Statistics over a moving window, held against slow models that look at every sample again."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zkalert.evaluate.buckets import FIRST_AT, Folded, Ranked, Row
from zkalert.evaluate.windows import Series
from zkalert.model import Stat, Window

EXACT = settings(deadline=None, max_examples=100)
COUNTED = (Stat.RATE, Stat.DELTA)
ALL = [pytest.param(stat, id=stat.value) for stat in Stat]


class Fed(NamedTuple):
    at: float
    value: float
    cover: float


def fill(window: Window, fed: list[Fed], *, is_counter: bool = False) -> Series:
    series = Series(window, is_counter=is_counter)
    for sample in fed:
        series.add(*sample)
    return series


def steady(values: list[float], *, every: float = 5.0, cover: float = 15.0, start: float = 0.0) -> list[Fed]:
    return [Fed(start + every * number, value, cover) for number, value in enumerate(values)]


def after(stat: Stat, fed: list[Fed], *, over: float, parameter: float = 0.0, is_counter: bool = False) -> float | None:
    return fill(Window(over=over, stat=stat, parameter=parameter), fed, is_counter=is_counter).value()


# The slow models -------------------------------------------------------------------------------------------------


def without_replaced(fed: list[Fed]) -> list[Fed]:
    return list({sample.at: sample for sample in fed}.values())


def speeches(fed: list[Fed], start: float) -> list[tuple[float, float]]:
    """(value, seconds that it stands for since `start`) of each sample."""
    ends = [(sample, min(following.at, sample.at + sample.cover)) for sample, following in pairwise(fed)]
    return [(sample.value, end - max(sample.at, start)) for sample, end in ends if end > max(sample.at, start)]


def slow_observed(fed: list[Fed], over: float) -> float:
    return math.fsum(seconds for _, seconds in speeches(fed, fed[-1].at - over))


def slow_percentile(values: list[float], percentile: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percentile - 1] if len(values) > 1 else values[0]


def slow_difference(stat: Stat, fed: list[Fed], start: float, *, is_counter: bool) -> float:
    within = [sample for sample in fed if sample.at > start]
    before = [sample for sample in fed if sample.at <= start][-1:]
    speaking = [sample for sample in before if sample.at + sample.cover > start]
    chain = speaking + within
    difference = chain[-1].value - chain[0].value
    if is_counter:
        difference = math.fsum(b.value - a.value if b.value >= a.value else b.value for a, b in pairwise(chain))
    return difference / (chain[-1].at - chain[0].at) if stat is Stat.RATE else difference


def slow_value(stat: Stat, fed: list[Fed], over: float, *, percentile: int = 95, is_counter: bool = False) -> float:
    start = fed[-1].at - over
    values = [sample.value for sample in fed if sample.at > start]
    if stat is Stat.AVG:
        spoken = speeches(fed, start)
        return math.fsum(value * seconds for value, seconds in spoken) / math.fsum(seconds for _, seconds in spoken)
    if stat in COUNTED:
        return slow_difference(stat, fed, start, is_counter=is_counter)
    over_samples: dict[Stat, Callable[[], float]] = {
        Stat.LAST: lambda: values[-1],
        Stat.MIN: lambda: min(values),
        Stat.MAX: lambda: max(values),
        Stat.SUM: lambda: math.fsum(values),
        Stat.COUNT: lambda: len(values),
        Stat.STDDEV: lambda: statistics.pstdev(values),
        Stat.PERCENTILE: lambda: slow_percentile(values, percentile),
        Stat.CHANGES: lambda: sum(a != b for a, b in pairwise(values)),
    }
    return over_samples[stat]()


# Times are multiples of 1/4, so that sums of them are exact and the models agree on what lies at the window's edge.
quarters = st.integers(1, 160).map(lambda number: number / 4)
# Six decimals, as metrics have at most: the square of 1e-166 is zero.
readings = st.one_of(st.integers(-20, 20).map(float), st.floats(-1e6, 1e6).map(lambda value: round(value, 6)))
counts = st.integers(0, 1000).map(float)


def streams(values: st.SearchStrategy[float], *, may_repeat: bool = True) -> st.SearchStrategy[list[Fed]]:
    """Samples with irregular spans between them, silences, and now and then two at one time."""
    steps = st.integers(0 if may_repeat else 1, 60).map(lambda number: number / 4)

    def placed(parts: list[tuple[float, float, float]]) -> list[Fed]:
        at, fed = 0.0, []
        for step, value, cover in parts:
            at += step
            fed.append(Fed(at, value, cover))
        return fed

    return st.lists(st.tuples(steps, values, quarters), min_size=1, max_size=50).map(placed)


def compare(stat: Stat, fed: list[Fed], over: float, *, is_counter: bool = False) -> None:
    """Hold every prefix of the stream against the slow model."""
    series = Series(Window(over=over, stat=stat, parameter=95), is_counter=is_counter)
    for number, sample in enumerate(fed, 1):
        series.add(*sample)
        seen = without_replaced(fed[:number])
        observed = slow_observed(seen, over)
        assert series.observed() == observed
        if observed < over / 2:
            assert series.value() is None
        else:
            size = max(abs(sample.value) for sample in seen)
            expected = slow_value(stat, seen, over, is_counter=is_counter)
            assert series.value() == pytest.approx(expected, rel=1e-9, abs=1e-9 * size)


@pytest.mark.parametrize("stat", [stat for stat in Stat if stat is not Stat.TIME_TO])
@EXACT
@given(fed=streams(readings), over=st.sampled_from([2.0, 20.0, 100.0]))
def test_every_statistic_of_a_gauge_is_that_of_the_slow_model(stat: Stat, fed: list[Fed], over: float) -> None:
    compare(stat, fed, over)


@pytest.mark.parametrize("stat", COUNTED)
@EXACT
@given(fed=streams(counts), over=st.sampled_from([2.0, 20.0, 100.0]))
def test_differences_of_a_counter_with_resets_are_those_of_the_slow_model(
    stat: Stat, fed: list[Fed], over: float
) -> None:
    compare(stat, fed, over, is_counter=True)


@EXACT
@given(fed=streams(counts, may_repeat=False), over=st.sampled_from([20.0, 100.0]), target=st.integers(-50, 1050))
def test_time_to_is_that_of_the_line_in_exact_fractions(fed: list[Fed], over: float, target: int) -> None:
    series = fill(Window(over=over, stat=Stat.TIME_TO, parameter=target), fed)
    assume(series.observed() >= over / 2)
    end = fed[-1].at
    points = [(Fraction(s.at - end), Fraction(s.value)) for s in fed if s.at > end - over]
    if len(points) == 1:
        assert series.value() is None
        return
    mean_x, mean_y = (statistics.mean(axis) for axis in zip(*points, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    distance = target - (mean_y - slope * mean_x)
    at_first = distance - slope * points[0][0]
    # On the verge the last digit decides; the table below has the verges.
    assume(min(abs(slope), abs(distance), abs(at_first)) > Fraction(1, 10**6))
    expected = 0.0 if distance * at_first < 0 else float(distance / slope) if slope * distance > 0 else math.inf
    assert series.value() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("stat", ALL)
@EXACT
@given(fed=streams(counts), data=st.data())
def test_a_sample_at_the_time_of_the_last_one_replaces_it_without_a_trace(
    stat: Stat, fed: list[Fed], data: st.DataObject
) -> None:
    window, is_counter = Window(over=20, stat=stat, parameter=95), data.draw(st.booleans())
    replaced = fill(window, fed, is_counter=is_counter)
    clean = fill(window, without_replaced(fed), is_counter=is_counter)
    assert (replaced.value(), replaced.observed()) == (clean.value(), clean.observed())


# What a window says, in examples -----------------------------------------------------------------------------------


def test_an_average_weighs_values_by_the_time_they_stood() -> None:
    fed = [Fed(0, 10, 100), Fed(8, 100, 100), Fed(10, 7, 100)]
    assert after(Stat.AVG, fed, over=10) == pytest.approx((10 * 8 + 100 * 2) / 10)


def test_the_sample_that_still_speaks_at_the_start_of_the_window_counts_for_the_average_alone() -> None:
    fed = [Fed(0, 50, 100), Fed(15, 10, 100), Fed(20, 10, 100)]
    assert after(Stat.AVG, fed, over=10) == pytest.approx((50 * 5 + 10 * 5) / 10)
    assert after(Stat.MAX, fed, over=10) == 10
    assert after(Stat.COUNT, fed, over=10) == 2


def test_a_sample_exactly_at_the_start_is_outside() -> None:
    assert after(Stat.COUNT, steady([1, 1, 1]), over=10) == 2


@pytest.mark.parametrize("value", [0.1, 100.0, 1e-7])
def test_the_average_of_one_value_is_that_value_to_the_last_digit(value: float) -> None:
    series = Series(Window(over=60, stat=Stat.AVG), is_counter=False)
    at = 1.7e9
    for number in range(100):
        at += 4.9 + 0.0137 * (number % 17)
        series.add(at, value, 15)
        assert series.value() in (None, value)
    assert series.value() == value


@pytest.mark.parametrize("stat", ALL)
def test_a_window_has_a_value_once_half_of_it_was_observed(stat: Stat) -> None:
    series = Series(Window(over=60, stat=stat, parameter=99), is_counter=False)
    assert (series.value(), series.observed()) == (None, 0.0)
    for number, sample in enumerate(steady([float(number) for number in range(20)])):
        series.add(*sample)
        assert series.observed() == min(5.0 * number, 60)
        assert (series.value() is None) == (number < 6)


def test_a_sample_is_observed_no_longer_than_it_speaks() -> None:
    series = fill(Window(over=60, stat=Stat.AVG), [Fed(0, 1, 10), Fed(50, 3, 10), Fed(60, 5, 10)])
    assert series.observed() == 20
    assert series.value() is None
    series.add(70, 7, 10)
    assert series.observed() == 20
    series.add(80, 9, 10)
    assert series.observed() == 30
    assert series.value() == pytest.approx((3 + 5 + 7) / 3)


@pytest.mark.parametrize("stat", ALL)
def test_a_silence_longer_than_the_window_empties_it(stat: Stat) -> None:
    window = Window(over=60, stat=stat, parameter=50)
    again = steady([3.0, 4.0, 6.0, 8.0, 8.0, 9.0, 9.5], start=500)
    series = fill(window, steady([1.0 + number % 3 for number in range(30)]))
    assert series.value() is not None
    for sample in again[:-1]:
        series.add(*sample)
        assert series.value() is None
    series.add(*again[-1])
    assert series.value() == fill(window, again).value()


@pytest.mark.parametrize(
    ("stat", "is_counter", "expected"),
    [
        pytest.param(Stat.DELTA, True, 4 + 0 + 2, id="increase, a reset in between"),
        pytest.param(Stat.RATE, True, (4 + 0 + 2) / 20, id="increase a second"),
        pytest.param(Stat.DELTA, False, 0, id="a gauge: last - first"),
        pytest.param(Stat.RATE, False, 0, id="a gauge: that a second"),
    ],
)
def test_a_counter_that_falls_was_reset_and_its_new_value_is_the_increase(
    stat: Stat, is_counter: bool, expected: float
) -> None:
    assert after(stat, steady([2, 4, 6, 0, 2]), over=20, is_counter=is_counter) == pytest.approx(expected)


@pytest.mark.parametrize("is_counter", [True, False])
def test_a_rate_covers_the_whole_window_and_loses_no_increase_between_two(is_counter: bool) -> None:
    fed = steady([10.0 * number for number in range(25)])
    assert after(Stat.DELTA, fed, over=60, is_counter=is_counter) == 120
    assert after(Stat.RATE, fed, over=60, is_counter=is_counter) == pytest.approx(2)


def test_a_difference_does_not_reach_back_over_a_silence() -> None:
    fed = [Fed(0, 0, 15), *steady([1000.0, 1005.0, 1010.0, 1015.0], every=10, start=100)]
    assert after(Stat.DELTA, fed, over=60, is_counter=True) == 15


def test_changes_are_counted_between_samples_of_the_window() -> None:
    assert after(Stat.CHANGES, steady([1, 2, 2, 3, 2]), over=60) is None
    assert after(Stat.CHANGES, steady([1, 2, 2, 3, 2]), over=20) == 2
    assert after(Stat.CHANGES, steady([1, 2, 2, 3, 2]), over=40) == 3


@pytest.mark.parametrize(
    ("values", "target", "expected"),
    [
        pytest.param([100, 90, 80, 70, 60], 0, 30, id="falling towards it"),
        pytest.param([10, 20, 30, 40, 50], 100, 25, id="rising towards it"),
        pytest.param([40, 30, 20, 10, 0], 0, 0.0, id="reached"),
        pytest.param([20, 10, 0, -10, -20], 0, 0.0, id="passed"),
        pytest.param([10, 20, 30, 40, 50], 0, math.inf, id="moving away"),
        pytest.param([0, 10, 20, 30, 40], 0, math.inf, id="moving away from where it stood"),
        pytest.param([0, -10, -20, -30, -40], 0, math.inf, id="moving away from where it stood, downwards"),
        pytest.param([0.1, 0.1, 0.1, 0.1, 0.1], 0, math.inf, id="flat"),
        pytest.param([0.1, 0.1, 0.1, 0.1, 0.1], 0.1, 0.0, id="flat and there"),
    ],
)
def test_time_to_follows_the_line_through_the_samples(values: list[float], target: float, expected: float) -> None:
    result = after(Stat.TIME_TO, steady(values), over=24, parameter=target)
    assert result == pytest.approx(expected)


def test_one_sample_makes_no_line() -> None:
    assert after(Stat.TIME_TO, steady([5, 4], every=10), over=10) is None


def test_time_to_keeps_its_digits_on_epoch_seconds() -> None:
    fed = steady([1e12 - 1e3 * 5 * number for number in range(2000)], start=1.7e9)
    assert after(Stat.TIME_TO, fed, over=3600) == pytest.approx(fed[-1].value / 1e3, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "percentile", "expected"),
    [
        pytest.param([1, 2, 3, 4], 50, 2.5, id="between two ranks"),
        pytest.param([4, 1, 3, 2, 5], 50, 3, id="on a rank, in any order"),
        pytest.param([10, 20, 30, 40, 50], 90, 46, id="near the end"),
        pytest.param([7, 7, 7, 7, 7], 99, 7, id="all the same"),
    ],
)
def test_a_percentile_lies_on_the_line_between_ranks(values: list[float], percentile: int, expected: float) -> None:
    over = 5.0 * len(values)
    assert after(Stat.PERCENTILE, steady(values), over=over, parameter=percentile) == pytest.approx(expected)


# Digits, memory, cost -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stat", ALL)
@pytest.mark.parametrize("is_counter", [True, False])
def test_a_huge_value_that_has_left_the_window_leaves_no_trace(stat: Stat, is_counter: bool) -> None:
    small = [0.1 * (number % 7) + number / 8 for number in range(60)]
    recent = steady(small, start=1000)
    huge = [*steady([1.0, 1e18, 2.0, -1e18, 0.5], start=975), *recent]
    window = Window(over=60, stat=stat, parameter=95)
    series, clean = Series(window, is_counter=is_counter), Series(window, is_counter=is_counter)
    for sample in huge:
        series.add(*sample)
        if sample in recent:
            clean.add(*sample)
        if sample.at > 1065:
            assert clean.value() is not None
            assert series.value() == pytest.approx(clean.value(), rel=1e-12)


def test_a_huge_value_that_stood_for_a_moment_costs_an_average_no_digits() -> None:
    moment = 2.0**-20
    fed = [Fed(0, 1e18, 100), Fed(moment, 5, 100), Fed(100, 0, 100)]
    assert after(Stat.AVG, fed, over=100) == pytest.approx((1e18 * moment + 5 * (100 - moment)) / 100, rel=1e-14)


@pytest.mark.parametrize("stat", ALL)
def test_memory_is_bounded_however_fast_samples_come(stat: Stat) -> None:
    window = Window(over=60, stat=stat, parameter=95)
    series = Series(window, is_counter=True)
    entries = 0
    for number in range(20_000):
        series.add(number * 0.0201, number % 91, 15)
        entries = max(entries, len(series._buckets))
        assert series.observed() <= 60
    assert 600 < entries <= 1024
    buckets = series._buckets
    assert sys.getsizeof(buckets._bytes) <= 1.2 * len(buckets) * buckets._row.size
    assert not isinstance(buckets, Ranked) or len(buckets._ranked) == len(buckets)


def test_a_sample_every_5_s_over_an_hour_stays_exact() -> None:
    series = fill(Window(over=3600, stat=Stat.COUNT), steady([1.0] * 2000))
    assert series.value() == 720
    assert len(series._buckets) == 719


merging = st.lists(st.tuples(st.integers(1, 40), counts, st.integers(1, 40)), min_size=20, max_size=60)


@pytest.mark.parametrize("stat", [stat for stat in Stat if stat not in (Stat.TIME_TO, Stat.PERCENTILE)])
@EXACT
@given(early=merging, late=merging, is_counter=st.booleans())
def test_merged_samples_move_the_start_of_the_window_by_a_thousandth_at_most(
    stat: Stat, early: list[tuple[int, float, int]], late: list[tuple[int, float, int]], is_counter: bool
) -> None:
    """What comes out is exact for the window, or for one that starts with a sample up to over / 1000 s before it.

    With buckets of a second, two bursts stand a window apart: while the second one comes, the start of the window
    cuts through the buckets of the first one.
    """
    over, bucket = 1000.0, 1.0
    middle = [Fed(300.0, 7, 1000), Fed(600.0, 3, 1000)]
    fed = [*burst(early, 0), *middle, *burst(late, over)]
    series = Series(Window(over=over, stat=stat), is_counter=is_counter)
    for number, sample in enumerate(fed, 1):
        series.add(*sample)
        start = sample.at - over
        if start <= 0:
            continue
        seen = fed[:number]
        fits = [slow_value(stat, seen, over, is_counter=is_counter)]
        for place, oldest in enumerate(seen):
            if start - bucket < oldest.at <= start:
                fits.append(slow_value(stat, seen[place:], over + bucket, is_counter=is_counter))
        assert any(series.value() == pytest.approx(fit, rel=1e-9, abs=1e-9) for fit in fits)
        assert over / 2 <= series.observed() <= over


def burst(parts: list[tuple[int, float, int]], start: float) -> list[Fed]:
    """Samples 1/16 to 40/16 s apart, in sixteenths that sum exactly."""
    at, fed = start, []
    for step, value, cover in parts:
        at += step / 16
        fed.append(Fed(at, value, cover / 16))
    return fed


def test_a_percentile_of_merged_samples_takes_the_last_of_each_bucket() -> None:
    """On a ramp the result is off by less than a bucket is high."""
    fed = [Fed(number * 0.01, number * 0.01, 1) for number in range(30_000)]
    result = after(Stat.PERCENTILE, fed, over=100, parameter=95)
    assert result == pytest.approx(fed[-1].value - 5, abs=0.2)


@pytest.mark.parametrize("length", [10, 1000])
def test_the_work_for_a_sample_does_not_grow_with_the_window(length: int) -> None:
    joined = 0

    def join(a: Row, b: Row) -> Row:
        nonlocal joined
        joined += 1
        return (a[0] + b[0],)

    buckets = Folded(join, 1)
    for number in range(10_000):
        if number >= length:
            buckets.pop()
        buckets.push((number, 0, 0), (1,), (number, 0, 0))
        assert buckets.fold((1,)) == (min(number + 1, length) + 1,)
        assert buckets.ends((-1, 0, 0))[FIRST_AT] == max(0, number + 1 - length)
    assert joined <= 4 * 10_000
