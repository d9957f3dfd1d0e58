"""All rules and their alerts, driven as the engine does: samples are judged, timers fire, rules and hosts change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rulekit import COVER, OFFSET, Book, condition, moment, rule, seen, term
from zkalert.lifecycle import inactive
from zkalert.metrics import HOST_FAMILY
from zkalert.model import (
    MEMBERS_HOST,
    Across,
    HostInfo,
    HostMatch,
    Moment,
    NoData,
    Of,
    Override,
    Phase,
    Quiet,
    Reason,
    Severity,
    Stat,
    State,
    Step,
    Total,
)
from zkalert.rulebook import alive_sample
from zkalert.rulebook.timers import Timers

INACTIVE, PENDING, FIRING, CLEARING, RESOLVED = State
ALERT = NoData(after=30.0, then=Quiet.ALERT)


# Samples --------------------------------------------------------------------------------------------------------------


def test_a_sample_moves_the_series_of_every_rule_that_reads_its_family() -> None:
    book = Book(rule(name="a"), rule(condition(threshold=50.0), name="b"), rule(condition("cpu_usage"), name="c"))
    book.see("memory_usage", 0, percent=60)
    assert [(told.alert.rule, told.alert.host) for told in book.told] == [("b", "web1")]
    book.see("memory_usage", 5, percent=95)
    assert sorted(alert.rule for alert in book.book.alerts()) == ["a", "b"]


def test_series_that_were_never_out_of_bounds_cost_nothing() -> None:
    book = Book(rule(), hosts=("web1", "web2"))
    for mono in range(0, 100, 5):
        book.see("memory_usage", mono, percent=50)
    assert (list(book.book.alerts()), book.changes, book.book.next_at) == ([], [], None)


def test_hosts_and_instances_are_series_of_their_own() -> None:
    book = Book(rule(condition("disk_usage")), hosts=("web1", "web2"))
    for host in book.hosts:
        book.see("disk_usage", 0, host=host, instances={"/": {"percent": 95}, "/data": {"percent": 10 * len(host)}})
    assert book.state("web1", "/") is book.state("web2", "/") is FIRING
    assert book.state("web1", "/data") is INACTIVE
    assert len({told.alert.episode for told in book.told}) == 2


def test_a_rule_reads_only_the_hosts_that_it_names() -> None:
    book = Book(rule(hosts=(HostMatch(glob="db*"),)), hosts=("web1", "db1"))
    for host in book.hosts:
        book.see("memory_usage", 0, host=host, percent=95)
    assert [told.alert.host for told in book.told] == ["db1"]


def test_an_alert_that_has_ended_is_forgotten_and_its_next_episode_has_another_id() -> None:
    book = Book(rule())
    for mono, percent in enumerate((95, 50, 95, 50)):
        book.see("memory_usage", mono, percent=percent)
    assert list(book.book.alerts()) == []
    assert book.names == ["firing", "resolved"] * 2
    assert len({told.id for told in book.told}) == 4


def test_a_sample_that_spoke_before_it_was_seen_has_less_to_say() -> None:
    book = Book(rule(duration=60.0))
    watcher = book.book.watchers["r"]
    book.book.judge(seen("memory_usage", 0, percent=95), [watcher], moment(10), spent=10.0)
    alert = book.alert()
    assert alert is not None
    assert alert.hold is not None
    assert (alert.hold.held, alert.hold.at, alert.hold.cover) == (0.0, OFFSET + 10, COVER - 10)
    assert book.book.next_at == 15


def test_what_is_only_absorbed_is_remembered_and_tells_nobody() -> None:
    book = Book(rule(condition("swap_usage.in", threshold=100.0)))
    for mono, count in ((0, 0), (5, 100_000)):
        more: dict[str, Any] = {"in": count}
        book.book.absorb(seen("swap_usage", mono, **more), book.book.watchers.values(), moment(mono))
    assert book.told == []
    book.see("swap_usage", 10, **{"in": 200_000})
    assert book.phases == [Phase.FIRING]


def test_limits_of_a_series_are_in_its_alert() -> None:
    override = Override(hosts=(HostMatch(glob="db*"),), threshold=50.0, severity=Severity.CRITICAL, duration=10.0)
    book = Book(rule(overrides=(override,)), hosts=("web1", "db1"))
    for mono in (0, 10):
        for host in book.hosts:
            book.see("memory_usage", mono, host=host, percent=95)
    told = {told.alert.host: (told.at - OFFSET, told.alert.threshold, told.alert.severity) for told in book.told}
    assert told == {"web1": (0, 90.0, Severity.WARNING), "db1": (10, 50.0, Severity.CRITICAL)}


def test_a_host_that_gets_another_label_gets_other_limits() -> None:
    book = Book(rule(overrides=(Override(hosts=(HostMatch(labels={"role": "db"}),), threshold=50.0),)))
    book.see("memory_usage", 0, percent=60)
    assert book.told == []
    book.attach("web1", role="db")
    book.see("memory_usage", 5, percent=60)
    assert book.phases == [Phase.FIRING]


def test_instances_that_come_and_go_leave_no_limits_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zkalert.rulebook.watcher._MOST_VARIANTS", 100)
    book = Book(rule(condition("disk_usage"), overrides=(Override(instances=("/a*",), threshold=50.0),)))
    for number in range(500):
        book.see("disk_usage", number, instances={f"/a{number}": {"percent": 60}})
    assert len(book.book.watchers["r"]._variants) <= 101
    assert book.phases.count(Phase.FIRING) == 500


def test_a_number_over_all_hosts_belongs_to_none_of_them() -> None:
    across = Across(of=Of.HOSTS, stat=Total.AVG)
    book = Book(rule(condition(threshold=70.0), across=across), hosts=("web1", "web2"))
    book.see("memory_usage", 0, host="web1", percent=60)
    book.see("memory_usage", 1, host="web2", percent=90)
    assert book.state(MEMBERS_HOST) is FIRING
    assert (book.told[0].alert.value, book.told[0].alert.members) == (75.0, (2, 0))
    book.see("memory_usage", 2, host="web1", percent=20)
    assert book.names == ["firing", "resolved"]


def test_a_number_over_hosts_by_a_label_is_a_series_for_each_value() -> None:
    book = Book(rule(across=Across(of=Of.HOSTS, stat=Total.MAX, by="dc")), hosts=())
    book.attach("h0", dc="a")
    book.attach("h1", dc="b")
    book.see("memory_usage", 0, host="h0", percent=95)
    book.see("memory_usage", 0, host="h1", percent=50)
    assert (book.state(MEMBERS_HOST, "a"), book.state(MEMBERS_HOST, "b")) == (FIRING, INACTIVE)


def test_the_life_of_a_host_is_a_sample_of_its_own() -> None:
    book = Book(rule(condition("host.alive", "==", 0.0), duration=30.0))
    watcher = book.book.watchers["r"]
    last = seen(HOST_FAMILY, 0, kernel="Linux 6")
    gone = alive_sample(last, "web1", moment(10), is_alive=False)
    assert gone.sample.values == {"kernel": "Linux 6", "alive": 0}
    book.book.judge(gone, [watcher], moment(10))
    book.wait(39)
    assert book.state() is PENDING
    book.wait(41)
    assert (book.state(), book.told[0].at) == (FIRING, OFFSET + 40)
    book.book.judge(alive_sample(last, "web1", moment(50), is_alive=True), [watcher], moment(50))
    assert book.names == ["firing", "resolved"]


# Timers ---------------------------------------------------------------------------------------------------------------


def test_a_duration_ends_between_two_samples_at_its_very_moment() -> None:
    book = Book(rule(duration=7.0))
    book.see("memory_usage", 0, percent=95)
    assert book.book.next_at == 7
    book.see("memory_usage", 10, percent=50)
    assert [(told.phase, told.at - OFFSET) for told in book.told] == [(Phase.FIRING, 7), (Phase.RESOLVED, 10)]


def test_timers_fire_in_their_order_however_late_they_are_looked_at() -> None:
    book = Book(rule(name="slow", duration=9.0), rule(name="fast", duration=3.0, repeat=(5.0,)))
    book.see("memory_usage", 0, percent=95)
    book.wait(14)
    told = [(told.alert.rule, told.at - OFFSET, told.name) for told in book.told]
    assert told == [("fast", 3, ""), ("fast", 8, "repeated-1"), ("slow", 9, ""), ("fast", 13, "repeated-2")]


def test_a_sample_in_time_puts_the_timer_off() -> None:
    book = Book(rule(duration=20.0))
    for mono in (0, 10):
        book.see("memory_usage", mono, percent=95)
    book.wait(15)
    assert book.state() is PENDING
    assert book.book.next_at == 20


def test_a_timer_whose_rule_or_alert_is_no_more_changes_nothing() -> None:
    book = Book(rule(name="a", duration=10.0), rule(name="b", duration=10.0))
    book.see("memory_usage", 0, percent=95)
    book.set_rules(rule(name="b", duration=10.0))
    book.book.drop("a")
    book.see("memory_usage", 5, percent=50)
    before = len(book.changes)
    book.wait(100)
    assert (len(book.changes), book.told) == (before, [])


def test_reminders_of_a_rule_that_was_changed_meanwhile_do_not_keep_the_engine_busy() -> None:
    """A timer that finds nothing to do must not be set for the same moment again."""
    book = Book(rule(repeat=(10.0,)))
    book.see("memory_usage", 0, percent=95)
    book.set_rules(rule())
    book.wait(1000)
    assert book.book.next_at is None
    book.set_rules(rule(condition(threshold=80.0), digest="d2", repeat=(10.0,)))
    book.see("memory_usage", 1001, percent=95)
    book.set_rules(rule(condition(threshold=70.0), digest="d3", repeat=(500.0,)))
    book.wait(3000)
    assert book.book.next_at is not None
    assert book.book.next_at > 3000


@pytest.mark.parametrize("drift", [0.0, 1e-5, -1e-5], ids=["no drift", "the ensemble is fast", "it is slow"])
def test_the_timers_stay_few_whatever_the_number_of_samples(drift: float) -> None:
    """A far moment on the ensemble's clock comes nearer, or goes, with each sample where two clocks drift apart."""
    book = Book(rule(repeat=(7 * 86400.0,), no_data=ALERT))
    watcher = book.book.watchers["r"]
    for number in range(10_000):
        mono = 5.0 * number
        now = Moment(OFFSET + mono * (1 + drift), mono)
        book.wait(mono)
        book.book.judge(seen("memory_usage", mono, percent=91 + number % 7), [watcher], now)
    assert book.names == ["firing"]
    assert len(book.book._timers) <= 70


def test_the_first_moment_of_each_series_is_kept_when_the_heap_is_cleaned() -> None:
    timers = Timers()
    keys = [("r", "web1", str(number), False) for number in range(10)]
    for due in range(100, 0, -1):
        for number, key in enumerate(keys):
            timers.set(key, due + number / 100)
    assert len(timers) <= 2 * len(keys) + 64
    fired = []
    while (timer := timers.pop(1000.0)) is not None:
        fired.append((timer.due, timer.key))
    assert fired == [(1 + number / 100, key) for number, key in enumerate(keys)]
    assert (timers.next_at, len(timers)) == (None, 0)


# Rules that change ----------------------------------------------------------------------------------------------------


def test_rules_that_are_no_more_are_handed_back_and_their_alerts_closed_by_hand() -> None:
    old = rule(name="a")
    book = Book(old, rule(name="b"))
    book.see("memory_usage", 0, percent=95)
    assert book.set_rules(rule(name="b")) == {"a": old}
    for alert in book.book.alerts_of("a"):
        book.book.close(old, alert, OFFSET + 5, Reason.RULE_REMOVED)
    assert [(told.alert.rule, told.phase) for told in book.told[2:]] == [("a", Phase.CLOSED)]
    assert [alert.rule for alert in book.book.alerts()] == ["b"]


def test_another_wording_remembers_what_was_seen() -> None:
    counter = condition("swap_usage.in", threshold=100.0)
    book = Book(rule(counter))
    book.see("swap_usage", 0, **{"in": 0})
    book.set_rules(rule(counter, summary="other words"))
    book.see("swap_usage", 5, **{"in": 100_000})
    assert [told.summary for told in book.told] == ["other words"]


def test_another_condition_remembers_nothing() -> None:
    book = Book(rule(condition("swap_usage.in", threshold=100.0)))
    book.see("swap_usage", 0, **{"in": 0})
    book.set_rules(rule(condition("swap_usage.in", threshold=200.0), digest="d2"))
    book.see("swap_usage", 5, **{"in": 100_000})
    assert book.told == []


def test_the_same_rule_keeps_its_watcher() -> None:
    book = Book(rule())
    before = book.book.watchers["r"]
    book.set_rules(rule())
    assert book.book.watchers["r"] is before


# Restarts -------------------------------------------------------------------------------------------------------------


def test_alerts_that_are_read_back_go_on_with_their_timers() -> None:
    first = Book(rule(duration=20.0, repeat=(100.0,)))
    first.see("memory_usage", 0, percent=95)
    first.see("memory_usage", 10, percent=95)
    second = Book(rule(duration=20.0, repeat=(100.0,)))
    second.book.restore(first.book.alerts(), moment(12))
    second.wait(12)
    assert second.state() is PENDING
    second.wait(200)
    assert second.names == ["firing", "repeated-1"]
    assert second.told[0].at == OFFSET + 20


def test_what_was_there_before_is_forgotten_when_alerts_are_read_back() -> None:
    book = Book(rule(duration=20.0))
    book.see("memory_usage", 0, percent=95)
    book.book.restore((), moment(5))
    book.wait(100)
    assert (list(book.book.alerts()), book.told, book.book.next_at) == ([], [], None)


def test_whoever_takes_over_waits_for_samples_before_it_minds_their_want() -> None:
    first = Book(rule(no_data=NoData(after=30.0, then=Quiet.RESOLVE)))
    first.see("memory_usage", 0, percent=95)
    second = Book(rule(no_data=NoData(after=30.0, then=Quiet.RESOLVE)))
    second.book.restore(first.book.alerts(), moment(1000))
    second.wait(1029)
    assert second.state() is FIRING
    second.wait(1031)
    assert [told.reason for told in second.told] == [Reason.NO_DATA]


def test_time_in_which_nobody_could_watch_is_no_silence() -> None:
    book = Book(rule(no_data=ALERT))
    book.see("memory_usage", 0, percent=50)
    book.book.restore((), moment(1000))
    book.wait(1029)
    assert book.told == []
    book.wait(1031)
    assert [told.at - OFFSET for told in book.told] == [1030]


def test_an_alert_without_a_rule_is_kept_and_waits_for_nothing() -> None:
    orphan = rule(name="gone", repeat=(10.0,))
    first = Book(orphan)
    first.see("memory_usage", 0, percent=95)
    second = Book(rule())
    second.book.restore(first.book.alerts(), moment(5))
    second.wait(1000)
    assert [alert.rule for alert in second.book.alerts()] == ["gone"]
    second.book.blind(1.0)
    assert second.told == []


@pytest.mark.parametrize(("duration", "clear_duration"), [(20.0, 0.0), (0.0, 20.0)], ids=["pending", "clearing"])
def test_what_held_while_the_engine_stood_still_does_not_count(duration: float, clear_duration: float) -> None:
    book = Book(rule(duration=duration, clear_duration=clear_duration))
    book.see("memory_usage", 0, percent=95)
    percent = 95 if duration else 50
    book.see("memory_usage", 5, percent=percent)
    before = len(book.changes)
    book.book.blind(7.0)
    assert len(book.changes) == before + 1
    book.wait(29)
    told = len(book.told)
    for mono in (30, 40):
        book.see("memory_usage", mono, percent=percent)
    assert len(book.told) == told
    book.wait(50)
    assert len(book.told) == told + 1


def test_standing_still_says_nothing_of_what_fires() -> None:
    book = Book(rule())
    book.see("memory_usage", 0, percent=95)
    before = len(book.changes)
    book.book.blind(1.0)
    assert len(book.changes) == before


def test_an_alert_that_is_kept_as_inactive_is_forgotten() -> None:
    book = Book(rule())
    book.see("memory_usage", 0, percent=95)
    book.book.keep(inactive(rule(), "web1", None))
    assert (list(book.book.alerts()), book.alert()) == ([], None)


# Episodes -------------------------------------------------------------------------------------------------------------


def test_a_ladder_whose_other_step_is_pending_when_it_resolves_goes_on_as_another_episode() -> None:
    steps = (Step(threshold=1.0), Step(severity=Severity.CRITICAL, threshold=2.0, duration=10.0))
    book = Book(rule(condition("process_number.zombie", "==", None), steps=steps))
    for mono, zombies in ((0, 1), (5, 2), (10, 2), (15, 2)):
        book.see("process_number", mono, zombie=zombies)
    assert book.names == ["firing", "resolved", "firing"]
    assert len({told.id for told in book.told}) == 3
    assert book.told[0].alert.episode == book.told[1].alert.episode != book.told[2].alert.episode


def test_data_that_is_back_and_out_of_bounds_is_another_episode() -> None:
    book = Book(rule(no_data=ALERT))
    book.see("memory_usage", 0, percent=50)
    book.see("memory_usage", 100, percent=95)
    assert book.names == ["firing", "resolved", "firing"]
    assert len({told.id for told in book.told}) == 3
    assert book.alert() == book.told[2].alert


def test_a_rate_over_a_window_fires_and_resolves_through_the_whole_way() -> None:
    lost = condition(term("network_io.rx_dropped", 20.0, Stat.RATE), ">", 10.0, 2.0)
    book = Book(rule(lost, duration=5.0))
    count = 0.0
    for number in range(40):
        count += 100.0 if 10 <= number < 20 else 0.0
        instances: dict[str, dict[str, Any]] = {"eth0": {"rx_dropped": count}}
        book.see("network_io", 5.0 * number, instances=instances)
    assert book.names == ["firing", "resolved"]
    fired, resolved = (told.at - OFFSET for told in book.told)
    assert (fired, resolved) == (65.0, 115.0)


def test_a_host_is_attached_by_its_name() -> None:
    book = Book(rule(), hosts=())
    watcher = book.book.watchers["r"]
    assert not watcher.looks_at("web1")
    watcher.attach(HostInfo(name="web1"))
    assert watcher.looks_at("web1")
    watcher.forget("web1")
    assert not watcher.looks_at("web1")
