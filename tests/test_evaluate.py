"""What one sample says of each series that a rule looks at."""

from __future__ import annotations

from typing import Any

import pytest

from zkalert.evaluate import Point, Points, condition_of, evaluate, matches_host
from zkalert.metrics import parse_metric
from zkalert.model import Comparator, HostInfo, HostMatch, Moment, Observation, Outcome, Rule, Sample


def rule(metric: str = "memory_usage", comparator: str = ">", threshold: float = 90, **more: Any) -> Rule:
    return Rule(name="r", metric=parse_metric(metric), comparator=Comparator(comparator), threshold=threshold, **more)


def seen(family: str, at: float = 100.0, *, instances: Any = None, **values: Any) -> Observation:
    sample = Sample(family=family, at=at, interval=5, max_age=15, values=values, instances=instances or {})
    return Observation(host="web1", sample=sample, now=Moment(at, at - 50))


@pytest.mark.parametrize(
    ("comparator", "below", "equal", "above"),
    [
        (">", False, False, True),
        (">=", False, True, True),
        ("<", True, False, False),
        ("<=", True, True, False),
        ("==", False, True, False),
        ("!=", True, False, True),
    ],
)
def test_each_comparator_holds_the_value_against_the_threshold(
    comparator: str, below: bool, equal: bool, above: bool
) -> None:
    condition = condition_of(rule(comparator=comparator))
    outcomes = [
        evaluate(condition, {}, seen("memory_usage", percent=value))[0][0][1].outcome for value in (89.9, 90, 90.1)
    ]
    assert [outcome is Outcome.TRUE for outcome in outcomes] == [below, equal, above]


def test_a_verdict_carries_the_value_and_how_long_the_sample_speaks() -> None:
    verdicts, _ = evaluate(condition_of(rule()), {}, seen("memory_usage", percent=95))
    assert verdicts == [(None, (Outcome.TRUE, 95.0, 15))]


def test_a_field_that_is_missing_or_a_text_says_nothing() -> None:
    condition = condition_of(rule())
    assert evaluate(condition, {}, seen("memory_usage", total=5))[0] == []
    assert evaluate(condition, {}, seen("memory_usage", percent="much"))[0] == []


INSTANCES = {"/": {"percent": 95.0}, "/data/a": {"percent": 10.0}, "/data/b": {"percent": 99.0}, "/odd": {"total": 1}}


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        pytest.param(None, ["/", "/data/a", "/data/b"], id="a family without a whole value: each"),
        pytest.param(("*",), ["/", "/data/a", "/data/b"], id="star: each"),
        pytest.param(("/data/*",), ["/data/a", "/data/b"], id="a glob"),
        pytest.param(("/", "/data/b"), ["/", "/data/b"], id="a list"),
        pytest.param(("/none",), [], id="none that is there"),
    ],
)
def test_instances_are_chosen_by_globs(globs: tuple[str, ...] | None, names: list[str]) -> None:
    verdicts, _ = evaluate(
        condition_of(rule("disk_usage", instances=globs)), {}, seen("disk_usage", instances=INSTANCES)
    )
    assert [instance for instance, _ in verdicts] == names


def test_without_instances_a_family_with_a_whole_value_is_judged_by_it_alone() -> None:
    observation = seen("cpu_usage", percent=95, instances={"0": {"percent": 99}})
    assert [instance for instance, _ in evaluate(condition_of(rule("cpu_usage")), {}, observation)[0]] == [None]
    each = condition_of(rule("cpu_usage", instances=("*",)))
    assert [instance for instance, _ in evaluate(each, {}, observation)[0]] == ["0"]


def test_a_counter_is_judged_by_its_rate_between_two_samples() -> None:
    condition = condition_of(rule("network_io.rx_bytes", threshold=1000))
    verdicts, points = evaluate(condition, {}, seen("network_io", 100, instances={"eth0": {"rx_bytes": 5000}}))
    assert verdicts == []
    verdicts, points = evaluate(condition, points, seen("network_io", 105, instances={"eth0": {"rx_bytes": 15000}}))
    assert verdicts[0][1][:2] == (Outcome.TRUE, 2000.0)
    verdicts, points = evaluate(condition, points, seen("network_io", 110, instances={"eth0": {"rx_bytes": 500}}))
    assert verdicts[0][1][:2] == (Outcome.FALSE, 100.0), "after a reset the count since then is the increase"


@pytest.mark.parametrize(
    ("ensemble", "ours", "host"),
    [
        pytest.param(5, 5, 5, id="all agree"),
        pytest.param(0.1, 5, 5, id="the ensemble's clock was set back"),
        pytest.param(-3600, 5, 5, id="by an hour"),
        pytest.param(3605, 5, 5, id="it jumped ahead"),
        pytest.param(5, 0.001, 5, id="the first sample arrived late"),
        pytest.param(5, 5, -40, id="the host's clock was set back"),
    ],
)
def test_no_single_clock_that_is_off_changes_a_rate(ensemble: float, ours: float, host: float) -> None:
    condition = condition_of(rule("network_io.rx_bytes"))
    points: Points = {"eth0": Point(5000, Moment(1e9, 50.0), 1e9)}
    sample = Sample(
        family="network_io", at=1e9 + host, interval=5, max_age=15, instances={"eth0": {"rx_bytes": 20_000}}
    )
    observation = Observation(host="web1", sample=sample, now=Moment(1e9 + ensemble, 50 + ours))
    ((_, verdict),) = evaluate(condition, points, observation)[0]
    assert verdict.value == pytest.approx(3000)


@pytest.mark.parametrize("at", [100.0, 40.0])
def test_no_rate_comes_of_a_clock_that_stands_or_goes_back(at: float) -> None:
    condition = condition_of(rule("network_io.rx_bytes"))
    points: Points = {"eth0": Point(5000, Moment(100.0, 50.0), 100.0)}
    assert evaluate(condition, points, seen("network_io", at, instances={"eth0": {"rx_bytes": 9000}}))[0] == []


@pytest.mark.parametrize(
    ("hosts", "fits"),
    [
        pytest.param((), True, id="no hosts named: all"),
        pytest.param((HostMatch(glob="web*"),), True, id="a glob"),
        pytest.param((HostMatch(glob="db*"),), False, id="another glob"),
        pytest.param((HostMatch(glob="db*"), HostMatch(glob="web1")), True, id="any of a list"),
        pytest.param((HostMatch(labels={"role": "kafka"}),), True, id="a label"),
        pytest.param((HostMatch(labels={"role": "kafka", "dc": "b"}),), False, id="all labels must fit"),
        pytest.param((HostMatch(labels={"owner": "me"}),), False, id="a label it does not have"),
    ],
)
def test_hosts_are_chosen_by_globs_and_labels(hosts: tuple[HostMatch, ...], fits: bool) -> None:
    host = HostInfo(name="web1", labels={"role": "kafka", "dc": "a"})
    assert matches_host(rule(hosts=hosts), host) is fits
