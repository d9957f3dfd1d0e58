"""The life of an alert: what one look makes of it, and what has to be told.

Comes in: a rule (as it holds for the series), where its series stands, what one look said, the moment on two clocks,
and an id for the episode that may begin. Goes out: where the series stands now, and what has to be told. A step
without a change gives back the same object.

    from               to         when                                       told
    inactive, pending  firing     a step of the ladder fires                 firing
    inactive, pending  firing     quiet, where the rule alerts on it         firing (no data)
    firing, clearing   (same)     a higher step fires                        escalated
    firing, clearing   (same)     a reminder or an escalation is due         repeated, escalated
    firing             clearing   every step that fires is clearing          nothing
    firing, clearing   resolved   no step fires any more                     resolved
    firing, clearing   resolved   its instance is gone, or it fired for      resolved
                                  want of data and a good sample came, or
                                  quiet, where the rule resolves on it

An instance is gone when good samples of its family have come without it for `no_data.after`, which is a minute if the
rule does not say, or as long as one of them speaks if that is longer; one that is watched is gone at once. Stepping
down is silent. What may follow an end in the same look (another step that is pending) begins a new episode.

While an alert is acknowledged there are no reminders, and escalations wait; a higher step is told all the same, and
ends the acknowledgement.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from zkalert.lifecycle import clocks
from zkalert.lifecycle.clocks import OFF, ROUNDING, limits_of
from zkalert.lifecycle.schedule import is_open
from zkalert.lifecycle.telling import Told, due, effect, escalates_at, reminders
from zkalert.model import (
    Ack,
    Alert,
    Clock,
    Comparator,
    Condition,
    Hold,
    Moment,
    Outcome,
    Phase,
    Quiet,
    Reason,
    Rule,
    Severity,
    State,
    Step,
    Value,
    Verdict,
)

GONE_AFTER = 60.0


def inactive(rule: Rule, host: str, instance: str | None) -> Alert:
    """Where every series starts."""
    condition, step = rule.conditions[0], rule.steps[0]
    return Alert(
        rule=rule.name,
        host=host,
        instance=instance,
        digest=rule.digest,
        severity=step.severity,
        metric=condition.term.metric,
        subject=condition.subject,
        unit=condition.unit,
        comparator=condition.comparator,
        threshold=condition.threshold if step.threshold is None else step.threshold,
        clear=condition.clear if step.threshold is None else step.clear,
        clocks=(OFF,) * len(rule.steps),
    )


def step(rule: Rule, alert: Alert, verdict: Verdict, now: Moment, episode: str) -> tuple[Alert, Told]:
    """One look at one series. `episode` is the id of the stay out of inactive that may begin here."""
    if verdict.outcome is Outcome.ELAPSED:
        return _elapsed(rule, alert, now, episode)
    if verdict.outcome is Outcome.MISSING:
        return _miss(rule, alert, verdict, now)
    if verdict.outcome is Outcome.QUIET:
        return _quiet(rule, alert, now, episode)
    return _look(rule, alert, verdict, now, episode)


class _Look(NamedTuple):
    """One look at one series, and the episode that may begin with it."""

    rule: Rule
    verdict: Verdict
    now: Moment
    episode: str


def _look(rule: Rule, alert: Alert, verdict: Verdict, now: Moment, episode: str) -> tuple[Alert, Told]:
    if alert.is_quiet:
        ended, told = _end(rule, replace(alert, value=verdict.value), now.at, Reason.DATA_BACK)
        begun, more = _look(rule, inactive(rule, alert.host, alert.instance), verdict, now, episode)
        return (ended if begun.state is State.INACTIVE else begun), told + more
    before = _clocks(rule, alert)
    marks = verdict.marks or (verdict.outcome,)
    after = tuple(
        clocks.look(limits_of(one, rule.within), clock, mark, now, verdict.cover)
        for one, clock, mark in zip(rule.steps, before, marks, strict=True)
    )
    if after == before and not alert.state.is_active and alert.missing is None and alert.digest == rule.digest:
        return alert, ()
    return _settle(_Look(rule, verdict, now, episode), alert, before, after)


def is_of(rule: Rule, alert: Alert) -> bool:
    """Whether an alert's clocks measure the very condition that the rule has now."""
    return alert.digest == rule.digest and len(alert.clocks) == len(rule.steps)


def _clocks(rule: Rule, alert: Alert) -> tuple[Clock, ...]:
    """The clocks that a rule goes on with: what was pending under another condition starts anew."""
    if is_of(rule, alert):
        return alert.clocks
    if not alert.state.is_active:
        return (OFF,) * len(rule.steps)
    fires = [one.severity.rank <= alert.severity.rank for one in rule.steps]
    fires[0] = True
    return tuple(Clock(State.FIRING) if does else OFF for does in fires)


def _settle(at: _Look, alert: Alert, before: tuple[Clock, ...], after: tuple[Clock, ...]) -> tuple[Alert, Told]:
    """What an alert is once its clocks stand where they do."""
    rule, verdict, now = at.rule, at.verdict, at.now
    if rule.schedule is not None and not is_open(rule.schedule, now.at):
        after = tuple(
            clock if was.state.is_active and clock.state.is_active else OFF
            for was, clock in zip(before, after, strict=True)
        )
    top = next((index for index in reversed(range(len(after))) if after[index].state.is_active), None)
    if top is not None and alert.state.is_active:
        return _fires_on(at, alert, after, top, is_new=not before[top].state.is_active)
    if top is not None:
        return _fires(at, alert, after, top)
    is_pending = any(clock.state is State.PENDING for clock in after)
    if alert.state.is_active:
        reason = Reason.CLEARED if alert.digest == rule.digest else Reason.RULE_CHANGED
        value = verdict.values[_condition(rule, alert)] if verdict.values else verdict.value
        seen = replace(alert, value=value, values=verdict.values, members=verdict.members)
        ended, told = _end(rule, seen, now.at, reason)
        return (_started(at, alert, after) if is_pending else ended), told
    if not is_pending:
        return (alert if alert.state is State.INACTIVE else inactive(rule, alert.host, alert.instance)), ()
    if alert.state is State.PENDING and alert.digest == rule.digest:
        return replace(alert, **_seen(at, alert, 0), clocks=after, missing=None), ()
    return _started(at, alert, after), ()


def _started(at: _Look, alert: Alert, after: tuple[Clock, ...]) -> Alert:
    fresh = inactive(at.rule, alert.host, alert.instance)
    return replace(fresh, **_seen(at, fresh, 0), state=State.PENDING, episode=at.episode, clocks=after, since=at.now.at)


def _fires(at: _Look, alert: Alert, after: tuple[Clock, ...], top: int) -> tuple[Alert, Told]:
    """An alert whose first step fires."""
    rule, now = at.rule, at.now
    one = rule.steps[top]
    if alert.state is not State.PENDING or alert.digest != rule.digest:
        alert = _started(at, alert, after)
    fired = replace(
        alert,
        **_seen(at, alert, top),
        **reminders(rule, alert, now.at),
        state=_active_state(after),
        clocks=after,
        missing=None,
        severity=one.severity,
        fired_at=now.at,
        told=(one.severity,),
    )
    reason = Reason.HELD if one.duration > 0 else Reason.CROSSED
    return fired, (effect(rule, fired, Phase.FIRING, reason, now.at),)


def _fires_on(at: _Look, alert: Alert, after: tuple[Clock, ...], top: int, *, is_new: bool) -> tuple[Alert, Told]:
    """An alert that fires already. The rule's wording may have changed under it: it goes on, silently."""
    rule = at.rule
    severity = rule.steps[top].severity
    moved = replace(
        alert,
        **_seen(at, alert, top),
        **reminders(rule, alert, at.now.at),
        state=_active_state(after),
        digest=rule.digest,
        clocks=after,
        severity=severity,
        told=alert.told if len(rule.steps) > 1 else _with(alert.told, severity),
        missing=None,
    )
    if not is_new or severity.rank <= alert.severity.rank:
        return moved, ()
    name = f"{Phase.ESCALATED.value}-{severity.value}"
    if severity in alert.told:
        name = f"{name}-{alert.rises + 1}"
    # Whoever acknowledged it has seen less than what it is now.
    risen = replace(moved, rises=alert.rises + 1, told=_with(alert.told, severity), ack=None)
    return risen, (effect(rule, risen, Phase.ESCALATED, Reason.ROSE, at.now.at, name=name),)


def _active_state(after: tuple[Clock, ...]) -> State:
    return State.FIRING if any(clock.state is State.FIRING for clock in after) else State.CLEARING


def _with(told: tuple[Severity, ...], severity: Severity) -> tuple[Severity, ...]:
    return told if severity in told else (*told, severity)


def _seen(at: _Look, alert: Alert, top: int) -> dict[str, Any]:
    """What the look saw, and what it was held against, as fields of the alert."""
    rule, verdict = at.rule, at.verdict
    condition, one = rule.conditions[verdict.condition], rule.steps[top]
    peak = alert.peak if alert.digest == rule.digest and alert.subject == condition.subject else None
    if peak is None or verdict.outcome is Outcome.TRUE:  # a value that clears is never the worst
        peak = _worse(condition, one, peak, verdict.value)
    return {
        "metric": condition.term.metric,
        "subject": condition.subject,
        "unit": condition.unit,
        "comparator": condition.comparator,
        "threshold": condition.threshold if one.threshold is None else one.threshold,
        "clear": condition.clear if one.threshold is None else one.clear,
        "value": verdict.value,
        "values": verdict.values,
        "members": verdict.members,
        "peak": peak,
    }


def _elapsed(rule: Rule, alert: Alert, now: Moment, episode: str) -> tuple[Alert, Told]:
    """A timer's look: a duration may have ended, a reminder or an escalation may be due."""
    told: Told = ()
    if is_of(rule, alert):  # else what held until now was another condition: a sample says what holds
        alert, told = _run_out(rule, alert, now, episode)
    if alert.state.is_active:
        alert, more = due(rule, alert, now)
        told += more
    return alert, told


def _run_out(rule: Rule, alert: Alert, now: Moment, episode: str) -> tuple[Alert, Told]:
    """What became of the clocks since the last sample; it happened when they ran out, however late the look."""
    before = alert.clocks
    limits = [limits_of(one, rule.within) for one in rule.steps]
    after = tuple(
        clocks.look(limit, clock, Outcome.ELAPSED, now, 0.0) for limit, clock in zip(limits, before, strict=True)
    )
    moved = [
        clocks.ran_out_at(limit, was)
        for limit, was, clock in zip(limits, before, after, strict=True)
        if clock is not was
    ]
    if not moved:
        return alert, ()
    verdict = Verdict(Outcome.ELAPSED, alert.value, 0.0, (), _condition(rule, alert), alert.values, alert.members)
    return _settle(_Look(rule, verdict, Moment(max(moved), now.mono), episode), alert, before, after)


def _condition(rule: Rule, alert: Alert) -> int:
    """The condition that an alert's value belongs to."""
    subjects = [one.subject for one in rule.conditions]
    return subjects.index(alert.subject) if alert.subject in subjects else 0


def _miss(rule: Rule, alert: Alert, verdict: Verdict, now: Moment) -> tuple[Alert, Told]:
    if alert.state is State.INACTIVE:
        return alert, ()
    if is_of(rule, alert):  # the sample that showed it has spoken: this is the next one
        cut = clocks.all_blinded(rule, alert.clocks, now.mono)
        alert = alert if cut is alert.clocks else replace(alert, clocks=cut)
    if rule.keeps_gone:
        return alert, ()
    if verdict.cover < clocks.WATCHED:
        if alert.missing is None:
            return replace(alert, missing=Hold(0.0, now.at, now.mono, verdict.cover)), ()
        missing = clocks.advance(alert.missing, now, verdict.cover)
        after = rule.no_data.after
        if missing.held + ROUNDING < (max(GONE_AFTER, verdict.cover) if after is None else after):
            return replace(alert, missing=missing), ()
    if not alert.state.is_active:
        return inactive(rule, alert.host, alert.instance), ()
    return _end(rule, alert, now.at, Reason.GONE)


def _quiet(rule: Rule, alert: Alert, now: Moment, episode: str) -> tuple[Alert, Told]:
    then = rule.no_data.then
    if then is Quiet.RESOLVE and alert.state.is_active:
        return _end(rule, alert, now.at, Reason.NO_DATA)
    if then is Quiet.RESOLVE and alert.state is State.PENDING:
        return inactive(rule, alert.host, alert.instance), ()
    if then is not Quiet.ALERT or alert.state.is_active:
        return alert, ()
    if rule.schedule is not None and not is_open(rule.schedule, now.at):
        return alert, ()
    fresh = inactive(rule, alert.host, alert.instance)
    fired = replace(
        fresh,
        state=State.FIRING,
        episode=episode,
        since=now.at,
        fired_at=now.at,
        told=(fresh.severity,),
        is_quiet=True,
        **reminders(rule, fresh, now.at),
    )
    return fired, (effect(rule, fired, Phase.FIRING, Reason.NO_DATA, now.at),)


def acknowledged(alert: Alert, ack: Ack | None) -> Alert:
    """An alert with the acknowledgement of its episode, or without one (None).

    One from before its last rise counts for nothing.
    """
    if ack is not None and (ack.episode != alert.episode or ack.rises < alert.rises):
        ack = None
    return alert if alert.ack == ack else replace(alert, ack=ack)


def close(rule: Rule, alert: Alert, at: float, reason: Reason) -> tuple[Alert, Told]:
    """End an alert that no sample will speak of again; those who were told of it are told of that too.

    Its rule was removed, or no longer looks at its series, or its host was removed.
    """
    if not alert.state.is_active:
        return inactive(rule, alert.host, alert.instance), ()
    return _end(rule, alert, at, reason)


def _end(rule: Rule, alert: Alert, at: float, reason: Reason) -> tuple[Alert, Told]:
    ended = replace(alert, state=State.RESOLVED, resolved_at=at)
    phase = Phase.CLOSED if reason is Reason.RULE_REMOVED else Phase.RESOLVED
    return ended, (effect(rule, ended, phase, reason, at),)


def deadline(rule: Rule, alert: Alert, now: Moment) -> float | None:
    """When (on this process's clock) an alert needs a look without a sample, None where it does not."""
    dues: list[float | None] = []
    if alert.state is State.RESOLVED:
        return None
    if is_of(rule, alert):
        dues = [
            clocks.due_at(limits_of(one, rule.within), clock)
            for one, clock in zip(rule.steps, alert.clocks, strict=True)
            if clock.state in (State.PENDING, State.CLEARING)
        ]
    if alert.state.is_active:
        if alert.repeat_at is not None and rule.repeat:
            dues.append(now.mono + alert.repeat_at - now.at)
        if (escalate_at := escalates_at(rule, alert)) is not None:
            dues.append(now.mono + escalate_at - now.at)
    return min((due for due in dues if due is not None), default=None)


def _worse(condition: Condition, one: Step, peak: Value | None, value: Value | None) -> Value | None:
    if peak is None or value is None or isinstance(peak, str) or isinstance(value, str):
        return peak if value is None else value
    if condition.comparator in (Comparator.GT, Comparator.GE):
        return max(peak, value)
    if condition.comparator in (Comparator.LT, Comparator.LE):
        return min(peak, value)
    threshold = condition.threshold if one.threshold is None else one.threshold
    if condition.comparator is Comparator.OUTSIDE and isinstance(threshold, tuple):
        low, high = threshold
        return max(peak, value, key=lambda number: max(low - number, number - high))
    return value
