"""The dispatcher with its real ledger: digests over takeovers, dead letters, lost answers, a storm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers import Answer, HttpReceiver, wait_for
from zkalert import zk
from zkalert.dispatch import Dispatcher, Sender, Told
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
    Rate,
    Reason,
    SendResult,
    SendState,
    State,
    Target,
    TargetKind,
)
from zkalert.senders import make_sender
from zkalert.store import AlertStore, Change, NotOwner, Outbox
from zkalert.tree import Tree, decode_entry, encode_entry
from zkalert.zk import UNCERTAIN, Client, KazooException, Operation

DELIVERED = SendResult(state=SendState.DELIVERED)


class Recorder:
    """A sender that answers what it was told to; it can hang."""

    def __init__(self, *answers: SendResult) -> None:
        self.answers = list(answers)
        self.messages: list[tuple[list[str], bool]] = []
        self.gate = threading.Event()
        self.gate.set()

    def send(self, effects: Sequence[Effect], message: Message, *, is_repeat: bool) -> SendResult:
        self.messages.append(([effect.id for effect in effects], is_repeat))
        self.gate.wait(20)
        return self.answers.pop(0) if self.answers else DELIVERED


class Office:
    """What an engine has of this: an outbox under a fence, and a dispatcher on it."""

    def __init__(self, client: Client, tree: Tree, sender: Callable[[Target], Sender], **channel: Any) -> None:
        self.client, self.tree = client, tree
        self.fence = f"{tree.shard(0)}/lock"
        client.ensure_path(self.fence)
        self.told: list[Told] = []
        self.outbox = Outbox(client, tree, 0)
        self.store = AlertStore(client, tree, 0)
        self.store.load()
        self.dispatcher = Dispatcher(
            self.outbox,
            sender,
            time.time,
            tell=self.told.append,
            not_now=(*UNCERTAIN, KazooException),
            not_ours=NotOwner,
        )
        asked: dict[str, Any] = {"group_interval": 0.0, "rate": Rate(100, 1.0)} | channel
        ops = Channel(name="ops", urls=(), **asked)
        self.targets = {
            id_: Target(id=id_, kind=TargetKind.NOTIFY, name="ops", url="json://x", channel=ops)
            for id_ in ("ops/1", "ops/2")
        }
        self.dispatcher.set_targets(self.targets)
        self.read_back = self.outbox.own(self.fence)
        self.dispatcher.submit(self.read_back)

    def tell(self, *effects: Effect, targets: tuple[str, ...] = ("ops/1",)) -> None:
        """As the evaluator does: write, file, hand over."""
        entries = [
            OutboxEntry(
                effect=effect,
                deliveries=tuple(self.dispatcher.first_delivery(self.targets[id_], effect) for id_ in targets),
            )
            for effect in effects
        ]
        for start in range(0, len(entries), 90):
            self.store.commit([Change(effects[0].alert, tuple(entries[start : start + 90]))], self.fence)
        self.outbox.file(entries)
        self.dispatcher.submit(entries, is_new=True)

    def die(self) -> None:
        """Write nothing any more, as a process that was killed."""
        self.outbox.disown()
        self.dispatcher.drop()

    def wait_empty(self, timeout: float = 20.0) -> None:
        folder = self.tree.outbox(0)
        wait_for(lambda: not self.client.get_children(folder), "an empty outbox", timeout)


@pytest.fixture
def offices(client: Client, tree: Tree) -> Iterator[Callable[..., Office]]:
    made: list[Office] = []

    def open_one(sender: Callable[[Target], Sender] | Recorder, **channel: Any) -> Office:
        make = sender if not isinstance(sender, Recorder) else (lambda target: sender)
        made.append(Office(client, tree, make, **channel))
        return made[-1]

    yield open_one
    for office in made:
        office.dispatcher.stop(5)


def effect(episode: str, phase: Phase = Phase.FIRING) -> Effect:
    alert = Alert(
        rule="memory-high",
        host="web1",
        state=State.FIRING,
        episode=episode,
        metric=Metric("memory_usage", "percent"),
        comparator=Comparator.GT,
        threshold=90.0,
        value=95.0,
        since=time.time(),
        fired_at=time.time(),
    )
    return Effect(alert=alert, phase=phase, reason=Reason.HELD, at=time.time())


def test_a_digest_whose_engine_died_goes_again_from_its_successor_with_the_same_members(
    offices: Callable[..., Office],
) -> None:
    first = Recorder()
    office = offices(first, group_interval=0.3)
    office.tell(effect("a"))
    wait_for(lambda: first.messages and not office.dispatcher.waiting, "the first message")
    first.gate.clear()
    members = [effect(f"m{number:03}") for number in range(150)]
    office.tell(*members)
    wait_for(lambda: len(first.messages) == 2, "the digest to be on its way")
    office.die()
    first.gate.set()
    second = Recorder()
    successor = offices(second)
    claims = [one.deliveries[0] for one in successor.read_back]
    assert {claim.state for claim in claims} == {DeliveryState.CLAIMED}
    (digest,) = {claim.digest for claim in claims}
    assert len(digest) == 12
    successor.wait_empty()
    assert [(sorted(ids), is_repeat) for ids, is_repeat in second.messages] == [
        (sorted(member.id for member in members), True)
    ]
    assert sorted(first.messages[1][0]) == sorted(second.messages[0][0])


def test_a_failure_for_good_is_put_aside_and_comes_back_on_demand(
    offices: Callable[..., Office], client: Client, tree: Tree
) -> None:
    recorder = Recorder(SendResult(state=SendState.FAILED, detail="no such place"))
    office = offices(recorder)
    one = effect("a")
    office.tell(one)
    office.wait_empty()
    dead = decode_entry(client.get(tree.dead_entry(one.id))[0])
    assert isinstance(dead, OutboxEntry)
    assert (dead.deliveries[0].state, dead.deliveries[0].detail) == (DeliveryState.FAILED, "no such place")
    client.create(tree.resend_entry(one.id), makepath=True)
    office.dispatcher.resend(one.id)
    wait_for(lambda: len(recorder.messages) == 2, "the second try")
    office.wait_empty()
    assert client.get_children(tree.dead) == []
    assert client.get_children(tree.resend) == []


def test_what_is_held_over_a_takeover_is_released_by_the_successor(
    offices: Callable[..., Office], client: Client, tree: Tree
) -> None:
    one = effect("a")
    delivery = Delivery(target="ops/1", kind=TargetKind.NOTIFY, name="ops", state=DeliveryState.HELD, detail="silenced")
    client.create(
        tree.outbox_entry(0, one.id), encode_entry(OutboxEntry(effect=one, deliveries=(delivery,))), makepath=True
    )
    recorder = Recorder()
    office = offices(recorder)
    assert office.dispatcher.waiting == 0
    office.dispatcher.release(replace(one, note="was silenced"))
    office.wait_empty()
    assert recorder.messages == [([one.id], False)]
    assert office.told[0].effect.note == "was silenced"


def test_a_hanging_target_delays_no_other(offices: Callable[..., Office]) -> None:
    recorders = {"ops/1": Recorder(), "ops/2": Recorder()}
    recorders["ops/1"].gate.clear()
    office = offices(lambda target: recorders[target.id])
    office.tell(effect("a"), effect("b"), targets=("ops/1", "ops/2"))
    wait_for(
        lambda: {id_ for ids, _ in recorders["ops/2"].messages for id_ in ids} == {"a.firing", "b.firing"},
        "the other to hear of both",
    )
    assert len(recorders["ops/1"].messages) == 1
    recorders["ops/1"].gate.set()
    office.wait_empty()


def test_nothing_is_told_twice_though_answers_are_lost_all_the_time(
    offices: Callable[..., Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third write of the ledger is applied, and its answer lost."""
    count = iter(range(10**6))

    def commit(client: Client, operations: Sequence[Operation]) -> list[Any]:
        results = zk.commit(client, operations)
        if next(count) % 3 == 0:
            raise UNCERTAIN[0]
        return results

    monkeypatch.setattr("zkalert.store.outbox.commit_over", commit)
    recorder = Recorder()
    office = offices(recorder, group_interval=0.05)
    for number in range(60):
        office.tell(effect(f"e{number:02}"), targets=("ops/1", "ops/2"))
    office.wait_empty()
    told = [id_ for ids, _ in recorder.messages for id_ in ids]
    assert sorted(told) == sorted([f"e{number:02}.firing" for number in range(60)] * 2), "once at each target"
    assert not any(is_repeat for _, is_repeat in recorder.messages)


def test_a_storm_reaches_a_web_server_in_digests_and_leaves_nothing_behind(
    offices: Callable[..., Office], http_receiver: HttpReceiver
) -> None:
    target = http_receiver.url("/hook", "json")
    http_receiver.answer("/hook", Answer(), Answer(status=503), Answer())
    office = offices(lambda one: make_sender(replace(one, url=target)), group_interval=1.0, rate=Rate(10, 1.0))
    storm = [effect(f"s{number:04}") for number in range(5000)]
    began = time.monotonic()
    office.tell(*storm)
    http_receiver.wait(1)
    office.wait_empty(30)
    assert time.monotonic() - began < 30
    told = [one.id for try_ in office.told if try_.retry_in is None for one in try_.effects]
    assert sorted(told) == sorted(one.id for one in storm), "each once"
    assert len(http_receiver.requests) < 20
    assert all(len(try_.effects) <= 500 for try_ in office.told)
