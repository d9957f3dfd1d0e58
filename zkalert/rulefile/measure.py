"""What a condition looks at: a metric, a window over it, perhaps divided by another; and the unit that this has."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from zkalert.documents import without_urls
from zkalert.documents.patterns import pattern_problem
from zkalert.metrics import (
    OWN_PREFIX,
    Field,
    Kind,
    MetricError,
    QuantityError,
    Unit,
    field_of,
    format_duration,
    format_quantity,
    is_znode,
    nearest,
    parse_metric,
    parse_quantity,
    quotient_unit,
    windowed_unit,
)
from zkalert.model import Comparator, Metric, Stat, Term, Window
from zkalert.rulefile.keys import Keys, Path

MIN_OVER, MAX_OVER = 1.0, 31 * 86400.0
CHANGED_OVER = 300.0

_OF_COUNTERS = frozenset({Stat.RATE, Stat.DELTA, Stat.COUNT, Stat.CHANGES})
_OF_TEXTS = frozenset({Stat.COUNT, Stat.CHANGES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What thresholds are written in: a unit, and what it is that is judged, as people call it.

    `needs_percent` says that a bare number could be read as a share and as a percentage, so that a sign is due.
    """

    unit: Unit
    subject: str
    needs_percent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The number, or text, that thresholds are held against."""

    term: Term
    relative_to: Term | None = None
    scale: Scale


def read(keys: Keys, comparator: Comparator | None) -> Measure | None:
    """What the keys metric, over, stat and relative_to say; None, and findings, where they are wrong.

    `comparator` is None where it is not known. The metric is there.
    """
    try:
        bare = _known(keys, keys.values["metric"])
    except MetricError as error:
        _report_metric(keys, keys.at("metric"), error)
        return None
    values = keys.values
    if comparator is Comparator.ABSENT or comparator is Comparator.CHANGED:
        return _watched(keys, bare, comparator)
    if "over" not in values and "stat" not in values:
        return bare if "relative_to" not in values else _quotient(keys, bare, None)
    window = _window(keys, bare.term.metric, values.get("stat"), keys.at("stat"))
    if window is None:
        return None
    term = Term(metric=bare.term.metric, window=window)
    scale = Scale(unit=windowed_unit(field_of(term.metric), window), subject=_words(term))
    measure = Measure(term=term, scale=scale)
    return measure if "relative_to" not in values else _quotient(keys, measure, window)


@functools.lru_cache(maxsize=4096)
def _bare(text: str) -> Measure:
    """A metric alone. Raises MetricError."""
    metric = parse_metric(text)
    if (
        is_znode(metric.family)
        and metric.field.startswith("~")
        and (problem := pattern_problem(metric.field[1:], is_searched=True))
    ):
        raise MetricError(f"{text}: {problem}", expected="a regular expression in which no two repeats meet")
    scale = Scale(unit=field_of(metric).judged_unit, subject=str(metric))
    return Measure(term=Term(metric=metric), scale=scale)


def _known(keys: Keys, text: str) -> Measure:
    """A metric alone, of an ensemble that is known if it is a znode's. Raises MetricError."""
    bare = _bare(text)
    known, family = keys.report.ensembles, bare.term.metric.family
    if known is not None and is_znode(family):
        prefix = family.partition(":")[0]
        if prefix != OWN_PREFIX and prefix not in known:
            near = nearest(prefix, [*known, OWN_PREFIX])
            raise MetricError(
                f'no ensemble "{prefix}" in the configuration',
                expected="one of " + ", ".join([OWN_PREFIX, *sorted(known)]),
                hint=f"{near}:{text.partition(':')[2]}" if near else "",
            )
    return bare


def _report_metric(keys: Keys, path: Path, error: MetricError) -> None:
    hint = f"did you mean {error.hint}?" if error.hint else ""
    keys.report.add(path, "unknown-metric", without_urls(str(error)[:200]), expected=error.expected, hint=hint)


def _watched(keys: Keys, bare: Measure, comparator: Comparator) -> Measure | None:
    """For `absent` and `changed`: the metric itself, over a span or not."""
    useless = ("stat", "relative_to") if comparator is Comparator.CHANGED else ("over", "stat", "relative_to")
    for key in useless:
        if key in keys:
            keys.misplaced(key, "clashing-keys", f"{comparator.value} takes no {key}", expected=f"no key {key} here")
    if any(key in keys for key in useless):
        return None
    if comparator is Comparator.ABSENT:
        return bare
    over = keys.span("over", least=MIN_OVER, most=MAX_OVER) if "over" in keys else CHANGED_OVER
    if over is None:
        return None
    window = Window(over=over, stat=Stat.CHANGES)
    scale = Scale(unit=Unit.NUMBER, subject=bare.scale.subject)
    return Measure(term=Term(metric=bare.term.metric, window=window), scale=scale)


def _window(keys: Keys, metric: Metric, stat: Any, stat_path: Path) -> Window | None:
    """The window that `over` and a stat make of a metric; None, and a finding, where they make none."""
    if "over" not in keys:
        keys.report.add(
            stat_path,
            "missing-key",
            "stat needs a window",
            expected=f"over: a span such as 10m, beside stat: {_name(stat)}",
        )
        return None
    over = keys.span("over", least=MIN_OVER, most=MAX_OVER)
    field = field_of(metric)
    if stat is None and field.kind is not Kind.TEXT:
        return None if over is None else Window(over=over, stat=Stat.RATE if field.kind is Kind.COUNTER else Stat.AVG)
    if isinstance(stat, dict):
        chosen, parameter = Stat.TIME_TO, 0.0
    elif stat is None or not stat.startswith("p"):
        chosen, parameter = Stat.AVG if stat is None else Stat(stat), 0.0
    else:
        chosen, parameter = Stat.PERCENTILE, float(stat[1:])
    if not _fits(keys, metric, field, chosen, stat, stat_path):
        return None
    if isinstance(stat, dict):
        try:
            parameter = parse_quantity(stat["time_to"], field.unit)
        except QuantityError as error:
            path = (*stat_path, "time_to")
            keys.report.add(path, "wrong-threshold", without_urls(str(error)[:200]), expected=error.expected)
            return None
    return None if over is None else Window(over=over, stat=chosen, parameter=parameter)


def _fits(keys: Keys, metric: Metric, field: Field, chosen: Stat, stat: Any, path: Path) -> bool:
    """Whether a statistic can be taken of a field."""
    if field.kind is Kind.TEXT and chosen not in _OF_TEXTS:
        what, fitting = "a text", "count or changes"
    elif field.kind is Kind.COUNTER and chosen not in _OF_COUNTERS:
        what, fitting = "a counter", "rate, delta, count or changes"
    else:
        return True
    path = path if stat is not None else keys.at("over")
    named = _name(stat) if stat is not None else "over alone"
    keys.report.add(path, "wrong-stat", f"{metric} is {what}: {named} says nothing of it", expected=f"stat: {fitting}")
    return False


def _name(stat: Any) -> str:
    return "time_to" if isinstance(stat, dict) else str(stat)


def _quotient(keys: Keys, own: Measure, window: Window | None) -> Measure | None:
    """The measure divided by what `relative_to` names."""
    written = keys.values["relative_to"]
    if window is not None and window.stat is Stat.TIME_TO:
        message = "a time until a value is relative to nothing"
        keys.misplaced("relative_to", "clashing-keys", message, expected="no relative_to beside stat: {time_to: ...}")
        return None
    other = _other(keys, own, written)
    if other is None:
        return None
    if other == own.term:
        message = f"{own.scale.subject} relative to itself is always 100%"
        keys.wrong("relative_to", "wrong-relation", message, expected="another metric, another window, or another stat")
        return None
    theirs = windowed_unit(field_of(other.metric), other.window)
    for unit, metric in ((own.scale.unit, own.term.metric), (theirs, other.metric)):
        if unit is Unit.TEXT:
            keys.wrong("relative_to", "wrong-relation", f"{metric} is a text", expected="two metrics that are numbers")
            return None
    unit = quotient_unit(own.scale.unit, theirs)
    subject = f"{own.scale.subject} relative to {_related(own.term, other)}"
    scale = Scale(unit=unit, subject=subject, needs_percent=unit is Unit.PERCENT)
    return Measure(term=own.term, relative_to=other, scale=scale)


def _other(keys: Keys, own: Measure, written: str | dict[str, Any]) -> Term | None:
    """The term below the line: with the metric and the window of the one above it, where it names none of its own."""
    inner = {"metric": written} if isinstance(written, str) else written
    path = keys.at("relative_to") if isinstance(written, str) else keys.at("relative_to", "metric")
    metric = own.term.metric
    if "metric" in inner:
        try:
            metric = _known(keys, inner["metric"]).term.metric
        except MetricError as error:
            _report_metric(keys, path, error)
            return None
    if "over" in inner:
        window = _window(keys.below("relative_to"), metric, inner.get("stat"), keys.at("relative_to", "stat"))
    elif "stat" in inner:
        window = _window(keys, metric, inner["stat"], keys.at("relative_to", "stat"))
    elif "over" in keys:
        stat = keys.values.get("stat")
        window = _window(keys, metric, stat, keys.at("relative_to"))
    else:
        return Term(metric=metric)
    return None if window is None else Term(metric=metric, window=window)


def _words(term: Term) -> str:
    """`avg of cpu_usage.percent over 10m`."""
    window = term.window
    if window is None:
        return str(term.metric)
    if window.stat is Stat.TIME_TO:
        target = format_quantity(window.parameter, field_of(term.metric).unit)
        return f"time until {term.metric} reaches {target} (line over {format_duration(window.over)})"
    return f"{_stat(window)} of {term.metric} over {format_duration(window.over)}"


def _stat(window: Window) -> str:
    return f"p{window.parameter:.0f}" if window.stat is Stat.PERCENTILE else window.stat.value


def _related(own: Term, other: Term) -> str:
    """The other term beside its own, without what both share."""
    if other.window is None:
        return str(other.metric)
    if own.window == other.window:
        return f"that of {other.metric}"
    if own.metric != other.metric:
        return _words(other)
    over = f"over {format_duration(other.window.over)}"
    mine = None if own.window is None else _stat(own.window)
    return f"that {over}" if mine == _stat(other.window) else f"its {_stat(other.window)} {over}"
