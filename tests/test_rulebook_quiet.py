"""What a rulebook makes of instances that go, and of series and hosts that fall silent."""

from __future__ import annotations

import pytest

from tests.rulekit import OFFSET, Book, condition, moment, rule, seen, term
from zkalert.metrics import HOST_FAMILY
from zkalert.model import (
    MEMBERS_HOST,
    Across,
    HostMatch,
    NoData,
    Of,
    Phase,
    Quiet,
    Reason,
    Schedule,
    State,
    Total,
)
from zkalert.rulebook import alive_sample

INACTIVE, PENDING, FIRING, CLEARING, RESOLVED = State
ALERT = NoData(after=30.0, then=Quiet.ALERT)


# Instances that go ----------------------------------------------------------------------------------------------------


def mounts(*names: str, percent: float = 95.0) -> dict[str, dict[str, float]]:
    return {name: {"percent": percent} for name in names}


def test_an_instance_that_good_samples_do_not_name_any_more_is_gone_after_a_minute() -> None:
    book = Book(rule(condition("disk_usage")))
    book.see("disk_usage", 0, instances=mounts("/", "/usb"))
    for mono in range(10, 80, 10):
        book.see("disk_usage", mono, instances=mounts("/"))
    assert (book.state(instance="/"), book.state(instance="/usb")) == (FIRING, INACTIVE)
    assert [(told.alert.instance, told.reason) for told in book.told[2:]] == [("/usb", Reason.GONE)]


def test_what_could_not_be_read_or_was_cut_is_not_gone() -> None:
    book = Book(rule(condition("disk_usage")))
    book.see("disk_usage", 0, instances=mounts("/", "/usb"))
    for mono in range(10, 200, 10):
        book.see("disk_usage", mono, instances=mounts("/"), errors=("256 of 300 are here",))
    assert book.state(instance="/usb") is FIRING


def test_a_sample_of_another_family_says_nothing_of_an_instance() -> None:
    book = Book(rule(condition("disk_usage"), condition("memory_usage", threshold=1.0)))
    book.see("memory_usage", 0, percent=50, cover=1000)
    book.see("disk_usage", 0, instances=mounts("/usb"), cover=1000)
    assert book.state(instance="/usb") is FIRING
    for mono in range(10, 200, 10):
        book.see("memory_usage", mono, percent=50)
    assert book.state(instance="/usb") is FIRING


def test_an_instance_of_joined_conditions_goes_though_one_of_them_is_absent() -> None:
    book = Book(rule(condition("disk_usage.total", "absent", None), condition("disk_usage")))
    book.see("disk_usage", 0, instances=mounts("/usb") | {"/": {"total": 5.0, "percent": 5.0}})
    book.see("disk_usage", 5, instances={"/usb": {"total": 5.0, "percent": 5.0}})
    book.see("disk_usage", 10, instances=mounts("/usb"))
    assert book.state(instance="/usb") is FIRING
    for mono in range(15, 90, 5):
        book.see("disk_usage", mono, instances={})
    assert book.told[-1].reason is Reason.GONE


def test_an_absent_instance_does_not_go() -> None:
    book = Book(rule(condition("disk_usage", "absent", None), instances=("/backup",)))
    for mono in range(0, 300, 10):
        book.see("disk_usage", mono, instances=mounts("/"))
    assert book.state(instance="/backup") is FIRING
    book.see("disk_usage", 300, instances=mounts("/", "/backup"))
    assert book.names == ["firing", "resolved"]


# Silence --------------------------------------------------------------------------------------------------------------


def test_a_series_that_falls_silent_fires_and_resolves_with_the_next_sample() -> None:
    book = Book(rule(no_data=ALERT))
    for mono in (0, 5, 10):
        book.see("memory_usage", mono, percent=50)
    book.wait(39)
    assert book.told == []
    book.wait(41)
    book.see("memory_usage", 100, percent=50)
    assert [(told.reason, told.at - OFFSET) for told in book.told] == [(Reason.NO_DATA, 40), (Reason.DATA_BACK, 100)]


def test_a_field_that_is_missing_is_silence_though_samples_come() -> None:
    book = Book(rule(no_data=ALERT))
    book.see("memory_usage", 0, percent=50)
    for mono in range(5, 60, 5):
        book.see("memory_usage", mono, total=5)
    assert [told.reason for told in book.told] == [Reason.NO_DATA]


def test_data_that_is_back_ends_the_silence_though_a_window_fills_anew() -> None:
    book = Book(rule(condition(term("memory_usage", 600.0)), no_data=ALERT))
    book.book.expect("web1", moment(0))
    book.see("memory_usage", 100, percent=99)
    assert [(told.reason, told.at - OFFSET) for told in book.told] == [(Reason.NO_DATA, 30), (Reason.DATA_BACK, 100)]
    assert book.state() is INACTIVE


def test_the_life_of_a_host_is_never_silent() -> None:
    for then in (Quiet.ALERT, Quiet.RESOLVE):
        book = Book(rule(condition("host.alive", "==", 0.0), no_data=NoData(after=30.0, then=then)))
        book.book.expect("web1", moment(0))
        book.book.judge(alive_sample(None, "web1", moment(10), is_alive=False), [book.book.watchers["r"]], moment(10))
        book.wait(1000)
        assert [told.reason for told in book.told] == [Reason.CROSSED]


def test_what_a_dead_host_said_of_its_kernel_is_silent_in_time() -> None:
    book = Book(rule(condition("host.kernel", "==", "Linux 6"), no_data=NoData(then=Quiet.ALERT)))
    said = alive_sample(seen(HOST_FAMILY, 0, kernel="Linux 5"), "web1", moment(0), is_alive=True)
    book.book.judge(said, [book.book.watchers["r"]], moment(0))
    book.wait(61)
    assert [told.reason for told in book.told] == [Reason.NO_DATA]


def test_an_old_sample_that_is_only_absorbed_lets_its_instances_owe_the_next_one() -> None:
    book = Book(rule(condition("disk_usage"), no_data=ALERT))
    old = seen("disk_usage", 0, instances=mounts("/", percent=10.0))
    book.book.absorb(old, [book.book.watchers["r"]], moment(1000))
    book.wait(1029)
    assert book.told == []
    book.wait(1031)
    assert [(told.alert.instance, told.reason) for told in book.told] == [("/", Reason.NO_DATA)]


def test_an_alert_that_is_read_back_may_be_silent_as_long_as_before() -> None:
    book = Book(rule(no_data=NoData(then=Quiet.RESOLVE)))
    sample = seen("memory_usage", 0, percent=95)
    object.__setattr__(sample.sample, "interval", 300.0)
    book.book.judge(sample, [book.book.watchers["r"]], moment(0))
    book.book.restore(list(book.book.alerts()), moment(10))
    book.wait(909)
    assert book.phases == [Phase.FIRING]
    book.wait(911)
    assert book.phases == [Phase.FIRING, Phase.RESOLVED]


def test_a_window_that_has_too_little_is_no_silence() -> None:
    book = Book(rule(condition(term("memory_usage", 600.0)), no_data=ALERT))
    for mono in range(0, 300, 5):
        book.see("memory_usage", mono, percent=50)
    assert book.told == []


@pytest.mark.parametrize(
    ("interval", "expected"), [(5.0, 60.0), (30.0, 90.0)], ids=["a minute", "three intervals where that is more"]
)
def test_how_long_silence_lasts_follows_from_the_last_sample(interval: float, expected: float) -> None:
    book = Book(rule(no_data=NoData(then=Quiet.ALERT)))
    sample = seen("memory_usage", 0, percent=50)
    object.__setattr__(sample.sample, "interval", interval)
    book.book.judge(sample, [book.book.watchers["r"]], moment(0))
    book.wait(1000)
    assert [told.at - OFFSET for told in book.told] == [expected]


def test_a_firing_alert_resolves_for_silence_where_its_rule_says_so() -> None:
    book = Book(rule(no_data=NoData(after=30.0, then=Quiet.RESOLVE)))
    book.see("memory_usage", 0, percent=95)
    book.wait(100)
    assert [(told.phase, told.reason) for told in book.told[1:]] == [(Phase.RESOLVED, Reason.NO_DATA)]


def test_a_firing_alert_stays_through_silence_unless_its_rule_says_otherwise() -> None:
    book = Book(rule())
    book.see("memory_usage", 0, percent=95)
    book.wait(1e6)
    assert (book.state(), book.names) == (FIRING, ["firing"])


def test_a_host_that_never_sent_a_sample_is_silent_too() -> None:
    book = Book(rule(no_data=ALERT))
    book.book.expect("web1", moment(0))
    book.wait(29)
    book.book.expect("web1", moment(29))
    book.wait(31)
    assert [(told.reason, told.at - OFFSET) for told in book.told] == [(Reason.NO_DATA, 30)]


def test_nothing_is_expected_of_hosts_that_a_rule_does_not_look_at() -> None:
    book = Book(rule(hosts=(HostMatch(glob="db*"),), no_data=ALERT), hosts=("web1", "db1"))
    for host in book.hosts:
        book.book.expect(host, moment(0))
    book.wait(100)
    assert [told.alert.host for told in book.told] == ["db1"]


def test_a_host_that_a_rule_does_not_look_at_sets_no_timer() -> None:
    book = Book(rule(hosts=(HostMatch(glob="db*"),), no_data=ALERT))
    book.book.expect("web1", moment(0))
    assert book.book.next_at is None


def test_a_host_that_a_rule_looks_at_no_longer_is_not_missed() -> None:
    book = Book(rule(hosts=(HostMatch(labels={"role": "db"}),), no_data=ALERT), hosts=())
    book.attach("h0", role="db")
    book.see("memory_usage", 0, host="h0", percent=50)
    book.attach("h0", role="web")
    book.wait(100)
    assert book.told == []


def test_a_host_that_is_forgotten_is_not_missed() -> None:
    book = Book(rule(no_data=ALERT))
    book.see("memory_usage", 0, percent=50)
    book.book.forget("web1")
    book.wait(100)
    assert book.told == []


def test_an_instance_is_silent_when_samples_of_its_family_stop_not_when_it_is_gone() -> None:
    book = Book(rule(condition("disk_usage"), no_data=ALERT))
    book.see("disk_usage", 0, instances=mounts("/", "/usb", percent=50))
    book.see("disk_usage", 10, instances=mounts("/", percent=50))
    book.wait(100)
    assert [(told.alert.instance, told.at - OFFSET) for told in book.told] == [("/", 40)]


def test_the_instances_of_a_joined_rule_are_those_of_the_condition_that_has_them() -> None:
    book = Book(rule(condition("memory_usage"), condition("disk_usage"), no_data=ALERT))
    book.see("disk_usage", 0, instances=mounts("/", percent=50))
    book.see("memory_usage", 20, percent=50)
    book.wait(100)
    assert [(told.alert.instance, told.at - OFFSET) for told in book.told] == [("/", 30)]


@pytest.mark.parametrize("then", [Quiet.ALERT, Quiet.RESOLVE])
def test_what_is_absent_was_heard_of_as_long_as_samples_come(then: Quiet) -> None:
    absent = [
        rule(condition("swap_usage", "absent", None), name="whole", no_data=NoData(after=30.0, then=then)),
        rule(
            condition("disk_usage", "absent", None),
            name="mount",
            instances=("/backup",),
            no_data=NoData(after=30.0, then=then),
        ),
    ]
    book = Book(*absent)
    book.book.expect("web1", moment(0))
    for mono in range(0, 300, 5):
        book.see("swap_usage", mono, total=1)
        book.see("disk_usage", mono, instances=mounts("/"))
    assert sorted((told.alert.rule, told.reason) for told in book.told) == [
        ("mount", Reason.CROSSED),
        ("whole", Reason.CROSSED),
    ]


def test_a_number_over_many_is_silent_once_no_member_speaks() -> None:
    book = Book(rule(across=Across(of=Of.HOSTS, stat=Total.MAX), no_data=ALERT), hosts=("web1", "web2"))
    book.see("memory_usage", 15, host="web1", percent=50)
    book.see("memory_usage", 20, host="web2", percent=50)
    book.wait(49)
    assert book.told == []
    book.wait(51)
    assert [(told.alert.host, told.reason) for told in book.told] == [(MEMBERS_HOST, Reason.NO_DATA)]


def test_silence_that_began_outside_the_schedule_fires_when_that_opens() -> None:
    midnight = -(OFFSET % 86400)
    day = Schedule(hours=((8 * 3600.0, 18 * 3600.0),))
    book = Book(rule(no_data=ALERT, schedule=day))
    book.see("memory_usage", midnight + 3 * 3600, percent=50)
    book.wait(midnight + 7.9 * 3600)
    assert book.told == []
    book.wait(midnight + 9 * 3600)
    assert [(told.reason, told.at - OFFSET - midnight) for told in book.told] == [(Reason.NO_DATA, 8 * 3600)]


def test_time_that_the_engine_stood_still_is_nobodys_silence() -> None:
    book = Book(rule(no_data=ALERT))
    book.see("memory_usage", 0, percent=50)
    book.book.forgive(25.0)
    book.wait(54)
    assert book.told == []
    book.wait(56)
    assert [told.at - OFFSET for told in book.told] == [55]


def test_silence_goes_on_where_alerts_are_read_back_and_samples_were_watched_all_the_while() -> None:
    book = Book(rule(no_data=ALERT))
    book.see("memory_usage", 0, percent=50)
    book.book.restore((), moment(20), was_watched=True)
    book.wait(29)
    assert book.told == []
    book.wait(31)
    assert [told.at - OFFSET for told in book.told] == [30]


def test_a_sample_that_is_judged_once_more_is_no_sign_of_life() -> None:
    book = Book(rule(no_data=NoData(after=10.0, then=Quiet.ALERT)))
    book.see("memory_usage", 0, percent=50)
    again = seen("memory_usage", 0, percent=50)
    watchers = list(book.book.watchers.values())
    book.book.judge(again, watchers, moment(8), 8.0)
    book.wait(11)
    assert [told.at - OFFSET for told in book.told] == [10], "it puts nothing off"
    book.book.judge(again, watchers, moment(12), 12.0)
    assert book.state() is State.FIRING, "and ends nothing"
    book.see("memory_usage", 13, percent=50)
    assert [told.reason for told in book.told] == [Reason.NO_DATA, Reason.DATA_BACK]


def test_a_group_without_hosts_is_not_silent() -> None:
    book = Book(rule(across=Across(of=Of.HOSTS, stat=Total.MAX, by="dc"), no_data=ALERT), hosts=())
    book.attach("web1", dc="a")
    book.attach("web2", dc="b")
    for host in ("web1", "web2"):
        book.see("memory_usage", 0, host=host, percent=50)
    book.attach("web1", dc="b")
    book.wait(100)
    assert [told.alert.instance for told in book.told] == ["b"]
