"""Whatever happens to a series, in any order, restarts from its records included: the tale that is told makes sense."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.rulekit import LEGAL, OFFSET, Book, condition, rule, seen
from zkalert.lifecycle import needs_write, resume
from zkalert.model import (
    Alert,
    Effect,
    Escalation,
    Moment,
    NoData,
    Notify,
    Phase,
    Quiet,
    Reason,
    Rule,
    Schedule,
    Severity,
    State,
    Step,
)
from zkalert.rulebook import readers
from zkalert.tree import decode_alert, encode_alert

CLIMB = (
    Step(severity=Severity.WARNING, threshold=5.0, clear=3.0, duration=10.0, clear_duration=10.0),
    Step(severity=Severity.CRITICAL, threshold=8.0, duration=0.0, clear_duration=5.0),
)


class Engine(Book):
    """A rulebook whose changes are written where a restart needs them, and that restarts from what was written."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        numbers = itertools.count(1)
        self.book._new_episode = lambda: f"{next(numbers):016x}"
        self.rule = rule
        self.records: dict[str | None, bytes] = {}
        self.now = 0.0
        self.jump = 0.0

    def _put(self, rule: Rule, old: Alert, new: Alert, effects: tuple[Effect, ...]) -> None:
        super()._put(rule, old, new, effects)
        if old.state is not new.state:
            assert (old.state, new.state) in LEGAL
        if effects or needs_write(old, new):
            self.records.pop(new.instance, None)
            if new.state not in (State.INACTIVE, State.RESOLVED):
                self.records[new.instance] = encode_alert(new)

    def at(self, mono: float) -> float:
        return OFFSET + mono + self.jump

    def sample(self, values: dict[str, int], *, errors: bool) -> None:
        observation = seen(
            "disk_usage",
            self.now,
            instances={name: {"percent": value} for name, value in values.items()},
            errors=("cut",) if errors else (),
        )
        observation = replace(observation, now=Moment(self.at(self.now), self.now))
        self.pause(0)
        self.book.judge(observation, readers(self.book.watchers, self.hosts["web1"], "disk_usage"), observation.now)

    def tick(self, values: dict[str, int], times: int) -> None:
        for _ in range(times):
            self.sample(values, errors=False)
            self.pause(5.0)

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.book.fire_timers(self.now, self.at)

    def edit(self, rule: Rule) -> None:
        self.rule = rule
        self.set_rules(rule)

    def blind(self, seconds: float) -> None:
        since, self.now = self.now, self.now + seconds
        self.book.blind(since)

    def restart(self, seconds: float) -> None:
        """Another process, `seconds` later; what it reads is what is in memory, but for values and held time."""
        before = {alert.instance: alert for alert in self.book.alerts()}
        watched_until = self.at(self.now)
        self.now += seconds
        now = Moment(self.at(self.now), self.now)
        stored = [decode_alert(record) for record in self.records.values()]
        alerts = [resume(one, watched_until, now) for one in stored if isinstance(one, Alert)]
        assert {_essence(alert) for alert in alerts} == {_essence(alert) for alert in before.values()}
        self.book.restore(alerts, now)


def _essence(alert: Alert) -> tuple[Any, ...]:
    """What a restart may not lose."""
    return (
        *(alert.instance, alert.state, alert.episode, alert.digest, alert.severity, alert.told, alert.rises),
        *(alert.since, alert.fired_at, alert.is_quiet),
        *(alert.repeats, alert.repeat_at, alert.escalations, alert.escalate_at),
        *((clock.state, clock.spans) for clock in alert.clocks),
    )


def rules() -> st.SearchStrategy[Rule]:
    escalate = (Escalation(after=25.0, actions=(Notify(channel="boss"),)),)
    hour = (OFFSET % 86400) / 3600
    opens = Schedule(hours=((0.0, (hour + 0.02) * 3600), ((hour + 0.04) * 3600, 86400.0)))

    def build(steps: tuple[Step, ...], variety: int, more: dict[str, Any]) -> Rule:
        is_sum = more.pop("is_sum") and steps[0].duration > 0
        within = 40.0 if is_sum and steps is not CLIMB else None
        digest = f"{len(steps)} {within} {variety}"
        return rule(condition("disk_usage", ">", 5.0, 3.0), steps=steps, digest=digest, within=within, **more)

    step = st.builds(
        Step,
        duration=st.sampled_from([0.0, 12.0]),
        clear_duration=st.sampled_from([0.0, 12.0]),
        severity=st.sampled_from(Severity),
    )
    more = st.fixed_dictionaries(
        {
            "is_sum": st.booleans(),
            "no_data": st.builds(NoData, after=st.sampled_from([None, 20.0]), then=st.sampled_from(Quiet)),
            "repeat": st.sampled_from([(), (17.0,), (10.0, 30.0)]),
            "escalate": st.sampled_from([(), escalate]),
            "schedule": st.sampled_from([None, None, opens]),
            "keeps_gone": st.booleans(),
        }
    )
    ladders = st.one_of(step.map(lambda one: (one,)), st.just(CLIMB))
    return st.builds(build, ladders, st.sampled_from([1, 1, 2]), more)


VALUE = st.sampled_from([9, 9, 6, 4, 1])
SAMPLE = st.fixed_dictionaries({"/": VALUE}, optional={"/data": VALUE})
ACTIONS = st.one_of(
    st.tuples(st.just("sample"), st.dictionaries(st.sampled_from(["/", "/data"]), VALUE, max_size=2), st.booleans()),
    *[st.tuples(st.just("tick"), SAMPLE, st.sampled_from([1, 4]))] * 4,
    st.tuples(st.just("pause"), st.sampled_from([1.0, 5.0, 10.0, 60.0])),
    st.tuples(st.just("restart"), st.sampled_from([0.0, 3.0, 30.0])),
    st.tuples(st.just("blind"), st.sampled_from([1.0, 30.0])),
    st.tuples(st.just("jump"), st.sampled_from([-3600.0, 3600.0, -2.0, 2.0])),
    st.tuples(st.just("edit"), rules()),
)


@settings(deadline=None, max_examples=200)
@given(rules(), st.lists(ACTIONS, min_size=10, max_size=60))
def test_whatever_happens_the_tale_of_each_series_makes_sense(first: Rule, actions: list[tuple[Any, ...]]) -> None:
    engine = Engine(first)
    for kind, *more in actions:
        if kind == "sample":
            engine.sample(more[0], errors=more[1])
        elif kind == "jump":
            engine.jump += more[0]
        else:
            getattr(engine, kind)(*more)
    event(f"{min(len(engine.told), 10)} effects")
    check_tales(engine)


def check_tales(engine: Engine) -> None:
    """Each episode begins with firing and ends with resolved, once; no two effects have the same id."""
    assert len({effect.id for effect in engine.told}) == len(engine.told)
    tales: dict[str | None, list[Effect]] = defaultdict(list)
    for effect in engine.told:
        tales[effect.alert.instance].append(effect)
    for instance, effects in tales.items():
        episodes = [list(one) for _, one in itertools.groupby(effects, key=lambda effect: effect.alert.episode)]
        for episode in episodes:
            phases = [effect.phase for effect in episode]
            alert = engine.alert("web1", instance)
            is_open = episode is episodes[-1] and alert is not None and alert.state.is_active
            assert phases.index(Phase.FIRING) == 0
            assert set(phases[1 : None if is_open else -1]) <= {Phase.ESCALATED, Phase.REPEATED}
            assert (phases[-1] is Phase.RESOLVED) is not is_open


def test_a_sample_of_what_is_drawn_fires_and_resolves() -> None:
    """The machinery above does tell tales: one by hand."""
    engine = Engine(rule(condition("disk_usage", ">", 5.0), repeat=(17.0,)))
    engine.sample({"/": 9}, errors=False)
    engine.pause(20.0)
    engine.restart(3.0)
    engine.sample({"/": 1}, errors=False)
    check_tales(engine)
    assert engine.names == ["firing", "repeated-1", "resolved"]
    assert engine.told[-1].reason is Reason.CLEARED
    assert engine.records == {}
