"""What a sampler leaves out, and that nobody who is told of alerts could tell: at rest, near a limit, beyond it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.rulekit import OFFSET, Book, condition, rule, term
from zkalert.metrics import SAMPLED
from zkalert.model import (
    Across,
    Alert,
    Comparator,
    FamilyLimits,
    HostMatch,
    Join,
    Limit,
    Moment,
    NoData,
    Observation,
    Of,
    Override,
    Quiet,
    Rule,
    Sample,
    Severity,
    Stat,
    State,
    Step,
    Total,
    Value,
)
from zkalert.rulebook import limits_of, readers
from zkalert.sampler.band import Band, Choice, max_age
from zkalert.sampler.desk import Desk

INTERVAL = 5.0
RESTING = 60.0


def sample(family: str, at: float = 0.0, **more: Any) -> Sample:
    """As the sampler makes it, before it is weighed."""
    return Sample(family=family, at=at, interval=INTERVAL, max_age=max_age(INTERVAL), **more)


class Ticks:
    """One family, read every five seconds."""

    def __init__(self, limits: FamilyLimits | None, family: str = "memory_usage", resting: float | None = 60.0) -> None:
        self.band = Band(family, interval=INTERVAL, resting=resting, origin=0.0)
        self.band.ask(limits)
        self.family = family
        self.now = -INTERVAL

    def read(self, value: float | None = None, **more: Any) -> Choice:
        self.now += INTERVAL
        values: Mapping[str, Value] = {} if value is None else {"percent": value}
        return self.band.weigh(sample(self.family, **({"values": values} | more)), self.now)

    def written(self, values: Sequence[float]) -> list[int]:
        """Which of these readings are published."""
        return [number for number, value in enumerate(values) if self.read(value).is_due]


def above(threshold: float, field: str = "percent", **more: Any) -> Limit:
    return Limit(field=field, comparator=Comparator.GT, threshold=threshold, **more)


MEMORY = FamilyLimits(limits=(above(90.0),))


# What is written ----------------------------------------------------------------------------------------------------


def test_who_is_far_from_all_limits_speaks_once_a_minute_and_says_so() -> None:
    ticks = Ticks(MEMORY)
    choices = [ticks.read(50.0) for _ in range(25)]
    assert [number for number, choice in enumerate(choices) if choice.is_due] == [0, 12, 24]
    assert {choice.interval for choice in choices} == {RESTING}


def test_a_family_that_no_rule_reads_rests_whatever_it_says() -> None:
    assert Ticks(FamilyLimits()).written([1.0, 99.0] * 6 + [5.0]) == [0, 12]


@pytest.mark.parametrize(
    "limits",
    [pytest.param(None, id="nobody said what matters"), pytest.param(FamilyLimits(is_full=True), id="a window")],
)
def test_where_every_sample_may_matter_every_sample_is_written(limits: FamilyLimits | None) -> None:
    ticks = Ticks(limits)
    choices = [ticks.read(50.0) for _ in range(4)]
    assert choices == [Choice(is_due=True, interval=INTERVAL, before=None)] * 4


def test_without_resting_every_sample_is_written() -> None:
    assert Ticks(MEMORY, resting=None).written([50.0] * 4) == [0, 1, 2, 3]


def test_a_crossing_is_written_at_once_and_the_full_rate_lasts_while_the_limit_holds() -> None:
    ticks = Ticks(MEMORY)
    far = [50.0] * 20
    assert ticks.written(far) == [0, 12]
    crossed = [ticks.read(99.9) for _ in range(6)]
    assert crossed == [Choice(is_due=True, interval=INTERVAL, before=None)] * 6


def test_who_comes_to_rest_takes_back_the_promise_of_the_full_rate() -> None:
    """Else the silence after it would look like a loss."""
    ticks = Ticks(MEMORY)
    assert ticks.read(99.0).interval == INTERVAL
    choices = [ticks.read(10.0) for _ in range(40)]
    promise = None
    for number, choice in enumerate(choices):
        if choice.is_due:
            promise, promised_at = choice.interval, number
        else:
            assert promise is not None
            assert (number - promised_at) * INTERVAL < promise
    assert choices[-1].interval == RESTING


def test_after_an_alert_it_rests_again_and_speaks_for_as_long_as_it_takes_to_clear() -> None:
    ticks = Ticks(FamilyLimits(limits=(above(90.0),), settles=120.0))
    assert ticks.written([10.0] * 60)[:29] == list(range(29)), "at the start nobody knows what rules count"
    ticks.read(95.0)
    assert ticks.read(10.0) == Choice(is_due=True, interval=INTERVAL, before=None), "it came down fast"
    assert len(ticks.written([10.0] * 28)) <= 4


@pytest.mark.parametrize(("value", "is_near"), [(80.9, False), (81.1, True), (90.0, True)])
def test_near_is_within_a_tenth_of_the_limit(value: float, is_near: bool) -> None:
    ticks = Ticks(MEMORY)
    ticks.read(value)
    assert ticks.read(value).is_due is is_near


def test_a_limit_of_zero_is_no_reason_to_write_zeros() -> None:
    assert Ticks(FamilyLimits(limits=(above(0.0),))).written([0.0] * 12) == [0]


def test_who_runs_towards_a_limit_is_near_before_he_is_there() -> None:
    ticks = Ticks(MEMORY)
    ticks.read(20.0)
    assert not ticks.read(30.0).is_due
    assert not ticks.read(40.0).is_due
    assert ticks.read(71.0).is_due, "another step of that size would cross"


def test_silence_that_a_rule_minds_is_cut_to_a_third_of_its_patience() -> None:
    ticks = Ticks(FamilyLimits(limits=(above(90.0),), quiet_after=30.0))
    assert [ticks.read(50.0).interval for _ in range(3)] == [10.0] * 3
    assert Ticks(FamilyLimits(quiet_after=12.0)).written([50.0] * 3) == [0, 1, 2]


def test_instances_that_come_and_go_errors_and_texts_are_written_at_once() -> None:
    limits = FamilyLimits(limits=(above(90.0, by_instance=True),), texts=("state",))
    ticks = Ticks(limits, "disk_usage")
    root = {"/": {"percent": 10.0, "state": "clean"}}
    data = {"/data": {"percent": 10.0}}
    assert ticks.read(instances=root).is_due
    assert not ticks.read(instances=root).is_due
    for changed in (
        {"instances": root | data},
        {"instances": root},
        {"instances": root, "errors": ("cut",)},
        {"instances": {"/": {"percent": 10.0, "state": "dirty"}}, "errors": ("cut",)},
        {"instances": {"/": {"state": "dirty"}}, "errors": ("cut",)},
    ):
        assert ticks.read(**changed).is_due, changed
        assert not ticks.read(**changed).is_due, changed


def test_families_that_rest_speak_together() -> None:
    other = Band("load_average", interval=INTERVAL, resting=RESTING, origin=0.0)
    other.ask(FamilyLimits())
    ticks = Ticks(MEMORY)
    ticks.read(50.0)
    for _ in range(4):
        ticks.read(95.0)
    spoken: list[tuple[bool, bool]] = []
    for _ in range(60):
        mine = ticks.read(10.0).is_due
        spoken.append((mine, other.weigh(sample("load_average"), ticks.now).is_due))
    assert spoken[-24:].count((True, True)) == 2
    assert {(True, False), (False, True)}.isdisjoint(spoken[-24:])


def test_what_may_not_stand_in_the_tree_is_written_again() -> None:
    ticks = Ticks(MEMORY)
    ticks.read(50.0)
    assert not ticks.read(50.0).is_due
    ticks.band.doubt()
    assert ticks.read(50.0).is_due


def test_a_counter_is_judged_by_the_rate_of_its_last_interval_and_brings_what_it_takes_to_say_so() -> None:
    limits = FamilyLimits(limits=(above(1000.0, "in", is_rate=True),))
    ticks = Ticks(limits, "swap_usage")
    counts = [0.0, 0.0, 0.0, 0.0, 6000.0, 6000.0]
    choices = [ticks.read(values={"in": count, "percent": 1.0}) for count in counts]
    assert [choice.is_due for choice in choices] == [True, True, False, False, True, True]
    before = choices[4].before
    assert before is not None
    assert (before.span, before.values) == (INTERVAL, {"in": 0.0})


# Glances ------------------------------------------------------------------------------------------------------------


def test_a_glance_is_news_where_it_crosses_a_limit_either_way() -> None:
    ticks = Ticks(MEMORY)
    assert not ticks.band.crosses(sample("memory_usage", values={"percent": 95.0})), "nothing was told yet"
    ticks.read(50.0)
    assert not ticks.band.crosses(sample("memory_usage", values={"percent": 89.0}))
    assert ticks.band.crosses(sample("memory_usage", values={"percent": 95.0}))
    ticks.read(95.0)
    assert not ticks.band.crosses(sample("memory_usage", values={"percent": 99.0}))
    assert ticks.band.crosses(sample("memory_usage", values={"percent": 50.0}))


def test_who_trembles_on_a_limit_is_told_of_once_a_second() -> None:
    desk = Desk({"memory_usage": INTERVAL}, resting=RESTING, fast=0.2, first_at=0.0)
    desk.heed({"memory_usage": MEMORY})
    desk.weigh([sample("memory_usage", values={"percent": 50.0})], 0.0)
    news = []
    for number in range(1, 25):
        now, trembling = number * 0.2, sample("memory_usage", values={"percent": 95.0 if number % 2 else 50.0})
        assert desk.glances(now) == ["memory_usage"]
        if desk.is_news(trembling, now):
            news.append(number)
            assert desk.weigh([trembling], now)
    assert news == [1, 6, 11, 16, 21]


def test_a_family_that_costs_too_much_is_looked_at_less_often() -> None:
    desk = Desk({"process_number": INTERVAL}, resting=RESTING, fast=0.2, first_at=0.0)
    desk.heed({"process_number": FamilyLimits(limits=(above(500.0, "count"),))})
    looks = 0
    for number in range(300):
        for _ in desk.glances(number * 0.2):
            looks += 1
            desk.spent("process_number", 0.015)
    assert looks * 0.015 / 60.0 < 0.01


def test_only_cheap_families_with_limits_are_glanced_at() -> None:
    desk = Desk(dict.fromkeys(SAMPLED, INTERVAL), resting=RESTING, fast=0.2, first_at=0.0)
    assert desk.next_glance_at == float("inf")
    desk.heed({"memory_usage": MEMORY, "cpu_usage": FamilyLimits(), "disk_usage": MEMORY})
    assert desk.glances(0.0) == ["memory_usage"]
    quiet = Desk(dict.fromkeys(SAMPLED, INTERVAL), resting=RESTING, fast=None, first_at=0.0)
    quiet.heed({"memory_usage": MEMORY})
    assert quiet.glances(0.0) == []


# What rules ask -----------------------------------------------------------------------------------------------------


def asked(*conditions: Any, family: str = "memory_usage", **more: Any) -> FamilyLimits:
    return limits_of([rule(*conditions, **more)])[family]


def held(limits: FamilyLimits) -> set[tuple[str, Any]]:
    return {(limit.comparator.value, limit.threshold) for limit in limits.limits}


def test_thresholds_and_clears_of_all_steps_overrides_and_conditions_are_asked_for() -> None:
    assert held(asked(condition(threshold=90.0, clear=80.0))) == {(">", 90.0), (">", 80.0)}
    assert held(asked(condition(comparator="<=", threshold=3.0, clear=5.0))) == {("<=", 3.0), ("<", 5.0)}
    steps = (Step(threshold=70.0, clear=60.0), Step(severity=Severity.CRITICAL, threshold=95.0))
    assert held(asked(condition(threshold=None), steps=steps)) == {(">", 70.0), (">", 60.0), (">", 95.0)}
    overrides = (Override(hosts=(HostMatch(glob="db*"),), threshold=98.0), Override(instances=("/x",), clear=50.0))
    assert held(asked(condition(), overrides=overrides)) == {(">", 90.0), (">", 98.0), (">", 50.0)}
    joined = (condition(), condition("swap_usage", "outside", (10.0, 20.0)))
    assert held(asked(*joined, join=Join.ANY)) == {(">", 90.0)}
    assert held(asked(*joined, join=Join.ANY, family="swap_usage")) == {("outside", (10.0, 20.0))}


@pytest.mark.parametrize(
    "conditions",
    [
        pytest.param(condition(term("memory_usage", 300.0)), id="a window"),
        pytest.param(condition(comparator="changed", threshold=None), id="changed"),
        pytest.param(condition(comparator="absent", threshold=None), id="absent"),
        pytest.param(condition("memory_usage.used", relative_to=term("memory_usage.total")), id="a quotient"),
        pytest.param(condition("swap_usage.used", relative_to=term("memory_usage.total")), id="below one"),
    ],
)
def test_rules_that_need_every_sample_get_it(conditions: Any) -> None:
    assert asked(conditions).is_full


def test_the_clock_of_a_host_has_a_limit_and_its_life_has_none() -> None:
    skew = asked(condition("host.clock_skew", "outside", (-5.0, 5.0)), family="host")
    assert (skew.is_full, held(skew)) == (False, {("outside", (-5.0, 5.0))})
    assert asked(condition("host.alive", "==", 0.0), family="host") == FamilyLimits()


def test_a_number_over_many_needs_every_sample_and_its_members_limits() -> None:
    across = Across(of=Of.HOSTS, stat=Total.COUNT, comparator=Comparator.GE, threshold=80.0)
    limits = asked(condition(threshold=3.0), across=across)
    assert (limits.is_full, held(limits)) == (True, {(">=", 80.0)})


def test_texts_counters_and_instances_are_told_apart() -> None:
    texts = limits_of([rule(condition("raid.state", "matches", "in.*"), duration=60.0)])["raid"]
    assert (texts.texts, texts.limits, texts.settles) == (("state",), (), 60.0)
    (counter,) = limits_of([rule(condition("network_io.rx_errors", ">", 10.0))])["network_io"].limits
    assert (counter.is_rate, counter.by_instance) == (True, True)
    assert {limit.by_instance for limit in asked(condition("cpu_usage"), family="cpu_usage").limits} == {False}
    every_core = asked(condition("cpu_usage"), family="cpu_usage", instances=("*",))
    assert {limit.by_instance for limit in every_core.limits} == {True}


def test_how_long_a_rule_counts_the_time_and_which_silence_it_minds() -> None:
    assert asked(condition(), duration=60.0, clear_duration=90.0).settles == 0.0, "samples at rest cover that"
    assert asked(condition(), within=600.0, duration=60.0).settles == 0.0
    assert asked(condition("disk_usage"), family="disk_usage").settles == 60.0, "until an instance counts as gone"
    assert asked(condition("disk_usage"), family="disk_usage", keeps_gone=True).settles == 0.0
    assert asked(condition()).quiet_after is None
    assert asked(condition(), no_data=NoData(then=Quiet.ALERT)).quiet_after == 60.0
    assert asked(condition(), no_data=NoData(after=20.0, then=Quiet.RESOLVE)).quiet_after == 20.0


def test_what_nobody_judges_or_the_engine_makes_asks_for_nothing() -> None:
    limits = limits_of([rule(condition("host.alive", "==", 0.0)), rule(condition(), name="off", enabled=False)])
    assert set(limits) == set(SAMPLED)
    assert set(limits.values()) == {FamilyLimits()}
    shown = limits_of([], shown={"uptime"})
    assert {family for family, one in shown.items() if one.is_full} == {"uptime"}


# Nobody is told later -----------------------------------------------------------------------------------------------

_COUNTER = condition("swap_usage.in", ">", 1000.0)
_DISK = condition("disk_usage", ">", 80.0, 70.0)


def rules() -> st.SearchStrategy[Rule]:
    single = st.sampled_from(
        [
            (condition(threshold=80.0),),
            (condition(threshold=80.0, clear=60.0),),
            (condition(comparator="<", threshold=20.0, clear=30.0),),
            (condition(comparator="between", threshold=(40.0, 50.0)),),
            (condition(comparator="outside", threshold=(20.0, 80.0), clear=(30.0, 70.0)),),
            (_COUNTER,),
            (_DISK,),
            (condition("raid.state", "==", "degraded"),),
            (condition(threshold=60.0, clear=50.0), _COUNTER),
            (condition(threshold=80.0), condition("swap_usage", "<", 30.0)),
            (condition(term("memory_usage", 60.0, Stat.AVG), threshold=70.0),),
        ]
    )
    spans = st.sampled_from([0.0, 12.0, 30.0, 200.0])
    more = st.fixed_dictionaries(
        {
            "duration": spans,
            "clear_duration": spans,
            "join": st.sampled_from(Join),
            "no_data": st.builds(NoData, after=st.sampled_from([None, 45.0]), then=st.sampled_from(Quiet)),
            "keeps_gone": st.booleans(),
            "repeat": st.sampled_from([(), (40.0,)]),
        }
    )

    def build(conditions: Any, within: float | None, more: dict[str, Any]) -> Rule:
        return rule(*conditions, within=within if 0 < more["duration"] < 100 else None, **more)

    return st.builds(build, single, st.sampled_from([None, 120.0]), more)


class Host:
    """A host whose numbers walk: mostly a little, sometimes far."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = dict.fromkeys(("memory", "swap", "/", "/data"), 50.0)
        self._count = 0.0
        self._rate = 10.0
        self._state = "clean"
        self._has_data = True

    def samples(self, now: float) -> list[Sample]:
        chance = self._random
        for name, number in self._numbers.items():
            step = chance.uniform(-60, 60) if chance.random() < 0.04 else chance.gauss(0, 1)
            self._numbers[name] = min(100.0, max(0.0, number + step))
        if chance.random() < 0.05:
            self._rate = chance.choice([10.0, 900.0, 5000.0])
        if chance.random() < 0.03:
            self._state = chance.choice(["clean", "degraded", "active"])
        if chance.random() < 0.02:
            self._has_data = not self._has_data
        self._count += self._rate * INTERVAL
        at = OFFSET + now
        disks = {name: {"percent": self._numbers[name]} for name in ("/", *(["/data"] if self._has_data else []))}
        return [
            sample("memory_usage", at, values={"percent": self._numbers["memory"]}),
            sample("swap_usage", at, values={"percent": self._numbers["swap"], "in": self._count}),
            sample("disk_usage", at, instances=disks),
            sample("raid", at, instances={"md0": {"state": self._state}}),
        ]


def take(book: Book, one: Sample, now: float) -> None:
    observation = Observation(host="web1", sample=one, now=Moment(OFFSET + now, now))
    book.wait(now)
    book.book.judge(observation, readers(book.book.watchers, book.hosts["web1"], one.family), observation.now)


def is_clearing(alert: Alert) -> bool:
    return any(clock.state is State.CLEARING for clock in alert.clocks)


def tale(book: Book) -> list[tuple[Any, ...]]:
    """What was told, series by series: which of two timers of one moment is first says nothing."""
    told = sorted(book.told, key=lambda effect: (effect.alert.rule, effect.alert.instance or "", effect.at))
    return [
        (
            *(effect.alert.rule, effect.alert.instance, effect.name or effect.phase.value, effect.reason),
            round(effect.at, 6),
            # A number far from every limit may be of up to a minute ago: that of a condition that decides nothing, or
            # of an alert that clears.
            *(() if effect.alert.values else (effect.alert.peak,)),
            *(() if effect.alert.values or is_clearing(effect.alert) else (effect.alert.value,)),
        )
        for effect in told
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(rules(), min_size=1, max_size=4), st.integers(0, 2**32))
def test_every_alert_is_told_at_the_same_moment_as_if_every_sample_were_written(drawn: list[Rule], seed: int) -> None:
    named = [replace(one, name=f"r{number}", digest=f"d{number}") for number, one in enumerate(drawn)]
    full, rare = Book(*named), Book(*named)
    families = ("memory_usage", "swap_usage", "disk_usage", "raid")
    desk = Desk(dict.fromkeys(families, INTERVAL), resting=RESTING, fast=None, first_at=0.0)
    desk.heed(limits_of(named))
    host = Host(seed)
    ticks = 240
    for number in range(ticks):
        now = number * INTERVAL
        samples = host.samples(now)
        for one in samples:
            take(full, one, now)
        for one in desk.weigh(samples, now):
            take(rare, one, now)
    full.wait(ticks * INTERVAL)
    rare.wait(ticks * INTERVAL)
    event(f"{min(len(full.told), 5)} effects")
    assert tale(rare) == tale(full)
