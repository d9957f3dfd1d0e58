"""An effect in words: title, body, key and kind of a message.

Comes in: an Effect. Goes out: a Message in plain text of bounded length, whatever the names, labels and texts in the
effect are; anybody may have written them. Where it goes, and how a channel dresses it, is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone

from zkalert.metrics import Unit, field_of, format_duration, format_quantity
from zkalert.model import Effect, Message, MessageKind, Metric, Phase, Reason, Severity
from zkalert.render.templates import Labels, Named, Quantity, TemplateFailed, fill, template_problem

__all__ = ["MAX_BODY", "MAX_TITLE", "fields_of", "render", "template_problem"]

MAX_TITLE = 200
"""Characters."""
MAX_BODY = 16 * 1024
"""Bytes of UTF-8."""

_MAX_FACTS = 6 * 1024
_MAX_FOOTER = 6 * 1024
_MAX_LINE = 1024

# Control characters, lone surrogates, line separators, and the marks that turn the direction of writing: a name that
# holds them could break a mail's subject, a terminal, or the reading of what follows it.
_UNSAFE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_NOT_IN_TEXT = re.compile(f"[{_UNSAFE}]")
_NOT_IN_LINE = re.compile(f"[\t\n{_UNSAFE}]+")

_KINDS = {
    Severity.CRITICAL: MessageKind.FAILURE,
    Severity.WARNING: MessageKind.WARNING,
    Severity.INFO: MessageKind.INFO,
}
_REASONS = {
    Reason.GONE: "it is gone: good samples come without it",
    Reason.HOST_REMOVED: "its host was removed",
    Reason.RULE_CHANGED: "the rule was changed, and its new condition is not met",
    Reason.RULE_REMOVED: "the rule was removed",
}


def render(effect: Effect) -> Message:
    """The message that tells of `effect`.

    A template of the rule that fails never costs the message: the generated text goes out, with a line that names
    what is wrong, which stands in `problem` too.
    """
    problems: list[str] = []
    summary = _filled("summary", effect.summary, effect, problems)
    description = _filled("description", effect.description, effect, problems)
    return Message(
        key=_line(effect.key, _MAX_FOOTER),
        title=_title(effect, summary),
        body=_body(effect, description, problems),
        kind=_KINDS[effect.alert.severity] if effect.phase is Phase.FIRING else MessageKind.SUCCESS,
        problem="; ".join(problems),
        fields=fields_of(effect),
    )


def fields_of(effect: Effect) -> Mapping[str, str]:
    """The same facts for programs: numbers in the metric's own unit, times in ISO 8601."""
    alert = effect.alert
    fields = {
        "key": effect.key,
        "id": alert.id,
        "rule": alert.rule,
        "host": alert.host,
        "instance": alert.instance or "",
        "state": effect.phase.value,
        "reason": effect.reason.value,
        "severity": alert.severity.value,
        "metric": str(alert.metric),
        "comparator": alert.comparator.value,
        "threshold": _plain(alert.threshold),
        "value": _plain(alert.value),
        "peak": _plain(alert.peak),
        "since": _iso(alert.since),
        "at": _iso(effect.at),
    }
    return {name: _line(text, _MAX_FOOTER) for name, text in fields.items()}


def _plain(number: float | None) -> str:
    """A number without unit or exponent where it can be; empty for None."""
    if number is None:
        return ""
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e15 else repr(float(number))


def _filled(what: str, text: str, effect: Effect, problems: list[str]) -> str:
    """A text of the rule with its values filled in, cut and cleaned; empty where it fails, and a problem more."""
    try:
        return _clip(_NOT_IN_TEXT.sub("\ufffd", fill(text, lambda: _variables(effect))), MAX_BODY).strip()
    except TemplateFailed as failed:
        problems.append(f"the template in {what} failed: {_line(str(failed), 300)}")
        return ""


def _variables(effect: Effect) -> Mapping[str, object]:
    alert = effect.alert
    return {
        "name": alert.rule,
        "metric": str(alert.metric),
        "value": _variable(alert.value, alert.metric),
        "threshold": _variable(alert.threshold, alert.metric),
        "peak": _variable(alert.peak, alert.metric),
        "severity": alert.severity.value,
        "since": _iso(alert.since),
        "duration": Quantity.of(_lasted(effect), format_duration(_lasted(effect))),
        "state": effect.phase.value,
        "host": Named(alert.host, effect.host_labels),
        "instance": Named(alert.instance or "", effect.instance_labels),
        "labels": Labels(effect.labels),
    }


def _variable(value: float | None, metric: Metric) -> Quantity | str:
    return "unknown" if value is None else Quantity.of(value, _quantity(value, metric))


def _title(effect: Effect, summary: str) -> str:
    alert = effect.alert
    tag = alert.severity.value if effect.phase is Phase.FIRING else effect.phase.value
    head = f"[{tag}] {_line(alert.rule, 60)} on {_line(_where(effect), 80)}: "
    return _line(head + (summary or _sentence(effect)), MAX_TITLE)


def _where(effect: Effect) -> str:
    alert = effect.alert
    return alert.host if alert.instance is None else f"{alert.host}, {alert.instance}"


def _sentence(effect: Effect) -> str:
    """What happened, in a few words: `memory_usage.percent is 93.4% (> 90%)`."""
    alert = effect.alert
    value = "of unknown value" if alert.value is None else _quantity(alert.value, alert.metric)
    if effect.phase is Phase.FIRING:
        return f"{alert.metric} is {value} ({_condition(effect)})"
    if effect.reason in _REASONS:
        return f"{_REASONS[effect.reason]} ({alert.metric} was {_threshold(effect)} for {_span(effect)})"
    return f"{alert.metric} is {value} (was {_threshold(effect)} for {_span(effect)})"


def _threshold(effect: Effect) -> str:
    return f"{effect.alert.comparator.value} {_quantity(effect.alert.threshold, effect.alert.metric)}"


def _condition(effect: Effect) -> str:
    """`> 90%`; where rounding makes value and threshold look the same, by how much they differ too."""
    alert = effect.alert
    told = _threshold(effect)
    if alert.value is None or alert.value == alert.threshold:
        return told
    if _quantity(alert.value, alert.metric) != _quantity(alert.threshold, alert.metric):
        return told
    difference = abs(alert.value - alert.threshold)
    by = _quantity(difference, alert.metric)
    return f"{told} by {by}" if by != _quantity(0.0, alert.metric) else f"{told} by {difference:.2g}"


def _body(effect: Effect, description: str, problems: list[str]) -> str:
    """Description, facts, footer. The description is what gives way where all is too long."""
    footer = _clip(f"alert {_line(effect.alert.id, 64)}, key {_line(effect.key, _MAX_FOOTER)}", _MAX_FOOTER)
    facts = _clip("\n".join([*_facts(effect), *(f"({problem})" for problem in problems)]), _MAX_FACTS)
    rest = f"{facts}\n\n{footer}"
    if not description:
        return rest
    return f"{_clip(description, MAX_BODY - len(rest.encode()) - 2)}\n\n{rest}"


def _facts(effect: Effect) -> list[str]:
    alert = effect.alert
    value = "of unknown value" if alert.value is None else _quantity(alert.value, alert.metric)
    subject = f"{alert.metric} on {_where(effect)}"
    if effect.phase is Phase.FIRING:
        lines = [f"{subject} is {value} ({_condition(effect)})."]
        lines.append(f"Since: {_iso(alert.since)}, fired {_span(effect)} later at {_iso(effect.at)}")
    else:
        if effect.reason in _REASONS:
            lines = [f"{subject} was {value} when last seen; {_REASONS[effect.reason]}."]
        else:
            lines = [f"{subject} is {value}, no longer {_threshold(effect)}."]
        lines.append(f"Lasted: {_span(effect)}, from {_iso(alert.since)} to {_iso(effect.at)}")
        if alert.peak is not None:
            lines.append(f"Peak: {_quantity(alert.peak, alert.metric)}")
    lines += _gap_line(effect)
    lines.append(f"Severity: {alert.severity.value}")
    for what, labels in (
        ("Labels", effect.labels),
        ("Host", effect.host_labels),
        ("Instance", effect.instance_labels),
    ):
        if labels:
            lines.append(f"{what}: " + ", ".join(f"{name}={text}" for name, text in labels.items()))
    return [_line(line, _MAX_LINE) for line in lines]


def _gap_line(effect: Effect) -> list[str]:
    """That nobody looked for a part of the time, and for how long where it can be told."""
    alert = effect.alert
    hold = alert.hold
    if hold is None or hold.gaps <= 0:
        return []
    # `held` is what samples covered of the time up to `hold.at`; a step back of the clock can eat up the difference.
    blind = hold.at - alert.since - hold.held
    part = format_duration(blind) if blind > 0 else "a part"
    gaps = "a gap" if hold.gaps == 1 else f"{hold.gaps} gaps"
    return [f"Not watched: {part} of that time, in {gaps} between samples; it does not count towards the duration"]


def _lasted(effect: Effect) -> float:
    return max(0.0, effect.at - effect.alert.since)


def _span(effect: Effect) -> str:
    return format_duration(_lasted(effect))


def _quantity(value: float, metric: Metric) -> str:
    """A value with its unit; a metric that only a newer zkalert knows has none."""
    try:
        unit = field_of(metric).judged_unit
    except KeyError:
        unit = Unit.NUMBER
    return format_quantity(value, unit)


def _iso(at: float) -> str:
    """Epoch seconds as ISO 8601 in UTC, whole seconds; the bare number where no calendar has it."""
    try:
        return datetime.fromtimestamp(at, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{at:.0f}"


def _line(text: str, most: int) -> str:
    """One line of at most `most` characters."""
    line = _NOT_IN_LINE.sub(" ", text).strip()
    return line if len(line) <= most else line[: most - 1] + "…"


def _clip(text: str, most: int) -> str:
    """At most `most` bytes of UTF-8, cut between characters."""
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return data.decode()
    return data[: most - 3].decode("utf-8", "ignore") + "…"
