"""What becomes of an alert without samples of its own: silence, instances that go, reminders, schedules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.rulekit import COVER, LADDER, OFFSET, Series, in_state, moment, rule
from zkalert.lifecycle import (
    GONE_AFTER,
    deadline,
)
from zkalert.model import (
    Escalation,
    NoData,
    Notify,
    Outcome,
    Phase,
    Quiet,
    Reason,
    Rule,
    Schedule,
    Severity,
    State,
    Verdict,
)

INACTIVE, PENDING, FIRING, CLEARING, RESOLVED = State
TRUE, BETWEEN, FALSE, ELAPSED, MISSING, QUIET = Outcome
INFO, WARNING, CRITICAL = Severity
AT_ONCE = rule(name="memory-high")


# Silence --------------------------------------------------------------------------------------------------------------


def quiet(then: Quiet, **more: Any) -> Rule:
    return rule(no_data=NoData(then=then), **more)


@pytest.mark.parametrize("state", [INACTIVE, PENDING, FIRING, CLEARING])
def test_an_alert_that_keeps_stays_as_it_is_when_nothing_comes(state: State) -> None:
    series = in_state(state)
    before = series.alert
    series.look(QUIET, 100)
    assert series.alert is before


@pytest.mark.parametrize("is_pending", [False, True], ids=["inactive", "pending"])
def test_an_alert_fires_for_want_of_data_and_resolves_with_the_next_good_sample(is_pending: bool) -> None:
    series = Series(quiet(Quiet.ALERT, duration=60.0))
    if is_pending:
        series.look(TRUE, 0)
    assert series.look(QUIET, 100) is FIRING
    assert series.alert.value is None
    assert series.look(FALSE, 200, value=50) is RESOLVED
    assert [(told.phase, told.reason) for told in series.told] == [
        (Phase.FIRING, Reason.NO_DATA),
        (Phase.RESOLVED, Reason.DATA_BACK),
    ]
    assert (series.told[1].alert.value, series.told[1].alert.is_quiet) == (50, True)


@pytest.mark.parametrize(
    ("duration", "state", "reasons"),
    [
        pytest.param(0.0, FIRING, [Reason.NO_DATA, Reason.DATA_BACK, Reason.CROSSED], id="fires at once"),
        pytest.param(60.0, PENDING, [Reason.NO_DATA, Reason.DATA_BACK], id="is pending"),
    ],
)
def test_data_that_is_back_and_crosses_the_threshold_begins_another_episode(
    duration: float, state: State, reasons: list[Reason]
) -> None:
    series = Series(quiet(Quiet.ALERT, duration=duration))
    series.look(QUIET, 100)
    assert series.look(TRUE, 200) is state
    assert [told.reason for told in series.told] == reasons
    assert series.alert.episode != series.told[0].alert.episode
    assert not series.alert.is_quiet


def test_an_alert_that_fires_already_is_not_told_again_for_want_of_data() -> None:
    series = Series(quiet(Quiet.ALERT))
    series.look(TRUE, 0)
    before = series.alert
    series.look(QUIET, 100)
    assert series.alert is before


@pytest.mark.parametrize("state", [FIRING, CLEARING])
def test_an_alert_resolves_for_want_of_data_where_its_rule_says_so(state: State) -> None:
    series = in_state(state)
    series.rule = replace(series.rule, no_data=NoData(then=Quiet.RESOLVE))
    assert series.look(QUIET, 100) is RESOLVED
    assert [(told.phase, told.reason) for told in series.told] == [(Phase.RESOLVED, Reason.NO_DATA)]


def test_a_pending_alert_is_dropped_for_want_of_data_where_its_rule_says_so() -> None:
    series = Series(quiet(Quiet.RESOLVE, duration=60.0))
    series.look(TRUE, 0)
    assert series.look(QUIET, 100) is INACTIVE
    assert series.told == []


# Instances that go ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [(PENDING, INACTIVE, []), (FIRING, RESOLVED, [Reason.GONE]), (CLEARING, RESOLVED, [Reason.GONE])],
)
def test_an_instance_is_gone_after_a_minute_of_good_samples_without_it(
    start: State, end: State, told: list[Reason]
) -> None:
    series = in_state(start)
    assert series.looks_at(MISSING, *range(10, 10 + int(GONE_AFTER) + 10, 10)) == [start] * 6 + [end]
    assert [effect.reason for effect in series.told] == told


@pytest.mark.parametrize(
    ("after", "cover", "states"),
    [
        pytest.param(20.0, COVER, [FIRING, FIRING, RESOLVED], id="the rule says after how long"),
        pytest.param(0.001, COVER, [FIRING, RESOLVED], id="at once"),
        pytest.param(None, 100.0, [FIRING] * 10 + [RESOLVED], id="a sample speaks for longer than a minute"),
    ],
)
def test_how_long_an_instance_must_be_missed(after: float | None, cover: float, states: list[State]) -> None:
    series = Series(rule(no_data=NoData(after=after)))
    series.look(TRUE, 0)
    verdict = Verdict(MISSING, None, cover)
    assert [series.take(verdict, moment(10.0 + 10 * number)) for number in range(len(states))] == states


@pytest.mark.parametrize("outcome", [TRUE, FALSE])
def test_an_instance_that_comes_back_in_time_is_not_gone(outcome: Outcome) -> None:
    series = in_state(CLEARING)
    series.looks_at(MISSING, *range(5, 60, 5))
    series.look(outcome, 60)
    assert series.look(MISSING, 65).is_active


def test_an_instance_that_comes_back_without_a_change_is_not_gone_either() -> None:
    series = Series(rule(duration=30.0, within=600.0))
    series.look(TRUE, 0)
    series.look(FALSE, 5)
    series.looks_at(MISSING, *range(10, 60, 10))
    series.look(FALSE, 60)
    assert series.alert.missing is None
    assert series.looks_at(MISSING, 70, 80) == [PENDING] * 2


def test_an_instance_that_comes_back_and_fires_is_not_gone() -> None:
    series = Series(rule(duration=20.0))
    series.looks_at(TRUE, 0, 10)
    series.looks_at(MISSING, 20, 30, 40, 50, 60)
    assert series.look(TRUE, 65) is FIRING
    assert series.looks_at(MISSING, 70, 80) == [FIRING] * 2


@pytest.mark.parametrize("keeps_gone", [False, True])
@pytest.mark.parametrize(("start", "outcome", "end"), [(PENDING, TRUE, FIRING), (CLEARING, FALSE, RESOLVED)])
def test_a_sample_that_lacks_an_instance_ends_what_the_one_before_said_of_it(
    start: State, outcome: Outcome, end: State, keeps_gone: bool
) -> None:
    series = in_state(start)
    series.rule = replace(series.rule, keeps_gone=keeps_gone)
    series.take(Verdict(outcome, 5.0, 180.0), moment(10))
    assert series.looks_at(MISSING, 15, 20) == [start] * 2
    assert series.look(ELAPSED, 60) is start
    assert series.looks_at(outcome, 60, 70, 80, 90, 100) == [start] * 5
    assert series.look(ELAPSED, 105) is end, "15 seconds before it was away, 45 since"


def test_time_without_samples_is_not_missing_time() -> None:
    series = Series(AT_ONCE)
    series.look(TRUE, 0)
    series.look(MISSING, 10)
    assert series.look(MISSING, 1000) is FIRING, "990 seconds without samples are covered for 15"


def test_a_rule_that_keeps_what_is_gone_does_not_end_for_it() -> None:
    series = Series(rule(keeps_gone=True))
    series.look(TRUE, 0)
    assert series.looks_at(MISSING, *range(10, 200, 10)) == [FIRING] * 19


# Reminders and escalations --------------------------------------------------------------------------------------------


def test_reminders_come_at_spans_that_grow_and_each_has_a_name_of_its_own() -> None:
    series = Series(rule(repeat=(60.0, 300.0)))
    series.look(TRUE, 0)
    dues = []
    for _ in range(3):
        due = deadline(series.rule, series.alert, moment(0))
        assert due is not None
        dues.append(due)
        series.look(ELAPSED, due)
    assert dues == pytest.approx([60, 360, 660])
    assert series.names == ["firing", "repeated-1", "repeated-2", "repeated-3"]
    assert {told.reason for told in series.told[1:]} == {Reason.STILL}


def test_reminders_that_nobody_was_there_for_are_told_once() -> None:
    series = Series(rule(repeat=(60.0,)))
    series.look(TRUE, 0)
    series.look(ELAPSED, 250)
    assert series.names == ["firing", "repeated-4"]
    assert deadline(series.rule, series.alert, moment(250)) == pytest.approx(300), "the times stay as they were"


def test_samples_do_not_move_a_reminder() -> None:
    series = Series(rule(repeat=(60.0,)))
    series.looks_at(TRUE, *range(0, 59, 3))
    assert deadline(series.rule, series.alert, moment(57)) == pytest.approx(60)


def test_an_alert_that_is_clearing_is_reminded_of_and_one_that_resolved_is_not() -> None:
    series = Series(rule(clear_duration=30.0, repeat=(15.0,)))
    series.look(TRUE, 0)
    series.looks_at(FALSE, 5, 10)
    series.look(ELAPSED, 15)
    assert series.names == ["firing", "repeated-1"]
    series.looks_at(FALSE, 20, 30)
    series.look(ELAPSED, 35)
    assert series.names == ["firing", "repeated-1", "resolved"]
    assert deadline(series.rule, series.alert, moment(35)) is None


def test_escalations_come_once_each_at_their_time_since_it_fired() -> None:
    escalate = tuple(Escalation(after=after, actions=(Notify(channel="boss"),)) for after in (60.0, 600.0))
    series = Series(rule(escalate=escalate))
    series.look(TRUE, 0)
    series.look(ELAPSED, 60)
    assert deadline(series.rule, series.alert, moment(60)) == pytest.approx(600)
    series.look(ELAPSED, 700)
    series.look(ELAPSED, 5000)
    assert deadline(series.rule, series.alert, moment(5000)) is None
    assert [(told.name, told.escalation, told.reason) for told in series.told[1:]] == [
        ("escalated-1", 0, Reason.UNHEARD),
        ("escalated-2", 1, Reason.UNHEARD),
    ]


def test_an_alert_for_want_of_data_is_reminded_of_and_escalates() -> None:
    escalate = (Escalation(after=90.0, actions=(Notify(channel="boss"),)),)
    series = Series(quiet(Quiet.ALERT, repeat=(60.0,), escalate=escalate))
    series.look(QUIET, 0)
    series.look(ELAPSED, 60)
    series.look(ELAPSED, 90)
    assert series.names == ["firing", "repeated-1", "escalated-1"]


# Schedules ------------------------------------------------------------------------------------------------------------

NIGHT = OFFSET - OFFSET % 86400 - OFFSET
"""The last midnight (UTC) before 0 of this process's clock."""
HOUR = 3600.0
BY_DAY = Schedule(hours=((8 * HOUR, 18 * HOUR),))


def at(hour: float) -> float:
    return NIGHT + hour * HOUR


def test_nothing_starts_outside_the_schedule() -> None:
    series = Series(rule(schedule=BY_DAY))
    assert series.look(TRUE, at(7)) is INACTIVE
    assert series.look(TRUE, at(8)) is FIRING
    assert series.told[0].at == OFFSET + at(8)


def test_what_is_pending_is_dropped_when_the_schedule_ends() -> None:
    series = Series(rule(duration=60.0, schedule=BY_DAY))
    start = at(18) - 30
    assert series.looks_at(TRUE, start, start + 10, start + 20) == [PENDING] * 3
    assert series.look(TRUE, start + 30) is INACTIVE
    assert series.told == []


def test_a_duration_that_ends_outside_the_schedule_fires_nothing() -> None:
    series = Series(rule(duration=10.0, schedule=BY_DAY))
    series.look(TRUE, at(18) - 5)
    assert series.look(ELAPSED, at(18) + 5) is INACTIVE


def test_what_fires_goes_on_to_its_end_and_its_reminders_are_silent() -> None:
    series = Series(rule(schedule=BY_DAY, repeat=(HOUR,)))
    series.look(TRUE, at(16.5))
    for hour in range(9):
        series.look(ELAPSED, at(17.5 + hour))
        assert series.look(TRUE, at(17.5 + hour)) is FIRING
    assert series.names == ["firing", "repeated-1"]
    series.look(ELAPSED, at(24 + 8.5))
    assert series.names[2:] == ["repeated-16"], "they were counted all the while"
    assert series.look(FALSE, at(24 + 20)) is RESOLVED


def test_a_higher_step_does_not_start_outside_the_schedule() -> None:
    series = Series(replace(LADDER, schedule=BY_DAY))
    series.marks(at(17.9), TRUE, FALSE)
    for mono in (0, 10, 20, 30):
        series.marks(at(18) + mono, TRUE, TRUE)
    assert (series.alert.state, series.alert.severity, series.names) == (FIRING, WARNING, ["firing"])


def test_want_of_data_outside_the_schedule_fires_nothing() -> None:
    series = Series(quiet(Quiet.ALERT, schedule=BY_DAY))
    assert series.look(QUIET, at(3)) is INACTIVE
    assert series.look(QUIET, at(8)) is FIRING
