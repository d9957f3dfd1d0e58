"""What goes together, when, and in which order: the planner of one target, by tables and by random lives."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkalert.model import (
    Alert,
    Channel,
    Comparator,
    Effect,
    Metric,
    Moment,
    Phase,
    QuietHours,
    Rate,
    Reason,
    Run,
    Schedule,
    Severity,
    Target,
    TargetKind,
)
from zkalert.routing import Batches, Item, Pace, pace_of
from zkalert.routing.batches import MOST, OUTDATED, OVER, UNTOLD

EPOCH = 1_700_000_000.0
FREE = Pace(group_interval=30.0)


def effect(
    episode: str = "a",
    phase: Phase = Phase.FIRING,
    severity: Severity = Severity.WARNING,
    rule: str = "memory-high",
    host: str = "web1",
    name: str = "",
) -> Effect:
    alert = Alert(
        rule=rule,
        host=host,
        episode=episode,
        severity=severity,
        metric=Metric("memory_usage", "percent"),
        comparator=Comparator.GT,
    )
    return Effect(alert=alert, phase=phase, reason=Reason.HELD, at=EPOCH, name=name)


class Queue:
    """Batches on a clock of the test's own; seconds since the start."""

    def __init__(self, pace: Pace = FREE, quiet: tuple[float, float] | None = None) -> None:
        self.now = 0.0
        self.quiet = quiet
        self.batches: Batches[Item] = Batches(pace, self.quiet_until)

    def quiet_until(self, at: float) -> float | None:
        if self.quiet is None or not self.quiet[0] <= at - EPOCH < self.quiet[1]:
            return None
        return self.quiet[1] + EPOCH

    @property
    def moment(self) -> Moment:
        return Moment(EPOCH + self.now, self.now)

    def add(self, *effects: Effect, **more: object) -> list[tuple[str, str]]:
        items = [Item(effect=one, **more) for one in effects]  # type: ignore[arg-type]
        return [(one.item.effect.id, one.why) for one in self.batches.add(items)]

    def take(self) -> list[str]:
        """The ids of what goes now; it is told."""
        items = self.batches.take(self.moment)
        self.batches.done(items, is_told=True)
        return [item.effect.id for item in items]

    def next(self) -> float | None:
        return self.batches.next_at(self.moment)


def test_the_first_of_a_group_goes_at_once_and_the_rest_as_one_digest_after_the_interval() -> None:
    queue = Queue()
    queue.add(effect("a"), effect("b"))
    # Both are due at once, so they go together; what comes within the interval of that waits for its end.
    assert queue.take() == ["a.firing", "b.firing"]
    queue.now = 5
    queue.add(effect("c"))
    queue.add(effect("a", Phase.RESOLVED))
    assert queue.take() == []
    assert queue.next() == 30
    queue.now = 30
    assert queue.take() == ["c.firing", "a.resolved"]
    queue.now = 61
    queue.add(effect("d"))
    assert queue.take() == ["d.firing"], "the interval is over"


def test_without_an_interval_each_goes_alone_though_both_are_due() -> None:
    queue = Queue(Pace(group_interval=0.0))
    queue.add(effect("a"), effect("b"))
    assert [queue.take(), queue.take()] == [["a.firing"], ["b.firing"]]
    queue.add(effect("b", Phase.RESOLVED), effect("a", Phase.RESOLVED))
    assert [queue.take(), queue.take(), queue.take()] == [["b.resolved"], ["a.resolved"], []]


def test_one_alone_goes_without_the_others_that_come_while_it_is_sent() -> None:
    queue = Queue()
    queue.add(effect("a"))
    assert queue.take() == ["a.firing"]
    queue.add(*(effect(name) for name in "bcd"))
    assert queue.take() == []
    queue.now = 30
    assert queue.take() == ["b.firing", "c.firing", "d.firing"]


@pytest.mark.parametrize(
    ("group_by", "others"),
    [
        (("rule",), "host severity team"),
        (("host",), "rule severity team"),
        (("severity",), "rule host team"),
        (("label:team",), "rule host severity"),
        (("rule", "host"), "severity team"),
    ],
)
def test_a_group_is_what_agrees_in_all_its_words(group_by: tuple[str, ...], others: str) -> None:
    first = replace(effect("a"), labels={"team": "core"})
    changed = {
        "rule": replace(effect("b", rule="disk-full"), labels={"team": "core"}),
        "host": replace(effect("b", host="web2"), labels={"team": "core"}),
        "severity": replace(effect("b", severity=Severity.INFO), labels={"team": "core"}),
        "team": replace(effect("b"), labels={"team": "web"}),
    }
    for word, second in changed.items():
        queue = Queue(Pace(group_by=group_by))
        queue.add(first)
        assert queue.take() == ["a.firing"]
        queue.add(second)
        assert queue.take() == ([] if word in others.split() else ["b.firing"]), word


@pytest.mark.parametrize("where", ["labels", "host_labels", "instance_labels"])
def test_a_label_is_looked_for_on_the_instance_the_host_and_the_rule(where: str) -> None:
    pace = Pace(group_by=("label:team",))
    assert pace.group(replace(effect(), **{where: {"team": "core"}})) == ("core",)  # type: ignore[arg-type]


def test_groups_go_one_by_one_while_there_are_tokens_and_all_together_beyond() -> None:
    queue = Queue(Pace(burst=2, pause=10.0))
    queue.add(effect("a", rule="r1"), effect("b", rule="r2"))
    assert queue.take() == ["a.firing"]
    assert queue.take() == ["b.firing"]
    queue.add(*(effect(name, rule=name) for name in "cdefg"))
    assert queue.take() == []
    assert queue.next() == 10
    queue.now = 10
    assert queue.take() == [f"{name}.firing" for name in "cdefg"]
    assert queue.take() == []


def test_critical_goes_before_warning_before_info() -> None:
    queue = Queue(Pace(burst=1, pause=1.0, group_by=("host",), group_interval=0.0))
    for host in ("web1", "web2"):
        for severity in Severity:
            queue.add(effect(f"{host}-{severity.value}", severity=severity, host=host))
    assert [id_.split("-")[1] for id_ in queue.take()] == [
        *["critical.firing"] * 2,
        *["warning.firing"] * 2,
        *["info.firing"] * 2,
    ]
    queue = Queue(Pace(burst=9, pause=1.0))
    queue.add(*(effect(severity.value, severity=severity, rule=severity.value) for severity in Severity))
    assert [queue.take()[0] for _ in Severity] == ["critical.firing", "warning.firing", "info.firing"]


def test_what_is_urgent_takes_along_what_comes_before_it_in_its_episode() -> None:
    queue = Queue(Pace(group_by=("severity",)))
    queue.add(effect("z"))
    assert queue.take() == ["z.firing"]
    queue.add(effect("a"))
    assert queue.take() == [], "its group has just had a message"
    queue.add(effect("a", Phase.ESCALATED, Severity.CRITICAL, name="escalated-critical"))
    assert queue.take() == ["a.firing", "a.escalated-critical"]


def test_a_digest_has_a_bound_and_the_rest_follows_at_the_rate() -> None:
    queue = Queue(Pace(burst=1, pause=2.0))
    queue.add(*(effect(f"e{number:04}") for number in range(MOST + 100)))
    assert len(queue.take()) == MOST
    assert queue.take() == []
    assert queue.next() == 2
    queue.now = 2
    assert len(queue.take()) == 100
    assert len(queue.batches) == 0


def test_in_quiet_hours_only_loud_ones_and_ends_go() -> None:
    queue = Queue(Pace(loud=frozenset({Severity.CRITICAL})), quiet=(100.0, 1000.0))
    queue.add(effect("told"))
    assert queue.take() == ["told.firing"]
    queue.now = 200
    queue.add(
        effect("a"),
        effect("b", severity=Severity.CRITICAL, rule="other"),
        effect("told", Phase.REPEATED, name="repeated-1"),
    )
    assert queue.take() == ["b.firing"]
    assert queue.next() == 1000
    queue.add(effect("told", Phase.RESOLVED))
    assert queue.take() == ["told.resolved"]
    queue.now = 1000
    assert queue.take() == ["a.firing"]


def test_what_rises_to_a_loud_severity_in_quiet_hours_is_told_whole() -> None:
    queue = Queue(Pace(loud=frozenset({Severity.CRITICAL})), quiet=(0.0, 1000.0))
    queue.add(effect("a"))
    assert queue.take() == []
    queue.add(effect("a", Phase.ESCALATED, Severity.CRITICAL, name="escalated-critical"))
    assert queue.take() == ["a.firing", "a.escalated-critical"]


def test_quiet_hours_that_never_end_wait_for_other_settings() -> None:
    queue = Queue(Pace(loud=frozenset()), quiet=(0.0, math.inf))
    queue.add(effect("a"))
    assert queue.take() == []
    assert queue.next() is None
    queue.batches.configure(Pace(), lambda at: None)
    assert queue.take() == ["a.firing"]


def test_over_before_it_was_told_drops_both() -> None:
    queue = Queue()
    queue.add(effect("z"))
    queue.take()
    queue.add(effect("a"), effect("a", Phase.REPEATED, name="repeated-1"))
    assert queue.add(effect("a", Phase.RESOLVED)) == [
        ("a.firing", UNTOLD),
        ("a.repeated-1", UNTOLD),
        ("a.resolved", UNTOLD),
    ]
    assert len(queue.batches) == 0


def test_what_was_tried_is_told_with_its_end() -> None:
    queue = Queue()
    queue.add(effect("a"))
    (item,) = queue.batches.take(queue.moment)
    item.attempts, item.ready_at = 1, 50.0
    queue.batches.again([item])
    assert queue.add(effect("a", Phase.RESOLVED)) == []
    assert queue.take() == []
    assert queue.next() == 30
    queue.now = 30
    assert queue.take() == [], "the end waits for what was not told yet"
    assert queue.next() == 50
    queue.now = 50
    assert queue.take() == ["a.firing"]
    assert queue.take() == ["a.resolved"]


def test_an_end_comes_after_what_is_on_its_way() -> None:
    queue = Queue(Pace(group_interval=0.0))
    queue.add(effect("a"))
    items = queue.batches.take(queue.moment)
    assert queue.add(effect("a", Phase.RESOLVED)) == []
    assert queue.take() == []
    queue.batches.done(items, is_told=True)
    assert queue.take() == ["a.resolved"]


def test_reminders_give_way_to_the_next_one_and_to_the_end() -> None:
    queue = Queue()
    queue.add(effect("a"))
    assert queue.take() == ["a.firing"]
    queue.add(effect("a", Phase.REPEATED, name="repeated-1"))
    assert queue.add(effect("a", Phase.REPEATED, name="repeated-2")) == [("a.repeated-1", OUTDATED)]
    assert queue.add(effect("a", Phase.RESOLVED)) == [("a.repeated-2", OVER)]
    queue.now = 30
    assert queue.take() == ["a.resolved"]


def test_a_higher_level_that_was_never_told_is_dropped_where_the_firing_was() -> None:
    queue = Queue()
    queue.add(effect("a"))
    queue.take()
    queue.add(effect("a", Phase.ESCALATED, name="escalated-critical"))
    assert queue.add(effect("a", Phase.RESOLVED)) == [("a.escalated-critical", UNTOLD)]
    # Of an episode that was told by another engine nobody here knows: both go, rather than an end to nothing.
    queue.add(effect("b", Phase.ESCALATED, name="escalated-critical"))
    assert queue.add(effect("b", Phase.RESOLVED)) == []


def test_what_comes_after_its_end_was_held_back_and_never_told() -> None:
    queue = Queue()
    queue.add(effect("z"))
    queue.take()
    queue.add(effect("a", Phase.RESOLVED))
    assert queue.add(effect("a")) == [("a.firing", UNTOLD), ("a.resolved", UNTOLD)]


def test_a_digest_that_may_have_been_heard_goes_again_with_the_same_members() -> None:
    queue = Queue()
    queue.add(effect("a"), effect("b"), attempts=1, is_repeat=True, digest="d1", ready_at=7.0)
    queue.add(effect("c"), effect("z", rule="other"))
    assert queue.take() == ["c.firing"]
    assert queue.take() == ["z.firing"]
    assert queue.next() == 7
    queue.now = 7
    assert queue.take() == ["a.firing", "b.firing"]


def test_a_digest_that_was_refused_goes_with_whatever_is_due() -> None:
    queue = Queue()
    queue.add(effect("a"), effect("b"))
    items = queue.batches.take(queue.moment)
    for item in items:
        item.attempts, item.ready_at = 1, 30.0
    queue.batches.again(items)
    queue.add(effect("c"))
    queue.now = 30
    assert queue.take() == ["a.firing", "b.firing", "c.firing"]


def test_a_promise_holds_for_one_message_of_an_idle_channel() -> None:
    queue = Queue(Pace(burst=1, pause=5.0))
    assert queue.batches.promise(effect("a"), queue.moment)
    assert not queue.batches.promise(effect("b", rule="other"), queue.moment), "one at a time"
    queue.add(effect("a"), is_claimed=True)
    queue.add(effect("b"))
    assert queue.take() == ["a.firing"]
    assert queue.take() == []
    assert queue.next() == 30
    queue.now = 30
    assert queue.take() == ["b.firing"]
    queue.now = 36
    assert not queue.batches.promise(effect("c"), queue.moment), "its group has had a message"
    assert queue.batches.promise(effect("c", rule="other"), queue.moment)
    queue.batches.take_back()
    assert queue.batches.promise(effect("c", rule="other"), queue.moment), "what was taken back costs nothing"


def test_nothing_is_promised_in_quiet_hours_nor_beyond_the_rate() -> None:
    queue = Queue(Pace(loud=frozenset({Severity.CRITICAL})), quiet=(0.0, 10.0))
    assert not queue.batches.promise(effect(), queue.moment)
    assert queue.batches.promise(effect(severity=Severity.CRITICAL), queue.moment)
    queue = Queue(Pace(burst=1, pause=5.0))
    queue.add(effect("z", rule="other"))
    queue.take()
    assert not queue.batches.promise(effect(), queue.moment)


def test_what_is_removed_is_not_told_and_lets_the_next_of_its_episode_go() -> None:
    queue = Queue(Pace(group_interval=0.0))
    queue.add(effect("a"), attempts=1, ready_at=50.0)
    queue.add(effect("a", Phase.ESCALATED, name="escalated-critical"))
    assert queue.take() == []
    first = queue.batches.find("a.firing")
    assert first is not None
    queue.batches.remove(first)
    assert queue.take() == ["a.escalated-critical"]


def test_commands_go_each_alone_in_their_order_and_none_is_dropped() -> None:
    queue = Queue(pace_of(Target(id="run/1", kind=TargetKind.RUN, name="sh", run=Run(command="true"))))
    assert (
        queue.add(
            effect("a", severity=Severity.INFO),
            effect("b", severity=Severity.CRITICAL),
            effect("a", Phase.REPEATED, name="repeated-1"),
            effect("a", Phase.RESOLVED),
        )
        == []
    )
    assert [queue.take() for _ in range(5)] == [["a.firing"], ["b.firing"], ["a.repeated-1"], ["a.resolved"], []]


@pytest.mark.parametrize(
    ("url", "burst", "pause"),
    [
        ("mailto://x", 3, 5.0),
        ("slack://a/b/c", 3, 1.0),
        ("mmosts://x", 3, 1.0),
        ("json://x", 10, 0.1),
        ("FORMS://x", 10, 0.1),
        ("dbus://", 10, 0.1),
        ("no url", 3, 1.0),
    ],
)
def test_each_service_has_a_rate_that_it_bears(url: str, burst: float, pause: float) -> None:
    pace = pace_of(Target(id="ops/1", kind=TargetKind.NOTIFY, name="ops", url=url))
    assert (pace.burst, pace.pause, pace.group_by, pace.group_interval) == (burst, pause, ("rule",), 30.0)
    assert pace.loud == frozenset(Severity)


def test_a_channel_says_how_it_is_told() -> None:
    channel = Channel(
        name="ops",
        urls=(),
        rate=Rate(1, 2.0),
        group_by=("host",),
        group_interval=5.0,
        quiet_hours=QuietHours(schedule=Schedule(), but=frozenset({Severity.CRITICAL})),
    )
    pace = pace_of(Target(id="ops/1", kind=TargetKind.NOTIFY, name="ops", url="json://x", channel=channel))
    assert pace == Pace(group_by=("host",), group_interval=5.0, burst=1, pause=2.0, loud=frozenset({Severity.CRITICAL}))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.sampled_from([1.0, 10.0, 60.0]), st.lists(st.floats(0, 30), max_size=80))
def test_a_rate_of_its_own_is_kept_in_every_span(messages: int, per: float, waits: list[float]) -> None:
    channel = Channel(name="ops", urls=(), rate=Rate(messages, per), group_interval=0.0)
    target = Target(id="ops/1", kind=TargetKind.NOTIFY, name="ops", url="json://x", channel=channel)
    queue = Queue(pace_of(target))
    sent = []
    for number, wait in enumerate([0.0] * messages + waits):
        queue.add(effect(str(number)))
        if queue.take():
            sent.append(queue.now)
        queue.now += wait / 10
    for start in sent:
        assert sum(start <= at < start + per - 1e-6 for at in sent) <= messages


class Lives:
    """The lives of six alerts at one channel, each act at random; `settle` lets all that waits go."""

    def __init__(self, pace: Pace, quiet: tuple[float, float] | None) -> None:
        self.queue = Queue(pace, quiet)
        self.lives = Counter[int]()
        self.courses: dict[int, list[str]] = {}
        self.submitted: list[str] = []
        self.dropped: list[str] = []
        self.told: list[str] = []
        self.bundles: dict[str, set[str]] = {}
        self.sends: list[float] = []

    def submit(self, number: int, span: float) -> None:
        """The next phase of an alert's life."""
        course = self.courses.setdefault(number, [])
        if not course or course[-1] == "resolved":
            self.lives[number] += 1
            course[:] = ["firing"]
        else:
            course.append("resolved" if span > 25 else "repeated" if span > 12 else "escalated")
        severity = Severity.CRITICAL if span > 30 else Severity.WARNING if number % 2 else Severity.INFO
        name = course[-1] if course[-1] in ("firing", "resolved") else f"{course[-1]}-{len(course)}"
        one = effect(f"{number}x{self.lives[number]}", Phase(course[-1]), severity, rule=f"r{number % 3}", name=name)
        self.submitted.append(one.id)
        self.dropped += [id_ for id_, _ in self.queue.add(one)]

    def send(self, how: str) -> None:
        """One message, if one may go, that is told, refused, or heard by nobody knows whom."""
        items = self.queue.batches.take(self.queue.moment)
        if not items:
            return
        self.sends.append(self.queue.now)
        digest = items[0].digest
        assert not digest or {item.effect.id for item in items} == self.bundles[digest]
        for item in items:
            item.attempts += 1
            item.ready_at = self.queue.now + 2.0 * item.attempts
        if how == "told":
            self.told += [item.effect.id for item in items]
            self.queue.batches.done(items, is_told=True)
            return
        if how == "unheard" and len(items) > 1:
            digest = digest or f"d{len(self.sends)}"
            self.bundles[digest] = {item.effect.id for item in items}
        for item in items:
            item.is_repeat = item.is_repeat or how == "unheard"
            item.digest = digest
        self.queue.batches.again(items)

    def settle(self) -> None:
        self.send("told")
        while (due := self.queue.next()) is not None:
            self.queue.now = max(self.queue.now, due)
            self.send("told")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "add", "add", "told", "refused", "unheard", "wait"]),
            st.integers(0, 5),
            st.floats(0.1, 40.0),
        ),
        max_size=120,
    ),
    st.sampled_from([0.0, 5.0, 30.0]),
    st.integers(1, 4),
    st.booleans(),
)
def test_nothing_is_lost_doubled_or_out_of_order(
    acts: list[tuple[str, int, float]], interval: float, burst: int, is_quiet: bool
) -> None:
    pace = Pace(group_interval=interval, burst=burst, pause=3.0, loud=frozenset({Severity.CRITICAL}))
    channel = Lives(pace, (50.0, 90.0) if is_quiet else None)
    for act, number, span in acts:
        if act == "add":
            channel.submit(number, span)
        elif act == "wait":
            channel.queue.now += span
        else:
            channel.send(act)
    channel.settle()
    told = channel.told
    assert len(channel.queue.batches) == 0
    assert Counter(told) + Counter(channel.dropped) == Counter(channel.submitted), "each exactly once"
    courses: dict[str, list[int]] = {}
    for id_ in channel.submitted:
        if id_ in told:
            courses.setdefault(id_.partition(".")[0], []).append(told.index(id_))
    assert all(course == sorted(course) for course in courses.values()), "in the order of the episode"
    ends = [id_ for id_ in told if id_.endswith(".resolved")]
    assert all(id_.replace(".resolved", ".firing") in told for id_ in ends), "nobody hears the end of what was not told"
    for start in channel.sends:
        assert sum(start <= at < start + 30 - 1e-6 for at in channel.sends) <= burst + 10, "never above its rate"


def test_a_storm_costs_no_more_than_its_size() -> None:
    """5,000 effects of 5,000 groups, one by one, at a channel that bears one message in a second."""
    began = time.process_time()
    queue = Queue(Pace(group_by=("host",), burst=1, pause=1.0))
    messages = []
    for number in range(5000):
        queue.add(effect(f"e{number}", host=f"h{number}"))
        messages.append(queue.take())
    while (due := queue.next()) is not None:
        queue.now = due
        messages.append(queue.take())
    sizes = [len(ids) for ids in messages if ids]
    assert sizes == [1, *[500] * 9, 499]
    assert time.process_time() - began < 5
