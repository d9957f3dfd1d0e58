"""Advice about rules that are right, but hardly do what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from zkalert.metrics import Unit, field_of, format_duration, format_quantity, is_pushed
from zkalert.model import (
    Action,
    Channel,
    Comparator,
    Condition,
    Level,
    Notify,
    Phase,
    Rule,
    Severity,
    Stat,
    Threshold,
    Total,
)
from zkalert.rulefile.conditions import Judged
from zkalert.rulefile.keys import Keys, Path
from zkalert.rulefile.limits import ABOVE, BELOW

_BOUNDED_STATS = frozenset({Stat.LAST, Stat.AVG, Stat.MIN, Stat.MAX, Stat.PERCENTILE})
_UNBOUNDED_TOTALS = frozenset({Total.SUM, Total.COUNT})
_MEASURED = frozenset({Unit.PERCENT, Unit.RATIO, Unit.BYTES_PER_SECOND, Unit.PER_SECOND})
_POSITIVE = _MEASURED | {Unit.BYTES, Unit.SECONDS, Unit.NUMBER, Unit.EPOCH}
_INFINITE = float("inf")
_UNITS = {unit.value: unit for unit in Unit}  # several times as fast as the class


def give(keys: Keys, rule: Rule, judged: Judged, channels: Mapping[str, Channel]) -> None:
    """Add what may be said of a rule to its findings; `channels` as far as they are known."""
    for condition, place in zip(judged.conditions, judged.places, strict=True):
        bounds = _bounds(condition, rule)
        for threshold, where in _thresholds(condition, place, rule):
            if not _is_inside(threshold, bounds) or condition.comparator is Comparator.EQ:
                _range(place, place.at(*where), condition, threshold, bounds)
        _window(condition, place)
        _pushed(condition, place)
    _clocks(keys, rule)
    _phases(keys, rule)
    if channels:
        _mute(keys, rule, channels)


def _pushed(condition: Condition, place: Keys) -> None:
    """A family that nobody may ever push, as one whose name was misspelt, would keep the rule silent."""
    for term in condition.terms:
        if is_pushed(term.metric.family):
            message = f"{term.metric.family} is no family of zkalert's own: it takes an application that pushes it"
            expected = "as it is, or one of those that `zkalert metrics` lists"
            _advise(place, place.at("metric"), "pushed-family", message, expected=expected)


def _bounds(condition: Condition, rule: Rule) -> tuple[float, float]:
    """Between which numbers the judged one always stays."""
    unit, window = _UNITS[condition.unit], condition.term.window
    is_free = condition.relative_to is not None or (window is not None and window.stat not in _BOUNDED_STATS)
    if rule.across is not None and rule.across.stat in _UNBOUNDED_TOTALS:
        return 0.0, _INFINITE
    if rule.across is not None and rule.across.stat is Total.PERCENT:
        return 0.0, 100.0
    if field_of(condition.term.metric).is_signed:
        return -_INFINITE, _INFINITE
    if is_free:
        is_signed = window is not None and window.stat in (Stat.DELTA, Stat.RATE)
        return (-_INFINITE if is_signed or condition.relative_to is not None else 0.0), _INFINITE
    if unit is Unit.PERCENT:
        return 0.0, 100.0
    if unit is Unit.FLAG:
        return 0.0, 1.0
    return (0.0 if unit in _POSITIVE else -_INFINITE), _INFINITE


def _thresholds(condition: Condition, place: Keys, rule: Rule) -> Iterator[tuple[Threshold, Path]]:
    """All thresholds that a condition is judged by, and where they stand below the keys that it stands in."""
    if condition.threshold is not None:
        yield condition.threshold, ("threshold",)
    for index, step in enumerate(rule.steps):
        if step.threshold is not None:
            yield step.threshold, ("levels", index, "threshold")
    for index, one in enumerate(rule.overrides):
        if one.threshold is not None and len(rule.overrides) == len(place.values["overrides"]):
            yield one.threshold, ("overrides", index, "threshold")


def _is_inside(threshold: Threshold, bounds: tuple[float, float]) -> bool:
    """Whether a number can lie on either side: what most thresholds are, told at once."""
    return isinstance(threshold, float) and bounds[0] < threshold < bounds[1]


def _range(keys: Keys, path: Path, condition: Condition, threshold: Threshold, bounds: tuple[float, float]) -> None:
    """A threshold that the value never reaches, or that it cannot help reaching."""
    low, high = bounds
    comparator, unit = condition.comparator, _UNITS[condition.unit]
    if isinstance(threshold, str) or threshold is None:
        return
    ends = threshold if isinstance(threshold, tuple) else (threshold, threshold)
    if (ends[0] < low or ends[1] > high) and high < _INFINITE:
        shown = f"{condition.subject} stays between {format_quantity(low, unit)} and {format_quantity(high, unit)}"
        expected = "a percentage between 0 and 100" if unit is Unit.PERCENT else "0 or 1"
        _advise(keys, path, "threshold-range", shown, expected)
    elif _never(comparator, ends, low, high):
        _advise(
            keys,
            path,
            "never-fires",
            f"{condition.subject} is never {_WORDS[comparator]} {_shown(ends, unit)}",
            "a threshold that can be crossed",
        )
    elif _never(_OPPOSITES[comparator], ends, low, high):
        _advise(
            keys,
            path,
            "always-fires",
            f"{condition.subject} is always {_WORDS[comparator]} {_shown(ends, unit)}",
            "a threshold that is not always crossed",
        )
    elif comparator is Comparator.EQ and unit in _MEASURED and ends[0] not in bounds:
        _advise(
            keys,
            path,
            "exact-number",
            f"{condition.subject} is measured, and hardly ever exactly {_shown(ends, unit)}",
            "a range: between, >= or <=",
        )


_OPPOSITES = {
    Comparator.GT: Comparator.LE,
    Comparator.LE: Comparator.GT,
    Comparator.LT: Comparator.GE,
    Comparator.GE: Comparator.LT,
    Comparator.EQ: Comparator.NE,
    Comparator.NE: Comparator.EQ,
    Comparator.BETWEEN: Comparator.OUTSIDE,
    Comparator.OUTSIDE: Comparator.BETWEEN,
}
_WORDS = {
    Comparator.GT: "above",
    Comparator.GE: "at or above",
    Comparator.LT: "below",
    Comparator.LE: "at or below",
    Comparator.EQ: "equal to",
    Comparator.NE: "other than",
    Comparator.BETWEEN: "between",
    Comparator.OUTSIDE: "outside",
}


def _never(comparator: Comparator, ends: tuple[float, float], low: float, high: float) -> bool:
    """Whether no number from `low` to `high` is on that side of the threshold."""
    first, last = ends
    if comparator in ABOVE:
        return last > high or (comparator is Comparator.GT and last == high)
    if comparator in BELOW:
        return first < low or (comparator is Comparator.LT and first == low)
    if comparator is Comparator.OUTSIDE:
        return first <= low and last >= high
    return comparator in (Comparator.EQ, Comparator.BETWEEN) and (last < low or first > high)


def _shown(ends: tuple[float, float], unit: Unit) -> str:
    first, last = (format_quantity(end, unit) for end in ends)
    return first if ends[0] == ends[1] else f"{first} and {last}"


def _window(condition: Condition, keys: Keys) -> None:
    window = condition.term.window
    if window is not None and "over" in keys:
        least = 2 * keys.report.interval(condition.metric)
        if window.over < least:
            _too_short(keys, keys.at("over"), "short-window", window.over, least)


def _clocks(keys: Keys, rule: Rule) -> None:
    """Spans that are short beside the time from one sample to the next, or beside each other."""
    interval = keys.report.interval(rule.metric)
    for step in rule.steps:
        for key, span in (("duration", step.duration), ("clear_duration", step.clear_duration)):
            if 0 < span < interval and key in keys:
                _too_short(keys, keys.at(key), "short-duration", span, interval)
    after, flap = rule.no_data.after, rule.flap
    if after is not None and after < 2 * interval:
        _too_short(keys, keys.at("no_data", "after"), "early-no-data", after, 2 * interval)
    if flap is not None and flap.within < flap.changes * interval:
        _too_short(keys, keys.at("flap", "within"), "short-flap", flap.within, flap.changes * interval)
    if rule.repeat and rule.repeat[0] < rule.steps[-1].duration:
        first, waits = format_duration(rule.repeat[0]), format_duration(rule.steps[-1].duration)
        message = f"a reminder each {first} of an alert that waits {waits} before it fires"
        _advise(keys, keys.at("repeat"), "early-repeat", message, f"at least {waits}")


def _too_short(keys: Keys, path: Path, code: str, span: float, least: float) -> None:
    message = f"{path[-1]}: {format_duration(span)} is short beside the time from one sample to the next"
    _advise(keys, path, code, message, f"at least {format_duration(least)}, or a shorter interval of the sampler")


def _phases(keys: Keys, rule: Rule) -> None:
    """Actions for what never comes, and a page that is never taken back."""
    listeners = list(rule.actions or ())
    for step in rule.steps:
        listeners += step.actions or ()
    if all(one.at is _ALWAYS for one in listeners):
        return
    path = keys.at("action" if "action" in keys else "levels")
    for phase, comes, needed in (
        (Phase.ESCALATED, bool(rule.escalate) or len(rule.steps) > 1, "levels or escalate"),
        (Phase.REPEATED, bool(rule.repeat), "repeat"),
    ):
        if not comes and any(one.at == {phase} for one in listeners):
            message = f"an action for {phase.value} alone, but this rule has no {needed}"
            _advise(keys, path, "mute-action", message, f"the key {needed}, or another at")
    told = [one for one in listeners if isinstance(one, Notify)]
    if rule.steps[-1].severity is Severity.CRITICAL and told and not any(Phase.RESOLVED in one.at for one in told):
        message = "whoever is told that this critical alert fires is not told of its end"
        _advise(keys, path, "no-end", message, "at: [firing, resolved], or no key at")


_ALWAYS = Notify().at


def _mute(keys: Keys, rule: Rule, channels: Mapping[str, Channel]) -> None:
    """Channels that want worse than ever comes to them, and a rule that no channel wants to hear of."""
    others = [one.severity for one in rule.overrides if one.severity is not None]
    common = [step.severity for step in rule.steps if step.actions is None]
    if common:
        worst = _worst([*common, *others])
        least = min((channel.min_severity for channel in channels.values()), key=lambda severity: severity.rank)
        if rule.actions is not None:
            _mute_channels(keys, keys.at("action"), rule.actions, worst, channels)
        elif least.rank > worst.rank:
            path = keys.at("severity") if "severity" in keys else keys.at("name")
            message = f"no channel hears of this rule: it is {worst.value} at most, and they want {least.value}"
            _advise(keys, path, "mute-rule", message, "another severity, or another min_severity of a channel")
    for index, step in enumerate(rule.steps):
        if step.actions is not None:
            path = keys.at("levels", index, "action")
            _mute_channels(keys, path, step.actions, _worst([step.severity, *others]), channels)


def _mute_channels(
    keys: Keys, path: Path, actions: Iterable[Action], worst: Severity, channels: Mapping[str, Channel]
) -> None:
    names = dict.fromkeys(one.channel for one in actions if isinstance(one, Notify) and one.channel in channels)
    for name in names:
        least = channels[name or ""].min_severity
        if least.rank > worst.rank:
            message = f"the channel {name} hears nothing of this: {worst.value} is below its min_severity {least.value}"
            _advise(keys, path, "mute-channel", message, "another channel, severity or min_severity")


def _worst(severities: Iterable[Severity]) -> Severity:
    return max(severities, key=lambda severity: severity.rank)


def _advise(keys: Keys, path: Path, code: str, message: str, expected: str) -> None:
    keys.report.add(path, code, message, expected=expected, level=Level.ADVICE)
