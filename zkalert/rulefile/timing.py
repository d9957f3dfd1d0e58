"""The keys about time that stand beside a condition: no_data, repeat, escalate, flap, schedule."""

from __future__ import annotations

from typing import Any

from zkalert.documents import schedules
from zkalert.metrics import format_duration
from zkalert.model import Escalation, Flap, NoData, Quiet, Schedule
from zkalert.rulefile.actions import Actions
from zkalert.rulefile.keys import Keys, check_span, listed

MIN_REPEAT = 10.0
LEAST = 0.001


def no_data(keys: Keys) -> NoData:
    """What becomes of the alert once no sample comes."""
    written = keys.values.get("no_data")
    if written is None:
        return NoData()
    if isinstance(written, str):
        return NoData(then=Quiet(written))
    inner = keys.below("no_data")
    after = inner.span("after", least=LEAST) if "after" in inner else None
    return NoData(after=after, then=Quiet(written.get("then", "keep")))


def repeat(keys: Keys) -> tuple[float, ...]:
    """The spans between reminders; a wrong one is left out, and reported."""
    written: Any = keys.values.get("repeat")
    if written is None:
        return ()
    path = keys.at("repeat")
    if not isinstance(written, list):
        places = [(written, path)]
    else:
        places = [(item, (*path, index)) for index, item in enumerate(written)]
    spans = (check_span(keys.report, item, place, least=MIN_REPEAT) for item, place in places)
    return tuple(span for span in spans if span is not None)


def escalations(keys: Keys, actions: Actions) -> tuple[Escalation, ...]:
    """Further actions, each later than the one before."""
    if "escalate" not in keys:
        return ()
    found: list[Escalation] = []
    for item in keys.items("escalate"):
        chosen = actions.read(item) or ()
        after = item.span("after", least=LEAST)
        if after is None:
            continue
        if found and after <= found[-1].after:
            item.wrong(
                "after",
                "wrong-escalation",
                f"after: {format_duration(after)} is not later than the {format_duration(found[-1].after)} before it",
                expected="a list that begins with the shortest span",
            )
            continue
        found.append(Escalation(after=after, actions=chosen))
    return tuple(found)


def flap(keys: Keys) -> Flap | None:
    """How many changes within which span are flapping."""
    if "flap" not in keys:
        return None
    inner = keys.below("flap")
    within = inner.span("within", least=LEAST)
    return None if within is None else Flap(changes=inner.values["changes"], within=within)


def schedule(keys: Keys) -> Schedule | None:
    """When the rule is on; None where it always is, or where that is wrong."""
    if "schedule" not in keys:
        return None
    inner = keys.below("schedule")
    if "days" not in inner and "hours" not in inner:
        keys.wrong(
            "schedule", "missing-key", "neither days nor hours", expected="days: mon-fri, hours: 08:00-18:00, or both"
        )
        return None
    days = schedules.days(inner.values["days"]) if "days" in inner else frozenset(range(7))
    hours = _hours(inner) if "hours" in inner else ()
    zone = inner.values.get("timezone", "UTC")
    if hours is None or ("timezone" in inner and not _is_zone(inner, zone)):
        return None
    return Schedule(days=days, hours=hours, timezone=zone)


def _hours(keys: Keys) -> tuple[tuple[float, float], ...] | None:
    """The spans of the day in seconds; None, and a finding, where one is empty."""
    written = keys.values["hours"]
    spans, empty = schedules.hours(written)
    for index in empty:
        path = keys.at("hours", index) if isinstance(written, list) else keys.at("hours")
        keys.report.add(
            path,
            "wrong-schedule",
            f'hours: "{listed(written)[index]}" is empty',
            expected="two times that differ; 00:00-24:00 is the whole day",
        )
    return None if empty else spans


def _is_zone(keys: Keys, name: str) -> bool:
    problem = schedules.zone_problem(name)
    if problem is not None:
        keys.wrong("timezone", "unknown-timezone", problem.message, expected=problem.expected, hint=problem.hint)
    return problem is None
