"""What samples say of each series that a rule with one term looks at, and which series those are."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from tests.rulekit import COVER, Looker, condition, moment, rule, seen, term
from zkalert.evaluate import MOST_SECONDS, covers, families_of, instance_kind, look_of, matches_host, variant
from zkalert.evaluate.terms import Timeline, Track
from zkalert.model import (
    Across,
    HostInfo,
    HostMatch,
    Moment,
    Observation,
    Of,
    Outcome,
    Override,
    Sample,
    Severity,
    Stat,
    Step,
    Total,
    Verdict,
)

TRUE, BETWEEN, FALSE = Outcome.TRUE, Outcome.BETWEEN, Outcome.FALSE
MOUNTS = {"/": {"percent": 95.0}, "/data/a": {"percent": 10.0}, "/data/b": {"percent": 99.0}, "/odd": {"total": 1}}


def names(verdicts: list[tuple[str | None, Verdict]]) -> list[str | None]:
    return [instance for instance, _ in verdicts]


# One gauge ------------------------------------------------------------------------------------------------------------


def test_a_verdict_carries_the_value_and_how_long_the_sample_speaks() -> None:
    assert Looker(rule()).at("memory_usage", percent=95) == [(None, (TRUE, 95, COVER, (), 0, (), None))]


def test_a_field_that_is_missing_or_a_text_says_nothing() -> None:
    looker = Looker(rule())
    assert looker.at("memory_usage", total=5) == []
    assert looker.at("memory_usage", percent="much") == []


def test_a_text_is_judged_as_a_text_and_a_number_in_its_place_says_nothing() -> None:
    looker = Looker(rule(condition("host.kernel", "matches", "Linux 5\\..*")))
    assert looker.outcome("host", kernel="Linux 5.10") is TRUE
    assert looker.outcome("host", kernel="Linux 6.1") is FALSE
    assert looker.outcome("host", kernel=5) is None


def test_a_ladder_of_equal_values_crosses_with_any_of_its_steps() -> None:
    steps = (Step(threshold=1.0), Step(severity=Severity.CRITICAL, threshold=2.0))
    looker = Looker(rule(condition("process_number.zombie", "==", None), steps=steps))
    said = [looker.verdict("process_number", zombie=value) for value in (2, 1, 3)]
    assert [one and (one.outcome, one.marks) for one in said] == [
        (TRUE, (FALSE, TRUE)),
        (TRUE, (TRUE, FALSE)),
        (FALSE, (FALSE, FALSE)),
    ]


def test_every_step_of_a_ladder_is_judged_and_the_lowest_is_the_outcome() -> None:
    steps = (Step(threshold=80.0, clear=70.0), Step(severity=Severity.CRITICAL, threshold=95.0))
    looker = Looker(rule(condition(threshold=None), steps=steps))
    marks = {value: looker.verdict("memory_usage", percent=value) for value in (99, 90, 75, 60)}
    assert {value: verdict and (verdict.outcome, verdict.marks) for value, verdict in marks.items()} == {
        99: (TRUE, (TRUE, TRUE)),
        90: (TRUE, (TRUE, FALSE)),
        75: (BETWEEN, (BETWEEN, FALSE)),
        60: (FALSE, (FALSE, FALSE)),
    }


# Who is looked at -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [None, 5.0], ids=["last value", "window"])
@pytest.mark.parametrize(
    ("globs", "unwanted", "expected"),
    [
        pytest.param(None, (), ["/", "/data/a", "/data/b"], id="a family without a whole value: each"),
        pytest.param(("*",), (), ["/", "/data/a", "/data/b"], id="star: each"),
        pytest.param(("/data/*",), (), ["/data/a", "/data/b"], id="a glob"),
        pytest.param(("/", "/data/b"), (), ["/", "/data/b"], id="a list"),
        pytest.param(("/none",), (), [], id="none that is there"),
        pytest.param(None, ("/data/*",), ["/"], id="all but a glob"),
        pytest.param(("/data/*",), ("*/b", "/"), ["/data/a"], id="a glob but not another"),
    ],
)
def test_instances_are_chosen_by_globs(
    globs: tuple[str, ...] | None, unwanted: tuple[str, ...], expected: list[str], over: float | None
) -> None:
    looked_at = rule(condition(term("disk_usage", over)), instances=globs, not_instances=unwanted)
    looker = Looker(looked_at)
    looker.at("disk_usage", 95, instances=MOUNTS)
    assert names(looker.at("disk_usage", 100, instances=MOUNTS)) == expected
    assert [name for name in MOUNTS if covers(looked_at, name) and name != "/odd"] == expected


def test_without_instances_a_family_with_a_whole_value_is_judged_by_it_alone() -> None:
    cores = {"0": {"percent": 99}}
    assert names(Looker(rule(condition("cpu_usage"))).at("cpu_usage", percent=95, instances=cores)) == [None]
    each = rule(condition("cpu_usage"), instances=("*",))
    assert names(Looker(each).at("cpu_usage", percent=95, instances=cores)) == ["0"]
    assert (instance_kind(rule(condition("cpu_usage"))), instance_kind(each)) == (None, "core")


@pytest.mark.parametrize(
    ("hosts", "unwanted", "fits"),
    [
        pytest.param((), (), True, id="no hosts named: all"),
        pytest.param((HostMatch(glob="web*"),), (), True, id="a glob"),
        pytest.param((HostMatch(glob="db*"),), (), False, id="another glob"),
        pytest.param((HostMatch(glob="WEB*"),), (), False, id="case matters"),
        pytest.param((HostMatch(glob="db*"), HostMatch(glob="web1")), (), True, id="any of a list"),
        pytest.param((HostMatch(labels={"role": "kafka"}),), (), True, id="a label"),
        pytest.param((HostMatch(labels={"role": "kafka", "dc": "b"}),), (), False, id="all labels must fit"),
        pytest.param((HostMatch(labels={"owner": "me"}),), (), False, id="a label it does not have"),
        pytest.param((), (HostMatch(glob="web*"),), False, id="all but a glob"),
        pytest.param((HostMatch(glob="web*"),), (HostMatch(labels={"dc": "a"}),), False, id="a glob but not a label"),
        pytest.param((HostMatch(glob="web*"),), (HostMatch(glob="web2"),), True, id="a glob but not another"),
    ],
)
def test_hosts_are_chosen_by_globs_and_labels(
    hosts: tuple[HostMatch, ...], unwanted: tuple[HostMatch, ...], fits: bool
) -> None:
    host = HostInfo(name="web1", labels={"role": "kafka", "dc": "a"})
    assert matches_host(rule(hosts=hosts, not_hosts=unwanted), host) is fits


def test_a_rule_covers_the_whole_value_or_instances_never_both() -> None:
    assert covers(rule(), None)
    assert not covers(rule(), "0")
    assert not covers(rule(condition("disk_usage")), None)
    assert covers(rule(across=Across(of=Of.HOSTS, stat=Total.SUM, by="dc")), "gru1")


def test_the_families_of_a_rule_are_those_of_all_its_terms_once() -> None:
    joined = rule(condition("disk_io.queue"), condition("memory_usage", relative_to=term("swap_usage")), condition())
    assert families_of(joined) == ("disk_io", "memory_usage", "swap_usage")


# Overrides ------------------------------------------------------------------------------------------------------------

WEB = HostInfo(name="web1", labels={"role": "web"})


def test_the_last_override_that_fits_wins_key_by_key() -> None:
    base = rule(
        condition("disk_usage", ">", 90.0, 85.0),
        steps=(Step(severity=Severity.WARNING, duration=60),),
        overrides=(
            Override(hosts=(HostMatch(glob="web*"),), threshold=80.0, duration=5.0),
            Override(instances=("/data*",), clear=60.0, severity=Severity.CRITICAL),
            Override(hosts=(HostMatch(glob="db*"),), threshold=1.0),
        ),
    )
    data = variant(base, WEB, "/data/a")
    assert (data.conditions[0].threshold, data.conditions[0].clear) == (80.0, 60.0)
    assert (data.steps[0].severity, data.steps[0].duration) == (Severity.CRITICAL, 5.0)
    root = variant(base, WEB, "/")
    assert (root.conditions[0].threshold, root.conditions[0].clear) == (80.0, 85.0)
    assert root.steps[0].severity is Severity.WARNING
    assert variant(base, HostInfo(name="mail"), "/") is base


def test_an_override_for_instances_is_not_for_the_whole_value() -> None:
    base = rule(overrides=(Override(instances=("*",), threshold=1.0),))
    assert variant(base, WEB, None) is base


@pytest.mark.parametrize("over", [None, 5.0], ids=["last value", "window"])
def test_each_series_is_judged_by_its_own_limits(over: float | None) -> None:
    base = rule(condition(term("disk_usage", over)), overrides=(Override(instances=("/data*",), threshold=5.0),))
    looker = Looker(base, WEB)
    looker.at("disk_usage", 95, instances=MOUNTS)
    outcomes = {name: verdict.outcome for name, verdict in looker.at("disk_usage", 100, instances=MOUNTS)}
    assert outcomes == {"/": TRUE, "/data/a": TRUE, "/data/b": TRUE}
    assert Looker(base, WEB).at("disk_usage", instances={"/": {"percent": 6}}) == (
        [("/", (FALSE, 6, COVER, (), 0, (), None))] if over is None else []
    )


def test_an_override_of_a_host_holds_for_a_number_of_its_instances() -> None:
    across = Across(of=Of.INSTANCES, stat=Total.MAX)
    base = rule(
        condition("disk_usage"), across=across, overrides=(Override(hosts=(HostMatch(glob="web*"),), threshold=99.5),)
    )
    assert Looker(base, WEB).outcome("disk_usage", instances=MOUNTS) is FALSE
    assert Looker(base, HostInfo(name="db1")).outcome("disk_usage", instances=MOUNTS) is TRUE


# Counters and windows -------------------------------------------------------------------------------------------------


def test_a_counter_is_judged_by_its_rate_between_two_samples() -> None:
    looker = Looker(rule(condition("network_io.rx_bytes", threshold=1000)))
    said = [
        looker.verdict("network_io", 100 + 5 * number, instances={"eth0": {"rx_bytes": count}})
        for number, count in enumerate((5000, 15000, 500))
    ]
    assert said[0] is None
    assert said[1] is not None
    assert said[2] is not None
    assert said[1][:2] == (TRUE, 2000.0)
    assert said[2][:2] == (FALSE, 100.0), "after a reset the count since then is the increase"


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
@pytest.mark.parametrize("over", [None, 10.0], ids=["last two", "window"])
def test_no_single_clock_that_is_off_changes_a_rate(
    ensemble: float, ours: float, host: float, over: float | None
) -> None:
    looker = Looker(rule(condition(term("network_io.rx_bytes", over, Stat.RATE))))
    assert looker.at("network_io", 50.0, instances={"eth0": {"rx_bytes": 5000}}) == []
    start = moment(50.0)
    sample = Sample(
        family="network_io", at=start.at + host, interval=5, max_age=15, instances={"eth0": {"rx_bytes": 20_000}}
    )
    observation = Observation(host="web1", sample=sample, now=Moment(start.at + ensemble, 50 + ours))
    ((_, verdict),) = looker.look(observation)
    assert verdict.value == pytest.approx(3000)


@pytest.mark.parametrize("mono", [100.0, 40.0])
def test_no_rate_comes_of_clocks_that_stand_or_go_back(mono: float) -> None:
    looker = Looker(rule(condition("network_io.rx_bytes")))
    looker.at("network_io", 100.0, instances={"eth0": {"rx_bytes": 5000}})
    assert looker.at("network_io", mono, instances={"eth0": {"rx_bytes": 9000}}) == []


def test_a_window_says_nothing_before_half_of_it_was_observed() -> None:
    looker = Looker(rule(condition(term("memory_usage", over=20.0))))
    values = [looker.verdict("memory_usage", 5.0 * number, percent=value) for number, value in enumerate((80, 90, 100))]
    assert values[:2] == [None, None]
    assert values[2] is not None
    assert values[2].value == 85, "two samples have spoken, for five seconds each"


HUGE = 1.7e308


@pytest.mark.parametrize("stat", [one for one in Stat if one not in (Stat.TIME_TO, Stat.PERCENTILE)])
@pytest.mark.parametrize("metric", ["memory_usage.used", "swap_usage.in"])
def test_no_number_is_beyond_what_can_be_written(metric: str, stat: Stat) -> None:
    look = look_of(one := rule(condition(term(metric, 10.0, stat), "!=", 1.0)), lambda _: one).look
    family, _, field = metric.partition(".")
    for mono in range(0, 60, 5):
        values: dict[str, Any] = {field: HUGE if mono % 10 else -HUGE}
        for _, verdict in look(seen(family, mono, **values)):
            assert isinstance(verdict.value, (int, float))
            assert math.isfinite(verdict.value)


def test_a_quotient_and_a_rate_beyond_all_numbers_are_the_greatest_one() -> None:
    quotient = rule(condition("memory_usage.used", relative_to=term("memory_usage.free")))
    assert Looker(quotient).verdict("memory_usage", used=-HUGE, free=1e-9) == (
        FALSE,
        -sys.float_info.max,
        COVER,
        (),
        0,
        (),
        None,
    )
    rate = Looker(rule(condition("swap_usage.in")))
    rate.at("swap_usage", 0, **{"in": 0})
    verdict = rate.verdict("swap_usage", 1e-3, **{"in": HUGE})
    assert verdict is not None
    assert verdict.value == sys.float_info.max


def test_the_time_that_a_line_needs_is_bounded() -> None:
    looker = Looker(rule(condition(term("disk_usage.free", 60.0, Stat.TIME_TO, 0.0), "<", 3600.0)))

    def free(mono: float, value: float) -> Verdict | None:
        return looker.verdict("disk_usage", mono, instances={"/": {"free": value}})

    flat = [free(10.0 * number, 5e9) for number in range(8)][-1]
    assert flat is not None
    assert (flat.outcome, flat.value) == (FALSE, MOST_SECONDS), "JSON has no infinity"
    falling = [free(1000 + 10.0 * number, 1000 - 100.0 * number) for number in range(8)][-1]
    assert falling is not None
    assert falling.outcome is TRUE
    assert falling.value == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("metric", "family", "values"),
    [
        pytest.param("host.kernel", "host", ["Linux 5", "Linux 5", "Linux 6", "Linux 6", "Linux 6"], id="a text"),
        pytest.param("uptime.boot_time", "uptime", [7, 7, 8, 8, 8], id="a number"),
    ],
)
def test_changed_holds_while_a_change_is_in_its_window(metric: str, family: str, values: list[Any]) -> None:
    looker = Looker(rule(condition(term(metric, 10.0, Stat.CHANGES), "changed", None)))
    field = metric.partition(".")[2]
    outcomes = [looker.outcome(family, 5.0 * number, **{field: value}) for number, value in enumerate(values)]
    assert outcomes == [None, FALSE, TRUE, TRUE, FALSE]


def test_a_change_is_seen_at_once_though_the_window_has_hardly_begun() -> None:
    looker = Looker(rule(condition(term("host.kernel", 3600.0, Stat.CHANGES), "changed", None)))
    assert looker.outcome("host", 0.0, kernel="a") is None, "that nothing changed is not known yet"
    assert looker.outcome("host", 5.0, kernel="b") is TRUE


def test_the_changes_of_a_text_are_counted() -> None:
    looker = Looker(rule(condition(term("host.kernel", 20.0, Stat.CHANGES), ">=", 3.0)))
    outcomes = [looker.verdict("host", 5.0 * number, kernel=value) for number, value in enumerate("aababbb")]
    assert [verdict and verdict.value for verdict in outcomes] == [None, None, 1, 2, 3, 2, 1]


def test_instances_that_are_gone_leave_no_windows_behind() -> None:
    track = Track(term("disk_usage", 60.0), picks=lambda _: True)
    timeline = Timeline()
    for number in range(2000):
        observation = seen("disk_usage", 5.0 * number, instances={f"/run/{number}": {"percent": 1.0}})
        timeline.move(observation)
        track.read(observation, timeline)
    assert len(track._series) < 600
