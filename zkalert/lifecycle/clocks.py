"""One step of a ladder: how long its condition has held, and how long it has been clearing.

    from      outcome          to                                  when
    inactive  true             pending, or firing                  the duration is 0
    pending   true, elapsed    pending, or firing                  held for the duration
    pending   between, false   inactive                            (with `within`: once no true span is left in it)
    firing    false            clearing, or inactive               the clear_duration is 0
    clearing  false, elapsed   clearing, or inactive               held for the clear_duration
    clearing  true, between    firing

What is not in the table changes nothing.

Held time is the time that samples which said so cover: a sample speaks until the next one, at most its own `max_age`.
A longer gap adds nothing more and resets nothing. With `within` it is the sum of the true spans in the last so many
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from zkalert.model import Clock, Hold, Moment, Outcome, Rule, State, Step

ROUNDING = 1e-6  # spans are differences of epoch seconds in floating point
MOST_SPANS = 256
WATCHED = 1e8  # seconds; what speaks as long is not sampled, but watched: without whoever watches it says nothing

OFF = Clock()


class Limits(NamedTuple):
    """How long a step takes to fire and to clear, in seconds; `within` what span the former is summed over."""

    duration: float
    clear_duration: float
    within: float | None


def limits_of(step: Step, within: float | None) -> Limits:
    return Limits(step.duration, step.clear_duration, within)


def look(limits: Limits, clock: Clock, outcome: Outcome, now: Moment, cover: float) -> Clock:
    """A clock after one look; the same object where nothing changes."""
    handler = TRANSITIONS.get((clock.state, outcome))
    return clock if handler is None else handler(limits, clock, now, cover)


def _begin(limits: Limits, clock: Clock, now: Moment, cover: float) -> Clock:
    hold = Hold(0.0, now.at, now.mono, cover)
    return Clock(State.FIRING if limits.duration <= 0 else State.PENDING, hold)


def _held(limits: Limits, clock: Clock, now: Moment, cover: float) -> Clock:
    spans = clock.spans
    if clock.hold is None:
        hold = Hold(0.0, now.at, now.mono, cover)
    else:
        hold = advance(clock.hold, now, cover)
        if limits.within is not None and hold.gaps > clock.hold.gaps:
            # A span of its own for what came before the gap: the sum is taken over where they lie.
            end = clock.hold.at + clock.hold.cover
            spans = _kept(limits, (*spans, (end - hold.held, end)), now)
            hold = hold._replace(held=0.0)
    return _fired_or(limits, Clock(State.PENDING, hold, None, spans))


def _fired_or(limits: Limits, clock: Clock) -> Clock:
    if clock.hold is not None and _total(limits, clock, clock.hold) + ROUNDING >= limits.duration:
        return clock._replace(state=State.FIRING)
    return clock


def _dropped(limits: Limits, clock: Clock, now: Moment, cover: float) -> Clock:
    if limits.within is None:
        return OFF
    spans = clock.spans
    if clock.hold is not None:
        hold = advance(clock.hold, now, 0.0)
        end = now.at if hold.gaps == clock.hold.gaps else clock.hold.at + clock.hold.cover
        spans = (*spans, (end - hold.held, end))
    spans = _kept(limits, spans, now)
    return Clock(State.PENDING, None, None, spans) if spans else OFF


def _kept(limits: Limits, spans: tuple[tuple[float, float], ...], now: Moment) -> tuple[tuple[float, float], ...]:
    start = now.at - (limits.within or 0.0)
    return tuple(span for span in spans if span[1] > max(start, span[0]))[-MOST_SPANS:]


def _total(limits: Limits, clock: Clock, hold: Hold, later: float = 0.0) -> float:
    """What will have been held in all `later` seconds after the hold's moment, if it goes on being true."""
    if limits.within is None:
        return hold.held + later
    start = hold.at + later - limits.within
    earlier = sum(max(0.0, end - max(begin, start)) for begin, end in clock.spans)
    return min(hold.held + later, limits.within) + earlier


def _needed(limits: Limits, clock: Clock, hold: Hold) -> float:
    """How many seconds after the hold's moment the duration is reached, if it goes on being true.

    The sum rises by a second in a second, or stands still while an old span leaves by one end what comes in at the
    other. So the moment lies in the first stretch between two such ends at whose end the sum is enough.
    """
    if limits.within is None:
        return limits.duration - hold.held
    edges = sorted({edge - hold.at + limits.within for span in clock.spans for edge in span} | {limits.duration})
    since, total = 0.0, _total(limits, clock, hold)
    for edge in edges:
        if total >= limits.duration:
            break
        if edge > since:
            then = _total(limits, clock, hold, edge)
            if then >= limits.duration:
                return since + limits.duration - total
            since, total = edge, then
    return since + max(0.0, limits.duration - total)


def _pending_elapsed(limits: Limits, clock: Clock, now: Moment, cover: float) -> Clock:
    hold, due = clock.hold, due_at(limits, clock)
    if hold is None or due is None or now.mono + ROUNDING < due:
        return clock  # the timer of a sample that another one has followed
    later = _spent(hold, due)
    done = _fired_or(limits, clock._replace(hold=later))
    # Else the last sample has spoken for as long as it may: a gap begins.
    return done if done.state is State.FIRING else _gapped(limits, clock, later, now)


def _gapped(limits: Limits, clock: Clock, hold: Hold, now: Moment) -> Clock:
    if limits.within is None:
        return clock._replace(hold=hold._replace(cover=0.0, gaps=hold.gaps + 1))
    spans = _kept(limits, (*clock.spans, (hold.at - hold.held, hold.at)), now)
    return Clock(State.PENDING, hold._replace(held=0.0, cover=0.0, gaps=hold.gaps + 1), None, spans)


def _spent(hold: Hold, due: float) -> Hold:
    """A hold at the moment `due`, within what its sample covers."""
    spent = due - hold.mono
    return Hold(hold.held + spent, hold.at + spent, due, hold.cover - spent, hold.gaps)


def _clear(limits: Limits, clock: Clock, now: Moment, cover: float) -> Clock:
    if limits.clear_duration <= 0:
        return OFF
    return clock._replace(state=State.CLEARING, clearing=Hold(0.0, now.at, now.mono, cover))


def _cleared(limits: Limits, clock: Clock, now: Moment, cover: float) -> Clock:
    if clock.clearing is None:
        return _clear(limits, clock, now, cover)
    clearing = advance(clock.clearing, now, cover)
    return OFF if clearing.held + ROUNDING >= limits.clear_duration else clock._replace(clearing=clearing)


def _clearing_elapsed(limits: Limits, clock: Clock, now: Moment, cover: float) -> Clock:
    clearing, due = clock.clearing, due_at(limits, clock)
    if clearing is None or due is None or now.mono + ROUNDING < due:
        return clock
    later = _spent(clearing, due)
    if later.held + ROUNDING >= limits.clear_duration:
        return OFF
    return clock._replace(clearing=later._replace(cover=0.0, gaps=later.gaps + 1))


def _relapsed(limits: Limits, clock: Clock, now: Moment, cover: float) -> Clock:
    return clock._replace(state=State.FIRING, clearing=None)


TRANSITIONS: Mapping[tuple[State, Outcome], Callable[[Limits, Clock, Moment, float], Clock]] = {
    (State.INACTIVE, Outcome.TRUE): _begin,
    (State.PENDING, Outcome.TRUE): _held,
    (State.PENDING, Outcome.BETWEEN): _dropped,
    (State.PENDING, Outcome.FALSE): _dropped,
    (State.PENDING, Outcome.ELAPSED): _pending_elapsed,
    (State.FIRING, Outcome.FALSE): _clear,
    (State.CLEARING, Outcome.FALSE): _cleared,
    (State.CLEARING, Outcome.ELAPSED): _clearing_elapsed,
    (State.CLEARING, Outcome.TRUE): _relapsed,
    (State.CLEARING, Outcome.BETWEEN): _relapsed,
}


def due_at(limits: Limits, clock: Clock) -> float | None:
    """When (on this process's clock) a clock needs a look without a sample, None where it does not.

    That is when it will have held for as long as it takes, or when its last sample stops speaking, whichever is first.
    """
    if clock.state is State.PENDING and clock.hold is not None and clock.hold.cover > 0:
        return clock.hold.mono + max(0.0, min(_needed(limits, clock, clock.hold), clock.hold.cover))
    if clock.state is State.CLEARING and clock.clearing is not None and clock.clearing.cover > 0:
        clearing = clock.clearing
        return clearing.mono + max(0.0, min(limits.clear_duration - clearing.held, clearing.cover))
    return None


def ran_out_at(limits: Limits, clock: Clock) -> float:
    """When (ensemble's epoch seconds) a clock that is due did what it was due for."""
    hold, due = clock.clearing if clock.state is State.CLEARING else clock.hold, due_at(limits, clock)
    if hold is None or due is None:
        raise ValueError(f"a clock that is {clock.state.value} is not due for anything")
    return hold.at + due - hold.mono


def advance(hold: Hold, now: Moment, cover: float) -> Hold:
    """A hold, carried on to a further true sample that speaks for `cover` seconds.

    The ensemble's clock may jump. Forward: no more counts than this process's own clock saw pass. Back: its own
    clock alone counts.
    """
    passed, seen = now.at - hold.at, max(now.mono - hold.mono, 0.0)
    passed = seen if passed < 0 else min(passed, seen)
    begins_gap = hold.cover > 0 and passed > hold.cover + ROUNDING
    return Hold(hold.held + min(passed, hold.cover), now.at, now.mono, cover, hold.gaps + begins_gap)


def resumed(hold: Hold, seen_at: float, now: Moment) -> Hold:
    """A hold as read back by an engine that takes over at `now`; its former owner watched until `seen_at`."""
    at = max(seen_at, hold.at) if hold.cover > 0 else hold.at
    mono = now.mono - max(now.at - at, 0.0)
    later = Hold(hold.held + at - hold.at, at, mono, hold.cover, hold.gaps)
    return later if hold.cover < WATCHED else later._replace(cover=0.0, gaps=hold.gaps + 1)


def blinded(limits: Limits, clock: Clock, since: float) -> Clock:
    """A clock of which nothing is known after `since` (this process's clock): a gap begins there."""
    hold = clock.hold if clock.state is State.PENDING else clock.clearing if clock.state is State.CLEARING else None
    if hold is None or hold.cover <= 0 or since >= hold.mono + hold.cover:
        return clock
    later = _spent(hold, max(since, hold.mono))
    if clock.state is State.PENDING:
        return _gapped(limits, clock, later, Moment(later.at, later.mono))
    return clock._replace(clearing=later._replace(cover=0.0, gaps=later.gaps + 1))


def all_blinded(rule: Rule, held: tuple[Clock, ...], since: float) -> tuple[Clock, ...]:
    """The clocks of a rule's steps, each `blinded`; the same object where none of them changes."""
    after = tuple(
        blinded(limits_of(one, rule.within), clock, since) for one, clock in zip(rule.steps, held, strict=True)
    )
    return held if after == held else after
