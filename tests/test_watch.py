"""One watch per znode, re-armed after every loss, against a real server."""

from __future__ import annotations

import queue
import threading

import pytest

from tests.helpers import expire_session, lose_connection, wait_for
from zkalert.localzk import LocalServer
from zkalert.localzk.server import ask
from zkalert.model import Sample, ZookeeperSettings
from zkalert.tree import Tree, encode_sample
from zkalert.watch import BadSampleSeen, Event, FamiliesSeen, HostsSeen, Registry, SampleSeen
from zkalert.zk import Client, ConnectionState, listen, make_client


def payload(value: float) -> bytes:
    return encode_sample(Sample(family="x", at=1, interval=5, max_age=15, values={"percent": value}))


class Followed:
    """A registry on a client, and what it told."""

    def __init__(self, client: Client, tree: Tree) -> None:
        self.client = client
        self.tree = tree
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.registry = Registry(client, tree, self.events.put)

        def rearm(state: ConnectionState) -> None:
            # In an engine the evaluator's thread does this; the listener's own thread must not wait.
            if state is ConnectionState.CONNECTED:
                threading.Thread(target=self.registry.rearm).start()

        listen(client, rearm)

    def next(self, kind: type[Event], timeout: float = 10) -> Event:
        while True:
            event = self.events.get(timeout=timeout)
            if isinstance(event, kind):
                return event

    def values(self, count: int) -> list[float]:
        """The next `count` samples' values."""
        found: list[float] = []
        while len(found) < count:
            event = self.next(SampleSeen)
            assert isinstance(event, SampleSeen)
            found.append(float(event.observation.sample.values["percent"]))
        return found

    def publish(self, value: float, host: str = "web1") -> None:
        path = self.tree.family(host, "x")
        self.client.ensure_path(self.tree.metrics(host))
        if self.client.exists(path):
            self.client.set(path, payload(value))
        else:
            self.client.create(path, payload(value))


@pytest.fixture
def followed(client: Client, tree: Tree) -> Followed:
    return Followed(client, tree)


def test_a_sample_is_told_at_once_and_after_every_change(followed: Followed) -> None:
    followed.publish(1)
    followed.registry.follow_family("web1", "x")
    first = followed.next(SampleSeen)
    assert isinstance(first, SampleSeen)
    assert not first.is_news, "it was there before we looked"
    followed.publish(2)
    second = followed.next(SampleSeen)
    assert isinstance(second, SampleSeen)
    assert second.is_news
    assert second.observation.now.at == followed.client.get(followed.tree.family("web1", "x"))[1].mtime / 1000


def test_following_twice_sets_one_watch(followed: Followed, zookeeper: LocalServer) -> None:
    followed.publish(1)
    for _ in range(100):
        followed.registry.follow_family("web1", "x")
    followed.values(1)
    assert len(followed.registry) == 1
    watches = ask(zookeeper.port, "wchp")
    assert watches.count(followed.tree.family("web1", "x")) == 1
    threads = threading.active_count()
    followed.publish(2)
    assert followed.values(1) == [2]
    assert threading.active_count() <= threads


@pytest.mark.parametrize("loss", [lose_connection, expire_session])
def test_after_a_loss_all_is_watched_again_and_only_changes_are_told(followed: Followed, loss: object) -> None:
    hosts = [f"h{number}" for number in range(600)]  # more than may be asked at once
    for host in hosts:
        followed.publish(1, host)
        followed.registry.follow_family(host, "x")
    followed.values(len(hosts))
    loss(followed.client)  # type: ignore[operator]
    followed.publish(7, "h599")
    assert followed.values(1) == [7]
    for host in hosts[:3]:
        followed.publish(8, host)
    assert followed.values(3) == [8, 8, 8]
    assert followed.events.empty()


def test_the_last_value_is_told_whatever_losses_happened_meanwhile(
    followed: Followed, settings: ZookeeperSettings, tree: Tree
) -> None:
    followed.publish(0)
    followed.registry.follow_family("web1", "x")
    other = make_client(settings)
    other.start(timeout=15)

    def write() -> None:
        for value in range(1, 301):
            other.set(tree.family("web1", "x"), payload(value))

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(5):
        lose_connection(followed.client)
    writer.join()
    told = [0.0]
    while told[-1] != 300:
        told += followed.values(1)
    assert told == sorted(told), "never an older value after a newer one"
    other.stop()
    other.close()


def test_it_is_known_when_all_that_is_followed_was_read(followed: Followed) -> None:
    assert wait_for(lambda: followed.registry.is_idle, "the first reading")
    while not followed.events.empty():
        followed.events.get()
    for number in range(300):
        followed.publish(number, f"h{number}")
    for number in range(300):
        followed.registry.follow_family(f"h{number}", "x")
    wait_for(lambda: followed.registry.is_idle, "all to be read")
    samples = 0
    while not followed.events.empty():
        samples += isinstance(followed.events.get(), SampleSeen)
    assert samples == 300, "what was read has been told"


def test_a_family_that_is_deleted_and_made_again_is_followed_by_who_is_told(followed: Followed) -> None:
    followed.publish(1)
    followed.registry.follow_host("web1")
    followed.registry.follow_family("web1", "x")
    followed.values(1)
    followed.client.delete(followed.tree.family("web1", "x"))
    wait_for(
        lambda: followed.next(FamiliesSeen) == FamiliesSeen("web1", frozenset()), "the list of families to be empty"
    )
    followed.publish(2)
    assert followed.next(FamiliesSeen) == FamiliesSeen("web1", frozenset({"x"}))
    followed.registry.follow_family("web1", "x")
    assert followed.values(1) == [2]


def test_hosts_that_are_not_there_yet_are_waited_for(followed: Followed) -> None:
    followed.registry.follow_hosts()
    assert followed.next(HostsSeen) == HostsSeen(frozenset())
    followed.client.ensure_path(followed.tree.hosts)
    followed.publish(1, "ünï cøde/host")
    wait_for(lambda: followed.next(HostsSeen) == HostsSeen(frozenset({"ünï cøde/host"})), "the host")


def test_rubbish_is_told_as_a_problem(followed: Followed) -> None:
    followed.publish(1)
    followed.registry.follow_family("web1", "x")
    followed.client.set(followed.tree.family("web1", "x"), b"{")
    event = followed.next(BadSampleSeen)
    assert isinstance(event, BadSampleSeen)
    assert event.problem.code == "not-json"


def test_what_is_forgotten_is_not_told(followed: Followed) -> None:
    followed.publish(1, "web1")
    followed.publish(1, "web2")
    for host in ("web1", "web2"):
        followed.registry.follow_family(host, "x")
    followed.values(2)
    followed.registry.forget_host("web1")
    followed.publish(5, "web1")
    followed.publish(6, "web2")
    assert followed.values(1) == [6]
