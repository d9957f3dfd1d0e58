"""An effect taken apart: the sentences, facts and notes that its body is made of.

Comes in: an effect and the rule's texts, filled in. Goes out: Parts in plain text, each on one line but for the
description; how they are set is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator

from zkalert.metrics import format_duration
from zkalert.model import Ack, ActionResult, Alert, Comparator, Effect, Parts, Phase, Reason
from zkalert.render.text import iso, line
from zkalert.render.values import variables
from zkalert.render.words import (
    ENDS,
    clears,
    has_value,
    severity_of,
    span,
    statement,
    unit_of,
    value_words,
)

DRILL = "This is a drill: nothing has happened."

_MOST_LINE = 1024
_MOST_FOOTER = 6 * 1024
_MOST_NAME = 60
_MOST_SAID = 300  # of what a command or a person said
_BEGUN = 0.05  # seconds that anything takes which was run
_MOST_ACTIONS = 8

# Of the others the peak is no more than the last value that it fired with.
_WITH_PEAK = frozenset({Comparator.GT, Comparator.GE, Comparator.LT, Comparator.LE, Comparator.OUTSIDE})


def parts_of(effect: Effect, description: str, runbook: str, problems: tuple[str, ...]) -> Parts:
    """All that a message tells of one effect."""
    note = line(effect.note, _MOST_LINE)
    return Parts(
        notice=DRILL if effect.is_drill else "",
        description=description,
        lead=tuple(text for text in (line(statement(effect), _MOST_LINE), note) if text),
        facts=tuple((line(name, _MOST_LINE), line(text, _MOST_LINE)) for name, text in _facts(effect, runbook)),
        problems=problems,
        footer=f"alert {line(effect.alert.id, 64)}, key {line(effect.key, _MOST_FOOTER)}",
    )


def _facts(effect: Effect, runbook: str) -> Iterator[tuple[str, str]]:
    alert = effect.alert
    yield _course(effect)
    if effect.phase is not Phase.FIRING and alert.peak is not None and has_value(alert):
        name = "Peak" if alert.comparator in _WITH_PEAK else "Before"
        if effect.phase in ENDS or alert.peak != alert.value:
            yield name, value_words(alert.peak, unit_of(alert))
    yield from _gaps(alert)
    if len(alert.values) > 1:
        yield "Values of its conditions, in their order", str(variables(effect)["values"])
    if effect.phase not in ENDS and not alert.is_quiet and (text := clears(alert)):
        yield "Clears", text
    at_last = f", at last {alert.severity.value}" if severity_of(effect) is not alert.severity else ""
    yield "Severity", f"{severity_of(effect).value}{at_last}"
    if alert.ack is not None:
        yield "Acknowledged", _acknowledged(alert.ack)
    if effect.phase is not Phase.FIRING:
        for action in alert.actions[-_MOST_ACTIONS:]:
            yield f"Action {line(action.name, _MOST_NAME)}", _outcome(action)
    if runbook:
        yield "Runbook", runbook
    yield from _labels(effect)


def _labels(effect: Effect) -> Iterator[tuple[str, str]]:
    for what, labels in (
        ("Labels", effect.labels),
        ("Host", effect.host_labels),
        ("Instance", effect.instance_labels),
    ):
        if labels:
            yield what, ", ".join(f"{name}={text}" for name, text in labels.items())


def _course(effect: Effect) -> tuple[str, str]:
    """Since when, for how long, and what this message is about."""
    alert, at = effect.alert, iso(effect.at)
    since = iso(alert.since)
    if effect.phase in ENDS:
        return "Lasted", f"{span(effect)}, from {since} to {at}"
    if effect.phase is Phase.FIRING:
        return "Since", since + (f", fired {span(effect)} later at {at}" if effect.at > alert.since else "")
    if effect.reason is Reason.ROSE:
        return "Since", f"{since}, rose to {alert.severity.value} {span(effect)} later at {at}"
    if effect.phase is Phase.REPEATED:
        return "Since", f"{since}, for {span(effect)} at {at}; reminder {alert.repeats}"
    heard = ", and not acknowledged" if effect.reason is Reason.UNHEARD else ""
    return "Since", f"{since}, for {span(effect)} at {at}{heard}"


def _gaps(alert: Alert) -> Iterator[tuple[str, str]]:
    """That nobody looked for a part of the time, and for how long where it can be told."""
    hold = alert.hold
    if hold is None or hold.gaps <= 0:
        return
    part = "a part"
    if len(alert.clocks) == 1 and not alert.clocks[0].spans:
        # `held` is what samples covered of the time up to `hold.at`; a step back of the clock can eat up the rest.
        blind = hold.at - alert.since - hold.held
        part = format_duration(blind) if blind > 0 else part
    gaps = "a gap" if hold.gaps == 1 else f"{hold.gaps} gaps"
    yield "Not watched", f"{part} of that time, in {gaps} between samples; it does not count towards the duration"


def _acknowledged(ack: Ack) -> str:
    """`by Ada at 2026-11-23T19:39:00Z until 2026-11-23T21:39:00Z: looking at it`."""
    by = f"by {line(ack.author, _MOST_NAME)} " if ack.author else ""
    until = "" if ack.ends_at is None else f" until {iso(ack.ends_at)}"
    comment = f": {line(ack.comment, _MOST_SAID)}" if ack.comment else ""
    return f"{by}at {iso(ack.at)}{until}{comment}"


def _outcome(action: ActionResult) -> str:
    """`exit code 0 in 1.2 s: last line of its output`, or why it has no exit code."""
    if action.exit_code is None:
        how = line(action.detail, _MOST_SAID) or "without a result"
        if not action.tail and action.seconds < _BEGUN:
            return how  # it was never begun
    else:
        how = f"exit code {action.exit_code}"
    last = next((text for text in reversed(action.tail.splitlines()) if text.strip()), "")
    return f"{how} in {action.seconds:.1f} s" + (f": {line(last, _MOST_SAID)}" if last else "")
