"""When silences are on, around the jumps of the clock too, and which effects they keep quiet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rulekit import rule
from zkalert.lifecycle import inactive
from zkalert.model import FOR_GOOD, Effect, Phase, Reason, Severity, Silence
from zkalert.routing import Gate
from zkalert.routing.silencing import active_until, flaw, matches, next_change

HOUR = 3600.0
DAY = 24 * HOUR


def at(text: str, zone: str = "UTC") -> float:
    """Epoch seconds of a wall-clock time; where it comes twice, `+1` behind it means the second."""
    text, second, _ = text.partition("+1")
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=1 if second else 0)
    return moment.timestamp()


def nightly(cron: str = "0 2 * * *", zone: str = "UTC", span: float = HOUR, **more: Any) -> Silence:
    bounds = {"starts_at": 0.0, "ends_at": FOR_GOOD} | more
    return Silence(id="5a1e7c", cron=cron, timezone=zone, span=span, **bounds)


PLAIN = Silence(id="5a1e7c", starts_at=100.0, ends_at=200.0)


@pytest.mark.parametrize(
    ("now", "until", "change"),
    [(99.9, None, 100.0), (100.0, 200.0, 200.0), (199.9, 200.0, 200.0), (200.0, None, None), (300.0, None, None)],
)
def test_a_plain_silence_is_on_from_its_start_until_just_before_its_end(
    now: float, until: float | None, change: float | None
) -> None:
    assert active_until(PLAIN, now) == until
    assert next_change(PLAIN, now) == change


BERLIN = "Europe/Berlin"
RECURRING = {
    "before the first moment": (nightly(), "2026-06-10T01:59:59", None, "2026-06-10T02:00"),
    "at the very moment": (nightly(), "2026-06-10T02:00", "2026-06-10T03:00", "2026-06-10T03:00"),
    "just before the end": (nightly(), "2026-06-10T02:59:59", "2026-06-10T03:00", "2026-06-10T03:00"),
    "at the end": (nightly(), "2026-06-10T03:00", None, "2026-06-11T02:00"),
    "on the next day": (nightly(span=DAY - 1), "2026-06-11T01:59:58", "2026-06-11T01:59:59", "2026-06-11T01:59:59"),
    "only on some days": (nightly("0 2 * * sun"), "2026-06-10T02:30", None, "2026-06-14T02:00"),
    "spans that overlap are one": (
        nightly("0,30 2 * * *", span=40 * 60),
        "2026-06-10T02:10",
        "2026-06-10T03:10",
        "2026-06-10T03:10",
    ),
    "spans that meet are one": (
        nightly("0,30 2 * * *", span=30 * 60),
        "2026-06-10T02:10",
        "2026-06-10T03:00",
        "2026-06-10T03:00",
    ),
    "spans apart are two": (
        nightly("0,30 2 * * *", span=29 * 60),
        "2026-06-10T02:10",
        "2026-06-10T02:29",
        "2026-06-10T02:29",
    ),
    "a span longer than the pause between moments": (
        nightly("0 2,3 * * *", span=3 * HOUR),
        "2026-06-10T02:10",
        "2026-06-10T06:00",
        "2026-06-10T06:00",
    ),
    "summer time in another zone": (nightly(zone=BERLIN), "2026-06-10T00:30", "2026-06-10T01:00", "2026-06-10T01:00"),
    "winter time in another zone": (nightly(zone=BERLIN), "2026-12-10T00:30", None, "2026-12-10T01:00"),
    # On 29 March the clock goes from 2:00 to 3:00, which is 1:00 in UTC.
    "a time that the clock skips comes with the jump": (
        nightly("30 2 * * *", zone=BERLIN),
        "2026-03-29T01:00",
        "2026-03-29T02:00",
        "2026-03-29T02:00",
    ),
    "and not before": (nightly("30 2 * * *", zone=BERLIN), "2026-03-29T00:59:59", None, "2026-03-29T01:00"),
    "a span over the skipped hour is as long as ever": (
        nightly("30 1 * * *", zone=BERLIN),
        "2026-03-29T01:15",
        "2026-03-29T01:30",
        "2026-03-29T01:30",
    ),
    # On 25 October the clock goes from 3:00 back to 2:00, which is 1:00 in UTC.
    "a time that comes twice counts the first time": (
        nightly("30 2 * * *", zone=BERLIN, span=20 * 60),
        "2026-10-25T00:31",
        "2026-10-25T00:50",
        "2026-10-25T00:50",
    ),
    "and not the second time": (
        nightly("30 2 * * *", zone=BERLIN, span=20 * 60),
        "2026-10-25T01:31",
        None,
        "2026-10-26T01:30",
    ),
    "what began in the first of two hours goes on in the second": (
        nightly("30 2 * * *", zone=BERLIN),
        "2026-10-25T01:10",
        "2026-10-25T01:30",
        "2026-10-25T01:30",
    ),
    "each hour is each hour that passes": (
        nightly("0 * * * *", zone=BERLIN, span=60),
        "2026-10-25T01:00:30",
        "2026-10-25T01:01",
        "2026-10-25T01:01",
    ),
    "not before it starts": (
        nightly(starts_at=at("2026-06-10T02:30")),
        "2026-06-10T02:10",
        None,
        "2026-06-10T02:30",
    ),
    "nor long before": (nightly(starts_at=at("2026-06-10T04:00")), "2026-06-08T00:00", None, "2026-06-11T02:00"),
    "not after it ends": (
        nightly(ends_at=at("2026-06-10T02:30")),
        "2026-06-10T02:10",
        "2026-06-10T02:30",
        "2026-06-10T02:30",
    ),
    "nor at all once it has ended": (nightly(ends_at=at("2026-06-10T02:30")), "2026-06-10T02:40", None, None),
    "nor where the next one is too late": (nightly(ends_at=at("2026-06-11T01:00")), "2026-06-10T04:00", None, None),
}


@pytest.mark.parametrize("name", RECURRING)
def test_a_recurring_silence_is_on_for_its_span_from_each_moment(name: str) -> None:
    silence, now, until, change = RECURRING[name]
    assert active_until(silence, at(now)) == (until and at(until))
    assert next_change(silence, at(now)) == (change and at(change))


def test_spans_without_end_are_looked_at_again() -> None:
    always = nightly("* * * * *", span=HOUR)
    now = at("2026-06-10T00:00")
    until = active_until(always, now)
    assert until is not None
    assert until > now + 10 * HOUR
    assert active_until(always, until) is not None


@pytest.mark.parametrize(
    ("cron", "zone", "what"),
    [
        ("0 2 * *", "UTC", '"0 2 * *" has 4 of the 5 fields: minute, hour, day of the month, month, day of the week'),
        ("0 0 2 * * *", "UTC", "has 6 of the 5 fields"),
        ("0 25 * * *", "UTC", "no cron expression: bad hour"),
        ("0 2 30 2 *", "UTC", "no cron expression: bad day-of-month"),
        ("0 2 * * fry", "UTC", "bad day-of-week"),
        ("59 23 */29 2 6#5", "UTC", ""),
        ("0 2 * * *", "Europe/Atlantis", 'no time zone "Europe/Atlantis"'),
        ("0 2 * * *", "../../etc/passwd", "no time zone"),
        ("0 2 * * *", "", "no time zone"),
        ("0 2 * * *", "Europe", "no time zone"),
    ],
)
def test_what_cannot_be_used_is_said_and_is_never_on(cron: str, zone: str, what: str) -> None:
    assert what in flaw(cron, zone)
    if what:
        assert active_until(nightly(cron, zone), at("2026-06-10T02:30")) is None
        assert next_change(nightly(cron, zone), at("2026-06-10T02:30")) is None


def slow_moments(minutes: set[int], hours: set[int], zone: str, begin: float, end: float) -> Iterator[float]:
    """Each moment that a pair of sets names, by looking at every minute: fixed times once a day, late if skipped."""
    tz = ZoneInfo(zone)
    day = datetime.fromtimestamp(begin - 2 * DAY, tz).date()
    while (midnight := datetime.combine(day, datetime.min.time(), tzinfo=tz)).timestamp() < end + 2 * DAY:
        for hour in sorted(hours):
            for minute in sorted(minutes):
                wall = midnight.replace(hour=hour, minute=minute, fold=0)
                back = wall.astimezone(timezone.utc).astimezone(tz)
                while back.replace(tzinfo=None) != wall.replace(tzinfo=None):  # skipped: the first that is not
                    wall += timedelta(minutes=1)
                    back = wall.astimezone(timezone.utc).astimezone(tz)
                yield wall.timestamp()
        day += timedelta(days=1)


@settings(deadline=None, max_examples=150)
@given(
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.sets(st.integers(0, 4), min_size=1, max_size=3),
    zone=st.sampled_from([BERLIN, "America/Sao_Paulo", "Australia/Lord_Howe", "America/New_York", "Asia/Kolkata"]),
    span=st.integers(1, 30 * 60 * 60),
    day=st.sampled_from(
        ["2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01", "2026-04-05", "2026-10-04", "2026-06-10", "2018-11-04"]
    ),
    offset=st.integers(-20 * 60, 40 * 60),
)
def test_it_is_on_where_a_search_of_every_moment_says_so(
    minutes: set[int], hours: set[int], zone: str, span: int, day: str, offset: int
) -> None:
    cron = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    now = at(day) + offset * 60 + 17
    silence = nightly(cron, zone, float(span))
    moments = sorted(slow_moments(minutes, hours, zone, now - span, now + 3 * DAY))
    is_on = any(moment <= now < moment + span for moment in moments)
    until = active_until(silence, now)
    assert (until is not None) is is_on
    if until is None:
        assert next_change(silence, now) == min(moment for moment in moments if moment > now)
    elif span < 3 * HOUR:
        inside = [moment for moment in moments if moment <= until]
        assert until == max(inside) + span
        assert all(any(one <= second < one + span for one in inside) for second in range(int(now), int(until), 61))


# What it is about.


def effect(instance: str | None = None, severity: Severity = Severity.WARNING, **more: Any) -> Effect:
    alert = replace(inactive(rule(name="disk-full"), "db1", instance), severity=severity, episode="e")
    return Effect(alert=alert, phase=Phase.FIRING, reason=Reason.HELD, at=1.0, **more)


MATCHERS = [
    ({}, effect(), True),
    ({"rule": "disk-*"}, effect(), True),
    ({"rule": "DISK-*"}, effect(), False),
    ({"host": "web?"}, effect(), False),
    ({"host": "db[12]"}, effect(), True),
    ({"severities": frozenset({Severity.INFO})}, effect(), False),
    ({"severities": frozenset({Severity.CRITICAL})}, effect(severity=Severity.CRITICAL), True),
    ({"instance": "/data*"}, effect("/data1"), True),
    ({"instance": "/data*"}, effect("/"), False),
    ({"instance": "*"}, effect(), True),
    ({"instance": "**"}, effect(), False),
    ({"instance": ""}, effect(), False),
    ({"labels": {"team": "d*"}}, effect(labels={"team": "db"}), True),
    ({"labels": {"team": "d*"}}, effect(host_labels={"team": "db"}), True),
    ({"labels": {"team": "d*"}}, effect(instance_labels={"team": "db"}), True),
    ({"labels": {"team": "d*"}}, effect(labels={"team": "web"}, host_labels={"team": "db"}), True),
    ({"labels": {"team": "d*", "dc": "*"}}, effect(labels={"team": "db"}), False),
    ({"labels": {"team": "*"}}, effect(), False),
    ({"rule": "disk-*", "host": "web*"}, effect(), False),
]


@pytest.mark.parametrize(("matchers", "about", "expected"), MATCHERS)
def test_it_matches_an_alert_that_matches_in_everything(
    matchers: dict[str, Any], about: Effect, expected: bool
) -> None:
    assert matches(replace(PLAIN, **matchers), about) is expected


def test_the_gate_withholds_for_a_span_and_lets_go_at_its_end() -> None:
    gate = Gate([rule(name="disk-full")], instance_kind=lambda _: None)
    gate.silence([nightly(zone=BERLIN)])
    (held,) = gate.offer(effect(), at("2026-06-10T00:30"))
    assert (held.is_sent, held.why) == (False, "silenced by 5a1e7c")
    assert gate.next_at() == at("2026-06-10T01:00")
    assert gate.settle(at("2026-06-10T00:59:59")) == []
    (sent,) = gate.settle(at("2026-06-10T01:00"))
    assert sent.is_sent
