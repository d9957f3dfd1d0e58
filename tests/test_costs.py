"""What is predicted for small fleets, counted by hand; `acceptance/test_cost.py` holds it against the real thing."""

from __future__ import annotations

from typing import Any

import pytest

from zkalert.costs import Cost, Fleet, Published, advise, predict, ticks_per_minute, typical_sample
from zkalert.metrics import FAMILIES, SAMPLED
from zkalert.rulefile import parse
from zkalert.tree import decode_sample, encode_sample

MEMORY = '{name: memory, metric: memory_usage.percent, comparator: ">", threshold: 90}'
MEMORY_AVG = '{name: average, metric: memory_usage.percent, over: 10m, comparator: ">", threshold: 90}'
DISKS = '{name: disks, metric: disk_usage.percent, comparator: ">", threshold: 90}'


def published(name: str, instances: int = 0, interval: float | None = None) -> Published:
    family = FAMILIES[name]
    return Published(family=family, interval=interval or family.interval, instances=instances)


def cost(*rules: str, families: tuple[Published, ...] = (published("memory_usage"),), **fleet: Any) -> Cost:
    parsed, _ = parse("rules:\n" + "".join(f"  - {rule}\n" for rule in rules), "rules.yaml")
    assert len(parsed) == len(rules)
    return predict(parsed, Fleet(**{"hosts": 10, "published": families, **fleet}))


@pytest.mark.parametrize(
    ("intervals", "ticks"),
    [
        ((5.0,), 12),
        ((5.0, 5.0, 30.0), 12),
        ((2.0, 3.0), 40),
        ((0.2,), 300),
        ((60.0, 30.0), 2),
        ((), 0),
        ((7200.0,), 1 / 60),
    ],
    ids=str,
)
def test_what_is_due_together_is_one_transaction(intervals: tuple[float, ...], ticks: float) -> None:
    assert ticks_per_minute(intervals) == pytest.approx(ticks)


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize("may_rest", [False, True])
def test_a_typical_sample_is_one_that_readers_take(name: str, may_rest: bool) -> None:
    sample = typical_sample(FAMILIES[name], 3, interval=5.0, may_rest=may_rest)
    assert decode_sample(name, encode_sample(sample)) == sample


def test_hosts_write_what_is_due_and_engines_read_what_rules_read() -> None:
    families = (published("memory_usage"), published("disk_usage", 4), published("uptime"))
    found = cost(MEMORY, DISKS, families=families, engines=3)
    engines = 3 * 12
    assert found.transactions.full == 10 * 12 + engines
    assert found.sets.full == 10 * (12 + 2 + 2) + 2 * engines
    assert found.engine.events_per_second.full == pytest.approx(10 * (12 + 2) / 60)
    assert found.reads_per_second.full == pytest.approx(10 * 12 / 60 + 3 * 10 * (12 + 2) / 60)
    assert found.connections == 13
    assert found.engine.watches == 6 + 3 + 1 + 10 * (3 + 2)


def test_at_rest_only_families_that_a_rule_needs_whole_are_written_at_full_rate() -> None:
    families = (published("memory_usage"), published("load_average"))
    resting = cost(MEMORY, families=families, resting=60.0)
    assert [one.every.rest for one in resting.host.families] == [60.0, 60.0]
    assert (resting.host.transactions.rest, resting.host.transactions.full) == (1, 12)
    awake = cost(MEMORY, MEMORY_AVG, families=families, resting=60.0)
    assert [(one.every.rest, one.needs_all) for one in awake.host.families] == [(5.0, True), (60.0, False)]
    assert any("memory_usage: some rule needs every sample" in line for line in advise(awake))
    full = cost(MEMORY, families=families, resting=None)
    assert full.host.transactions.rest == 12


def test_who_minds_silence_hears_more_often() -> None:
    rule = MEMORY.replace("}", ", no_data: {after: 30s, then: alert}}")
    (family,) = cost(rule, resting=60.0).host.families
    assert family.every.rest == 10.0


@pytest.mark.parametrize(
    ("rules", "watches"),
    [
        (["znode:/controller#exists"], {"znode:/controller": (1, 0)}),
        (["znode:/brokers/ids#children"], {"znode:/brokers/ids": (1, 1)}),
        (["znode:/a/*#value", "znode:/a/*#children", "znode:/a/*#age"], {"znode:/a/*": (100, 1 + 100)}),
        (["znode:/a/{b}/{c}/d#value"], {"znode:/a/{b}/{c}/d": (100, 1 + 10)}),
    ],
    ids=["one", "children", "matches", "folders"],
)
def test_znodes_are_watched_once_for_all_rules(rules: list[str], watches: dict[str, tuple[int, int]]) -> None:
    lines = [
        f'{{name: r{number}, metric: "{one}", comparator: "==", threshold: 1}}' for number, one in enumerate(rules)
    ]
    found = cost(*lines, families=(), hosts=1)
    assert {one.pattern: (one.data_watches, one.children_watches) for one in found.patterns} == watches
    assert found.engine.watches == 6 + 1 + 3 + sum(map(sum, watches.values()))


def test_what_patterns_share_is_watched_once_and_other_ensembles_count_apart() -> None:
    rule = '{{name: {}, metric: "{}", comparator: "==", threshold: 1}}'
    near = cost(
        rule.format("a", "znode:/topics/{topic}#value"),
        rule.format("b", "znode:/topics/*/state#value"),
        families=(),
        hosts=1,
    )
    assert near.engine.watches == 6 + 1 + 3 + (1 + 100 + 100)
    far = cost(rule.format("a", "kafka:/topics/{topic}#value"), families=(), hosts=1)
    assert (far.engine.watches, far.engine.watches_elsewhere) == (6 + 1 + 3, 101)


def test_windows_take_memory_by_their_length() -> None:
    plain, average = cost(MEMORY), cost(MEMORY_AVG)
    windows = "windows (`over`)"
    assert plain.engine.memory_by[windows] == 0
    assert 10 * 120 * 60 < average.engine.memory_by[windows] < 10 * 120 * 120
    faster = cost(MEMORY_AVG, families=(published("memory_usage", interval=0.2),))
    assert faster.engine.memory_by[windows] < 10 * 1100 * 100


def test_a_rule_that_is_off_costs_nothing() -> None:
    found = cost(MEMORY.replace("}", ", enabled: false}"))
    assert (found.engine.events_per_second.full, found.host.families[0].readers) == (0, 0)


def test_advice_names_what_would_help() -> None:
    families = (published("memory_usage", interval=1.0), published("disk_io", 64), published("load_average"))
    lines = list(advise(cost(MEMORY, families=families, engines=4)))
    assert any(line.startswith("only memory_usage is read every 1s: with 5s") and "20%" in line for line in lines)
    assert any("families that no rule reads, disk_io, load_average first" in line for line in lines)
    assert any(line.startswith("4 engines each read everything") for line in lines)
    assert list(advise(cost(MEMORY, families=()))) == []
