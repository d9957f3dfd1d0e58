"""One value against one threshold, or against those of a ladder.

Comes in: a comparator, its threshold and the value that clears it. Goes out: a function from a value to an outcome.
It is called for every sample of every series, so each kind of comparison is a closure of its own.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import TypeAlias

from zkalert.model import Comparator, Outcome, Rule, Threshold, Value, Verdict

Judge: TypeAlias = Callable[[Value], Outcome]

_ORDER: dict[Comparator, tuple[Callable[[float, float], bool], Callable[[float, float], bool]]] = {
    # How it is crossed, and how a value is past the one that clears it.
    Comparator.GT: (operator.gt, operator.le),
    Comparator.GE: (operator.ge, operator.le),
    Comparator.LT: (operator.lt, operator.ge),
    Comparator.LE: (operator.le, operator.ge),
}
_TRUE, _BETWEEN, _FALSE = Outcome.TRUE, Outcome.BETWEEN, Outcome.FALSE


def judge_of(comparator: Comparator, threshold: Threshold, clear: Threshold = None) -> Judge:
    """What a value says of a comparison; it has the type that the threshold has, which the caller sees to.

    `absent` and `changed` are judged by a number that is 1 where they hold. Raises TypeError for a threshold that
    the comparator cannot have.
    """
    if comparator in _ORDER and isinstance(threshold, (int, float)):
        return _order(comparator, threshold, clear)
    if comparator in (Comparator.BETWEEN, Comparator.OUTSIDE) and isinstance(threshold, tuple):
        return _range(threshold, clear, is_inside=comparator is Comparator.BETWEEN)
    if comparator in (Comparator.EQ, Comparator.NE) and isinstance(threshold, (int, float, str)):
        return _equal(threshold, is_equal=comparator is Comparator.EQ)
    if comparator in (Comparator.MATCHES, Comparator.NOT_MATCHES) and isinstance(threshold, str):
        return _pattern(threshold, is_match=comparator is Comparator.MATCHES)
    if comparator in (Comparator.ABSENT, Comparator.CHANGED) and threshold is None:
        return _equal(1, is_equal=True)
    raise TypeError(f"{comparator.value} cannot be held against {threshold!r}")


def _order(comparator: Comparator, threshold: float, clear: Threshold) -> Judge:
    crosses, clears = _ORDER[comparator]
    if clear is None:

        def judge(value: Value) -> Outcome:
            return _TRUE if crosses(value, threshold) else _FALSE  # type: ignore[arg-type]

        return judge
    if not isinstance(clear, (int, float)):
        raise TypeError(f"{comparator.value} cannot be cleared by {clear!r}")

    def judge_with_clear(value: Value) -> Outcome:
        if crosses(value, threshold):  # type: ignore[arg-type]
            return _TRUE
        return _FALSE if clears(value, clear) else _BETWEEN  # type: ignore[arg-type]

    return judge_with_clear


def _range(threshold: tuple[float, float], clear: Threshold, *, is_inside: bool) -> Judge:
    low, high = threshold
    if clear is not None and not isinstance(clear, tuple):
        raise TypeError(f"a range cannot be cleared by {clear!r}")

    def judge(value: Value) -> Outcome:
        if (low <= value <= high) is is_inside:  # type: ignore[operator]
            return _TRUE
        if clear is None:
            return _FALSE
        # Of `between`, the ends of the clearing range clear; of `outside`, they lie within it.
        if is_inside:
            return _BETWEEN if clear[0] < value < clear[1] else _FALSE  # type: ignore[operator]
        return _FALSE if clear[0] <= value <= clear[1] else _BETWEEN  # type: ignore[operator]

    return judge


def _equal(threshold: Value, *, is_equal: bool) -> Judge:
    def judge(value: Value) -> Outcome:
        return _TRUE if (value == threshold) is is_equal else _FALSE

    return judge


def _pattern(threshold: str, *, is_match: bool) -> Judge:
    pattern = re.compile(threshold)

    def judge(value: Value) -> Outcome:
        return _TRUE if (pattern.fullmatch(value) is not None) is is_match else _FALSE  # type: ignore[arg-type]

    return judge


class Ladder:
    """The judges of the steps of a rule that has one condition."""

    __slots__ = ("_judges", "_no", "judge")

    def __init__(self, rule: Rule) -> None:
        condition = rule.conditions[0]
        self._judges: tuple[Judge, ...] = tuple(
            judge_of(condition.comparator, condition.threshold, condition.clear)
            if step.threshold is None
            else judge_of(condition.comparator, step.threshold, step.clear)
            for step in rule.steps
        )
        self.judge = self._judges[0] if len(self._judges) == 1 else None
        self._no = () if self.judge is not None else (_FALSE,) * len(self._judges)

    def verdict(self, value: Value, cover: float) -> Verdict:
        if self.judge is not None:
            return Verdict(self.judge(value), value, cover)
        marks = tuple(judge(value) for judge in self._judges)
        # Of `==` and `matches` a higher step may hold where the lowest does not.
        return Verdict(_TRUE if _TRUE in marks else marks[0], value, cover, marks)

    def nothing(self, cover: float) -> Verdict:
        """What is to be said where there is no number, and that is known."""
        return Verdict(_FALSE, None, cover, self._no)
