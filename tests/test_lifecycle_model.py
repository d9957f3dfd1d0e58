"""The life of an alert against a plain model of it that goes from second to second, over random samples and restarts.

The model shares nothing with the code: it holds values against thresholds by itself, counts covered seconds one by
one, and never forgets. The code is restarted from its record, as it was last written, wherever hypothesis likes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.rulekit import LEGAL, OFFSET, condition, rule, seen
from zkalert.evaluate import look_of
from zkalert.lifecycle import deadline, inactive, needs_write, resume, step
from zkalert.model import (
    Alert,
    Effect,
    Moment,
    Outcome,
    Phase,
    Rule,
    Severity,
    State,
    Step,
    Verdict,
)
from zkalert.tree import decode_alert, encode_alert

COVER = 15


class Rung(NamedTuple):
    """One step of the ladder, in whole numbers."""

    severity: Severity
    threshold: int
    clear: int | None
    duration: int
    clear_duration: int


class Sampled(NamedTuple):
    """A sample, and the seconds until the next one; after `restart` of them (if any) the process is another."""

    value: int
    pause: int
    restart: int | None


class Told(NamedTuple):
    at: int
    phase: Phase
    severity: Severity


# The slow model -------------------------------------------------------------------------------------------------------


@dataclass
class SlowStep:
    rung: Rung
    is_equal: bool
    state: str = "off"
    counted: int = 0

    @property
    def fires(self) -> bool:
        return self.state in ("firing", "clearing")

    def sample(self, value: int) -> None:
        crosses = value == self.rung.threshold if self.is_equal else value > self.rung.threshold
        is_over = not crosses and (self.rung.clear is None or value <= self.rung.clear)
        if crosses and self.state == "off":
            self.state, self.counted = "pending", 0
        elif not crosses and self.state == "pending":
            self.state = "off"
        elif is_over and self.state == "firing":
            self.state, self.counted = "clearing", 0
        elif not is_over and self.state == "clearing":
            self.state = "firing"
        self.count(0)

    def count(self, seconds: int) -> None:
        self.counted += seconds
        if self.state == "pending" and self.counted >= self.rung.duration:
            self.state = "firing"
        elif self.state == "clearing" and self.counted >= self.rung.clear_duration:
            self.state = "off"


class SlowAlert:
    def __init__(self, rungs: list[Rung], *, is_equal: bool) -> None:
        self.steps = [SlowStep(rung, is_equal) for rung in rungs]
        self.told: list[Told] = []
        self.severity: Severity | None = None

    def run(self, samples: list[Sampled]) -> list[Told]:
        now = 0
        for sample in samples:
            before = [one.fires for one in self.steps]
            for one in self.steps:
                one.sample(sample.value)
            self.tell(now, before)
            covered_until = now + COVER
            for second in range(sample.pause):
                if second == sample.restart and now < covered_until:
                    covered_until = now + COVER  # whoever watched until then speaks for a sample
                before = [one.fires for one in self.steps]
                for one in self.steps:
                    one.count(1 if now < covered_until else 0)
                now += 1
                self.tell(now, before)
        return self.told

    def tell(self, now: int, before: list[bool]) -> None:
        firing = [index for index, one in enumerate(self.steps) if one.fires]
        severity = self.steps[firing[-1]].rung.severity if firing else None
        if severity is None and self.severity is not None:
            self.told.append(Told(now, Phase.RESOLVED, self.severity))
        elif severity is not None and self.severity is None:
            self.told.append(Told(now, Phase.FIRING, severity))
        elif severity and self.severity and severity.rank > self.severity.rank and not before[firing[-1]]:
            self.told.append(Told(now, Phase.ESCALATED, severity))
        self.severity = severity


# The code -------------------------------------------------------------------------------------------------------------


class Engine:
    """What an engine does with one series: judge, step, fire timers, write what has to be written, die."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.look = look_of(rule, lambda _: rule)
        self.alert = inactive(rule, "web1", None)
        self.record: bytes | None = None
        self.shift = 0.0
        self.told: list[Effect] = []
        self.walk: list[tuple[State, State]] = []
        self.episodes = (f"{number:016x}" for number in itertools.count())

    def moment(self, at: float) -> Moment:
        return Moment(OFFSET + at, at + self.shift)

    def take(self, verdict: Verdict, at: float) -> None:
        before = self.alert
        after, effects = step(self.rule, before, verdict, self.moment(at), next(self.episodes))
        self.told += effects
        if after.state is not before.state:
            self.walk.append((before.state, after.state))
        if after.state in (State.RESOLVED, State.INACTIVE):
            assert after is before or needs_write(before, after)
            self.alert, self.record = inactive(self.rule, "web1", None), None
            return
        self.alert = after
        if effects or needs_write(before, after):
            self.record = encode_alert(after)

    def fire_timers(self, until: float) -> None:
        for _ in range(100):
            due = deadline(self.rule, self.alert, self.moment(until))
            if due is None or due > until + self.shift:
                return
            self.take(Verdict(Outcome.ELAPSED), due - self.shift)
        raise AssertionError("the timers never come to an end")

    def restart(self, at: float, number: int) -> None:
        """Another process, with a clock of its own, takes over what was watched until `at`."""
        self.shift = 1000.0 * number
        if self.record is None:
            assert self.alert.state is State.INACTIVE
            return
        stored = decode_alert(self.record)
        assert isinstance(stored, Alert)
        resumed = resume(stored, OFFSET + at, self.moment(at))
        assert (resumed.state, resumed.episode, resumed.severity) == (
            self.alert.state,
            self.alert.episode,
            self.alert.severity,
        )
        self.alert = resumed

    def run(self, samples: list[Sampled]) -> list[Told]:
        at = 0
        for number, sample in enumerate(samples):
            self.fire_timers(at)
            observed = seen("memory_usage", at, cover=COVER, percent=sample.value)
            for _, verdict in self.look.look(observed):
                self.take(verdict, at)
            if sample.restart is not None and sample.restart < sample.pause:
                self.fire_timers(at + sample.restart)
                self.restart(at + sample.restart, number + 1)
            at += sample.pause
        self.fire_timers(at)
        return [
            Told(round(effect.at - OFFSET), effect.phase, effect.alert.severity)
            for effect in self.told
            if abs(effect.at - OFFSET - round(effect.at - OFFSET)) < 1e-3
        ]


# The tests ------------------------------------------------------------------------------------------------------------


class Scene(NamedTuple):
    rule: Rule
    rungs: list[Rung]
    is_equal: bool
    samples: list[Sampled]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    is_equal = draw(st.booleans())
    rungs = [
        Rung(
            severity=severity,
            threshold=threshold,
            clear=None if is_equal else draw(st.sampled_from([None, clear])),
            duration=draw(st.sampled_from([0, 0, 7, 20, 40])),
            clear_duration=draw(st.sampled_from([0, 0, 7, 25])),
        )
        for severity, threshold, clear in list(zip(Severity, (4, 6, 8), (2, 5, 6), strict=True))[
            : draw(st.integers(1, 3))
        ]
    ]
    steps = tuple(
        Step(
            severity=rung.severity,
            threshold=float(rung.threshold),
            clear=None if rung.clear is None else float(rung.clear),
            duration=float(rung.duration),
            clear_duration=float(rung.clear_duration),
        )
        for rung in rungs
    )
    pauses = st.sampled_from([1, 5, 5, 5, 10, 15, 16, 40])
    restarts = st.one_of(st.none(), st.none(), st.integers(0, 39))
    samples = draw(st.lists(st.builds(Sampled, st.integers(0, 10), pauses, restarts), min_size=1, max_size=40))
    return Scene(
        rule(condition("memory_usage", "==" if is_equal else ">", None), steps=steps), rungs, is_equal, samples
    )


@settings(deadline=None, max_examples=500)
@given(scenes())
def test_what_is_told_is_what_a_slow_model_tells(scene: Scene) -> None:
    """No transition is lost, none comes twice, and each at its second, wherever the process dies."""
    engine = Engine(scene.rule)
    told = engine.run(scene.samples)
    assert told == SlowAlert(scene.rungs, is_equal=scene.is_equal).run(scene.samples)
    assert len(told) == len(engine.told), "every moment is a whole second, as in the model"
    event(f"{min(len(told), 8)} told")


@settings(deadline=None, max_examples=300)
@given(scenes())
def test_every_walk_is_legal_and_every_episode_in_order(scene: Scene) -> None:
    engine = Engine(scene.rule)
    engine.run(scene.samples)
    assert set(engine.walk) <= LEGAL
    assert len({effect.id for effect in engine.told}) == len(engine.told), "ids are unique"
    # An episode that begins before the last one has ended would come apart here.
    grouped = itertools.groupby(engine.told, key=lambda effect: effect.alert.episode)
    episodes = [[effect.phase for effect in effects] for _, effects in grouped]
    for phases in episodes:
        is_over = phases is not episodes[-1] or not engine.alert.state.is_active
        risen = phases[1:-1] if is_over else phases[1:]
        assert phases[0] is Phase.FIRING
        assert set(risen) <= {Phase.ESCALATED}
        assert (phases[-1] is Phase.RESOLVED) is is_over


@settings(deadline=None, max_examples=200)
@given(scenes())
def test_a_restart_at_every_sample_changes_nothing_that_is_told(scene: Scene) -> None:
    """Where the next sample comes in time, whoever takes over tells the same as whoever stayed."""
    calm = [sample._replace(pause=min(sample.pause, COVER), restart=None) for sample in scene.samples]
    rough = [sample._replace(restart=sample.pause - 1) for sample in calm]
    assert Engine(scene.rule).run(rough) == Engine(scene.rule).run(calm)
