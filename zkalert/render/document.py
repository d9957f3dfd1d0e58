"""A message as JSON for webhooks: version 1, the same shape for one alert and for a digest.

Comes in: effects, and the words of their message. Goes out: what `schemas/webhook.schema.json` describes: numbers in
the unit that `unit` names, times in ISO 8601, null for what there is not. Nothing is left out and names stay: what a
later zkalert adds is new names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zkalert.model import Alert, Effect, Severity, Threshold, Value
from zkalert.render.text import clip, iso, line
from zkalert.render.words import ENDS, severity_of, subject

VERSION = 1

_MOST = 1024
_MOST_KEY = 6 * 1024
_MOST_TAIL = 2048


def document_of(
    effects: Sequence[Effect], texts: Sequence[tuple[str, str]], *, id_: str, key: str, title: str, text: str
) -> Mapping[str, Any]:
    """The whole. `texts` are the summary and the runbook of each effect.

    Several effects make a digest, none a test. `repeat` is false here: whether it may be one is known when it is sent.
    """
    return {
        "version": VERSION,
        "kind": ("test", "alert")[len(effects)] if len(effects) < 2 else "digest",
        "id": id_,
        "key": key,
        "title": title,
        "text": text,
        "severity": worst_of(effects).value,
        "state": _state(effects),
        "drill": any(effect.is_drill for effect in effects),
        "repeat": False,
        "alerts": [_alert(effect, *both) for effect, both in zip(effects, texts, strict=True)],
        "counts": counts(effects),
    }


def _state(effects: Sequence[Effect]) -> str:
    if len(effects) < 2:
        return effects[0].phase.value if effects else "test"
    return "resolved" if all(effect.phase in ENDS for effect in effects) else "firing"


def worst_of(effects: Sequence[Effect]) -> Severity:
    """The highest severity of what still fires; of all, where nothing does; info of nothing."""
    active = [effect for effect in effects if effect.phase not in ENDS]
    severities = (severity_of(effect) for effect in active or effects)
    return max(severities, key=lambda severity: severity.rank, default=Severity.INFO)


def counts(effects: Sequence[Effect]) -> Mapping[str, int]:
    """How many there are: all, those that fire and those that are over, and of each severity."""
    over = sum(effect.phase in ENDS for effect in effects)
    found = {"alerts": len(effects), "firing": len(effects) - over, "resolved": over}
    for severity in Severity:
        found[severity.value] = sum(severity_of(effect) is severity for effect in effects)
    return found


def _alert(effect: Effect, summary: str, runbook: str) -> Mapping[str, Any]:
    alert = effect.alert
    return {
        "key": line(effect.key, _MOST_KEY),
        "id": line(alert.id, 64),
        "rule": line(alert.rule, _MOST),
        "host": line(alert.host, _MOST),
        "instance": None if alert.instance is None else line(alert.instance, _MOST),
        "state": effect.phase.value,
        "phase": line(effect.name or effect.phase.value, _MOST),
        "reason": effect.reason.value,
        "severity": severity_of(effect).value,
        "metric": line(str(alert.metric), _MOST),
        "subject": line(subject(alert), _MOST),
        "unit": line(alert.unit, _MOST),
        "value": _value(alert.value),
        "values": [_value(value) for value in alert.values],
        "comparator": alert.comparator.value,
        "threshold": _limit(alert.threshold),
        "clear": _limit(alert.clear),
        "peak": _value(alert.peak),
        "members": _members(alert),
        "since": iso(alert.since),
        "at": iso(effect.at),
        "labels": _labels(effect.labels),
        "host_labels": _labels(effect.host_labels),
        "instance_labels": _labels(effect.instance_labels),
        "summary": line(summary, _MOST),
        "runbook": line(runbook, _MOST),
        "note": line(effect.note, _MOST),
        "actions": [
            {
                "name": line(action.name, _MOST),
                "phase": line(action.phase, _MOST),
                "at": iso(action.at),
                "seconds": action.seconds,
                "exit_code": action.exit_code,
                "detail": line(action.detail, _MOST),
                "tail": clip(action.tail, _MOST_TAIL),
            }
            for action in alert.actions
        ],
        "ack": _ack(alert),
    }


def _value(value: Value | None) -> Value | None:
    return line(value, _MOST) if isinstance(value, str) else value


def _limit(limit: Threshold) -> Value | list[Value | None] | None:
    return [_value(end) for end in limit] if isinstance(limit, tuple) else _value(limit)


def _members(alert: Alert) -> Mapping[str, int] | None:
    if alert.members is None:
        return None
    count, silent = alert.members
    return {"count": count, "silent_hosts": silent}


def _labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    return {line(name, _MOST): line(text, _MOST) for name, text in labels.items()}


def _ack(alert: Alert) -> Mapping[str, str | None] | None:
    ack = alert.ack
    if ack is None:
        return None
    return {
        "at": iso(ack.at),
        "until": None if ack.ends_at is None else iso(ack.ends_at),
        "author": line(ack.author, _MOST),
        "comment": line(ack.comment, _MOST),
    }
