"""An effect in words: title, body, key and kind of a message.

Comes in: an Effect. Goes out: a Message in plain text of bounded length, whatever the names, labels and texts in the
effect are; anybody may have written them. Where it goes, and how a channel dresses it, is not known here.

    text       what is cleaned and cut
    words      an alert in parts of sentences
    facts      an effect for programs
    allowed    what a template may contain
    values     what its variables stand for
    templates  users' texts, checked and filled in
"""

from __future__ import annotations

from collections.abc import Iterator

from zkalert.metrics import format_duration
from zkalert.model import Alert, Comparator, Effect, Message, MessageKind, Phase, Reason, Severity
from zkalert.render.allowed import TemplateFailed
from zkalert.render.facts import fields_of
from zkalert.render.templates import fill, template_problem, template_reads
from zkalert.render.text import clean, clip, iso, line
from zkalert.render.values import variables
from zkalert.render.words import (
    ENDS,
    clears,
    condition,
    has_value,
    sentence,
    severity_of,
    span,
    statement,
    subject,
    unit_of,
    value_words,
    where,
    worst,
)

__all__ = [
    "MAX_BODY",
    "MAX_TITLE",
    "condition",
    "fields_of",
    "has_value",
    "render",
    "severity_of",
    "subject",
    "template_problem",
    "template_reads",
    "unit_of",
    "where",
    "worst",
]

MAX_TITLE = 200
"""Characters."""
MAX_BODY = 16 * 1024
"""Bytes of UTF-8."""

_MAX_FACTS = 6 * 1024
_MAX_FOOTER = 6 * 1024
_MAX_LINE = 1024

_KINDS = {
    Severity.CRITICAL: MessageKind.FAILURE,
    Severity.WARNING: MessageKind.WARNING,
    Severity.INFO: MessageKind.INFO,
}
# Of the others the peak is no more than the last value that it fired with.
_WITH_PEAK = frozenset({Comparator.GT, Comparator.GE, Comparator.LT, Comparator.LE, Comparator.OUTSIDE})


def render(effect: Effect) -> Message:
    """The message that tells of `effect`.

    A template of the rule that fails never costs the message: the generated text goes out, with a line that names
    what is wrong, which stands in `problem` too.
    """
    problems: list[str] = []
    summary = _filled("summary", effect.summary, effect, problems)
    description = _filled("description", effect.description, effect, problems)
    runbook = line(_filled("runbook", effect.runbook, effect, problems), _MAX_LINE)
    return Message(
        key=line(effect.key, _MAX_FOOTER),
        title=_title(effect, summary),
        body=_body(effect, description, runbook, problems),
        kind=MessageKind.SUCCESS if effect.phase in ENDS else _KINDS[effect.alert.severity],
        problem="; ".join(problems),
        fields={**fields_of(effect), "runbook": runbook},
    )


def _filled(what: str, text: str, effect: Effect, problems: list[str]) -> str:
    """A text of the rule with its values filled in, cut and cleaned; empty where it fails, and a problem more."""
    try:
        return clip(clean(fill(text, lambda: variables(effect))), MAX_BODY).strip()
    except TemplateFailed as failed:
        problems.append(f"the template in {what} failed: {line(str(failed), 300)}")
        return ""


def _title(effect: Effect, summary: str) -> str:
    """A summary tells of the rule's condition, so where there is no data it says nothing true."""
    alert = effect.alert
    head = f"[{_tag(effect)}] {line(alert.rule, 60)} on {line(where(alert), 80)}: "
    return line(head + (sentence(effect) if alert.is_quiet or not summary else summary), MAX_TITLE)


def _tag(effect: Effect) -> str:
    """What decides whether one gets up: how bad it is, and whether that is new."""
    alert, severity = effect.alert, effect.alert.severity
    if effect.phase in ENDS:
        return effect.phase.value
    if effect.phase is Phase.REPEATED:
        return f"still {severity.value}"
    if effect.reason is Reason.ROSE:
        lower = [told for told in alert.told if told.rank < severity.rank]
        return f"{severity.value}, was {max(lower, key=lambda told: told.rank).value}" if lower else severity.value
    return f"{severity.value}, escalated" if effect.phase is Phase.ESCALATED else severity.value


def _body(effect: Effect, description: str, runbook: str, problems: list[str]) -> str:
    """Description, facts, footer. The description is what gives way where all is too long."""
    footer = clip(f"alert {line(effect.alert.id, 64)}, key {line(effect.key, _MAX_FOOTER)}", _MAX_FOOTER)
    told = [line(fact, _MAX_LINE) for fact in _facts(effect, runbook)]
    facts = clip("\n".join([*told, *(f"({problem})" for problem in problems)]), _MAX_FACTS)
    rest = f"{facts}\n\n{footer}"
    if not description:
        return rest
    return f"{clip(description, MAX_BODY - len(rest.encode()) - 2)}\n\n{rest}"


def _facts(effect: Effect, runbook: str) -> Iterator[str]:
    alert = effect.alert
    yield statement(effect)
    yield _course(effect)
    if effect.phase is not Phase.FIRING and alert.peak is not None and has_value(alert):
        name = "Peak" if alert.comparator in _WITH_PEAK else "Before"
        if effect.phase in ENDS or alert.peak != alert.value:
            yield f"{name}: {value_words(alert.peak, unit_of(alert))}"
    yield from _gaps(alert)
    if len(alert.values) > 1:
        yield f"Values of its conditions, in their order: {variables(effect)['values']}"
    if effect.phase not in ENDS and not alert.is_quiet and (text := clears(alert)):
        yield f"Clears: {text}"
    at_last = f", at last {alert.severity.value}" if severity_of(effect) is not alert.severity else ""
    yield f"Severity: {severity_of(effect).value}{at_last}"
    if runbook:
        yield f"Runbook: {runbook}"
    for what, labels in (
        ("Labels", effect.labels),
        ("Host", effect.host_labels),
        ("Instance", effect.instance_labels),
    ):
        if labels:
            yield f"{what}: " + ", ".join(f"{name}={text}" for name, text in labels.items())


def _course(effect: Effect) -> str:
    """Since when, for how long, and what this message is about."""
    alert, at = effect.alert, iso(effect.at)
    since = iso(alert.since)
    if effect.phase in ENDS:
        return f"Lasted: {span(effect)}, from {since} to {at}"
    if effect.phase is Phase.FIRING:
        return f"Since: {since}" + (f", fired {span(effect)} later at {at}" if effect.at > alert.since else "")
    if effect.reason is Reason.ROSE:
        return f"Since: {since}, rose to {alert.severity.value} {span(effect)} later at {at}"
    if effect.phase is Phase.REPEATED:
        return f"Since: {since}, for {span(effect)} at {at}; reminder {alert.repeats}"
    return f"Since: {since}, for {span(effect)} at {at}, and not acknowledged"


def _gaps(alert: Alert) -> Iterator[str]:
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
    yield f"Not watched: {part} of that time, in {gaps} between samples; it does not count towards the duration"
