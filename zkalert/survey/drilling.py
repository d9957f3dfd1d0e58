"""Effects of something that has not happened: what a rule would tell, had its threshold just been crossed.

Comes in: a rule, a host, a moment. Goes out: effects that are marked as a drill. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from zkalert.evaluate import instance_kind, variant
from zkalert.lifecycle import inactive
from zkalert.metrics import Unit, is_znode, parse_pattern
from zkalert.model import (
    MEMBERS_HOST,
    Alert,
    Comparator,
    Effect,
    HostInfo,
    Of,
    Phase,
    Reason,
    Rule,
    Sample,
    Severity,
    State,
    Step,
    Threshold,
    Value,
)
from zkalert.rulebook import with_facts

_GLOB = "*?["
_ANY_INSTANCE = "drill"
_SHARE = 0.01  # of the threshold, by which a value is past it
_OVER = {Comparator.GT: 1, Comparator.GE: 0, Comparator.LT: -1, Comparator.LE: 0}
_UNDER = {Comparator.GT: 0, Comparator.GE: -1, Comparator.LT: 0, Comparator.LE: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where a drill takes place: a host with what it published last, as far as that is known."""

    host: HostInfo
    instance: str | None = None
    samples: Mapping[str, Sample] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """`rule` as it holds on the series; `firing` and `resolved` are its first and its last effect."""

    rule: Rule
    firing: Effect
    resolved: Effect


def severities(rule: Rule) -> tuple[Severity, ...]:
    """Those that a rule's alert may have, the lowest first."""
    return tuple(step.severity for step in rule.steps)


def drill_of(rule: Rule, scene: Scene, severity: Severity | None, at: float, episode: str) -> Drill:
    """What a rule would tell `at` a moment (epoch seconds); `severity` None is the lowest that it has."""
    host, instance = _series(rule, scene)
    here = variant(rule, scene.host, instance)
    step = next((one for one in here.steps if one.severity is severity), here.steps[0])
    blank = inactive(here, host, instance)
    condition = here.conditions[0]
    own = step.threshold is not None
    alert = replace(
        blank,
        state=State.FIRING,
        episode=episode,
        severity=step.severity,
        threshold=step.threshold if own else condition.threshold,
        clear=step.clear if own else condition.clear,
        since=at - step.duration,
        fired_at=at,
        told=(step.severity,),
        members=None if here.across is None or here.across.of is not Of.HOSTS else (1, 0),
    )
    crossed = value_of(alert, is_crossed=True)
    alert = replace(alert, value=crossed, peak=crossed)
    over = replace(alert, state=State.RESOLVED, value=value_of(alert, is_crossed=False), resolved_at=at)
    firing = Effect(
        alert=alert,
        phase=Phase.FIRING,
        reason=_reason(step),
        at=at,
        labels=here.labels,
        summary=here.summary,
        description=here.description,
        runbook=here.runbook,
        is_drill=True,
    )
    firing = with_facts(here, firing, None if host == MEMBERS_HOST else scene.host, scene.samples.get)
    return Drill(
        rule=here, firing=firing, resolved=replace(firing, alert=over, phase=Phase.RESOLVED, reason=Reason.CLEARED)
    )


def _reason(step: Step) -> Reason:
    return Reason.HELD if step.duration else Reason.CROSSED


def _series(rule: Rule, scene: Scene) -> tuple[str, str | None]:
    if rule.across is not None:
        if rule.across.of is Of.INSTANCES:
            return scene.host.name, None
        group = None if rule.across.by is None else scene.instance or scene.host.labels.get(rule.across.by, "")
        return MEMBERS_HOST, group
    if instance_kind(rule) is None:
        return scene.host.name, None
    return scene.host.name, scene.instance or _some_instance(rule, scene.samples)


def _some_instance(rule: Rule, samples: Mapping[str, Sample]) -> str:
    """One that the rule names, or one that the host has, or one that is made up."""
    named = (name for name in rule.instances or () if not any(sign in name for sign in _GLOB))
    sample = samples.get(rule.metric.family)
    there: Collection[str] = () if sample is None else sample.instances
    return next(named, next(iter(sorted(there)), _made_up(rule.metric.family)))


def _made_up(family: str) -> str:
    if not is_znode(family):
        return _ANY_INSTANCE
    pattern = parse_pattern(family)
    return pattern.path(len(pattern.parts), (_ANY_INSTANCE,) * len(pattern.labels))


def value_of(alert: Alert, *, is_crossed: bool) -> Value:
    """A value that crosses an alert's threshold by little, or one that is well again."""
    limit = alert.threshold
    if alert.comparator in (Comparator.ABSENT, Comparator.CHANGED):
        return 1 if is_crossed else 0
    if isinstance(limit, tuple):
        low, high = limit
        middle, beyond = (low + high) / 2, high + _little(high, alert.unit)
        return middle if is_crossed is (alert.comparator is Comparator.BETWEEN) else beyond
    if isinstance(limit, str):
        is_same = is_crossed is (alert.comparator in (Comparator.EQ, Comparator.MATCHES))
        return limit if is_same else f"not {limit}"[:80]
    if limit is None:
        return 0
    return _number(alert.comparator, limit, alert, is_crossed=is_crossed)


def _number(comparator: Comparator, limit: float, alert: Alert, *, is_crossed: bool) -> float:
    little = _little(limit, alert.unit)
    if comparator in (Comparator.EQ, Comparator.NE):
        return limit if is_crossed is (comparator is Comparator.EQ) else _other(limit, alert.unit)
    if is_crossed:
        return limit + _OVER[comparator] * little
    end: Threshold = limit if alert.clear is None else alert.clear
    return (end if isinstance(end, (int, float)) else limit) + _UNDER[comparator] * little


def _little(limit: float, unit: str) -> float:
    if unit in (Unit.PERCENT.value, Unit.RATIO.value):
        return 0.1 if unit == Unit.PERCENT.value else 0.001
    return max(1.0, float(round(abs(limit) * _SHARE)))


def _other(limit: float, unit: str) -> float:
    return float(not limit) if unit == Unit.FLAG.value else limit + 1
