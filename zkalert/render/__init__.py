"""Effects in words: title, body, key and kind of a message.

Comes in: an effect, or several, and what their channel asks for. Goes out: a Message of bounded length, whatever the
names, labels and texts in the effects are; anybody may have written them. Where it goes, and how a service dresses it,
is not known here.

    text       what is cleaned and cut
    words      an alert in parts of sentences
    parts      an effect as sentences and facts
    written    those set as plain text, Markdown, HTML
    page       ... as the page of a mail
    facts      an effect for programs
    document   a message as JSON for webhooks
    allowed    what a template may contain
    values     what its variables stand for
    templates  users' texts, checked and filled in
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from zkalert.model import Channel, Effect, Format, Message, MessageKind, Parts, Phase, Reason, Severity
from zkalert.render.allowed import TemplateFailed
from zkalert.render.document import counts, document_of, worst_of
from zkalert.render.facts import fields_of
from zkalert.render.page import page
from zkalert.render.parts import DRILL, parts_of
from zkalert.render.templates import (
    Ready,
    channel_template_problem,
    fill,
    fill_of_channel,
    template_problem,
    template_reads,
)
from zkalert.render.text import clean, clip, iso, line
from zkalert.render.values import Alerts, Item, variables
from zkalert.render.words import ENDS, condition, has_value, sentence, severity_of, subject, unit_of, where, worst
from zkalert.render.written import MAX_BODY, without_mentions, write, written

__all__ = [
    "MAX_BODY",
    "MAX_TITLE",
    "channel_template_problem",
    "condition",
    "fields_of",
    "has_value",
    "page",
    "render",
    "render_digest",
    "severity_of",
    "subject",
    "template_problem",
    "template_reads",
    "trial_message",
    "unit_of",
    "where",
    "without_mentions",
    "worst",
    "written",
]

MAX_TITLE = 200
"""Characters."""

_MAX_KEY = 6 * 1024
_MAX_LINE = 1024

_KINDS = {
    Severity.CRITICAL: MessageKind.FAILURE,
    Severity.WARNING: MessageKind.WARNING,
    Severity.INFO: MessageKind.INFO,
}


class _Texts(NamedTuple):
    """The texts of a rule with their values filled in, and what failed of them."""

    summary: str
    description: str
    runbook: str
    problems: tuple[str, ...]


def render(effect: Effect, *, channel: Channel | None = None) -> Message:
    """The message that tells of `effect`, in the format and by the templates of `channel`.

    A template that fails, the rule's or the channel's, never costs the message: the generated text goes out, with a
    line that names what is wrong, which stands in `problem` too.
    """
    texts = _texts(effect)
    message = Message(
        key=line(effect.key, _MAX_KEY),
        title=_title(effect, texts.summary),
        body="",
        kind=MessageKind.SUCCESS if effect.phase in ENDS else _KINDS[effect.alert.severity],
        parts=parts_of(effect, texts.description, texts.runbook, texts.problems),
        problem="; ".join(texts.problems),
        thread=line(effect.key.rpartition("/")[0], _MAX_KEY),
        fields={**fields_of(effect), "runbook": texts.runbook},
    )
    return _finished(message, (effect,), (texts,), channel, effect.alert.id)


def render_digest(effects: Sequence[Effect], digest_id: str, *, channel: Channel | None = None) -> Message:
    """One message that tells of several effects: how many, then a line for each, the worst first.

    Critical comes before warning and info, of those what fires before what is over; else they keep their order.
    """
    if not effects:
        raise ValueError("a digest of nothing")
    ranked = sorted(effects, key=lambda effect: (-severity_of(effect).rank, effect.phase in ENDS))
    texts = [_texts(effect) for effect in ranked]
    told = counts(ranked)
    is_over = not told["firing"]
    severity = worst_of(ranked)
    rules = {effect.alert.rule for effect in ranked}
    about = f"{line(rules.pop(), 60)}: " if len(rules) == 1 else ""
    tag = "resolved" if is_over else severity.value
    drill = any(effect.is_drill for effect in ranked)
    problems = tuple(dict.fromkeys(problem for one in texts for problem in one.problems))[:3]
    by_state = ", ".join(f"{told[state]} {state}" for state in ("firing", "resolved") if told[state])
    by_severity = ", ".join(f"{told[one.value]} {one.value}" for one in reversed(Severity) if told[one.value])
    message = Message(
        key=line(f"digest/{digest_id}", _MAX_KEY),
        title=line(f"{'[DRILL] ' if drill else ''}[{tag}] {about}{by_state}", MAX_TITLE),
        body="",
        kind=MessageKind.SUCCESS if is_over else _KINDS[severity],
        parts=Parts(
            lead=(f"{len(ranked)} alerts: {by_state}; {by_severity}.",),
            notice=DRILL if all(effect.is_drill for effect in ranked) else "",
            lines=tuple(
                line(f"{_title(effect, one.summary)} ({_about(effect)})", _MAX_LINE)
                for effect, one in zip(ranked, texts, strict=True)
            ),
            problems=problems,
            footer=f"digest {line(digest_id, 64)}",
        ),
        problem="; ".join(problems),
        fields={
            "key": line(f"digest/{digest_id}", _MAX_KEY),
            "state": "resolved" if is_over else "firing",
            "severity": severity.value,
            **{name: str(count) for name, count in told.items()},
        },
    )
    return _finished(message, ranked, texts, channel, digest_id)


def trial_message(text: str, id_: str) -> Message:
    """A message that tells of no alert: whoever reads it knows that alerts arrive."""
    key, title = f"test/{line(id_, 64)}", "[test] zkalert"
    text = clip(clean(text), MAX_BODY)
    return Message(
        key=key,
        title=title,
        body=text,
        kind=MessageKind.INFO,
        text=text,
        fields={"key": key, "state": "test"},
        document=document_of((), (), id_=line(id_, 64), key=key, title=title, text=text),
    )


def _about(effect: Effect) -> str:
    """What a digest's line has no room for elsewhere: the alert's ID and the moment, and that it flaps, say."""
    note = f"; {line(effect.note, 120)}" if effect.note else ""
    return f"alert {line(effect.alert.id, 64)}, {iso(effect.at)}{note}"


def _finished(
    message: Message, effects: Sequence[Effect], texts: Sequence[_Texts], channel: Channel | None, id_: str
) -> Message:
    """The message with its body in the channel's format, by the channel's templates, and with its document."""
    form = (channel.format if channel is not None else None) or Format.TEXT
    title: str = message.title
    own: str | None = None
    if channel is not None and channel.templates:
        values = _values(message, effects, texts, form)
        own_title, problem = _by_template("title", channel, Format.TEXT, values, len(effects))
        title = line(own_title or "", MAX_TITLE) or message.title
        own, also = _by_template("body", channel, form, values, len(effects))
        message = _with_problems(message, problem, also)
    text = "" if message.parts is None else write(message.parts, Format.TEXT)
    if own is None:
        body = text if form is Format.TEXT else written(message, form)
    else:
        body = own
        text = own if form is Format.TEXT else text
    document = document_of(
        effects,
        [(one.summary, one.runbook) for one in texts],
        id_=line(id_, 64),
        key=message.key,
        title=title,
        text=text,
    )
    parts = message.parts if own is None else None
    return replace(message, title=title, body=body, format=form, text=text, parts=parts, document=document)


def _values(message: Message, effects: Sequence[Effect], texts: Sequence[_Texts], form: Format) -> dict[str, object]:
    """What the variables of a channel's template stand for; those of one alert are the first's."""
    alerts = Alerts([Item(effect, _title(effect, one.summary)) for effect, one in zip(effects, texts, strict=True)])
    state = effects[0].phase.value if len(effects) == 1 else message.fields["state"]
    return {
        **variables(effects[0]),
        "severity": worst_of(effects).value,
        "state": state,
        "title": message.title,
        "body": Ready(written(message, form)),
        "alerts": alerts,
    }


def _by_template(
    what: str, channel: Channel, form: Format, values: dict[str, object], count: int
) -> tuple[str | None, str]:
    """What a channel's template makes, None where there is none for this; and what is wrong with it."""
    template = channel.templates.get(what, "")
    if not template:
        return None, ""
    try:
        made = fill_of_channel(template, form, values, count)
    except TemplateFailed as failed:
        return None, f"the template of {what} of channel {line(channel.name, 60)} failed: {line(str(failed), 300)}"
    return clip(clean(made or ""), MAX_BODY).strip() or None, ""


def _with_problems(message: Message, *problems: str) -> Message:
    found = tuple(problem for problem in problems if problem)
    if not found or message.parts is None:
        return message
    return replace(
        message,
        problem="; ".join(filter(None, (message.problem, *found))),
        parts=message.parts._replace(problems=(*message.parts.problems, *found)),
    )


def _texts(effect: Effect) -> _Texts:
    problems: list[str] = []
    summary = _filled("summary", effect.summary, effect, problems)
    description = _filled("description", effect.description, effect, problems)
    runbook = line(_filled("runbook", effect.runbook, effect, problems), _MAX_LINE)
    return _Texts(summary, description, runbook, tuple(problems))


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
    drill = "[DRILL] " if effect.is_drill else ""
    head = f"{drill}[{_tag(effect)}] {line(alert.rule, 60)} on {line(where(alert), 80)}: "
    return line(head + (sentence(effect) if alert.is_quiet or not summary else summary), MAX_TITLE)


def _tag(effect: Effect) -> str:
    """What decides whether one gets up: how bad it is, and whether that is new."""
    alert, severity = effect.alert, effect.alert.severity
    if effect.phase in ENDS:
        return effect.phase.value
    if effect.phase is Phase.REPEATED:
        return f"still {severity.value}"
    if effect.reason is Reason.BRAKED:
        return f"{severity.value}, command held"
    if effect.reason is Reason.ROSE:
        lower = [told for told in alert.told if told.rank < severity.rank]
        return f"{severity.value}, was {max(lower, key=lambda told: told.rank).value}" if lower else severity.value
    return f"{severity.value}, escalated" if effect.phase is Phase.ESCALATED else severity.value
