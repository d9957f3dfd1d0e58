"""The table of transitions, and held time under every kind of gap and jump."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkalert.lifecycle import (
    GONE_AFTER,
    TRANSITIONS,
    advance,
    close,
    deadline,
    inactive,
    needs_write,
    resume,
    step,
)
from zkalert.model import (
    Alert,
    Comparator,
    Effect,
    Hold,
    Metric,
    Moment,
    Outcome,
    Phase,
    Reason,
    Rule,
    State,
    Verdict,
)

RULE = Rule(
    name="memory-high",
    metric=Metric("memory_usage", "percent"),
    comparator=Comparator.GT,
    threshold=90,
    duration=60,
    digest="d1",
)
COVER = 15.0
OFFSET = 1_700_000_000.0


def moment(mono: float, jump: float = 0.0) -> Moment:
    return Moment(OFFSET + mono + jump, mono)


def says(outcome: Outcome, value: float | None = 95.0) -> Verdict:
    return Verdict(outcome, value, COVER)


class Series:
    """One series walked through looks; keeps what was told."""

    def __init__(self, rule: Rule = RULE) -> None:
        self.rule = rule
        self.alert = inactive(rule, "web1", None)
        self.told: list[Effect] = []
        self.looks = 0

    def look(self, outcome: Outcome, mono: float, value: float | None = 95.0, jump: float = 0.0) -> State:
        self.looks += 1
        self.alert, effects = step(
            self.rule, self.alert, says(outcome, value), moment(mono, jump), f"{self.looks:016x}"
        )
        self.told += effects
        return self.alert.state

    @property
    def phases(self) -> list[Phase]:
        return [effect.phase for effect in self.told]


def in_state(state: State) -> Alert:
    series = Series()
    if state is State.INACTIVE:
        return series.alert
    series.look(Outcome.TRUE, 0)
    if state is State.PENDING:
        return series.alert
    fired = replace(series.alert, state=State.FIRING, fired_at=OFFSET)
    return fired if state is State.FIRING else replace(fired, state=State.RESOLVED)


EXPECTED = {
    (State.INACTIVE, Outcome.TRUE): (State.PENDING, []),
    (State.INACTIVE, Outcome.FALSE): (State.INACTIVE, []),
    (State.INACTIVE, Outcome.ELAPSED): (State.INACTIVE, []),
    (State.INACTIVE, Outcome.MISSING): (State.INACTIVE, []),
    (State.PENDING, Outcome.TRUE): (State.PENDING, []),
    (State.PENDING, Outcome.FALSE): (State.INACTIVE, []),
    (State.PENDING, Outcome.ELAPSED): (State.PENDING, []),
    (State.PENDING, Outcome.MISSING): (State.PENDING, []),
    (State.FIRING, Outcome.TRUE): (State.FIRING, []),
    (State.FIRING, Outcome.FALSE): (State.RESOLVED, [Phase.RESOLVED]),
    (State.FIRING, Outcome.ELAPSED): (State.FIRING, []),
    (State.FIRING, Outcome.MISSING): (State.FIRING, []),
    (State.RESOLVED, Outcome.TRUE): (State.RESOLVED, []),
    (State.RESOLVED, Outcome.FALSE): (State.RESOLVED, []),
    (State.RESOLVED, Outcome.ELAPSED): (State.RESOLVED, []),
    (State.RESOLVED, Outcome.MISSING): (State.RESOLVED, []),
}


@pytest.mark.parametrize(("state", "outcome"), [(state, outcome) for state in State for outcome in Outcome])
def test_every_pair_of_state_and_outcome_does_what_the_table_says(state: State, outcome: Outcome) -> None:
    alert = in_state(state)
    after, effects = step(RULE, alert, says(outcome), moment(5), "f" * 16)
    assert (after.state, [effect.phase for effect in effects]) == EXPECTED[state, outcome]
    if (state, outcome) not in TRANSITIONS:
        assert after is alert, "a step without a change gives back the same object"


def test_an_alert_fires_once_it_held_for_its_duration() -> None:
    series = Series()
    states = [series.look(Outcome.TRUE, mono) for mono in range(0, 70, 10)]
    assert states == [State.PENDING] * 6 + [State.FIRING]
    (told,) = series.told
    assert (told.phase, told.reason, told.alert.since, told.at) == (Phase.FIRING, Reason.HELD, OFFSET, OFFSET + 60)


def test_a_duration_of_zero_fires_at_once() -> None:
    series = Series(replace(RULE, duration=0))
    assert series.look(Outcome.TRUE, 0) is State.FIRING
    assert series.told[0].reason is Reason.CROSSED


def test_one_false_sample_starts_the_duration_anew() -> None:
    series = Series()
    for mono in range(0, 60, 10):
        series.look(Outcome.TRUE, mono)
    assert series.look(Outcome.FALSE, 59) is State.INACTIVE
    series.look(Outcome.TRUE, 60)
    assert series.look(Outcome.TRUE, 70) is State.PENDING
    assert series.told == []


def test_resolved_carries_the_value_that_cleared_it_and_the_peak() -> None:
    series = Series(replace(RULE, duration=0))
    for value in (95, 99, 92):
        series.look(Outcome.TRUE, value, value=value)
    series.look(Outcome.FALSE, 100, value=50)
    told = series.told[-1]
    assert (told.phase, told.reason, told.alert.value, told.alert.peak) == (Phase.RESOLVED, Reason.CLEARED, 50, 99)
    assert told.alert.episode == series.told[0].alert.episode


def test_the_peak_of_a_rule_that_looks_downwards_is_the_lowest_value() -> None:
    series = Series(replace(RULE, duration=0, comparator=Comparator.LT))
    for mono, value in enumerate((10, 2, 7)):
        series.look(Outcome.TRUE, mono, value=value)
    assert series.alert.peak == 2


def test_a_second_episode_has_another_id() -> None:
    series = Series(replace(RULE, duration=0))
    series.look(Outcome.TRUE, 0)
    series.look(Outcome.FALSE, 5)
    series.alert = inactive(series.rule, "web1", None)
    series.look(Outcome.TRUE, 10)
    assert series.told[0].id != series.told[2].id


# Timers ---------------------------------------------------------------------------------------------------------------


def test_the_timer_ends_a_duration_between_two_samples() -> None:
    series = Series(replace(RULE, duration=7))
    series.look(Outcome.TRUE, 0)
    assert deadline(series.rule, series.alert) == 7
    assert series.look(Outcome.ELAPSED, 6.9) is State.PENDING
    assert series.look(Outcome.ELAPSED, 7) is State.FIRING
    assert series.told[0].at == OFFSET + 7


def test_the_timer_of_an_earlier_sample_changes_nothing() -> None:
    series = Series()
    series.look(Outcome.TRUE, 0)
    series.look(Outcome.TRUE, 10)
    before = series.alert
    series.look(Outcome.ELAPSED, 15)
    assert series.alert is before


def test_the_timer_fires_only_inside_the_cover_of_a_sample() -> None:
    series = Series()
    series.look(Outcome.TRUE, 0)
    assert deadline(series.rule, series.alert) == COVER, "there the sample stops speaking"
    assert series.look(Outcome.ELAPSED, COVER) is State.PENDING
    assert deadline(series.rule, series.alert) is None, "within a gap there is nothing to wait for"
    assert series.alert.hold is not None
    assert (series.alert.hold.held, series.alert.hold.gaps) == (COVER, 1)
    assert series.look(Outcome.ELAPSED, 1000) is State.PENDING


# Gaps and jumps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_timer", [True, False], ids=["the timer saw the gap begin", "no timer ran"])
def test_a_gap_adds_what_was_covered_and_resets_nothing(has_timer: bool) -> None:
    series = Series()
    series.look(Outcome.TRUE, 0)
    if has_timer:
        series.look(Outcome.ELAPSED, COVER)
    series.look(Outcome.TRUE, 500)
    hold = series.alert.hold
    assert hold is not None
    assert (hold.held, hold.gaps) == (COVER, 1)
    states = [series.look(Outcome.TRUE, mono) for mono in (510, 520, 530, 540, 545)]
    assert states == [State.PENDING] * 4 + [State.FIRING]


def test_a_jump_ahead_of_the_ensembles_clock_fires_nothing_early() -> None:
    series = Series()
    series.look(Outcome.TRUE, 0)
    for mono in (10, 20, 30, 40, 50):
        assert series.look(Outcome.TRUE, mono, jump=3600) is State.PENDING
    assert series.look(Outcome.TRUE, 60, jump=3600) is State.FIRING


def test_a_jump_back_of_the_ensembles_clock_delays_and_resolves_nothing() -> None:
    series = Series()
    states = [series.look(Outcome.TRUE, 0)]
    states += [series.look(Outcome.TRUE, mono, jump=-3600) for mono in (10, 20, 30, 40, 50, 60)]
    assert states == [State.PENDING] * 6 + [State.FIRING]
    assert series.look(Outcome.TRUE, 70, jump=-7200) is State.FIRING


@given(
    st.lists(st.tuples(st.floats(0.1, 40), st.sampled_from([0.0, 0.0, 0.0, 3600.0, -3600.0])), min_size=1, max_size=40)
)
def test_held_time_is_never_more_than_what_passed_under_cover(looks: list[tuple[float, float]]) -> None:
    mono, jump = 0.0, 0.0
    hold = Hold(0.0, OFFSET, 0.0, COVER)
    covered = 0.0
    for pause, shift in looks:
        mono, jump = mono + pause, jump + shift
        covered += min(pause, COVER)
        hold = advance(hold, moment(mono, jump), COVER)
    assert hold.held <= covered + 1e-3
    if not any(shift for _, shift in looks):
        assert hold.held == pytest.approx(covered, abs=1e-3)


# Instances that go ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "told"), [(State.PENDING, State.INACTIVE, []), (State.FIRING, State.RESOLVED, [Reason.GONE])]
)
def test_an_instance_is_gone_after_a_minute_of_good_samples_without_it(
    start: State, end: State, told: list[Reason]
) -> None:
    series = Series()
    series.alert = in_state(start)
    states = [series.look(Outcome.MISSING, mono) for mono in range(10, 10 + int(GONE_AFTER) + 10, 10)]
    assert states == [start] * 6 + [end]
    assert [effect.reason for effect in series.told] == told


def test_an_instance_that_comes_back_in_time_is_not_gone() -> None:
    series = Series(replace(RULE, duration=0))
    series.look(Outcome.TRUE, 0)
    for mono in range(5, 60, 5):
        series.look(Outcome.MISSING, mono)
    series.look(Outcome.TRUE, 60)
    assert series.look(Outcome.MISSING, 65) is State.FIRING


def test_quiet_is_not_missing_time() -> None:
    series = Series(replace(RULE, duration=0))
    series.look(Outcome.TRUE, 0)
    series.look(Outcome.MISSING, 10)
    assert series.look(Outcome.MISSING, 1000) is State.FIRING, "990 seconds without samples are covered for 15"


# Rules that change ----------------------------------------------------------------------------------------------------


def test_another_wording_keeps_an_alert_firing_silently() -> None:
    series = Series(replace(RULE, duration=0))
    series.look(Outcome.TRUE, 0)
    series.rule = replace(series.rule, threshold=80, digest="d2")
    assert series.look(Outcome.TRUE, 5) is State.FIRING
    assert (series.alert.digest, series.alert.threshold, len(series.told)) == ("d2", 80, 1)


def test_another_condition_that_is_false_resolves_with_its_own_reason() -> None:
    series = Series(replace(RULE, duration=0))
    series.look(Outcome.TRUE, 0)
    series.rule = replace(series.rule, threshold=99, digest="d2")
    series.look(Outcome.FALSE, 5)
    assert series.told[-1].reason is Reason.RULE_CHANGED


def test_a_pending_alert_of_another_condition_starts_anew() -> None:
    series = Series()
    for mono in range(0, 60, 10):
        series.look(Outcome.TRUE, mono)
    series.rule = replace(RULE, threshold=80, digest="d2")
    assert series.look(Outcome.TRUE, 60) is State.PENDING
    assert series.alert.since == OFFSET + 60


@pytest.mark.parametrize(
    ("reason", "phase"),
    [
        (Reason.RULE_REMOVED, Phase.CLOSED),
        (Reason.RULE_CHANGED, Phase.RESOLVED),
        (Reason.HOST_REMOVED, Phase.RESOLVED),
    ],
)
def test_an_alert_that_no_sample_will_speak_of_is_closed_and_who_was_told_is_told(reason: Reason, phase: Phase) -> None:
    rule = replace(RULE, labels={"team": "core"}, summary="memory")
    closed, effects = close(rule, in_state(State.FIRING), OFFSET + 9, reason)
    assert closed.state is State.RESOLVED
    assert [(effect.phase, effect.reason, effect.labels, effect.summary) for effect in effects] == [
        (phase, reason, {"team": "core"}, "memory")
    ]
    assert close(rule, in_state(State.PENDING), OFFSET + 9, reason) == (inactive(rule, "web1", None), ())


# Restarts -------------------------------------------------------------------------------------------------------------


def restarted(alert: Alert, *, seen: float, now: float) -> Alert:
    """What a new process makes of the record: the old process's clock means nothing to it."""
    hold = alert.hold
    stored = replace(alert, hold=None if hold is None else hold._replace(mono=float("-inf")))
    return resume(stored, OFFSET + seen, Moment(OFFSET + now, now - 1000))


def test_a_pending_alert_goes_on_from_what_it_had_held() -> None:
    series = Series()
    series.look(Outcome.TRUE, 0)
    alert = restarted(series.alert, seen=40, now=48)
    assert alert.hold is not None
    assert alert.hold.held == 40
    assert alert.hold.mono == pytest.approx(-960)
    after, _ = step(RULE, alert, says(Outcome.TRUE), Moment(OFFSET + 50, -950), "0" * 16)
    assert after.hold is not None
    assert after.hold.held == pytest.approx(50)


def test_a_long_absence_counts_for_no_more_than_a_sample_speaks() -> None:
    series = Series()
    series.look(Outcome.TRUE, 0)
    alert = restarted(series.alert, seen=20, now=500)
    after, _ = step(RULE, alert, says(Outcome.TRUE), Moment(OFFSET + 505, -495), "0" * 16)
    assert after.hold is not None
    assert after.hold.held == pytest.approx(20 + COVER)
    assert after.hold.gaps == 1


def test_time_in_a_gap_is_not_held_for_whoever_takes_over() -> None:
    series = Series()
    series.look(Outcome.TRUE, 0)
    series.look(Outcome.ELAPSED, COVER)
    alert = restarted(series.alert, seen=300, now=302)
    assert alert.hold is not None
    assert alert.hold.held == COVER


def test_a_firing_alert_comes_back_as_it_was() -> None:
    alert = in_state(State.FIRING)
    assert resume(alert, OFFSET + 99, moment(5)) is alert


# Writing --------------------------------------------------------------------------------------------------------------


def test_only_transitions_gaps_and_conditions_are_written() -> None:
    series = Series()
    before = series.alert
    series.look(Outcome.TRUE, 0)
    assert needs_write(before, series.alert)
    pending = series.alert
    series.look(Outcome.TRUE, 10)
    assert not needs_write(pending, series.alert)
    steady = series.alert
    series.look(Outcome.ELAPSED, 10 + COVER)
    assert needs_write(steady, series.alert), "a gap begins"
    gap = series.alert
    series.look(Outcome.TRUE, 100)
    assert needs_write(gap, series.alert), "a gap ends"


def test_the_id_of_an_effect_names_its_episode_and_phase() -> None:
    series: Any = Series(replace(RULE, duration=0))
    series.look(Outcome.TRUE, 0)
    told = series.told[0]
    assert told.id == f"{told.alert.episode}.firing"
    assert told.key == f"memory-high/web1/{told.alert.episode}/firing"
