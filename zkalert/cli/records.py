"""Records of the journal as lines: for people in local time, for programs as JSON.

Names and texts in them may be anybody's: nothing here hands on a character that steers a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import click

from zkalert import clock
from zkalert.cli import logs
from zkalert.journal import Entry, Kind, Record
from zkalert.metrics import Unit, format_duration, format_limit, format_value
from zkalert.model import MEMBERS_HOST, Comparator, SendState, Severity, State

_SEVERITY_COLOURS: Mapping[str, Mapping[str, Any]] = {
    Severity.CRITICAL.value: {"fg": "red", "bold": True},
    Severity.WARNING.value: {"fg": "yellow"},
    Severity.INFO.value: {"fg": "cyan"},
}
_WORD_COLOURS: Mapping[str, Mapping[str, Any]] = {
    State.FIRING.value: {"fg": "red", "bold": True},
    State.RESOLVED.value: {"fg": "green"},
    "told": {"fg": "green"},
    "failed": {"fg": "red"},
    "unknown": {"fg": "yellow"},
    Kind.LOST.value: {"fg": "red", "bold": True},
}
# Without these a value is a mere 1 or 0.
_WITHOUT_VALUE = {Comparator.ABSENT.value: "is absent", Comparator.CHANGED.value: "has changed"}
_OVER = (State.CLEARING.value, State.RESOLVED.value)
_MOST_DETAIL = 300  # characters of a sentence


def as_json(entry: Entry) -> str:
    """One object: what a record has, without what is empty; `time` is `at` as people read it (ISO 8601, UTC)."""
    record = entry.record
    document = {
        "row": entry.row,
        "time": _iso(record.at),
        "at": record.at,
        "zxid": record.zxid,
        "kind": record.kind.value,
        "rule": record.rule,
        "host": record.host,
        "instance": record.instance,
        "alert": record.alert,
        "episode": record.episode,
        "severity": record.severity,
        "phase": record.phase,
        "target": record.target,
        "state": record.state,
        "reason": record.reason,
        "detail": record.detail,
        "value": record.value,
        "seconds": record.seconds,
        "attempt": record.attempt or None,
        "data": dict(record.data),
    }
    kept = {name: part for name, part in document.items() if part not in (None, "", {})}
    return json.dumps(kept, separators=(",", ":")).replace("\x7f", "\\u007f")


def as_text(record: Record, *, paint: bool) -> str:
    """`2026-11-23 17:03:19.123 critical told       memory-high web1: firing, ops in 78ms [a1b2c3]`."""
    word, text = _LINES[record.kind](record)
    place = " ".join(filter(None, (record.rule, _where(record))))
    line = ": ".join(filter(None, (place, text))) + (f" [{record.alert}]" if record.alert else "")
    severity, word = f"{_clean(record.severity):8}", f"{_clean(word):10}"
    if paint:
        severity = click.style(severity, **_SEVERITY_COLOURS.get(severity.rstrip(), {}))
        word = click.style(word, **_WORD_COLOURS.get(word.rstrip(), {}))
    return f"{_local(record.at)} {severity} {word} {_clean(line)}"


def _transition(record: Record) -> tuple[str, str]:
    seen = [_seen(record)]
    if record.reason:
        seen.append(record.reason)
    if record.state in _OVER and record.seconds:
        seen.append(f"after {format_duration(record.seconds)}")
    before = record.data.get("from")
    return record.state, ", ".join(seen) + (f" (was {before})" if isinstance(before, str) else "")


def _seen(record: Record) -> str:
    """`memory_usage.percent is 93.4% (> 90%)`, `memory_usage.percent is 71% (was > 90%)`."""
    data = record.data
    of, comparator = _word(data, "of"), _word(data, "comparator")
    if comparator in _WITHOUT_VALUE:
        is_so = record.value is None or bool(record.value)
        return f"{of} {_WITHOUT_VALUE[comparator] if is_so else 'is as it should be'}"
    unit = _unit(_word(data, "unit"))
    threshold = data.get("threshold")
    if isinstance(threshold, list) and len(threshold) == 2:
        threshold = (threshold[0], threshold[1])
    try:
        limit = format_limit(threshold, unit)
    except (TypeError, ValueError, OverflowError):
        limit = str(threshold)
    value = "unknown" if record.value is None else format_value(record.value, unit)
    was = "was " if record.state in _OVER else ""
    return f"{of} is {value} ({was}{f'{comparator} {limit}'.strip()})"


def _unit(name: str) -> Unit:
    try:
        return Unit(name)
    except ValueError:
        return Unit.NUMBER


def _withheld(record: Record) -> tuple[str, str]:
    target = f" for {record.target}" if record.target else ""
    return record.kind.value, f"{record.phase}{target}" + _because(record.reason, record.detail)


def _tried(record: Record) -> tuple[str, str]:
    is_done = record.state == SendState.DELIVERED.value
    done = "ran" if record.kind is Kind.ACTION else "told"
    took = f" in {format_duration(record.seconds)}" if record.seconds is not None else ""
    text = f"{record.phase}, {record.target}" + took + _because(record.detail)
    if record.attempt > 1:
        text += f", try {record.attempt}"
    if isinstance(again := record.data.get("retry_in"), (int, float)):
        text += f", again in {format_duration(again)}"
    if record.data.get("repeat"):
        text += ", may be a repeat"
    if digest := _word(record.data, "digest"):
        text += f", in digest {digest}"
    return (done if is_done else record.state), text


def _drill(record: Record) -> tuple[str, str]:
    word, text = _tried(record) if record.attempt else _withheld(record)
    return record.kind.value, f"{record.state if word == record.kind.value else word}, {text}"


def _silence(record: Record) -> tuple[str, str]:
    data = record.data
    parts = [f"{record.state} {_word(data, 'id')}"]
    for name in ("matchers", "labels"):
        if isinstance(globs := data.get(name), dict):
            parts += [f"{key}={glob}" for key, glob in globs.items()]
    if isinstance(severities := data.get("severities"), list):
        parts.append(f"severity={','.join(map(str, severities))}")
    if cron := _word(data, "cron"):
        parts.append(f'at "{cron}" {_word(data, "timezone")}')
    return record.kind.value, " ".join(parts) + _until_by(record)


def _ack(record: Record) -> tuple[str, str]:
    return record.kind.value, record.state + _until_by(record)


def _until_by(record: Record) -> str:
    ends_at, author = record.data.get("ends_at"), _word(record.data, "author")
    until = f" until {_local(ends_at)[:-4]}" if isinstance(ends_at, (int, float)) else ""
    return until + (f" by {author}" if author else "") + _because(record.detail)


def _reload(record: Record) -> tuple[str, str]:
    count, digest = record.data.get("rules"), _word(record.data, "digest")[:12]
    by = f" by {record.reason}" if record.reason else ""
    return record.kind.value, f"{record.state}{by}: {count} rules, set {digest}" + _because(record.detail)


def _plain(record: Record) -> tuple[str, str]:
    engine = _word(record.data, "engine")
    return record.kind.value, record.state + (f" by {engine}" if engine else "") + _because(record.detail)


def _lost(record: Record) -> tuple[str, str]:
    return record.kind.value, record.detail


_LINES: Mapping[Kind, Callable[[Record], tuple[str, str]]] = {
    Kind.TRANSITION: _transition,
    Kind.WITHHELD: _withheld,
    Kind.RELEASED: _withheld,
    Kind.MESSAGE: _tried,
    Kind.DROPPED: _withheld,
    Kind.ACTION: _tried,
    Kind.SILENCE: _silence,
    Kind.ACK: _ack,
    Kind.RELOAD: _reload,
    Kind.OWNERSHIP: _plain,
    Kind.CONNECTION: _plain,
    Kind.DRILL: _drill,
    Kind.LOST: _lost,
}


def _because(*reasons: str) -> str:
    text = "; ".join(filter(None, reasons))
    return f": {text if len(text) <= _MOST_DETAIL else text[: _MOST_DETAIL - 1] + '…'}" if text else ""


def _where(record: Record) -> str:
    host = "all hosts" if record.host == MEMBERS_HOST else record.host
    return host if record.instance is None else f"{host} {record.instance}"


def _word(data: Mapping[str, Any], name: str) -> str:
    word = data.get(name)
    return word if isinstance(word, str) else ""


def _clean(text: str) -> str:
    return text.translate(logs.ONE_LINE)


def _local(at: float) -> str:
    try:
        moment = datetime.fromtimestamp(at).astimezone()
    except (OverflowError, ValueError, OSError):  # no calendar has it
        return f"{at:.3f}"
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def _iso(at: float) -> str | None:
    try:
        return clock.iso(at)
    except (OverflowError, ValueError, OSError):
        return None
