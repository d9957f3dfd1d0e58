"""Which hosts and instances a rule looks at, and which of its limits hold for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from zkalert.metrics import ZOOKEEPER_FAMILY, family_of, is_znode, parse_pattern
from zkalert.model import Condition, HostInfo, HostMatch, Of, Override, Rule, Step


def matches(globs: Iterable[str], name: str) -> bool:
    """Whether a name matches one of the globs; `*` matches everything, `/` too."""
    return any(glob == "*" or fnmatchcase(name, glob) for glob in globs)


def matches_host(rule: Rule, host: HostInfo) -> bool:
    """Whether a rule looks at a host: one of its `hosts` fits, or it names none; and none of its `not_hosts`."""
    if rule.not_hosts and _any(rule.not_hosts, host):
        return False
    return not rule.hosts or _any(rule.hosts, host)


def is_of_hosts(rule: Rule) -> bool:
    """Whether its series are hosts or parts of them, rather than an ensemble's znodes and members."""
    return family_of(rule.metric.family).of_hosts


def looks_at(rule: Rule, host: HostInfo) -> bool:
    """Whether a rule looks at a host, or at an ensemble in the place of one."""
    if host.is_ensemble:
        return not is_of_hosts(rule) and is_about(rule, host.name)
    return is_of_hosts(rule) and matches_host(rule, host)


def is_about(rule: Rule, ensemble: str) -> bool:
    """Whether a rule looks at znodes of an ensemble, or at what its servers say."""
    return any(
        parse_pattern(family).ensemble == ensemble if is_znode(family) else family == ZOOKEEPER_FAMILY
        for family in families_of(rule)
    )


def _any(hosts: tuple[HostMatch, ...], host: HostInfo) -> bool:
    return any(
        (match.glob is None or fnmatchcase(host.name, match.glob))
        and all(host.labels.get(name) == value for name, value in match.labels.items())
        for match in hosts
    )


def goes_by_instance(rule: Rule, condition: Condition) -> bool:
    """Whether a condition is about each instance of its family, rather than about its whole value."""
    family = family_of(condition.term.metric.family)
    if family.instance_kind is None:
        return False
    wants_instances = rule.instances is not None or (rule.across is not None and rule.across.of is Of.INSTANCES)
    return wants_instances or not family.is_whole(condition.term.metric.field)


def families_of(rule: Rule) -> tuple[str, ...]:
    """The families that a rule reads, each once, that of its first condition first."""
    return tuple(dict.fromkeys(term.metric.family for one in rule.conditions for term in one.terms))


def instance_kind(rule: Rule) -> str | None:
    """What the series of a rule are beside their host: mounts, cores, ...; None for the whole host, or many."""
    if rule.across is not None:
        return None
    kinds = (family_of(one.term.metric.family).instance_kind for one in rule.conditions if goes_by_instance(rule, one))
    return next(kinds, None)


def covers(rule: Rule, instance: str | None) -> bool:
    """Whether a rule looks at this instance (None: the whole value) of the hosts it looks at."""
    if rule.across is not None:
        return (instance is None) is (rule.across.by is None)  # it is a label's value, which no rule names
    if instance_kind(rule) is None or instance is None:
        return instance_kind(rule) is None and instance is None
    return picks(rule, instance)


def picks(rule: Rule, instance: str) -> bool:
    """Whether an instance is among those that a rule's globs name."""
    if rule.not_instances and matches(rule.not_instances, instance):
        return False
    return rule.instances is None or matches(rule.instances, instance)


def variant(rule: Rule, host: HostInfo, instance: str | None) -> Rule:
    """The rule as it holds for one series: the last override that fits wins, key by key.

    Only rules whose one condition has the threshold itself have overrides of it.
    """
    fitting = [one for one in rule.overrides if _fits(one, host, instance)]
    if not fitting:
        return rule
    conditions, steps = rule.conditions, rule.steps
    for one in fitting:
        if one.threshold is not None or one.clear is not None:
            conditions = (_limited(conditions[0], one), *conditions[1:])
        steps = tuple(_stepped(step, one) for step in steps)
    return replace(rule, conditions=conditions, steps=steps)


def _fits(override: Override, host: HostInfo, instance: str | None) -> bool:
    if override.hosts and not _any(override.hosts, host):
        return False
    return override.instances is None or (instance is not None and matches(override.instances, instance))


def _limited(condition: Condition, override: Override) -> Condition:
    threshold = condition.threshold if override.threshold is None else override.threshold
    clear = condition.clear if override.clear is None else override.clear
    return replace(condition, threshold=threshold, clear=clear)


def _stepped(step: Step, override: Override) -> Step:
    return Step(
        severity=override.severity or step.severity,
        threshold=step.threshold,
        clear=step.clear,
        duration=step.duration if override.duration is None else override.duration,
        clear_duration=step.clear_duration if override.clear_duration is None else override.clear_duration,
        actions=step.actions if override.actions is None else override.actions,
    )
