"""One alert as lines for people and as JSON: all that the tree knows of it, and what may be done next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from zkalert.cli import saying, tables
from zkalert.cli.board import action_document, alert_document, lasted, letter_document, value_of
from zkalert.cli.records import as_text
from zkalert.cli.tables import iso, local
from zkalert.journal import JournalError, Kind, Wanted, read
from zkalert.metrics import format_duration, format_value
from zkalert.model import FOR_GOOD, MEMBERS_HOST, ActionResult, Alert, Clock, DeliveryState, State
from zkalert.render import condition, has_value, subject, unit_of, where
from zkalert.survey import Letter, Silenced, Standing

_MOST_RECORDS = 20
_KINDS = (Kind.TRANSITION, Kind.WITHHELD, Kind.RELEASED, Kind.MESSAGE, Kind.DROPPED, Kind.ACTION, Kind.ACK)


class Dossier(NamedTuple):
    """How one alert stands, `at` a moment of the ensemble's clock."""

    standing: Standing
    at: float

    @property
    def is_over(self) -> bool:
        return self.standing.alert.state in (State.RESOLVED, State.INACTIVE)


def as_lines(dossier: Dossier) -> Iterator[str]:
    """Lines of text; names in them are not cleaned yet."""
    one, now = dossier
    alert = one.alert
    yield f"{alert.id}  {alert.severity.value}  {alert.state.value}  {alert.rule} on {where(alert, between=' ')}"
    yield f"  episode   {alert.episode}"
    yield from (f"  {line}" for line in _measured(alert))
    yield f"  since     {local(alert.since)}, {lasted(alert.since, alert.resolved_at or now)}"
    if alert.fired_at is not None:
        yield f"  fired     {local(alert.fired_at)}"
    if alert.resolved_at is not None:
        yield f"  resolved  {local(alert.resolved_at)}"
    yield from (f"  step      {_clock(number, clock)}" for number, clock in enumerate(alert.clocks, 1))
    yield from (f"  {line}" for line in _telling(alert))
    if one.ack is not None:
        ack = one.ack
        until = "it ends" if ack.ends_at is None else local(ack.ends_at)
        by = f" by {ack.author}" if ack.author else ""
        yield f"  acked     at {local(ack.at)}{by}, until {until}" + (f": {ack.comment}" if ack.comment else "")
    yield from (f"  silence   {_silence(each)}" for each in one.silences)
    yield from (f"  message   {_letter(each, now)}" for each in one.letters)
    for result in alert.actions:
        yield f"  command   {_action(result)}"
        yield from (f"            | {line}" for line in result.tail.splitlines())
    yield from (f"  next      {line}" for line in _next(dossier))


def _measured(alert: Alert) -> Iterator[str]:
    if alert.is_quiet:
        yield f"measured  no data from {subject(alert)}"
        return
    value = f" is {value_of(alert)}" if has_value(alert) else ""
    worst = f", worst {format_value(alert.peak, unit_of(alert))}" if alert.peak is not None and has_value(alert) else ""
    yield f"measured  {subject(alert)}{value} ({condition(alert)}){worst}"
    if alert.clear is not None:
        clear = alert.clear if isinstance(alert.clear, tuple) else (alert.clear,)
        yield f"clears    at {' to '.join(format_value(end, unit_of(alert)) for end in clear)}"


def _clock(number: int, clock: Clock) -> str:
    hold = clock.clearing if clock.state is State.CLEARING else clock.hold
    if hold is None:
        return f"{number}: {clock.state.value}"
    gaps = "" if not hold.gaps else f", {hold.gaps} gap{'s' if hold.gaps > 1 else ''}"
    return f"{number}: {clock.state.value}, held {format_duration(hold.held)} by {local(hold.at)}{gaps}"


def _telling(alert: Alert) -> Iterator[str]:
    if alert.told:
        counts = ((alert.repeats, "reminder"), (alert.escalations, "escalation"), (alert.rises, "rise"))
        more = [f"{count} {what}{'s' if count > 1 else ''}" for count, what in counts if count]
        yield "told      " + ", ".join([*(severity.value for severity in alert.told), *more])
    if alert.heard:
        yield f"heard by  {', '.join(alert.heard)}"
    if alert.repeat_at is not None:
        yield f"reminder  due {local(alert.repeat_at)}"
    if alert.escalate_at is not None:
        yield f"escalates {local(alert.escalate_at)}"


def _silence(one: Silenced) -> str:
    silence, until = one
    on = "is not on now" if until is None else "is on" + (f" until {local(until)}" if until < FOR_GOOD else "")
    by = " ".join(part for part in (silence.author, silence.comment) if part)
    return f"{silence.id} {saying.words(silence)} {on}" + (f" ({by})" if by else "")


def _letter(one: Letter, now: float) -> str:
    delivery = one.delivery
    state = "given up" if one.is_dead and delivery.state is DeliveryState.FAILED else delivery.state.value
    tries = f" after {delivery.attempts} tries" if delivery.attempts > 1 else ""
    at = f" at {local(delivery.at)}" if delivery.at is not None else f" for {lasted(one.effect.at, now)}"
    return f"{one.phase} to {delivery.name}: {state}{at}{tries}" + (f": {delivery.detail}" if delivery.detail else "")


def _action(result: ActionResult) -> str:
    code = "no exit code" if result.exit_code is None else f"exit code {result.exit_code}"
    detail = f": {result.detail}" if result.detail else ""
    return (
        f"{result.name} ({result.phase}): {code} after {format_duration(result.seconds)} at {local(result.at)}{detail}"
    )


def _next(dossier: Dossier) -> Iterator[str]:
    """Commands to type; what stands in a name is quoted, and means itself."""
    one = dossier.standing
    alert = one.alert
    if any(letter.is_dead and letter.is_undelivered for letter in one.letters):
        yield f"zkalert alerts resend {alert.id}"
    if not dossier.is_over:
        yield f"zkalert ack {alert.id} --remove" if one.ack else f"zkalert ack {alert.id} --comment 'on it'"
        matchers = f"rule={_glob(alert.rule)}", f"host={_glob(alert.host)}"
        yield f"zkalert silence add {' '.join(map(_quoted, matchers))} --for 2h --comment why"
        host = "" if alert.host == MEMBERS_HOST else f" --host {_quoted(alert.host)}"
        yield f"zkalert explain {_quoted(alert.rule)}{host}"
    yield f"zkalert log --alert {alert.id}"


def _quoted(text: str) -> str:
    return shlex.quote(tables.plain(text))


def _glob(name: str) -> str:
    """A name as a glob that matches it alone."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def journal_lines(path: Path, dossier: Dossier) -> Iterator[str]:
    """What this host's journal tells of the alert, the newest; nothing where there is none to read."""
    wanted = Wanted(alert=dossier.standing.alert.episode, kinds=_KINDS)
    try:
        found = list(read(path, wanted, limit=_MOST_RECORDS))
    except JournalError:
        return
    if found:
        yield "  journal of this host:"
        yield from (f"    {as_text(entry.record, paint=False)}" for entry in found)


def as_document(dossier: Dossier) -> dict[str, Any]:
    one, now = dossier
    alert = one.alert
    return alert_document(one, now) | {
        "at": iso(now),
        "resolved_at": iso(alert.resolved_at),
        "steps": [_step(clock) for clock in alert.clocks],
        "told": [severity.value for severity in alert.told],
        "heard": list(alert.heard),
        "repeats": alert.repeats,
        "escalations": alert.escalations,
        "repeat_at": iso(alert.repeat_at),
        "escalate_at": iso(alert.escalate_at),
        "matching": [
            {"id": silence.id, "matchers": saying.words(silence), "on_until": iso(until), "comment": silence.comment}
            for silence, until in one.silences
        ],
        "messages": [letter_document(letter, now) for letter in one.letters],
        "actions": [action_document(result) for result in alert.actions],
    }


def _step(clock: Clock) -> dict[str, Any]:
    hold = clock.clearing if clock.state is State.CLEARING else clock.hold
    return {
        "state": clock.state.value,
        "held": None if hold is None else hold.held,
        "at": None if hold is None else iso(hold.at),
        "gaps": 0 if hold is None else hold.gaps,
    }
