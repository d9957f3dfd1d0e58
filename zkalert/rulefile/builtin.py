"""The rules that are there without being written: a host whose sampler is gone, engines that run different rules.

A rule of the user's own with the same name takes the place of one, one that is off (`enabled: false`) too.
"""

from __future__ import annotations

from zkalert.metrics import ENGINE_FAMILY, HOST_FAMILY, Unit
from zkalert.model import Comparator, Condition, HostDown, Metric, Rule, Severity, Step, Term
from zkalert.rulefile.digests import with_digest

HOST_DOWN = "host-down"
RULES_SKEW = "rules-skew"
SKEW_FOR = 120.0  # a rollout takes its time
SOURCE = "built in"

_SUMMARY = "{{ host }} is {% if value == 1 %}back{% else %}down, or cut off: its sampler is gone{% endif %}"
_DESCRIPTION = (
    "The session of this host's sampler with ZooKeeper is over, so nothing is known of the host. Its other alerts are "
    "kept quiet until it is back. Of a host that was switched off for good, `zkalert hosts forget` ends this alert."
)


def host_down_rule(settings: HostDown) -> Rule:
    """The rule `host-down` as the key `host_down` of the configuration has it."""
    rule = Rule(
        name=HOST_DOWN,
        conditions=(_flag(Metric(HOST_FAMILY, "alive"), 0.0),),
        steps=(Step(severity=settings.severity, duration=settings.after),),
        actions=settings.actions,
        summary=_SUMMARY,
        description=_DESCRIPTION,
        source=SOURCE,
    )
    return with_digest(rule)


def rules_skew_rule() -> Rule:
    """The rule `rules-skew`: a reload or a push that did not reach all engines."""
    rule = Rule(
        name=RULES_SKEW,
        conditions=(_flag(Metric(ENGINE_FAMILY, "rules_skew"), 1.0),),
        steps=(Step(severity=Severity.WARNING, duration=SKEW_FOR),),
        summary="the engines of this tree run different rules",
        description="Whoever takes over would go by other rules than the owner does. `zkalert engines` shows them.",
        source=SOURCE,
    )
    return with_digest(rule)


def _flag(metric: Metric, value: float) -> Condition:
    """The condition that a flag has a value."""
    return Condition(
        term=Term(metric=metric),
        comparator=Comparator.EQ,
        threshold=value,
        unit=Unit.FLAG.value,
        subject=str(metric),
    )


def is_builtin(rule: Rule) -> bool:
    """Whether nobody wrote a rule."""
    return rule.source == SOURCE


def with_builtin(rules: tuple[Rule, ...], host_down: HostDown | None) -> tuple[Rule, ...]:
    """The rules and, behind them, those that are built in; `host_down` None leaves that one out."""
    builtin = [] if host_down is None else [host_down_rule(host_down)]
    names = {rule.name for rule in rules}
    return (*rules, *(rule for rule in (*builtin, rules_skew_rule()) if rule.name not in names))
