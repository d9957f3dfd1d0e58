"""Where alerts stand, held against where a test expects them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from zkalert.metrics import QuantityError, Unit, parse_quantity
from zkalert.model import Alert, State
from zkalert.replay import Change
from zkalert.ruletest import words
from zkalert.ruletest.report import Failure, around, is_series, table
from zkalert.ruletest.running import Story
from zkalert.ruletest.suite import ExpectedState, Suite, Test

_FEW = 3
_DIGITS = 1e-6


def judge_states(suite: Suite, test: Test, story: Story) -> Iterator[Failure]:
    """Each expected state that was another one at its moment."""
    for state, alerts in zip(test.states, story.looks, strict=True):
        ours = [alert for alert in alerts if is_series(state.host, state.instance, alert)]
        if _holds(state, ours):
            continue
        what = f"at {words.span(state.at)} {words.series(state.rule, state.host, state.instance)}"
        finding = suite.document.finding(
            state.path, "wrong-state", f"{what} {_found(state, ours)}", expected=_state_words(state)
        )
        yield Failure(finding=finding, details=tuple(_timeline(test, story, state)))


def _timeline(test: Test, story: Story, state: ExpectedState) -> Iterator[str]:
    ours = [
        change
        for change in story.changes
        if change.new.rule == state.rule and is_series(state.host, state.instance, change.new)
    ]
    name = words.series(state.rule, state.host, state.instance)
    if not ours:
        yield f"{name} was inactive all the time"
        return
    yield f"what became of {name}:"
    has_several = len({(change.new.host, change.new.instance) for change in ours}) > 1
    near = around(ours, state.at, lambda change: change.at - test.start)
    yield from table([_row(test, change, is_named=has_several) for change in near], len(ours))


def _row(test: Test, change: Change, *, is_named: bool) -> tuple[str, ...]:
    old, new = change.old, change.new
    after = "inactive, resolved" if new.state is State.RESOLVED else new.state.value
    where = (words.series_of(new),) if is_named else ()
    severity = f" {new.severity.value}" if new.state.is_active else ""
    return (
        words.span(change.at - test.start),
        *where,
        f"{old.state.value} -> {after}{severity}",
        words.value(new.value, new.unit),
    )


def _holds(state: ExpectedState, alerts: Sequence[Alert]) -> bool:
    if state.state is State.INACTIVE:
        return not alerts
    fitting = sum(_fits_state(state, alert) for alert in alerts)
    return fitting > 0 if state.count is None else fitting == state.count


def _fits_state(state: ExpectedState, alert: Alert) -> bool:
    return (
        alert.state is state.state
        and state.severity in (None, alert.severity)
        and (state.value is None or _is_value(state.value, alert))
    )


def _is_value(wanted: float | str, alert: Alert) -> bool:
    """Whether an alert saw this value: as a number to six digits, or as messages show it."""
    if alert.value is None:
        return False
    if isinstance(alert.value, str):
        return alert.value == wanted
    if wanted == words.value(alert.value, alert.unit):
        return True
    try:
        return math.isclose(parse_quantity(wanted, Unit(alert.unit)), alert.value, rel_tol=_DIGITS, abs_tol=1e-9)
    except QuantityError:  # of a condition with another unit
        return False


def _found(state: ExpectedState, alerts: Sequence[Alert]) -> str:
    """What the alerts are instead."""
    if state.count is not None:
        fitting = sum(_fits_state(state, alert) for alert in alerts)
        return f"has {fitting} that fit" + (f", of {len(alerts)} not inactive" if alerts else "; all are inactive")
    if not alerts:
        return "is inactive"
    some = "; ".join(f"{_stands(alert)}{_unnamed(state, alert)}" for alert in alerts[:_FEW])
    return f"is {some}" + (f"; and {len(alerts) - _FEW} more" if len(alerts) > _FEW else "")


def _stands(alert: Alert) -> str:
    return f"{alert.state.value}, {alert.severity.value}, value {words.value(alert.value, alert.unit)}"


def _unnamed(state: ExpectedState, alert: Alert) -> str:
    """Which alert it is, where the expectation is about several."""
    if state.host is not None and state.instance == alert.instance:
        return ""
    return f" ({words.place(alert.host, alert.instance) or 'all hosts'})"


def _state_words(state: ExpectedState) -> str:
    parts = [state.state.value]
    if state.severity is not None:
        parts.append(state.severity.value)
    if state.value is not None:
        parts.append(f"value {state.value}")
    if state.count is not None:
        parts.append(f"count {state.count}")
    return ", ".join(parts)
