"""Records and the outbox, written by compare-and-set under a fence, against a real server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zkalert.model import (
    Alert,
    Clock,
    Comparator,
    Delivery,
    DeliveryState,
    Effect,
    Hold,
    Metric,
    OutboxEntry,
    Phase,
    Reason,
    State,
    TargetKind,
)
from zkalert.store import AlertStore, Change, NotOwner, Outbox, OutOfStep
from zkalert.tree import Tree, decode_alert
from zkalert.zk import Client


def alert(host: str = "web1", state: State = State.FIRING) -> Alert:
    return Alert(
        rule="memory-high",
        host=host,
        state=state,
        episode="0123456789abcdef",
        metric=Metric("memory_usage", "percent"),
        comparator=Comparator.GT,
        threshold=90.0,
        since=1.0,
        clocks=(Clock(state, Hold(0.0, 1.0, float("-inf"), 15.0)),),
    )


def entry(host: str = "web1", phase: Phase = Phase.FIRING, targets: int = 1) -> OutboxEntry:
    effect = Effect(alert=replace(alert(host), episode=f"{host}-episode"), phase=phase, reason=Reason.HELD, at=1.0)
    deliveries = tuple(Delivery(target=f"ops/{n}", kind=TargetKind.NOTIFY, name="ops") for n in range(targets))
    return OutboxEntry(effect=effect, deliveries=deliveries)


@pytest.fixture
def fence(client: Client, tree: Tree) -> str:
    path = f"{tree.shard(0)}/lock"
    client.create(path, makepath=True)
    return path


@pytest.fixture
def store(client: Client, tree: Tree, fence: str) -> AlertStore:
    made = AlertStore(client, tree, 0)
    made.load()
    return made


@pytest.fixture
def outbox(client: Client, tree: Tree, fence: str) -> Outbox:
    made = Outbox(client, tree, 0)
    made.own(fence)
    return made


def done(state: DeliveryState, target: str = "ops/0") -> object:
    def change(entry: OutboxEntry) -> OutboxEntry:
        return replace(
            entry,
            deliveries=tuple(replace(d, state=state) if d.target == target else d for d in entry.deliveries),
        )

    return change


def test_a_transition_and_its_effect_are_one_write(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    store.commit([Change(alert(), (entry(),))], fence)
    record = client.get(tree.alert("memory-high", "web1", None))[1]
    effect = client.get(tree.outbox_entry(0, entry().effect.id))[1]
    assert record.czxid == effect.czxid


def test_records_are_made_changed_and_deleted_and_read_back(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    for state in (State.PENDING, State.FIRING):
        store.commit([Change(alert(state=state))], fence)
        (read,) = AlertStore(client, tree, 0).load()
        assert replace(read, writer="") == alert(state=state)
    assert read.writer.endswith("-2")
    store.commit([Change(alert(state=State.RESOLVED))], fence)
    assert AlertStore(client, tree, 0).load() == []


def test_one_batch_may_make_and_end_the_same_alert(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    store.commit([Change(alert(), (entry(),)), Change(alert(state=State.RESOLVED))], fence)
    assert store.load() == []
    assert client.get_children(tree.outbox(0)) == [entry().effect.id]


def test_many_transitions_go_in_bounded_transactions(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    store.commit([Change(alert(f"h{number}"), (entry(f"h{number}"),)) for number in range(250)], fence)
    assert len(store.load()) == 250
    zxids = {client.get(tree.outbox_entry(0, entry(f"h{number}").effect.id))[1].czxid for number in range(250)}
    assert len(zxids) == 6, "fifty transitions fit into one hundred operations, less the check"


def test_who_lost_the_fence_writes_nothing(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    store.commit([Change(alert(), (entry(),))], fence)
    outbox.file([entry()])
    client.delete(fence)
    with pytest.raises(NotOwner):
        store.commit([Change(alert("web2"))], fence)
    with pytest.raises(NotOwner):
        outbox.update(entry().effect.id, done(DeliveryState.CLAIMED))  # type: ignore[arg-type]
    assert client.get_children(tree.rule_alerts("memory-high")) == ["web1"]
    assert client.get(tree.outbox_entry(0, entry().effect.id))[1].version == 0


def test_a_record_that_somebody_else_changed_is_noticed_and_read_back(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    store.commit([Change(alert(state=State.PENDING))], fence)
    path = tree.alert("memory-high", "web1", None)
    client.set(path, client.get(path)[0])
    with pytest.raises(OutOfStep):
        store.commit([Change(alert(), (entry(),))], fence)
    assert client.get_children(tree.outbox(0)) == [], "all or nothing"
    store.load()
    store.commit([Change(alert(), (entry(),))], fence)
    read = decode_alert(client.get(path)[0])
    assert isinstance(read, Alert)
    assert read.state is State.FIRING


def test_an_entry_is_deleted_once_all_its_deliveries_are_done(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    made = entry(targets=2)
    store.commit([Change(alert(), (made,))], fence)
    outbox.file([made])
    outbox.update(made.effect.id, done(DeliveryState.DELIVERED))  # type: ignore[arg-type]
    (read,) = Outbox(client, tree, 0).own(fence)
    assert [delivery.state for delivery in read.deliveries] == [DeliveryState.DELIVERED, DeliveryState.NEW]
    outbox.update(made.effect.id, done(DeliveryState.FAILED, "ops/1"))  # type: ignore[arg-type]
    assert client.get_children(tree.outbox(0)) == []


def test_what_is_read_back_is_in_the_order_in_which_it_came_to_be(
    client: Client, tree: Tree, store: AlertStore, outbox: Outbox, fence: str
) -> None:
    def effect(episode: str, phase: Phase, fired_at: float, at: float) -> OutboxEntry:
        made = entry(episode, phase)
        fired = replace(made.effect.alert, fired_at=fired_at)
        return replace(made, effect=replace(made.effect, alert=fired, at=at))

    entries = (
        effect("c", Phase.FIRING, 10.0, 10.0),
        effect("c", Phase.RESOLVED, 10.0, 20.0),
        effect("b", Phase.FIRING, 20.0, 20.0),  # with the look that ended the other
        effect("b", Phase.REPEATED, 20.0, 30.0),
        effect("b", Phase.RESOLVED, 20.0, 31.0),
        effect("a", Phase.FIRING, 40.0, 40.0),
        effect("a", Phase.RESOLVED, 40.0, 5.0),  # the clock went back
    )
    store.commit([Change(alert(), entries)], fence)
    outbox.file(entries)
    read = Outbox(client, tree, 0).own(fence)
    assert [one.effect.id for one in read] == [one.effect.id for one in entries]


def test_a_change_whose_answer_was_lost_is_made_again_on_what_it_made(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    made = entry(targets=2)
    store.commit([Change(alert(), (made,))], fence)
    other = Outbox(client, tree, 0)  # stands for ourselves before the answer was lost
    other.own(fence)
    outbox.file([made])
    other.update(made.effect.id, done(DeliveryState.CLAIMED))  # type: ignore[arg-type]
    outbox.update(made.effect.id, done(DeliveryState.DELIVERED))  # type: ignore[arg-type]
    (read,) = Outbox(client, tree, 0).own(fence)
    assert read.deliveries[0].state is DeliveryState.DELIVERED
    other.own(fence)
    for target in ("ops/0", "ops/1"):
        other.update(made.effect.id, done(DeliveryState.DELIVERED, target))  # type: ignore[arg-type]
    outbox.update(made.effect.id, done(DeliveryState.DELIVERED, "ops/1"))  # type: ignore[arg-type]
    assert client.get_children(tree.outbox(0)) == [], "a deletion whose answer was lost is done"


def test_nothing_is_changed_after_disowning(store: AlertStore, outbox: Outbox, fence: str) -> None:
    store.commit([Change(alert(), (entry(),))], fence)
    outbox.file([entry()])
    outbox.disown()
    with pytest.raises(NotOwner):
        outbox.update(entry().effect.id, done(DeliveryState.CLAIMED))  # type: ignore[arg-type]
