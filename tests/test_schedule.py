"""When a rule is on, by the wall clock of a zone, through the nights in which that clock jumps."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zkalert.lifecycle.schedule import is_open, next_change
from zkalert.model import Schedule

MON, TUE, WED, THU, FRI, SAT, SUN = range(7)
WEEKDAYS = frozenset({MON, TUE, WED, THU, FRI})
DAY = 1440  # minutes

# The nights around which a clock jumps: zone, and the midnight (UTC) in the middle of the days that are looked at.
JUMPS = {
    "Europe/Berlin, an hour ahead at 2:00": ("Europe/Berlin", "2025-03-30T00:00Z"),
    "Europe/Berlin, an hour back at 3:00": ("Europe/Berlin", "2025-10-26T00:00Z"),
    "America/Sao_Paulo, an hour ahead at midnight": ("America/Sao_Paulo", "2018-11-04T00:00Z"),
    "America/Sao_Paulo, an hour back at midnight": ("America/Sao_Paulo", "2018-02-18T00:00Z"),
    "Australia/Lord_Howe, half an hour ahead": ("Australia/Lord_Howe", "2025-10-05T00:00Z"),
    "Australia/Lord_Howe, half an hour back": ("Australia/Lord_Howe", "2025-04-06T00:00Z"),
    "America/St_Johns, back over midnight": ("America/St_Johns", "2010-11-07T00:00Z"),
    "Pacific/Apia, a day that never was": ("Pacific/Apia", "2011-12-30T00:00Z"),
    "Asia/Kathmandu, never": ("Asia/Kathmandu", "2025-03-30T00:00Z"),
}


def moment(text: str) -> float:
    """Epoch seconds of an ISO time with its offset."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def schedule(*spans: str, days: frozenset[int] = frozenset(range(7)), zone: str = "UTC") -> Schedule:
    def seconds(time: str) -> float:
        hour, _, minute = time.partition(":")
        return int(hour) * 3600.0 + int(minute) * 60.0

    pairs = (span.split("-") for span in spans)
    return Schedule(days=days, hours=tuple((seconds(a), seconds(b)) for a, b in pairs), timezone=zone)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2025-06-06T21:59:59Z", False),  # a Friday
        ("2025-06-06T22:00:00Z", True),
        ("2025-06-07T05:59:59Z", True),
        ("2025-06-07T06:00:00Z", False),
        ("2025-06-07T23:00:00Z", False),
        ("2025-06-06T03:00:00Z", False),
    ],
)
def test_a_span_belongs_to_the_day_it_starts_on(at: str, expected: bool) -> None:
    assert is_open(schedule("22:00-06:00", days=frozenset({FRI})), moment(at)) is expected


@pytest.mark.parametrize(
    ("hours", "zone", "opens", "closes"),
    [
        pytest.param(
            "22:00-06:00", "Europe/Berlin", "2025-03-29T22:00+01:00", "2025-03-30T06:00+02:00", id="an hour shorter"
        ),
        pytest.param(
            "22:00-06:00", "Europe/Berlin", "2025-10-25T22:00+02:00", "2025-10-26T06:00+01:00", id="an hour longer"
        ),
        pytest.param(
            "02:30-05:00", "Europe/Berlin", "2025-03-30T03:00+02:00", "2025-03-30T05:00+02:00", id="a start skipped"
        ),
        pytest.param(
            "00:00-02:30", "Europe/Berlin", "2025-03-30T00:00+01:00", "2025-03-30T03:00+02:00", id="an end skipped"
        ),
        pytest.param(
            "02:30-04:00", "Europe/Berlin", "2025-10-26T02:30+02:00", "2025-10-26T04:00+01:00", id="a start twice"
        ),
        pytest.param(
            "01:00-02:30", "Europe/Berlin", "2025-10-26T01:00+02:00", "2025-10-26T02:30+01:00", id="an end twice"
        ),
        pytest.param(
            "02:10-02:20", "Europe/Berlin", "2025-10-26T02:10+02:00", "2025-10-26T02:20+01:00", id="both of them twice"
        ),
        pytest.param(
            "00:00-23:00", "America/Sao_Paulo", "2018-11-04T01:00-02:00", "2018-11-04T23:00-02:00", id="no midnight"
        ),
        pytest.param(
            "23:30-01:00", "America/Sao_Paulo", "2018-02-17T23:30-02:00", "2018-02-18T01:00-03:00", id="23:30 twice"
        ),
        pytest.param(
            "02:15-03:00",
            "Australia/Lord_Howe",
            "2025-10-05T02:30+11:00",
            "2025-10-05T03:00+11:00",
            id="half an hour skipped",
        ),
        pytest.param(
            "01:45-03:00",
            "Australia/Lord_Howe",
            "2025-04-06T01:45+11:00",
            "2025-04-06T03:00+10:30",
            id="half an hour twice",
        ),
        pytest.param(
            "09:00-17:30", "Asia/Kathmandu", "2025-03-30T09:00+05:45", "2025-03-30T17:30+05:45", id="three quarters"
        ),
    ],
)
def test_a_span_starts_and_ends_when_the_wall_clock_says_so(hours: str, zone: str, opens: str, closes: str) -> None:
    span = schedule(hours, zone=zone)
    start, end = moment(opens), moment(closes)
    assert next_change(span, start - 60) == start
    assert next_change(span, start) == end
    assert [is_open(span, at) for at in (start - 1, start, (start + end) / 2, end - 1, end)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_a_span_that_the_clock_skips_is_not_open_that_day() -> None:
    span = schedule("02:10-02:40", days=frozenset({SUN}), zone="Europe/Berlin")
    assert next_change(span, moment("2025-03-24T00:00Z")) == moment("2025-04-06T02:10+02:00")


def test_spans_that_meet_or_overlap_are_one() -> None:
    office = schedule("08:00-12:00", "12:00-16:00", "15:00-18:00", days=WEEKDAYS, zone="Europe/Berlin")
    assert next_change(office, moment("2025-06-06T08:00+02:00")) == moment("2025-06-06T18:00+02:00")
    assert next_change(office, moment("2025-06-06T18:00+02:00")) == moment("2025-06-09T08:00+02:00")


def test_days_without_hours_are_whole_days() -> None:
    weekend = Schedule(days=frozenset({SAT, SUN}), timezone="Asia/Kathmandu")
    assert next_change(weekend, moment("2025-06-04T00:00Z")) == moment("2025-06-07T00:00+05:45")
    assert next_change(weekend, moment("2025-06-07T00:00+05:45")) == moment("2025-06-09T00:00+05:45")


@pytest.mark.parametrize(
    "always",
    [
        Schedule(),
        schedule("00:00-24:00", zone="Europe/Berlin"),
        schedule("00:00-02:30", "02:30-24:00", zone="Europe/Berlin"),
        schedule("06:00-18:00", "18:00-06:00", zone="America/Sao_Paulo"),
    ],
    ids=lambda one: f"{one.hours} {one.timezone}",
)
def test_what_is_always_on_never_changes(always: Schedule) -> None:
    for at in ("2025-03-28T11:00Z", "2025-10-25T23:30Z", "2018-02-17T12:00Z"):
        assert is_open(always, moment(at))
        assert next_change(always, moment(at)) is None


def test_what_has_no_day_is_never_on() -> None:
    assert not is_open(Schedule(days=frozenset()), moment("2025-06-04T00:00Z"))
    assert next_change(Schedule(days=frozenset()), moment("2025-06-04T00:00Z")) is None


def test_a_zone_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        is_open(Schedule(timezone="Europe/Bremen"), 0.0)


@functools.cache
def walk(zone: str, middle: float) -> tuple[list[float], list[datetime], list[datetime]]:
    """Each minute of nine days, the latest time that the wall clock has read by then, the earliest it will yet read."""
    minutes = [middle + 60.0 * index for index in range(-4 * DAY, 5 * DAY)]
    walls = [datetime.fromtimestamp(at, ZoneInfo(zone)).replace(tzinfo=None) for at in minutes]
    latest, earliest = list(walls), list(walls)
    for index in range(1, len(walls)):
        latest[index] = max(latest[index - 1], walls[index])
        earliest[-index - 1] = min(earliest[-index], walls[-index - 1])
    return minutes, latest, earliest


def is_open_by_the_walk(one: Schedule, latest: datetime, earliest: datetime) -> bool:
    """Open from when the clock has read a span's start, for as long as it will still read a time before its end."""
    for back in range(-1, 4):
        day = latest.replace(hour=0, minute=0, second=0) - timedelta(days=back)
        if day.weekday() not in one.days:
            continue
        for start, end in one.hours or ((0.0, 86400.0),):
            until = day + timedelta(days=end <= start, seconds=end)
            if day + timedelta(seconds=start) <= latest and earliest < until:
                return True
    return False


# Near the hours at which clocks jump, where it matters, and anywhere else.
TIMES = st.one_of(st.integers(0, 185), st.integers(1375, 1439), st.integers(0, 1439)).map(lambda minute: minute * 60.0)
SPANS = st.lists(st.tuples(TIMES, TIMES).filter(lambda span: span[0] != span[1]), max_size=3).map(tuple)


@pytest.mark.parametrize(("zone", "middle"), JUMPS.values(), ids=JUMPS)
@given(hours=SPANS, days=st.frozensets(st.integers(0, 6)))
@example(hours=((0.0, 7200.0),), days=frozenset({6}))  # ends at the time to which the clock falls back
@settings(max_examples=15, deadline=None)
def test_it_is_open_when_a_walk_along_the_wall_clock_says_so(
    zone: str, middle: str, hours: tuple[tuple[float, float], ...], days: frozenset[int]
) -> None:
    one = Schedule(days=days, hours=hours, timezone=zone)
    minutes, latest, earliest = walk(zone, moment(middle))
    looked_at = range(3 * DAY, 6 * DAY)
    walked = [is_open_by_the_walk(one, latest[index], earliest[index]) for index in looked_at]
    assert [is_open(one, minutes[index]) for index in looked_at] == walked

    changes = [minutes[index] for index in looked_at[1:] if walked[index - 3 * DAY] != walked[index - 3 * DAY - 1]]
    at, found = minutes[looked_at[0]], []
    while (change := next_change(one, at)) is not None and change <= minutes[looked_at[-1]]:
        found.append(at := change)
    assert found == changes
