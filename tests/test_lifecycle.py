"""The life of an alert: its transitions, the ladder of its steps, and what is told of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.rulekit import COVER, LADDER, OFFSET, Series, condition, in_state, moment, rule
from zkalert.lifecycle import (
    deadline,
)
from zkalert.model import (
    Join,
    Outcome,
    Phase,
    Reason,
    Severity,
    State,
    Step,
    Verdict,
)

INACTIVE, PENDING, FIRING, CLEARING, RESOLVED = State
TRUE, BETWEEN, FALSE, ELAPSED, MISSING, QUIET = Outcome
INFO, WARNING, CRITICAL = Severity
RULE = rule(name="memory-high", duration=60.0)
AT_ONCE = rule(name="memory-high")
SLOW_TO_CLEAR = rule(name="memory-high", clear_duration=30.0)


EXPECTED: dict[tuple[State, Outcome], State] = {
    (INACTIVE, TRUE): FIRING,
    (PENDING, BETWEEN): INACTIVE,
    (PENDING, FALSE): INACTIVE,
    (FIRING, FALSE): CLEARING,
    (CLEARING, TRUE): FIRING,
    (CLEARING, BETWEEN): FIRING,
}
"""What five seconds later leads to another state; every other pair stays."""


@pytest.mark.parametrize("outcome", list(Outcome), ids=lambda outcome: outcome.value)
@pytest.mark.parametrize("state", [INACTIVE, PENDING, FIRING, CLEARING], ids=lambda state: state.value)
def test_every_pair_of_state_and_outcome_does_what_the_table_says(state: State, outcome: Outcome) -> None:
    series = in_state(state)
    before = series.alert
    assert series.look(outcome, 5) is EXPECTED.get((state, outcome), state)
    assert series.phases == ([Phase.FIRING] if (state, outcome) == (INACTIVE, TRUE) else [])
    if state is INACTIVE and outcome is not TRUE:
        assert series.alert is before, "a step without a change gives back the same object"


@pytest.mark.parametrize(("state", "outcome"), [(PENDING, ELAPSED), (FIRING, ELAPSED), (FIRING, QUIET)])
def test_a_step_without_a_change_gives_back_the_same_object(state: State, outcome: Outcome) -> None:
    series = in_state(state)
    before = series.alert
    series.look(outcome, 5)
    assert series.alert is before


# One step -------------------------------------------------------------------------------------------------------------


def test_an_alert_fires_once_it_held_for_its_duration() -> None:
    series = Series(RULE)
    assert series.looks_at(TRUE, *range(0, 70, 10)) == [PENDING] * 6 + [FIRING]
    (told,) = series.told
    assert (told.phase, told.reason, told.alert.since, told.at) == (Phase.FIRING, Reason.HELD, OFFSET, OFFSET + 60)


def test_a_duration_of_zero_fires_at_once() -> None:
    series = Series(AT_ONCE)
    assert series.look(TRUE, 0) is FIRING
    assert series.told[0].reason is Reason.CROSSED


def test_one_false_sample_starts_the_duration_anew() -> None:
    series = Series(RULE)
    series.looks_at(TRUE, *range(0, 60, 10))
    assert series.look(FALSE, 59) is INACTIVE
    assert series.looks_at(TRUE, 60, 70) == [PENDING] * 2
    assert series.told == []


def test_the_timer_ends_a_duration_between_two_samples() -> None:
    series = Series(rule(duration=7.0))
    series.look(TRUE, 0)
    assert deadline(series.rule, series.alert, moment(0)) == 7
    assert series.look(ELAPSED, 6.9) is PENDING
    assert series.look(ELAPSED, 9) is FIRING
    assert series.told[0].at == OFFSET + 7, "it happened then, however late the timer was"


def test_an_alert_resolves_once_it_was_over_for_its_clear_duration() -> None:
    series = Series(SLOW_TO_CLEAR)
    series.look(TRUE, 0)
    assert series.looks_at(FALSE, 10, 20, 30) == [CLEARING] * 3
    assert deadline(series.rule, series.alert, moment(30)) == 40
    assert series.look(ELAPSED, 44) is RESOLVED
    assert [(told.phase, told.reason) for told in series.told[1:]] == [(Phase.RESOLVED, Reason.CLEARED)]
    assert (series.told[1].at, series.alert.resolved_at) == (OFFSET + 40, OFFSET + 40)


def test_a_relapse_tells_nobody_and_starts_the_clear_duration_anew() -> None:
    series = Series(SLOW_TO_CLEAR)
    series.look(TRUE, 0)
    assert series.looks_at(FALSE, 10, 20, 30) == [CLEARING] * 3
    assert series.look(BETWEEN, 35) is FIRING
    assert series.looks_at(FALSE, 40, 50, 60) == [CLEARING] * 3
    assert series.look(FALSE, 70) is RESOLVED
    assert series.names == ["firing", "resolved"]


def test_a_gap_adds_nothing_to_a_clear_duration_and_resets_nothing() -> None:
    series = Series(SLOW_TO_CLEAR)
    series.look(TRUE, 0)
    series.look(FALSE, 10)
    assert series.look(ELAPSED, 25) is CLEARING
    assert deadline(series.rule, series.alert, moment(25)) is None
    assert series.look(FALSE, 500) is CLEARING
    assert series.look(FALSE, 514) is CLEARING
    assert series.look(FALSE, 515) is RESOLVED


def test_resolved_carries_the_value_that_cleared_it_and_the_peak() -> None:
    series = Series(AT_ONCE)
    for value in (95, 99, 92):
        series.look(TRUE, value, value=value)
    series.look(FALSE, 100, value=50)
    told = series.told[-1]
    assert (told.phase, told.reason, told.alert.value, told.alert.peak) == (Phase.RESOLVED, Reason.CLEARED, 50, 99)
    assert told.alert.episode == series.told[0].alert.episode


@pytest.mark.parametrize(
    ("comparator", "threshold", "values", "peak"),
    [
        pytest.param(">", 90.0, (95, 99, 92), 99, id="the highest"),
        pytest.param("<", 10.0, (8, 2, 7), 2, id="the lowest"),
        pytest.param("outside", (10.0, 20.0), (25, 1, 22), 1, id="the farthest"),
        pytest.param("==", 5.0, (5, 5), 5, id="the last"),
        pytest.param("matches", "fail.*", ("failed", "failing"), "failing", id="the last text"),
    ],
)
@pytest.mark.parametrize("clears", [False, True], ids=["at once", "over a while"])
def test_the_peak_is_the_worst_value_never_one_that_clears(
    comparator: str, threshold: Any, values: tuple[Any, ...], peak: Any, clears: bool
) -> None:
    metric = "host.kernel" if comparator == "matches" else "memory_usage"
    series = Series(rule(condition(metric, comparator, threshold), clear_duration=8.0 if clears else 0.0))
    for mono, value in enumerate(values):
        series.look(TRUE, mono, value=value)
    for mono in range(10, 20, 4):
        if series.alert.state is not RESOLVED:
            series.look(FALSE, mono, value="well" if isinstance(peak, str) else 15)
    assert series.alert.state is RESOLVED
    assert series.told[-1].alert.peak == peak


def test_a_second_episode_has_another_id() -> None:
    series = Series(AT_ONCE)
    for outcome in (TRUE, FALSE, TRUE):
        series.look(outcome, series.looks)
    assert len({told.id for told in series.told}) == 3
    assert series.told[0].alert.episode != series.told[2].alert.episode


def test_the_id_of_an_effect_names_its_episode_and_phase() -> None:
    series = Series(AT_ONCE)
    series.look(TRUE, 0)
    told = series.told[0]
    assert told.id == f"{told.alert.episode}.firing"
    assert told.key == f"memory-high/web1/{told.alert.episode}/firing"


def test_what_was_held_against_is_that_of_the_condition_whose_value_it_is() -> None:
    series = Series(rule(condition(), condition("load_average.1m", ">", 5.0, 3.0), join=Join.ANY))
    series.take(Verdict(TRUE, 9.0, COVER, (), 1, (50.0, 9.0)), moment(0))
    alert = series.alert
    assert (alert.subject, alert.threshold, alert.clear, alert.value) == ("load_average.1m", 5.0, 3.0, 9.0)
    series.take(Verdict(FALSE, 50.0, COVER, (), 0, (50.0, 1.0)), moment(5))
    assert (series.alert.subject, series.alert.value) == ("load_average.1m", 1.0), "what cleared is what had fired"


# A ladder -------------------------------------------------------------------------------------------------------------


def test_each_step_holds_by_its_own_clock_and_the_highest_that_fires_is_the_severity() -> None:
    series = Series(LADDER)
    assert series.marks(0, TRUE, TRUE) is FIRING
    assert (series.alert.severity, series.alert.threshold) == (WARNING, 80.0)
    series.marks(10, TRUE, TRUE)
    assert deadline(LADDER, series.alert, moment(10)) == 20
    series.marks(20, TRUE, TRUE)
    assert (series.alert.severity, series.alert.threshold, series.alert.clear) == (CRITICAL, 95.0, 90.0)
    assert series.names == ["firing", "escalated-critical"]
    assert series.told[1].reason is Reason.ROSE


def test_a_ladder_fires_at_its_highest_step_where_that_comes_at_once() -> None:
    series = Series(replace(LADDER, steps=(LADDER.steps[0], replace(LADDER.steps[1], duration=0.0))))
    series.marks(0, TRUE, TRUE)
    assert [(told.phase, told.alert.severity) for told in series.told] == [(Phase.FIRING, CRITICAL)]
    assert series.alert.told == (CRITICAL,)


def test_a_timer_raises_the_severity_too() -> None:
    series = Series(LADDER)
    series.marks(0, TRUE, TRUE)
    series.marks(10, TRUE, TRUE)
    series.look(ELAPSED, 23)
    assert series.alert.severity is CRITICAL
    assert series.told[-1].at == OFFSET + 20


def test_stepping_down_is_silent_and_each_step_clears_by_its_own_clock() -> None:
    series = Series(LADDER)
    for mono in (0, 10, 20):
        series.marks(mono, TRUE, TRUE)
    series.marks(30, TRUE, FALSE)
    assert (series.alert.state, series.alert.severity) == (FIRING, CRITICAL), "it is clearing"
    series.marks(40, TRUE, FALSE)
    assert (series.alert.state, series.alert.severity) == (FIRING, WARNING)
    assert series.names == ["firing", "escalated-critical"]


def test_a_step_that_had_cleared_is_told_again_and_its_effect_has_a_name_of_its_own() -> None:
    series = Series(LADDER)
    for start in (0, 100, 200):
        for mono in (0, 10, 20):
            series.marks(start + mono, TRUE, TRUE)
        for mono in (30, 40):
            series.marks(start + mono, TRUE, FALSE)
    assert series.names == ["firing", "escalated-critical", "escalated-critical-2", "escalated-critical-3"]
    assert len({told.id for told in series.told}) == 4


def test_a_step_that_has_not_cleared_is_not_told_again() -> None:
    series = Series(LADDER)
    for mono in (0, 10, 20):
        series.marks(mono, TRUE, TRUE)
    series.marks(30, TRUE, FALSE)
    series.marks(35, TRUE, BETWEEN)
    series.marks(45, TRUE, TRUE)
    assert series.names == ["firing", "escalated-critical"]


def test_an_alert_is_clearing_once_every_step_that_fires_is_and_resolves_after_the_last() -> None:
    steps = tuple(replace(one, clear_duration=10.0 * (index + 1)) for index, one in enumerate(LADDER.steps))
    series = Series(replace(LADDER, steps=steps))
    for mono in (0, 10, 20):
        series.marks(mono, TRUE, TRUE)
    assert series.marks(30, FALSE, FALSE) is CLEARING
    assert series.marks(40, FALSE, FALSE) is CLEARING, "the higher step takes longer"
    assert series.alert.severity is CRITICAL
    assert series.marks(50, FALSE, FALSE) is RESOLVED
    assert series.names == ["firing", "escalated-critical", "resolved"]
    assert series.told[-1].alert.severity is CRITICAL


def test_a_step_that_is_pending_while_the_other_resolves_begins_a_new_episode() -> None:
    """Steps may be apart: of `==` each has a value of its own."""
    steps = (Step(severity=WARNING, threshold=1.0), Step(severity=CRITICAL, threshold=2.0, duration=20.0))
    series = Series(rule(condition("process_number.zombie", "==", None), steps=steps))
    series.marks(0, TRUE, FALSE)
    assert series.marks(10, FALSE, TRUE) is PENDING
    assert series.marks(20, FALSE, TRUE) is PENDING
    assert series.marks(30, FALSE, TRUE) is FIRING
    assert series.names == ["firing", "resolved", "firing"]
    assert series.told[1].alert.state is RESOLVED
    assert series.told[2].alert.since == OFFSET + 10
    first, second, third = (told.alert.episode for told in series.told)
    assert first == second != third


# Sums -----------------------------------------------------------------------------------------------------------------


def test_with_within_an_alert_fires_by_the_sum_of_its_true_spans() -> None:
    series = Series(rule(duration=30.0, within=120.0))
    series.looks_at(TRUE, 0, 10)
    assert series.look(FALSE, 20) is PENDING
    series.looks_at(TRUE, 60)
    assert deadline(series.rule, series.alert, moment(60)) == 70
    assert series.look(ELAPSED, 70) is FIRING
    assert series.told[0].alert.since == OFFSET
    assert series.look(FALSE, 80) is RESOLVED


def test_what_has_resolved_counts_no_more_for_the_next_sum() -> None:
    series = Series(rule(duration=10.0, within=120.0))
    series.looks_at(TRUE, 0, 10)
    assert series.look(FALSE, 15) is RESOLVED
    assert series.looks_at(TRUE, 20, 29) == [PENDING] * 2
    assert series.look(TRUE, 30) is FIRING
