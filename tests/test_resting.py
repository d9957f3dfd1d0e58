"""What rules ask of samplers, from the rules of an engine to what a sampler writes: payloads, znodes, whole ways."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.acceptance.stage import RunningEngine, Stage, stage
from tests.helpers import expire_session, lose_connection, wait_for
from tests.rulekit import Looker, condition, rule, seen
from zkalert import clock, config
from zkalert.agent.limits import AskedLimits
from zkalert.config import Flags, Publishing
from zkalert.engine import EngineSettings
from zkalert.metrics import SAMPLED
from zkalert.model import (
    Comparator,
    Counts,
    DocumentError,
    FamilyLimits,
    Limit,
    Observation,
    Outcome,
    Problem,
    Sample,
    Severity,
    ZookeeperSettings,
)
from zkalert.sampler import Collector, Sampler
from zkalert.store import NotOwner, OutOfStep
from zkalert.store.thresholds import write_thresholds
from zkalert.tree import MAX_LIMITS, Tree, decode_limits, decode_sample, encode_limits, encode_sample
from zkalert.zk import Client, read_below

__all__ = ["stage"]  # a fixture

HOST = "web1"

# Payloads -----------------------------------------------------------------------------------------------------------

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**62), 2**62)
names = st.text(max_size=60)
of_pairs = st.sampled_from([Comparator.BETWEEN, Comparator.OUTSIDE])
of_numbers = st.sampled_from([Comparator.GT, Comparator.GE, Comparator.LT, Comparator.LE, Comparator.EQ, Comparator.NE])
flags = {"field": names, "is_rate": st.booleans(), "by_instance": st.booleans()}
limits = st.builds(Limit, comparator=of_numbers, threshold=numbers, **flags) | st.builds(
    Limit, comparator=of_pairs, threshold=st.tuples(numbers, numbers), **flags
)
families = st.builds(
    FamilyLimits,
    limits=st.lists(limits, max_size=5).map(tuple),
    texts=st.lists(names, max_size=3).map(tuple),
    is_full=st.booleans(),
    quiet_after=st.none() | st.floats(0.001, 1e9),
    settles=st.floats(0, 1e9),
)


@given(families)
def test_what_is_asked_of_a_family_comes_back_as_it_was_written(asked: FamilyLimits) -> None:
    assert decode_limits(encode_limits(asked)) == asked


def test_what_would_be_too_long_to_read_asks_for_every_sample() -> None:
    many = tuple(
        Limit(field="percent", comparator=Comparator.GT, threshold=float(number)) for number in range(MAX_LIMITS + 1)
    )
    assert decode_limits(encode_limits(FamilyLimits(limits=many, settles=5.0))) == FamilyLimits(
        is_full=True, settles=5.0
    )


WHOLE: dict[str, Any] = {"v": 1, "limits": [], "texts": [], "full": False, "quiet_after": None, "settles": 0}
LIMIT = {"field": "percent", "comparator": ">", "threshold": 1}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"v": 2}, id="a version of tomorrow"),
        pytest.param({"limits": {}}, id="limits that are no list"),
        pytest.param({"limits": [LIMIT] * (MAX_LIMITS + 1)}, id="too many"),
        pytest.param({"limits": [LIMIT | {"comparator": "matches", "threshold": "(a+)+$"}]}, id="a pattern"),
        pytest.param({"limits": [LIMIT | {"comparator": "between"}]}, id="half a pair"),
        pytest.param({"limits": [LIMIT | {"threshold": "1"}]}, id="a text for a number"),
        pytest.param({"limits": [LIMIT | {"comparator": "is"}]}, id="a comparator nobody knows"),
        pytest.param({"limits": ["percent > 1"]}, id="no object"),
        pytest.param({"texts": [1]}, id="a field that is no text"),
        pytest.param({"settles": -1}, id="a span below 0"),
        pytest.param({"quiet_after": 0}, id="a patience of nothing"),
    ],
)
def test_what_is_no_such_payload_is_a_problem_and_never_raises(change: Mapping[str, Any]) -> None:
    assert isinstance(decode_limits(json.dumps(WHOLE).encode()), FamilyLimits)
    assert isinstance(decode_limits(json.dumps({**WHOLE, **change}).encode()), Problem)


counts = st.dictionaries(names, numbers, max_size=3)


@given(st.builds(Counts, span=st.floats(0.001, 1e6), values=counts, instances=st.dictionaries(names, counts)))
def test_what_counters_showed_before_comes_back_with_the_sample(before: Counts) -> None:
    sample = Sample(family="disk_io", at=1.0, interval=5.0, max_age=15.0, before=before)
    assert decode_sample("disk_io", encode_sample(sample)) == sample


@pytest.mark.parametrize(
    "before", [{}, 1, {"span": 0}, {"span": 5, "values": {"in": "many"}}, {"span": 5, "instances": {"sda": 1}}]
)
def test_a_sample_whose_earlier_counts_cannot_be_used_is_a_problem(before: object) -> None:
    sample = json.loads(encode_sample(Sample(family="disk_io", at=1.0, interval=5.0, max_age=15.0)))
    assert isinstance(decode_sample("disk_io", json.dumps(sample | {"before": before}).encode()), Problem)


# Rates of what was skipped ------------------------------------------------------------------------------------------


def resting(family: str, mono: float, before: Counts, **more: Any) -> Observation:
    """A sample that brings what its counters showed one reading before."""
    observation = seen(family, mono)
    return replace(observation, sample=replace(observation.sample, before=before, **more))


def test_a_rate_is_that_of_the_last_reading_however_long_ago_the_last_sample_was() -> None:
    look = Looker(rule(condition("swap_usage.in", ">", 1000.0))).look
    zero = Counts(span=5.0, values={"in": 0.0})
    ((_, calm),) = look(resting("swap_usage", 0.0, zero, values={"in": 0.0}))
    ((_, burst),) = look(resting("swap_usage", 60.0, zero, values={"in": 10_000.0}))
    assert (calm.outcome, calm.value) == (Outcome.FALSE, 0.0)
    assert (burst.outcome, burst.value) == (Outcome.TRUE, 2000.0)


def test_the_first_sample_of_a_resting_family_has_its_rates_already() -> None:
    look = Looker(rule(condition("network_io.rx_errors", ">", 10.0))).look
    before = Counts(span=5.0, instances={"eth0": {"rx_errors": 100.0}})
    instances = {"eth0": {"rx_errors": 200.0}, "eth1": {"rx_errors": 9.0}}
    verdicts = dict(look(resting("network_io", 0.0, before, instances=instances)))
    assert {name: verdict.value for name, verdict in verdicts.items()} == {"eth0": 20.0}


# The shares of processors -------------------------------------------------------------------------------------------


def test_a_glance_at_the_processors_is_as_smooth_as_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake clock of the processors: no real one can be made busy for just two tenths of a second."""
    busy, idle = [0.0], psutil.cpu_times()._replace(**dict.fromkeys(psutil.cpu_times()._fields, 0.0))

    def cpu_times(*, percpu: bool) -> list[Any]:
        assert percpu
        return [idle._replace(user=busy[0], idle=now - busy[0])]

    monkeypatch.setattr(psutil, "cpu_times", cpu_times)
    now = 0.0
    collector = Collector(now)
    for number in range(1, 51):
        now = number * 0.2
        collector.read("cpu_usage", now)
    now, busy[0] = 10.2, 0.2
    reading = collector.read("cpu_usage", now)
    assert reading is not None
    assert float(reading.values["percent"]) == pytest.approx(4.0, abs=0.2), "a fifth of a second in five"
    for number in range(26):
        now, busy[0] = 10.4 + number * 0.2, 0.4 + number * 0.2
        reading = collector.read("cpu_usage", now)
    assert reading is not None
    assert reading.values["percent"] == pytest.approx(100.0)


# The configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "publishing"),
    [
        ("{}", Publishing(resting=90.0, fast=0.2)),
        ("{publish: adaptive}", Publishing()),
        ("{publish: full, fast: off}", Publishing(resting=None, fast=None)),
        ("{publish: full, resting: 30s}", Publishing(resting=None)),
        ("{resting: 5m, fast: 1s}", Publishing(resting=300.0, fast=1.0)),
    ],
)
def test_publishing_is_configured(written: str, publishing: Publishing, tmp_path: Path) -> None:
    (tmp_path / "zkalert.yaml").write_text(f"sampler: {written}\n", encoding="utf-8")
    assert config.load(Flags(config=tmp_path / "zkalert.yaml"), {}).publishing == publishing


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{publish: sometimes}", "adaptive"),
        ("{resting: 1ms}", "1s to 1h"),
        ("{fast: 1ms}", "50ms to 1m"),
        ("{fast: never}", "off"),
    ],
)
def test_wrong_publishing_is_told_with_what_is_right(written: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "zkalert.yaml").write_text(f"sampler: {written}\n", encoding="utf-8")
    with pytest.raises(DocumentError) as caught:
        config.load(Flags(config=tmp_path / "zkalert.yaml"), {})
    (finding,) = caught.value.findings
    assert expected in f"{finding.message} {finding.expected} {finding.hint}"


# The znodes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fence(client: Client, tree: Tree) -> str:
    path = f"{tree.shard(0)}/lock"
    client.create(path, makepath=True)
    return path


def versions(client: Client, tree: Tree) -> dict[str, int]:
    return {name: client.exists(f"{tree.thresholds}/{name}").version for name in client.get_children(tree.thresholds)}


def test_only_what_changed_is_written_and_what_is_not_wanted_goes(client: Client, tree: Tree, fence: str) -> None:
    assert write_thresholds(client, tree, {"a": b"1", "b": b"2"}, fence) == 2
    assert write_thresholds(client, tree, {"a": b"1", "b": b"2"}, fence) == 0
    client.create(f"{tree.thresholds}/x%", b"somebody else's")
    assert write_thresholds(client, tree, {"a": b"1", "b": b"3", "c": b"4"}, fence) == 3
    assert versions(client, tree) == {"a": 0, "b": 1, "c": 0}
    assert write_thresholds(client, tree, {"c": b"4"}, fence) == 2
    assert versions(client, tree) == {"c": 0}


def test_who_does_not_own_the_tree_changes_nothing(client: Client, tree: Tree, fence: str) -> None:
    write_thresholds(client, tree, {"a": b"1"}, fence)
    client.delete(fence)
    with pytest.raises(NotOwner):
        write_thresholds(client, tree, {"a": b"2"}, fence)
    assert client.get(tree.threshold("a"))[0] == b"1"


def test_who_was_overtaken_writes_over_nobody(
    client: Client, tree: Tree, fence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_thresholds(client, tree, {"a": b"1"}, fence)

    def overtaken(*args: Any) -> Any:
        found = list(read_below(*args))
        client.set(tree.threshold("a"), b"theirs")
        return found

    monkeypatch.setattr("zkalert.store.thresholds.read_below", overtaken)
    with pytest.raises(OutOfStep):
        write_thresholds(client, tree, {"a": b"2"}, fence)
    assert client.get(tree.threshold("a"))[0] == b"theirs"


MEMORY = 'rules: [{name: high, metric: memory_usage, comparator: ">", threshold: %d, clear: 5}]'


def asked(client: Client, tree: Tree, family: str) -> FamilyLimits | None:
    path = tree.threshold(family)
    found = decode_limits(client.get(path)[0]) if client.exists(path) else None
    return found if isinstance(found, FamilyLimits) else None


def test_the_owner_tells_samplers_what_its_rules_ask_and_a_standby_does_not(stage: Stage) -> None:
    client, tree = stage.client, stage.tree
    first = stage.engine(MEMORY % 90).wait_owner()
    wait_for(lambda: asked(client, tree, "memory_usage"), "what is asked of memory")
    limits = asked(client, tree, "memory_usage")
    assert limits is not None
    assert {limit.threshold for limit in limits.limits} == {90.0, 5.0}
    assert set(client.get_children(tree.thresholds)) == set(SAMPLED)
    assert asked(client, tree, "uptime") == FamilyLimits()
    stage.engine(MEMORY % 70)
    wait_for(lambda: len(client.get_children(tree.engines)) == 2, "the standby")
    first.engine.reload(stage.settings(MEMORY % 80))
    wait_for(lambda: 80.0 in thresholds(client, tree), "what the new rules ask")
    first.stop()
    wait_for(lambda: 70.0 in thresholds(client, tree), "what the rules of the next owner ask", 20)


def thresholds(client: Client, tree: Tree) -> set[float | tuple[float, float]]:
    limits = asked(client, tree, "memory_usage")
    return set() if limits is None else {limit.threshold for limit in limits.limits}


def test_what_somebody_looks_at_is_asked_for_whole(stage: Stage) -> None:
    settings = stage.settings(MEMORY % 90)
    shown = EngineSettings(
        zookeeper=settings.zookeeper, host="up", rules=settings.rules, show=frozenset({"load_average"})
    )
    running = RunningEngine(shown)
    try:
        running.wait_owner()
        wait_for(lambda: asked(stage.client, stage.tree, "load_average"), "what is asked of the load")
        assert asked(stage.client, stage.tree, "load_average") == FamilyLimits(is_full=True)
    finally:
        running.stop()


# What a sampler makes of it -----------------------------------------------------------------------------------------


class Bench:
    """A sampler that hears what is asked, whose time the test turns: `tick` makes every family due."""

    def __init__(self, client: Client, tree: Tree, *, resting: float | None = 60.0, fast: float | None = None) -> None:
        self.client, self.tree = client, tree
        self.kept: list[Sample] = []
        self.now = time.monotonic()
        self.asked = AskedLimits(client, tree, SAMPLED)
        self.sampler = Sampler(
            client=client,
            tree=tree,
            host=HOST,
            labels={},
            machine="here",
            intervals=dict.fromkeys(SAMPLED, 5.0),
            keep=self.kept.extend,
            asked=self.asked,
            resting=resting,
            fast=fast,
        )
        self.sampler.step(self.now)

    def tick(self, seconds: float = 5.0) -> None:
        self.now += seconds
        self.sampler.step(self.now)

    def tell(self, **limits: FamilyLimits) -> None:
        """The engine says what it asks of every family; of those that are not named, nothing."""
        self.client.ensure_path(self.tree.thresholds)
        for family in SAMPLED:
            path, payload = self.tree.threshold(family), encode_limits(limits.get(family, FamilyLimits()))
            if self.client.exists(path):
                self.client.set(path, payload)
            else:
                self.client.create(path, payload)
        told = {family: limits.get(family, FamilyLimits()) for family in SAMPLED}
        wait_for(lambda: self.asked() == told, "the sampler to hear what is asked")

    def version(self, family: str = "uptime") -> int:
        return int(self.client.exists(self.tree.family(HOST, family)).version)

    def sample(self, family: str = "uptime") -> Sample:
        found = decode_sample(family, self.client.get(self.tree.family(HOST, family))[0])
        assert isinstance(found, Sample)
        return found


def test_without_a_word_of_any_engine_every_sample_is_written(client: Client, tree: Tree) -> None:
    bench = Bench(client, tree)
    bench.tick()
    for _ in range(3):
        bench.tick()
    assert bench.version() == 3
    assert bench.sample().max_age == 15.0


def test_what_nobody_asks_for_is_written_once_a_minute_and_kept_every_time(client: Client, tree: Tree) -> None:
    bench = Bench(client, tree)
    bench.tell()
    for _ in range(25):
        bench.tick()
    assert bench.version() in (2, 3)
    assert (bench.sample().interval, bench.sample().max_age) == (60.0, 180.0)
    assert sum(sample.family == "uptime" for sample in bench.kept) == 25
    assert all(sample.interval == 5.0 and sample.before is None for sample in bench.kept)


def test_a_limit_that_holds_or_a_window_makes_the_full_rate(client: Client, tree: Tree) -> None:
    holds = FamilyLimits(limits=(Limit(field="seconds", comparator=Comparator.GT, threshold=0.0),))
    bench = Bench(client, tree)
    bench.tell(uptime=holds, load_average=FamilyLimits(is_full=True))
    for _ in range(5):
        bench.tick()
    assert (bench.version("uptime"), bench.version("load_average")) == (4, 4)
    assert bench.version("host") <= 1
    bench.tell()
    before = bench.version("uptime")
    for _ in range(5):
        bench.tick()
    assert bench.version("uptime") <= before + 2


@pytest.mark.parametrize("trouble", [lose_connection, expire_session])
def test_after_an_outage_everything_is_written_anew_and_rests_again(
    trouble: Callable[[Client], None], client: Client, tree: Tree
) -> None:
    bench = Bench(client, tree)
    bench.tell()
    bench.tick()
    bench.tick()
    before = bench.version()
    trouble(client)
    bench.tick()
    assert bench.version() == before + 1
    bench.tell(host=FamilyLimits(is_full=True))
    told, resting = bench.version("host"), bench.version()
    for _ in range(3):
        bench.tick()
    assert bench.version("host") == told + 3, "it hears what is asked after the outage too"
    assert bench.version() <= resting + 1


def test_when_the_word_is_taken_back_every_sample_is_written_again(client: Client, tree: Tree) -> None:
    bench = Bench(client, tree)
    bench.tell()
    bench.tick()
    client.delete(tree.thresholds, recursive=True)
    wait_for(lambda: not bench.asked(), "the sampler to hear that nothing is known")
    before = bench.version()
    for _ in range(3):
        bench.tick()
    assert bench.version() == before + 3


def test_a_word_that_cannot_be_read_asks_for_everything(
    client: Client, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(client, tree)
    bench.tell()
    bench.tick()
    client.set(tree.threshold("uptime"), b"{}")
    wait_for(lambda: "uptime" not in bench.asked(), "the sampler to hear of it")
    before = bench.version()
    for _ in range(3):
        bench.tick()
    assert bench.version() == before + 3
    assert "uptime cannot be used" in caplog.text


def test_a_crossing_between_two_ticks_is_written_at_once(
    client: Client, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = Limit(field="percent", comparator=Comparator.GT, threshold=99.5)
    bench = Bench(client, tree, fast=0.2)
    bench.tell(memory_usage=FamilyLimits(limits=(limit,)))
    bench.tick()
    bench.tick()
    version = bench.version("memory_usage")
    bench.tick(0.2)
    assert bench.version("memory_usage") == version
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(percent=99.9))
    bench.tick(0.2)
    assert bench.version("memory_usage") == version + 1
    assert bench.sample("memory_usage").values["percent"] == 99.9
    assert bench.sample("memory_usage").max_age == 15.0
    assert bench.kept[-1].values["percent"] == 99.9
    others = {family for family in SAMPLED if family != "memory_usage" and client.exists(tree.family(HOST, family))}
    assert {bench.version(family) for family in others} <= {0, 1}


def test_a_clock_that_is_set_wrong_is_told_of_at_once(
    client: Client, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake clock: this machine's cannot be set."""
    outside = Limit(field="clock_skew", comparator=Comparator.OUTSIDE, threshold=(-5.0, 5.0))
    bench = Bench(client, tree)
    bench.tell(host=FamilyLimits(limits=(outside,)))
    for _ in range(3):
        bench.tick()
    before = bench.version("host")
    bench.tick()
    assert bench.version("host") == before, "it rests"
    right, ahead = clock.wall, [40.0]
    monkeypatch.setattr(clock, "wall", lambda: right() + ahead[0])
    bench.tick()
    bench.tick()
    assert bench.version("host") == before + 2
    assert bench.sample("host").values["clock_skew"] == pytest.approx(40.0, abs=1.0)
    ahead[0] = 0.0
    bench.tick()
    assert bench.version("host") == before + 3
    assert bench.sample("host").values["clock_skew"] == pytest.approx(0.0, abs=1.0)
    for _ in range(8):
        bench.tick()
    settled = bench.version("host")
    for _ in range(4):
        bench.tick()
    assert bench.version("host") <= settled + 1


def test_a_rule_of_an_engine_fires_by_a_resting_sampler(stage: Stage, settings: ZookeeperSettings) -> None:
    """The whole way, with a limit that this very host is beyond."""
    bench = Bench(stage.client, stage.tree)
    stage.engine('rules: [{name: up, metric: uptime, comparator: ">", threshold: 1s, severity: info}]').wait_owner()
    wait_for(lambda: set(bench.asked()) == set(SAMPLED), "the sampler to hear what is asked")
    bench.tick()
    (alert,) = stage.wait_states("firing")
    assert (alert.rule, alert.severity) == ("up", Severity.INFO)
