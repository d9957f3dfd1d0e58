"""Days, hours and time zones as people write them, in rules and in the configuration alike.

Comes in: what stands at the keys `days`, `hours` and `timezone`; its form has passed the schema. Goes out: parts of a
Schedule, or what is wrong with them. Who reads a document tells it with the place.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from zkalert.metrics import nearest

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"(\d+):(\d+)-(\d+):(\d+)")


class ZoneProblem(NamedTuple):
    """Why a time zone cannot be used; the words of a finding."""

    message: str
    expected: str
    hint: str


def days(written: str | Sequence[str]) -> frozenset[int]:
    """The days (0 is Monday) of texts such as `mon-fri` and `sat,sun`; `fri-mon` goes over the weekend."""
    found: set[int] = set()
    for part in (part for text in _listed(written) for part in text.split(",")):
        first, _, last = (name.strip() for name in part.partition("-"))
        start = _DAYS.index(first)
        end = _DAYS.index(last) if last else start
        found.update((start + offset) % 7 for offset in range((end - start) % 7 + 1))
    return frozenset(found)


def hours(written: str | Sequence[str]) -> tuple[tuple[tuple[float, float], ...], tuple[int, ...]]:
    """The spans of the day in seconds, sorted and each once; and the indexes of those that are empty."""
    spans: set[tuple[float, float]] = set()
    empty = []
    for index, text in enumerate(_listed(written)):
        match = _HOURS.fullmatch(text.replace(" ", ""))
        if match is None:  # pragma: no cover - the schema has seen to it
            continue
        start, end = (int(match[at]) * 3600.0 + int(match[at + 1]) * 60.0 for at in (1, 3))
        if start == end:
            empty.append(index)
        spans.add((start, end))
    return tuple(sorted(spans)), tuple(empty)


def zone_problem(name: str) -> ZoneProblem | None:
    """What is wrong with the name of a time zone; None where this system has it."""
    if _zone_exists(name):
        return None
    import zoneinfo  # noqa: PLC0415 - few documents name a zone

    names = zoneinfo.available_timezones()
    if not names:
        return ZoneProblem(
            "this system has no time zones",
            "the system's zoneinfo files",
            "install them (tzdata), or the Python package tzdata",
        )
    near = _near_zone(name, frozenset(names))
    return ZoneProblem(
        f'no time zone "{name}"',
        "a name such as Europe/Berlin, America/Sao_Paulo or UTC",
        f"did you mean {near}?" if near else "",
    )


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


def _listed(written: Any) -> Sequence[str]:
    return [written] if isinstance(written, str) else written
