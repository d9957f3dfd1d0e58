"""Deliveries on their way: order, retries, claims and marks, with a ledger and senders that only record.

The ledger and the senders here are stand-ins, so that each failure comes exactly when it is asked for; the
acceptance tests run the same dispatcher against ZooKeeper, a web server and a mail server.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers import wait_for
from zkalert import clock
from zkalert.dispatch import Dispatcher, Told, pauses
from zkalert.model import (
    Alert,
    Channel,
    Comparator,
    Delivery,
    DeliveryState,
    Effect,
    Message,
    Metric,
    OutboxEntry,
    Phase,
    QuietHours,
    Rate,
    Reason,
    Run,
    Schedule,
    SendResult,
    SendState,
    State,
    Target,
    TargetKind,
)

NOW = 1_700_000_000.0
DELIVERED = SendResult(state=SendState.DELIVERED)
RETRY = SendResult(state=SendState.FAILED, is_retryable=True, detail="refused")
FINAL = SendResult(state=SendState.FAILED, detail="no such place")
TIMEOUT = SendResult(state=SendState.UNKNOWN, is_retryable=True, detail="timed out")


class NotNow(Exception):
    pass


class NotOurs(Exception):
    pass


class Ledger:
    """Keeps entries in memory; raises what it was told to, once each."""

    def __init__(self) -> None:
        self.entries: dict[str, OutboxEntry] = {}
        self.dead: dict[str, OutboxEntry] = {}
        self.purged: list[float] = []
        self.states: list[tuple[str, str, DeliveryState]] = []
        self.errors: list[Exception] = []
        self.calls = 0

    def update_all(self, changes: Mapping[str, Callable[[OutboxEntry], OutboxEntry]]) -> dict[str, OutboxEntry]:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        made = {}
        for effect_id, change in changes.items():
            if effect_id not in self.entries:
                continue
            before = self.entries[effect_id]
            try:
                after = change(before)
            except NotOurs:
                continue
            for old, new in zip(before.deliveries, after.deliveries, strict=True):
                if old != new:
                    self.states.append((effect_id, new.target, new.state))
            self.entries[effect_id] = made[effect_id] = after
        return made

    def resend(self, effect_id: str, now: float) -> OutboxEntry | None:
        entry = self.dead.pop(effect_id, None)
        if entry is not None:
            new = tuple(replace(one, state=DeliveryState.NEW, attempts=0, since=now) for one in entry.deliveries)
            self.entries[effect_id] = replace(entry, deliveries=new)
        return self.entries.get(effect_id)

    def purge_dead(self, before: float) -> int:
        self.purged.append(before)
        return 1

    def delivery(self, effect: Effect, target: str = "ops/1") -> Delivery:
        (delivery,) = (one for one in self.entries[effect.id].deliveries if one.target == target)
        return delivery

    def state(self, effect: Effect, target: str = "ops/1") -> DeliveryState:
        return self.delivery(effect, target).state


class Sender:
    """Answers what it was told to, then always that it delivered; can be held up."""

    def __init__(self) -> None:
        self.answers: list[SendResult | Exception] = []
        self.sent: list[tuple[str, bool]] = []
        self.messages: list[list[str]] = []
        self.begun = 0
        self.gate = threading.Event()
        self.gate.set()

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool) -> SendResult:
        self.begun += 1
        self.gate.wait(10)
        answer = self.answers.pop(0) if self.answers else DELIVERED
        if isinstance(answer, Exception):
            raise answer
        self.sent += [(effect.id, is_repeat) for effect in effects]
        self.messages.append([effect.id for effect in effects])
        return answer


class Desk:
    """A dispatcher with its stand-ins. The channels do not wait for more of a group, unless a test says so."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.senders: dict[str, Sender] = {}
        self.told: list[Told] = []
        self.dropped: list[tuple[str, str, str]] = []
        self.now = NOW
        self.dispatcher = Dispatcher(
            self.ledger,
            lambda target: self.sender(target.id),
            lambda: self.now,
            tell=self.told.append,
            dropped=lambda effect, target, why: self.dropped.append((effect.id, target.id, why)),
            new_id=map("digest-{}".format, itertools.count(1)).__next__,
            not_now=(NotNow,),
            not_ours=NotOurs,
        )
        self.channel()

    def channel(self, **options: Any) -> None:
        """Two targets of one channel, and a command."""
        asked: dict[str, Any] = {"group_interval": 0.0, "rate": Rate(1000, 1.0)} | options
        channel = Channel(name="ops", urls=(), **asked)
        run = Target(id="run/1", kind=TargetKind.RUN, name="sh", run=Run(command="true"))
        ops = [
            Target(id=f"ops/{n}", kind=TargetKind.NOTIFY, name="ops", url="json://x", channel=channel) for n in (1, 2)
        ]
        self.targets = {target.id: target for target in [*ops, run]}
        self.dispatcher.set_targets(self.targets)

    def sender(self, target: str = "ops/1") -> Sender:
        return self.senders.setdefault(target, Sender())

    def write(self, *effects: Effect, targets: tuple[str, ...] = ("ops/1",), **delivery: Any) -> list[OutboxEntry]:
        """Entries as they stand in the ledger, not handed in yet."""
        entries = []
        for effect in effects:
            deliveries = tuple(
                replace(
                    Delivery(target=t, kind=TargetKind.RUN if t.startswith("run") else TargetKind.NOTIFY, name=t),
                    **delivery,
                )
                for t in targets
            )
            entries.append(OutboxEntry(effect=effect, deliveries=deliveries))
            self.ledger.entries[effect.id] = entries[-1]
        return entries

    def submit(
        self, *effects: Effect, targets: tuple[str, ...] = ("ops/1",), is_new: bool = False, **delivery: Any
    ) -> None:
        self.dispatcher.submit(self.write(*effects, targets=targets, **delivery), is_new=is_new)

    def wait(self, effect: Effect, state: DeliveryState, target: str = "ops/1") -> None:
        wait_for(lambda: self.ledger.state(effect, target) is state, f"{effect.id} at {target} to be {state.value}")

    def wait_begun(self, count: int, target: str = "ops/1") -> None:
        wait_for(lambda: self.sender(target).begun >= count, f"{count} tries at {target}")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(pauses, "FIRST_RETRY", 0.02)
    monkeypatch.setattr(pauses, "NOT_NOW", 0.02)
    made = Desk()
    yield made
    for sender in made.senders.values():
        sender.gate.set()
    made.dispatcher.stop(5)


def effect(episode: str = "a", phase: Phase = Phase.FIRING, name: str = "", rule: str = "memory-high") -> Effect:
    alert = Alert(
        rule=rule,
        host="web1",
        state=State.FIRING,
        episode=episode * 16,
        metric=Metric("memory_usage", "percent"),
        comparator=Comparator.GT,
        threshold=90.0,
        value=95.0,
        since=NOW,
        fired_at=NOW,
    )
    return Effect(alert=alert, phase=phase, reason=Reason.HELD, at=NOW, name=name)


def test_a_delivery_is_claimed_sent_and_marked(desk: Desk) -> None:
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert [state for _, _, state in desk.ledger.states] == [DeliveryState.CLAIMED, DeliveryState.DELIVERED]
    assert desk.sender("ops/1").sent == [(effect().id, False)]
    assert [told.attempt for told in desk.told] == [1]


def test_a_delivery_that_was_claimed_as_its_entry_was_made_is_sent_without_another_claim(desk: Desk) -> None:
    desk.sender("ops/1").answers = [RETRY]
    desk.submit(effect(), is_new=True, state=DeliveryState.CLAIMED, attempts=1)
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert desk.sender("ops/1").sent == [(effect().id, False), (effect().id, False)]
    assert [told.attempt for told in desk.told] == [1, 2]
    assert [state for _, _, state in desk.ledger.states] == [DeliveryState.CLAIMED, DeliveryState.DELIVERED]


def test_a_new_delivery_is_claimed_at_once_only_for_a_channel_that_is_idle(desk: Desk) -> None:
    desk.channel(group_interval=30.0)
    channel, command = desk.targets["ops/1"], desk.targets["run/1"]
    first = desk.dispatcher.first_delivery(channel, effect())
    assert (first.state, first.attempts, first.at) == (DeliveryState.CLAIMED, 1, NOW)
    assert desk.dispatcher.first_delivery(command, effect()).state is DeliveryState.NEW
    assert desk.dispatcher.first_delivery(channel, effect("b", rule="other")).state is DeliveryState.NEW, "not idle"
    desk.submit(effect(), is_new=True, state=DeliveryState.CLAIMED, attempts=1)
    desk.wait(effect(), DeliveryState.DELIVERED)
    wait_for(lambda: desk.dispatcher.waiting == 0, "the worker to be done with it")
    assert desk.dispatcher.first_delivery(channel, effect("c")).state is DeliveryState.NEW, "its group has to wait"
    assert desk.dispatcher.first_delivery(channel, effect("c", rule="other")).state is DeliveryState.CLAIMED


def test_a_promise_whose_entry_was_not_written_costs_nothing(desk: Desk) -> None:
    desk.channel(group_interval=30.0)
    channel = desk.targets["ops/1"]
    assert desk.dispatcher.first_delivery(channel, effect()).state is DeliveryState.CLAIMED
    desk.dispatcher.submit([])  # what was read back
    assert desk.dispatcher.first_delivery(channel, effect()).state is DeliveryState.CLAIMED
    desk.dispatcher.drop()
    assert desk.dispatcher.first_delivery(channel, effect()).state is DeliveryState.CLAIMED


def test_a_failure_is_tried_again_and_the_count_of_attempts_kept(desk: Desk) -> None:
    desk.sender("ops/1").answers = [RETRY, RETRY]
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert [told.attempt for told in desk.told] == [1, 2, 3]
    assert [told.retry_in is None for told in desk.told] == [False, False, True]
    assert all(not is_repeat for _, is_repeat in desk.sender("ops/1").sent), "a refusal was not heard by anybody"


def test_pauses_between_tries_grow_and_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "LONGEST_RETRY", 0.08)
    desk.sender("ops/1").answers = [RETRY] * 5
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.DELIVERED)
    waited = [told.retry_in for told in desk.told if told.retry_in is not None]
    for pause, middle in zip(waited, (0.02, 0.04, 0.08, 0.08, 0.08), strict=True):
        assert middle * 0.8 <= pause <= middle * 1.2


def test_after_a_timeout_the_next_try_says_that_it_may_be_a_repeat(desk: Desk) -> None:
    desk.sender("ops/1").answers = [TIMEOUT]
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert [is_repeat for _, is_repeat in desk.sender("ops/1").sent] == [False, True]


def test_a_failure_for_good_is_not_tried_again(desk: Desk) -> None:
    desk.sender("ops/1").answers = [FINAL]
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.FAILED)
    assert len(desk.sender("ops/1").sent) == 1


def test_after_a_day_it_is_given_up(desk: Desk) -> None:
    desk.now = NOW + pauses.GIVE_UP_AFTER - 0.001
    desk.sender("ops/1").answers = [RETRY]
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.FAILED)
    assert len(desk.sender("ops/1").sent) == 1


def test_a_hanging_target_delays_no_other(desk: Desk) -> None:
    desk.sender("ops/1").gate.clear()
    desk.submit(effect(), targets=("ops/1", "ops/2"))
    desk.wait(effect(), DeliveryState.DELIVERED, "ops/2")
    assert desk.ledger.state(effect(), "ops/1") is DeliveryState.CLAIMED


def test_a_resolved_never_overtakes_its_firing_and_other_episodes_do(desk: Desk) -> None:
    desk.sender("ops/1").answers = [RETRY, DELIVERED]
    firing, resolved, other = effect(), effect(phase=Phase.RESOLVED), effect("b")
    desk.sender().gate.clear()
    desk.submit(firing)
    desk.wait_begun(1)
    desk.submit(resolved, other)
    desk.sender().gate.set()
    desk.wait(resolved, DeliveryState.DELIVERED)
    sent = [id_ for id_, _ in desk.sender("ops/1").sent]
    assert sent == [firing.id, other.id, firing.id, resolved.id]


def test_a_claimed_notification_of_an_engine_that_died_is_sent_as_a_repeat(desk: Desk) -> None:
    desk.submit(effect(), state=DeliveryState.CLAIMED, attempts=1)
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert desk.sender("ops/1").sent == [(effect().id, True)]


def test_a_claimed_command_of_an_engine_that_died_is_never_run_again(desk: Desk) -> None:
    desk.submit(effect(), targets=("run/1",), state=DeliveryState.CLAIMED, attempts=1)
    desk.wait(effect(), DeliveryState.UNKNOWN, "run/1")
    assert desk.sender("run/1").sent == []


def test_a_command_that_failed_is_not_run_again(desk: Desk) -> None:
    desk.sender("run/1").answers = [RETRY]
    desk.submit(effect(), targets=("run/1",))
    desk.wait(effect(), DeliveryState.FAILED, "run/1")
    assert len(desk.sender("run/1").sent) == 1


def test_what_is_done_already_is_not_sent(desk: Desk) -> None:
    desk.submit(effect(), state=DeliveryState.DELIVERED)
    desk.submit(effect("b"))
    desk.wait(effect("b"), DeliveryState.DELIVERED)
    assert [id_ for id_, _ in desk.sender("ops/1").sent] == [effect("b").id]


def test_nothing_is_sent_before_its_claim_stands(desk: Desk) -> None:
    desk.ledger.errors = [NotNow(), NotNow()]
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert [told.attempt for told in desk.told] == [1], "a claim that failed is no attempt"


def test_a_mark_that_fails_is_made_again_without_sending_again(desk: Desk) -> None:
    desk.sender("ops/1").gate.clear()
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.CLAIMED)
    desk.ledger.errors = [NotNow(), NotNow()]
    desk.sender("ops/1").gate.set()
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert len(desk.sender("ops/1").sent) == 1


def test_what_was_sent_but_not_marked_before_ownership_ended_is_only_marked_after(desk: Desk) -> None:
    desk.sender("ops/1").gate.clear()
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.CLAIMED)
    desk.ledger.errors = [NotOurs()]
    desk.sender("ops/1").gate.set()
    wait_for(lambda: desk.dispatcher.waiting == 0, "the worker to leave it")
    desk.dispatcher.drop()
    desk.dispatcher.submit([desk.ledger.entries[effect().id]])
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert len(desk.sender("ops/1").sent) == 1


def test_dropping_begins_nothing_further(desk: Desk) -> None:
    desk.sender("ops/1").gate.clear()
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.CLAIMED)
    desk.submit(effect("b"))
    desk.dispatcher.drop()
    desk.sender("ops/1").gate.set()
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert [id_ for id_, _ in desk.sender("ops/1").sent] == [effect().id]


def test_a_target_that_nobody_names_any_more_waits_for_its_return(desk: Desk) -> None:
    desk.submit(effect(), targets=("ops/9",))
    assert desk.dispatcher.waiting == 1
    assert [(one.id, one.waiting) for one in desk.dispatcher.status()] == [("ops/9", 1)]
    desk.dispatcher.set_targets({"ops/9": Target(id="ops/9", kind=TargetKind.NOTIFY, name="ops", url="json://x")})
    desk.wait(effect(), DeliveryState.DELIVERED, "ops/9")


# Digests.


def test_what_waits_goes_as_one_message_with_an_id_that_the_ledger_knows(desk: Desk) -> None:
    desk.channel(group_interval=0.01)
    desk.sender().gate.clear()
    desk.submit(effect("a"))
    desk.wait_begun(1)
    others = [effect(episode) for episode in "bcd"]
    desk.submit(*others)
    desk.sender().gate.set()
    for other in others:
        desk.wait(other, DeliveryState.DELIVERED)
    assert desk.sender().messages == [[effect("a").id], [other.id for other in others]]
    assert {desk.ledger.delivery(other).digest for other in others} == {"digest-1"}
    told = desk.told[1]
    assert (told.effects, told.effect, told.attempt) == (tuple(others), others[0], 1)
    assert not told.is_repeat
    assert desk.ledger.calls == 4, "each message is claimed in one go, and marked in one"


def test_members_of_a_digest_that_was_claimed_go_again_together_as_a_repeat(desk: Desk) -> None:
    old = [effect(episode) for episode in "abc"]
    entries = desk.write(*old, state=DeliveryState.CLAIMED, attempts=1, at=NOW - 60, digest="d7")
    desk.dispatcher.submit([*entries[:2], *desk.write(effect("x")), entries[2]])
    desk.wait(old[0], DeliveryState.DELIVERED)
    desk.wait(effect("x"), DeliveryState.DELIVERED)
    assert sorted(desk.sender().messages) == [[one.id for one in old], [effect("x").id]]
    assert sorted(told.is_repeat for told in desk.told) == [False, True]
    assert {desk.ledger.delivery(one).digest for one in old} == {"d7"}
    assert {desk.ledger.delivery(one).attempts for one in old} == {2}


def test_a_new_owner_keeps_the_pause_that_was_begun(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "FIRST_RETRY", 30.0)
    desk.submit(effect("a"), state=DeliveryState.CLAIMED, attempts=1, at=NOW - 40)
    desk.submit(effect("b"), state=DeliveryState.CLAIMED, attempts=2, at=NOW - 40)
    desk.wait(effect("a"), DeliveryState.DELIVERED)
    assert desk.dispatcher.waiting == 1, "60 s after the second try"
    assert desk.sender().sent == [(effect("a").id, True)]


def test_a_digest_that_was_refused_is_tried_again_and_one_that_timed_out_with_the_same_id(desk: Desk) -> None:
    desk.channel(group_interval=0.01)
    desk.sender().answers = [DELIVERED, RETRY, TIMEOUT]
    desk.sender().gate.clear()
    desk.submit(effect("x"))
    desk.wait_begun(1)
    both = [effect("a"), effect("b")]
    desk.submit(*both)
    desk.sender().gate.set()
    desk.wait(both[0], DeliveryState.DELIVERED)
    ids = [one.id for one in both]
    assert desk.sender().messages[1:] == [ids, ids, ids]
    assert [told.is_repeat for told in desk.told[1:]] == [False, False, True]
    assert desk.ledger.delivery(both[0]).digest == "digest-2", "the refused one was heard by nobody"


def test_one_that_cannot_be_told_does_not_silence_the_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.channel(group_interval=0.01)
    monkeypatch.setattr(pauses, "AFTER_ERROR", 0.05)
    desk.sender().answers = [DELIVERED, ValueError("a slip of ours")]
    desk.sender().gate.clear()
    desk.submit(effect("x"))
    desk.wait_begun(1)
    desk.submit(effect("a"), effect("b"))
    desk.sender().gate.set()
    desk.wait(effect("a"), DeliveryState.DELIVERED)
    desk.wait(effect("b"), DeliveryState.DELIVERED)
    assert desk.sender().messages[1:] == [[effect("a").id], [effect("b").id]], "each alone"


def test_a_storm_is_told_in_a_few_messages(desk: Desk) -> None:
    desk.channel(group_interval=0.2, rate=Rate(4, 1.0))
    storm = [replace(effect(), alert=replace(effect().alert, episode=f"{number:016}")) for number in range(2000)]
    desk.submit(*storm[:1])
    desk.wait(storm[0], DeliveryState.DELIVERED)
    desk.submit(*storm[1:])
    desk.wait(storm[-1], DeliveryState.DELIVERED)
    sizes = [len(message) for message in desk.sender().messages]
    assert sizes == [1, 500, 500, 500, 499]
    assert sum(sizes) == len({id_ for message in desk.sender().messages for id_ in message})


def test_who_cannot_bear_to_hear_of_a_try_does_not_have_it_repeated(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(told: Told) -> None:
        raise ValueError(told)

    monkeypatch.setattr(desk.dispatcher._courier, "_tell", fail)
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert desk.sender().begun == 1
    assert "a try could not be shown" in caplog.text


# What is not told.


def test_over_before_it_was_told_is_dropped_and_said(desk: Desk) -> None:
    desk.channel(quiet_hours=QuietHours(schedule=Schedule()))
    desk.submit(effect())
    desk.submit(effect(phase=Phase.RESOLVED))
    desk.wait(effect(phase=Phase.RESOLVED), DeliveryState.DROPPED)
    desk.wait(effect(), DeliveryState.DROPPED)
    wait_for(lambda: len(desk.dropped) == 2, "word of both")
    assert set(desk.dropped) == {
        (one.id, "ops/1", "over before it was told") for one in (effect(), effect(phase=Phase.RESOLVED))
    }
    assert desk.ledger.delivery(effect()).detail == "over before it was told"
    assert desk.sender().sent == []


def test_commands_are_run_though_their_alert_is_over(desk: Desk) -> None:
    desk.sender("run/1").gate.clear()
    entries = desk.write(effect(), effect(phase=Phase.RESOLVED), targets=("run/1",))
    desk.dispatcher.submit(entries)
    desk.sender("run/1").gate.set()
    desk.wait(effect(phase=Phase.RESOLVED), DeliveryState.DELIVERED, "run/1")
    assert desk.sender("run/1").messages == [[effect().id], [effect(phase=Phase.RESOLVED).id]]


def test_what_is_held_waits_until_it_is_released_with_another_note(desk: Desk) -> None:
    desk.submit(effect(), targets=("ops/1", "ops/2"), state=DeliveryState.HELD, detail="silenced")
    assert desk.dispatcher.waiting == 0
    desk.now = NOW + 2 * pauses.GIVE_UP_AFTER
    desk.sender().answers = [RETRY]
    desk.dispatcher.release(replace(effect(), note="silenced for two days"))
    desk.wait(effect(), DeliveryState.DELIVERED)
    desk.wait(effect(), DeliveryState.DELIVERED, "ops/2")
    assert {told.effect.note for told in desk.told} == {"silenced for two days"}
    assert desk.ledger.entries[effect().id].effect.note == "silenced for two days"
    assert desk.ledger.delivery(effect()).since == desk.now
    assert desk.sender().messages == [[effect().id]] * 2, "its day begins with the release"


def test_what_is_released_is_not_overtaken_by_its_end_while_the_ledger_does_not_answer(desk: Desk) -> None:
    desk.submit(effect(), state=DeliveryState.HELD)
    desk.ledger.errors = [NotNow() for _ in range(4)]
    desk.dispatcher.release(effect())
    desk.wait_begun(1)
    desk.submit(effect(phase=Phase.RESOLVED))
    desk.wait(effect(phase=Phase.RESOLVED), DeliveryState.DELIVERED)
    assert [id_ for id_, _ in desk.sender().sent] == [effect().id, effect(phase=Phase.RESOLVED).id]


def test_what_is_withheld_is_dropped_wherever_it_waits(desk: Desk) -> None:
    held, new, lost = effect("a"), effect("b"), effect("c")
    desk.channel(quiet_hours=QuietHours(schedule=Schedule()))
    desk.submit(held, state=DeliveryState.HELD)
    desk.submit(new)
    desk.submit(lost, targets=("gone/1",))
    for one in (held, new, lost):
        desk.dispatcher.withhold(one.id, "another rule fires")
    desk.wait(held, DeliveryState.DROPPED)
    desk.wait(new, DeliveryState.DROPPED)
    desk.wait(lost, DeliveryState.DROPPED, "gone/1")
    assert desk.dispatcher.waiting == 0
    wait_for(lambda: len(desk.dropped) == 3, "word of all")
    assert desk.dropped[0] == (held.id, "ops/1", "another rule fires")


def test_what_is_withheld_while_it_is_sent_is_told_or_not_tried_again(desk: Desk) -> None:
    for answer, state in ((DELIVERED, DeliveryState.DELIVERED), (RETRY, DeliveryState.DROPPED)):
        one = effect(answer.state.value[0])
        desk.sender().gate.clear()
        desk.sender().answers = [answer]
        begun = desk.sender().begun
        desk.submit(one)
        desk.wait_begun(begun + 1)
        desk.dispatcher.withhold(one.id, "silenced")
        desk.sender().gate.set()
        desk.wait(one, state)
        assert desk.sender().begun == begun + 1


def test_a_change_that_the_ledger_could_not_take_is_made_again(desk: Desk) -> None:
    desk.submit(effect(), state=DeliveryState.HELD)
    desk.ledger.errors = [NotNow(), NotNow()]
    desk.dispatcher.withhold(effect().id, "over")
    desk.wait(effect(), DeliveryState.DROPPED)


# What failed for good.


def test_what_is_dead_is_sent_again_on_demand(desk: Desk) -> None:
    entry = OutboxEntry(
        effect=effect(),
        deliveries=(Delivery(target="ops/1", kind=TargetKind.NOTIFY, name="ops", state=DeliveryState.FAILED),),
    )
    desk.ledger.dead[effect().id] = entry
    desk.now = NOW + 3 * pauses.GIVE_UP_AFTER
    desk.sender().answers = [RETRY]
    desk.dispatcher.resend(effect().id)
    desk.dispatcher.resend("nothing")
    wait_for(lambda: effect().id in desk.ledger.entries, "the entry to be back")
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert [told.attempt for told in desk.told] == [1, 2], "its day begins anew"


def test_old_dead_ones_are_purged_on_the_ledgers_thread(desk: Desk) -> None:
    desk.dispatcher.purge_dead(NOW)
    wait_for(lambda: desk.ledger.purged == [NOW], "the purge")


# What it shows.


def test_the_status_names_what_fails_and_why(desk: Desk) -> None:
    desk.sender().answers = [RETRY]
    desk.sender().gate.clear()
    desk.submit(effect(), targets=("ops/1", "ops/2"))
    desk.wait_begun(1)
    assert {one.id: one.waiting for one in desk.dispatcher.status()}["ops/1"] == 1
    desk.now = NOW + 5
    desk.sender().gate.set()
    desk.wait(effect(), DeliveryState.DELIVERED)
    wait_for(lambda: desk.dispatcher.waiting == 0, "the worker to be done with it")
    assert {one.failing_since for one in desk.dispatcher.status()} == {None}, "it does not fail any more"
    desk.sender().answers = [FINAL]
    desk.submit(effect("b"))
    desk.wait(effect("b"), DeliveryState.FAILED)
    wait_for(lambda: desk.dispatcher.waiting == 0, "the worker to be done with it")
    failing = desk.dispatcher.status()[0]
    assert (failing.failing_since, failing.last_error) == (NOW + 5, "no such place")


def test_progress_stands_still_only_while_a_message_hangs_and_no_other_goes(desk: Desk) -> None:
    before = clock.monotonic()
    assert desk.dispatcher.progress_at >= before
    desk.sender().gate.clear()
    desk.submit(effect())
    desk.wait_begun(1)
    hung = desk.dispatcher.progress_at
    assert desk.dispatcher.progress_at == hung
    desk.submit(effect("b"), targets=("ops/2",))
    desk.wait(effect("b"), DeliveryState.DELIVERED, "ops/2")
    wait_for(lambda: desk.dispatcher.progress_at > hung, "the other to count")
    desk.sender().gate.set()
    wait_for(lambda: desk.dispatcher.waiting == 0, "both to be done with")
    assert desk.dispatcher.progress_at > hung


def test_a_ledger_that_is_lost_and_found_while_a_message_is_sent_loses_nothing(desk: Desk) -> None:
    desk.sender().gate.clear()
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.CLAIMED)
    desk.dispatcher.drop()
    desk.dispatcher.submit([desk.ledger.entries[effect().id]])  # ours again, before the message has gone
    desk.ledger.errors = [NotOurs()]
    desk.sender().gate.set()
    desk.wait(effect(), DeliveryState.DELIVERED)
    wait_for(lambda: desk.dispatcher.waiting == 0, "the worker to be done with it")
    assert desk.sender().sent == [(effect().id, False)]
