"""What of an alert is written, and what a process that did not watch makes of it.

An alert in memory moves with every sample, its record in ZooKeeper only where a restart could not do without: how long
something has held follows from when that began, and from until when somebody watched.
"""

from __future__ import annotations

from dataclasses import replace

from zkalert.lifecycle import clocks
from zkalert.lifecycle.alerts import is_of
from zkalert.model import Alert, Clock, Moment, Rule, State


def needs_write(old: Alert, new: Alert) -> bool:
    """Whether the record in ZooKeeper has to follow; values between two transitions stay in memory."""
    if (
        old.state is not new.state
        or old.episode != new.episode
        or old.digest != new.digest
        or old.severity is not new.severity
        or old.repeats != new.repeats
        or old.escalations != new.escalations
        or (old.repeat_at is None) is not (new.repeat_at is None)
        or (old.escalate_at is None) is not (new.escalate_at is None)
        or old.ack != new.ack
        or len(old.clocks) != len(new.clocks)
    ):
        return True
    return any(_moved(was, clock) for was, clock in zip(old.clocks, new.clocks, strict=True) if was is not clock)


def _moved(old: Clock, new: Clock) -> bool:
    if old.state is not new.state or len(old.spans) != len(new.spans):
        return True
    for was, hold in ((old.hold, new.hold), (old.clearing, new.clearing)):
        if (was is None) != (hold is None):
            return True
        if was is None or hold is None or new.state is State.FIRING:
            continue
        if was.gaps != hold.gaps or (was.cover > 0) != (hold.cover > 0):
            return True
    return False


def resume(alert: Alert, seen_at: float, now: Moment) -> Alert:
    """An alert as read back from its record by an engine that takes over at `now`.

    The record is written when a hold begins and when a gap begins or ends. That it stood without a gap at `seen_at`,
    when its former owner last said that it watches, means that it held until then. What comes after is a gap under
    the same rule as any other.
    """
    if not any(clock.state in (State.PENDING, State.CLEARING) for clock in alert.clocks):
        return alert
    return replace(
        alert,
        clocks=tuple(
            clock._replace(hold=clocks.resumed(clock.hold, seen_at, now))
            if clock.state is State.PENDING and clock.hold is not None
            else clock._replace(clearing=clocks.resumed(clock.clearing, seen_at, now))
            if clock.state is State.CLEARING and clock.clearing is not None
            else clock
            for clock in alert.clocks
        ),
    )


def blind(rule: Rule, alert: Alert, since: float) -> Alert:
    """An alert of an engine that stood still after `since` (its own clock): what held then may not have held on."""
    if not is_of(rule, alert):
        return alert
    after = clocks.all_blinded(rule, alert.clocks, since)
    return alert if after is alert.clocks else replace(alert, clocks=after)
