"""The keys about time that stand beside a condition: no_data, repeat, escalate, flap, schedule."""

from __future__ import annotations

import functools
import re
from typing import Any

from zkalert.metrics import format_duration, nearest
from zkalert.model import Escalation, Flap, NoData, Quiet, Schedule
from zkalert.rulefile.actions import Actions
from zkalert.rulefile.keys import Keys, check_span, listed

MIN_REPEAT = 10.0
LEAST = 0.001

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(\d+):(\d+)-(\d+):(\d+)")


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
    days = _days(inner.values["days"]) if "days" in inner else frozenset(range(7))
    hours = _hours(inner) if "hours" in inner else ()
    zone = inner.values.get("timezone", "UTC")
    if hours is None or ("timezone" in inner and not _is_zone(inner, zone)):
        return None
    return Schedule(days=days, hours=hours, timezone=zone)


def _days(written: Any) -> frozenset[int]:
    """The days of texts such as `mon-fri` and `sat,sun`; `fri-mon` goes over the weekend."""
    found: set[int] = set()
    for part in (part for text in listed(written) for part in text.split(",")):
        first, _, last = (name.strip() for name in part.partition("-"))
        start = _DAYS.index(first)
        end = _DAYS.index(last) if last else start
        found.update((start + offset) % 7 for offset in range((end - start) % 7 + 1))
    return frozenset(found)


def _hours(keys: Keys) -> tuple[tuple[float, float], ...] | None:
    """The spans of the day in seconds; None, and a finding, where one is empty."""
    spans: list[tuple[float, float]] = []
    is_well = True
    written = keys.values["hours"]
    for index, text in enumerate(listed(written)):
        match = _HOURS.fullmatch(text.replace(" ", ""))
        if match is None:  # pragma: no cover - the schema has seen to it
            continue
        start, end = (int(match[at]) * 3600.0 + int(match[at + 1]) * 60.0 for at in (1, 3))
        if start == end:
            path = keys.at("hours", index) if isinstance(written, list) else keys.at("hours")
            keys.report.add(
                path,
                "wrong-schedule",
                f'hours: "{text}" is empty',
                expected="two times that differ; 00:00-24:00 is the whole day",
            )
            is_well = False
        spans.append((start, end))
    return tuple(sorted(set(spans))) if is_well else None


def _is_zone(keys: Keys, name: str) -> bool:
    if _zone_exists(name):
        return True
    import zoneinfo  # noqa: PLC0415 - rules with a zone of their own are few

    names = zoneinfo.available_timezones()
    if not names:
        keys.wrong(
            "timezone",
            "unknown-timezone",
            "this system has no time zones",
            expected="the system's zoneinfo files",
            hint="install them (tzdata), or the Python package tzdata",
        )
        return False
    near = _near_zone(name, frozenset(names))
    keys.wrong(
        "timezone",
        "unknown-timezone",
        f'no time zone "{name}"',
        expected="a name such as Europe/Berlin, America/Sao_Paulo or UTC",
        hint=f"did you mean {near}?" if near else "",
    )
    return False


@functools.lru_cache(maxsize=256)
def _zone_exists(name: str) -> bool:
    import zoneinfo  # noqa: PLC0415 - see above

    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no such name, one that leaves the folder, a folder
        return False
    return True


def _near_zone(name: str, names: frozenset[str]) -> str:
    """The zone that was meant: the same but for case and blanks, one of that city, or the most similar."""
    folded = name.strip().replace(" ", "_").lower()
    for candidate in sorted(names):
        if candidate.lower() == folded:
            return candidate
    city = folded.rpartition("/")[2]
    for candidate in sorted(names, key=lambda candidate: (candidate.count("/") != 1, candidate)):
        if city and candidate.lower().rpartition("/")[2] == city:
            return candidate
    return nearest(name, names)
