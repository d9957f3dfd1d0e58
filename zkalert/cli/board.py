"""Alerts and their ledger as rows for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from zkalert.cli.tables import SEVERITY_STYLES, STATE_STYLES, Column, cell, iso, short
from zkalert.metrics import format_duration, format_value
from zkalert.model import FOR_GOOD, ActionResult, Alert, DeliveryState
from zkalert.render import condition, has_value, subject, unit_of, where
from zkalert.survey import Letter, Standing

ALERTS = (
    Column("id", is_short=True),
    Column("severity", is_short=True),
    Column("state", is_short=True),
    Column("rule"),
    Column("where"),
    Column("value", is_number=True, is_short=True),
    Column("threshold", is_short=True),
    Column("since", is_short=True, is_wide=True),
    Column("for", is_number=True, is_short=True),
    Column("notes"),
)
LETTERS = (
    Column("alert", is_short=True),
    Column("severity", is_short=True),
    Column("rule"),
    Column("where"),
    Column("phase"),
    Column("target"),
    Column("state", is_short=True),
    Column("tries", is_number=True, is_short=True),
    Column("age", is_number=True, is_short=True),
    Column("why"),
)
_MOST_VALUE = 24  # characters
_MOST_NOTE = 60


def alert_row(one: Standing, now: float) -> Sequence[Text]:
    alert = one.alert
    return (
        cell(alert.id),
        cell(alert.severity.value, SEVERITY_STYLES[alert.severity.value]),
        cell(alert.state.value, STATE_STYLES[alert.state.value]),
        cell(alert.rule),
        cell(where(alert, between=" ")),
        cell(_cut(value_of(alert), _MOST_VALUE)),
        cell(_cut(condition(alert), _MOST_VALUE)),
        cell(short(alert.since, now)),
        cell(lasted(alert.since, now)),
        cell(", ".join(notes(one, now))),
    )


def notes(one: Standing, now: float) -> list[str]:
    """What is to be known besides: whether somebody cares, why messages are quiet, what its last command did."""
    found = []
    if one.ack is not None:
        found.append(f"acked by {_cut(one.ack.author, _MOST_NOTE)}" if one.ack.author else "acked")
    if one.silenced_until is not None:
        found.append("silenced" + (f" for {lasted(now, one.silenced_until)}" if one.silenced_until < FOR_GOOD else ""))
    found += [f"withheld: {_cut(why, _MOST_NOTE)}" for why in one.withheld]
    if one.alert.actions:
        found.append(action_words(one.alert.actions[-1]))
    if one.undelivered:
        found.append(f"{one.undelivered} undelivered")
    return found


def action_words(result: ActionResult) -> str:
    """`restart.sh: exit code 1`."""
    if result.exit_code is not None:
        return f"{result.name}: exit code {result.exit_code}"
    return f"{result.name}: {_cut(result.detail or 'no exit code', _MOST_NOTE)}"


def value_of(alert: Alert) -> str:
    if alert.value is None:
        return "no data" if alert.is_quiet else "-"
    return format_value(alert.value, unit_of(alert)) if has_value(alert) else ""


def lasted(since: float, until: float) -> str:
    return format_duration(max(0.0, round(until - since)))


def letter_row(one: Letter, now: float) -> Sequence[Text]:
    alert, delivery = one.effect.alert, one.delivery
    return (
        cell(alert.id),
        cell(alert.severity.value, SEVERITY_STYLES[alert.severity.value]),
        cell(alert.rule),
        cell(where(alert, between=" ")),
        cell(one.phase),
        cell(delivery.name),
        cell(
            "given up" if one.is_dead else delivery.state.value,
            "red" if delivery.state is DeliveryState.FAILED else "yellow",
        ),
        cell(str(delivery.attempts)),
        cell(lasted(one.effect.at, now)),
        cell(delivery.detail),
    )


def _alert_head(alert: Alert) -> dict[str, Any]:
    """Which alert a document is about."""
    return {
        "id": alert.id,
        "episode": alert.episode,
        "rule": alert.rule,
        "host": alert.host,
        "instance": alert.instance,
        "severity": alert.severity.value,
    }


def alert_document(one: Standing, now: float) -> dict[str, Any]:
    alert, ack = one.alert, one.ack
    return {
        **_alert_head(alert),
        "state": alert.state.value,
        "metric": str(alert.metric),
        "subject": subject(alert),
        "unit": alert.unit,
        "value": alert.value,
        "comparator": alert.comparator.value,
        "threshold": alert.threshold,
        "clear": alert.clear,
        "peak": alert.peak,
        "no_data": alert.is_quiet,
        "since": iso(alert.since),
        "fired_at": iso(alert.fired_at),
        "seconds": round(max(0.0, now - alert.since), 3),
        "ack": None
        if ack is None
        else {"at": iso(ack.at), "ends_at": iso(ack.ends_at), "author": ack.author, "comment": ack.comment},
        "silenced_until": iso(one.silenced_until),
        "silences": [silenced.silence.id for silenced in one.silences if silenced.until is not None],
        "withheld": list(one.withheld),
        "action": action_document(alert.actions[-1]) if alert.actions else None,
        "undelivered": one.undelivered,
    }


def action_document(result: ActionResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "phase": result.phase,
        "at": iso(result.at),
        "seconds": result.seconds,
        "exit_code": result.exit_code,
        "detail": result.detail,
        "tail": result.tail,
    }


def letter_document(one: Letter, now: float) -> dict[str, Any]:
    alert, delivery = one.effect.alert, one.delivery
    return {
        "effect": one.effect.id,
        **_alert_head(alert),
        "phase": one.phase,
        "target": delivery.target,
        "name": delivery.name,
        "kind": delivery.kind.value,
        "state": delivery.state.value,
        "given_up": one.is_dead,
        "attempts": delivery.attempts,
        "at": iso(delivery.at),
        "told_at": iso(one.effect.at),
        "age": round(max(0.0, now - one.effect.at), 3),
        "detail": delivery.detail,
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
