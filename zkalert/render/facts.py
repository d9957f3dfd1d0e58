"""An effect for programs: the same facts as in its message, as texts under names that stay."""

from __future__ import annotations

import json
from collections.abc import Mapping

from zkalert.model import Effect, Threshold, Value
from zkalert.render.text import iso, line
from zkalert.render.words import severity_of, subject

_MOST = 6 * 1024


def fields_of(effect: Effect) -> Mapping[str, str]:
    """Numbers stand in the unit that `unit` names, times in ISO 8601; what there is not is empty.

    A range is `10..20`. `values` are those of all conditions of a rule that has several, as a JSON list. `members` is
    how many series a number over many is made of, `silent_hosts` from how many hosts none came.
    """
    alert = effect.alert
    members, silent = ("", "") if alert.members is None else map(str, alert.members)
    fields = {
        "key": effect.key,
        "id": alert.id,
        "rule": alert.rule,
        "host": alert.host,
        "instance": alert.instance or "",
        "state": effect.phase.value,
        "phase": effect.name or effect.phase.value,
        "reason": effect.reason.value,
        "severity": severity_of(effect).value,
        "metric": str(alert.metric),
        "subject": subject(alert),
        "unit": alert.unit,
        "comparator": alert.comparator.value,
        "threshold": _plain(alert.threshold),
        "clear": _plain(alert.clear),
        "value": _plain(alert.value),
        "values": json.dumps([_number(value) for value in alert.values]) if alert.values else "",
        "members": members,
        "silent_hosts": silent,
        "peak": _plain(alert.peak),
        "since": iso(alert.since),
        "at": iso(effect.at),
    }
    return {name: line(text, _MOST) for name, text in fields.items()}


def _plain(value: Threshold | Value) -> str:
    """A number without unit, and without exponent where it can be; a text as it is; empty for None."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "..".join(_plain(end) for end in value)
    return value if isinstance(value, str) else str(_number(value))


def _number(value: Value | None) -> Value | None:
    """A whole number without its fraction, which is none."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value
