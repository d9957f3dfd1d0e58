"""What is missing: why a rule does not look at a host, why a condition has no number on a series.

Comes in: a rule, a host; the hosts that it looks at, a condition, a series. Goes out: a sentence, with a code where
programs may want to tell one from another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import NamedTuple

from zkalert.evaluate import goes_by_instance
from zkalert.metrics import HOST_FAMILY, Kind, field_of, format_duration, is_znode, nearest
from zkalert.model import MEMBERS_HOST, Condition, HostInfo, HostMatch, Metric, Problem, Rule, Sample, Term, Value
from zkalert.survey.values import HostSeen, Published

ALIVE = Metric(HOST_FAMILY, "alive")
"""What no sample says: whether the host holds its session."""

ROUNDING = 1e-3
_MOST_NAMES = 8


class Unknown(NamedTuple):
    """Why a condition has no number: a code that stays, and a sentence without its full stop."""

    code: str
    text: str


def why_not_host(rule: Rule, host: HostInfo) -> str:
    """Why a rule does not look at a host, empty where it does."""
    against = [why for match in rule.not_hosts if not (why := _misfit(match, host))]
    if against:
        fitting = next(match for match in rule.not_hosts if not _misfit(match, host))
        return f"not_hosts: {match_words(fitting)} fits"
    if not rule.hosts:
        return ""
    misfits = [_misfit(match, host) for match in rule.hosts]
    return "" if "" in misfits else f"hosts: {'; '.join(misfits)}"


def _misfit(match: HostMatch, host: HostInfo) -> str:
    """Why one of a rule's `hosts` does not fit, empty where it does."""
    if match.glob is not None and not fnmatchcase(host.name, match.glob):
        return f"{match.glob} does not match {host.name}"
    for label, value in match.labels.items():
        if label not in host.labels:
            return f"{host.name} has no label {label}"
        if host.labels[label] != value:
            return f"its label {label} is {host.labels[label]}, not {value}"
    return ""


def match_words(match: HostMatch) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in match.labels.items())
    return match.glob if match.glob is not None else labels


def terms(conditions: Iterable[Condition]) -> Iterator[Term]:
    """What conditions take their numbers of."""
    for condition in conditions:
        yield from condition.terms


def is_rate(term: Term) -> bool:
    """Whether a term is the rate between the last two samples of a counter."""
    return term.window is None and field_of(term.metric).kind is Kind.COUNTER


class Absence:
    """Says why there is no number, at a moment of the ensemble's clock (epoch seconds)."""

    def __init__(self, rule: Rule, hosts: Mapping[str, HostSeen], at: float) -> None:
        self._rule = rule
        self._hosts = hosts
        self._at = at

    def of(self, condition: Condition, key: tuple[str, str | None], *, is_found: bool) -> Unknown:
        """Why a condition has no number on a series that it does not speak of now.

        `is_found` says that it had one, which does not count any more.
        """
        name, instance = key
        if name == MEMBERS_HOST:
            return self._of_many(condition)
        host = self._hosts.get(name)
        if host is None:
            return Unknown("no-host", f"the rule does not look at {name} now, or it is gone")
        for term in terms([condition]):
            why = self._of_term(host, term, condition, instance)
            if why is not None:
                return why
        if not is_found and condition.relative_to is not None:
            return Unknown("no-sample", "its two metrics have not both a value")
        return Unknown("no-sample", f"there is no number for {condition.subject or condition.metric}")

    def _of_many(self, condition: Condition) -> Unknown:
        if not self._hosts:
            return Unknown("no-host", "no host matches")
        if any(term.window is not None for term in terms([condition])):
            return Unknown("engine-alone", "what it is made of is known to the engine alone")
        if any(is_rate(term) for term in terms([condition])):
            return Unknown("one-sample", f"{condition.metric} is judged by its rate, which takes two samples")
        return Unknown("no-sample", f"no host that it looks at says {condition.metric} now")

    def _of_term(self, host: HostSeen, term: Term, condition: Condition, instance: str | None) -> Unknown | None:
        name, metric = host.info.name, term.metric
        if metric == ALIVE:
            return _of_memory(term)
        published = host.newest(metric.family)
        if published is None:
            return Unknown("no-sample", f"no sample of {metric.family} from {name}")
        if isinstance(published.sample, Problem) and is_znode(metric.family):
            return Unknown("no-answer", published.sample.message)
        if isinstance(published.sample, Problem):
            return Unknown("bad-sample", f"the sample of {metric.family} cannot be used: {published.sample.message}")
        return (
            self._of_age(host, published, published.sample)
            or self._of_value(published.sample, metric, condition, instance)
            or _of_memory(term)
        )

    def _of_age(self, host: HostSeen, published: Published, sample: Sample) -> Unknown | None:
        age = self._at - published.at
        if age <= sample.max_age + ROUNDING:
            return None
        old = f"the last sample of {sample.family} is {format_duration(age)} old"
        if not host.is_alive:
            return Unknown("host-gone", f"{host.info.name} is not alive: {old}")
        return Unknown("stale", f"{old}, and speaks for {format_duration(sample.max_age)} at most")

    def _of_value(self, sample: Sample, metric: Metric, condition: Condition, instance: str | None) -> Unknown | None:
        errors = f" ({'; '.join(sample.errors)})" if sample.errors else ""
        if is_znode(sample.family) and not _is_there(sample, instance):
            return Unknown("no-znode", f"nothing is at {instance or sample.family}{errors}")
        if not goes_by_instance(self._rule, replace(condition, term=Term(metric=metric))):
            value = sample.values.get(metric.field)
            where = f"the sample of {metric.family}"
        elif instance is None:
            return None if self._rule.across is not None else self._of_instances(sample, metric, errors)
        elif instance not in sample.instances:
            return Unknown("no-instance", f"the sample of {metric.family} has no {instance}{errors}")
        else:
            value = sample.instances[instance].get(metric.field)
            where = f"{instance} in the sample of {metric.family}"
        if value is None:
            return Unknown("no-field", f"{where} has no {metric.field}{errors}")
        return _of_type(value, metric)

    def _of_instances(self, sample: Sample, metric: Metric, errors: str) -> Unknown:
        there = sorted(sample.instances)
        if not there:
            return Unknown("no-instance", f"the sample of {metric.family} has no instances{errors}")
        if not any(metric.field in values for values in sample.instances.values()):
            return Unknown("no-field", f"no instance has {metric.field} in the sample of {metric.family}{errors}")
        near = next((near for glob in self._rule.instances or () if (near := nearest(glob, there))), "")
        hint = f"; did you mean {near}?" if near else ""
        more = f" and {len(there) - _MOST_NAMES} more" if len(there) > _MOST_NAMES else ""
        return Unknown(
            "no-instance",
            f"its instances match nothing of {metric.family}; there are {', '.join(there[:_MOST_NAMES])}{more}{hint}",
        )


def _is_there(sample: Sample, instance: str | None) -> bool:
    """Whether there is a znode, of a sample of them."""
    if instance is None:
        return bool(sample.instances or sample.values.get("exists"))
    return bool(sample.instances.get(instance, {}).get("exists"))


def _of_type(value: Value, metric: Metric) -> Unknown | None:
    is_text = field_of(metric).kind is Kind.TEXT
    if isinstance(value, str) is is_text:
        return None
    return Unknown("wrong-type", f"{metric} is no {'text' if is_text else 'number'} in the sample")


def _of_memory(term: Term) -> Unknown | None:
    if term.window is not None:
        over = format_duration(term.window.over)
        return Unknown("engine-alone", f"the values of the last {over} are known to the engine alone")
    if is_rate(term):
        return Unknown("one-sample", f"{term.metric} is judged by its rate, which takes two samples")
    return None
