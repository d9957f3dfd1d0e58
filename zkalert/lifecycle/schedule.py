"""When a rule is on: spans of the day in the wall-clock time of a zone, as spans of epoch seconds.

Comes in: a schedule and a moment (epoch seconds). Goes out: whether the rule is on then, and when that changes next.

A span is open from the moment at which the wall clock first reads its start, or a later time, until it has read its
end for the last time. So a span is always in one piece, whatever the clock does in between:

    the clock skips the start or the end      it starts or ends with the jump; one that is skipped whole is not open
    the clock reads the start or end twice    it starts at the first and ends at the second
    the clock jumps within the span           it is an hour (or half of one) shorter or longer

Where a time comes twice, a rule is thus on for longer rather than for less. A span belongs to the day that it starts
on, and `22:00-06:00` of a Friday ends on Saturday at 6:00.
"""

from __future__ import annotations

import bisect
import functools
import operator
from datetime import date, datetime, timedelta, timezone, tzinfo

from zkalert.model import Schedule

DAY = 86400.0
_WHOLE_DAY = ((0.0, DAY),)
# A weekly span that a jump of the clock swallows is missed once, never twice in a row.
_LOOK_AHEAD_DAYS = 22
_EPOCH = date(1970, 1, 1)

Spans = tuple[tuple[float, float], ...]


def is_open(schedule: Schedule, at: float) -> bool:
    """Whether the schedule is on at a moment, in epoch seconds. Raises KeyError for a zone that does not exist."""
    return any(start <= at < end for start, end in _spans(schedule, int(at // DAY)))


def next_change(schedule: Schedule, at: float) -> float | None:
    """The first moment after `at` at which `is_open` changes; None where it never does."""
    was_open = is_open(schedule, at)
    today = int(at // DAY)
    for day in range(today, today + _LOOK_AHEAD_DAYS):
        # Spans may meet or overlap, so not each of their ends is a change.
        for edge in sorted(edge for span in _spans(schedule, day) for edge in span):
            if edge > at and edge // DAY == day and is_open(schedule, edge) is not was_open:
                return edge
    return None


@functools.lru_cache(maxsize=4096)
def _spans(schedule: Schedule, day: int) -> Spans:
    """The spans that reach into a day of UTC, counted from the epoch; by these `is_open` is asked for every sample."""
    zone = _zone(schedule.timezone)
    begin, found = day * DAY, []
    # The day is at most one off from the local one, and a span at most one day long.
    for offset in range(-2, 3):
        local = _EPOCH + timedelta(days=day + offset)
        if local.weekday() not in schedule.days:
            continue
        for start, end in schedule.hours or _WHOLE_DAY:
            midnight = datetime(local.year, local.month, local.day)  # noqa: DTZ001 - what the wall clock reads
            opens = _moment(midnight + timedelta(seconds=start), zone, fold=0)
            closes = _moment(midnight + timedelta(seconds=end if end > start else end + DAY), zone, fold=1)
            if opens < closes and opens < begin + DAY and closes >= begin:
                found.append((opens, closes))
    return tuple(found)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return timezone.utc  # on systems without zone files too
    import zoneinfo  # noqa: PLC0415 - rules with a zone of their own are few

    return zoneinfo.ZoneInfo(name)


def _moment(wall: datetime, zone: tzinfo, *, fold: int) -> float:
    """When the wall clock reads a time, for the first (`fold` 0) or the last time; the jump, where it skips it.

    The very time that it falls back to counts as read once: what ends then has no minute that comes twice.
    """
    first, last = _readings(wall, zone)
    if first <= last:
        if fold and first < last and operator.eq(*_readings(wall - timedelta(seconds=1), zone)):
            return first
        return last if fold else first
    # By the offset before the jump the time comes after it, and by the offset that follows it comes before.
    seconds = range(int(last), int(first) + 1)
    before = _offset(seconds[0], zone)
    return float(seconds[bisect.bisect_left(seconds, True, key=lambda at: _offset(at, zone) != before)])


def _readings(wall: datetime, zone: tzinfo) -> tuple[float, float]:
    """A wall-clock time by the offset before a jump and by the one after it; the same where there is none."""
    first, last = (wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return first, last


def _offset(at: float, zone: tzinfo) -> timedelta | None:
    return datetime.fromtimestamp(at, zone).utcoffset()
