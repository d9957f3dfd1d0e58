"""One step of a ladder: its table of transitions, and held time under every kind of gap and jump."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rulekit import COVER, OFFSET, moment
from zkalert.lifecycle import TRANSITIONS, advance
from zkalert.lifecycle.clocks import (
    MOST_SPANS,
    OFF,
    ROUNDING,
    Limits,
    _needed,
    _total,
    blinded,
    due_at,
    look,
    ran_out_at,
    resumed,
)
from zkalert.model import Clock, Hold, Moment, Outcome, State

INACTIVE, PENDING, FIRING, CLEARING = State.INACTIVE, State.PENDING, State.FIRING, State.CLEARING
TRUE, BETWEEN, FALSE, ELAPSED = Outcome.TRUE, Outcome.BETWEEN, Outcome.FALSE, Outcome.ELAPSED
LIMITS = Limits(duration=60.0, clear_duration=30.0, within=None)


class Walker:
    """One clock walked through looks."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.clock = OFF

    def look(self, outcome: Outcome, mono: float, jump: float = 0.0, cover: float = COVER) -> State:
        self.clock = look(self.limits, self.clock, outcome, moment(mono, jump), 0.0 if outcome is ELAPSED else cover)
        return self.clock.state

    def looks(self, outcome: Outcome, *monos: float, jump: float = 0.0) -> list[State]:
        return [self.look(outcome, mono, jump) for mono in monos]

    @property
    def due(self) -> float | None:
        return due_at(self.limits, self.clock)


def in_state(state: State) -> Clock:
    """A clock that is in a state since 0."""
    walker = Walker(LIMITS._replace(duration=60.0 if state is PENDING else 0.0))
    if state is not INACTIVE:
        walker.look(TRUE, 0)
    if state is CLEARING:
        walker.look(FALSE, 0)
    assert walker.clock.state is state
    return walker.clock


EXPECTED = {
    (INACTIVE, TRUE): PENDING,
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
    before = in_state(state)
    after = look(LIMITS, before, outcome, moment(5), COVER)
    assert after.state is EXPECTED.get((state, outcome), state)
    if (state, outcome) not in TRANSITIONS:
        assert after is before, "what is not in the table changes nothing"


# Durations ------------------------------------------------------------------------------------------------------------


def test_a_condition_fires_once_it_held_for_its_duration() -> None:
    assert Walker().looks(TRUE, *range(0, 70, 10)) == [PENDING] * 6 + [FIRING]


def test_a_duration_of_zero_fires_at_once() -> None:
    assert Walker(LIMITS._replace(duration=0.0)).look(TRUE, 0) is FIRING


@pytest.mark.parametrize("outcome", [FALSE, BETWEEN])
def test_one_sample_that_is_not_true_starts_the_duration_anew(outcome: Outcome) -> None:
    walker = Walker()
    walker.looks(TRUE, *range(0, 60, 10))
    assert walker.look(outcome, 59) is INACTIVE
    assert walker.looks(TRUE, *range(60, 130, 10)) == [PENDING] * 6 + [FIRING]


def test_it_clears_once_it_was_over_for_its_clear_duration() -> None:
    walker = Walker()
    walker.clock = in_state(FIRING)
    assert walker.looks(FALSE, 10, 20, 30, 40) == [CLEARING] * 3 + [INACTIVE]


@pytest.mark.parametrize("outcome", [TRUE, BETWEEN])
def test_a_relapse_starts_the_clear_duration_anew(outcome: Outcome) -> None:
    walker = Walker()
    walker.clock = in_state(FIRING)
    assert walker.looks(FALSE, 10, 20, 30) == [CLEARING] * 3
    assert walker.look(outcome, 35) is FIRING
    assert walker.looks(FALSE, 40, 50, 60, 70) == [CLEARING] * 3 + [INACTIVE]


def test_how_long_it_had_held_is_known_while_it_fires_and_clears() -> None:
    walker = Walker()
    walker.looks(TRUE, *range(0, 70, 10))
    hold = walker.clock.hold
    assert hold is not None
    assert hold.held == 60
    for outcome, mono in ((TRUE, 70), (FALSE, 80), (FALSE, 90), (TRUE, 95)):
        walker.look(outcome, mono)
        assert walker.clock.hold == hold


def test_without_a_clear_duration_one_false_sample_ends_it() -> None:
    walker = Walker(LIMITS._replace(clear_duration=0.0))
    walker.clock = in_state(FIRING)
    assert walker.look(BETWEEN, 5) is FIRING
    assert walker.look(FALSE, 10) is INACTIVE


# Timers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "ended"), [pytest.param(PENDING, FIRING, id="duration"), pytest.param(CLEARING, INACTIVE, id="clear")]
)
def test_the_timer_ends_a_span_between_two_samples(state: State, ended: State) -> None:
    walker = Walker(Limits(duration=7.0, clear_duration=7.0, within=None))
    walker.clock = in_state(state)
    assert walker.due == 7
    assert walker.look(ELAPSED, 6.9) is state
    before = walker.clock
    assert walker.look(ELAPSED, 9) is ended
    assert ran_out_at(walker.limits, before) == OFFSET + 7, "however late the timer was"


@pytest.mark.parametrize("state", [PENDING, CLEARING])
def test_the_timer_of_an_earlier_sample_changes_nothing(state: State) -> None:
    walker = Walker()
    walker.clock = in_state(state)
    walker.look(TRUE if state is PENDING else FALSE, 10)
    before = walker.clock
    walker.look(ELAPSED, 15)
    assert walker.clock is before


@pytest.mark.parametrize("state", [PENDING, CLEARING])
def test_a_timer_ends_nothing_once_the_sample_has_stopped_speaking(state: State) -> None:
    walker = Walker()
    walker.clock = in_state(state)
    assert walker.due == COVER, "there the sample stops speaking"
    assert walker.look(ELAPSED, COVER) is state
    assert walker.due is None, "within a gap there is nothing to wait for"
    hold = walker.clock.hold if state is PENDING else walker.clock.clearing
    assert hold is not None
    assert (hold.held, hold.gaps) == (COVER, 1)
    assert walker.look(ELAPSED, 1000) is state


def test_a_clock_that_waits_for_nothing_was_due_at_no_time() -> None:
    with pytest.raises(ValueError, match="firing is not due"):
        ran_out_at(LIMITS, in_state(FIRING))


# Gaps and jumps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_timer", [True, False], ids=["the timer saw the gap begin", "no timer ran"])
@pytest.mark.parametrize(
    ("state", "more", "ended"),
    [
        pytest.param(PENDING, (510, 520, 530, 540, 545), FIRING, id="duration"),
        pytest.param(CLEARING, (510, 514, 515), INACTIVE, id="clear"),
    ],
)
def test_a_gap_adds_what_was_covered_and_resets_nothing(
    state: State, more: tuple[float, ...], ended: State, has_timer: bool
) -> None:
    walker = Walker()
    walker.clock = in_state(state)
    outcome = TRUE if state is PENDING else FALSE
    if has_timer:
        walker.look(ELAPSED, COVER)
    walker.look(outcome, 500)
    hold = walker.clock.hold if state is PENDING else walker.clock.clearing
    assert hold is not None
    assert (hold.held, hold.gaps) == (COVER, 1)
    assert walker.looks(outcome, *more) == [state] * (len(more) - 1) + [ended]


def test_a_jump_ahead_of_the_ensembles_clock_fires_nothing_early() -> None:
    walker = Walker()
    walker.look(TRUE, 0)
    assert walker.looks(TRUE, 10, 20, 30, 40, 50, jump=3600) == [PENDING] * 5
    assert walker.look(TRUE, 60, jump=3600) is FIRING


def test_a_jump_back_of_the_ensembles_clock_delays_and_resolves_nothing() -> None:
    walker = Walker()
    walker.look(TRUE, 0)
    assert walker.looks(TRUE, 10, 20, 30, 40, 50, 60, jump=-3600) == [PENDING] * 5 + [FIRING]
    assert walker.look(TRUE, 70, jump=-7200) is FIRING


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


# Others who watch -----------------------------------------------------------------------------------------------------


def test_whoever_takes_over_goes_on_from_what_was_watched() -> None:
    hold = resumed(Hold(5.0, OFFSET, float("-inf"), COVER), OFFSET + 40, Moment(OFFSET + 48, -952.0))
    assert (hold.held, hold.at, hold.gaps) == (45.0, OFFSET + 40, 0)
    assert hold.mono == pytest.approx(-960)
    after = advance(hold, Moment(OFFSET + 50, -950.0), COVER)
    assert after.held == pytest.approx(55)


def test_a_long_absence_counts_for_no_more_than_a_sample_speaks() -> None:
    hold = resumed(Hold(0.0, OFFSET, float("-inf"), COVER), OFFSET + 20, Moment(OFFSET + 500, 0.0))
    after = advance(hold, Moment(OFFSET + 505, 5.0), COVER)
    assert after.held == pytest.approx(20 + COVER)
    assert after.gaps == 1


def test_time_in_a_gap_is_not_held_for_whoever_takes_over() -> None:
    in_gap = Hold(COVER, OFFSET + COVER, float("-inf"), 0.0, 1)
    hold = resumed(in_gap, OFFSET + 300, Moment(OFFSET + 302, 0.0))
    assert advance(hold, Moment(OFFSET + 305, 3.0), COVER).held == COVER


def test_what_is_watched_and_not_sampled_held_no_longer_than_somebody_watched() -> None:
    hold = resumed(Hold(0.0, OFFSET, float("-inf"), 1e9), OFFSET + 2, Moment(OFFSET + 60, 0.0))
    after = advance(hold, Moment(OFFSET + 61, 1.0), 1e9)
    assert (after.held, after.gaps) == (2.0, 1)
    assert advance(after, Moment(OFFSET + 65, 5.0), 1e9).held == 6.0


@pytest.mark.parametrize("state", [PENDING, CLEARING])
def test_what_held_when_nobody_looked_is_a_gap(state: State) -> None:
    walker = Walker()
    walker.clock = in_state(state)
    walker.clock = blinded(LIMITS, walker.clock, 4.0)
    assert walker.due is None
    walker.look(TRUE if state is PENDING else FALSE, 10)
    hold = walker.clock.hold if state is PENDING else walker.clock.clearing
    assert hold is not None
    assert (hold.held, hold.gaps) == (4.0, 1)


@pytest.mark.parametrize("state", [INACTIVE, FIRING])
def test_standing_still_changes_nothing_that_no_clock_measures(state: State) -> None:
    clock = in_state(state)
    assert blinded(LIMITS, clock, 4.0) is clock


def test_a_gap_that_had_begun_before_is_counted_once() -> None:
    walker = Walker()
    walker.looks(TRUE, 0)
    walker.look(ELAPSED, COVER)
    before = walker.clock
    assert blinded(LIMITS, before, 20.0) is before


# A sum of spans -------------------------------------------------------------------------------------------------------

SUM = Limits(duration=60.0, clear_duration=0.0, within=300.0)


def test_true_spans_within_the_window_add_up() -> None:
    walker = Walker(SUM)
    assert walker.looks(TRUE, 0, 10, 20, 30) == [PENDING] * 4
    assert walker.look(FALSE, 40) is PENDING, "forty seconds are not forgotten"
    assert walker.due is None
    assert walker.looks(TRUE, 100, 110) == [PENDING] * 2
    assert walker.due == 120
    assert walker.look(ELAPSED, 120) is FIRING


def test_a_span_that_leaves_the_window_counts_no_more() -> None:
    walker = Walker(SUM)
    walker.looks(TRUE, 0, 10, 20, 30)
    walker.look(FALSE, 40)
    assert walker.looks(TRUE, *range(320, 370, 10)) == [PENDING] * 5, "of the first span only twenty seconds are left"
    assert walker.looks(TRUE, 370, 380) == [PENDING, FIRING]


def test_without_a_true_span_in_the_window_it_is_inactive() -> None:
    walker = Walker(SUM)
    walker.looks(TRUE, 0, 10)
    assert walker.looks(FALSE, 20, 100, 319) == [PENDING] * 3
    assert walker.look(FALSE, 320) is INACTIVE
    assert walker.clock is OFF


@pytest.mark.parametrize("has_timer", [True, False], ids=["the timer saw the gap begin", "no timer ran"])
def test_a_gap_parts_two_spans(has_timer: bool) -> None:
    walker = Walker(SUM)
    walker.looks(TRUE, 0, 10)
    if has_timer:
        walker.look(ELAPSED, 10 + COVER)
    walker.look(TRUE, 200)
    assert walker.clock.spans == ((OFFSET, OFFSET + 25),)
    assert walker.clock.hold is not None
    assert walker.clock.hold.held == 0


def test_the_spans_that_are_kept_are_bounded() -> None:
    walker = Walker(Limits(duration=1e6, clear_duration=0.0, within=1e7))
    for number in range(2 * MOST_SPANS):
        walker.looks(TRUE, 10.0 * number)
        walker.looks(FALSE, 10.0 * number + 5)
    assert len(walker.clock.spans) == MOST_SPANS


class Summed(NamedTuple):
    """A clock that is pending under `within`: spans that are over, and one that goes on."""

    limits: Limits
    clock: Clock
    hold: Hold


@st.composite
def summed(draw: st.DrawFn) -> Summed:
    """Whole seconds on the ensemble's clock, so that a model can count them."""
    lengths = draw(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 60)), max_size=8))
    held = draw(st.integers(0, 40))
    end, spans = OFFSET - held, []
    for length, pause in lengths:
        end -= pause
        spans.append((end - length, end))
        end -= length
    within = draw(st.integers(2, 200))
    duration = draw(st.integers(1, within - 1))
    hold = Hold(float(held), OFFSET, 0.0, COVER)
    limits = Limits(float(duration), 0.0, float(within))
    return Summed(limits, Clock(PENDING, hold, None, tuple(reversed(spans))), hold)


def slow_sum(one: Summed, later: int) -> int:
    """The true seconds in the window that ends `later` seconds after the hold's moment, counted one by one."""
    end = later
    start = end - int(one.limits.within or 0)
    trues = {second for begin, over in one.clock.spans for second in range(int(begin - OFFSET), int(over - OFFSET))}
    trues |= set(range(-int(one.hold.held), later))
    return len([second for second in trues if start <= second < end])


@settings(deadline=None, max_examples=300)
@given(summed(), st.integers(0, 60))
def test_the_sum_of_spans_is_that_of_its_seconds(one: Summed, later: int) -> None:
    assert _total(one.limits, one.clock, one.hold, float(later)) == pytest.approx(slow_sum(one, later), abs=1e-6)


@settings(deadline=None, max_examples=300)
@given(summed())
def test_the_moment_at_which_a_sum_is_reached_is_the_first_one(one: Summed) -> None:
    """In whole seconds the sum is a broken line whose ends are whole: the first second that has enough is exact."""
    needed = _needed(one.limits, one.clock, one.hold)
    slow = next(later for later in range(1000) if slow_sum(one, later) >= one.limits.duration)
    assert needed == pytest.approx(slow, abs=1e-5)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from([TRUE, FALSE]), st.floats(0.5, 40.0)), min_size=1, max_size=40),
    st.floats(1.0, 50.0),
    st.floats(1.0, 100.0),
)
def test_a_sum_fires_at_the_same_moment_with_timers_as_in_a_slow_model(
    samples: list[tuple[Outcome, float]], duration: float, slack: float
) -> None:
    """The model looks at all true spans so far, in steps of the samples, and never forgets one."""
    limits = Limits(duration, 0.0, duration + slack)
    walker = Walker(limits)
    spans: list[tuple[float, float]] = []
    mono = 0.0
    for outcome, pause in samples:
        walker.look(outcome, mono)
        end = mono + min(pause, COVER)
        if walker.clock.state is not FIRING and outcome is TRUE:
            spans.append((mono, end))
        while walker.due is not None and walker.due <= mono + pause and walker.clock.state is PENDING:
            walker.look(ELAPSED, walker.due)
        reached = first_reached(spans, limits, mono, end) if outcome is TRUE else None
        if reached is None:
            assert walker.clock.state is not FIRING
        else:
            assert walker.clock.state is FIRING
            assert walker.clock.hold is not None
            assert walker.clock.hold.mono == pytest.approx(reached, abs=1e-4)
            return
        mono += pause


def first_reached(spans: list[tuple[float, float]], limits: Limits, since: float, until: float) -> float | None:
    """When, from `since` to `until`, the sum over the window is enough, by halving each stretch between two edges."""
    within = limits.within or 0.0

    def total(at: float) -> float:
        return sum(max(0.0, min(end, at) - max(begin, at - within)) for begin, end in spans)

    edges = sorted({edge + within for span in spans for edge in span} | {since, until})
    edges = [edge for edge in edges if since <= edge <= until]
    if total(since) + ROUNDING >= limits.duration:
        return since
    stretch = next((two for two in pairwise(edges) if total(two[1]) + ROUNDING >= limits.duration), None)
    if stretch is None:
        return None
    low, high = stretch
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if total(middle) + ROUNDING >= limits.duration else (middle, high)
    return high
