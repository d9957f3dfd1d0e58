"""The life of an alert: one table of transitions, and the pure function that walks it.

Comes in: a rule, where its series stands, what one look said, the moment on two clocks, and an id for the episode
that may begin. Goes out: where the series stands now, and what has to be told. A step without a change gives back
the same object.

    from      verdict   to                          effect
    inactive  true      pending, or firing if the   firing (threshold crossed)
                        duration is 0
    pending   true      firing once held for the    firing (held for its duration)
                        duration, else pending
    pending   elapsed   firing once held for the    firing (held for its duration)
                        duration, else pending
    pending   false     inactive
    pending   missing   inactive once gone
    firing    true      firing
    firing    false     resolved                    resolved (back below the threshold, or rule changed)
    firing    missing   resolved once gone          resolved (instance gone)

What is not in the table changes nothing. An instance is gone when good samples of its family have come without it
for `GONE_AFTER` seconds, or as long as one of them speaks if that is longer.

Held time is the time that true samples cover: a sample speaks until the next one, at most its own `max_age`. A
longer gap adds nothing more and resets nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from zkalert.model import (
    Alert,
    Comparator,
    Effect,
    Hold,
    Moment,
    Outcome,
    Phase,
    Reason,
    Rule,
    State,
    Verdict,
)

GONE_AFTER = 60.0
_ROUNDING = 1e-6  # spans are differences of epoch seconds in floating point

Step = tuple[Alert, tuple[Effect, ...]]
Handler = Callable[[Rule, Alert, Verdict, Moment, str], Step]


def inactive(rule: Rule, host: str, instance: str | None) -> Alert:
    """Where every series starts."""
    return Alert(
        rule=rule.name,
        host=host,
        instance=instance,
        digest=rule.digest,
        severity=rule.severity,
        metric=rule.metric,
        comparator=rule.comparator,
        threshold=rule.threshold,
    )


def step(rule: Rule, alert: Alert, verdict: Verdict, now: Moment, episode: str) -> Step:
    """One look at one series. `episode` is the id of the stay out of inactive that may begin here."""
    handler = TRANSITIONS.get((alert.state, verdict.outcome))
    return (alert, ()) if handler is None else handler(rule, alert, verdict, now, episode)


def _begin(rule: Rule, alert: Alert, verdict: Verdict, now: Moment, episode: str) -> Step:
    started = replace(
        inactive(rule, alert.host, alert.instance),
        state=State.PENDING,
        episode=episode,
        value=verdict.value,
        peak=verdict.value,
        since=now.at,
        hold=Hold(0.0, now.at, now.mono, verdict.cover),
    )
    if rule.duration <= 0:
        return _fire(rule, started, now, Reason.CROSSED)
    return started, ()


def _held(rule: Rule, alert: Alert, verdict: Verdict, now: Moment, episode: str) -> Step:
    if alert.hold is None or alert.digest != rule.digest:
        # What held until now was another condition.
        return _begin(rule, alert, verdict, now, episode)
    hold = advance(alert.hold, now, verdict.cover)
    moved = replace(alert, value=verdict.value, peak=_worse(rule, alert.peak, verdict.value), hold=hold, missing=None)
    if hold.held + _ROUNDING >= rule.duration:
        return _fire(rule, moved, now, Reason.HELD)
    return moved, ()


def _elapsed(rule: Rule, alert: Alert, verdict: Verdict, now: Moment, episode: str) -> Step:
    hold, due = alert.hold, deadline(rule, alert)
    if hold is None or due is None or now.mono + _ROUNDING < due:
        return alert, ()  # the timer of a sample that another one has followed
    spent = due - hold.mono
    held = Hold(hold.held + spent, hold.at + spent, due, hold.cover - spent, hold.gaps)
    if held.held + _ROUNDING >= rule.duration:
        return _fire(rule, replace(alert, hold=held), Moment(held.at, due), Reason.HELD)
    # The last sample has spoken for as long as it may: a gap begins.
    return replace(alert, hold=held._replace(cover=0.0, gaps=held.gaps + 1)), ()


def _drop(rule: Rule, alert: Alert, verdict: Verdict, now: Moment, episode: str) -> Step:
    return inactive(rule, alert.host, alert.instance), ()


def _fire(rule: Rule, alert: Alert, now: Moment, reason: Reason) -> Step:
    fired = replace(alert, state=State.FIRING, fired_at=now.at)
    return fired, (_effect(rule, fired, Phase.FIRING, reason, now.at),)


def _keep_firing(rule: Rule, alert: Alert, verdict: Verdict, now: Moment, episode: str) -> Step:
    # The rule's wording may have changed under a condition that is still true: it goes on firing, silently.
    return replace(
        alert,
        digest=rule.digest,
        severity=rule.severity,
        metric=rule.metric,
        comparator=rule.comparator,
        threshold=rule.threshold,
        value=verdict.value,
        peak=_worse(rule, alert.peak if alert.digest == rule.digest else None, verdict.value),
        missing=None,
    ), ()


def _resolve(rule: Rule, alert: Alert, verdict: Verdict, now: Moment, episode: str) -> Step:
    reason = Reason.CLEARED if alert.digest == rule.digest else Reason.RULE_CHANGED
    return _end(rule, replace(alert, value=verdict.value), now, reason)


def _miss(rule: Rule, alert: Alert, verdict: Verdict, now: Moment, episode: str) -> Step:
    if alert.missing is None:
        return replace(alert, missing=Hold(0.0, now.at, now.mono, verdict.cover)), ()
    missing = advance(alert.missing, now, verdict.cover)
    if missing.held < max(GONE_AFTER, verdict.cover):
        return replace(alert, missing=missing), ()
    if alert.state is State.PENDING:
        return inactive(rule, alert.host, alert.instance), ()
    return _end(rule, alert, now, Reason.GONE)


def _end(rule: Rule, alert: Alert, now: Moment, reason: Reason) -> Step:
    ended = replace(alert, state=State.RESOLVED, resolved_at=now.at)
    return ended, (_effect(rule, ended, Phase.RESOLVED, reason, now.at),)


TRANSITIONS: Mapping[tuple[State, Outcome], Handler] = {
    (State.INACTIVE, Outcome.TRUE): _begin,
    (State.PENDING, Outcome.TRUE): _held,
    (State.PENDING, Outcome.ELAPSED): _elapsed,
    (State.PENDING, Outcome.FALSE): _drop,
    (State.PENDING, Outcome.MISSING): _miss,
    (State.FIRING, Outcome.TRUE): _keep_firing,
    (State.FIRING, Outcome.FALSE): _resolve,
    (State.FIRING, Outcome.MISSING): _miss,
}


def close(rule: Rule, alert: Alert, at: float, reason: Reason) -> Step:
    """End an alert that no sample will speak of again; those who were told of it are told of that too.

    Its rule was removed, or no longer looks at its series, or its host was removed.
    """
    if alert.state is not State.FIRING:
        return inactive(rule, alert.host, alert.instance), ()
    ended = replace(alert, state=State.RESOLVED, resolved_at=at)
    phase = Phase.CLOSED if reason is Reason.RULE_REMOVED else Phase.RESOLVED
    return ended, (_effect(rule, ended, phase, reason, at),)


def resume(alert: Alert, seen_at: float, now: Moment) -> Alert:
    """An alert as read back from its record by an engine that takes over at `now`.

    The record of a pending alert is written when it begins and when a gap begins or ends. That it stood without a
    gap at `seen_at`, when its former owner last said that it watches, means that it held until then. What comes
    after is a gap under the same rule as any other.
    """
    hold = alert.hold
    if alert.state is not State.PENDING or hold is None:
        return alert
    at = max(seen_at, hold.at) if hold.cover > 0 else hold.at
    mono = now.mono - max(now.at - at, 0.0)
    return replace(alert, hold=Hold(hold.held + at - hold.at, at, mono, hold.cover, hold.gaps))


def advance(hold: Hold, now: Moment, cover: float) -> Hold:
    """A hold, carried on to a further true sample that speaks for `cover` seconds.

    The ensemble's clock may jump. Forward: no more counts than this process's own clock saw pass. Back: its own
    clock alone counts.
    """
    passed, seen = now.at - hold.at, max(now.mono - hold.mono, 0.0)
    passed = seen if passed < 0 else min(passed, seen)
    begins_gap = hold.cover > 0 and passed > hold.cover + _ROUNDING
    return Hold(hold.held + min(passed, hold.cover), now.at, now.mono, cover, hold.gaps + begins_gap)


def deadline(rule: Rule, alert: Alert) -> float | None:
    """When (on this process's clock) a pending alert needs a look without a sample, None where it does not.

    That is when it will have held for its duration, or when its last sample stops speaking, whichever is first.
    """
    hold = alert.hold
    if alert.state is not State.PENDING or hold is None or hold.cover <= 0:
        return None
    return hold.mono + max(0.0, min(rule.duration - hold.held, hold.cover))


def needs_write(old: Alert, new: Alert) -> bool:
    """Whether the record in ZooKeeper has to follow; values between two transitions stay in memory."""
    if old.state is not new.state or old.episode != new.episode or old.digest != new.digest:
        return True
    if old.hold is None or new.hold is None or new.state is not State.PENDING:
        return False
    return old.hold.gaps != new.hold.gaps or (old.hold.cover > 0) != (new.hold.cover > 0)


def _worse(rule: Rule, peak: float | None, value: float | None) -> float | None:
    if peak is None or value is None:
        return value
    if rule.comparator in (Comparator.GT, Comparator.GE):
        return max(peak, value)
    if rule.comparator in (Comparator.LT, Comparator.LE):
        return min(peak, value)
    return value


def _effect(rule: Rule, alert: Alert, phase: Phase, reason: Reason, at: float) -> Effect:
    return Effect(
        alert=alert,
        phase=phase,
        reason=reason,
        at=at,
        labels=rule.labels,
        summary=rule.summary,
        description=rule.description,
    )
