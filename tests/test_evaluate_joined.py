"""What samples say where several terms, conditions, instances or hosts make one verdict."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.rulekit import COVER, Looker, condition, rule, seen, term
from zkalert.evaluate import AcrossLook, PlainLook, look_of
from zkalert.evaluate import across as across_module
from zkalert.model import (
    Across,
    Comparator,
    Condition,
    HostInfo,
    Join,
    Metric,
    Of,
    Outcome,
    Rule,
    Severity,
    Step,
    Term,
    Total,
    Verdict,
)

TRUE, BETWEEN, FALSE = Outcome.TRUE, Outcome.BETWEEN, Outcome.FALSE
MOUNTS = {"/": {"percent": 95.0}, "/data/a": {"percent": 10.0}, "/data/b": {"percent": 99.0}, "/odd": {"total": 1}}


# Two terms ------------------------------------------------------------------------------------------------------------

ERRORS = rule(condition("network_io.rx_errors", ">", 10.0, relative_to=term("network_io.rx_packets")))


def packets(looker: Looker, mono: float, errors: int, packets: int) -> Verdict | None:
    return looker.verdict("network_io", mono, instances={"eth0": {"rx_errors": errors, "rx_packets": packets}})


def test_a_quotient_of_the_same_unit_is_a_percentage() -> None:
    looker = Looker(ERRORS)
    assert packets(looker, 0, 0, 0) is None
    verdict = packets(looker, 5, 20, 100)
    assert verdict is not None
    assert verdict[:2] == (TRUE, 20.0)


def test_a_zero_below_crosses_nothing() -> None:
    looker = Looker(ERRORS)
    packets(looker, 0, 0, 0)
    verdict = packets(looker, 5, 20, 0)
    assert verdict is not None
    assert verdict[:3] == (FALSE, None, COVER)


def test_a_zero_below_is_no_in_every_step_of_a_ladder() -> None:
    steps = (Step(threshold=0.0), Step(severity=Severity.CRITICAL, threshold=50.0))
    ladder = rule(condition("memory_usage.used", "<", None, relative_to=term("memory_usage.total")), steps=steps)
    verdict = Looker(ladder).verdict("memory_usage", used=0, total=0)
    assert verdict is not None
    assert (verdict.outcome, verdict.marks) == (FALSE, (FALSE, FALSE))


def test_the_other_family_counts_as_long_as_its_sample_speaks() -> None:
    looker = Looker(rule(condition("process_number.count", ">", 50.0, relative_to=term("swap_usage.total"))))
    assert looker.at("process_number", 0, count=60) == [], "the other one has not spoken yet"
    assert looker.outcome("swap_usage", 1, total=100, cover=40) is TRUE
    verdict = looker.verdict("process_number", 30, count=40)
    assert verdict is not None
    assert (verdict.outcome, verdict.value, verdict.cover) == (FALSE, 40.0, 11.0), "until the first of them is silent"
    assert looker.at("process_number", 42, count=60) == [], "it is silent"


def test_a_metric_is_held_against_itself_over_another_window() -> None:
    looker = Looker(rule(condition("load_average.1m", ">", 200.0, relative_to=term("load_average.1m", 20.0))))
    values = [
        looker.verdict("load_average", 5.0 * number, **{"1m": value}) for number, value in enumerate((1, 1, 1, 6))
    ]
    assert values[3] is not None
    assert (values[3].outcome, values[3].value) == (TRUE, 600.0)


def test_the_whole_value_goes_with_each_instance() -> None:
    looker = Looker(rule(condition("disk_io.queue", ">", 10.0, relative_to=term("cpu_usage.cores"))))
    looker.at("cpu_usage", 99, cores=4)
    said = looker.at("disk_io", 100, instances={"sda": {"queue": 2}, "sdb": {"queue": 0.2}})
    assert {name: verdict.value for name, verdict in said} == {"sda": 50.0, "sdb": 5.0}


# Several conditions ---------------------------------------------------------------------------------------------------

HIGH = condition("memory_usage", ">", 90.0, 80.0)
BUSY = condition("load_average.1m", ">", 5.0)


def both(join: Join, memory: float | None, load: float | None, before: float | None = None) -> Outcome | None:
    """What two conditions say together; `before` is what the first one was before."""
    looker = Looker(rule(HIGH, BUSY, join=join))
    outcome = None
    if before is not None:
        looker.at("memory_usage", 98, percent=before)
    if memory is not None:
        outcome = looker.outcome("memory_usage", 99, percent=memory)
    if load is not None:
        outcome = looker.outcome("load_average", 100, **{"1m": load})
    return outcome


@pytest.mark.parametrize(
    ("memory", "load", "expected_all", "expected_any"),
    [
        pytest.param(95, 9, TRUE, TRUE, id="true, true"),
        pytest.param(95, 1, FALSE, TRUE, id="true, false"),
        pytest.param(70, 9, FALSE, TRUE, id="false, true"),
        pytest.param(70, 1, FALSE, FALSE, id="false, false"),
        pytest.param(None, 9, None, TRUE, id="unknown, true"),
        pytest.param(None, 1, FALSE, None, id="unknown, false"),
        pytest.param(95, None, None, TRUE, id="true, unknown"),
        pytest.param(70, None, FALSE, None, id="false, unknown"),
    ],
)
def test_what_is_not_known_decides_nothing(
    memory: float | None, load: float | None, expected_all: Outcome | None, expected_any: Outcome | None
) -> None:
    assert both(Join.ALL, memory, load) is expected_all
    assert both(Join.ANY, memory, load) is expected_any


@pytest.mark.parametrize(
    ("before", "load", "expected_all", "expected_any"),
    [
        pytest.param(95, 9, BETWEEN, TRUE, id="crossed before, true"),
        pytest.param(95, 1, FALSE, BETWEEN, id="crossed before, false"),
        pytest.param(70, 9, FALSE, TRUE, id="not crossed before, true"),
        pytest.param(70, 1, FALSE, FALSE, id="not crossed before, false"),
        pytest.param(None, 9, BETWEEN, TRUE, id="after a restart, true"),
        pytest.param(None, 1, FALSE, BETWEEN, id="after a restart, false"),
    ],
)
def test_a_condition_that_has_crossed_holds_until_its_own_clear(
    before: float | None, load: float, expected_all: Outcome, expected_any: Outcome
) -> None:
    assert both(Join.ALL, 85, load, before) is expected_all
    assert both(Join.ANY, 85, load, before) is expected_any


def test_the_value_of_any_is_that_of_its_first_true_condition() -> None:
    looker = Looker(rule(HIGH, BUSY, join=Join.ANY))
    looker.at("memory_usage", 99, percent=50)
    verdict = looker.verdict("load_average", 100, **{"1m": 9})
    assert verdict is not None
    assert (verdict.value, verdict.condition, verdict.values) == (9, 1, (50, 9))
    verdict = looker.verdict("load_average", 105, **{"1m": 1})
    assert verdict is not None
    assert (verdict.outcome, verdict.value, verdict.condition) == (FALSE, 50, 0)


def test_conditions_are_joined_by_instance_and_a_whole_value_goes_with_each() -> None:
    looker = Looker(rule(condition("disk_usage"), condition("disk_usage.inodes_percent", "<", 50.0), BUSY))
    looker.at("load_average", 99, **{"1m": 9})
    said = looker.at(
        "disk_usage",
        100,
        instances={"/": {"percent": 95, "inodes_percent": 10}, "/data": {"percent": 95, "inodes_percent": 80}},
    )
    assert {name: verdict.outcome for name, verdict in said} == {"/": TRUE, "/data": FALSE}
    again = looker.at("load_average", 101, **{"1m": 1})
    assert {name: verdict.outcome for name, verdict in again} == {"/": FALSE, "/data": FALSE}


def test_one_condition_that_decides_speaks_for_as_long_as_it_does() -> None:
    for join, memory, load in ((Join.ANY, 95, 1), (Join.ALL, 50, 9)):
        looker = Looker(rule(HIGH, BUSY, join=join))
        looker.at("load_average", 100, cover=10, **{"1m": load})
        verdict = looker.verdict("memory_usage", 100, cover=60, percent=memory)
        assert verdict is not None
        assert verdict.cover == 60, "what the other says makes no difference"


def test_a_sample_that_is_seen_twice_changes_nothing() -> None:
    rate = condition("swap_usage.in", threshold=100.0)
    look = Looker(rule(rate, rate)).look
    for mono, count in ((0, 0), (5, 1000)):
        values: dict[str, Any] = {"in": count}
        sample = seen("swap_usage", mono, **values)
        said = look(sample)
    assert [verdict.value for _, verdict in said] == [200.0]
    assert look(sample) == said


def test_a_joined_verdict_speaks_no_longer_than_its_first_sample_that_ends() -> None:
    looker = Looker(rule(HIGH, BUSY))
    looker.at("memory_usage", 90, percent=95, cover=30)
    verdict = looker.verdict("load_average", 100, cover=60, **{"1m": 9})
    assert verdict is not None
    assert (verdict.outcome, verdict.cover) == (TRUE, 20)
    assert looker.at("load_average", 121, **{"1m": 9}) == [], "memory has nothing to say any more"


def test_a_condition_that_is_not_known_does_not_shorten_what_the_other_says() -> None:
    verdict = Looker(rule(HIGH, BUSY, join=Join.ANY)).verdict("load_average", 100, **{"1m": 9})
    assert verdict is not None
    assert (verdict.outcome, verdict.cover, verdict.values) == (TRUE, COVER, (None, 9))


# Absent ---------------------------------------------------------------------------------------------------------------


def test_a_whole_value_is_absent_from_a_good_sample_without_it() -> None:
    looker = Looker(rule(condition("swap_usage", "absent", None)))
    assert looker.outcome("swap_usage", 0, percent=1) is FALSE
    assert looker.outcome("swap_usage", 5, total=0) is TRUE
    assert looker.outcome("swap_usage", 10, total=0, errors=("cannot read",)) is None, "it could not be read"


def test_an_instance_that_a_rule_names_is_missed_though_it_was_never_seen() -> None:
    looker = Looker(rule(condition("disk_usage", "absent", None), instances=("/backup", "/data*")))
    assert looker.at("disk_usage", 0, instances={"/": {"percent": 1}}) == [
        ("/backup", (TRUE, 1, COVER, (), 0, (), None))
    ]


def test_an_instance_that_was_seen_is_missed_where_a_glob_names_it() -> None:
    looker = Looker(rule(condition("disk_usage", "absent", None), instances=("/data*",)))
    assert looker.at("disk_usage", 0, instances={}) == []
    assert looker.outcome("disk_usage", 5, instances={"/data1": {"percent": 1}, "/": {"percent": 1}}) is FALSE
    assert looker.outcome("disk_usage", 10, instances={"/": {"percent": 1}}) is TRUE
    assert looker.at("disk_usage", 15, instances={}, errors=("cut",)) == [], "one that was cut is not absent"


# One number of many ---------------------------------------------------------------------------------------------------


class Fleet:
    """A rule across hosts, and what it says of their samples."""

    def __init__(self, across: Across, one: Condition | None = None, **more: Any) -> None:
        self.rule: Rule = rule(one or condition(), across=across, **more)
        self.look = AcrossLook(self.rule, across, lambda _: self.rule)

    def attach(self, host: str, **labels: str) -> None:
        self.look.attach(HostInfo(name=host, labels=labels))

    def see(self, host: str, mono: float, percent: float, cover: float = COVER) -> tuple[str | None, Verdict] | None:
        said = self.look.look(seen("memory_usage", mono, host=host, percent=percent, cover=cover))
        return said[0] if said else None


@pytest.mark.parametrize(
    ("stat", "where", "value"),
    [
        (Total.SUM, None, 180.0),
        (Total.AVG, None, 60.0),
        (Total.MIN, None, 20.0),
        (Total.MAX, None, 95.0),
        (Total.COUNT, None, 3),
        (Total.COUNT, 60.0, 2),
        (Total.PERCENT, 60.0, pytest.approx(100 * 2 / 3)),
        (Total.AVG, 60.0, 80.0),
        (Total.SUM, 99.0, 0),
        (Total.COUNT, 99.0, 0),
    ],
)
def test_many_series_make_one_number(stat: Total, where: float | None, value: float) -> None:
    comparator = None if where is None else Comparator.GT
    fleet = Fleet(Across(of=Of.HOSTS, stat=stat, comparator=comparator, threshold=where))
    said = None
    for number, percent in enumerate((20, 65, 95)):
        fleet.attach(f"h{number}")
        said = fleet.see(f"h{number}", 100 + number, percent)
    assert said is not None
    instance, verdict = said
    assert (instance, verdict.value, verdict.members, verdict.cover) == (None, value, (3, 0), COVER)


@pytest.mark.parametrize("stat", [Total.AVG, Total.MIN, Total.MAX])
def test_an_average_or_an_end_of_none_that_count_crosses_nothing(stat: Total) -> None:
    across = Across(of=Of.HOSTS, stat=stat, comparator=Comparator.GT, threshold=99.0)
    fleet = Fleet(across, condition(comparator="<", threshold=1e9))
    fleet.attach("h0")
    said = fleet.see("h0", 100, 50)
    assert said is not None
    assert (said[1].outcome, said[1].value, said[1].members) == (FALSE, None, (1, 0))


def test_a_label_makes_one_number_for_each_of_its_values() -> None:
    fleet = Fleet(Across(of=Of.HOSTS, stat=Total.MAX, by="dc"))
    for host, labels in {"h0": {"dc": "a"}, "h1": {"dc": "a"}, "h2": {"dc": "b"}, "h3": {}}.items():
        fleet.attach(host, **labels)
    said = [fleet.see(host, 100, percent) for host, percent in (("h0", 95), ("h1", 50), ("h2", 60), ("h3", 70))]
    assert [one and (one[0], one[1].value, one[1].members) for one in said] == [
        None,  # of h1 nothing is known yet
        ("a", 95, (2, 0)),
        ("b", 60, (1, 0)),
        ("", 70, (1, 0)),
    ]
    fleet.attach("h0", dc="b")
    moved = fleet.see("h2", 101, 60)
    assert moved is not None
    assert (moved[0], moved[1].value) == ("b", 95)


def test_a_member_counts_as_long_as_its_sample_speaks_and_not_once_it_is_forgotten() -> None:
    fleet = Fleet(Across(of=Of.HOSTS, stat=Total.MAX))
    for host in ("h0", "h1", "h2"):
        fleet.attach(host)
    fleet.see("h0", 100, 99)
    fleet.see("h1", 100, 98, cover=100)
    said = [fleet.see("h2", 114, 50), fleet.see("h2", 116, 50)]
    fleet.look.forget("h1")
    said.append(fleet.see("h2", 117, 50))
    assert [one and (one[1].value, one[1].members) for one in said] == [(99, (3, 0)), (98, (2, 1)), (50, (1, 1))]


def test_the_first_of_many_are_no_number_until_the_others_had_the_time_to_speak() -> None:
    fleet = Fleet(Across(of=Of.HOSTS, stat=Total.SUM), condition(comparator="<", threshold=100.0))
    for host in ("h0", "h1", "h2"):
        fleet.attach(host)
    assert [fleet.see(host, 100, 50) for host in ("h0", "h1")] == [None, None]
    said = fleet.see("h2", 101, 50)
    assert said is not None
    assert (said[1].value, said[1].outcome) == (150.0, FALSE)
    # All fall silent, and come back one by one; h2 does not.
    assert [fleet.see("h0", 200, 50), fleet.see("h1", 204, 50), fleet.see("h0", 214, 50)] == [None, None, None]
    said = fleet.see("h1", 215, 50)
    assert said is not None
    assert (said[1].value, said[1].members) == (100.0, (2, 1))


def test_a_number_that_is_known_waits_for_nobody_who_joins() -> None:
    fleet = Fleet(Across(of=Of.HOSTS, stat=Total.COUNT))
    fleet.attach("h0")
    assert fleet.see("h0", 100, 50) is not None
    fleet.attach("h1")
    said = fleet.see("h0", 105, 50)
    assert said is not None
    assert said[1].members == (1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_many_hosts_that_come_go_and_move_make_the_number_of_those_that_speak(seed: int) -> None:
    """Against a plain sum over what each host said last."""
    random = Random(seed)
    fleet = Fleet(Across(of=Of.HOSTS, stat=Total.SUM, by="dc"))
    groups: dict[str, str] = {}
    last: dict[str, tuple[float, float]] = {}
    checked = 0
    for mono in range(100, 1500):
        host = f"h{random.randrange(40)}"
        if random.random() < 0.1 and host in groups:
            fleet.look.forget(host)
            del groups[host]
            last.pop(host, None)
        elif random.random() < 0.2 or host not in groups:
            groups[host] = random.choice("ab")
            fleet.attach(host, dc=groups[host])
        else:
            value, cover = random.randrange(100), random.choice([5.0, 50.0, 500.0])
            last[host] = (float(value), mono + cover)
            said = fleet.see(host, mono, value, cover)
            speaking = [
                value for name, (value, until) in last.items() if groups[name] == groups[host] and until >= mono
            ]
            hosts = sum(group == groups[host] for group in groups.values())
            if said is not None:
                checked += 1
                assert (said[0], said[1].value) == (groups[host], sum(speaking))
                assert said[1].members == (len(speaking), hosts - len(speaking))
    assert checked > 500


def test_the_cost_of_a_sample_hardly_grows_with_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[tuple[Any, Any]] = []
    join = across_module._join

    def counted(a: Any, b: Any) -> Any:
        joined.append((a, b))
        return join(a, b)

    monkeypatch.setattr(across_module, "_join", counted)
    fleet = Fleet(Across(of=Of.HOSTS, stat=Total.SUM))
    for number in range(1000):
        fleet.attach(f"h{number}")
    for number in range(1000):
        fleet.see(f"h{number}", 100, 50)
    joined.clear()
    said = fleet.see("h500", 105, 60)
    assert said is not None
    assert (said[1].value, len(joined)) == (50_010.0, 10)


def test_no_members_give_no_verdict() -> None:
    fleet = Fleet(Across(of=Of.HOSTS, stat=Total.COUNT))
    fleet.attach("h0")
    assert fleet.look.look(seen("memory_usage", 100, host="h0", total=5)) == []


def test_the_instances_of_one_host_make_a_number_of_its_own() -> None:
    across = Across(of=Of.INSTANCES, stat=Total.COUNT, comparator=Comparator.GT, threshold=90.0)
    looker = Looker(rule(condition("disk_usage", ">=", 2.0), across=across, not_instances=("/data/a",)))
    ((instance, verdict),) = looker.at("disk_usage", instances=MOUNTS)
    assert (instance, verdict.outcome, verdict.value, verdict.members) == (None, TRUE, 2, (2, 0))


def test_texts_are_counted() -> None:
    across = Across(of=Of.HOSTS, stat=Total.PERCENT, comparator=Comparator.MATCHES, threshold="Linux 5.*")
    mixed = rule(condition("host.kernel", ">", 20.0), across=across)
    look = look_of(mixed, lambda _: mixed)
    assert isinstance(look, AcrossLook)
    for host, kernel in (("h0", "Linux 5.1"), ("h1", "Linux 6.1")):
        look.attach(HostInfo(name=host))
        said = look.look(seen("host", host=host, kernel=kernel))
    assert said[0][1].value == 50.0


def test_one_look_serves_all_hosts_where_it_has_nothing_to_remember() -> None:
    plain = rule()
    assert isinstance(look_of(plain, lambda _: plain), PlainLook)
    counter = rule(condition("swap_usage.in"))
    assert not isinstance(look_of(counter, lambda _: counter), PlainLook)


def test_a_metric_that_the_table_does_not_know_is_an_error() -> None:
    unknown = rule(
        Condition(term=Term(metric=Metric("memory_usage", "colour")), comparator=Comparator.GT, threshold=1.0)
    )
    with pytest.raises(KeyError, match="colour"):
        look_of(unknown, lambda _: unknown)
