"""What is left of an alert when its rule is edited, or another process takes over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.rulekit import COVER, LADDER, OFFSET, Series, condition, in_state, moment, rule
from zkalert.lifecycle import (
    blind,
    close,
    deadline,
    inactive,
    needs_write,
    resume,
)
from zkalert.model import (
    Alert,
    Escalation,
    Moment,
    Notify,
    Outcome,
    Phase,
    Reason,
    Rule,
    Severity,
    State,
    Verdict,
)

INACTIVE, PENDING, FIRING, CLEARING, RESOLVED = State
TRUE, BETWEEN, FALSE, ELAPSED, MISSING, QUIET = Outcome
INFO, WARNING, CRITICAL = Severity
RULE = rule(name="memory-high", duration=60.0)
AT_ONCE = rule(name="memory-high")
SLOW_TO_CLEAR = rule(name="memory-high", clear_duration=30.0)


# Rules that change ----------------------------------------------------------------------------------------------------


def test_another_wording_keeps_an_alert_firing_silently() -> None:
    series = Series(AT_ONCE)
    series.look(TRUE, 0)
    series.rule = rule(condition(threshold=80.0), digest="d2")
    assert series.look(TRUE, 5) is FIRING
    assert (series.alert.digest, series.alert.threshold, len(series.told)) == ("d2", 80, 1)


def test_another_condition_that_is_false_resolves_with_its_own_reason() -> None:
    series = Series(AT_ONCE)
    series.look(TRUE, 0)
    series.rule = rule(condition(threshold=99.0), digest="d2")
    series.look(FALSE, 5)
    assert series.told[-1].reason is Reason.RULE_CHANGED


def test_a_pending_alert_of_another_condition_starts_anew() -> None:
    series = Series(RULE)
    series.looks_at(TRUE, *range(0, 60, 10))
    series.rule = rule(condition(threshold=80.0), duration=60.0, digest="d2")
    assert series.look(TRUE, 60) is PENDING
    assert series.alert.since == OFFSET + 60


def test_a_pending_alert_of_another_condition_waits_for_a_sample() -> None:
    series = Series(RULE)
    series.looks_at(TRUE, *range(0, 60, 10))
    series.rule = rule(condition(threshold=80.0), duration=60.0, digest="d2")
    before = series.alert
    assert deadline(series.rule, before, moment(50)) is None
    series.look(ELAPSED, 60)
    assert series.alert is before


def test_another_duration_goes_on_from_what_was_held() -> None:
    series = Series(RULE)
    series.looks_at(TRUE, 0, 10, 20)
    series.rule = rule(name="memory-high", duration=25.0)
    assert deadline(series.rule, series.alert, moment(20)) == 25
    assert series.look(TRUE, 30) is FIRING


def test_another_severity_is_taken_over_silently() -> None:
    series = Series(AT_ONCE)
    series.look(TRUE, 0)
    before = series.alert
    series.rule = rule(name="memory-high", severity=CRITICAL)
    series.look(TRUE, 5)
    assert (series.alert.severity, series.alert.told, len(series.told)) == (CRITICAL, (WARNING, CRITICAL), 1)
    assert needs_write(before, series.alert)


@pytest.mark.parametrize(
    ("before", "after", "severity"),
    [(AT_ONCE, LADDER, WARNING), (LADDER, AT_ONCE, WARNING)],
    ids=["to one", "from one"],
)
def test_an_alert_goes_on_firing_when_its_rule_becomes_a_ladder_or_is_none_any_more(
    before: Rule, after: Rule, severity: Severity
) -> None:
    series = Series(before)
    series.marks(0, *[TRUE] * len(before.steps))
    series.rule = replace(after, digest="d2")
    assert series.marks(5, TRUE, *[FALSE] * (len(after.steps) - 1)) is FIRING
    assert (series.alert.severity, series.names) == (severity, ["firing"])
    assert len(series.alert.clocks) == len(after.steps)


def test_a_step_that_was_told_before_its_rule_was_another_keeps_its_names_apart() -> None:
    series = Series(LADDER)
    for mono in (0, 10, 20):
        series.marks(mono, TRUE, TRUE)
    series.rule = replace(AT_ONCE, digest="d2")
    series.marks(30, TRUE)
    series.rule = LADDER
    for mono in (40, 50, 60):
        series.marks(mono, TRUE, TRUE)
    assert series.names == ["firing", "escalated-critical", "escalated-critical-2"]


@pytest.mark.parametrize("what", ["repeat", "escalate"])
def test_reminders_that_a_rule_is_given_while_it_fires_come(what: str) -> None:
    escalate = (Escalation(after=60.0, actions=(Notify(channel="boss"),)),)
    series = Series(AT_ONCE)
    series.look(TRUE, 0)
    before = series.alert
    series.rule = replace(AT_ONCE, repeat=(60.0,)) if what == "repeat" else replace(AT_ONCE, escalate=escalate)
    series.look(TRUE, 0)
    assert needs_write(before, series.alert)
    assert deadline(series.rule, series.alert, moment(0)) == pytest.approx(60)
    series.look(ELAPSED, 60)
    assert len(series.told) == 2


def test_reminders_that_a_rule_has_no_more_are_not_waited_for() -> None:
    escalate = (Escalation(after=60.0, actions=(Notify(channel="boss"),)),)
    series = Series(rule(repeat=(60.0,), escalate=escalate))
    series.look(TRUE, 0)
    assert deadline(AT_ONCE, series.alert, moment(0)) is None


def test_reminders_go_on_while_the_new_condition_was_not_judged_yet() -> None:
    series = Series(rule(repeat=(60.0,)))
    series.look(TRUE, 0)
    series.rule = replace(series.rule, digest="d2")
    assert deadline(series.rule, series.alert, moment(0)) == pytest.approx(60)
    series.look(ELAPSED, 60)
    assert series.names == ["firing", "repeated-1"]


@pytest.mark.parametrize(
    ("reason", "phase"),
    [
        (Reason.RULE_REMOVED, Phase.CLOSED),
        (Reason.RULE_CHANGED, Phase.RESOLVED),
        (Reason.HOST_REMOVED, Phase.RESOLVED),
    ],
)
def test_an_alert_that_no_sample_will_speak_of_is_closed_and_who_was_told_is_told(reason: Reason, phase: Phase) -> None:
    worded = replace(RULE, labels={"team": "core"}, summary="memory")
    closed, effects = close(worded, in_state(FIRING).alert, OFFSET + 9, reason)
    assert (closed.state, closed.resolved_at) == (RESOLVED, OFFSET + 9)
    assert [(effect.phase, effect.reason, effect.labels, effect.summary) for effect in effects] == [
        (phase, reason, {"team": "core"}, "memory")
    ]
    assert close(worded, in_state(PENDING).alert, OFFSET + 9, reason) == (inactive(worded, "web1", None), ())


# Restarts -------------------------------------------------------------------------------------------------------------


def restarted(alert: Alert, *, seen: float, now: float) -> Alert:
    """What a new process makes of the record: the old process's clock means nothing to it."""
    stored = tuple(
        clock._replace(
            hold=clock.hold and clock.hold._replace(mono=float("-inf")),
            clearing=clock.clearing and clock.clearing._replace(mono=float("-inf")),
        )
        for clock in alert.clocks
    )
    return resume(replace(alert, clocks=stored, missing=None), OFFSET + seen, Moment(OFFSET + now, now - 1000))


def test_a_pending_alert_goes_on_from_what_it_had_held() -> None:
    series = Series(RULE)
    series.look(TRUE, 0)
    series.alert = restarted(series.alert, seen=40, now=48)
    assert series.alert.hold is not None
    assert series.alert.hold.held == 40
    assert series.take(Verdict(TRUE, 95.0, COVER), Moment(OFFSET + 50, -950)) is PENDING
    assert series.alert.hold.held == pytest.approx(50)
    assert series.take(Verdict(TRUE, 95.0, COVER), Moment(OFFSET + 60, -940)) is FIRING


def test_an_alert_that_was_clearing_goes_on_from_what_it_had_cleared() -> None:
    series = Series(SLOW_TO_CLEAR)
    series.look(TRUE, 0)
    series.look(FALSE, 10)
    series.alert = restarted(series.alert, seen=30, now=32)
    assert series.take(Verdict(FALSE, 5.0, COVER), Moment(OFFSET + 39, -961)) is CLEARING
    assert series.take(Verdict(FALSE, 5.0, COVER), Moment(OFFSET + 40, -960)) is RESOLVED


def test_a_higher_step_that_was_pending_goes_on_too() -> None:
    series = Series(LADDER)
    series.marks(0, TRUE, TRUE)
    series.alert = restarted(series.alert, seen=15, now=16)
    verdict = Verdict(TRUE, 99.0, COVER, (TRUE, TRUE))
    series.take(verdict, Moment(OFFSET + 20, -980))
    assert series.names == ["firing", "escalated-critical"]


def test_a_firing_alert_comes_back_as_it_was() -> None:
    alert = in_state(FIRING).alert
    assert resume(alert, OFFSET + 99, moment(5)) is alert


def test_standing_still_is_a_gap_for_what_is_pending_or_clearing() -> None:
    for state in (PENDING, CLEARING):
        series = in_state(state)
        before = series.alert
        series.alert = blind(series.rule, before, 4.0)
        assert needs_write(before, series.alert), "else whoever takes over would count the time"
        assert series.alert.state is state
        assert deadline(series.rule, series.alert, moment(4)) is None


def test_standing_still_is_a_gap_for_a_higher_step_of_an_alert_that_fires() -> None:
    series = Series(LADDER)
    series.marks(0, TRUE, TRUE)
    series.alert = blind(LADDER, series.alert, 4.0)
    series.marks(14, TRUE, TRUE)
    series.marks(24, TRUE, TRUE)
    assert series.alert.severity is WARNING, "14 seconds were seen"
    series.marks(30, TRUE, TRUE)
    assert series.alert.severity is CRITICAL


def test_standing_still_changes_nothing_for_an_alert_that_fires_or_whose_rule_changed() -> None:
    firing = in_state(FIRING)
    assert blind(firing.rule, firing.alert, 4.0) is firing.alert
    pending = in_state(PENDING)
    assert blind(replace(pending.rule, digest="d2"), pending.alert, 4.0) is pending.alert


# Writing --------------------------------------------------------------------------------------------------------------


def test_only_transitions_and_gaps_are_written_of_what_holds() -> None:
    series = Series(RULE)
    before = series.alert
    series.look(TRUE, 0)
    assert needs_write(before, series.alert)
    pending = series.alert
    series.look(TRUE, 10, value=99.0)
    assert not needs_write(pending, series.alert)
    steady = series.alert
    series.look(ELAPSED, 10 + COVER)
    assert needs_write(steady, series.alert), "a gap begins"
    gap = series.alert
    series.look(TRUE, 100)
    assert needs_write(gap, series.alert), "a gap ends"


def test_only_transitions_and_gaps_are_written_of_what_clears() -> None:
    series = in_state(FIRING)
    written = []
    for outcome, mono in ((TRUE, 5), (FALSE, 10), (FALSE, 20), (ELAPSED, 35), (FALSE, 100), (FALSE, 110), (TRUE, 115)):
        before = series.alert
        series.look(outcome, mono)
        written.append(needs_write(before, series.alert))
    assert written == [False, True, False, True, True, False, True]


def test_reminders_and_escalations_are_written() -> None:
    escalate = (Escalation(after=90.0, actions=(Notify(channel="boss"),)),)
    series = Series(rule(repeat=(60.0,), escalate=escalate))
    series.look(TRUE, 0)
    for mono in (60, 90):
        before = series.alert
        series.look(ELAPSED, mono)
        assert needs_write(before, series.alert)


def test_a_step_of_a_ladder_that_begins_to_hold_is_written() -> None:
    series = Series(LADDER)
    series.marks(0, TRUE, FALSE)
    before = series.alert
    series.marks(5, TRUE, TRUE)
    assert needs_write(before, series.alert)


def test_spans_of_a_sum_are_written() -> None:
    series = Series(rule(duration=30.0, within=60.0))
    series.look(TRUE, 0)
    written = []
    for outcome, mono in ((TRUE, 10), (FALSE, 15), (FALSE, 20), (TRUE, 25), (FALSE, 30), (FALSE, 76)):
        before = series.alert
        series.look(outcome, mono)
        written.append(needs_write(before, series.alert))
    assert written == [False, True, False, True, True, True]
