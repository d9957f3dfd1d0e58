"""Times, alerts and values in the words of a test's report."""

from __future__ import annotations

from zkalert.metrics import Unit, format_value
from zkalert.model import MEMBERS_HOST, Alert, Value

_MAX_NAME = 60


def span(seconds: float) -> str:
    """Seconds as a test would write them, to the millisecond: `1h5m10s`, `5m0.25s`."""
    left = round(seconds * 1000)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    if left % 1000:
        parts.append(f"{left / 1000:g}s")
    elif left or not parts:
        parts.append(f"{left // 1000}s")
    return "".join(parts)


def place(host: str | None, instance: str | None) -> str:
    """`web1, /data`; nothing of what is None, nor of an alert over many hosts."""
    return ", ".join(part for part in (None if host == MEMBERS_HOST else host, instance) if part is not None)


def series(rule: str, host: str | None, instance: str | None) -> str:
    """`disk-full on web1, /data`."""
    where = place(host, instance)
    return f"{rule} on {where}" if where else rule


def series_of(alert: Alert) -> str:
    return series(alert.rule, alert.host, alert.instance)


def value(found: Value | None, unit: str) -> str:
    """A value as messages show it, `unit` being the value of a Unit."""
    return format_value(found, Unit(unit))


def quoted(name: str) -> str:
    """A name for a message, cut where it is long."""
    return f'"{name}"' if len(name) <= _MAX_NAME else f'"{name[: _MAX_NAME - 3]}..."'
