"""One owner at a time, and what it hands on, against a real server."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers import expire_session, lose_connection, wait_for
from zkalert import clock
from zkalert.model import Seen, ZookeeperSettings
from zkalert.shards import Owned, Owner
from zkalert.tree import Tree, decode_seen
from zkalert.zk import Client, ConnectionState, listen, make_client


class Contender:
    """An engine's part that competes for the tree."""

    def __init__(self, settings: ZookeeperSettings, tree: Tree, name: str) -> None:
        self.client = make_client(settings)
        self.client.start(timeout=15)
        self.owned: queue.SimpleQueue[Owned] = queue.SimpleQueue()
        self.ensemble = clock.EnsembleClock()
        self.owner = Owner(
            self.client,
            tree,
            self.ensemble,
            engine=name,
            host=name,
            pid=1,
            digest=lambda: "d",
            own=self.owned.put,
        )

        def lost(state: ConnectionState) -> None:
            if state is ConnectionState.LOST:
                self.owner.lost()

        listen(self.client, lost)
        self.owner.start()

    def close(self) -> None:
        self.owner.stop(5)
        self.client.stop()
        self.client.close()


@pytest.fixture
def contend(settings: ZookeeperSettings, tree: Tree) -> Iterator[Any]:
    made: list[Contender] = []

    def make(name: str) -> Contender:
        made.append(Contender(settings, tree, name))
        return made[-1]

    yield make
    for contender in made:
        contender.close()


def test_the_first_owns_and_the_second_waits_for_it_by_name(contend: Any, client: Client, tree: Tree) -> None:
    first = contend("first")
    owned = first.owned.get(timeout=10)
    assert client.exists(owned.fence)
    second = contend("second")
    wait_for(lambda: second.owner.waits_for, "the second to say whom it waits for")
    assert second.owner.waits_for == "first (pid 1)"
    assert second.owned.empty()
    assert sorted(client.get_children(tree.engines)) == ["first", "second"]
    first.close()
    taken = second.owned.get(timeout=3)
    assert taken.fence != owned.fence
    assert not client.exists(owned.fence)
    assert second.owner.waits_for == ""


def test_who_waits_says_for_whom_though_that_changes(contend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zkalert.shards.SIGN_OF_LIFE", 0.05)
    first = contend("first")
    first.owned.get(timeout=10)
    second = contend("second")
    wait_for(lambda: second.owner.waits_for == "first (pid 1)", "the second to wait for the first")
    third = contend("third")
    wait_for(lambda: third.owner.waits_for == "first (pid 1)", "the third to wait for the first")
    first.close()
    second.owned.get(timeout=10)
    wait_for(lambda: third.owner.waits_for == "second (pid 1)", "the third to wait for the second")
    assert second.owner.waits_for == ""


def test_who_waited_while_the_ensembles_clock_was_corrected_knows_the_time(
    contend: Any, client: Client, tree: Tree
) -> None:
    first = contend("first")
    first.owned.get(timeout=10)
    second = contend("second")
    wait_for(lambda: second.owner.waits_for, "the second to wait")
    second.ensemble.saw(second.ensemble.now() - 3600, clock.monotonic())
    first.close()
    second.owned.get(timeout=10)
    data, stat = client.get(tree.shard(0))
    seen = decode_seen(data)
    assert isinstance(seen, Seen)
    assert abs(seen.at - stat.mtime / 1000) < 1


def test_the_time_that_the_former_owner_was_last_seen_is_handed_on(contend: Any, client: Client, tree: Tree) -> None:
    first = contend("first")
    first.owned.get(timeout=10)
    data, stat = client.get(tree.shard(0))
    seen = decode_seen(data)
    assert isinstance(seen, Seen)
    assert abs(seen.at - stat.mtime / 1000) < 1, "it is told in the ensemble's time"
    first.close()
    assert contend("second").owned.get(timeout=10).seen_at == seen.at


def test_an_owner_learns_the_ensembles_clock(contend: Any, client: Client, tree: Tree) -> None:
    first = contend("first")
    first.owned.get(timeout=10)
    stat = client.set(tree.layout, client.get(tree.layout)[0])
    assert abs(first.ensemble.now() - stat.mtime / 1000) < 0.5


def test_a_lost_session_ends_ownership_and_begins_another(contend: Any) -> None:
    first = contend("first")
    before = first.owned.get(timeout=10)
    expire_session(first.client)
    after = first.owned.get(timeout=10)
    assert before.fence != after.fence


def test_a_suspended_owner_keeps_what_it_has(contend: Any, client: Client) -> None:
    first = contend("first")
    owned = first.owned.get(timeout=10)
    lose_connection(first.client)
    assert client.exists(owned.fence)
    assert first.owned.empty()


def test_a_fence_that_somebody_deleted_is_noticed_and_taken_anew(
    contend: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zkalert.shards.SIGN_OF_LIFE", 0.05)
    first = contend("first")
    owned = first.owned.get(timeout=10)
    client.delete(owned.fence)
    assert first.owned.get(timeout=10).fence != owned.fence
