"""Whether a sample wakes a rule whose series are all inactive: the cheap question before the verdict.

Comes in: a sample, the one before it, and the seconds between them. Goes out: whether it crosses the rule's threshold
in any of its series. Where it does not, such a rule makes nothing of it. That is so of most rules most of the time, and
a verdict costs several times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from zkalert.evaluate.compare import Judge, judge_of
from zkalert.evaluate.matching import goes_by_instance
from zkalert.evaluate.numbers import Picker
from zkalert.evaluate.terms import rate
from zkalert.metrics import Kind, field_of
from zkalert.model import EMPTY, Comparator, Outcome, Quiet, Rule, Sample, Value

Alarm: TypeAlias = Callable[[Sample, Sample, float], bool]
"""Takes a sample, the one before of that family and host, and the seconds between them."""

_Rings: TypeAlias = "Callable[[Mapping[str, Value], Mapping[str, Value], float], bool]"
"""The same of one series: its values and those before."""

_TRUE = Outcome.TRUE


def alarm_of(rule: Rule) -> Alarm | None:
    """The alarm of a rule that remembers the sample before at most; None where a rule has to see every sample.

    Who woke up has to observe the sample before first, which it may have slept through.
    """
    condition = rule.conditions[0]
    term = condition.term
    is_simple = (
        len(rule.conditions) == 1
        and term.window is None
        and condition.relative_to is None
        and condition.comparator not in (Comparator.ABSENT, Comparator.CHANGED)
    )
    if not is_simple or rule.across is not None or rule.overrides or rule.no_data.then is not Quiet.KEEP:
        return None
    judges = [
        judge_of(condition.comparator, condition.threshold if step.threshold is None else step.threshold)
        for step in rule.steps
    ]
    judge = judges[0] if len(judges) == 1 else _any_of(judges)
    kind, name = field_of(term.metric).kind, term.metric.field
    if kind is Kind.ANY:
        return None
    rings = _rate_rings(name, judge) if kind is Kind.COUNTER else _value_rings(name, judge, is_text=kind is Kind.TEXT)
    if not goes_by_instance(rule, condition):
        return lambda sample, before, passed: rings(sample.values, before.values, passed)
    picks = Picker(rule)

    def by_instance(sample: Sample, before: Sample, passed: float) -> bool:
        earlier = before.instances
        for instance, values in sample.instances.items():
            if rings(values, earlier.get(instance, EMPTY), passed) and picks(instance):
                return True
        return False

    return by_instance


def _any_of(judges: Sequence[Judge]) -> Judge:
    return lambda value: _TRUE if any(judge(value) is _TRUE for judge in judges) else Outcome.FALSE


def _value_rings(name: str, judge: Judge, *, is_text: bool) -> _Rings:
    def rings(values: Mapping[str, Value], _before: Mapping[str, Value], _passed: float) -> bool:
        value = values.get(name)
        return value is not None and (type(value) is str) is is_text and judge(value) is _TRUE

    return rings


def _rate_rings(name: str, judge: Judge) -> _Rings:
    def rings(values: Mapping[str, Value], before: Mapping[str, Value], passed: float) -> bool:
        value, last = values.get(name), before.get(name)
        if value is None or last is None or type(value) is str or type(last) is str or passed <= 0:
            return False
        number = rate(last, value, passed)  # type: ignore[arg-type]
        return number is not None and judge(number) is _TRUE

    return rings
