"""From an observation to verdicts: what one sample says of each series that a rule looks at.

Comes in: a condition (made once from a rule), the last points of its counters, an observation. Goes out: a verdict
for each instance that has a value, and the points to keep. A field that is missing gives no verdict at all: quiet
never resolves anything. It must not know how long something has held; that is the life cycle's.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from zkalert.metrics import FAMILIES, Kind, field_of
from zkalert.model import Comparator, HostInfo, Moment, Observation, Outcome, Rule, Value, Verdict

_COMPARE: dict[Comparator, Callable[[float, float], bool]] = {
    Comparator.GT: operator.gt,
    Comparator.GE: operator.ge,
    Comparator.LT: operator.lt,
    Comparator.LE: operator.le,
    Comparator.EQ: operator.eq,
    Comparator.NE: operator.ne,
}


class Point(NamedTuple):
    """The last value of a counter, when it was seen, and when (on its host's clock) it was read."""

    value: float
    now: Moment
    read_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A rule's condition, ready to be asked for every sample.

    `instances` None means the whole value; a tuple of globs, each instance that matches one of them.
    """

    field: str
    compare: Callable[[float, float], bool]
    threshold: float
    is_counter: bool
    instances: tuple[str, ...] | None


Points = Mapping["str | None", Point]
"""The last point of each instance of a counter; the key None is the whole value."""


def condition_of(rule: Rule) -> Condition:
    """What `evaluate` needs of a rule. Raises KeyError for a metric that the table does not know."""
    family = FAMILIES[rule.metric.family]
    instances = rule.instances
    if instances is None and not family.has_whole:
        instances = ("*",)
    return Condition(
        field=rule.metric.field,
        compare=_COMPARE[rule.comparator],
        threshold=rule.threshold,
        is_counter=field_of(rule.metric).kind is Kind.COUNTER,
        instances=instances,
    )


def evaluate(
    condition: Condition, points: Points, observation: Observation
) -> tuple[list[tuple[str | None, Verdict]], Points]:
    """A verdict for each series of one host that has a value, and the points to hand in next time.

    A counter is judged by its rate between two samples, so the first one gives no verdict. After a reset the count
    since then stands for the whole (as in Prometheus's `increase`).
    """
    sample = observation.sample
    verdicts: list[tuple[str | None, Verdict]] = []
    fresh: dict[str | None, Point] = {}
    for instance, value in _values(condition, observation):
        if type(value) is str:
            continue
        number = float(value)
        if condition.is_counter:
            last = points.get(instance)
            fresh[instance] = Point(number, observation.now, sample.at)
            rate = None if last is None else _rate(last, fresh[instance])
            if rate is None:
                continue
            number = rate
        outcome = Outcome.TRUE if condition.compare(number, condition.threshold) else Outcome.FALSE
        verdicts.append((instance, Verdict(outcome, number, sample.max_age)))
    return verdicts, fresh


def _values(condition: Condition, observation: Observation) -> Iterator[tuple[str | None, Value]]:
    sample, globs = observation.sample, condition.instances
    if globs is None:
        value = sample.values.get(condition.field)
        if value is not None:
            yield None, value
        return
    for instance, values in sample.instances.items():
        value = values.get(condition.field)
        if value is not None and matches(globs, instance):
            yield instance, value


def _rate(last: Point, point: Point) -> float | None:
    """Per second between two points; None where no time passed.

    Three clocks saw them: the ensemble's, the host's and ours. Any one may jump, or see a late arrival; the middle
    one of the three spans is that of a clock that did not.
    """
    spans = (point.now.at - last.now.at, point.now.mono - last.now.mono, point.read_at - last.read_at)
    passed = sorted(spans)[1]
    if passed <= 0:
        return None
    increase = point.value - last.value if point.value >= last.value else point.value
    return increase / passed


def matches(globs: tuple[str, ...], name: str) -> bool:
    """Whether a name matches one of the globs; `*` matches everything, `/` too."""
    return any(glob == "*" or fnmatchcase(name, glob) for glob in globs)


def covers(rule: Rule, instance: str | None) -> bool:
    """Whether a rule looks at this instance (None: the whole value) of the hosts it looks at."""
    globs = condition_of(rule).instances
    if globs is None or instance is None:
        return globs is None and instance is None
    return matches(globs, instance)


def matches_host(rule: Rule, host: HostInfo) -> bool:
    """Whether a rule looks at a host: any of its `hosts` fits, or it names none."""
    if not rule.hosts:
        return True
    return any(
        (match.glob is None or fnmatchcase(host.name, match.glob))
        and all(host.labels.get(name) == value for name, value in match.labels.items())
        for match in rule.hosts
    )
