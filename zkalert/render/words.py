"""An alert in words: what it looks at, where, what it sees, what that is held against.

Comes in: an alert, perhaps in an effect. Goes out: parts of sentences, each on one line. What anybody may have
written (names, texts) is cleaned and cut.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from zkalert.metrics import Unit, format_duration, format_quantity
from zkalert.model import (
    MEMBERS_HOST,
    Alert,
    Comparator,
    Effect,
    Phase,
    Reason,
    Severity,
    State,
    Threshold,
    Value,
)
from zkalert.render.text import line

ENDS = frozenset({Phase.RESOLVED, Phase.CLOSED})
"""The phases that end an episode."""

_MOST_TEXT = 80  # of a text metric's value, of a pattern
_MOST_SUBJECT = 120

_CROSSES: Mapping[Comparator, Callable[[float, float], bool]] = {
    Comparator.GT: operator.gt,
    Comparator.GE: operator.ge,
    Comparator.LT: operator.lt,
    Comparator.LE: operator.le,
}
# What is said of a value that the comparator holds for, that it held for, that it no longer holds for.
_FORMS: Mapping[Comparator, tuple[str, str, str]] = {
    Comparator.MATCHES: ("matches {}", "matched {}", "no longer matches {}"),
    Comparator.NOT_MATCHES: ("does not match {}", "did not match {}", "matches {} now"),
    Comparator.ABSENT: ("absent", "was absent", "there again"),
    Comparator.CHANGED: ("changed", "had changed", "no longer changing"),
}
_ENDED = {
    Reason.GONE: "it is gone: good samples come without it",
    Reason.HOST_REMOVED: "its host was removed",
    Reason.RULE_CHANGED: "the rule was changed, and as it is now it does not hold here",
    Reason.RULE_REMOVED: "the rule was removed",
    Reason.NO_DATA: "no data comes any more",
}
_WITHOUT_VALUE = (Comparator.ABSENT, Comparator.CHANGED)


def unit_of(alert: Alert) -> Unit:
    """The unit of what is judged; one that only a newer zkalert knows is none."""
    try:
        return Unit(alert.unit)
    except ValueError:
        return Unit.NUMBER


def subject(alert: Alert) -> str:
    """What is judged: `avg of cpu_usage.percent over 10m`, or the metric."""
    return alert.subject or str(alert.metric)


def host_words(host: str) -> str:
    return "all hosts" if host == MEMBERS_HOST else host


def where(alert: Alert, between: str = ", ") -> str:
    """`web1`, `web1, /var`, `all hosts`, or `all hosts of gru1` where each value of a label has its own alert."""
    host = host_words(alert.host)
    if alert.instance is None:
        return host
    if alert.host != MEMBERS_HOST:
        return f"{host}{between}{alert.instance}"
    return f"{host} of {alert.instance}" if alert.instance else f"{host} without that label"


def worst(alert: Alert) -> Severity:
    """The highest severity that people were told of."""
    return max((alert.severity, *alert.told), key=lambda severity: severity.rank)


def severity_of(effect: Effect) -> Severity:
    """How much an effect matters: the end of an episode as much as its worst time did."""
    return worst(effect.alert) if effect.phase in ENDS else effect.alert.severity


def has_value(alert: Alert) -> bool:
    """Whether the value says more than the comparator does: `absent` and `changed` judge a mere 1 or 0."""
    return alert.comparator not in _WITHOUT_VALUE


def value_words(value: Value | None, unit: Unit) -> str:
    """`93.42%`, `"off"`."""
    if value is None:
        return "of unknown value"
    return f'"{line(value, _MOST_TEXT)}"' if isinstance(value, str) else format_quantity(value, unit)


def limit_words(limit: Threshold, unit: Unit, between: str = " to ") -> str:
    """`90%`, `10% to 20%`, `"on"`; empty for None."""
    if limit is None:
        return ""
    if isinstance(limit, tuple):
        return between.join(format_quantity(end, unit) for end in limit)
    return value_words(limit, unit)


def condition(alert: Alert) -> str:
    """`> 90%`, `between 10% and 20%`, `matches "5.*"`, `absent`."""
    return _form(alert, 0)


def clears(alert: Alert) -> str:
    """Where an alert that fires will be over: `at 80% or below`; empty where its threshold says so."""
    text = limit_words(alert.clear, unit_of(alert))
    if not text:
        return ""
    if isinstance(alert.clear, tuple):
        return f"{'within' if alert.comparator is Comparator.OUTSIDE else 'outside'} {text}"
    return f"at {text} or {'below' if alert.comparator in (Comparator.GT, Comparator.GE) else 'above'}"


def sentence(effect: Effect, of: str = "") -> str:
    """What happened, in a few words: `memory_usage.percent is 93.4% (> 90%)`. `of` takes the subject's place."""
    of = of or line(subject(effect.alert), _MOST_SUBJECT)
    if effect.phase in ENDS:
        return _end(effect, of)
    alert = effect.alert
    if alert.is_quiet:
        return f"no data from {of}" + (f" for more than {span(effect)}" if lasted(effect) >= 1 else "")
    if not _holds(alert):
        how = f"clears {clears(alert)}" if alert.clear is not None and alert.state is State.FIRING else "clearing"
        return f"{of} {_over(alert)} ({_form(alert, 1)}; {how})"
    is_later = effect.reason in (Reason.STILL, Reason.UNHEARD)
    if alert.comparator is Comparator.ABSENT:
        return f"{of} is absent" + (f" (for {span(effect)})" if is_later else "")
    if alert.comparator is Comparator.CHANGED:
        return f"{of} has changed" + (f" (first {span(effect)} ago)" if is_later else "")
    value = value_words(alert.value, unit_of(alert))
    # With a comma: the alert lasts so long. A higher level, or a value that dipped, may not have held all the time.
    for_span = f", for {span(effect)}" if is_later else ""
    return f"{of} is {value} ({condition(alert)}{_difference(alert)}{for_span}{_members(alert)})"


def _end(effect: Effect, of: str) -> str:
    alert = effect.alert
    if alert.is_quiet:
        for_span = f"for more than {span(effect)}"
        if effect.reason in _ENDED:
            return f"{_ENDED[effect.reason]} (no data came from {of} {for_span})"
        value = f": {of} is {value_words(alert.value, unit_of(alert))}" if has_value(alert) else f" from {of}"
        return f"data is back{value} (there was none {for_span})"
    if alert.comparator is Comparator.CHANGED:
        was = f"it first changed {span(effect)} ago"
        return f"{_ENDED[effect.reason]} ({of}: {was})" if effect.reason in _ENDED else f"{of} {_over(alert)} ({was})"
    was = f"{_form(alert, 1)} for {span(effect)}"
    if effect.reason in _ENDED:
        return f"{_ENDED[effect.reason]} ({of} {was})"
    return f"{of} {_over(alert)} ({was}{_members(alert)})"


def statement(effect: Effect) -> str:
    """The same as a whole sentence, with the place: the first line of a body."""
    alert = effect.alert
    is_one = alert.host == MEMBERS_HOST and alert.instance is None  # its subject says what it spans
    of = subject(alert) if is_one else f"{subject(alert)} on {where(alert)}"
    if alert.is_quiet:
        text = sentence(effect, of)
        return f"{text[0].upper()}{text[1:]}."
    if effect.phase not in ENDS:
        return f"{sentence(effect, of)}."
    seen = f"was {value_words(alert.value, unit_of(alert))}" if has_value(alert) else _form(alert, 1)
    if effect.reason in _ENDED:
        return f"{of} {seen} when last seen; {_ENDED[effect.reason]}."
    if not has_value(alert):
        return f"{of} {_over(alert)}."
    members = _members(alert).removeprefix("; ")
    return f"{of} {_over(alert)}{f' ({members})' if members else ''}, {_form(alert, 2)}."


def _over(alert: Alert) -> str:
    """What is to be seen once the comparator no longer holds: `is 71.2%`."""
    if alert.comparator is Comparator.ABSENT:
        return "is there again"
    if alert.comparator is Comparator.CHANGED:
        return "no longer changes"
    return f"is {value_words(alert.value, unit_of(alert))}"


def lasted(effect: Effect) -> float:
    """Seconds since it began."""
    return max(0.0, effect.at - effect.alert.since)


def span(effect: Effect) -> str:
    return format_duration(lasted(effect))


def _form(alert: Alert, tense: int) -> str:
    """What the comparator says: 0 of a value it holds for, 1 that it held, 2 that it no longer does."""
    forms = _FORMS.get(alert.comparator)
    if forms is not None:
        return forms[tense].format(limit_words(alert.threshold, unit_of(alert)))
    is_between = alert.comparator is Comparator.BETWEEN
    limit = limit_words(alert.threshold, unit_of(alert), " and " if is_between else " to ")
    return f"{('', 'was ', 'no longer ')[tense]}{alert.comparator.value} {limit}".rstrip()


def _holds(alert: Alert) -> bool:
    """Whether the value of an alert that fires is still past its threshold, or only not past what clears it."""
    value, threshold = alert.value, alert.threshold
    if alert.state is State.CLEARING:
        return False
    if value is None or isinstance(value, str):
        return True
    if isinstance(threshold, tuple):
        is_inside = threshold[0] <= value <= threshold[1]
        return is_inside is (alert.comparator is Comparator.BETWEEN)
    crosses = _CROSSES.get(alert.comparator)
    return crosses is None or not isinstance(threshold, (int, float)) or crosses(value, threshold)


def _difference(alert: Alert) -> str:
    """Where rounding makes value and threshold look the same: by how much they differ."""
    value, threshold, unit = alert.value, alert.threshold, unit_of(alert)
    if value is None or threshold is None or isinstance(value, str) or isinstance(threshold, str):
        return ""
    ends = threshold if isinstance(threshold, tuple) else (threshold,)
    difference = min(abs(value - end) for end in ends)
    if not difference or alert.comparator is Comparator.BETWEEN:
        return ""
    shown = format_quantity(value, unit)
    if not any(shown == format_quantity(end, unit) for end in ends):
        return ""
    by = format_quantity(difference, unit)
    return f" by {by}" if by != format_quantity(0.0, unit) else f" by {difference:.2g}"


def _members(alert: Alert) -> str:
    """Of how many series a number is made, and from how many hosts none came."""
    if alert.members is None:
        return ""
    count, silent = alert.members
    text = f"; of {count} series"
    return text if not silent else f"{text}, nothing from {silent} host{'s' if silent > 1 else ''}"
