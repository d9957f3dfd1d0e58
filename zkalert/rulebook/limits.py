"""What rules ask of samplers: which limits they hold each family against, and which families they need whole.

Comes in: the rules in force. Goes out: for each family that samplers publish, what matters of it. Where samplers rest
and when they speak is theirs to say; whatever is not certain here asks for every sample.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from zkalert.evaluate import goes_by_instance, takes_text
from zkalert.lifecycle import GONE_AFTER
from zkalert.metrics import HOST_FAMILY, SAMPLED, Kind, field_of
from zkalert.model import Comparator, Condition, FamilyLimits, Limit, Metric, Override, Quiet, Rule, Step, Threshold

HOST_ALIVE = Metric(HOST_FAMILY, "alive")
QUIET_AFTER = 60.0
"""Seconds of silence that a rule acts on, if it does not say how many."""

_NOT_CLEARED = {Comparator.GE: Comparator.GT, Comparator.LE: Comparator.LT}
"""How a value that has not come back compares, where not as its threshold does: who reaches `clear` has cleared."""

_NEEDS_ALL = frozenset({Comparator.ABSENT, Comparator.CHANGED})


def limits_of(rules: Iterable[Rule], shown: Collection[str] = ()) -> dict[str, FamilyLimits]:
    """What the rules that are enabled ask of each family that samplers publish; of `shown` ones every sample.

    Raises KeyError for a metric that the table does not know.
    """
    asked = {family: _Asked(is_full=family in shown) for family in SAMPLED}
    for rule in rules:
        if rule.enabled:
            for condition in rule.conditions:
                _ask(asked, rule, condition)
    return {family: one.limits() for family, one in asked.items()}


@dataclass(slots=True)
class _Asked:
    """What was asked of one family so far."""

    is_full: bool
    found: dict[Limit, None] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    quiet: list[float] = field(default_factory=list)
    settles: float = 0.0

    def limits(self) -> FamilyLimits:
        return FamilyLimits(
            limits=tuple(self.found),
            texts=tuple(sorted(self.texts)),
            is_full=self.is_full,
            quiet_after=min(self.quiet, default=None),
            settles=self.settles,
        )


def _ask(asked: dict[str, _Asked], rule: Rule, condition: Condition) -> None:
    term, below = condition.term, condition.relative_to
    metric = term.metric
    if metric == HOST_ALIVE:  # the engine makes it of the ephemeral
        return
    needs_all = (
        rule.across is not None or below is not None or term.window is not None or condition.comparator in _NEEDS_ALL
    )
    for family in {metric.family} if below is None else {metric.family, below.metric.family}:
        of = asked.get(family)
        if of is None:  # a znode's, an ensemble's, an application's
            continue
        of.is_full |= needs_all
        of.settles = max(of.settles, _settles(rule, condition))
        if rule.no_data.then is not Quiet.KEEP:
            of.quiet.append(rule.no_data.after or QUIET_AFTER)
    of = asked.get(metric.family)
    if of is None or below is not None or term.window is not None or condition.comparator in _NEEDS_ALL:
        return
    if takes_text(condition.term, condition):
        of.texts.add(metric.field)
        return
    is_rate, by_instance = field_of(metric).kind is Kind.COUNTER, goes_by_instance(rule, condition)
    for comparator, threshold in _held_against(rule, condition):
        if isinstance(threshold, (int, float, tuple)):
            limit = Limit(
                field=metric.field,
                comparator=comparator,
                threshold=threshold,
                is_rate=is_rate,
                by_instance=by_instance,
            )
            of.found[limit] = None


def _held_against(rule: Rule, condition: Condition) -> Iterator[tuple[Comparator, Threshold]]:
    """All that a number of the condition may be held against, of any series and step: thresholds and clears alike.

    What clears a threshold is one more limit, which holds as long as the value has not come back to it.
    """
    if rule.across is not None:
        if rule.across.comparator is not None:
            yield rule.across.comparator, rule.across.threshold
        return
    comparator = condition.comparator
    held: list[Condition | Step | Override] = [condition]
    if len(rule.conditions) == 1:
        held += (*rule.steps, *rule.overrides)
    for one in held:
        yield comparator, one.threshold
        yield _NOT_CLEARED.get(comparator, comparator), one.clear


def _settles(rule: Rule, condition: Condition) -> float:
    """How long a rule counts time that a sampler cannot judge: how long a text has held, or an instance been away.

    What a number has held is counted at the full rate, and what clears is covered by samples at rest.
    """
    spans = [0.0]
    if takes_text(condition.term, condition):
        spans += [one.duration for one in rule.steps]
        spans += [one.duration or 0.0 for one in rule.overrides]
    if goes_by_instance(rule, condition) and not rule.keeps_gone:
        spans.append(rule.no_data.after or GONE_AFTER)
    return max(spans)
