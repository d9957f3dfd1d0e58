"""When a silence is on, and which effects it keeps quiet.

Comes in: a silence, a moment (epoch seconds by the ensemble's clock), an effect. Goes out: until when it is on, when
that changes, whether it matches. One with a cron expression is on for its span from each moment that this names. The
moments are those of Debian's cron:

    the clock skips the time      it begins with the jump
    the clock reads it twice      it begins at the first reading
    `*` for the minute or hour    it goes by the time that passes, whatever the clock reads

Spans are seconds that pass. Those that overlap or meet are one. Nothing here raises: a silence whose expression or zone
cannot be used is never on, since a message too many is better than one that is missed; `flaw` says what is wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from fnmatch import fnmatchcase

from zkalert.model import Effect, Silence

_MINUTE = 60.0
_HOUR = timedelta(hours=1)
_MOST_JOINED = 1000
_FAR = 366 * 86400.0  # seconds; nobody plans on what ends later than that
_FIELDS = 5


def active_until(silence: Silence, now: float) -> float | None:
    """When a silence that is on at `now` ends; None where it is not on.

    Of spans that overlap without end, it is a moment at which it is still on: ask again then.
    """
    if not silence.starts_at <= now < silence.ends_at:
        return None
    if not silence.cron:
        return silence.ends_at
    end = _end_of_spans(silence.cron, silence.timezone, silence.span, now // _MINUTE * _MINUTE)
    return None if end is None or end <= now else min(end, silence.ends_at)


def next_change(silence: Silence, now: float) -> float | None:
    """The first moment after `now` at which a silence begins or ends, as far as known; None where it never does."""
    if now >= silence.ends_at:
        return None
    until = active_until(silence, now)
    if until is not None:
        return until
    if now < silence.starts_at and active_until(silence, silence.starts_at) is not None:
        return silence.starts_at
    if not silence.cron:
        return None
    after = max(now, silence.starts_at)
    begins = _next_moment(silence.cron, silence.timezone, after // _MINUTE * _MINUTE)
    return None if begins is None or begins >= silence.ends_at else begins


def matches(silence: Silence, effect: Effect) -> bool:
    """Whether a silence is about the alert of an effect, were it on or not."""
    alert = effect.alert
    if alert.severity not in silence.severities:
        return False
    if not (fnmatchcase(alert.rule, silence.rule) and fnmatchcase(alert.host, silence.host)):
        return False
    if silence.instance != "*" and (alert.instance is None or not fnmatchcase(alert.instance, silence.instance)):
        return False
    labels = (effect.labels, effect.host_labels, effect.instance_labels)
    return all(
        any(name in some and fnmatchcase(some[name], glob) for some in labels) for name, glob in silence.labels.items()
    )


@functools.lru_cache(maxsize=1024)
def flaw(cron: str, zone: str = "UTC") -> str:
    """What is wrong with a cron expression in the time of a zone, "" where nothing is."""
    fields = len(cron.split())
    if fields != _FIELDS:
        return f'"{cron}" has {fields} of the {_FIELDS} fields: minute, hour, day of the month, month, day of the week'
    from cronsim import CronSimError  # noqa: PLC0415 - few silences recur

    try:
        first = next(_moments(cron, zone, 0.0), None)
    except CronSimError as error:
        return f'"{cron}" is no cron expression: {str(error).lower()}'
    except (LookupError, ValueError, OSError):
        return f'no time zone "{zone}"'
    return f'"{cron}" names no moment' if first is None else ""


@functools.lru_cache(maxsize=1024)
def _end_of_spans(cron: str, zone: str, span: float, minute: float) -> float | None:
    """When the spans end that began last at a minute or before; moments are whole minutes, as this one is."""
    end = _last_moment(cron, zone, minute)
    if end is None:
        return None
    end += span
    for count, moment in enumerate(_moments_after(cron, zone, minute)):
        if moment > end or end > minute + _FAR or count == _MOST_JOINED:
            break
        end = moment + span
    return end


@functools.lru_cache(maxsize=1024)
def _next_moment(cron: str, zone: str, minute: float) -> float | None:
    return next(_moments_after(cron, zone, minute), None)


def _last_moment(cron: str, zone: str, at: float) -> float | None:
    """The last moment at `at` or before."""
    # The second more lets the search find `at` itself.
    return next((moment for moment in _usable(cron, zone, at + 1, is_back=True) if moment <= at), None)


def _moments_after(cron: str, zone: str, at: float) -> Iterator[float]:
    return (moment for moment in _usable(cron, zone, at) if moment > at)


def _usable(cron: str, zone: str, at: float, *, is_back: bool = False) -> Iterator[float]:
    """The moments of an expression in turn, none where it cannot be used."""
    return iter(()) if flaw(cron, zone) else _moments(cron, zone, at, is_back=is_back)


def _moments(cron: str, zone: str, at: float, *, is_back: bool = False) -> Iterator[float]:
    """The moments that an expression names, from about `at` on; a few on the other side of it may come first.

    Raises CronSimError, or LookupError, ValueError or OSError for a zone that does not exist.
    """
    from cronsim import CronSim  # noqa: PLC0415 - see above

    start = datetime.fromtimestamp(at, _zone(zone))
    # In an hour that the clock reads twice, cronsim does not know which of them is meant.
    while start.replace(fold=0).utcoffset() != start.replace(fold=1).utcoffset():
        start = (start.astimezone(timezone.utc) + (_HOUR if is_back else -_HOUR)).astimezone(start.tzinfo)
    for moment in CronSim(cron, start, reverse=is_back):
        yield moment.timestamp()


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return timezone.utc  # on systems without zone files too
    import zoneinfo  # noqa: PLC0415 - silences with a zone of their own are few

    return zoneinfo.ZoneInfo(name)
