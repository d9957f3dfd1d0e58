"""Deliveries on their way: order, retries, claims and marks, with a ledger and senders that only record.

The ledger and the senders here are stand-ins, so that each failure comes exactly when it is asked for; the
acceptance tests run the same dispatcher against ZooKeeper, a web server and a mail server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from tests.helpers import wait_for
from zkalert import dispatch
from zkalert.dispatch import Dispatcher, Told
from zkalert.model import (
    Alert,
    Comparator,
    Delivery,
    DeliveryState,
    Effect,
    Message,
    Metric,
    OutboxEntry,
    Phase,
    Reason,
    Run,
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
        self.states: list[tuple[str, str, DeliveryState]] = []
        self.errors: list[Exception] = []

    def update(self, effect_id: str, change: Callable[[OutboxEntry], OutboxEntry]) -> OutboxEntry:
        if self.errors:
            raise self.errors.pop(0)
        before = self.entries[effect_id]
        after = change(before)
        for old, new in zip(before.deliveries, after.deliveries, strict=True):
            if old != new:
                self.states.append((effect_id, new.target, new.state))
        self.entries[effect_id] = after
        return after

    def state(self, effect: Effect, target: str = "ops/1") -> DeliveryState:
        (delivery,) = (one for one in self.entries[effect.id].deliveries if one.target == target)
        return delivery.state


class Sender:
    """Answers what it was told to, then always that it delivered; can be held up."""

    def __init__(self) -> None:
        self.answers: list[SendResult] = []
        self.sent: list[tuple[str, bool]] = []
        self.gate = threading.Event()
        self.gate.set()

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool) -> SendResult:
        self.gate.wait(10)
        self.sent += [(effect.id, is_repeat) for effect in effects]
        return self.answers.pop(0) if self.answers else DELIVERED


class Desk:
    """A dispatcher with its stand-ins."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.senders: dict[str, Sender] = {}
        self.told: list[Told] = []
        self.now = NOW
        self.dispatcher = Dispatcher(
            self.ledger,
            lambda target: self.sender(target.id),
            lambda: self.now,
            tell=self.told.append,
            not_now=(NotNow,),
            not_ours=NotOurs,
        )
        run = Target(id="run/1", kind=TargetKind.RUN, name="sh", run=Run(command="true"))
        targets = [Target(id=f"ops/{n}", kind=TargetKind.NOTIFY, name="ops", url="json://x") for n in (1, 2)]
        self.dispatcher.set_targets({target.id: target for target in [*targets, run]})

    def sender(self, target: str) -> Sender:
        return self.senders.setdefault(target, Sender())

    def submit(
        self, *effects: Effect, targets: tuple[str, ...] = ("ops/1",), is_new: bool = False, **delivery: object
    ) -> None:
        for effect in effects:
            deliveries = tuple(
                replace(
                    Delivery(target=t, kind=TargetKind.RUN if t.startswith("run") else TargetKind.NOTIFY, name=t),
                    **delivery,  # type: ignore[arg-type]
                )
                for t in targets
            )
            entry = OutboxEntry(effect=effect, deliveries=deliveries)
            self.ledger.entries[effect.id] = entry
            self.dispatcher.submit([entry], is_new=is_new)

    def wait(self, effect: Effect, state: DeliveryState, target: str = "ops/1") -> None:
        wait_for(lambda: self.ledger.state(effect, target) is state, f"{effect.id} at {target} to be {state.value}")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(dispatch, "FIRST_RETRY", 0.02)
    monkeypatch.setattr(dispatch, "NOT_NOW", 0.02)
    made = Desk()
    yield made
    for sender in made.senders.values():
        sender.gate.set()
    made.dispatcher.stop(5)


def effect(episode: str = "a", phase: Phase = Phase.FIRING) -> Effect:
    alert = Alert(
        rule="memory-high",
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
    return Effect(alert=alert, phase=phase, reason=Reason.HELD, at=NOW)


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
    channel = Target(id="ops/1", kind=TargetKind.NOTIFY, name="ops", url="json://x")
    command = Target(id="run/1", kind=TargetKind.RUN, name="sh", run=Run(command="true"))
    assert desk.dispatcher.first_delivery(channel, NOW).state is DeliveryState.CLAIMED
    assert desk.dispatcher.first_delivery(command, NOW).state is DeliveryState.NEW
    desk.sender("ops/1").gate.clear()
    desk.submit(effect())
    assert desk.dispatcher.first_delivery(channel, NOW).state is DeliveryState.NEW


def test_a_failure_is_tried_again_and_the_count_of_attempts_kept(desk: Desk) -> None:
    desk.sender("ops/1").answers = [RETRY, RETRY]
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.DELIVERED)
    assert [told.attempt for told in desk.told] == [1, 2, 3]
    assert [told.retry_in is None for told in desk.told] == [False, False, True]
    assert all(not is_repeat for _, is_repeat in desk.sender("ops/1").sent), "a refusal was not heard by anybody"


def test_pauses_between_tries_grow_and_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LONGEST_RETRY", 0.08)
    desk.sender("ops/1").answers = [RETRY] * 5
    desk.submit(effect())
    desk.wait(effect(), DeliveryState.DELIVERED)
    pauses = [told.retry_in for told in desk.told if told.retry_in is not None]
    for pause, middle in zip(pauses, (0.02, 0.04, 0.08, 0.08, 0.08), strict=True):
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
    desk.now = NOW + dispatch.GIVE_UP_AFTER - 0.001
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
    desk.submit(firing, resolved, other)
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
    desk.dispatcher.set_targets({"ops/9": Target(id="ops/9", kind=TargetKind.NOTIFY, name="ops", url="json://x")})
    desk.wait(effect(), DeliveryState.DELIVERED, "ops/9")
