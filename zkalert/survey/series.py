"""What a rule says of the series in a survey, by the engine's own code.

Comes in: a rule, a survey. Goes out: each series that the rule looks at, with every comparison, its number, and where
there is none, why. Windows and rates need samples that one look does not have: what is not known is not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from zkalert.evaluate import families_of, goes_by_instance, variant
from zkalert.metrics import HOST_FAMILY
from zkalert.model import (
    MEMBERS_HOST,
    Alert,
    Comparator,
    Condition,
    HostInfo,
    Metric,
    Moment,
    Observation,
    Of,
    Outcome,
    Problem,
    Rule,
    Sample,
    Severity,
    Step,
    Threshold,
    Value,
    Verdict,
)
from zkalert.rulebook import RuleWatcher, alive_sample, with_clock_skew
from zkalert.survey.absence import ALIVE, ROUNDING, Absence, Unknown, is_rate, terms
from zkalert.survey.values import HostSeen, Published, Survey

Key: TypeAlias = "tuple[str, str | None]"
"""Host (as alerts name it) and instance."""


class Found(NamedTuple):
    """The last verdict on a series, and when the sample that it came with was written."""

    verdict: Verdict
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One condition (of a ladder: one step) on one series, with the limits that hold for it.

    `severity` is that of the step in a ladder. `outcome` None: not known, and `unknown` says why. `at` is when the
    number was written. `is_remembered` says that the host's own history was needed for it.
    """

    condition: Condition
    threshold: Threshold
    clear: Threshold
    severity: Severity | None = None
    value: Value | None = None
    outcome: Outcome | None = None
    at: float | None = None
    unknown: Unknown | None = None
    is_remembered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of a rule: `rule` is as it holds here, by the `overrides` (indices) that fit.

    `outcome` is that of the whole rule, of a ladder that of its lowest step. `members` are of how many series a
    number over many is made, and from how many hosts none came.
    """

    host: str
    instance: str | None
    rule: Rule
    overrides: tuple[int, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    outcome: Outcome | None = None
    members: tuple[int, int] | None = None
    alert: Alert | None = None

    @property
    def key(self) -> Key:
        return self.host, self.instance

    @property
    def unknown(self) -> Unknown | None:
        """Why nothing can be said of it, None where something can."""
        if self.outcome is not None:
            return None
        return next((one.unknown for one in self.comparisons if one.unknown is not None), None)


def series_of(rule: Rule, survey: Survey) -> list[Series]:
    """Every series of a rule, in the order of hosts: those with something to say, those without, those on record.

    A host that the rule looks at and that has none is there with no instance.
    """
    return _Looking(rule, survey).series()


def awaited(series: Iterable[Series], survey: Survey) -> tuple[frozenset[tuple[str, str]], float]:
    """The hosts and families whose next sample would tell more, and within how many seconds each of them is due.

    That is where a counter was seen once: it is judged by its rate.
    """
    wanted: set[tuple[str, str]] = set()
    longest = 0.0
    for one in series:
        if not any(other.unknown is not None and other.unknown.code == "one-sample" for other in one.comparisons):
            continue
        families = {term.metric.family for term in terms(one.rule.conditions) if is_rate(term)}
        for name in survey.hosts if one.host == MEMBERS_HOST else (one.host,):
            for family in families:
                newest = survey.hosts[name].newest(family)
                if newest is not None and isinstance(newest.sample, Sample):
                    wanted.add((name, family))
                    longest = max(longest, newest.sample.interval)
    return frozenset(wanted), 2 * longest


def spans(rule: Rule) -> dict[str, float]:
    """How many seconds of the past a rule needs of each family that it does not judge by the last sample alone."""
    needed: dict[str, float] = {}
    for term in terms(rule.conditions):
        if term.metric != ALIVE and (term.window is not None or is_rate(term)):
            span = 60.0 if term.window is None else 1.5 * term.window.over + 60.0
            needed[term.metric.family] = max(span, needed.get(term.metric.family, 0.0))
    return needed


def has_metric(host: HostSeen, metric: Metric) -> bool:
    """Whether a host publishes a metric, in its whole value or any instance."""
    if metric == ALIVE:
        return True
    newest = host.newest(metric.family)
    if newest is None or isinstance(newest.sample, Problem):
        return False
    sample = newest.sample
    return metric.field in sample.values or any(metric.field in values for values in sample.instances.values())


class _Looking:
    """One rule over one survey."""

    def __init__(self, rule: Rule, survey: Survey) -> None:
        self._rule = rule
        self._survey = survey
        self._is_fleet = rule.across is not None and rule.across.of is Of.HOSTS
        self._watcher = RuleWatcher(rule)
        self._hosts = {name: host for name, host in survey.hosts.items() if self._watcher.follows(host.info)}
        self._observations = _observations(rule, self._hosts.values(), survey.at)
        self._whole = self._judge(rule)
        self._absence = Absence(rule, self._hosts, survey.at)
        # Several conditions are looked at one by one too: together they may say nothing where one is not known.
        parts = [_alone(rule, condition) for condition in rule.conditions]
        self._parts = [self._whole] if len(parts) == 1 else [self._judge(part) for part in parts]
        self._alerts = {(alert.host, alert.instance): alert for alert in survey.alerts if alert.rule == rule.name}

    def _judge(self, rule: Rule) -> dict[Key, Found]:
        watcher = RuleWatcher(rule, patience=0.0)  # whoever has not spoken by now will not
        for host in self._hosts.values():
            watcher.attach(host.info)
        by_host: dict[str, dict[str | None, Found]] = {}
        for observation in self._observations:
            if observation.sample.family not in watcher.families:
                continue
            found = {instance: Found(verdict, observation.now.at) for instance, verdict in watcher.observe(observation)}
            name = watcher.series_host(observation.host)
            # A look at one host tells of all its series each time; one at many hosts of one group alone.
            by_host[name] = {**by_host.get(name, {}), **found} if self._is_fleet else found
        return {(name, instance): one for name, found in by_host.items() for instance, one in found.items()}

    def series(self) -> list[Series]:
        return [self._one(key) for key in self._keys()]

    def _keys(self) -> list[Key]:
        keys: dict[Key, None] = {}
        if self._is_fleet:
            keys = dict.fromkeys((MEMBERS_HOST, group) for group in self._groups())
        for name, host in self._hosts.items():
            if self._is_fleet:
                break
            keys.update(dict.fromkeys((name, instance) for instance in self._instances(name, host)))
        keys.update(dict.fromkeys(self._alerts))
        return list(keys)

    def _groups(self) -> Iterable[str | None]:
        by = None if self._rule.across is None else self._rule.across.by
        if by is None:
            return (None,)
        return sorted({host.info.labels.get(by, "") for host in self._hosts.values()})

    def _instances(self, name: str, host: HostSeen) -> Iterable[str | None]:
        by_instance = [one for one in self._rule.conditions if goes_by_instance(self._rule, one)]
        if self._rule.across is not None or not by_instance:
            return (None,)
        found = {instance: None for at, instance in self._whole if at == name}
        for condition in by_instance:
            published = host.newest(condition.metric.family)
            if published is not None and isinstance(published.sample, Sample):
                there = published.sample.instances
                has_it = (instance for instance, values in there.items() if condition.metric.field in values)
                found.update(dict.fromkeys(instance for instance in has_it if self._watcher.covers(instance)))
        return sorted(found, key=str) or (None,)

    def _one(self, key: Key) -> Series:
        name, instance = key
        host = self._hosts.get(name)
        info = HostInfo(name=name) if host is None else host.info
        rule = variant(self._rule, info, instance)
        fitting = tuple(
            index for index, one in enumerate(self._rule.overrides) if _fits(self._rule, index, info, instance)
        )
        comparisons = tuple(self._comparisons(rule, key))
        found = self._whole.get(key)
        outcome = None
        if found is not None and self._speaks(found):
            outcome = found.verdict.outcome
        return Series(
            host=name,
            instance=instance,
            rule=rule,
            overrides=fitting,
            comparisons=comparisons,
            outcome=outcome,
            members=None if found is None else found.verdict.members,
            alert=self._alerts.get(key),
        )

    def _comparisons(self, rule: Rule, key: Key) -> Iterator[Comparison]:
        for index, condition in enumerate(rule.conditions):
            by_instance = rule.across is not None or goes_by_instance(rule, condition)
            found = self._parts[index].get(key if by_instance else (key[0], None))
            speaks = found is not None and self._speaks(found)
            unknown = None if speaks else self._absence.of(condition, key, is_found=found is not None)
            steps = rule.steps if len(rule.steps) > 1 else (None,)
            for number, step in enumerate(steps):
                yield _comparison(
                    condition, step, number, found, unknown, is_remembered=self._remembers(condition, key)
                )

    def _remembers(self, condition: Condition, key: Key) -> bool:
        host = self._hosts.get(key[0])
        return host is not None and any(
            term.metric.family in host.remembered and (term.window is not None or is_rate(term))
            for term in terms([condition])
        )

    def _speaks(self, found: Found) -> bool:
        return self._survey.at <= found.at + found.verdict.cover + ROUNDING


def _observations(rule: Rule, hosts: Iterable[HostSeen], at: float) -> list[Observation]:
    """All samples in the order of time; this process's clock is the ensemble's here."""
    seen: list[Observation] = []
    for host in hosts:
        for family in families_of(rule):
            published = host.samples.get(family, ())
            found = [
                _observation(host.info.name, one, one.sample) for one in published if isinstance(one.sample, Sample)
            ]
            seen += _lives(host, found, at) if family == HOST_FAMILY else found
    return sorted(seen, key=lambda one: one.now.at)


def _lives(host: HostSeen, found: list[Observation], at: float) -> Iterable[Observation]:
    """What a host says of itself, with what only others can say: whether it is alive."""
    name = host.info.name
    if not found:
        return [alive_sample(None, name, Moment(at, at), is_alive=host.is_alive)]
    told = [replace(one, sample=with_clock_skew(one.sample, one.now.at)) for one in found]
    return [alive_sample(one, name, one.now, is_alive=host.is_alive) for one in told]


def _observation(host: str, published: Published, sample: Sample) -> Observation:
    return Observation(host=host, sample=sample, now=Moment(published.at, published.at))


def _alone(rule: Rule, condition: Condition) -> Rule:
    """A rule with one of its conditions, which goes by instance or host as it does among the others."""
    return rule if len(rule.conditions) == 1 else replace(rule, conditions=(condition,), steps=(Step(),))


def _fits(rule: Rule, index: int, host: HostInfo, instance: str | None) -> bool:
    one = replace(rule, overrides=(rule.overrides[index],))
    return variant(one, host, instance) is not one


def _comparison(
    condition: Condition,
    step: Step | None,
    number: int,
    found: Found | None,
    unknown: Unknown | None,
    *,
    is_remembered: bool,
) -> Comparison:
    has_own = step is not None and step.threshold is not None
    verdict = None if found is None else found.verdict
    outcome = None
    if verdict is not None and unknown is None:
        outcome = verdict.marks[number] if step is not None and verdict.marks else verdict.outcome
    says_more = condition.comparator not in (Comparator.ABSENT, Comparator.CHANGED)
    return Comparison(
        condition=condition,
        threshold=step.threshold if step is not None and has_own else condition.threshold,
        clear=step.clear if step is not None and has_own else condition.clear,
        severity=None if step is None else step.severity,
        value=verdict.value if verdict is not None and says_more else None,
        outcome=outcome,
        at=None if found is None else found.at,
        unknown=unknown,
        is_remembered=is_remembered,
    )
