"""What has to be told of an alert, and when it has to be told again.

Comes in: a rule, an alert that fires, the moment. Goes out: effects, and the alert with the moments at which its next
reminder and its next escalation are due.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zkalert.lifecycle.clocks import ROUNDING
from zkalert.lifecycle.schedule import is_open
from zkalert.model import ActionResult, Alert, Effect, Moment, Phase, Reason, Rule

Told = tuple[Effect, ...]


def effect(  # noqa: PLR0913 - the fields of one value
    rule: Rule,
    alert: Alert,
    phase: Phase,
    reason: Reason,
    at: float,
    *,
    name: str = "",
    escalation: int | None = None,
) -> Effect:
    """What has to be told of an alert, with the texts of its rule."""
    return Effect(
        alert=alert,
        phase=phase,
        reason=reason,
        at=at,
        name=name,
        escalation=escalation,
        labels=rule.labels,
        summary=rule.summary,
        description=rule.description,
        runbook=rule.runbook,
    )


def braked(rule: Rule, alert: Alert, result: ActionResult, at: float) -> Effect:
    """That a command of an alert did not run, for the brake held it: the last result that the alert has."""
    number = sum(one.phase == result.phase for one in alert.actions)
    name = f"braked-{result.phase}" + (f"-{number}" if number > 1 else "")
    told = effect(rule, alert, Phase.ESCALATED, Reason.BRAKED, at, name=name)
    return replace(told, note=f"{result.name} did not run: {result.detail}")


def reminders(rule: Rule, alert: Alert, at: float) -> dict[str, Any]:
    """When an alert that fires at `at` is due next. A rule may have been given reminders while it fired."""
    repeat_at, escalate_at = alert.repeat_at, alert.escalate_at
    if repeat_at is None and rule.repeat:
        repeat_at = at + rule.repeat[0]
    if escalate_at is None and alert.escalations < len(rule.escalate):
        escalate_at = (at if alert.fired_at is None else alert.fired_at) + rule.escalate[alert.escalations].after
    return {"repeat_at": repeat_at, "escalate_at": escalate_at}


def escalates_at(rule: Rule, alert: Alert) -> float | None:
    """When the next escalation of an alert that fires is due: not before its acknowledgement ends."""
    if alert.escalate_at is None or alert.escalations >= len(rule.escalate):
        return None
    if alert.ack is None:
        return alert.escalate_at
    return None if alert.ack.ends_at is None else max(alert.escalate_at, alert.ack.ends_at)


def due(rule: Rule, alert: Alert, now: Moment) -> tuple[Alert, Told]:
    """Reminders and escalations whose time has come; those that a dead engine missed are told once.

    While somebody has acknowledged it, reminders pass silently. Escalations wait, and those that were due meanwhile
    are told at its end.
    """
    told: Told = ()
    is_on = rule.schedule is None or is_open(rule.schedule, now.at)
    is_seen = alert.ack is not None and alert.ack.holds(now.at + ROUNDING)
    if rule.repeat and alert.repeat_at is not None and now.at + ROUNDING >= alert.repeat_at:
        repeats, at = alert.repeats, alert.repeat_at
        while at <= now.at + ROUNDING:
            repeats += 1
            span = rule.repeat[min(repeats, len(rule.repeat) - 1)]
            if repeats >= len(rule.repeat):  # from here on all spans are the same: go on to the last that was missed
                missed = int((now.at - at) // span)
                repeats, at = repeats + missed, at + missed * span
            at += span
        alert = replace(alert, repeats=repeats, repeat_at=at)
        if is_on and not is_seen:
            name = f"{Phase.REPEATED.value}-{repeats}"
            told += (effect(rule, alert, Phase.REPEATED, Reason.STILL, now.at, name=name),)
    while (escalate_at := escalates_at(rule, alert)) is not None and now.at + ROUNDING >= escalate_at:
        index = alert.escalations
        fired_at = alert.fired_at if alert.fired_at is not None else now.at
        following = rule.escalate[index + 1].after if index + 1 < len(rule.escalate) else None
        alert = replace(alert, escalations=index + 1, escalate_at=None if following is None else fired_at + following)
        name = f"{Phase.ESCALATED.value}-{index + 1}"
        told += (effect(rule, alert, Phase.ESCALATED, Reason.UNHEARD, now.at, name=name, escalation=index),)
    return alert, told
