"""Records and the outbox, written by compare-and-set under a fence, against a real server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

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
from zkalert.tree import Tree, decode_alert, decode_entry
from zkalert.zk import UNCERTAIN, Client, Operation, Set, commit


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


def done(state: DeliveryState, target: str = "ops/0") -> Callable[[OutboxEntry], OutboxEntry]:
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
        outbox.update_all({entry().effect.id: done(DeliveryState.CLAIMED)})
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
    outbox.update_all({made.effect.id: done(DeliveryState.DELIVERED)})
    (read,) = Outbox(client, tree, 0).own(fence)
    assert [delivery.state for delivery in read.deliveries] == [DeliveryState.DELIVERED, DeliveryState.NEW]
    outbox.update_all({made.effect.id: done(DeliveryState.FAILED, "ops/1")})
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
    other.update_all({made.effect.id: done(DeliveryState.CLAIMED)})
    outbox.update_all({made.effect.id: done(DeliveryState.DELIVERED)})
    (read,) = Outbox(client, tree, 0).own(fence)
    assert read.deliveries[0].state is DeliveryState.DELIVERED
    other.own(fence)
    for target in ("ops/0", "ops/1"):
        other.update_all({made.effect.id: done(DeliveryState.DELIVERED, target)})
    outbox.update_all({made.effect.id: done(DeliveryState.DELIVERED, "ops/1")})
    assert client.get_children(tree.outbox(0)) == [], "a deletion whose answer was lost is done"


def test_nothing_is_changed_after_disowning(store: AlertStore, outbox: Outbox, fence: str) -> None:
    store.commit([Change(alert(), (entry(),))], fence)
    outbox.file([entry()])
    outbox.disown()
    with pytest.raises(NotOwner):
        outbox.update_all({entry().effect.id: done(DeliveryState.CLAIMED)})


def filed(store: AlertStore, outbox: Outbox, fence: str, count: int, targets: int = 1) -> list[OutboxEntry]:
    """Entries of as many hosts, in the tree and known to the outbox."""
    entries = [entry(f"h{number:03}", targets=targets) for number in range(count)]
    store.commit([Change(alert(), tuple(entries[start : start + 90])) for start in range(0, count, 90)], fence)
    outbox.file(entries)
    return entries


def lose_answers(monkeypatch: pytest.MonkeyPatch, which: set[int]) -> list[int]:
    """From now on the answers of these commits of the outbox are lost, though they are applied; counts them."""
    seen: list[int] = []

    def committed(client: Client, operations: Sequence[Operation]) -> list[Any]:
        seen.append(len(operations))
        result = commit(client, operations)
        if len(seen) in which:
            raise UNCERTAIN[0]
        return result

    monkeypatch.setattr("zkalert.store.outbox.commit_over", committed)
    return seen


def test_many_entries_change_in_few_transactions(
    store: AlertStore,
    outbox: Outbox,
    client: Client,
    tree: Tree,
    fence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = filed(store, outbox, fence, 250)
    commits = lose_answers(monkeypatch, set())
    made = outbox.update_all({one.effect.id: done(DeliveryState.CLAIMED) for one in entries} | {"no.such": replace})
    assert len(made) == 250
    assert commits == [100, 100, 53], "each with its check of the fence"
    made = outbox.update_all({one.effect.id: done(DeliveryState.CLAIMED) for one in entries})
    assert len(made) == 250
    assert len(commits) == 3, "what stands as it should is not written again"
    outbox.update_all({one.effect.id: done(DeliveryState.DELIVERED) for one in entries})
    assert client.get_children(tree.outbox(0)) == []


def test_what_is_not_to_be_told_stands_in_the_log_of_the_server_before_its_entry_goes(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = filed(store, outbox, fence, 2)
    written: list[Operation] = []

    def committed(client: Client, operations: Sequence[Operation]) -> list[Any]:
        written.extend(operations)
        return commit(client, operations)

    monkeypatch.setattr("zkalert.store.outbox.commit_over", committed)
    outbox.update_all({one.effect.id: done(DeliveryState.DROPPED), other.effect.id: done(DeliveryState.DELIVERED)})
    (last,) = (operation for operation in written if isinstance(operation, Set))
    read = decode_entry(last.data)
    assert isinstance(read, OutboxEntry)
    assert (read.effect.id, read.deliveries[0].state) == (one.effect.id, DeliveryState.DROPPED)
    assert client.get_children(tree.outbox(0)) == []


def test_transactions_are_bounded_by_their_size(
    store: AlertStore, outbox: Outbox, fence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = filed(store, outbox, fence, 40)
    commits = lose_answers(monkeypatch, set())

    def grow(one: OutboxEntry) -> OutboxEntry:
        return replace(one, effect=replace(one.effect, labels={f"l{n}": "x" * 250 for n in range(100)}))

    assert len(outbox.update_all({one.effect.id: grow for one in entries})) == 40
    assert len(commits) > 4
    assert max(commits) <= 11, "a quarter of a megabyte at most"


def test_one_that_its_change_leaves_alone_is_left_out(store: AlertStore, outbox: Outbox, fence: str) -> None:
    first, second = filed(store, outbox, fence, 2)

    def leave(one: OutboxEntry) -> OutboxEntry:
        raise NotOwner

    made = outbox.update_all({first.effect.id: leave, second.effect.id: done(DeliveryState.CLAIMED)})
    assert list(made) == [second.effect.id]


def test_changes_of_many_whose_answers_were_lost_are_made_again(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = filed(store, outbox, fence, 250, targets=2)
    claims = {one.effect.id: done(DeliveryState.CLAIMED) for one in entries}
    lose_answers(monkeypatch, {2, 4})
    for _ in range(2):
        with pytest.raises(UNCERTAIN):
            outbox.update_all(claims)
    assert len(outbox.update_all(claims)) == 250
    read = Outbox(client, tree, 0).own(fence)
    assert {delivery.state for one in read for delivery in one.deliveries} == {DeliveryState.CLAIMED, DeliveryState.NEW}
    lose_answers(monkeypatch, {1})
    ends = {one.effect.id: both_done for one in entries}
    with pytest.raises(UNCERTAIN):
        outbox.update_all(ends)
    assert len(outbox.update_all(ends)) == 250, "a deletion whose answer was lost counts"
    assert client.get_children(tree.outbox(0)) == []


def both_done(entry: OutboxEntry) -> OutboxEntry:
    return replace(entry, deliveries=tuple(replace(d, state=DeliveryState.DELIVERED) for d in entry.deliveries))


def test_a_read_back_meanwhile_does_not_lose_a_change(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    (one,) = filed(store, outbox, fence, 1)

    def change(entry: OutboxEntry) -> OutboxEntry:
        outbox.own(fence)
        return done(DeliveryState.CLAIMED)(entry)

    outbox.update_all({one.effect.id: change})
    outbox.update_all({one.effect.id: done(DeliveryState.DELIVERED)})
    assert client.get_children(tree.outbox(0)) == []


# Among the dead.


def kill(outbox: Outbox, one: OutboxEntry) -> None:
    outbox.update_all({one.effect.id: done(DeliveryState.DELIVERED, "ops/0")})
    outbox.update_all({one.effect.id: done(DeliveryState.FAILED, "ops/1")})


def test_what_failed_for_good_is_put_aside_in_the_same_write(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    first, second = filed(store, outbox, fence, 2, targets=2)
    kill(outbox, first)
    assert client.get_children(tree.outbox(0)) == [second.effect.id]
    data, stat = client.get(tree.dead_entry(first.effect.id))
    dead = decode_entry(data)
    assert isinstance(dead, OutboxEntry)
    assert [delivery.state for delivery in dead.deliveries] == [DeliveryState.DELIVERED, DeliveryState.FAILED]
    assert client.exists(tree.outbox(0)).pzxid == stat.czxid


def test_a_command_that_failed_is_no_dead_letter(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    made = entry()
    made = replace(made, deliveries=(replace(made.deliveries[0], kind=TargetKind.RUN),))
    store.commit([Change(alert(), (made,))], fence)
    outbox.file([made])
    outbox.update_all({made.effect.id: done(DeliveryState.FAILED)})
    assert client.get_children(tree.outbox(0)) == []
    assert client.get_children(tree.dead) == []


def test_the_dead_are_put_aside_though_the_folder_is_gone_or_the_place_is_taken(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    first, second = filed(store, outbox, fence, 2)
    client.delete(tree.dead)
    outbox.update_all({first.effect.id: done(DeliveryState.FAILED)})
    client.create(tree.dead_entry(second.effect.id), b"what somebody left there")
    outbox.update_all({second.effect.id: done(DeliveryState.FAILED)})
    assert isinstance(decode_entry(client.get(tree.dead_entry(second.effect.id))[0]), OutboxEntry)
    assert client.get_children(tree.outbox(0)) == []


@pytest.mark.parametrize("is_lost", [False, True], ids=["answered", "answer lost"])
def test_a_dead_entry_comes_back_with_its_wish_granted(
    store: AlertStore,
    outbox: Outbox,
    client: Client,
    tree: Tree,
    fence: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_lost: bool,
) -> None:
    (one,) = filed(store, outbox, fence, 1, targets=2)
    kill(outbox, one)
    client.create(tree.resend_entry(one.effect.id), makepath=True)
    if is_lost:
        lose_answers(monkeypatch, {1})
        with pytest.raises(UNCERTAIN):
            outbox.resend(one.effect.id, 500.0)
    back = outbox.resend(one.effect.id, 500.0)
    assert back is not None
    delivered, failed = back.deliveries
    assert delivered.state is DeliveryState.DELIVERED
    assert (failed.state, failed.attempts, failed.at, failed.since) == (DeliveryState.NEW, 0, 500.0, 500.0)
    assert client.get_children(tree.dead) == []
    assert client.get_children(tree.resend) == []
    assert client.get_children(tree.outbox(0)) == [one.effect.id]
    outbox.update_all({one.effect.id: done(DeliveryState.DELIVERED, "ops/1")})
    assert client.get_children(tree.outbox(0)) == []


def test_a_wish_for_what_is_not_dead_is_only_taken_away(outbox: Outbox, client: Client, tree: Tree) -> None:
    client.create(tree.resend_entry("nothing.firing"), makepath=True)
    assert outbox.resend("nothing.firing", 1.0) is None
    assert client.get_children(tree.resend) == []


def test_dead_entries_go_with_their_age(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    for one in filed(store, outbox, fence, 120):
        outbox.update_all({one.effect.id: done(DeliveryState.FAILED)})
    last = client.get(tree.dead_entry("h119-episode.firing"))[1].mtime / 1000
    assert outbox.purge_dead(last - 3600) == 0
    assert outbox.purge_dead(last + 1) == 120
    assert client.get_children(tree.dead) == []


def test_who_lost_the_fence_buries_and_brings_back_nothing(
    store: AlertStore, outbox: Outbox, client: Client, tree: Tree, fence: str
) -> None:
    first, second = filed(store, outbox, fence, 2)
    outbox.update_all({first.effect.id: done(DeliveryState.FAILED)})
    client.delete(fence)
    for act in (
        lambda: outbox.update_all({second.effect.id: done(DeliveryState.FAILED)}),
        lambda: outbox.resend(first.effect.id, 1.0),
        lambda: outbox.purge_dead(2e9 * 1000),
    ):
        with pytest.raises(NotOwner):
            act()
    assert client.get_children(tree.dead) == [first.effect.id]
